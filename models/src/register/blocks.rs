//! A mask in blocks of several voxels.

use ndarray::Array3;

use super::bone::Bone;
use super::pose::Vector;

/// Value of a full block: whole numbers stay whole in a correlation.
const FULL: f64 = 64.0;

/// Returns how many voxels along each axis make a block of about `mm`, at least one.
pub(super) fn per_block(mm: f64, spacing_mm: [f64; 3]) -> [usize; 3] {
    spacing_mm.map(|spacing| (mm / spacing).round().max(1.0) as usize)
}

/// Which share of each block is set.
pub(super) struct Blocks {
    /// Shares of [`FULL`], rounded, within the box of the blocks that the mask meets.
    pub(super) values: Array3<u32>,
    per_block: [usize; 3],
    /// Where the box begins, in blocks from the grid's own corner.
    start: [usize; 3],
}

impl Blocks {
    pub(super) fn of(bone: &Bone, per_block: [usize; 3]) -> Self {
        let start = [0, 1, 2].map(|axis: usize| bone.start[axis] / per_block[axis]);
        let within = [0, 1, 2].map(|axis: usize| bone.start[axis] % per_block[axis]);
        let shape =
            [0, 1, 2].map(|axis: usize| (within[axis] + bone.shape()[axis]).div_ceil(per_block[axis]));
        let mut counts = Array3::<u32>::zeros(shape);
        for ((i, j, k), value) in bone.mask.indexed_iter() {
            let block = [0, 1, 2].map(|axis: usize| (within[axis] + [i, j, k][axis]) / per_block[axis]);
            counts[block] += u32::from(*value);
        }
        let voxels = per_block.iter().product::<usize>() as f64;
        Self {
            values: counts.mapv(|count| (f64::from(count) * FULL / voxels).round() as u32),
            per_block,
            start,
        }
    }

    /// Returns the blocks as voxels of a coarser grid, set where at least half of the block is; `None` if nowhere.
    pub(super) fn bone(&self) -> Option<Bone> {
        let mut bone = Bone::of(
            self.values
                .mapv(|value| u8::from(f64::from(value) >= FULL / 2.0))
                .view(),
        )?;
        for axis in 0..3 {
            bone.start[axis] += self.start[axis];
        }
        Some(bone)
    }

    pub(super) fn block_mm(&self, spacing_mm: [f64; 3]) -> [f64; 3] {
        [0, 1, 2].map(|axis: usize| self.per_block[axis] as f64 * spacing_mm[axis])
    }

    /// Returns where the middle of the grid's first block lies, the middle of its first voxel being the origin.
    pub(super) fn corner_mm(&self, spacing_mm: [f64; 3]) -> Vector {
        [0, 1, 2].map(|axis: usize| (self.per_block[axis] as f64 - 1.0) / 2.0 * spacing_mm[axis])
    }

    /// Returns the middle of the box's first block.
    pub(super) fn middle_mm(&self, spacing_mm: [f64; 3]) -> Vector {
        let (corner_mm, block_mm) = (self.corner_mm(spacing_mm), self.block_mm(spacing_mm));
        [0, 1, 2].map(|axis: usize| corner_mm[axis] + self.start[axis] as f64 * block_mm[axis])
    }

    /// Returns the linear interpolation between the middles of the box's blocks, with zeros around them.
    pub(super) fn interpolated(&self, place: Vector) -> f64 {
        let low = place.map(f64::floor);
        let share = [0, 1, 2].map(|axis: usize| place[axis] - low[axis]);
        let mut sum = 0.0;
        for corner in 0..8 {
            let sides = [corner >> 2, corner >> 1 & 1, corner & 1];
            // a negative index wraps round to one that no volume has
            let index = [0, 1, 2].map(|axis: usize| (low[axis] as isize + sides[axis]) as usize);
            if let Some(value) = self.values.get(index) {
                let weight = |axis: usize| {
                    if sides[axis] == 1 {
                        share[axis]
                    } else {
                        1.0 - share[axis]
                    }
                };
                sum += weight(0) * weight(1) * weight(2) * f64::from(*value);
            }
        }
        sum
    }
}
