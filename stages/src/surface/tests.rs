//! Surfaces of shapes with a closed form, of shapes that are hard, of any shape, and of real masks.

use std::f64::consts::PI;

use ndarray::{Array3, Axis};
use proptest::collection::vec;
use proptest::prelude::*;

use super::testing::{area, area_vector, assert_closed, corners, euler, filled, volume};
use super::*;
use crate::crop::testing::{label_map, shared, turned};
use crate::fuzz::drawn;

const IDENTITY: Affine = Affine([
    [1.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0],
]);

/// Returns a field of 0 and 1.
fn painted(size: usize, is_set: impl Fn([f64; 3]) -> bool) -> Array3<f32> {
    Array3::from_shape_fn((size, size, size), |(i, j, k)| {
        f32::from(u8::from(is_set([i as f64, j as f64, k as f64])))
    })
}

fn norm(vector: [f64; 3]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Makes the surface of a field in its own indices, and checks what holds of any: that it is closed, and has every voxel
/// centre on its side.
fn checked(field: &Array3<f32>) -> Mesh {
    let mesh = surface(field.view(), 0.5, &IDENTITY);
    assert_closed(&mesh);
    let inside = field.mapv(|value| i32::from(value >= 0.5));
    assert_eq!(filled(&mesh, field.dim()), inside);
    mesh
}

fn assert_near(found: f64, expected: f64, share: f64) {
    let error = (found / expected - 1.0).abs();
    assert!(error < share, "found {found}, expected {expected}");
}

#[test]
fn a_ball_has_the_volume_and_the_area_of_the_closed_form() {
    for radius in [6.0, 20.0] {
        let middle = [22.3, 22.6, 21.9];
        let ball = painted(45, |point| norm(minus(point, middle)) <= radius);
        let mesh = checked(&ball);
        assert_near(volume(&mesh), 4.0 / 3.0 * PI * radius.powi(3), 0.02);
        // the corners of a small ball's voxels are not all gone
        assert_near(
            area(&mesh),
            4.0 * PI * radius.powi(2),
            if radius < 10.0 { 0.03 } else { 0.01 },
        );
        assert_eq!(euler(&mesh), 2);
    }
}

#[test]
fn a_ball_of_shares_lies_where_the_shares_are_one_half() {
    let middle = [14.2, 14.7, 13.9];
    let share = |(i, j, k): (usize, usize, usize)| {
        let distance = norm(minus([i as f64, j as f64, k as f64], middle));
        // nine samples, of radius 7 to 13: an even number would have a share of one half over a width of its own
        (((13.0 - distance) / 6.0).clamp(0.0, 1.0) * 9.0).round() as f32 / 9.0
    };
    let mesh = checked(&Array3::from_shape_fn((30, 30, 30), share));
    let error = |vertex: &[f32; 3]| norm(minus(vertex.map(f64::from), middle)) - 10.0;
    let mean = mesh.vertices.iter().map(error).sum::<f64>() / mesh.vertices.len() as f64;
    assert!(mean.abs() < 0.1, "{mean}");
    assert!(mesh.vertices.iter().all(|vertex| error(vertex).abs() < 0.4));
}

#[test]
fn cubes_keep_their_volume_and_nearly_their_corners() {
    for size in [3, 10, 30] {
        let cube = painted(32, |point| {
            point.iter().all(|index| (1.0..=size as f64).contains(index))
        });
        let mesh = checked(&cube);
        assert_eq!(euler(&mesh), 2);
        assert_near(volume(&mesh), f64::from(size).powi(3), 0.01);
        // its faces lie half a voxel beyond the outermost centres
        for vertex in mesh.vertices.iter().flatten() {
            assert!((0.05..=f64::from(size) + 0.95).contains(&f64::from(*vertex)));
        }
    }
}

#[test]
fn a_ring_keeps_its_hole() {
    let (around, thick) = (12.0, 4.0);
    let ring = painted(36, |[i, j, k]| {
        let from_axis = ((i - 17.2).powi(2) + (j - 17.6).powi(2)).sqrt();
        (from_axis - around).powi(2) + (k - 17.4).powi(2) <= thick * thick
    });
    let mesh = checked(&ring);
    assert_eq!(euler(&mesh), 0);
    assert_near(volume(&mesh), 2.0 * PI * PI * around * thick * thick, 0.02);
    assert_near(area(&mesh), 4.0 * PI * PI * around * thick, 0.02);
}

#[test]
fn shapes_that_touch_at_a_corner_or_along_an_edge_make_a_manifold() {
    let block = |point: [f64; 3], low: [f64; 3], size: [f64; 3]| {
        (0..3).all(|axis| (low[axis]..low[axis] + size[axis]).contains(&point[axis]))
    };
    for size in [1.0, 3.0] {
        let first = |point| block(point, [1.0; 3], [size; 3]);
        let corner = painted(10, |point| {
            first(point) || block(point, [1.0 + size; 3], [size; 3])
        });
        assert_eq!(euler(&checked(&corner)), 4, "two balls");
        let aside = [1.0 + size, 1.0 + size, 1.0];
        let edge = painted(10, |point| first(point) || block(point, aside, [size; 3]));
        // an edge of one voxel parts, a longer one joins
        assert_eq!(euler(&checked(&edge)), if size == 1.0 { 4 } else { 2 });
    }
    let balls = painted(30, |point| {
        [[8.0; 3], [15.0, 15.0, 8.0], [18.0; 3]]
            .iter()
            .any(|middle| norm(minus(point, *middle)) <= 5.0)
    });
    checked(&balls);
    let board = painted(8, |[i, j, k]| (i + j + k) % 2.0 == 0.0);
    checked(&board);
    checked(&board.mapv(|value| 1.0 - value));
}

#[test]
fn what_reaches_the_border_of_its_cube_is_closed_there() {
    let full = Array3::<f32>::ones((6, 5, 4));
    let mesh = checked(&full);
    assert_near(volume(&mesh), 120.0, 0.01);
    let through = painted(12, |[_, j, k]| (j - 5.5).powi(2) + (k - 5.5).powi(2) <= 9.0);
    assert_eq!(euler(&checked(&through)), 2);
    let one_voxel = Array3::<f32>::ones((1, 1, 1));
    assert_eq!(euler(&checked(&one_voxel)), 2);
}

#[test]
fn a_process_of_one_voxel_is_not_eaten() {
    let needle = painted(30, |[i, j, k]| {
        (i - 15.0).hypot(j - 15.0) <= 6.0 && k < 12.0 || [i, j] == [15.0, 15.0] && k < 28.0
    });
    let mesh = checked(&needle);
    let reach = mesh.vertices.iter().map(|vertex| vertex[2]).fold(0.0, f32::max);
    assert!(reach > 27.0, "{reach}");
}

#[test]
fn the_staircase_of_a_slanted_plate_is_gone() {
    let across = [1.0, 0.12, 0.05].map(|value: f64| value / (1.0_f64 + 0.12 * 0.12 + 0.05 * 0.05).sqrt());
    let middle = 31.37;
    let along = |point: [f64; 3]| {
        (0..3)
            .map(|axis| (point[axis] - middle) * across[axis])
            .sum::<f64>()
    };
    let from_middle = |point: [f64; 3]| norm(point.map(|value| value - middle));
    let plate = painted(63, |point| {
        along(point).abs() <= 8.0 && from_middle(point) <= 28.0
    });
    let mesh = checked(&plate);
    let mut squares = Vec::new();
    // away from the rim, where it is round
    for corners in corners(&mesh).filter(|corners| from_middle(corners[0]) < 18.0) {
        let normal = area_vector(corners);
        let cosine = (0..3).map(|axis| normal[axis] * across[axis]).sum::<f64>().abs() / norm(normal);
        squares.push(cosine.clamp(-1.0, 1.0).acos().to_degrees().powi(2));
    }
    let angle = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
    // 17 degrees before it is smoothed, and half of the staircase's steps lie 45 degrees aslant
    assert!(squares.len() > 1000 && angle < 6.0, "{angle} degrees");
}

#[test]
fn nothing_inside_is_no_surface() {
    for field in [
        Array3::zeros((5, 4, 3)),
        Array3::zeros((0, 4, 3)),
        Array3::from_elem((2, 2, 2), 0.4),
    ] {
        assert!(surface(field.view(), 0.5, &IDENTITY).is_empty());
    }
}

#[test]
fn a_surface_lies_in_the_world_and_looks_outwards_also_where_the_axes_are_left_handed() {
    let egg = |point: [f64; 3]| {
        (point[0] / 9.0 - 1.1).powi(2) + (point[1] / 6.0 - 1.4).powi(2) + (point[2] / 4.0 - 2.0).powi(2)
    };
    let field = painted(21, |point| egg(point) <= 1.0);
    let voxels = f64::from(field.sum());
    let plain = checked(&field);
    for axes in [[1, 2, 3], [-1, 2, 3], [-2, -3, 1], [2, 1, 3]] {
        let affine = turned(
            ([21; 3], [0.8, 0.8, 0.8], axes, [10.0, -20.0, 30.0]),
            [-200.0, 150.0, 1400.0],
        );
        let mesh = surface(field.view(), 0.5, &affine);
        assert_closed(&mesh);
        assert_near(volume(&mesh), voxels * 0.8 * 0.8 * 0.8, 0.01);
        for (found, index) in mesh.vertices.iter().zip(&plain.vertices) {
            let expected = affine.apply(index.map(f64::from));
            assert!(norm(minus(found.map(f64::from), expected)) < 1e-3);
        }
    }
}

proptest! {
    #![proptest_config(drawn(400))]

    #[test]
    fn any_mask_has_a_closed_surface_with_every_voxel_on_its_side(
        shape in (1..7_usize, 1..7_usize, 1..7_usize),
        voxels in vec(any::<bool>(), 216),
        thinned in 0..3_usize,
    ) {
        let is_set = |n: usize| (0..=thinned).all(|step| voxels[(n + 31 * step) % 216]);
        let field = Array3::from_shape_fn(shape, |(i, j, k)| f32::from(u8::from(is_set(36 * i + 6 * j + k))));
        let mesh = checked(&field);
        prop_assert!(mesh.is_empty() || volume(&mesh) > 0.0);
        // what is set and what is not change places
        checked(&field.mapv(|value| 1.0 - value));
    }

    #[test]
    fn any_shares_have_a_closed_surface_with_every_voxel_on_its_side(
        votes in vec(0..=8_u8, 216),
        samples in 2..=8_u8,
    ) {
        let share = |votes: u8| f32::from(votes.min(samples)) / f32::from(samples);
        let field = Array3::from_shape_fn((6, 6, 6), |(i, j, k)| share(votes[36 * i + 6 * j + k]));
        let mesh = checked(&field);
        prop_assert!(mesh.is_empty() || volume(&mesh) > 0.0);
        prop_assert_eq!(surface(field.view(), 0.5, &IDENTITY), mesh);
    }
}

/// Returns the distance from the middle of each face between a set voxel and one that is not to the surface, from above:
/// to the nearest corner, middle of a side or middle of a triangle.
fn distances_from_faces(field: &Array3<f32>, mesh: &Mesh) -> Vec<f64> {
    let mut near = Array3::from_elem(field.dim(), Vec::new());
    for [a, b, c] in corners(mesh) {
        let mean = |points: &[[f64; 3]]| {
            [0, 1, 2].map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / points.len() as f64)
        };
        for point in [
            a,
            b,
            c,
            mean(&[a, b]),
            mean(&[b, c]),
            mean(&[c, a]),
            mean(&[a, b, c]),
        ] {
            near[point.map(|index| index.round() as usize)].push(point);
        }
    }
    let mut distances = Vec::new();
    for axis in 0..3 {
        for ((i, j, k), value) in field.slice_axis(Axis(axis), (..-1).into()).indexed_iter() {
            let mut other = [i, j, k];
            other[axis] += 1;
            if *value == field[other] {
                continue;
            }
            let mut face = [i, j, k].map(|index| index as f64);
            face[axis] += 0.5;
            let around = [i, j, k].map(|index| index.saturating_sub(1)..index + 3);
            let mut nearest = f64::INFINITY;
            for voxel in ndarray::indices(around.clone().map(|range| range.len())) {
                let voxel = [voxel.0, voxel.1, voxel.2];
                let at = [0, 1, 2].map(|axis| around[axis].start + voxel[axis]);
                for point in near.get(at).into_iter().flatten() {
                    nearest = nearest.min(norm(minus(*point, face)));
                }
            }
            distances.push(nearest);
        }
    }
    distances
}

#[test]
fn real_vertebrae_are_closed_and_keep_their_volume_and_their_place() {
    let Some(shared) = shared() else { return };
    let files = std::fs::read_dir(shared.join("data/derived")).expect("the shared masks");
    let mut files: Vec<_> = files.map(|file| file.expect("an entry").path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(".nii.gz"));
    files.sort();
    assert!(files.len() > 20);
    // one or two of each subject
    for file in files.into_iter().step_by(4) {
        let map = label_map(file.clone());
        let field = map.data.mapv(|label| f32::from(u8::from(label != 0)));
        let mesh = checked(&field);
        let voxels = field.iter().filter(|value| **value != 0.0).count() as f64;
        let ratio = volume(&mesh) / voxels;
        let distances = distances_from_faces(&field, &mesh);
        let mean = distances.iter().sum::<f64>() / distances.len() as f64;
        let most = distances.iter().copied().fold(0.0, f64::max);
        eprintln!(
            "{:?}: volume {ratio:.5}, faces mean {mean:.3} most {most:.3}",
            file.file_name()
        );
        assert!((ratio - 1.0).abs() < 0.01 && mean < 0.35 && most < 1.0);
    }
}
