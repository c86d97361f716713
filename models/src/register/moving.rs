//! The mask that is moved: how it looks from each pose.

use std::ops::{Range, RangeInclusive};

use ndarray::{Array3, ArrayView3};
use schemas::Affine;

use super::bone::{Bone, dice};
use super::correlation::{Correlation, Window};
use super::pose::{Pose, Vector};

/// Empty voxels around the mask, so that rounding at its edge meets voxels still.
const PAD: usize = 2;
/// Share of the interpolation weight from which on a point belongs to the mask.
const CUT: f64 = 0.5;
/// How far beside its place a voxel is sampled, in voxels. After a shift by exactly half a voxel all faces would be
/// ties: set, they thicken a bone by a voxel, which a search for the best overlap with a larger bone finds at once.
const BESIDE: [f64; 3] = [1e-6, 2e-6, 3e-6];

/// A mask to be moved.
pub(super) struct Moving {
    pub(super) bone: Bone,
    pub(super) spacing_mm: [f64; 3],
    /// What the mask turns about.
    pub(super) centroid_mm: Vector,
    /// Which of the eight voxels around each cell of the padded box are set, a bit each: most cells lie wholly inside
    /// or outside the bone, and one look tells.
    cells: Array3<u8>,
}

impl Moving {
    pub(super) fn new(bone: Bone, spacing_mm: [f64; 3], centroid_mm: Vector) -> Self {
        let cells = Array3::from_shape_fn(bone.shape().map(|size| size + 2 * PAD - 1), |(i, j, k)| {
            let mut bits = 0;
            for corner in 0..8 {
                let place = [i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)];
                let voxel = place.map(|index| index.wrapping_sub(PAD));
                let is_set = bone.mask.get(voxel).is_some_and(|value| *value != 0);
                bits |= u8::from(is_set) << corner;
            }
            bits
        });
        Self {
            bone,
            spacing_mm,
            centroid_mm,
            cells,
        }
    }

    /// Returns Dice's coefficient of the moved mask with a fixed one; what leaves the grid counts as moved.
    pub(super) fn dice(&self, pose: &Pose, fixed: &Bone) -> f64 {
        let (mut both, mut moved) = (0, 0);
        self.visit(pose, |voxel| {
            moved += 1;
            both += u64::from(fixed.is_set(voxel));
        });
        dice(both, fixed.voxels + moved)
    }

    /// Returns the moved mask on a grid of the given shape.
    pub(super) fn mask(&self, pose: &Pose, shape: (usize, usize, usize)) -> Array3<u8> {
        let mut mask = Array3::zeros(shape);
        self.visit(pose, |voxel| {
            // a negative index wraps round to one that no grid has
            if let Some(value) = mask.get_mut(voxel.map(|index| index as usize)) {
                *value = 1;
            }
        });
        mask
    }

    /// Visits every voxel that the moved mask fills, on the grid and around it.
    fn visit(&self, pose: &Pose, mut fill: impl FnMut([isize; 3])) {
        let spacing = Affine::axis_aligned(self.spacing_mm, [0.0; 3]);
        let to_index = Affine::axis_aligned(self.spacing_mm.map(|mm| 1.0 / mm), [0.0; 3]);
        let pad = [0, 1, 2].map(|axis: usize| PAD as f64 - self.bone.start[axis] as f64 + BESIDE[axis]);
        let to_cell = Affine::axis_aligned([1.0; 3], pad)
            .after(&to_index)
            .after(&pose.backward(self.centroid_mm))
            .after(&spacing);
        let to_grid = to_index.after(&pose.forward(self.centroid_mm)).after(&spacing);
        let [planes, rows, columns] = self.reach(&to_grid);
        let step = [0, 1, 2].map(|row: usize| to_cell.0[row][2]);
        for i in planes {
            for j in rows.clone() {
                let start = to_cell.apply([i as f64, j as f64, 0.0]);
                for k in self.part_within(start, step, columns.clone()) {
                    let place = [0, 1, 2].map(|axis: usize| start[axis] + step[axis] * k as f64);
                    if self.is_filled(place) {
                        fill([i, j, k]);
                    }
                }
            }
        }
    }

    /// Returns the part of the grid that the moved box can fill.
    fn reach(&self, to_grid: &Affine) -> [Range<isize>; 3] {
        let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
        for corner in 0..8 {
            let sides = [corner >> 2, corner >> 1 & 1, corner & 1];
            let place = to_grid.apply([0, 1, 2].map(|axis: usize| {
                let end = sides[axis] as f64 * (self.bone.shape()[axis] + 1) as f64;
                self.bone.start[axis] as f64 - 1.0 + end
            }));
            for axis in 0..3 {
                low[axis] = low[axis].min(place[axis]);
                high[axis] = high[axis].max(place[axis]);
            }
        }
        [0, 1, 2].map(|axis: usize| low[axis].floor() as isize..high[axis].ceil() as isize + 1)
    }

    /// Returns the part of a row whose places lie within the padded box's inner layer.
    fn part_within(&self, start: Vector, step: Vector, row: Range<isize>) -> Range<isize> {
        let (mut first, mut last) = (row.start as f64, row.end as f64 - 1.0);
        for axis in 0..3 {
            let ends = [0.5, (self.bone.shape()[axis] + 2) as f64 + 0.5];
            if step[axis] == 0.0 {
                if start[axis] < ends[0] || start[axis] > ends[1] {
                    return 0..0;
                }
                continue;
            }
            let [one, other] = ends.map(|end| (end - start[axis]) / step[axis]);
            first = first.max(one.min(other));
            last = last.min(one.max(other));
        }
        first.ceil() as isize..last.floor() as isize + 1
    }

    /// Returns whether the mask, interpolated linearly at a place of the padded box, is set.
    fn is_filled(&self, place: Vector) -> bool {
        // by way of i32, which processors convert to at once; a negative index wraps round to one that no box has
        let [i, j, k] = place.map(|value| value as i32 as usize);
        let bits = match self.cells.get([i, j, k]) {
            None | Some(0) => return false,
            Some(255) => return true,
            Some(bits) => *bits,
        };
        let [x, y, z] = [place[0] - i as f64, place[1] - j as f64, place[2] - k as f64];
        let value = |corner: u8| f64::from(bits >> corner & 1);
        let mix = |low: f64, high: f64, share: f64| low + share * (high - low);
        let near = mix(mix(value(0), value(1), z), mix(value(2), value(3), z), y);
        let far = mix(mix(value(4), value(5), z), mix(value(6), value(7), z), y);
        mix(near, far, x) >= CUT
    }

    /// Returns the whole shift within `most_mm` along each axis that overlaps most with the fixed mask; of equals the
    /// shortest.
    pub(super) fn best_shift(&self, fixed: &Bone, most_mm: f64) -> Pose {
        let window: Window = [0, 1, 2].map(|axis: usize| {
            let apart = self.bone.start[axis] as isize - fixed.start[axis] as isize;
            let most = (most_mm / self.spacing_mm[axis]).floor() as isize;
            apart - most..=apart + most
        });
        let first = window.each_ref().map(RangeInclusive::start);
        let shift_mm = |voxel: [usize; 3]| {
            [0, 1, 2].map(|axis: usize| {
                let apart = fixed.start[axis] as isize - self.bone.start[axis] as isize;
                (voxel[axis] as isize + first[axis] + apart) as f64 * self.spacing_mm[axis]
            })
        };
        let overlaps = Correlation::new(counts(&fixed.mask).view(), self.bone.shape(), window.clone())
            .overlaps(counts(&self.bone.mask).view());
        let (_, shift_mm) = most_overlap(overlaps.view(), shift_mm);
        Pose {
            rotation_degrees: [0.0; 3],
            shift_mm,
        }
    }
}

/// Returns the most overlap and its shift; of equals the shortest, then the first.
pub(super) fn most_overlap(
    overlaps: ArrayView3<'_, u64>,
    shift_mm: impl Fn([usize; 3]) -> Vector,
) -> (u64, Vector) {
    let length = |shift: &Vector| shift.iter().map(|mm| mm * mm).sum::<f64>();
    let found = overlaps
        .indexed_iter()
        .map(|(place, overlap)| (*overlap, shift_mm(place.into())));
    let better = |best: (u64, Vector), next: (u64, Vector)| {
        let is_better = next.0 > best.0 || next.0 == best.0 && length(&next.1) < length(&best.1);
        if is_better { next } else { best }
    };
    found.reduce(better).unwrap_or_default()
}

fn counts(mask: &Array3<u8>) -> Array3<u32> {
    mask.mapv(u32::from)
}
