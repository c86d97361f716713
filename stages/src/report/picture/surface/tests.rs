//! The lit surface, held against a ball, whose outline and normals have closed forms.

use super::*;

fn ball(radius: f64) -> Array3<u8> {
    let size = 2 * radius.ceil() as usize + 9;
    let middle = (size as f64 - 1.0) / 2.0;
    Array3::from_shape_fn((size, size, size), |(i, j, k)| {
        let from_middle = [i, j, k].map(|index| index as f64 - middle);
        u8::from(dot(from_middle, from_middle) <= radius * radius)
    })
}

/// Grey, share covered and place on the page (right and up of the grid's middle, in mm) of each pixel.
fn pixels(view: &View, raster: &Raster) -> Vec<(u8, f64, [f64; 2])> {
    let Pixels::GreyAlpha(values) = &raster.pixels else {
        panic!("grey and alpha")
    };
    assert_eq!(values.len(), 2 * raster.width * raster.height);
    let [left, _, _, upper] = view.page;
    let px = PX_PER_MM as f64;
    let place = |index: usize| {
        let (column, row) = (index % raster.width, index / raster.width);
        [left + (column as f64 + 0.5) / px, upper - (row as f64 + 0.5) / px]
    };
    let pairs = values.chunks_exact(2).enumerate();
    pairs
        .map(|(index, pixel)| (pixel[0], f64::from(pixel[1]) / 255.0, place(index)))
        .collect()
}

fn covered_mm2(pixels: &[(u8, f64, [f64; 2])]) -> f64 {
    pixels.iter().map(|pixel| pixel.1).sum::<f64>() / (PX_PER_MM * PX_PER_MM) as f64
}

#[test]
fn a_ball_covers_a_disc_and_is_brightest_where_it_faces_the_light() {
    let radius = 20.0;
    let mask = ball(radius);
    let view = View::over([mask.view()].into_iter());
    let raster = view.render(mask.view());
    let pixels = pixels(&view, &raster);

    let disc = std::f64::consts::PI * radius * radius;
    let found = covered_mm2(&pixels);
    assert!((found / disc - 1.0).abs() < 0.02, "{found} mm² is not {disc} mm²");

    // the middle of the brightest hundredth of the disc
    let mut inside: Vec<_> = pixels.iter().filter(|pixel| pixel.1 > 0.99).collect();
    inside.sort_by_key(|pixel| std::cmp::Reverse(pixel.0));
    let brightest = &inside[..inside.len() / 100];
    let mean =
        |axis: usize| brightest.iter().map(|pixel| pixel.2[axis]).sum::<f64>() / brightest.len() as f64;
    let length = dot(LIGHT, LIGHT).sqrt();
    for axis in [0, 1] {
        let expected = radius * LIGHT[axis] / length;
        assert!(
            (mean(axis) - expected).abs() < 1.0,
            "{} is not {expected} mm",
            mean(axis)
        );
    }
    let darkest = inside.last().expect("pixels").2;
    assert!(
        darkest[0] > 0.0 && darkest[1] < 0.0,
        "away from the light: {darkest:?}"
    );
    assert!(f64::from(brightest[0].0) <= BRIGHTEST);
}

#[test]
fn a_single_voxel_and_a_thin_plate_are_not_lost() {
    let mut mask = Array3::zeros((11, 11, 11));
    mask[[5, 5, 5]] = 1;
    let view = View::over([mask.view()].into_iter());
    // cut at one half, a voxel is an octahedron-like body of half a voxel in reach
    let area = covered_mm2(&pixels(&view, &view.render(mask.view())));
    assert!((0.3..1.0).contains(&area), "{area} mm²");

    let mut plate = Array3::zeros((31, 31, 31));
    plate.slice_mut(ndarray::s![5..26, 5..26, 15]).fill(1);
    let view = View::over([plate.view()].into_iter());
    let area = covered_mm2(&pixels(&view, &view.render(plate.view())));
    // 21 mm squared, seen from 32 degrees above its plane, and the edge that faces the viewer
    let face = 21.0 * 21.0 * ELEVATION_DEGREES.to_radians().sin();
    assert!(
        (face..face + 42.0).contains(&area),
        "{area} mm² for a face of {face} mm²"
    );
}

#[test]
fn the_viewer_stands_behind_above_and_to_the_right() {
    let view = View::over([ball(3.0).view()].into_iter());
    let [right, anterior, superior] = view.viewer;
    assert!(right > 0.0 && anterior < 0.0 && superior > 0.0);
    assert!(
        view.on_page([1.0, 0.0, 0.0]).0 > 0.8,
        "as seen from behind: right on the right"
    );
    assert!(view.on_page([0.0, 0.0, 1.0]).1 > 0.8);
    for (one, other) in [
        (view.right, view.up),
        (view.up, view.viewer),
        (view.viewer, view.right),
    ] {
        assert!(dot(one, other).abs() < 1e-12 && (dot(one, one) - 1.0).abs() < 1e-12);
    }
}

#[test]
fn the_distance_to_the_nearest_cell_is_that_of_a_search_through_all() {
    let mut mask = Array3::zeros((9, 7, 8));
    for index in [[1, 1, 1], [7, 5, 2], [2, 6, 7]] {
        mask[index] = 1;
    }
    let found = distance(mask.view());
    let holds: Vec<_> = found
        .indexed_iter()
        .filter(|(_, value)| **value == 0)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(holds.len(), 3 * 8, "eight cells have a voxel as corner");
    for ((i, j, k), value) in found.indexed_iter() {
        let apart = |a: usize, b: usize| a.abs_diff(b);
        let nearest = holds
            .iter()
            .map(|(a, b, c)| apart(i, *a).max(apart(j, *b)).max(apart(k, *c)));
        assert_eq!(usize::from(*value), nearest.min().expect("cells"));
    }
    assert!(
        distance(Array3::zeros((3, 3, 3)).view())
            .iter()
            .all(|value| *value == 255)
    );
}

#[test]
fn a_blur_keeps_the_sum_and_has_the_variance_asked_for() {
    let mut point = Array3::zeros((41, 41, 41));
    point[[20, 20, 20]] = 1.0;
    let found = blurred(&point, 4.0);
    let sum: f32 = found.iter().sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    for axis in 0..3 {
        let squares = found.indexed_iter().map(|((i, j, k), value)| {
            let from_middle = [i, j, k][axis] as f64 - 20.0;
            f64::from(*value) * from_middle * from_middle
        });
        let variance: f64 = squares.sum();
        // cut at three standard deviations, a Gaussian has 0.973 of its variance
        assert!((variance / 16.0 - 0.973).abs() < 0.015, "{variance}");
    }
}
