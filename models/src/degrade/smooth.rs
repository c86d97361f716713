//! Blur within slices and smooth noise, both along one axis at a time.

use ndarray::{Array3, ArrayViewMut2, Axis, Slice, Zip};
use rand::{Rng, RngExt as _};
use rand_distr::StandardNormal;

/// Blurs every slice (axes 1 and 2) by a Gaussian of that many voxels a side axis; outside there is nothing.
pub(super) fn blur_slices(slices: &mut Array3<f32>, sd_voxels: [f64; 2]) {
    let (_, rows, columns) = slices.dim();
    let along_rows = taps(sd_voxels[0], rows);
    let along_columns = taps(sd_voxels[1], columns);
    for mut slice in slices.axis_iter_mut(Axis(0)) {
        convolve(slice.view_mut().reversed_axes(), &along_columns);
        convolve(slice.view_mut(), &along_rows);
    }
}

/// Adds up the plane's shifted copies along axis 0, weighted by the symmetric `taps` (middle one first).
fn convolve(mut plane: ArrayViewMut2<'_, f32>, taps: &[f32]) {
    let source = plane.to_owned();
    let length = source.dim().0;
    plane.map_inplace(|value| *value *= taps[0]);
    for (shift, weight) in taps
        .iter()
        .enumerate()
        .skip(1)
        .take_while(|(shift, _)| *shift < length)
    {
        let (head, tail) = (Slice::from(..length - shift), Slice::from(shift..));
        plane
            .slice_axis_mut(Axis(0), tail)
            .scaled_add(*weight, &source.slice_axis(Axis(0), head));
        plane
            .slice_axis_mut(Axis(0), head)
            .scaled_add(*weight, &source.slice_axis(Axis(0), tail));
    }
}

/// Returns one half of a normalised Gaussian, from its middle to 2.5 standard deviations, `longest` at most.
fn taps(sd_voxels: f64, longest: usize) -> Vec<f32> {
    let reach = (2.5 * sd_voxels).ceil().min(longest as f64).max(0.0) as usize;
    let half: Vec<f64> = (0..=reach)
        .map(|step| (-0.5 * (step as f64 / sd_voxels).powi(2)).exp())
        .collect();
    let sum = 2.0 * half.iter().sum::<f64>() - 1.0;
    half.iter()
        .map(|weight| if reach == 0 { 1.0 } else { (weight / sum) as f32 })
        .collect()
}

/// What the standard deviation of unit noise on a lattice shrinks to between its nodes, in three dimensions.
///
/// Linear interpolation at a uniformly random place has variance 2/3 per axis; (2/3)^(3/2) = 0.544.
const INTERPOLATION_SD: f32 = 0.544;

/// Returns Gaussian noise of unit standard deviation with grains of `grain` voxels a side (at least one).
///
/// White noise on a lattice, interpolated linearly along one axis after the other.
pub(super) fn smooth_noise(rng: &mut impl Rng, shape: [usize; 3], grain: [f64; 3]) -> Array3<f32> {
    let grain = grain.map(|voxels| voxels.max(1.0));
    let nodes = |axis: usize| (shape[axis] as f64 / grain[axis]).ceil() as usize + 2;
    let mut noise = Array3::from_shape_simple_fn((nodes(0), nodes(1), nodes(2)), || {
        rng.sample::<f32, _>(StandardNormal) / INTERPOLATION_SD
    });
    for axis in 0..3 {
        noise = stretch(&noise, Axis(axis), shape[axis], grain[axis]);
    }
    noise
}

/// Returns `length` values along `axis` from nodes that stand `step` apart.
fn stretch(nodes: &Array3<f32>, axis: Axis, length: usize, step: f64) -> Array3<f32> {
    let mut dim = nodes.raw_dim();
    dim[axis.index()] = length;
    let mut stretched = Array3::zeros(dim);
    for (index, values) in stretched.axis_iter_mut(axis).enumerate() {
        let position = (index as f64 + 0.5) / step;
        let node = position as usize;
        let share = (position - node as f64) as f32;
        let (low, high) = (nodes.index_axis(axis, node), nodes.index_axis(axis, node + 1));
        Zip::from(values)
            .and(low)
            .and(high)
            .for_each(|value, low, high| *value = low + share * (high - low));
    }
    stretched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::generator;

    #[test]
    fn a_blurred_point_keeps_its_sum_and_has_the_variance_asked_for() {
        let mut slices = Array3::zeros((1, 31, 31));
        slices[[0, 15, 15]] = 1.0;
        blur_slices(&mut slices, [2.0, 1.0]);
        let mut variance = [0.0; 2];
        for ((_, row, column), value) in slices.indexed_iter() {
            variance[0] += value * (row as f32 - 15.0).powi(2);
            variance[1] += value * (column as f32 - 15.0).powi(2);
        }
        assert!((slices.sum() - 1.0).abs() < 1e-5);
        // a Gaussian cut at ±5.5 = 2.75 standard deviations has 0.950 of its variance, at ±3.5 = 3.5 of them 0.994
        assert!((variance[0] / (4.0 * 0.950) - 1.0).abs() < 0.01, "{variance:?}");
        assert!((variance[1] / 0.994 - 1.0).abs() < 0.01, "{variance:?}");
    }

    #[test]
    fn noise_is_smooth_and_has_unit_deviation() {
        let noise = smooth_noise(&mut generator(1), [60, 60, 60], [3.0, 6.0, 6.0]);
        let mean = noise.mean().expect("not empty");
        assert!(mean.abs() < 0.05, "{mean}");
        assert!((noise.std(0.0) - 1.0).abs() < 0.08, "{}", noise.std(0.0));
        let (first, last) = (Slice::from(..59), Slice::from(1..));
        let step = &noise.slice_axis(Axis(2), last) - &noise.slice_axis(Axis(2), first);
        assert!(step.std(0.0) < 0.4, "{}", step.std(0.0));
    }
}
