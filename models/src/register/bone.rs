//! The set voxels of a mask.

use ndarray::{Array3, ArrayView3, s};

use super::pose::Vector;
use crate::degrade::frame::extents;

/// A mask within its bounding box.
pub(super) struct Bone {
    /// 0 or 1 per voxel of the box, C-contiguous.
    pub(super) mask: Array3<u8>,
    /// Where the box begins on the grid.
    pub(super) start: [usize; 3],
    pub(super) voxels: u64,
}

impl Bone {
    /// Returns the set voxels, or `None` without one.
    pub(super) fn of(mask: ArrayView3<'_, u8>) -> Option<Self> {
        let extent = extents(mask, 1, |value| (value != 0).then_some(0))
            .pop()
            .flatten()?;
        let [i, j, k] = extent.0;
        let start = [i.start, j.start, k.start];
        let set = mask.slice(s![i, j, k]).mapv(|value| u8::from(value != 0));
        let mask = set.as_standard_layout().into_owned();
        let voxels = mask.iter().map(|value| u64::from(*value)).sum();
        Some(Self { mask, start, voxels })
    }

    pub(super) fn shape(&self) -> [usize; 3] {
        self.mask.dim().into()
    }

    /// Returns the mean of the set voxels' middles, from the middle of the grid's first voxel.
    pub(super) fn centroid_mm(&self, spacing_mm: [f64; 3]) -> Vector {
        let mut sums = [0; 3];
        for ((i, j, k), value) in self.mask.indexed_iter() {
            for (sum, index) in sums.iter_mut().zip([i, j, k]) {
                *sum += u64::from(*value) * index as u64;
            }
        }
        [0, 1, 2].map(|axis: usize| {
            let index = self.start[axis] as f64 + sums[axis] as f64 / self.voxels as f64;
            index * spacing_mm[axis]
        })
    }

    /// Returns whether a voxel of the grid is set; outside the grid nothing is.
    pub(super) fn is_set(&self, voxel: [isize; 3]) -> bool {
        let place = [0, 1, 2].map(|axis: usize| voxel[axis].wrapping_sub_unsigned(self.start[axis]) as usize);
        // a negative index wraps round to one that no box has
        self.mask.get(place).is_some_and(|value| *value != 0)
    }

    /// Returns Dice's coefficient with a mask (0 or 1) of the whole grid.
    pub(super) fn dice(&self, other: ArrayView3<'_, u8>) -> f64 {
        let (mut both, mut voxels) = (0, 0);
        for ((i, j, k), _) in other.indexed_iter().filter(|(_, value)| **value != 0) {
            voxels += 1;
            both += u64::from(self.is_set([i, j, k].map(|index| index as isize)));
        }
        dice(both, self.voxels + voxels)
    }
}

/// Returns 2·both / (voxels of one and of the other).
pub(super) fn dice(both: u64, sum: u64) -> f64 {
    2.0 * both as f64 / sum as f64
}
