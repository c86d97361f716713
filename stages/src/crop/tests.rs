//! The cut against closed forms, and what each flag and each refusal says.

use std::f64::consts::PI;

use ndarray::{Array3, ShapeBuilder as _};
use schemas::{FaultKind, LabelScheme, LabelTable};

use super::testing::{Numbers, Turned, case, centroid_mm, dice, distance, labelled, painted, turned};
use super::*;

fn only(cropped: Cropped) -> CroppedVertebra {
    let [vertebra] = <[CroppedVertebra; 1]>::try_from(cropped.vertebrae).expect("one vertebra");
    vertebra
}

fn cropped(map: LabelMap) -> CroppedVertebra {
    only(crop(&case(labelled("binary:L3", map), None), &CropConf::default()).expect("cropped"))
}

/// Half-axes in mm of the ellipsoid that the closed forms below are about.
const HALF_AXES: [f64; 3] = [38.0, 29.5, 22.25];

fn ellipsoid(shape: [usize; 3], affine: Affine, middle_mm: [f64; 3]) -> LabelMap {
    painted(shape, affine, |point| {
        let inside: f64 = (0..3)
            .map(|axis| ((point[axis] - middle_mm[axis]) / HALF_AXES[axis]).powi(2))
            .sum();
        u16::from(inside <= 1.0)
    })
}

#[test]
fn an_ellipsoid_keeps_place_volume_and_shape_at_every_orientation_and_spacing() {
    let middle_mm = [12.3, -140.7, 1033.9];
    let volume = 4.0 / 3.0 * PI * HALF_AXES.iter().product::<f64>();
    let grids: [Turned; 8] = [
        ([120, 120, 120], [1.0, 1.0, 1.0], [1, 2, 3], [0.0, 0.0, 0.0]),
        ([90, 80, 70], [1.5, 1.5, 1.5], [-1, 2, 3], [0.0, 0.0, 0.0]),
        ([130, 120, 33], [0.8, 0.8, 3.3], [-2, -3, 1], [0.0, 0.0, 0.0]),
        ([130, 130, 40], [0.8, 0.8, 3.0], [-2, -3, 1], [5.0, -8.0, 12.0]),
        ([110, 110, 110], [1.0, 1.0, 1.0], [3, -1, -2], [30.0, 20.0, -40.0]),
        ([110, 110, 60], [1.0, 1.0, 2.0], [-1, -2, 3], [-3.0, 4.0, 45.0]),
        ([200, 200, 180], [0.5, 0.5, 0.5], [2, 1, -3], [0.0, 0.0, 7.0]),
        ([60, 60, 60], [2.0, 2.0, 2.0], [-3, 2, 1], [10.0, 10.0, 10.0]),
    ];
    let (mut worst_volume, mut worst_place, mut worst_dice) = (0.0_f64, 0.0_f64, 1.0_f64);
    for grid in grids {
        let (shape, spacing_mm, ..) = grid;
        let vertebra = cropped(ellipsoid(shape, turned(grid, middle_mm), middle_mm));
        assert_eq!(vertebra.flags, Flags::new(), "{grid:?}");
        let truth = ellipsoid([128; 3], vertebra.input.affine, middle_mm);
        let alike = dice(
            truth
                .data
                .iter()
                .zip(&vertebra.input.mask)
                .map(|(t, m)| (*t != 0, *m != 0)),
        );
        let off = distance(centroid_mm(&vertebra.input), middle_mm);
        let swollen = (vertebra.input.volume_mm3() / volume - 1.0).abs();
        let coarsest = spacing_mm.into_iter().fold(0.0, f64::max);
        println!("{grid:?}: volume {swollen:.4} place {off:.3} mm dice {alike:.4}");
        assert!(
            distance(vertebra.centre_mm, middle_mm) < coarsest,
            "{:?}",
            vertebra.centre_mm
        );
        worst_volume = worst_volume.max(swollen);
        worst_place = worst_place.max(off);
        worst_dice = worst_dice.min(alike);
    }
    println!("worst: volume {worst_volume:.4}, place {worst_place:.3} mm, dice {worst_dice:.4}");
    assert!(worst_volume < 0.02 && worst_place < 0.25 && worst_dice > 0.97);
}

#[test]
fn a_scan_along_the_axes_with_whole_millimetres_loses_nothing() {
    // odd and even extents, so that boxes end between the voxels of a cube centred exactly
    for (spacing_mm, extent) in [([1.0, 1.0, 1.0], [31, 42, 27]), ([1.0, 1.0, 3.0], [31, 42, 9])] {
        let affine = turned(
            ([60, 60, 40], spacing_mm, [-2, -3, 1], [0.0; 3]),
            [0.3, 7.7, -0.2],
        );
        let mut data = Array3::zeros((60, 60, 40).f());
        let mut numbers = Numbers(1);
        for ((i, j, k), value) in data.indexed_iter_mut() {
            let inside = (5..5 + extent[0]).contains(&i)
                && (5..5 + extent[1]).contains(&j)
                && (5..5 + extent[2]).contains(&k);
            *value = u16::from(inside && numbers.next() < 0.9);
        }
        let voxels = data.iter().filter(|value| **value != 0).count();
        let vertebra = cropped(LabelMap { data, affine });
        assert_eq!(vertebra.input.voxels(), voxels * spacing_mm[2] as usize);
        assert_eq!(
            vertebra.source_volume_mm3.round() as usize,
            voxels * spacing_mm[2] as usize
        );
        let middle_mm = vertebra.input.affine.apply([63.5; 3]);
        for axis in 0..3 {
            assert!(
                (middle_mm[axis] - vertebra.centre_mm[axis]).abs() <= 0.5 + 1e-3,
                "{middle_mm:?}"
            );
        }
    }
}

/// A box of label voxels, first index to last.
fn boxes(shape: [usize; 3], affine: Affine, boxes: &[(u16, [usize; 3], [usize; 3])]) -> LabelMap {
    let [size_i, size_j, size_k] = shape;
    let mut data = Array3::zeros((size_i, size_j, size_k).f());
    for (label, first, last) in boxes {
        data.slice_mut(ndarray::s![
            first[0]..=last[0],
            first[1]..=last[1],
            first[2]..=last[2]
        ])
        .fill(*label);
    }
    LabelMap { data, affine }
}

const MILLIMETRES: [f64; 3] = [1.0; 3];

fn plain() -> Affine {
    Affine::axis_aligned(MILLIMETRES, [-100.0, 20.0, 700.0])
}

#[test]
fn a_map_without_the_wanted_labels_says_what_was_expected_and_found() {
    let map = boxes(
        [40; 3],
        plain(),
        &[
            (19, [3; 3], [6; 3]),
            (22, [9; 3], [12; 3]),
            (300, [20; 3], [22; 3]),
        ],
    );
    let conf = CropConf {
        levels: vec![Level::L1, Level::L2],
        ..CropConf::default()
    };
    let fault = crop(&case(labelled("verse", map), None), &conf).expect_err("no L1, no L2");
    assert_eq!(
        (fault.kind, fault.reason),
        (FaultKind::Unsuitable, "no_lumbar_labels")
    );
    let expected =
        "mask: expected a lumbar label of scheme verse: 20 (L1), 21 (L2); found labels: 19, 22, 300";
    assert_eq!(fault.message, expected);

    let empty = case(labelled("verse", boxes([4; 3], plain(), &[])), None);
    let fault = crop(&empty, &CropConf::default()).expect_err("nothing");
    assert!(fault.message.ends_with("found labels: none"), "{fault}");
}

#[test]
fn a_level_under_two_numbers_and_a_singular_affine_are_unsuitable() {
    let table = LabelTable::from([(3, Level::L2), (4, Level::L2)]);
    let scheme = LabelScheme::Table {
        name: "site".to_owned(),
        table,
    };
    let map = boxes([40; 3], plain(), &[(3, [3; 3], [6; 3]), (4, [9; 3], [12; 3])]);
    let fault = crop(&case(Labelled { scheme, map }, None), &CropConf::default()).expect_err("two of L2");
    assert_eq!(
        (fault.kind, fault.reason),
        (FaultKind::Unsuitable, "repeated_level")
    );

    let flat = boxes(
        [40; 3],
        Affine::axis_aligned([1.0, 0.0, 1.0], [0.0; 3]),
        &[(1, [3; 3], [6; 3])],
    );
    let fault = crop(&case(labelled("binary:L1", flat), None), &CropConf::default()).expect_err("flat");
    assert_eq!(
        (fault.kind, fault.reason),
        (FaultKind::Unsuitable, "singular_affine")
    );
}

#[test]
fn vertebrae_come_from_the_head_down_whatever_their_numbers() {
    let map = boxes(
        [40; 3],
        plain(),
        &[
            (31, [3; 3], [6; 3]),
            (27, [9; 3], [12; 3]),
            (29, [15; 3], [18; 3]),
        ],
    );
    let result = crop(
        &case(labelled("totalsegmentator", map), None),
        &CropConf::default(),
    )
    .expect("cropped");
    let found: Vec<_> = result
        .vertebrae
        .iter()
        .map(|vertebra| (vertebra.level, vertebra.label))
        .collect();
    assert_eq!(found, [(Level::L1, 31), (Level::L3, 29), (Level::L5, 27)]);
}

#[test]
fn borders_and_pieces_are_flagged() {
    let flags = |map| cropped(map).flags;
    let inner = boxes([40; 3], plain(), &[(1, [3; 3], [20; 3])]);
    assert_eq!(flags(inner), Flags::new());
    let at_border = boxes([40; 3], plain(), &[(1, [3, 3, 3], [20, 20, 39])]);
    assert_eq!(flags(at_border), Flags::from([Flag::TouchesBorder]));
    let in_pieces = boxes([40; 3], plain(), &[(1, [3; 3], [20; 3]), (1, [30; 3], [33; 3])]);
    assert_eq!(flags(in_pieces), Flags::from([Flag::Fragments]));
    let just_within = boxes([150, 40, 40], plain(), &[(1, [3; 3], [128, 20, 20])]);
    assert_eq!(
        flags(just_within),
        Flags::new(),
        "126 mm leave a layer on both sides"
    );
    let reaches = boxes([150, 40, 40], plain(), &[(1, [3; 3], [129, 20, 20])]);
    assert_eq!(flags(reaches), Flags::from([Flag::TouchesCube]));
    let past = boxes([250, 40, 40], plain(), &[(1, [3; 3], [240, 20, 20])]);
    let vertebra = cropped(past);
    assert_eq!(vertebra.flags, Flags::from([Flag::TouchesCube]));
    assert_eq!(vertebra.input.voxels(), 128 * 18 * 18);
}

fn against(reference: LabelMap) -> CroppedVertebra {
    let mask = boxes([60; 3], plain(), &[(22, [10; 3], [39; 3])]);
    let scan = case(
        labelled("verse", mask),
        Some(labelled("totalsegmentator", reference)),
    );
    only(crop(&scan, &CropConf::default()).expect("cropped"))
}

#[test]
fn a_reference_is_cut_on_the_same_grid_from_a_grid_and_a_scheme_of_its_own() {
    // the same box of 30 mm as half-millimetre voxels that run the other way
    let affine = Affine::axis_aligned([-0.5, 0.5, -0.5], [-100.0 + 39.25, 20.0 + 9.75, 700.0 + 39.25]);
    let vertebra = against(boxes([60; 3], affine, &[(29, [0; 3], [59; 3])]));
    assert_eq!(vertebra.flags, Flags::new());
    let reference = vertebra.reference.expect("a reference");
    assert_eq!(reference, vertebra.input);
}

#[test]
fn a_reference_without_the_level_elsewhere_or_too_large_is_flagged_and_costs_nothing() {
    let other_level = against(boxes([60; 3], plain(), &[(30, [10; 3], [39; 3])]));
    assert_eq!(other_level.flags, Flags::from([Flag::ReferenceWithoutLevel]));
    assert_eq!(other_level.reference, None);

    for far_mm in [
        [5000.0, 20.0, 700.0],
        [-100.0, 5000.0, 700.0],
        [-100.0, 20.0, 5000.0],
        [-100.0, 20.0, -5000.0],
    ] {
        let far = Affine::axis_aligned(MILLIMETRES, far_mm);
        let elsewhere = against(boxes([60; 3], far, &[(29, [10; 3], [39; 3])]));
        assert_eq!(
            elsewhere.flags,
            Flags::from([Flag::ReferenceElsewhere, Flag::ReferenceLeavesCube])
        );
        assert_eq!(elsewhere.reference, None);
    }

    let beside = Affine::axis_aligned(MILLIMETRES, [-100.0 + 31.0, 20.0, 700.0]);
    let beside = against(boxes([60; 3], beside, &[(29, [10; 3], [39; 3])]));
    assert_eq!(beside.flags, Flags::from([Flag::ReferenceElsewhere]));
    assert!(
        beside.reference.is_some(),
        "within the cube: its volume is worth a column"
    );

    let large = Affine::axis_aligned([3.0; 3], [-180.0, -60.0, 620.0]);
    let large = against(boxes([60; 3], large, &[(29, [5; 3], [54; 3])]));
    assert_eq!(large.flags, Flags::from([Flag::ReferenceLeavesCube]));
    assert!(large.reference.is_some());
}

#[test]
fn a_label_that_linear_interpolation_does_not_see_leaves_an_empty_cube() {
    // one voxel of 0.3 mm may lie between the voxels of the cube; the row is there all the same
    let affine = Affine::axis_aligned([0.3; 3], [0.0; 3]);
    let vertebra = cropped(boxes([20; 3], affine, &[(1, [7; 3], [7; 3])]));
    assert_eq!(vertebra.input.voxels(), 0);
    assert!((vertebra.source_volume_mm3 - 0.027).abs() < 1e-12);
}

#[tokio::test]
async fn the_stage_gives_the_same_twice_and_leaves_the_scan_as_it_was() {
    let map = boxes(
        [60; 3],
        turned(([60; 3], [0.7, 0.9, 1.3], [3, -1, 2], [3.0, 4.0, 5.0]), [0.0; 3]),
        &[(20, [3; 3], [26; 3]), (21, [30; 3], [50; 3])],
    );
    let scan = case(labelled("verse", map), None);
    let before = scan.mask.clone();
    let stage = Crop::default();
    let one = stage.run(scan.clone()).await.expect("cropped");
    let other = stage.run(scan.clone()).await.expect("cropped");
    assert_eq!(scan.mask, before);
    assert_eq!((one.grid, one.vertebrae.len()), (other.grid, 2));
    for (one, other) in one.vertebrae.iter().zip(&other.vertebrae) {
        assert_eq!((&one.input, &one.flags), (&other.input, &other.flags));
    }
}

#[test]
fn the_conf_is_checked() {
    assert_eq!(CropConf::default().check(), Ok(()));
    let bad = [
        CropConf {
            size: 0,
            ..CropConf::default()
        },
        CropConf {
            spacing_mm: f64::NAN,
            ..CropConf::default()
        },
        CropConf {
            spacing_mm: 0.0,
            ..CropConf::default()
        },
        CropConf {
            levels: Vec::new(),
            ..CropConf::default()
        },
    ];
    for conf in bad {
        assert!(conf.check().expect_err("bad").starts_with("crop."));
    }
}

#[test]
#[ignore = "a measurement: cargo test -p stages five_levels -- --ignored --nocapture"]
fn five_levels_of_a_large_map_take_less_than_a_second() {
    let grid = ([300, 300, 150], [0.9, 0.9, 1.0], [-2, -3, 1], [2.0, -3.0, 4.0]);
    let affine = turned(grid, [0.0; 3]);
    let map = painted([300, 300, 150], affine, |[right, anterior, superior]| {
        let level = (2.0 - superior / 46.0).round().clamp(0.0, 4.0);
        let inside = testing::in_vertebra([right, anterior, superior - (2.0 - level) * 46.0]);
        if inside { 20 + level as u16 } else { 0 }
    });
    let scan = case(labelled("verse", map.clone()), Some(labelled("verse", map)));
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        let start = std::time::Instant::now();
        let result = pool
            .install(|| crop(&scan, &CropConf::default()))
            .expect("cropped");
        println!(
            "{} levels with reference, {threads} threads: {:?}",
            result.vertebrae.len(),
            start.elapsed()
        );
        assert!(start.elapsed().as_secs_f64() < 1.0);
        let masks: Vec<_> = result
            .vertebrae
            .iter()
            .map(|v| (v.label, &v.input.mask, &v.input.affine))
            .collect();
        let start = std::time::Instant::now();
        let back = pool.install(|| crate::paste::paste(&result.grid, &masks));
        println!("pasted {} voxels: {:?}", back.data.len(), start.elapsed());
    }
}
