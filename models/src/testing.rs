//! What tests share.

use ndarray::Array3;

/// Returns the Dice coefficient of two masks.
pub fn dice(one: &Array3<u8>, other: &Array3<u8>) -> f64 {
    let both = one
        .iter()
        .zip(other)
        .filter(|(one, other)| **one != 0 && **other != 0)
        .count();
    2.0 * both as f64 / (voxels(one) + voxels(other)) as f64
}

/// Returns the number of a mask's voxels.
pub fn voxels(mask: &Array3<u8>) -> usize {
    mask.iter().filter(|voxel| **voxel != 0).count()
}
