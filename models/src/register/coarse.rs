//! Where to start from: rotations over the whole range, each with its best shift, on coarse blocks.

use std::cmp::Reverse;

use ndarray::Array3;
use rayon::prelude::*;
use schemas::Affine;

use super::RegisterConf;
use super::blocks::{Blocks, per_block};
use super::bone::Bone;
use super::correlation::{Correlation, Window};
use super::moving::{Moving, most_overlap};
use super::pose::{Pose, Vector};

/// Edge of a block, in mm: about the thickness of an endplate's or a lamina's surroundings.
const BLOCK_MM: f64 = 4.0;
/// Most degrees between neighbouring rotations: 3 mm at the tip of a process.
const APART_DEGREES: f64 = 3.5;
/// Poses handed on.
const STARTS: usize = 4;

/// Returns the poses that overlap most, the best first.
pub(super) fn poses(moving: &Moving, fixed: &Bone, conf: &RegisterConf) -> Vec<Pose> {
    let per_block = per_block(BLOCK_MM, moving.spacing_mm);
    let blocks = Blocks::of(&moving.bone, per_block);
    let fixed_blocks = Blocks::of(fixed, per_block);
    let block_mm = blocks.block_mm(moving.spacing_mm);
    let rotations = rotations(conf.most_degrees);

    // turned masks lie in boxes of odd size with the centroid in the middle
    let half = half_size(moving, &rotations, block_mm);
    let middle_mm = fixed_blocks.middle_mm(moving.spacing_mm);
    let shift_of = |shift: [isize; 3]| {
        [0, 1, 2].map(|axis: usize| {
            let block = (shift[axis] + half[axis] as isize) as f64;
            middle_mm[axis] + block * block_mm[axis] - moving.centroid_mm[axis]
        })
    };
    let unshifted = shift_of([0; 3]);
    let window: Window = [0, 1, 2].map(|axis: usize| {
        let nearest = |mm: f64| ((mm - unshifted[axis]) / block_mm[axis]).round() as isize;
        nearest(-conf.most_mm)..=nearest(conf.most_mm)
    });
    let first = window.each_ref().map(|shifts| *shifts.start());
    let correlation = Correlation::new(fixed_blocks.values.view(), half.map(|half| 2 * half + 1), window);

    let mut found: Vec<(u64, Pose)> = rotations
        .into_par_iter()
        .map(|rotation_degrees| {
            let pose = Pose {
                rotation_degrees,
                shift_mm: [0.0; 3],
            };
            let values = turned(&blocks, &pose, moving, half);
            let overlaps = correlation.overlaps(values.view());
            let (overlap, shift_mm) = most_overlap(overlaps.view(), |place| {
                shift_of([0, 1, 2].map(|axis: usize| first[axis] + place[axis] as isize))
            });
            (overlap, Pose { shift_mm, ..pose }.within(conf))
        })
        .collect();
    // stable: of equals the first
    found.sort_by_key(|(overlap, _)| Reverse(*overlap));
    found.into_iter().take(STARTS).map(|(_, pose)| pose).collect()
}

/// Returns the rotations that are looked at: the same steps about each axis, unturned among them.
fn rotations(most_degrees: f64) -> Vec<Vector> {
    let steps = (most_degrees / APART_DEGREES).ceil() as i32;
    let angles: Vec<f64> = (-steps..=steps)
        .map(|step| most_degrees * f64::from(step) / f64::from(steps.max(1)))
        .collect();
    let mut rotations = Vec::with_capacity(angles.len().pow(3));
    for x in &angles {
        for y in &angles {
            rotations.extend(angles.iter().map(|z| [*x, *y, *z]));
        }
    }
    rotations
}

/// Returns how many blocks a turned mask reaches from its centroid, at most.
fn half_size(moving: &Moving, rotations: &[Vector], block_mm: [f64; 3]) -> [usize; 3] {
    let bone = &moving.bone;
    let reach_mm = [0, 1, 2].map(|axis: usize| {
        let edge = |index: usize| (index as f64 * moving.spacing_mm[axis] - moving.centroid_mm[axis]).abs();
        edge(bone.start[axis]).max(edge(bone.start[axis] + bone.shape()[axis]))
    });
    let mut half = [0.0_f64; 3];
    for rotation_degrees in rotations {
        let pose = Pose {
            rotation_degrees: *rotation_degrees,
            shift_mm: [0.0; 3],
        };
        let turn = pose.forward([0.0; 3]);
        for axis in 0..3 {
            let reach: f64 = (0..3).map(|from| turn.0[axis][from].abs() * reach_mm[from]).sum();
            half[axis] = half[axis].max(reach / block_mm[axis]);
        }
    }
    half.map(|blocks| blocks.ceil() as usize + 1)
}

/// Returns the turned mask in blocks around its centroid, `half` of them on either side.
fn turned(blocks: &Blocks, pose: &Pose, moving: &Moving, half: [usize; 3]) -> Array3<u32> {
    let block_mm = blocks.block_mm(moving.spacing_mm);
    let corner_mm =
        [0, 1, 2].map(|axis: usize| moving.centroid_mm[axis] - half[axis] as f64 * block_mm[axis]);
    let middle_mm = blocks.middle_mm(moving.spacing_mm);
    let to_blocks = Affine::axis_aligned(
        block_mm.map(|mm| 1.0 / mm),
        [0, 1, 2].map(|axis: usize| -middle_mm[axis] / block_mm[axis]),
    );
    let source = to_blocks
        .after(&pose.backward(moving.centroid_mm))
        .after(&Affine::axis_aligned(block_mm, corner_mm));
    Array3::from_shape_fn(half.map(|half| 2 * half + 1), |(i, j, k)| {
        let place = source.apply([i as f64, j as f64, k as f64]);
        blocks.interpolated(place).round() as u32
    })
}
