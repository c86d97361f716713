//! Interpolation whichever way the axes of the patch, the scan or the body run.

use super::*;

/// Returns the patch with its array's axes reordered, or run through backwards, and its affine to match.
fn turned(patch: &Patch, order: [usize; 3], reversed: [bool; 3]) -> Patch {
    let mut matrix = Affine([[0.0; 4]; 4]);
    let mut mask = patch.mask.view().permuted_axes(order);
    matrix.0[3][3] = 1.0;
    for (axis, from) in order.into_iter().enumerate() {
        matrix.0[from][axis] = 1.0;
        if reversed[axis] {
            matrix.0[from][axis] = -1.0;
            matrix.0[from][3] = mask.len_of(Axis(axis)) as f64 - 1.0;
            mask.invert_axis(Axis(axis));
        }
    }
    Patch {
        mask: mask.as_standard_layout().to_owned(),
        affine: patch.affine.after(&matrix),
        slices: patch.slices,
    }
}

/// A turn by these degrees about the world's z, then y, then x axis through the origin.
fn turn(degrees: [f64; 3]) -> Affine {
    let mut turn = Affine::axis_aligned([1.0; 3], [0.0; 3]);
    for (about, angle) in [2, 1, 0].into_iter().zip(degrees) {
        let (sine, cosine) = angle.to_radians().sin_cos();
        let (one, other) = ((about + 1) % 3, (about + 2) % 3);
        let mut step = Affine::axis_aligned([1.0; 3], [0.0; 3]);
        step.0[one][one] = cosine;
        step.0[other][other] = cosine;
        step.0[one][other] = -sine;
        step.0[other][one] = sine;
        turn = step.after(&turn);
    }
    turn
}

fn turned_slices(slices: &Slices, turn: &Affine) -> Slices {
    Slices {
        normal: turn.apply(slices.normal),
        point_mm: turn.apply(slices.point_mm),
        ..*slices
    }
}

/// Returns whether the surface of the mask passes within two voxels.
fn is_near_surface(mask: &Array3<u8>, (i, j, k): (usize, usize, usize)) -> bool {
    let mut around = (0..125).map(|step| {
        let place = [i + step / 25, j + step / 5 % 5, k + step % 5].map(|index| index.wrapping_sub(2));
        mask.get(place).copied().unwrap_or(0)
    });
    let first = around.next();
    around.any(|value| Some(value) != first)
}

#[test]
fn the_order_and_direction_of_the_axes_do_not_matter() {
    let patch = sliced(grid(), sagittal(4.0), ellipsoid);
    let expected = restored(&patch);
    assert_ne!(expected, patch.mask);
    let flipped_normal = Slices {
        normal: [-1.0, 0.0, 0.0],
        ..sagittal(4.0)
    };
    let patch_of = |slices| Patch {
        slices: Some(slices),
        ..patch.clone()
    };
    assert_eq!(restored(&patch_of(flipped_normal)), expected);
    let other_slice = Slices {
        point_mm: [-11.9, 0.3, 5.0],
        ..sagittal(4.0)
    };
    assert_eq!(restored(&patch_of(other_slice)), expected);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for reversed in [[false; 3], [true, false, false], [false, true, true], [true; 3]] {
            let other = turned(&patch, order, reversed);
            let as_expected = turned(&Patch::new(expected.clone(), patch.affine), order, reversed);
            assert_eq!(restored(&other), as_expected.mask, "{order:?} {reversed:?}");
        }
    }
}

#[test]
fn a_scan_turned_as_a_whole_gives_the_same_voxels() {
    let patch = sliced(grid(), sagittal(3.3), cone);
    let turn = turn([20.0, -15.0, 40.0]);
    let whole = Patch {
        affine: turn.after(&patch.affine),
        slices: patch.slices.map(|slices| turned_slices(&slices, &turn)),
        mask: patch.mask.clone(),
    };
    assert_eq!(restored(&whole), restored(&patch));
}

#[test]
fn slices_oblique_to_the_patch_give_what_straight_ones_do_but_for_voxels_at_the_surface() {
    // the patch stays along the world's axes, as the crop cuts it; solid and slices are turned
    let solids: [(&str, Solid); 3] = [("sphere", sphere), ("ellipsoid", ellipsoid), ("cone", cone)];
    for degrees in [[8.0, -5.0, 12.0], [20.0, 15.0, 0.0], [45.0, 0.0, 0.0]] {
        let turn = turn(degrees);
        let back = turn.inverse().expect("regular");
        for (name, solid) in solids {
            let truth = filled(&grid(), |point| solid(back.apply(point)));
            let straight = restored(&sliced(grid(), sagittal(4.0), solid));
            let patch = sliced(grid(), turned_slices(&sagittal(4.0), &turn), |point| {
                solid(back.apply(point))
            });
            let output = restored(&patch);
            // what the straight scan gives, looked up at the turned places
            let expected = filled(&grid(), |point| {
                let index = grid().inverse().expect("regular").apply(back.apply(point));
                is_set_near(&straight, index)
            });
            let alike = dice(&output, &expected);
            let (input, restored) = (dice(&patch.mask, &truth), dice(&output, &truth));
            println!("{name} {degrees:?}: as straight {alike:.4}, DSC {input:.4} → {restored:.4}");
            // two roundings to the nearest voxel: of the slices in the patch, and of the place looked up
            for (voxel, found) in output.indexed_iter() {
                assert!(
                    *found == expected[voxel] || is_near_surface(&expected, voxel),
                    "{name} {degrees:?} {voxel:?}"
                );
            }
            assert!(alike > 0.96, "{name} {degrees:?} {alike}");
            assert!(restored > input, "{name} {degrees:?} {input} {restored}");
        }
    }
}
