//! The DICOM series that a mask was drawn on: where its slices lie, and what an object put beside it has to repeat.

use std::fmt;

use serde::Serialize;

use crate::volume::{Affine, Grid};

/// How the slices of a stack follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Equal steps along the normal: one affine says it all.
    Regular,
    /// Equal steps, not along the normal: a gantry was tilted.
    Tilted,
    /// Unequal steps.
    Uneven,
    /// Both.
    UnevenTilted,
}

impl Spacing {
    /// Returns its name in tables and inspections.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Tilted => "tilted",
            Self::Uneven => "uneven",
            Self::UnevenTilted => "uneven_tilted",
        }
    }

    /// Returns whether steps are equal.
    pub fn is_even(self) -> bool {
        matches!(self, Self::Regular | Self::Tilted)
    }
}

/// One slice: an object, or a frame of one. Its UIDs lead to a person.
#[derive(Clone, PartialEq)]
pub struct SourceSlice {
    /// SOP Class UID of its object.
    pub class_uid: String,
    /// SOP Instance UID of its object.
    pub instance_uid: String,
    /// Number of the frame in its object, counted from 1; `None` for an object of one slice.
    pub frame: Option<u32>,
    /// Centre of its first voxel, RAS mm.
    pub position_mm: [f64; 3],
}

/// A text of a header, under the group and element of its tag.
pub type Attribute = ((u16, u16), String);

/// A series of parallel slices. Names, dates and UIDs are in it, so `Debug` shows none of it.
#[derive(Clone, PartialEq)]
pub struct SourceSeries {
    /// Columns, rows and slices, with equal steps between slices: what [`Spacing::is_even`] says is exact.
    pub grid: Grid,
    /// Unit vectors along which the column's and the row's index grow, RAS.
    pub directions: [[f64; 3]; 2],
    /// Step between columns, then between rows, in mm.
    pub pixel_mm: [f64; 2],
    /// Step between slices along their normal, in mm; the mean of unequal ones.
    pub step_mm: f64,
    /// Slice Thickness, which is no step.
    pub thickness_mm: Option<f64>,
    /// How slices follow each other.
    pub spacing: Spacing,
    /// How far a slice lies at most from where equal steps would have it, in mm.
    pub deviation_mm: f64,
    /// The slices in order along their normal.
    pub slices: Vec<SourceSlice>,
    /// Study Instance UID.
    pub study_uid: String,
    /// Series Instance UID.
    pub series_uid: String,
    /// Frame of Reference UID.
    pub frame_of_reference_uid: Option<String>,
    /// Patient and study, as the first slice has them.
    pub person: Vec<Attribute>,
    /// What is to be said of the pixels, and names nobody.
    pub image: Vec<Attribute>,
}

impl SourceSeries {
    /// Returns the grid of one slice alone, at its own position.
    pub fn slice_grid(&self, slice: &SourceSlice) -> Grid {
        let [along_row, along_column] = self.directions;
        let [between_columns, between_rows] = self.pixel_mm;
        let normal = [
            along_row[1] * along_column[2] - along_row[2] * along_column[1],
            along_row[2] * along_column[0] - along_row[0] * along_column[2],
            along_row[0] * along_column[1] - along_row[1] * along_column[0],
        ];
        let mut matrix = [[0.0; 4]; 4];
        for axis in 0..3 {
            matrix[axis] = [
                along_row[axis] * between_columns,
                along_column[axis] * between_rows,
                normal[axis],
                slice.position_mm[axis],
            ];
        }
        matrix[3][3] = 1.0;
        let [columns, rows, _] = self.grid.shape;
        Grid {
            shape: [columns, rows, 1],
            affine: Affine(matrix),
        }
    }

    /// Returns the most bytes that putting results onto its grid takes: labels of two bytes, then frames as they are
    /// packed and as their object holds them.
    pub fn bytes_to_paste(&self) -> u64 {
        let voxels: u64 = self.grid.shape.iter().map(|size| *size as u64).product();
        voxels.saturating_mul(4)
    }
}

impl fmt::Debug for SourceSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[slice]")
    }
}

impl fmt::Debug for SourceSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[series of {} slices]", self.slices.len())
    }
}
