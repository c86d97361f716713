//! Charts, held against ticks and places that a ruler gives.

use super::look::COLOURS;
use super::*;
use crate::report::svg::testing::assert_stands_alone;

fn series(name: &str, points: &[(f64, f64)]) -> Series {
    Series {
        name: name.to_owned(),
        points: points.to_vec(),
    }
}

fn labels(values: &[f64]) -> Vec<String> {
    Ticks::over(values.iter().copied(), 6.0).labels()
}

#[test]
fn ticks_are_one_two_or_five_times_a_power_of_ten_around_all_values() {
    assert_eq!(
        labels(&[0.807, 0.907]),
        ["0.80", "0.82", "0.84", "0.86", "0.88", "0.90", "0.92"]
    );
    assert_eq!(
        labels(&[0.0, 300.0]),
        ["0", "50", "100", "150", "200", "250", "300"]
    );
    assert_eq!(labels(&[-1.0, 1.0]), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
    assert_eq!(
        labels(&[0.0, 3e-6]),
        ["0", "5e−7", "1e−6", "1.5e−6", "2e−6", "2.5e−6", "3e−6"]
    );
    assert_eq!(labels(&[0.0, 2e9]).last().map(String::as_str), Some("2e9"));
    assert_eq!(labels(&[2.0]), ["1.8", "1.9", "2.0", "2.1", "2.2"]);
    assert_eq!(labels(&[]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    for (least, most) in [(0.3, 0.9), (1e-300, 2e-300), (-9e299, 9e299), (1e15, 1e15 + 2.0)] {
        let ticks = Ticks::over([least, most].into_iter(), 6.0);
        assert!((2..=9).contains(&ticks.count()), "{ticks:?}");
        let (least, most) = (ticks.share(least), ticks.share(most));
        assert!(least > -1e-5 && most < 1.00001 && least <= most, "{ticks:?}");
    }
}

#[test]
fn a_chart_stands_alone_whatever_its_names_hold() {
    let svg = lines(
        "DSC <&> \"steps\"",
        "steps",
        "DSC",
        &[
            series("a & b", &[(2.0, 0.8), (15.0, 0.9), (20.0, 0.85)]),
            series("<script>", &[]),
            series(&"long ".repeat(40), &[(3.0, 0.83)]),
        ],
    );
    assert_stands_alone(&svg);
    assert!(svg.contains("a &amp; b") && !svg.contains("NaN") && !svg.contains("inf"));
    assert_eq!(
        lines("t", "x", "y", &[]),
        lines("t", "x", "y", &[]),
        "the same bytes"
    );
    assert!(lines("t", "x", "y", &[series("s", &[(f64::NAN, 1.0)])]).contains("no data"));
}

#[test]
fn points_lie_where_the_ticks_say() {
    // x ticks 0, 1, … 5 and y ticks 0, 10, … 50: a line from corner to corner, by way of the middle
    let svg = lines(
        "t",
        "x",
        "y",
        &[series("s", &[(0.0, 0.0), (2.5, 25.0), (5.0, 50.0)])],
    );
    let frame = svg.split("<path d=\"M").nth(2).expect("grid, frame");
    let numbers = |text: &str| -> Vec<f64> {
        text.split(['M', 'L', 'V', 'H', ' '])
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let corners = numbers(frame.split('"').next().expect("quoted"));
    let line = numbers(
        svg.split("<path d=\"M")
            .nth(3)
            .and_then(|rest| rest.split('"').next())
            .expect("line"),
    );
    let [left, top, bottom, right] = corners[..] else {
        panic!("{corners:?}")
    };
    let expected = [
        left,
        bottom,
        (left + right) / 2.0,
        (top + bottom) / 2.0,
        right,
        top,
    ];
    for (found, expected) in line.iter().zip(expected) {
        assert!((found - expected).abs() < 0.11, "{line:?} is not {expected:?}");
    }
    assert_eq!(
        svg.matches("<circle").count(),
        3 + 1,
        "three points and the legend"
    );
}

#[test]
fn a_point_that_is_not_finite_is_skipped_and_leaves_a_gap() {
    let points = [
        (0.0, 1.0),
        (1.0, 2.0),
        (2.0, f64::NAN),
        (3.0, f64::INFINITY),
        (4.0, 2.0),
        (5.0, 1.0),
    ];
    let svg = lines("t", "x", "y", &[series("s", &points)]);
    assert_stands_alone(&svg);
    assert_eq!(svg.matches("<circle").count(), 4 + 1);
    let line = svg
        .split("<path d=\"M")
        .nth(3)
        .and_then(|rest| rest.split('"').next())
        .expect("line");
    assert_eq!(
        (line.matches('M').count(), line.matches('L').count()),
        (1, 2),
        "one more start: {line}"
    );
}

#[test]
fn repeats_look_alike_and_share_an_entry_of_the_legend() {
    let points = [(0.0, 0.0), (1.0, 1.0)];
    let svg = lines(
        "t",
        "x",
        "y",
        &[
            series("LEBM #1", &points),
            series("LSD-EBM", &points),
            series("LEBM #2", &points),
        ],
    );
    assert_eq!(svg.matches("LEBM (2 repeats)</text>").count(), 1);
    assert_eq!(svg.matches(&format!("stroke=\"{}\"", COLOURS[0])).count(), 2 + 1);
    assert_eq!(svg.matches(&format!("stroke=\"{}\"", COLOURS[1])).count(), 1 + 1);
    assert_eq!(repeated("T = 2 #"), "T = 2 #");
    assert_eq!(repeated("case #a"), "case #a");
}
