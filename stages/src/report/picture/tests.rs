//! The panel and its slices, held against counts of pixels that a ruler gives.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ndarray::{Array3, s};

use super::slice::{EXTRA, MASK, MISSING, OUTLINE, PALETTE, ZOOM};
use super::*;
use crate::report::svg::testing::assert_stands_alone;

/// A block of 10 × 8 × 6 voxels, moved from (20, 20, 20).
fn block(moved: [usize; 3]) -> Array3<u8> {
    let [i, j, k] = moved.map(|moved| 20 + moved);
    let mut mask = Array3::zeros((48, 48, 48));
    mask.slice_mut(s![i..i + 10, j..j + 8, k..k + 6]).fill(1);
    mask
}

fn column<'a>(title: &str, mask: &'a Array3<u8>) -> Column<'a> {
    Column {
        title: title.to_owned(),
        mask: mask.view(),
    }
}

/// Width in pixels and the bytes of each picture of a panel, three slices and a surface a column.
fn pictures(svg: &str) -> Vec<(usize, Vec<u8>)> {
    let urls = svg.split("href=\"data:image/png;base64,").skip(1);
    urls.map(|rest| {
        let (base64, _) = rest.split_once('"').expect("quoted");
        let bytes = STANDARD.decode(base64).expect("base64");
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .expect("PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
        let frame = reader.next_frame(&mut pixels).expect("pixels");
        if frame.color_type == png::ColorType::Indexed {
            let palette = reader.info().palette.as_deref();
            assert_eq!(palette, Some(PALETTE.as_flattened()));
        }
        (frame.width as usize, pixels)
    })
    .collect()
}

fn count(pixels: &[u8], colour: u8) -> usize {
    pixels.iter().filter(|pixel| **pixel == colour).count()
}

/// Pixels of the outline just inside a rectangle of that many voxels.
fn outline(width: usize, height: usize) -> usize {
    let (width, height) = (width * ZOOM, height * ZOOM);
    width * height - (width - 4) * (height - 4)
}

#[test]
fn a_block_alone_fills_as_many_pixels_as_its_sides_say() {
    let mask = block([0; 3]);
    let svg = panel("block", &[column("input", &mask)], None);
    assert_stands_alone(&svg);
    let found = pictures(&svg);
    assert_eq!(found.len(), 4, "three slices and the surface");
    for ((width, pixels), (across, down)) in found.iter().zip([(10, 8), (10, 6), (8, 6)]) {
        assert_eq!(*width, (across + 2 * MARGIN) * ZOOM);
        assert_eq!(
            pixels.len(),
            (across + 2 * MARGIN) * (down + 2 * MARGIN) * ZOOM * ZOOM
        );
        assert_eq!(count(pixels, MASK), across * down * ZOOM * ZOOM);
        assert_eq!(count(pixels, 0), pixels.len() - across * down * ZOOM * ZOOM);
    }
}

#[test]
fn what_is_extra_lies_on_its_side_and_what_is_missing_is_hatched() {
    // the mask is the reference moved by 3 mm to the right, 2 to the front and 1 to the head
    let (mask, reference) = (block([3, 2, 1]), block([0; 3]));
    let svg = panel("moved", &[column("input", &mask)], Some(reference.view()));
    assert_stands_alone(&svg);
    let found = pictures(&svg);
    assert_eq!(found.len(), 8, "the reference is the last column");
    // across, down, and by how much the mask is moved to the left and up of the page
    for ((width, pixels), [across, down, left, up]) in
        found.iter().zip([[10, 8, 3, 2], [10, 6, 3, 1], [8, 6, 2, 1]])
    {
        let common = (across - left) * (down - up);
        let extra = (across * down - common) * ZOOM * ZOOM;
        assert_eq!(count(pixels, EXTRA), extra);
        assert_eq!(count(pixels, OUTLINE), outline(across, down));
        // two of the outline's sides lie on the common part
        let edges = 2 * ((across - left) * ZOOM + (down - up) * ZOOM) - 4;
        assert_eq!(count(pixels, MASK), common * ZOOM * ZOOM - edges);
        let missing = count(pixels, MISSING);
        let part = missing as f64 / (extra - (outline(across, down) - edges)) as f64;
        assert!((0.1..0.3).contains(&part), "a fifth is hatching, found {part}");

        let first = |colour: u8| {
            let places = pixels.iter().enumerate().filter(|(_, pixel)| **pixel == colour);
            let (columns, rows): (Vec<usize>, Vec<usize>) =
                places.map(|(place, _)| (place % width, place / width)).unzip();
            (columns.into_iter().min(), rows.into_iter().min())
        };
        let start = Some(MARGIN * ZOOM);
        assert_eq!(
            first(EXTRA),
            (start, start),
            "right and front on the left, front and head above"
        );
        let moved = (Some((MARGIN + left) * ZOOM), Some((MARGIN + up) * ZOOM));
        assert_eq!(first(OUTLINE), moved);
    }
    for ((_, pixels), (across, down)) in found.iter().skip(4).zip([(10, 8), (10, 6), (8, 6)]) {
        assert_eq!(
            count(pixels, EXTRA) + count(pixels, MISSING),
            0,
            "the reference is right"
        );
        assert_eq!(count(pixels, OUTLINE), outline(across, down));
    }
}

#[test]
fn the_letters_stand_where_the_radiologist_looks_for_them() {
    for plane in Plane::ALL {
        // one voxel at the end of both axes of the page
        let [across, down] = match plane {
            Plane::Axial => [0, 1],
            Plane::Coronal => [0, 2],
            Plane::Sagittal => [1, 2],
        };
        let mut index = [2; 3];
        index[across] = 4;
        index[down] = 4;
        let mut mask = Array3::zeros((5, 5, 5));
        mask[index] = 1;
        let raster = slice::draw(plane, mask.view(), None);
        let raster::Pixels::Indexed { indices, .. } = raster.pixels else {
            panic!("a slice has a palette");
        };
        assert_eq!((indices[0], count(&indices, MASK)), (MASK, ZOOM * ZOOM));
        let toward = |axis: usize| ["R", "A", "S"][axis];
        let [left, _, above, _] = plane.edges();
        assert_eq!([left, above], [toward(across), toward(down)]);
    }
}

#[test]
fn a_panel_is_the_same_bytes_twice_and_no_title_breaks_it() {
    let (mask, reference) = (block([0; 3]), block([1, 0, 0]));
    let once = || {
        let columns = [
            column("a < b & \"c\"", &mask),
            column(&"long ".repeat(30), &reference),
        ];
        panel("L3 <verse>", &columns, Some(reference.view()))
    };
    let svg = once();
    assert_stands_alone(&svg);
    assert_eq!(svg, once());
}

#[test]
fn nothing_to_show_and_grids_that_differ_are_no_reason_to_panic() {
    let empty = Array3::zeros((4, 4, 4));
    for svg in [
        panel("none", &[], None),
        panel("empty", &[column("input", &empty)], Some(empty.view())),
    ] {
        assert_stands_alone(&svg);
        assert!(svg.contains("no voxel in any mask"));
    }
    let one = Array3::ones((1, 1, 1));
    let far = block([18, 20, 22]);
    let svg = panel(
        "both",
        &[column("small", &one), column("empty", &empty)],
        Some(far.view()),
    );
    assert_stands_alone(&svg);
    assert_eq!(pictures(&svg).len(), 12);
}
