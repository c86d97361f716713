use schemas::{Affine, Level};

use super::super::testing::{eroded, measured, moved, phantom};
use super::*;
use crate::crop::testing::turned;
use crate::nightly::known::distance;

/// A mask of `side` voxels along each edge with blocks of a value, first index to behind the last.
fn blocks(side: usize, blocks: &[(u8, [usize; 3], [usize; 3])]) -> Array3<u8> {
    let mut mask = Array3::zeros((side, side, side));
    for (value, [i, j, k], [end_i, end_j, end_k]) in blocks {
        mask.slice_mut(s![*i..*end_i, *j..*end_j, *k..*end_k])
            .fill(*value);
    }
    mask
}

#[test]
fn a_cube_with_a_hole_has_the_hole_as_its_cavity() {
    let cube = (1, [5, 6, 7], [15, 16, 17]);
    let hole = (0, [7, 8, 9], [9, 11, 13]);
    let found = measured(&blocks(32, &[cube, hole]), [1.0, 2.0, 3.0]);
    let voxels = 1000.0 - 24.0;
    assert_eq!(found.extent_mm, [10.0; 3]);
    assert_eq!(found.volume_mm3, voxels);
    assert_eq!(found.largest_piece, 1.0);
    assert!(
        (found.cavities - 24.0 / voxels).abs() < 1e-12,
        "{}",
        found.cavities
    );
    assert_eq!(found.centre_mm, [1.0, 2.0, 3.0]);
    assert!(!found.is_empty());

    let well = (0, [7, 8, 9], [8, 9, 17]);
    assert_eq!(measured(&blocks(32, &[cube, hole, well]), [0.0; 3]).cavities, 0.0);
    // background hangs together by faces only: over an edge nothing leaks
    let mut leaking = blocks(32, &[cube, hole]);
    leaking[[6, 7, 9]] = 0;
    leaking[[5, 6, 9]] = 0;
    let cavities = measured(&leaking, [0.0; 3]).cavities * (voxels - 2.0);
    assert!((cavities - 25.0).abs() < 1e-9, "{cavities}");
}

#[test]
fn what_is_open_at_the_border_of_the_cube_is_no_cavity() {
    let cube = (1, [0, 0, 0], [8, 8, 8]);
    let notch = (0, [0, 2, 2], [3, 5, 5]);
    let found = measured(&blocks(8, &[cube, notch]), [0.0; 3]);
    assert_eq!(found.cavities, 0.0);
    let inside = (0, [2, 2, 2], [3, 5, 5]);
    let found = measured(&blocks(8, &[cube, inside]), [0.0; 3]);
    assert!((found.cavities - 9.0 / 503.0).abs() < 1e-12, "{}", found.cavities);
}

#[test]
fn the_largest_of_two_pieces_has_its_share() {
    let (large, small) = ((1, [2, 2, 2], [12, 8, 7]), (1, [20, 20, 20], [25, 25, 24]));
    let found = measured(&blocks(32, &[large, small]), [0.0; 3]);
    assert!(
        (found.largest_piece - 0.75).abs() < 1e-12,
        "{}",
        found.largest_piece
    );
    assert_eq!(found.extent_mm, [23.0, 23.0, 22.0]);
    let corner_to_corner = (1, [12, 8, 7], [17, 13, 11]);
    let found = measured(&blocks(32, &[large, corner_to_corner]), [0.0; 3]);
    assert_eq!(found.largest_piece, 1.0);
}

#[test]
fn an_empty_mask_is_empty_and_flags_are_handed_on() {
    let mask = Array3::<u8>::zeros((16, 16, 16));
    let flags = Flags::from([Flag::TouchesCube]);
    let teaching = Teaching {
        mask: mask.view(),
        centre_mm: [0.0; 3],
        volume_mm3: 7.0,
        flags: &flags,
    };
    let found = measure(&teaching);
    assert!(found.is_empty());
    assert_eq!((found.largest_piece, found.cavities), (0.0, 0.0));
    assert_eq!((found.touches_border, found.touches_cube), (false, true));
    assert_eq!(found.shape, vec![0; SHAPE_LENGTH]);
}

#[test]
fn a_block_about_its_centroid_fills_the_middle_of_the_shape_wherever_it_lies() {
    // the eight blocks around the middle, and the share of each that a cube of `side` voxels fills
    for (side, share) in [(32, 1.0), (24, 0.75_f64.powi(3)), (16, 0.125)] {
        let value = (share * 255.0_f64).round() as u8;
        let expected: Vec<u8> = (0..SHAPE_LENGTH)
            .map(|index| {
                let is_middle = [index / 64, index / 8 % 8, index % 8]
                    .iter()
                    .all(|block| (3..5).contains(block));
                if is_middle { value } else { 0 }
            })
            .collect();
        for start in [[48, 48, 48], [3, 70, 21], [96, 0, 64]] {
            let mask = blocks(128, &[(1, start, start.map(|first| first + side))]);
            assert_eq!(measured(&mask, [0.0; 3]).shape, expected, "{side} {start:?}");
        }
    }
}

#[test]
fn axes_of_a_shape_are_right_anterior_superior() {
    let mask = blocks(128, &[(1, [16, 56, 62], [112, 72, 66])]);
    let shape = measured(&mask, [0.0; 3]).shape;
    // 96 mm to the right, 16 mm to the front, 4 mm up, all about the middle: six blocks, two halves, two eighths
    let value = (255.0_f64 / 2.0 / 8.0).round() as u8;
    for (index, found) in shape.iter().enumerate() {
        let [right, anterior, superior] = [index / 64, index / 8 % 8, index % 8];
        let is_filled = (1..7).contains(&right) && (3..5).contains(&anterior) && (3..5).contains(&superior);
        assert_eq!(
            *found,
            if is_filled { value } else { 0 },
            "{right} {anterior} {superior}"
        );
    }
}

#[test]
fn a_vertebra_keeps_its_shape_when_moved_and_differs_from_that_of_another_person() {
    let one = phantom(Level::L3, 1);
    let shape = |mask: &Array3<u8>| measured(mask, [0.0; 3]).shape;
    let same = distance(&shape(&one), &shape(&moved(&one, [1, -1, 2])));
    let other = distance(&shape(&one), &shape(&phantom(Level::L3, 2)));
    let thinner = distance(&shape(&one), &shape(&eroded(&one, 2.0)));
    println!("moved {same:.5}, another person {other:.4}, eroded {thinner:.4}");
    // but for numbers that lie half-way between two bytes
    assert!(same < 1e-3, "{same}");
    assert!(other > 0.03 && thinner > 0.1, "{other} {thinner}");
}

#[test]
fn a_scan_is_as_thick_as_its_largest_spacing_along_whatever_axis_it_runs() {
    let scan = |affine: Affine| {
        measure_scan(&Grid {
            shape: [10, 10, 10],
            affine,
        })
    };
    let sagittal = scan(turned(
        ([10; 3], [0.6, 0.7, 3.3], [-2, -3, 1], [5.0, -8.0, 12.0]),
        [0.0; 3],
    ));
    for (found, expected) in sagittal.spacing_mm.into_iter().zip([3.3, 0.6, 0.7]) {
        assert!((found - expected).abs() < 1e-9, "{sagittal:?}");
    }
    assert!((sagittal.thickness_mm - 3.3).abs() < 1e-9);
    let axial = scan(Affine::axis_aligned([-0.8, -0.9, 2.5], [0.0; 3]));
    assert_eq!(axial.spacing_mm, [0.8, 0.9, 2.5]);
    // turned by almost half a right angle, each axis is still named once
    let mut spacing_mm = scan(turned(
        ([10; 3], [1.0, 2.0, 3.0], [1, 2, 3], [44.0, 0.0, 0.0]),
        [0.0; 3],
    ))
    .spacing_mm;
    spacing_mm.sort_by(f64::total_cmp);
    for (found, expected) in spacing_mm.into_iter().zip([1.0, 2.0, 3.0]) {
        assert!((found - expected).abs() < 1e-9, "{spacing_mm:?}");
    }
}
