use std::sync::LazyLock;

use super::*;
use crate::degrade::frame::pieces;
use crate::degrade::{agreement, degrade};

const SEEDS: Range<u64> = 0..20;

/// Every level of twenty persons, made once for all tests.
static PATCHES: LazyLock<Vec<(u64, Level, Array3<u8>)>> = LazyLock::new(|| {
    let wanted: Vec<(u64, Level)> = SEEDS
        .flat_map(|seed| LABELS.map(|(_, level)| (seed, level)))
        .collect();
    wanted
        .into_par_iter()
        .map(|(seed, level)| (seed, level, vertebra(level, seed)))
        .collect()
});

fn volume_mm3(map: &LabelMap, label: u16) -> f64 {
    map.data.iter().filter(|found| **found == label).count() as f64 * map.affine.voxel_volume_mm3()
}

#[test]
fn vertebrae_are_as_large_as_real_ones_and_lie_in_the_middle_of_the_patch() {
    // derived CT masks: R 72 to 116 mm, A 73 to 99 mm, S 42 to 63 mm, 38 to 80 cm³; small persons may be smaller
    let ranges = [62..=122, 70..=104, 42..=66];
    let mut sum = 0.0;
    let all = &*PATCHES;
    for (seed, level, mask) in all {
        let found = extents(mask.view(), 1, |value| (value != 0).then_some(0));
        let extent = found.into_iter().flatten().next().expect("not empty");
        for (axis, range) in extent.0.iter().enumerate() {
            assert!(
                ranges[axis].contains(&range.len()),
                "seed {seed} {level}: {extent:?}"
            );
            let (before, behind) = (range.start, PATCH - range.end);
            assert!(before.abs_diff(behind) <= 1, "seed {seed} {level}: {extent:?}");
        }
        let volume_cm3 = mask.iter().filter(|value| **value != 0).count() as f64 / 1000.0;
        assert!(
            (40.0..=78.0).contains(&volume_cm3),
            "seed {seed} {level}: {volume_cm3}"
        );
        sum += volume_cm3;
    }
    let mean = sum / all.len() as f64;
    assert!((52.0..=64.0).contains(&mean), "{mean}");
}

#[test]
fn a_vertebra_is_one_piece() {
    for (seed, level, mask) in PATCHES.iter() {
        assert_eq!(pieces(mask.view()), 1, "seed {seed} {level}");
    }
}

#[test]
fn neighbours_neither_overlap_nor_touch() {
    for seed in 0..5 {
        let spine = Spine::new(seed);
        let grid = spine.grid(&PhantomConf::default()).expect("default");
        let map = spine.label_map(&grid);
        let voxels: usize = (0..LABELS.len())
            .filter_map(|index| spine.vertebra(index, &grid))
            .map(|(_, inside)| inside.iter().filter(|inside| **inside).count())
            .sum();
        assert_eq!(
            voxels,
            map.data.iter().filter(|label| **label != 0).count(),
            "seed {seed}: an overlap"
        );
        for ((i, j, k), label) in map.data.indexed_iter() {
            for next in [[i + 1, j, k], [i, j + 1, k], [i, j, k + 1]] {
                let other = map.data.get(next).copied().unwrap_or(0);
                assert!(
                    *label == 0 || other == 0 || other == *label,
                    "seed {seed}: {label} touches {other}"
                );
            }
        }
    }
}

#[test]
fn a_spine_lies_within_its_grid_from_the_head_down_and_is_lordotic() {
    for seed in 0..5 {
        let map = spine(seed, &PhantomConf::default()).expect("default");
        let mut centres = Vec::new();
        for (label, level) in LABELS {
            let mut sum = [0.0; 3];
            let mut count = 0.0;
            for ((i, j, k), found) in map.data.indexed_iter() {
                if *found == label {
                    let world = map.affine.apply([i as f64, j as f64, k as f64]);
                    for (sum, world) in sum.iter_mut().zip(world) {
                        *sum += world;
                    }
                    count += 1.0;
                }
            }
            assert!(count > 0.0, "seed {seed}: no {level}");
            centres.push(sum.map(|sum| sum / count));
        }
        for pair in centres.windows(2) {
            assert!(
                (25.0..50.0).contains(&(pair[0][2] - pair[1][2])),
                "seed {seed}: {centres:?}"
            );
        }
        // the middle lies in front of the line between both ends
        assert!(
            centres[2][1] > (centres[0][1] + centres[4][1]) / 2.0 - 2.0,
            "seed {seed}: {centres:?}"
        );
        let [last_i, last_j, last_k] = map.shape().map(|voxels| voxels - 1);
        let on_border = |(i, j, k): (usize, usize, usize)| {
            i == 0 || j == 0 || k == 0 || i == last_i || j == last_j || k == last_k
        };
        assert!(
            map.data
                .indexed_iter()
                .all(|(voxel, label)| *label == 0 || !on_border(voxel)),
            "seed {seed}"
        );
    }
}

#[test]
fn equal_seeds_give_equal_voxels_and_different_seeds_differ() {
    assert_eq!(vertebra(Level::L2, 4), vertebra(Level::L2, 4));
    assert_ne!(vertebra(Level::L2, 4), vertebra(Level::L2, 5));
    let conf = PhantomConf {
        spacing_mm: [2.0; 3],
        ..PhantomConf::default()
    };
    assert_eq!(spine(4, &conf).expect("fits"), spine(4, &conf).expect("fits"));
    assert_ne!(spine(4, &conf).expect("fits"), spine(5, &conf).expect("fits"));
}

#[test]
fn a_patch_holds_the_vertebra_of_the_whole_spine() {
    let map = spine(6, &PhantomConf::default()).expect("default");
    for (label, level) in LABELS {
        let patch = vertebra(level, 6).iter().filter(|value| **value != 0).count() as f64;
        let whole = volume_mm3(&map, label);
        assert!((patch / whole - 1.0).abs() < 0.005, "{level}: {patch} {whole}");
    }
}

#[test]
fn the_same_spine_on_an_oblique_anisotropic_grid_has_the_same_volumes() {
    let oblique = PhantomConf {
        spacing_mm: [0.7, 0.9, 3.3],
        orientation: "PIR".parse().expect("an orientation"),
        oblique_deg: [8.0, -5.0, 12.0],
        ..PhantomConf::default()
    };
    for seed in 0..3 {
        let (fine, coarse) = (spine(seed, &PhantomConf::default()), spine(seed, &oblique));
        let (fine, coarse) = (fine.expect("default"), coarse.expect("fits"));
        for (label, level) in LABELS {
            let ratio = volume_mm3(&coarse, label) / volume_mm3(&fine, label);
            assert!((ratio - 1.0).abs() < 0.02, "seed {seed} {level}: {ratio}");
        }
    }
}

#[test]
fn settling_whole_blocks_changes_no_voxel() {
    let spine = Spine::new(1);
    let conf = PhantomConf {
        spacing_mm: [1.3, 0.9, 2.1],
        oblique_deg: [5.0, 10.0, 0.0],
        ..PhantomConf::default()
    };
    let grid = spine.grid(&conf).expect("fits");
    for index in 0..LABELS.len() {
        let (ranges, inside) = spine.vertebra(index, &grid).expect("inside");
        for ((i, j, k), inside) in inside.indexed_iter() {
            let voxel =
                [ranges[0].start + i, ranges[1].start + j, ranges[2].start + k].map(|index| index as f64);
            let signed = signed(&spine.vertebrae, index, grid.affine.apply(voxel));
            assert_eq!(
                *inside,
                signed < 0.0,
                "vertebra {index}, voxel {voxel:?}: {signed}"
            );
        }
    }
}

#[test]
fn phantoms_degrade_as_real_masks_do() {
    let grid = Affine::axis_aligned([1.0; 3], [0.0; 3]);
    let found: Vec<_> = PATCHES
        .par_iter()
        .map(|(seed, _, mask)| {
            agreement(degrade(mask.view(), &grid, *seed).view(), mask.view()).expect("not empty")
        })
        .collect();
    let count = found.len() as f64;
    let dsc = found.iter().map(|found| found.dsc).sum::<f64>() / count;
    let precision = found.iter().map(|found| found.precision).sum::<f64>() / count;
    let volume_ratio = found.iter().map(|found| found.volume_ratio).sum::<f64>() / count;
    assert!((0.70..=0.82).contains(&dsc), "{dsc}");
    assert!(precision > 0.95, "{precision}");
    assert!((0.5..=0.8).contains(&volume_ratio), "{volume_ratio}");
    assert!(found.iter().all(|found| found.precision > 0.92));
}

#[test]
fn a_grid_out_of_range_is_refused() {
    for spacing_mm in [[0.0, 1.0, 1.0], [1.0, f64::NAN, 1.0], [1.0, 1.0, 1e9]] {
        let conf = PhantomConf {
            spacing_mm,
            ..PhantomConf::default()
        };
        assert!(
            matches!(spine(0, &conf), Err(ModelError::Conf(_))),
            "{spacing_mm:?}"
        );
    }
    let huge = PhantomConf {
        spacing_mm: [0.2; 3],
        margin_mm: 200.0,
        ..PhantomConf::default()
    };
    assert!(matches!(spine(0, &huge), Err(ModelError::Conf(_))));
}
