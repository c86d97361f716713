//! How much two volumes overlap, for all shifts at once.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ndarray::{Array3, ArrayView3};
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

/// Whole shifts along each axis.
pub(super) type Window = [RangeInclusive<isize>; 3];

/// A fixed volume that others are laid over.
///
/// Volumes hold whole numbers, and so do their overlaps: rounding takes away what the transform errs by, some 1e-8, so
/// that the same numbers come out on every machine.
pub(super) struct Correlation {
    window: Window,
    shape: [usize; 3],
    forward: [Arc<dyn Fft<f64>>; 3],
    backward: [Arc<dyn Fft<f64>>; 3],
    /// The fixed volume's transform.
    fixed: Vec<Complex<f64>>,
}

impl Correlation {
    /// Prepares to lay volumes of `moving` voxels over `fixed`.
    pub(super) fn new(fixed: ArrayView3<'_, u32>, moving: [usize; 3], window: Window) -> Self {
        let sizes: [usize; 3] = fixed.dim().into();
        let shape = [0, 1, 2].map(|axis: usize| {
            let (moving, fixed) = (moving[axis], sizes[axis]);
            // Overlaps are nil but for shifts of 1 − moving to fixed − 1. A transform of n voxels adds those of shift
            // d ± n to that of d; none is in reach of the window if n ≥ fixed − first and n ≥ moving + last.
            let before = (fixed as isize - window[axis].start()).max(0) as usize;
            let after = (moving as isize + window[axis].end()).max(0) as usize;
            quick_length(moving.max(fixed).max(before).max(after))
        });
        let mut planner = FftPlanner::new();
        let forward = shape.map(|length| planner.plan_fft_forward(length));
        let backward = shape.map(|length| planner.plan_fft_inverse(length));
        let fixed = transform(&forward, shape, spread(fixed, shape));
        Self {
            window,
            shape,
            forward,
            backward,
            fixed,
        }
    }

    /// Returns Σ moving[x]·fixed[x + d] for each shift d of the window.
    pub(super) fn overlaps(&self, moving: ArrayView3<'_, u32>) -> Array3<u64> {
        let mut spectrum = transform(&self.forward, self.shape, spread(moving, self.shape));
        for (moving, fixed) in spectrum.iter_mut().zip(&self.fixed) {
            *moving = moving.conj() * fixed;
        }
        let overlaps = transform(&self.backward, self.shape, spectrum);
        let [_, rows, columns] = self.shape;
        let scale = 1.0 / overlaps.len() as f64;
        let first = [0, 1, 2].map(|axis: usize| *self.window[axis].start());
        let sizes = [0, 1, 2].map(|axis: usize| self.window[axis].clone().count());
        Array3::from_shape_fn(sizes, |(i, j, k)| {
            let shift = [i, j, k];
            let [i, j, k] = [0, 1, 2].map(|axis: usize| {
                let length = self.shape[axis] as isize;
                (first[axis] + shift[axis] as isize).rem_euclid(length) as usize
            });
            (overlaps[(i * rows + j) * columns + k].re * scale).round() as u64
        })
    }
}

/// Returns the volume with zeros behind it.
fn spread(volume: ArrayView3<'_, u32>, shape: [usize; 3]) -> Vec<Complex<f64>> {
    let [planes, rows, columns] = shape;
    let mut spread = vec![Complex::default(); planes * rows * columns];
    for ((i, j, k), value) in volume.indexed_iter() {
        spread[(i * rows + j) * columns + k].re = f64::from(*value);
    }
    spread
}

/// Returns the transform along all three axes.
fn transform(
    plans: &[Arc<dyn Fft<f64>>; 3],
    shape: [usize; 3],
    mut data: Vec<Complex<f64>>,
) -> Vec<Complex<f64>> {
    // rows of the last axis lie together; three turns of the axes, and each of them has been the last
    for axis in [2, 1, 0] {
        plans[axis].process(&mut data);
        data = turned(&data, shape[axis]);
    }
    data
}

/// Returns the volume with its last axis, of `columns` voxels, first.
fn turned(data: &[Complex<f64>], columns: usize) -> Vec<Complex<f64>> {
    let mut turned = Vec::with_capacity(data.len());
    for column in 0..columns {
        turned.extend(data.iter().skip(column).step_by(columns));
    }
    turned
}

/// Returns the least length from `least` on that has no prime factor above 5: transforms of those are quick.
fn quick_length(least: usize) -> usize {
    let is_quick = |length: &usize| {
        let mut rest = *length;
        for factor in [2, 3, 5] {
            while rest.is_multiple_of(factor) {
                rest /= factor;
            }
        }
        rest == 1
    };
    (least.max(1)..).find(is_quick).expect("a power of two follows")
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;
    use crate::seed::generator;

    #[test]
    fn overlaps_are_those_counted_one_by_one_for_every_shift() {
        let mut rng = generator(1);
        let windows = [
            [-3..=4, -2..=2, 0..=5],
            [-20..=20, 1..=3, -9..=-2],
            [0..=0, -7..=-7, 30..=31],
        ];
        for (sizes, window) in [
            ([6, 5, 4], [5, 7, 3]),
            ([2, 9, 8], [9, 2, 8]),
            ([1, 1, 30], [3, 3, 3]),
        ]
        .into_iter()
        .zip(windows)
        {
            let mut volume =
                |shape: [usize; 3]| Array3::from_shape_simple_fn(shape, || rng.random_range(0..65));
            let (moving, fixed): (Array3<u32>, Array3<u32>) = (volume(sizes.0), volume(sizes.1));
            let found = Correlation::new(fixed.view(), sizes.0, window.clone()).overlaps(moving.view());
            for ((i, j, k), found) in found.indexed_iter() {
                let shift = [0, 1, 2].map(|axis: usize| window[axis].start() + [i, j, k][axis] as isize);
                let mut expected = 0;
                for ((i, j, k), value) in moving.indexed_iter() {
                    let place =
                        [0, 1, 2].map(|axis: usize| ([i, j, k][axis] as isize + shift[axis]) as usize);
                    expected += u64::from(*value) * u64::from(*fixed.get(place).unwrap_or(&0));
                }
                assert_eq!(*found, expected, "{sizes:?} {shift:?}");
            }
        }
    }

    #[test]
    fn quick_lengths_have_small_factors() {
        assert_eq!([0, 1, 7, 11, 97, 121].map(quick_length), [1, 1, 8, 12, 100, 125]);
    }
}
