//! Rigid registration of one binary mask onto another of the same grid, for the best Dice coefficient.
//!
//! A paired CT comes from another scanner, so that a reference may lie shifted and turned against the reconstruction.
//! What a registration finds is fitted to the reference: measures taken after it are optimistic.
//!
//! The overlap of all whole shifts comes at once from a Fourier transform: on the grid itself for the mask as it is
//! turned, on coarse blocks for rotations over the whole range. From the best of both the six parameters climb, one at
//! a time, by the Dice coefficient of the moved mask itself. No step draws a random number or depends on threads.

mod blocks;
mod bone;
mod climb;
mod coarse;
mod correlation;
mod moving;
mod pose;

use ndarray::{Array3, ArrayView3};
use rayon::prelude::*;

use blocks::{Blocks, per_block};
use bone::Bone;
use climb::{Scored, climb};
use moving::Moving;
use pose::Pose;

/// How far a mask may be moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegisterConf {
    /// Largest rotation about each axis, either way, in degrees.
    pub most_degrees: f64,
    /// Largest shift along each axis, either way, in mm.
    pub most_mm: f64,
}

/// The rotations of the authors' search (±7°), and room for its shifts (−14 to 16 mm).
impl Default for RegisterConf {
    fn default() -> Self {
        Self {
            most_degrees: 7.0,
            most_mm: 16.0,
        }
    }
}

/// A mask moved onto another.
///
/// The motion turns the mask about its own centroid and then shifts it: x ↦ R·(x − c) + c + t, with c the mean of the
/// set voxels' centres and R = R₂·R₁·R₀, right-handed turns about the grid's own fixed axes, the first axis first. On a
/// patch the axes point right, anterior and superior.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Turns about the first, second and third axis, in degrees.
    pub rotation_degrees: [f64; 3],
    /// Way of the centroid along each axis, in mm.
    pub shift_mm: [f64; 3],
    /// Whether the motion ends at the limit of the search: a better one may lie beyond.
    pub is_at_limit: bool,
    /// Dice coefficient without any motion.
    pub dsc_before: f64,
    /// Dice coefficient of `mask`, never less than `dsc_before`.
    pub dsc_after: f64,
    /// The moved mask (0 or 1), interpolated linearly and cut at one half, as patches are cut from scans: nearest
    /// neighbours would roughen the surface that is to be measured. A motion by whole voxels copies them.
    pub mask: Array3<u8>,
}

/// Edge of the voxels on which every start climbs, in mm.
const ROUGH_MM: f64 = 2.0;
/// Steps of a climb in mm and degrees, halved from the first to the last: of every start on rough voxels, then of the
/// best on the masks themselves.
const ROUGH_STEPS: [f64; 2] = [2.0, 0.5];
const FINE_STEPS: [f64; 2] = [0.5, 0.0625];

/// Returns the rigid motion of `moving` onto `fixed` with the best Dice coefficient that was found within `conf`, or
/// `None` where a mask is empty. Every value but 0 counts as set.
///
/// Without a motion that is better the mask stays where it is, to the voxel. A part that leaves the grid is lost from
/// `mask`, but the search counts it, so that nothing is won by pushing a mask out.
///
/// # Panics
/// If the two masks differ in shape.
pub fn register(
    moving: ArrayView3<'_, u8>,
    fixed: ArrayView3<'_, u8>,
    spacing_mm: [f64; 3],
    conf: &RegisterConf,
) -> Option<Registration> {
    assert_eq!(moving.dim(), fixed.dim(), "two masks of one grid");
    let (moving, fixed_bone) = (Bone::of(moving)?, Bone::of(fixed)?);
    let centroid_mm = moving.centroid_mm(spacing_mm);
    let search = Search {
        moving: Moving::new(moving, spacing_mm, centroid_mm),
        fixed: fixed_bone,
        conf: *conf,
    };
    let unmoved = search.scored(Pose::default());
    let best = search.best(unmoved);
    let mask = search.moving.mask(&best.pose, fixed.dim());
    Some(Registration {
        rotation_degrees: best.pose.rotation_degrees,
        shift_mm: best.pose.shift_mm,
        is_at_limit: best.pose.is_at_limit(conf, FINE_STEPS[1]),
        dsc_before: unmoved.dsc,
        dsc_after: search.fixed.dice(mask.view()),
        mask,
    })
}

struct Search {
    moving: Moving,
    fixed: Bone,
    conf: RegisterConf,
}

impl Search {
    fn scored(&self, pose: Pose) -> Scored {
        let dsc = self.moving.dice(&pose, &self.fixed);
        Scored { pose, dsc }
    }

    fn best(&self, unmoved: Scored) -> Scored {
        if unmoved.dsc == 1.0 {
            return unmoved;
        }
        let shifted = self.scored(self.moving.best_shift(&self.fixed, self.conf.most_mm));
        if shifted.dsc == 1.0 {
            return shifted;
        }
        let rough = self.rough();
        let rough = rough.as_ref().unwrap_or(self);
        let mut starts = vec![shifted.pose];
        starts.extend(coarse::poses(&self.moving, &self.fixed, &self.conf));
        let climbed: Vec<Scored> = starts
            .into_par_iter()
            .map(|start| rough.climb(start, ROUGH_STEPS))
            .collect();
        let best = climbed.into_iter().reduce(Scored::better);
        let turned = best.map_or(shifted, |best| self.climb(best.pose, FINE_STEPS));
        unmoved.better(shifted).better(turned)
    }

    fn climb(&self, start: Pose, steps: [f64; 2]) -> Scored {
        climb(self.scored(start), |pose| self.scored(pose), steps, &self.conf)
    }

    /// Returns the same search on rougher voxels, or `None` where nothing would be left of a mask.
    fn rough(&self) -> Option<Self> {
        let (bone, spacing_mm) = (&self.moving.bone, self.moving.spacing_mm);
        let per_block = per_block(ROUGH_MM, spacing_mm);
        let moving = Blocks::of(bone, per_block);
        let corner_mm = moving.corner_mm(spacing_mm);
        // the same point of the bone, from the corner of the rougher grid, so that a pose means the same motion
        let centroid_mm = [0, 1, 2].map(|axis: usize| self.moving.centroid_mm[axis] - corner_mm[axis]);
        Some(Self {
            moving: Moving::new(moving.bone()?, moving.block_mm(spacing_mm), centroid_mm),
            fixed: Blocks::of(&self.fixed, per_block).bone()?,
            conf: self.conf,
        })
    }
}

#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod tests;
