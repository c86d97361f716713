use super::*;
use crate::dicom::sample::{Series, oblique};

/// Seven sagittal slices, turned a little.
fn series() -> Series {
    let first = oblique([20.0, -40.0, 60.0]);
    let step = first.normal().map(|part| part * 4.4);
    Series::new(first, step, 7, [11, 13])
}

fn read(headers: &[DataSet]) -> Result<SourceSeries, Fault> {
    source_series(headers, &StackConf::default())
}

fn reason(headers: &[DataSet]) -> &'static str {
    read(headers).expect_err("refused").reason
}

#[test]
fn slices_in_any_order_are_one_series() {
    let series = series();
    let expected = read(&series.headers()).expect("a series");
    let mut headers = series.headers();
    headers.swap(0, 5);
    headers.swap(2, 3);
    let found = read(&headers).expect("a series");
    assert!(found == expected, "whatever the order");
    assert_eq!(found.grid.shape, [13, 11, 7]);
    assert_eq!((found.pixel_mm, found.thickness_mm), ([1.1, 0.9], Some(3.5)));
    assert!((found.step_mm - 4.4).abs() < 1e-9 && found.spacing.is_even());
    for (number, slice) in found.slices.iter().enumerate() {
        let there = found.grid.affine.apply([0.0, 0.0, number as f64]);
        let alone = found.slice_grid(slice).affine.apply([3.0, 2.0, 0.0]);
        let among = found.grid.affine.apply([3.0, 2.0, number as f64]);
        for axis in 0..3 {
            assert!((there[axis] - slice.position_mm[axis]).abs() < 1e-6);
            assert!((alone[axis] - among[axis]).abs() < 1e-6);
        }
        assert_eq!(
            (slice.instance_uid.clone(), slice.frame),
            (series.instance(number), None)
        );
    }
    let told = format!("{found:?} {:?}", found.slices);
    assert_eq!(
        told.matches(|character: char| character.is_ascii_digit()).count(),
        1,
        "{told}"
    );
}

#[test]
fn frames_of_one_object_are_slices_too() {
    let series = series();
    let found = read(&[series.multi_frame()]).expect("a series");
    let apart = read(&series.headers()).expect("a series");
    assert_eq!((found.grid, found.step_mm), (apart.grid, apart.step_mm));
    let frames: Vec<_> = found.slices.iter().map(|slice| slice.frame).collect();
    assert_eq!(frames, (1..=7).map(Some).collect::<Vec<_>>());
    assert!(
        found
            .slices
            .iter()
            .all(|slice| slice.instance_uid == series.instance(0))
    );
}

#[test]
fn what_is_no_stack_of_one_series_is_refused() {
    let one = series();
    let headers = one.headers();
    let mut other = one.clone();
    other.series = 1;
    assert_eq!(
        reason(&[&headers[..3], &other.headers()[3..]].concat()),
        "several_series"
    );
    assert_eq!(reason(&headers[..1]), "one_slice");
    assert_eq!(
        reason(&[&headers[..], &headers[2..3]].concat()),
        "duplicate_slices"
    );
    assert_eq!(reason(&[&headers[..3], &headers[4..]].concat()), "missing_slices");
    let mut turned = one.clone();
    turned.planes[3] = Plane {
        along_row: [0.0, 1.0, 0.0],
        along_column: [0.0, 0.0, -1.0],
        ..turned.planes[3]
    };
    assert_eq!(reason(&turned.headers()), "mixed_planes");
    let mut larger = one;
    larger.size = [12, 13];
    assert_eq!(
        reason(&[&headers[..3], &larger.headers()[3..]].concat()),
        "mixed_planes"
    );
    assert_eq!(reason(&[]), "no_objects");
}

#[test]
fn pictures_of_screens_and_names_in_pixels_are_refused() {
    let series = series();
    let with = |tag, text: &str| {
        let file = series.file(0, |object| object.text(tag, text));
        vec![crate::dicom::Head::read(&file.into(), 0).expect("header").header]
    };
    assert_eq!(
        reason(&with(tags::BURNED_IN_ANNOTATION, "YES")),
        "burned_in_annotation"
    );
    assert_eq!(reason(&with(tags::SERIES_INSTANCE_UID, "JANE DOE")), "bad_uid");
    assert_eq!(reason(&with(tags::IMAGE_POSITION_PATIENT, "1\\2")), "no_geometry");
    let of_class = |class: &'static str| Series {
        class,
        ..series.clone()
    };
    let screen = of_class(uids::SECONDARY_CAPTURE_IMAGE_STORAGE);
    assert_eq!(reason(&screen.headers()), "secondary_capture");
    let segmentation = of_class(uids::SEGMENTATION_STORAGE);
    assert_eq!(reason(&segmentation.headers()), "not_an_image");
}

#[test]
fn a_gantry_that_is_tilted_and_steps_that_are_not_equal_are_seen() {
    let mut tilted = series();
    for (number, plane) in tilted.planes.iter_mut().enumerate() {
        let along = plane.along_column;
        plane.position = [0, 1, 2].map(|axis| plane.position[axis] + along[axis] * 1.2 * number as f64);
    }
    let found = read(&tilted.headers()).expect("tilted");
    assert_eq!(found.spacing, schemas::Spacing::Tilted);
    assert!((found.step_mm - 4.4).abs() < 1e-9, "along the normal");

    let mut uneven = series();
    let normal = uneven.planes[0].normal();
    uneven.planes[4].position = [0, 1, 2].map(|axis| uneven.planes[4].position[axis] + normal[axis]);
    let found = read(&uneven.headers()).expect("uneven");
    assert_eq!(found.spacing, schemas::Spacing::Uneven);
    assert!((found.deviation_mm - 1.0).abs() < 1e-6);
}
