//! Label maps: voxels of any type as labels, and masks of one class a file as one map.

use std::fmt;

use ndarray::{Array3, ShapeBuilder as _};
use schemas::{Fault, LabelMap, LabelTable, Level, Volume};

use super::nifti::{self, NiftiFile, Voxel, Voxels, each};

/// How far a *scaled* value may lie from the label it stands for. Writers that pack labels into a slope round
/// the slope to f32 and the value to a step of it (1/255 × 255 = 1.00000006); an image's values do not all
/// come this close to whole numbers. Unscaled floats must be whole.
const SCALED_TOLERANCE: f64 = 1e-3;

/// Largest difference between entries of two affines that still count as the same grid, in mm.
const AFFINE_TOLERANCE: f64 = 1e-3;

/// Reads a label map from a NIfTI file; see [`nifti::read`] for the arguments.
///
/// `max_bytes` bounds what is held at once: the stored voxels and the labels made of them.
///
/// # Errors
/// As [`nifti::read`]; also a volume that has not three axes, and values that are no labels.
pub(super) fn from_nifti(bytes: &[u8], pair: Option<&[u8]>, max_bytes: u64) -> Result<LabelMap, Fault> {
    let header = nifti::Header::read(bytes)?;
    header.shape_3d()?;
    let needed = header.label_map_bytes();
    if needed > max_bytes {
        let message =
            format!("expected a label map of at most {max_bytes} bytes, the header announces {needed}");
        return Err(Fault::unsuitable("too_large", message));
    }
    of_file(nifti::read_voxels(header, bytes, pair, max_bytes)?)
}

/// Makes a label map of a file's voxels, scaling applied.
///
/// # Errors
/// A volume that has not three axes, or a value that is no whole number (`non_integer_labels`) or none from 0
/// to 65535 (`label_out_of_range`); the first such value is named.
pub(super) fn of_file(file: NiftiFile) -> Result<LabelMap, Fault> {
    let shape = file.header.shape_3d()?;
    let labels = match (file.voxels, file.header.scaling) {
        (Voxels::U16(labels), None) => labels,
        (voxels, None) => each!(voxels, values => convert(&values, shape, Voxel::label, Voxel::value)?),
        (voxels, Some(scaling)) => each!(voxels, values => {
            let real = |stored| scaling.apply(Voxel::value(stored));
            convert(&values, shape, |stored| nearly_label(real(stored)), real)?
        }),
    };
    let [ni, nj, nk] = shape;
    let data = Array3::from_shape_vec((ni, nj, nk).f(), labels)
        .map_err(|error| Fault::bug("voxel_count", error.to_string()))?;
    Ok(Volume {
        data,
        affine: file.header.affine,
    })
}

fn convert<T: Voxel>(
    values: &[T],
    shape: [usize; 3],
    label: impl Fn(T) -> Option<u16>,
    real: impl Fn(T) -> f64,
) -> Result<Vec<u16>, Fault> {
    let mut labels = Vec::new();
    labels.try_reserve_exact(values.len()).map_err(|_| {
        let message = format!("expected memory for {} labels, got none", values.len());
        Fault::exhausted("out_of_memory", message)
    })?;
    for (index, stored) in values.iter().enumerate() {
        match label(*stored) {
            Some(label) => labels.push(label),
            None => return Err(no_label(real(*stored), Index::of(index, shape))),
        }
    }
    Ok(labels)
}

fn nearly_label(real: f64) -> Option<u16> {
    let whole = real.round();
    ((real - whole).abs() <= SCALED_TOLERANCE)
        .then(|| whole.label())
        .flatten()
}

fn no_label(found: f64, index: Index) -> Fault {
    let message = format!("expected whole labels from 0 to 65535, found {found} at voxel {index}");
    let reason = if found.fract() == 0.0 {
        "label_out_of_range"
    } else {
        "non_integer_labels"
    };
    Fault::unsuitable(reason, message)
}

/// Where a voxel lies.
struct Index([usize; 3]);

impl Index {
    fn of(position: usize, [ni, nj, _]: [usize; 3]) -> Self {
        // no axis of a volume with a voxel at `position` is empty
        Self([position % ni, position / ni % nj, position / ni / nj])
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [i, j, k] = self.0;
        write!(f, "({i}, {j}, {k})")
    }
}

/// Sets every voxel that is not background to `label`.
pub(super) fn binarise(map: &mut LabelMap, label: u16) {
    map.data.mapv_inplace(|voxel| if voxel == 0 { 0 } else { label });
}

/// Masks of one level each, put together to one label map.
///
/// Where two masks overlap the level nearer to the head keeps the voxel: levels are added from the head down.
#[derive(Default)]
pub(super) struct Merged {
    map: Option<LabelMap>,
}

impl Merged {
    /// Adds the mask of a level (anything but 0 is the vertebra) under its number in `table`.
    pub(super) fn add(&mut self, level: Level, mut mask: LabelMap, table: &LabelTable) -> Result<(), Fault> {
        let label = table
            .iter()
            .find(|(_, named)| **named == level)
            .map(|(label, _)| *label);
        let label = label.ok_or_else(|| {
            Fault::bug(
                "level_without_label",
                format!("expected a label for {level} in the table, found none"),
            )
        })?;
        let Some(map) = &mut self.map else {
            binarise(&mut mask, label);
            self.map = Some(mask);
            return Ok(());
        };
        same_grid(map, &mask)?;
        map.data.zip_mut_with(&mask.data, |merged, voxel| {
            if *merged == 0 && *voxel != 0 {
                *merged = label;
            }
        });
        Ok(())
    }

    /// Returns the map, or `None` if nothing was added.
    pub(super) fn finish(self) -> Option<LabelMap> {
        self.map
    }
}

fn same_grid(map: &LabelMap, mask: &LabelMap) -> Result<(), Fault> {
    let (expected, found) = (map.shape(), mask.shape());
    if expected != found {
        let message = format!("expected {expected:?} voxels as in the other levels' masks, found {found:?}");
        return Err(Fault::unsuitable("grids_differ", message));
    }
    let pairs = map.affine.0.iter().flatten().zip(mask.affine.0.iter().flatten());
    let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    if apart > AFFINE_TOLERANCE {
        let message =
            format!("expected the affine of the other levels' masks, found one with an entry {apart} away");
        return Err(Fault::unsuitable("grids_differ", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::Sample;

    const MAX: u64 = 1 << 20;

    fn map_of(sample: &Sample) -> Result<LabelMap, Fault> {
        from_nifti(&sample.file(), None, MAX)
    }

    fn of_floats(values: &[f32]) -> Sample {
        let mut sample = Sample::new(1);
        sample.datatype = 16;
        sample.dim = vec![3, values.len() as i64, 1, 1];
        sample.voxels = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        sample
    }

    #[test]
    fn the_first_axis_runs_fastest_and_stays_so_in_memory() {
        let map = map_of(&Sample::new(1)).expect("sound");
        assert_eq!(map.shape(), [2, 3, 4]);
        assert_eq!(
            [map.data[[1, 0, 0]], map.data[[0, 1, 0]], map.data[[0, 0, 1]]],
            [1, 2, 6]
        );
        assert_eq!(map.data.strides(), [1, 2, 6]);
        assert_eq!(map.affine.apply([1.0, 1.0, 1.0]), [-4.0, 7.0, 10.5]);
    }

    #[test]
    fn trailing_axes_of_one_voxel_are_dropped_and_others_are_not_3d() {
        let mut sample = Sample::new(1);
        sample.dim = vec![5, 2, 3, 4, 1, 1];
        assert_eq!(map_of(&sample).expect("sound").shape(), [2, 3, 4]);
        sample.dim = vec![3, 6, 4, 1];
        assert_eq!(map_of(&sample).expect("one slice").shape(), [6, 4, 1]);
        for dim in [vec![2, 6, 4], vec![4, 2, 3, 2, 2], vec![1, 24]] {
            sample.dim = dim;
            assert_eq!(map_of(&sample).expect_err("not 3-D").reason, "not_3d");
        }
    }

    #[test]
    fn floats_are_labels_only_where_they_are_whole_and_in_range() {
        let map = map_of(&of_floats(&[0.0, -0.0, 20.0, 65535.0])).expect("whole");
        assert_eq!(map.data.iter().copied().collect::<Vec<_>>(), [0, 0, 20, 65535]);
        let refused = |values: &[f32]| map_of(&of_floats(values)).expect_err("no labels");
        let fault = refused(&[1.0, 20.5, 0.1]);
        assert_eq!(fault.reason, "non_integer_labels");
        assert!(
            fault.message.contains("20.5 at voxel (1, 0, 0)"),
            "{}",
            fault.message
        );
        assert_eq!(refused(&[f32::NAN]).reason, "non_integer_labels");
        assert_eq!(refused(&[f32::INFINITY]).reason, "non_integer_labels");
        assert_eq!(refused(&[19.999998]).reason, "non_integer_labels");
        assert_eq!(refused(&[-1.0]).reason, "label_out_of_range");
        assert_eq!(refused(&[65536.0]).reason, "label_out_of_range");
    }

    #[test]
    fn scaling_is_applied_and_its_rounding_forgiven() {
        let mut sample = Sample::new(1);
        sample.scaling = (2.0, 1.0);
        let map = map_of(&sample).expect("odd labels");
        assert_eq!(map.data[[1, 0, 0]], 3);
        // 1/255 in f32 times 255 is 1.0000000591
        (sample.scaling, sample.voxels) = ((1.0 / 255.0, 0.0), vec![255; 24]);
        assert_eq!(map_of(&sample).expect("ones").data[[0, 0, 0]], 1);
        sample.scaling = (0.5, 0.0);
        assert_eq!(map_of(&sample).expect_err("halves").reason, "non_integer_labels");
        sample.scaling = (1.0, -300.0);
        assert_eq!(
            map_of(&sample).expect_err("negative").reason,
            "label_out_of_range"
        );
    }

    #[test]
    fn the_limit_counts_stored_voxels_and_labels_together() {
        let bytes = Sample::new(1).file();
        // 24 voxels of one byte, as many labels of two; the bytes before the voxels are unpacked, not held
        assert_eq!(
            from_nifti(&bytes, None, 71).expect_err("too large").reason,
            "too_large"
        );
        assert!(from_nifti(&bytes, None, 24 * 3 + 352).is_ok());
    }
}
