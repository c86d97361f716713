//! From a signed function to voxels, without looking at most of them.

use std::ops::Range;

use ndarray::Array3;
use schemas::Affine;

use super::shape::Vector;

/// Returns which voxels of the ranges have their centre where `signed` (of a voxel index) is negative.
///
/// `steepest` bounds how much the function changes per mm. A block whose middle is farther from the surface than its
/// corners are from its middle is settled at once; the others are halved, down to a few voxels.
pub(super) fn voxels(
    ranges: &[Range<usize>; 3],
    affine: &Affine,
    steepest: f64,
    signed: impl Fn(Vector) -> f64,
) -> Array3<bool> {
    let shape = [0, 1, 2].map(|axis: usize| ranges[axis].len());
    let mut inside = Array3::from_elem(shape, false);
    let spacing_mm = affine.spacing_mm();
    let mut open = vec![ranges.clone()];
    while let Some(block) = open.pop() {
        let lengths = [0, 1, 2].map(|axis: usize| block[axis].len());
        if lengths.contains(&0) {
            continue;
        }
        let few = lengths.iter().product::<usize>() <= 4;
        let middle =
            signed([0, 1, 2].map(|axis: usize| (block[axis].start + block[axis].end - 1) as f64 / 2.0));
        let settled = middle.abs() > steepest * half_diagonal_mm(affine, lengths);
        if settled || few {
            for i in block[0].clone() {
                for j in block[1].clone() {
                    for k in block[2].clone() {
                        let value = if settled {
                            middle
                        } else {
                            signed([i as f64, j as f64, k as f64])
                        };
                        let place = [i - ranges[0].start, j - ranges[1].start, k - ranges[2].start];
                        inside[place] = value < 0.0;
                    }
                }
            }
            continue;
        }
        let long = |axis: &usize| lengths[*axis] as f64 * spacing_mm[*axis];
        let splittable = [0, 1, 2].into_iter().filter(|axis| lengths[*axis] > 1);
        let Some(axis) = splittable.max_by(|a, b| long(a).total_cmp(&long(b))) else {
            continue;
        };
        let half = block[axis].start + lengths[axis] / 2;
        let (mut low, mut high) = (block.clone(), block);
        low[axis].end = half;
        high[axis].start = half;
        open.extend([low, high]);
    }
    inside
}

/// Returns the distance from the middle of a block to the centre of its farthest voxel, in mm.
fn half_diagonal_mm(affine: &Affine, lengths: [usize; 3]) -> f64 {
    let half = lengths.map(|length| (length as f64 - 1.0) / 2.0);
    let mut longest = 0.0_f64;
    for signs in [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]] {
        let square: f64 = (0..3)
            .map(|row| {
                let line = &affine.0[row];
                (line[0] * half[0] + line[1] * half[1] * signs[0] + line[2] * half[2] * signs[1]).powi(2)
            })
            .sum();
        longest = longest.max(square);
    }
    longest.sqrt()
}
