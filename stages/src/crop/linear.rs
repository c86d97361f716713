//! Trilinear interpolation of a binary mask: what share of a point's surroundings is set.

use ndarray::ArrayView3;

/// Share of the interpolation weight from which on a point belongs to the mask.
pub const CUT: f64 = 0.5;

/// Returns the interpolation weight of the voxels around `index` that are `set`; voxels outside count as not
/// set.
///
/// Background outside means that a mask which fills the volume ends half a voxel past its outermost centres:
/// at the volume's edge, as everywhere else.
pub fn linear<T: Copy>(volume: &ArrayView3<'_, T>, index: [f64; 3], set: impl Fn(T) -> bool) -> f64 {
    let corner = index.map(f64::floor);
    let upper: [f64; 3] = std::array::from_fn(|axis| index[axis] - corner[axis]);
    // a negative corner wraps round to an index that no volume has, its neighbour 0 included
    let first = corner.map(|value| value as i64 as usize);
    let sides: [[(usize, f64); 2]; 3] = std::array::from_fn(|axis| {
        [
            (first[axis], 1.0 - upper[axis]),
            (first[axis].wrapping_add(1), upper[axis]),
        ]
    });
    let mut sum = 0.0;
    for (i, weight_i) in sides[0] {
        for (j, weight_j) in sides[1] {
            for (k, weight_k) in sides[2] {
                if volume.get((i, j, k)).is_some_and(|value| set(*value)) {
                    sum += weight_i * weight_j * weight_k;
                }
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn a_point_sees_its_eight_neighbours_by_distance_and_nothing_outside() {
        let mut volume = Array3::<u8>::zeros((2, 2, 2));
        volume[[0, 0, 0]] = 1;
        let at = |index| linear(&volume.view(), index, |value| value != 0);
        assert_eq!(at([0.0, 0.0, 0.0]), 1.0);
        assert_eq!(at([0.25, 0.5, 0.5]), 0.75 * 0.5 * 0.5);
        assert_eq!(at([-0.25, 0.0, 0.0]), 0.75);
        assert_eq!(at([-1.0, 0.0, 0.0]), 0.0);
        assert_eq!(at([1.0, 0.0, 0.0]), 0.0);
        assert_eq!(at([-1e300, 1e300, f64::NAN]), 0.0);
    }
}
