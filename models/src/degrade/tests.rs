use ndarray::Axis;

use super::*;

const SPACING_MM: [f64; 3] = [1.0, 1.0, 1.0];

/// A solid of the size of a vertebral body with two long processes, in mm: a cross of two ellipsoids.
fn solid(spacing_mm: [f64; 3]) -> Array3<u8> {
    let voxels = spacing_mm.map(|mm| (120.0 / mm) as usize);
    Array3::from_shape_fn((voxels[0], voxels[1], voxels[2]), |(i, j, k)| {
        let at = |index: usize, axis: usize| (index as f64 + 0.5) * spacing_mm[axis] - 60.0;
        let inside = |radii: [f64; 3]| {
            let norm =
                (at(i, 0) / radii[0]).powi(2) + (at(j, 1) / radii[1]).powi(2) + (at(k, 2) / radii[2]).powi(2);
            norm <= 1.0
        };
        u8::from(inside([26.0, 20.0, 15.0]) || inside([45.0, 8.0, 8.0]))
    })
}

fn unit_grid() -> Affine {
    Affine::axis_aligned(SPACING_MM, [-60.0; 3])
}

#[test]
fn a_degraded_mask_is_a_pure_function_of_mask_and_seed() {
    let mask = solid(SPACING_MM);
    let first = degrade(mask.view(), &unit_grid(), 7);
    assert_eq!(first, degrade(mask.view(), &unit_grid(), 7));
    assert_ne!(first, degrade(mask.view(), &unit_grid(), 8));
}

#[test]
fn degradation_takes_away_much_and_adds_little() {
    let mask = solid(SPACING_MM);
    let mut volume_ratio = 0.0;
    for seed in 0..20 {
        let degraded = degrade(mask.view(), &unit_grid(), seed);
        let found = agreement(degraded.view(), mask.view()).expect("both have voxels");
        assert!(found.precision > 0.95, "seed {seed}: {found:?}");
        volume_ratio += found.volume_ratio / 20.0;
    }
    assert!((0.5..0.9).contains(&volume_ratio), "{volume_ratio}");
}

#[test]
fn slices_are_three_to_six_voxels_thick_and_stay_in_the_field_of_view() {
    let mask = solid(SPACING_MM);
    for seed in 0..20 {
        let degraded = degrade(mask.view(), &unit_grid(), seed);
        let mut runs = vec![1];
        for plane in 1..degraded.dim().0 {
            let same = degraded.index_axis(Axis(0), plane) == degraded.index_axis(Axis(0), plane - 1);
            match runs.last_mut() {
                Some(run) if same => *run += 1,
                _ => runs.push(1),
            }
        }
        // the first and last run are the empty margins; next to them a border of the view may cut a slice short
        let inner = &runs[2..runs.len() - 2];
        assert!(
            inner.iter().all(|run| (3..=12).contains(run)),
            "seed {seed}: {runs:?}"
        );
        let empty = runs[0] + runs[runs.len() - 1];
        assert!((120 - 68..=120 - 40).contains(&empty), "seed {seed}: {runs:?}");
    }
}

#[test]
fn the_order_and_direction_of_the_axes_do_not_matter() {
    let mask = solid([1.5, 0.8, 2.0]);
    let affine = Affine::axis_aligned([1.5, 0.8, 2.0], [-60.0; 3]);
    let expected = degrade(mask.view(), &affine, 3);
    // file axes: superior, left, anterior
    let mut turned = mask.view().permuted_axes([2, 0, 1]);
    turned.invert_axis(Axis(1));
    let turned_affine = Affine([
        [0.0, -1.5, 0.0, 60.0],
        [0.0, 0.0, 0.8, -60.0],
        [2.0, 0.0, 0.0, -60.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let mut back = degrade(turned, &turned_affine, 3);
    back.invert_axis(Axis(1));
    assert_eq!(back.permuted_axes([1, 2, 0]), expected);
}

#[test]
fn a_coarser_grid_is_degraded_by_as_much() {
    let ratio = |spacing_mm: [f64; 3]| {
        let mask = solid(spacing_mm);
        let affine = Affine::axis_aligned(spacing_mm, [-60.0; 3]);
        let mut sum = 0.0;
        for seed in 0..10 {
            let degraded = degrade(mask.view(), &affine, seed);
            sum += agreement(degraded.view(), mask.view())
                .expect("both have voxels")
                .volume_ratio
                / 10.0;
        }
        sum
    };
    let (fine, coarse) = (ratio([0.75, 0.75, 0.75]), ratio([1.5, 1.0, 2.0]));
    assert!((fine - coarse).abs() < 0.05, "{fine} {coarse}");
}

/// Two solids, one above the other, labels 20 and 21, and a third label that nobody asks for.
fn two_labels(flipped: bool) -> LabelMap {
    let mask = solid(SPACING_MM);
    let mut data = Array3::<u16>::zeros((120, 120, 160));
    for ((i, j, k), value) in mask.indexed_iter() {
        if *value != 0 {
            data[[i, j, k]] = 20;
            data[[i, j, k + 36]] = 21;
        }
    }
    data[[0, 0, 0]] = 99;
    let mut affine = unit_grid();
    if flipped {
        data.invert_axis(Axis(0));
        affine.0[0] = [-1.0, 0.0, 0.0, 59.0];
    }
    LabelMap { data, affine }
}

#[test]
fn all_labels_of_a_map_share_one_scan() {
    let map = two_labels(false);
    let degraded = degrade_labels(&map, &[21, 20, 20, 0, 7], 5);
    assert_eq!(degraded, degrade_labels(&map, &[20, 21], 5));
    let present: std::collections::BTreeSet<u16> = degraded.data.iter().copied().collect();
    assert_eq!(present, [0, 20, 21].into());
    let changes = |label: u16| {
        let shows = |plane: usize| {
            degraded
                .data
                .index_axis(Axis(0), plane)
                .mapv(|value| value == label)
        };
        (1..120)
            .filter(|plane| shows(*plane) != shows(*plane - 1))
            .collect::<std::collections::BTreeSet<_>>()
    };
    let common = changes(20).intersection(&changes(21)).count();
    assert!(
        common + 2 >= changes(20).len(),
        "{:?} {:?}",
        changes(20),
        changes(21)
    );
}

#[test]
fn a_map_of_label_1_is_degraded_like_a_binary_mask() {
    let mask = solid(SPACING_MM);
    let map = LabelMap {
        data: mask.mapv(u16::from),
        affine: unit_grid(),
    };
    let expected = degrade(mask.view(), &map.affine, 11).mapv(u16::from);
    assert_eq!(degrade_labels(&map, &[1], 11).data, expected);
}

#[test]
fn thick_slices_repeated_on_the_own_grid_are_the_degraded_labels() {
    for flipped in [false, true] {
        let map = two_labels(flipped);
        let slices = thick_slices(&map, &[20, 21], 9);
        let thickness_mm = slices.affine.spacing_mm()[0];
        assert!((3.0..=5.5).contains(&thickness_mm), "{thickness_mm}");
        assert_eq!(slices.affine.0[0][0] < 0.0, flipped);
        let to_slices = slices.affine.inverse().expect("regular");
        let degraded = degrade_labels(&map, &[20, 21], 9);
        for ((i, j, k), label) in degraded.data.indexed_iter() {
            let place = to_slices.apply(map.affine.apply([i as f64, j as f64, k as f64]));
            let slice = place[0].round();
            if *label != 0 {
                assert!(
                    slice >= 0.0 && place[1] == j as f64 && place[2] == k as f64,
                    "{place:?}"
                );
                assert_eq!(slices.data[[slice as usize, j, k]], *label, "flipped: {flipped}");
            }
        }
        let volume = |map: &LabelMap| {
            map.data.iter().filter(|label| **label != 0).count() as f64 * map.affine.voxel_volume_mm3()
        };
        assert!((volume(&slices) / volume(&degraded) - 1.0).abs() < 0.05);
    }
}

#[test]
fn the_slices_of_a_degraded_mask_are_those_it_repeats() {
    let oblique = Affine([
        [0.98, 0.12, -0.05, -60.0],
        [-0.1, 0.99, 0.2, -60.0],
        [0.07, -0.15, 0.97, -60.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let mut reversed = unit_grid();
    reversed.0[0] = [-1.0, 0.0, 0.0, 59.0];
    let mask = solid(SPACING_MM);
    for affine in [unit_grid(), reversed, oblique] {
        for seed in 0..10 {
            let (degraded, slices) = degrade_with_slices(mask.view(), &affine, seed);
            assert_eq!(degraded, degrade(mask.view(), &affine, seed));
            let slices = slices.expect("a regular affine");
            assert!((2.9..=5.5).contains(&slices.spacing_mm), "{slices:?}");
            // a plane lies in one slice, wherever in the plane one looks
            let slice_of = |plane: usize| {
                let [one, other] = [[3.0, 70.0], [110.0, 20.0]]
                    .map(|[row, column]| slices.position(affine.apply([plane as f64, row, column])));
                assert!((one - other).abs() < 1e-9, "{one} {other}");
                one.round()
            };
            let holds = |plane: usize| {
                degraded
                    .index_axis(Axis(0), plane)
                    .iter()
                    .any(|value| *value != 0)
            };
            let mut changes = 0;
            // the border of the field of view may cut the first and the last slice short
            for plane in (1..120).filter(|plane| holds(*plane - 1) && holds(*plane)) {
                let same = degraded.index_axis(Axis(0), plane) == degraded.index_axis(Axis(0), plane - 1);
                if slice_of(plane) == slice_of(plane - 1) {
                    assert!(same, "seed {seed} plane {plane}");
                } else {
                    changes += u32::from(!same);
                }
            }
            assert!(changes >= 6, "seed {seed}: {changes}");
        }
    }
    let singular = Affine::axis_aligned([1.0, 0.0, 1.0], [0.0; 3]);
    assert_eq!(degrade_with_slices(mask.view(), &singular, 1).1, None);
}

#[test]
fn an_empty_mask_stays_empty() {
    let mask = Array3::zeros((20, 30, 40));
    assert_eq!(degrade(mask.view(), &unit_grid(), 1), mask);
    let map = LabelMap {
        data: mask.mapv(u16::from),
        affine: unit_grid(),
    };
    assert!(thick_slices(&map, &[20], 1).data.iter().all(|label| *label == 0));
}

#[test]
fn odd_shapes_and_affines_are_no_reason_to_panic() {
    let nan = Affine::axis_aligned([f64::NAN, 1.0, 0.0], [0.0; 3]);
    let affines = [
        unit_grid(),
        nan,
        Affine([[0.0; 4]; 4]),
        Affine::axis_aligned([1e-6, 1e-6, 1e-6], [0.0; 3]),
        Affine::axis_aligned([1e6, 1e6, 1e6], [0.0; 3]),
        Affine::axis_aligned([f64::MAX, f64::MIN_POSITIVE, f64::INFINITY], [0.0; 3]),
    ];
    for shape in [
        (0, 0, 0),
        (0, 3, 1),
        (1, 1, 1),
        (1, 90, 2),
        (300, 1, 1),
        (2, 3, 4),
    ] {
        let mask = Array3::<u8>::ones(shape);
        for affine in &affines {
            for seed in 0..3 {
                assert_eq!(degrade(mask.view(), affine, seed).dim(), shape);
                let map = LabelMap {
                    data: mask.mapv(u16::from),
                    affine: *affine,
                };
                assert_eq!(thick_slices(&map, &[1], seed).data.dim().1, shape.1);
            }
        }
    }
}

#[test]
fn the_agreement_of_two_shifted_boxes_is_known() {
    let mut reference = Array3::<u8>::zeros((10, 4, 4));
    let mut degraded = reference.clone();
    for plane in 0..6 {
        reference.index_axis_mut(Axis(0), plane).fill(1);
    }
    for plane in 4..8 {
        degraded.index_axis_mut(Axis(0), plane).fill(1);
    }
    let found = agreement(degraded.view(), reference.view()).expect("both have voxels");
    assert_eq!(
        found,
        Agreement {
            dsc: 0.4,
            precision: 0.5,
            volume_ratio: 4.0 / 6.0
        }
    );
    assert_eq!(
        agreement(Array3::zeros((10, 4, 4)).view(), reference.view()),
        None
    );
}
