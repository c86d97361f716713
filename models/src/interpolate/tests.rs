//! Interpolation against solids in closed form.

mod turned;

use super::*;
use crate::reconstructor::{ModelConf, open};
use crate::testing::{dice, voxels};

/// Voxels along each edge of the patches here.
const SIDE: usize = 64;

/// A RAS-aligned patch of 1 mm voxels with the world's origin in its middle voxel.
fn grid() -> Affine {
    Affine::axis_aligned([1.0; 3], [-32.0; 3])
}

/// Slices across left–right, with a phase that puts no voxel centre half-way between two of them.
fn sagittal(spacing_mm: f64) -> Slices {
    Slices {
        normal: [1.0, 0.0, 0.0],
        point_mm: [0.1, 7.0, -3.0],
        spacing_mm,
    }
}

type Solid = fn([f64; 3]) -> bool;

fn ellipsoid([x, y, z]: [f64; 3]) -> bool {
    (x / 24.0).powi(2) + (y / 17.0).powi(2) + ((z - 2.0) / 13.0).powi(2) < 1.0
}

fn sphere([x, y, z]: [f64; 3]) -> bool {
    x * x + y * y + z * z < 21.5 * 21.5
}

/// A cone about the left–right axis, its tip at the left.
fn cone([x, y, z]: [f64; 3]) -> bool {
    x.abs() < 26.0 && y.hypot(z) < 0.4 * (x + 26.0)
}

fn filled(affine: &Affine, is_inside: impl Fn([f64; 3]) -> bool) -> Array3<u8> {
    Array3::from_shape_fn((SIDE, SIDE, SIDE), |(i, j, k)| {
        u8::from(is_inside(affine.apply([i, j, k].map(|voxel| voxel as f64))))
    })
}

/// Returns the solid as thick slices show it: each voxel has what lies on the centre plane of its slice.
fn sliced(affine: Affine, slices: Slices, is_inside: impl Fn([f64; 3]) -> bool) -> Patch {
    let mask = filled(&affine, |point| {
        let position = slices.position(point);
        let way_mm = (position.round() - position) * slices.spacing_mm;
        is_inside([0, 1, 2].map(|axis| point[axis] + way_mm * slices.normal[axis]))
    });
    Patch {
        mask,
        affine,
        slices: Some(slices),
    }
}

fn restored(patch: &Patch) -> Array3<u8> {
    interpolate(patch).expect("a geometry")
}

#[test]
fn solids_in_thick_slices_come_nearer_to_their_closed_form() {
    let solids: [(&str, Solid); 3] = [("sphere", sphere), ("ellipsoid", ellipsoid), ("cone", cone)];
    for (name, solid) in solids {
        let truth = filled(&grid(), solid);
        for spacing_mm in [3.0, 4.0, 5.5] {
            let patch = sliced(grid(), sagittal(spacing_mm), solid);
            let (input, output) = (dice(&patch.mask, &truth), dice(&restored(&patch), &truth));
            println!("{name}, slices of {spacing_mm} mm: DSC {input:.4} → {output:.4}");
            assert!(
                output > input + 0.2 * (1.0 - input),
                "{name} {spacing_mm}: {input} {output}"
            );
        }
    }
}

#[test]
fn outside_of_the_stack_nothing_would_change() {
    let turned = Slices {
        normal: [0.96, 0.28, 0.0],
        ..sagittal(4.0)
    };
    for slices in [sagittal(4.0), sagittal(3.3), turned] {
        for shape in [ellipsoid as Solid, sphere, cone] {
            let patch = sliced(grid(), slices, shape);
            let stack = Stack::of(&patch, &slices, 1.0)
                .expect("a geometry")
                .expect("a label");
            let expected = Array3::from_shape_fn(patch.mask.raw_dim(), |(i, j, k)| {
                match stack.distance_mm([i, j, k].map(|voxel| voxel as f64)) {
                    Some(distance_mm) => u8::from(distance_mm < -TIE_MM),
                    None => patch.mask[[i, j, k]],
                }
            });
            assert!(restored(&patch) == expected);
        }
    }
}

#[test]
fn at_its_centre_plane_a_slice_stays_as_it_was_drawn() {
    let slices = Slices {
        point_mm: [0.0; 3],
        ..sagittal(5.0)
    };
    let patch = sliced(grid(), slices, ellipsoid);
    let output = restored(&patch);
    let mut changed = 0;
    for (plane, (before, after)) in patch.mask.outer_iter().zip(output.outer_iter()).enumerate() {
        if (plane + 3) % 5 == 0 {
            assert_eq!(before, after, "plane {plane}");
        } else if before != after {
            changed += 1;
        }
    }
    assert!(changed > 0);
}

#[test]
fn between_two_concentric_discs_lie_discs_of_the_radius_in_between() {
    let (spacing_mm, radii) = (8.0, [10.0, 18.0]);
    let slices = Slices {
        point_mm: [0.0; 3],
        ..sagittal(spacing_mm)
    };
    let patch = sliced(grid(), slices, |[x, y, z]| {
        x.abs() < 0.5 && y.hypot(z) < radii[0] || (x - spacing_mm).abs() < 0.5 && y.hypot(z) < radii[1]
    });
    let output = restored(&patch);
    for step in 0..=8 {
        let radius = radii[0] + (radii[1] - radii[0]) * step as f64 / 8.0;
        let plane = output.index_axis(Axis(0), 32 + step);
        for ((j, k), voxel) in plane.indexed_iter() {
            let off = (j as f64 - 32.0).hypot(k as f64 - 32.0) - radius;
            // a disc of pixels follows its circle to within half a pixel's diagonal
            assert!(
                off.abs() < 0.75 || (*voxel != 0) == (off < 0.0),
                "{step} {j} {k} {off}"
            );
        }
        let area = plane.iter().filter(|voxel| **voxel != 0).count() as f64;
        let found = (area / std::f64::consts::PI).sqrt();
        println!("radius {radius}: that of a disc of equal area is {found:.2}");
        assert!((found - radius).abs() < 0.5, "{radius} {found}");
    }
}

#[test]
fn what_shows_in_one_slice_beside_others_ends_half_way_or_earlier() {
    // a body in slices −2 to 2, and beside it, in slice 0 only, a rod 14 mm and one 4 mm thick
    let slices = Slices {
        point_mm: [0.0; 3],
        ..sagittal(5.0)
    };
    let rods = [([20.0, 20.0], 7.0), ([20.0, -20.0], 2.0)];
    let patch = sliced(grid(), slices, |[x, y, z]| {
        let slice = (x / 5.0).round();
        let is_in_rod = |([row, column], radius): ([f64; 2], f64)| (y - row).hypot(z - column) < radius;
        slice.abs() <= 2.0 && y.hypot(z) < 8.0 || slice == 0.0 && rods.into_iter().any(is_in_rod)
    });
    let output = restored(&patch);
    let reach = |row: usize, column: usize| {
        (0..=5)
            .take_while(|plane| output[[32 + plane, row, column]] != 0)
            .count()
    };
    // depth over depth and spacing, of 5 mm: 5 / 10 of the way, 1.5 / 6.5 of it
    assert_eq!([reach(52, 52), reach(52, 12)], [1 + 2, 1 + 1]);
    assert_eq!(reach(32, 32), 6);
    assert_eq!(output[[32 + 3, 52, 52]], 0);
}

#[test]
fn beyond_the_slices_with_the_label_and_beside_empty_ones_nothing_grows_or_is_lost() {
    let slices = sagittal(4.0);
    // slices 0, 1 and 4: between 1 and 4 nothing
    let patch = sliced(grid(), slices, |[x, y, z]| {
        let slice = ((x - 0.1) / 4.0).round();
        [0.0, 1.0, 4.0].contains(&slice) && y.hypot(z) < 10.0 + 2.0 * slice
    });
    let output = restored(&patch);
    for (plane, (before, after)) in patch.mask.outer_iter().zip(output.outer_iter()).enumerate() {
        let position = (plane as f64 - 32.0 - 0.1) / 4.0;
        if (0.0..=1.0).contains(&position) {
            assert!(voxels_in(&after) > 300, "{plane}");
        } else {
            assert_eq!(before, after, "{plane}");
        }
    }
    let alone = sliced(grid(), slices, |[x, y, z]| {
        (x - 0.1).abs() < 1.0 && y.hypot(z) < 10.0
    });
    assert_eq!(restored(&alone), alone.mask);
    assert_eq!(voxels(&alone.mask) % 4, 0);
}

fn voxels_in(plane: &ndarray::ArrayView2<'_, u8>) -> usize {
    plane.iter().filter(|voxel| **voxel != 0).count()
}

#[test]
fn a_grid_of_other_voxels_is_interpolated_too() {
    let affine = Affine::axis_aligned([0.8, 1.2, 1.0], [-0.8 * 32.0, -1.2 * 32.0, -32.0]);
    let truth = filled(&affine, ellipsoid);
    let patch = sliced(affine, sagittal(4.0), ellipsoid);
    let (input, output) = (dice(&patch.mask, &truth), dice(&restored(&patch), &truth));
    println!("DSC {input:.4} → {output:.4}");
    assert!(1.0 - output < 0.65 * (1.0 - input));
}

#[test]
fn without_gaps_to_fill_the_patch_stays_as_it_is() {
    let thick = sliced(grid(), sagittal(4.0), ellipsoid);
    let unknown = Patch::new(thick.mask.clone(), grid());
    assert_eq!(restored(&unknown), thick.mask);
    let thin = Patch {
        slices: Some(sagittal(1.0)),
        ..thick.clone()
    };
    assert_eq!(restored(&thin), thick.mask);
    let empty = sliced(grid(), sagittal(4.0), |_| false);
    assert_eq!(restored(&empty), empty.mask);
    let none = Patch {
        mask: Array3::zeros((0, 5, 5)),
        ..thick
    };
    assert_eq!(restored(&none).dim(), (0, 5, 5));
}

#[test]
fn a_mask_that_fills_its_patch_stays_full_between_its_slices() {
    let patch = sliced(grid(), sagittal(4.0), |_| true);
    assert_eq!(restored(&patch), patch.mask);
}

#[test]
fn slices_or_patches_without_a_geometry_break_the_contract() {
    let patch = sliced(grid(), sagittal(4.0), ellipsoid);
    let broken = [
        Slices {
            normal: [0.0; 3],
            ..sagittal(4.0)
        },
        Slices {
            normal: [1e-9, 0.0, 0.0],
            ..sagittal(4.0)
        },
        Slices {
            normal: [f64::NAN; 3],
            ..sagittal(4.0)
        },
        Slices {
            point_mm: [f64::INFINITY, 0.0, 0.0],
            ..sagittal(4.0)
        },
        sagittal(f64::NAN),
        sagittal(f64::INFINITY),
    ];
    for slices in broken {
        let patch = Patch {
            slices: Some(slices),
            ..patch.clone()
        };
        assert!(
            matches!(interpolate(&patch), Err(ModelError::Contract(_))),
            "{slices:?}"
        );
    }
    let flat = Patch {
        affine: Affine::axis_aligned([1.0, 0.0, 1.0], [0.0; 3]),
        ..patch
    };
    assert!(matches!(interpolate(&flat), Err(ModelError::Contract(_))));
}

#[test]
fn the_chain_knows_the_model_and_its_second_model_knows_no_slices() {
    let patch = sliced(grid(), sagittal(4.0), cone);
    let chain = |names: &[&str]| {
        let conf = ModelConf {
            chain: names.iter().map(|name| (*name).to_owned()).collect(),
            ..ModelConf::default()
        };
        let mut chain = open(&conf, &crate::LoadedWeights::new(), "cpu").expect("a chain");
        let results = chain
            .reconstruct(std::slice::from_ref(&patch), &[1])
            .expect("restored");
        results.into_iter().next().expect("one").mask
    };
    let once = chain(&["interpolate"]);
    assert_eq!(once, restored(&patch));
    // interpolated once more with the same slices, cone and gaps would change; without slices they stay
    assert_eq!(chain(&["interpolate", "interpolate"]), once);
    assert_eq!(chain(&["identity", "interpolate"]), patch.mask);
}
