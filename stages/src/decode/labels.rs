//! Label maps: voxels of any type as labels, and masks of one class a file as one map.

use std::fmt;

use ndarray::{Array3, ShapeBuilder as _};
use schemas::{Fault, LabelMap, LabelTable, Level, Volume};

use super::nifti::{self, Header, Voxel, each_chunk, of_type};
use super::source::Source;

/// How far a *scaled* value may lie from the label it stands for. Writers that pack labels into a slope round
/// the slope to f32 and the value to a step of it (1/255 × 255 = 1.00000006); an image's values do not all
/// come this close to whole numbers. Unscaled floats must be whole.
const SCALED_TOLERANCE: f64 = 1e-3;

/// Largest difference between entries of two affines that still count as the same grid, in mm.
const AFFINE_TOLERANCE: f64 = 1e-3;

/// Labels that are made, or passed over, together: a page of memory. Where all of them are background, memory that came
/// zeroed stays untouched, and the operating system need not even find it.
const PIECE: usize = 2048;

/// Reads a label map from a NIfTI file; see [`nifti::read`] for the arguments.
///
/// `max_bytes` bounds the labels that are held and, apart from that, the stored voxels that are unpacked.
///
/// # Errors
/// As [`nifti::read`]; also a volume that has not three axes, or a value that is no whole number
/// (`non_integer_labels`) or none from 0 to 65535 (`label_out_of_range`); the first such value is named.
pub(super) fn from_nifti(bytes: &[u8], pair: Option<&[u8]>, max_bytes: u64) -> Result<LabelMap, Fault> {
    let header = Header::read(bytes)?;
    let [ni, nj, nk] = header.shape_3d()?;
    let needed = header.label_map_bytes();
    if needed > max_bytes {
        let message =
            format!("expected a label map of at most {max_bytes} bytes, the header announces {needed}");
        return Err(Fault::unsuitable("too_large", message));
    }
    let mut source = nifti::open_voxels(&header, bytes, pair, max_bytes)?;
    let labels = of_type!(header.datatype, Stored => match header.scaling {
        None => read::<Stored>(&mut source, &header, Voxel::label, Voxel::value),
        Some(scaling) => {
            let real = |stored: Stored| scaling.apply(Voxel::value(stored));
            read(&mut source, &header, remembered(|stored| nearly_label(real(stored))), real)
        }
    })?;
    let data = Array3::from_shape_vec((ni, nj, nk).f(), labels)
        .map_err(|error| Fault::bug("voxel_count", error.to_string()))?;
    Ok(Volume {
        data,
        affine: header.affine,
    })
}

/// Reads voxels to the end of their stream, as labels. What the stream is broken by comes before a value that is no label:
/// that may be the damage.
fn read<T: Voxel>(
    source: &mut Source<'_>,
    header: &Header,
    mut label: impl FnMut(T) -> Option<u16>,
    real: impl Fn(T) -> f64,
) -> Result<Vec<u16>, Fault> {
    let mut labels: Vec<u16> = bytemuck::allocation::try_zeroed_vec(header.voxels()).map_err(|()| {
        let message = format!("expected memory for {} labels, got none", header.voxels());
        Fault::exhausted("out_of_memory", message)
    })?;
    let zero_is_background = label(T::default()) == Some(0);
    let mut refused = None;
    each_chunk(source, header, |first, bytes| {
        if refused.is_some() {
            return;
        }
        let pieces = labels[first..]
            .chunks_mut(PIECE)
            .zip(bytes.chunks(PIECE * size_of::<T>()));
        for (index, (labels, bytes)) in pieces.enumerate() {
            if zero_is_background && is_zero(bytes) {
                continue;
            }
            if !convert(T::all(bytes, header.endianness), labels, &mut label) {
                let mut stored = T::all(bytes, header.endianness).enumerate();
                let first = first + index * PIECE;
                refused = stored
                    .find(|(_, stored)| label(*stored).is_none())
                    .map(|(position, stored)| (first + position, real(stored)));
                return;
            }
        }
    })?;
    source.check_end()?;
    match refused {
        None => Ok(labels),
        Some((position, real)) => Err(no_label(real, Index::of(position, header.shape_3d()?))),
    }
}

/// Puts a label for each value; returns whether each has one. Without a way out half-way it is done several at a time.
fn convert<T: Voxel>(
    stored: impl Iterator<Item = T>,
    labels: &mut [u16],
    mut label: impl FnMut(T) -> Option<u16>,
) -> bool {
    let mut all = true;
    for (slot, stored) in labels.iter_mut().zip(stored) {
        let label = label(stored);
        all &= label.is_some();
        *slot = label.unwrap_or(0);
    }
    all
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

/// Returns the same function that works out only what changes: neighbours mostly share a value.
fn remembered<T: Voxel>(label: impl Fn(T) -> Option<u16>) -> impl FnMut(T) -> Option<u16> {
    let mut last = (T::default(), label(T::default()));
    move |stored| {
        if stored != last.0 {
            last = (stored, label(stored));
        }
        last.1
    }
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
    map.data.map_inplace(|voxel| {
        // background is not written: it may lie in memory that nobody has touched yet
        if *voxel != 0 {
            *voxel = label;
        }
    });
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
    use crate::decode::testing::{Sample, gzip};

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
    fn the_limit_counts_the_labels_and_apart_from_them_what_is_unpacked() {
        let mut sample = Sample::new(1);
        (sample.dim, sample.voxels) = (vec![3, 400, 1, 1], vec![7; 400]);
        let reason =
            |sample: &Sample, most| from_nifti(&sample.file(), None, most).map_err(|fault| fault.reason);
        // 400 labels of two bytes; the header and as many voxels of one byte are less
        assert_eq!(reason(&sample, 799).map(|_| ()), Err("too_large"));
        assert!(reason(&sample, 800).is_ok());
        (sample.datatype, sample.voxels) = (64, vec![0; 3200]);
        assert_eq!(reason(&sample, 352 + 3199).map(|_| ()), Err("too_large"));
        assert!(reason(&sample, 352 + 3200).is_ok());
    }

    #[test]
    fn pieces_of_background_between_labels_stay_background() {
        let mut sample = Sample::new(1);
        sample.dim = vec![3, 3000, 50, 1];
        sample.voxels = vec![0; 150_000];
        for (position, label) in [
            (0, 1),
            (2047, 2),
            (2048, 3),
            (70_000, 4),
            (131_071, 5),
            (149_999, 6),
        ] {
            sample.voxels[position] = label;
        }
        let labels = |sample: &Sample| -> Vec<u16> {
            map_of(sample).expect("labels").data.t().iter().copied().collect()
        };
        let expected: Vec<u16> = sample.voxels.iter().map(|voxel| u16::from(*voxel)).collect();
        assert_eq!(labels(&sample), expected);
        // where background is not stored as 0 no piece is passed over
        sample.scaling = (1.0, 9.0);
        assert_eq!(
            labels(&sample),
            expected.iter().map(|label| label + 9).collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_first_of_several_values_that_are_no_labels_is_named_and_damage_comes_before_it() {
        let mut values = vec![0.0; 30_000];
        (values[20_001], values[20_002], values[29_999]) = (0.25, -1.0, 0.5);
        let bytes = of_floats(&values).file();
        let fault = from_nifti(&bytes, None, MAX).expect_err("no labels");
        assert!(
            fault.message.contains("0.25 at voxel (20001, 0, 0)"),
            "{}",
            fault.message
        );
        let packed = gzip(&bytes);
        for (damaged, reason) in [
            (bytes.len() - 1, "truncated"),
            (bytes.len(), "non_integer_labels"),
        ] {
            assert_eq!(
                from_nifti(&bytes[..damaged], None, MAX)
                    .expect_err("refused")
                    .reason,
                reason
            );
        }
        let mut checksum = packed;
        let last = checksum.len() - 5;
        checksum[last] ^= 1;
        assert_eq!(
            from_nifti(&checksum, None, MAX).expect_err("damaged").reason,
            "bad_gzip"
        );
    }
}
