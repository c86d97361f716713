//! The slices that a cut cube remembers, and what interpolation makes of them, whichever way the scan lies.

use models::interpolate::interpolate;

use super::testing::{Turned, case, dice, in_vertebra, labelled, painted, turned};
use super::*;

/// Sagittal label maps of 4 mm slices: axes along the world, in three orders, and oblique. With the slices' axis.
const SAGITTAL: [(Turned, usize); 5] = [
    (([130, 120, 33], [0.8, 0.8, 4.0], [-2, -3, 1], [0.0; 3]), 2),
    (([33, 130, 120], [4.0, 0.8, 0.8], [1, 2, 3], [0.0; 3]), 0),
    (([120, 33, 130], [0.8, 4.0, 0.8], [3, -1, -2], [0.0; 3]), 1),
    (
        ([130, 120, 33], [0.8, 0.8, 4.0], [-2, -3, 1], [5.0, -8.0, 12.0]),
        2,
    ),
    (
        ([130, 33, 120], [0.8, 4.0, 0.8], [2, -1, 3], [-10.0, 15.0, 20.0]),
        1,
    ),
];

const MIDDLE_MM: [f64; 3] = [12.3, -140.7, 1033.9];

fn from_middle(point: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|axis| point[axis] - MIDDLE_MM[axis])
}

fn cropped(shape: [usize; 3], affine: Affine) -> CroppedVertebra {
    let map = painted(shape, affine, |point| u16::from(in_vertebra(from_middle(point))));
    let scan = case(labelled("binary:L3", map), None);
    let mut cropped = crop(&scan, &CropConf::default()).expect("cropped");
    cropped.vertebrae.remove(0)
}

/// Asserts that the slices' planes are the planes of voxels across the axis, one slice a plane.
fn assert_slices_are_planes(slices: &Slices, affine: &Affine, axis: usize) {
    for index in [[0.0, 0.0, 0.0], [7.0, 3.0, 20.0], [31.0, 30.0, 2.0]] {
        let position = slices.position(affine.apply(index));
        let start = slices.position(affine.apply([0.0; 3]));
        assert!((start - start.round()).abs() < 1e-9);
        assert!(
            ((position - start).abs() - index[axis]).abs() < 1e-9,
            "{position} {index:?}"
        );
    }
}

#[test]
fn a_cube_remembers_the_slices_of_its_scan() {
    for (grid, axis) in SAGITTAL {
        let affine = turned(grid, MIDDLE_MM);
        let slices = cropped(grid.0, affine).input.slices.expect("thick slices");
        assert!((slices.spacing_mm - 4.0).abs() < 1e-9, "{slices:?}");
        assert_slices_are_planes(&slices, &affine, axis);
        // voxel axes are at right angles here: the normal is the thick one
        for row in 0..3 {
            let along = affine.0[row][axis] / 4.0;
            assert!(
                (slices.normal[row].abs() - along.abs()).abs() < 1e-9,
                "{slices:?}"
            );
        }
        assert!(slices.normal[0] > 0.8, "to the right: {slices:?}");
    }
}

#[test]
fn on_a_sheared_grid_slices_are_as_far_apart_as_their_planes_not_as_their_voxels() {
    let (grid, axis) = SAGITTAL[0];
    let mut shear = Affine::axis_aligned([1.0; 3], [0.0; 3]);
    shear.0[1][axis] = 1.25;
    let affine = turned(grid, MIDDLE_MM).after(&shear);
    assert!((affine.spacing_mm()[axis] - 4.0_f64.hypot(1.0)).abs() < 1e-9);
    let slices = Slices::of(&affine).expect("thick slices");
    assert!((slices.spacing_mm - 4.0).abs() < 1e-9, "{slices:?}");
    assert_eq!(
        slices.normal.map(|entry| (entry * 1e9).round() / 1e9),
        [1.0, 0.0, 0.0]
    );
    assert_slices_are_planes(&slices, &affine, axis);
    assert_eq!(cropped(grid.0, affine).input.slices, Some(slices));
}

#[test]
fn each_mask_remembers_its_own_slices_and_near_cubes_none() {
    let thick = SAGITTAL[0].0;
    let mask = painted(thick.0, turned(thick, MIDDLE_MM), |point| {
        u16::from(in_vertebra(from_middle(point)))
    });
    let ct: Turned = ([130, 120, 90], [0.8, 0.8, 1.0], [1, 2, 3], [0.0; 3]);
    let reference = painted(ct.0, turned(ct, MIDDLE_MM), |point| {
        u16::from(in_vertebra(from_middle(point)))
    });
    let scan = case(
        labelled("binary:L3", mask),
        Some(labelled("binary:L3", reference)),
    );
    let result = crop(&scan, &CropConf::default()).expect("cropped");
    let vertebra = &result.vertebrae[0];
    assert!(vertebra.input.slices.is_some());
    assert_eq!(vertebra.reference.as_ref().expect("a reference").slices, None);
}

#[test]
fn a_shape_like_a_vertebra_comes_nearer_to_itself_through_the_slices_of_its_cube() {
    for (grid, _) in SAGITTAL {
        let vertebra = cropped(grid.0, turned(grid, MIDDLE_MM));
        let truth = painted([128; 3], vertebra.input.affine, |point| {
            u16::from(in_vertebra(from_middle(point)))
        });
        let against = |mask: &ndarray::Array3<u8>| {
            dice(
                truth
                    .data
                    .iter()
                    .zip(mask)
                    .map(|(one, other)| (*one != 0, *other != 0)),
            )
        };
        let (input, output) = (
            against(&vertebra.input.mask),
            against(&interpolate(&vertebra.input).expect("a geometry")),
        );
        println!("{grid:?}: DSC {input:.4} → {output:.4}");
        assert!(output > input, "{grid:?}: {input} {output}");
    }
}
