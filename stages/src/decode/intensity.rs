//! How bright an image is under the labels of a map on the same grid: told while the image is unpacked, which is never
//! held.

use std::collections::BTreeMap;

use schemas::{Affine, Fault, LabelMap};

use super::format::{self, Format};
use super::nifti::{self, Header, Voxel, each_chunk, of_type};
use super::source::Source;

/// Largest difference between entries of two affines that still count as the same grid, in mm.
const AFFINE_TOLERANCE: f64 = 1e-3;

/// Mean and spread of values that come one by one (Welford, Technometrics 4(3), 1962).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    /// How many finite values there were.
    pub count: u64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.count += 1;
            let from_old = value - self.mean;
            self.mean += from_old / self.count as f64;
            self.squares += from_old * (value - self.mean);
        }
    }

    /// Returns the mean; `None` of no values.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Returns the standard deviation of these values themselves (divided by their number); `None` of no values.
    pub fn sd(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.squares / self.count as f64).sqrt())
    }
}

/// Returns the moments of an image's values, after scaling, under each of `wanted` labels; `None` where the image is no
/// NIfTI, or not on the map's grid. See [`nifti::read`] for the other arguments.
///
/// # Errors
/// As [`nifti::read`].
pub fn under_labels(
    bytes: &[u8],
    pair: Option<&[u8]>,
    map: &LabelMap,
    wanted: impl IntoIterator<Item = u16>,
    max_bytes: u64,
) -> Result<Option<BTreeMap<u16, Moments>>, Fault> {
    if Format::of(&format::head(bytes)?)? == Format::Dicom {
        return Ok(None);
    }
    let header = Header::read(bytes)?;
    if header.shape_3d()? != map.shape() || !is_same(&header.affine, &map.affine) {
        return Ok(None);
    }
    let mut source = nifti::open_voxels(&header, bytes, pair, max_bytes)?;
    // in the file's order, as the map mostly lies already
    let first_axis_fastest = map.data.t();
    let first_axis_fastest = first_axis_fastest.as_standard_layout();
    let labels = first_axis_fastest.as_slice().expect("in its standard order");
    let mut moments: BTreeMap<u16, Moments> = wanted
        .into_iter()
        .map(|label| (label, Moments::default()))
        .collect();
    of_type!(header.datatype, Stored => tally::<Stored>(&mut source, &header, labels, &mut moments))?;
    source.check_end()?;
    Ok(Some(moments))
}

fn tally<T: Voxel>(
    source: &mut Source<'_>,
    header: &Header,
    labels: &[u16],
    moments: &mut BTreeMap<u16, Moments>,
) -> Result<(), Fault> {
    each_chunk(source, header, |first, bytes| {
        let labels = labels.iter().skip(first);
        let stored = T::all(bytes, header.endianness);
        for (label, stored) in labels.zip(stored).filter(|(label, _)| **label != 0) {
            if let Some(moments) = moments.get_mut(label) {
                let value = stored.value();
                moments.add(header.scaling.map_or(value, |scaling| scaling.apply(value)));
            }
        }
    })
}

fn is_same(one: &Affine, other: &Affine) -> bool {
    let mut pairs = one.0.iter().flatten().zip(other.0.iter().flatten());
    pairs.all(|(one, other)| (one - other).abs() <= AFFINE_TOLERANCE)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::decode::label_map;
    use crate::decode::testing::{Sample, gzip};

    const MAX: u64 = 1 << 20;

    /// Label 20 over the image's values 3, 4 and 8, label 21 over 23, and 22 over 5.
    fn map() -> LabelMap {
        let mut sample = Sample::new(1);
        sample.voxels = vec![0; 24];
        for (position, label) in [(3, 20), (4, 20), (8, 20), (23, 21), (5, 22)] {
            sample.voxels[position] = label;
        }
        label_map(&sample.file(), None, MAX).expect("a label map")
    }

    fn seen(image: &Sample, map: &LabelMap) -> Option<BTreeMap<u16, Moments>> {
        let plain = under_labels(&image.file(), None, map, [20, 21, 24], MAX).expect("an image");
        let packed = under_labels(&gzip(&image.file()), None, map, [20, 21, 24], MAX).expect("an image");
        assert_eq!(plain, packed);
        plain
    }

    fn assert_seen(image: &Sample, map: &LabelMap, mean: f64, sd: f64) {
        let seen = seen(image, map).expect("the same grid");
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [20, 21, 24]);
        let (found_mean, found_sd) = (seen[&20].mean().expect("voxels"), seen[&20].sd().expect("voxels"));
        assert!((found_mean - mean).abs() < 1e-9, "{found_mean} {mean}");
        assert!((found_sd - sd).abs() < 1e-9, "{found_sd} {sd}");
        assert_eq!(seen[&21].sd(), Some(0.0));
        assert_eq!((seen[&24].mean(), seen[&24].sd()), (None, None));
    }

    #[test]
    fn values_under_a_label_have_the_mean_and_deviation_of_the_textbook() {
        // 3, 4, 8: mean 5, squares 4 + 1 + 9
        let sd = (14.0_f64 / 3.0).sqrt();
        let mut image = Sample::new(1);
        assert_seen(&image, &map(), 5.0, sd);
        image.scaling = (-2.0, 7.0);
        assert_seen(&image, &map(), -3.0, 2.0 * sd);
        image.scaling = (1.0, 0.0);
        (image.datatype, image.voxels) = (
            4,
            (0..24_i16).flat_map(|value| (value - 9).to_le_bytes()).collect(),
        );
        assert_seen(&image, &map(), -4.0, sd);
        (image.datatype, image.voxels) = (
            16,
            (0..24_u8)
                .flat_map(|value| (f32::from(value) * 0.5).to_le_bytes())
                .collect(),
        );
        assert_seen(&image, &map(), 2.5, sd / 2.0);
    }

    #[test]
    fn the_order_of_the_map_in_memory_does_not_count_and_values_that_are_none_are_left_out() {
        let mut turned = map();
        let mut standard = Array3::zeros(turned.data.dim());
        standard.assign(&turned.data);
        turned.data = standard;
        let mut image = Sample::new(2);
        image.datatype = 64;
        let values = (0..24_u8).map(|value| if value == 8 { f64::NAN } else { f64::from(value) });
        image.voxels = values.flat_map(f64::to_le_bytes).collect();
        assert_seen(&image, &turned, 3.5, 0.5);
        assert_seen(&image, &map(), 3.5, 0.5);
    }

    #[test]
    fn an_image_on_another_grid_is_passed_over_and_a_damaged_one_is_a_fault() {
        let mut shifted = Sample::new(1);
        shifted.srow[0][3] += 0.5;
        assert_eq!(seen(&shifted, &map()), None);
        let mut smaller = Sample::new(1);
        (smaller.dim, smaller.voxels) = (vec![3, 2, 3, 3], vec![0; 18]);
        assert_eq!(seen(&smaller, &map()), None);
        let bytes = Sample::new(1).file();
        let fault = under_labels(&bytes[..bytes.len() - 1], None, &map(), [20], MAX).expect_err("cut short");
        assert_eq!(fault.reason, "truncated");
    }
}
