//! Where a frame lies: from the attributes of a slice, or from functional groups of a multi-frame object.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use schemas::{Affine, Fault};

use super::data_set::DataSet;

/// How far direction cosines may be from unit length and right angles. Writers round them to seven digits or so; what
/// is farther off is a mistake, which would bend the volume.
const DIRECTION_TOLERANCE: f64 = 1e-3;

/// The plane of a frame, in the patient's coordinates (LPS, mm; PS3.3 section C.7.6.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane {
    /// Centre of the first pixel: Image Position (Patient).
    pub position: [f64; 3],
    /// Direction in which the column index grows: the first three of Image Orientation (Patient).
    pub along_row: [f64; 3],
    /// Direction in which the row index grows: its last three.
    pub along_column: [f64; 3],
    /// Step between rows, then between columns: Pixel Spacing, in mm.
    pub spacing_mm: [f64; 2],
}

impl Plane {
    /// Returns the unit normal: row × column.
    pub fn normal(&self) -> [f64; 3] {
        let [a, b, c] = self.along_row;
        let [x, y, z] = self.along_column;
        let cross = [b * z - c * y, c * x - a * z, a * y - b * x];
        let length = dot(cross, cross).sqrt();
        cross.map(|part| part / length)
    }

    /// Returns how far along the normal the plane lies.
    pub fn distance_mm(&self) -> f64 {
        dot(self.position, self.normal())
    }

    /// Returns whether two planes have the same directions and spacing: slices of one stack.
    pub fn is_parallel(&self, other: &Self) -> bool {
        let near =
            |a: &[f64], b: &[f64], tolerance: f64| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance);
        near(&self.along_row, &other.along_row, 1e-4)
            && near(&self.along_column, &other.along_column, 1e-4)
            && near(&self.spacing_mm, &other.spacing_mm, 1e-5)
    }

    /// Returns position and both directions in RAS.
    pub fn ras(&self) -> [[f64; 3]; 3] {
        [self.position, self.along_row, self.along_column].map(other_space)
    }

    /// Returns the map from (column, row, slice) to RAS mm, where a slice is `step` (LPS, mm) from the one before.
    ///
    /// LPS becomes RAS here: x and y change their sign.
    pub fn affine(&self, step: [f64; 3]) -> Affine {
        let [between_rows, between_columns] = self.spacing_mm;
        let mut matrix = [[0.0; 4]; 4];
        for (axis, sign) in [-1.0, -1.0, 1.0].into_iter().enumerate() {
            matrix[axis] = [
                sign * self.along_row[axis] * between_columns,
                sign * self.along_column[axis] * between_rows,
                sign * step[axis],
                sign * self.position[axis],
            ];
        }
        matrix[3][3] = 1.0;
        Affine(matrix)
    }
}

/// Returns a position or direction in RAS from one in LPS, and the other way round.
pub(super) fn other_space([x, y, z]: [f64; 3]) -> [f64; 3] {
    // 0 has one sign
    [0.0 - x, 0.0 - y, z]
}

/// Returns the scalar product.
pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The functional groups of a multi-frame object (PS3.3 section C.7.6.16), or the header of a single slice.
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a> {
    header: &'a DataSet,
    frame: Option<&'a DataSet>,
    shared: Option<&'a DataSet>,
}

impl<'a> Groups<'a> {
    /// Returns the groups of a frame, counted from 0.
    pub fn of(header: &'a DataSet, frame: usize) -> Self {
        Self {
            header,
            frame: header
                .items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
                .get(frame),
            shared: header.item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE),
        }
    }

    /// Returns a group of the frame, else of all frames, else, as objects of single slices have it, the header.
    pub fn group(&self, sequence: Tag) -> &'a DataSet {
        let grouped = self.frame.and_then(|groups| groups.item(sequence));
        let shared = || self.shared.and_then(|groups| groups.item(sequence));
        grouped.or_else(shared).unwrap_or(self.header)
    }

    /// Returns a group of this frame alone.
    pub fn of_frame(&self, sequence: Tag) -> Option<&'a DataSet> {
        self.frame?.item(sequence)
    }

    /// Returns the plane of the frame.
    ///
    /// # Errors
    /// No position, orientation or spacing, or one that is none.
    pub fn plane(&self) -> Result<Plane, Fault> {
        let position = self.group(tags::PLANE_POSITION_SEQUENCE);
        let orientation = self.group(tags::PLANE_ORIENTATION_SEQUENCE);
        let measures = self.group(tags::PIXEL_MEASURES_SEQUENCE);
        let missing = |name: &str| {
            Fault::unsuitable(
                "no_geometry",
                format!("expected {name}, found none, or no finite numbers"),
            )
        };
        let position = position
            .vector(tags::IMAGE_POSITION_PATIENT)
            .ok_or_else(|| missing("Image Position (Patient)"))?;
        let [a, b, c, x, y, z] = orientation
            .vector(tags::IMAGE_ORIENTATION_PATIENT)
            .ok_or_else(|| missing("Image Orientation (Patient)"))?;
        let spacing_mm: [f64; 2] = measures
            .vector(tags::PIXEL_SPACING)
            .ok_or_else(|| missing("Pixel Spacing"))?;
        let plane = Plane {
            position,
            along_row: [a, b, c],
            along_column: [x, y, z],
            spacing_mm,
        };
        let off = [
            dot(plane.along_row, plane.along_row).sqrt() - 1.0,
            dot(plane.along_column, plane.along_column).sqrt() - 1.0,
            dot(plane.along_row, plane.along_column),
        ];
        if off.iter().any(|off| off.abs() > DIRECTION_TOLERANCE) {
            return Err(Fault::unreadable(
                "bad_geometry",
                "expected an Image Orientation (Patient) of two unit vectors at a right angle, found others",
            ));
        }
        if !spacing_mm.iter().all(|step| (1e-3..1e3).contains(step)) {
            return Err(Fault::unreadable(
                "bad_geometry",
                "expected a Pixel Spacing from 0.001 to 1000 mm, found another",
            ));
        }
        if position.iter().any(|part| part.abs() > 1e6) {
            return Err(Fault::unreadable(
                "bad_geometry",
                "expected an Image Position (Patient) within a kilometre, found one farther off",
            ));
        }
        Ok(plane)
    }

    /// Returns slope and intercept from stored to real values; 1 and 0 where there are none.
    ///
    /// # Errors
    /// One without the other, or one that is no number: a wrong guess would shift every value.
    pub fn rescale(&self) -> Result<(f64, f64), Fault> {
        let group = self.group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        let [slope, intercept] = [tags::RESCALE_SLOPE, tags::RESCALE_INTERCEPT];
        let is_there = |tag: Tag| group.text(tag).is_some();
        match (group.number(slope), group.number(intercept)) {
            (Some(slope), Some(intercept)) => Ok((slope, intercept)),
            (None, None) if !is_there(slope) && !is_there(intercept) => Ok((1.0, 0.0)),
            _ => Err(Fault::unreadable(
                "bad_rescale",
                "expected Rescale Slope and Intercept, or neither, found one of them, or no numbers",
            )),
        }
    }

    /// Returns whether the object says how stored values become real ones.
    pub fn is_rescaled(&self) -> bool {
        let group = self.group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        group.number(tags::RESCALE_SLOPE).is_some()
    }

    /// Returns Spacing Between Slices: a promise of the writer, which positions go before.
    pub fn between_slices_mm(&self) -> Option<f64> {
        let group = self.group(tags::PIXEL_MEASURES_SEQUENCE);
        group
            .number(tags::SPACING_BETWEEN_SLICES)
            .map(f64::abs)
            .filter(|step| *step > 0.0)
    }

    /// Returns Slice Thickness, which is never taken for a spacing.
    pub fn thickness_mm(&self) -> Option<f64> {
        let group = self.group(tags::PIXEL_MEASURES_SEQUENCE);
        group.number(tags::SLICE_THICKNESS).filter(|step| *step > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sagittal_plane_becomes_an_affine_in_ras() {
        // columns run to the back (+P), rows to the feet (-S): the normal runs to the right of the patient (-L)
        let plane = Plane {
            position: [30.0, -100.0, 250.0],
            along_row: [0.0, 1.0, 0.0],
            along_column: [0.0, 0.0, -1.0],
            spacing_mm: [0.5, 0.6],
        };
        assert_eq!(plane.normal(), [-1.0, 0.0, 0.0]);
        let affine = plane.affine([-4.0, 0.0, 0.0]);
        assert_eq!(affine.apply([0.0, 0.0, 0.0]), [-30.0, 100.0, 250.0]);
        assert_eq!(affine.apply([10.0, 0.0, 0.0]), [-30.0, 94.0, 250.0], "columns");
        assert_eq!(affine.apply([0.0, 10.0, 0.0]), [-30.0, 100.0, 245.0], "rows");
        assert_eq!(affine.apply([0.0, 0.0, 1.0]), [-26.0, 100.0, 250.0], "slices");
    }
}
