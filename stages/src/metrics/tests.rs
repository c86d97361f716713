//! The metrics against closed forms and against golden/metrics.

use ndarray::{Array3, s};
use serde_json::Value;

use super::*;
use crate::crop::testing::{json, label_map, shared};

fn value_of(scores: &Scores, name: &str) -> Option<f64> {
    let column = METRIC_NAMES
        .iter()
        .position(|known| *known == name)
        .expect("a metric");
    scores[column]
}

#[test]
fn the_list_of_metrics_has_the_tables_columns_in_order() {
    assert_eq!(METRICS.map(Metric::name), METRIC_NAMES);
}

/// Two cubes of 20 voxels an edge, one moved by 5 along the first axis.
fn shifted_cubes() -> [Array3<u8>; 2] {
    [10, 15].map(|first| {
        let mut mask = Array3::zeros((50, 50, 50));
        mask.slice_mut(s![first..first + 20, 10..30, 10..30]).fill(1);
        mask
    })
}

#[test]
fn two_shifted_cubes_have_the_closed_forms() {
    let [prediction, reference] = shifted_cubes();
    let scores = scores(prediction.view(), reference.view(), [2.0, 1.0, 1.0]);
    // 20³ = 8000 voxels each, 15 · 20² = 6000 in both, 50³ = 125000 in all
    let expected = [
        ("dsc", 0.75),
        ("vs", 1.0),
        ("sen", 0.75),
        ("spec", 115_000.0 / 117_000.0),
        ("ppv", 0.75),
        ("npv", 115_000.0 / 117_000.0),
        ("jaccard", 0.6),
        // observed agreement 121/125; by chance (8² + 117²)/125²
        (
            "ck",
            (121.0 / 125.0 - 13_753.0 / 15_625.0) / (1.0 - 13_753.0 / 15_625.0),
        ),
        // the face that moved, 5 voxels of 2 mm: a sixth of the surface, so past the 95th percentile
        ("hd95_mm", 10.0),
    ];
    for (name, expected) in expected {
        let found = value_of(&scores, name).expect(name);
        assert!((found - expected).abs() < 1e-12, "{name}: {found} {expected}");
    }
}

#[test]
fn prediction_and_reference_are_not_confused() {
    let [mut prediction, reference] = shifted_cubes();
    prediction.slice_mut(s![10..15, .., ..]).fill(0);
    let scores = scores(prediction.view(), reference.view(), [1.0; 3]);
    // the prediction lies within the reference: nothing it says is wrong, a quarter is missed
    assert_eq!(value_of(&scores, "ppv"), Some(1.0));
    assert_eq!(value_of(&scores, "spec"), Some(1.0));
    assert_eq!(value_of(&scores, "sen"), Some(0.75));
}

#[test]
fn masks_of_any_memory_order_and_any_set_value_count_alike() {
    let [prediction, reference] = shifted_cubes();
    let straight = scores(prediction.view(), reference.view(), [1.0, 2.0, 3.0]);
    let turned = scores(prediction.t(), reference.t(), [3.0, 2.0, 1.0]);
    let loud = prediction.map(|value| value * 255);
    assert_eq!(scores(loud.view(), reference.view(), [1.0, 2.0, 3.0]), straight);
    for (name, (one, other)) in METRIC_NAMES.iter().zip(straight.into_iter().zip(turned)) {
        let (one, other) = (one.expect(name), other.expect(name));
        assert!((one - other).abs() < 1e-12, "{name}: {one} {other}");
    }
}

/// Where golden/metrics holds each value: closed forms from the 2×2 table, and the libraries' distances.
const GOLDEN: [(&str, &str, f64); 15] = [
    ("dsc", "/dsc", 1e-12),
    ("vs", "/vs", 1e-12),
    ("sen", "/sensitivity", 1e-12),
    ("spec", "/specificity", 1e-12),
    ("ppv", "/precision", 1e-12),
    ("npv", "/npv", 1e-12),
    ("jaccard", "/jaccard", 1e-12),
    ("nmi", "/nmi_arithmetic_closed_form", 1e-12),
    ("ck", "/kappa_closed_form", 1e-12),
    ("ck", "/sklearn/kappa", 1e-12),
    (
        "hd95_mm",
        "/distances/scipy_kdtree_6conn_border/hd95_max_of_directed",
        1e-9,
    ),
    (
        "assd_mm",
        "/distances/scipy_kdtree_6conn_border/assd_pooled",
        1e-9,
    ),
    ("assd_mm", "/distances/medpy/assd", 1e-9),
    // MONAI computes in F32
    ("hd95_mm", "/distances/monai/hd95", 1e-5),
    ("assd_mm", "/distances/monai/assd", 1e-5),
];

#[test]
fn the_golden_pairs_have_the_values_of_the_libraries_and_are_undefined_where_those_are() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("golden/metrics");
    let golden = json(folder.join("metrics.json"));
    let cases = golden["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 15);
    let mut worst = GOLDEN.map(|_| 0.0_f64);
    for case in cases {
        let name = case["case"].as_str().expect("a name");
        let [prediction, reference] = ["pred", "ref"].map(|which| {
            let map = label_map(folder.join(format!("{name}_{which}.nii.gz")));
            map.data.map(|label| u8::from(*label != 0))
        });
        let spacing_mm = [0, 1, 2].map(|axis| case["spacing_mm"][axis].as_f64().expect("a number"));
        let scores = scores(prediction.view(), reference.view(), spacing_mm);
        for ((metric, path, tolerance), worst) in GOLDEN.iter().zip(&mut worst) {
            let expected = case.pointer(path).and_then(Value::as_f64);
            let found = value_of(&scores, metric);
            assert_eq!(
                found.is_some(),
                expected.is_some(),
                "{name} {path}: {found:?} {expected:?}"
            );
            let (Some(found), Some(expected)) = (found, expected) else {
                continue;
            };
            // metrics of shares absolutely, lengths relatively
            let scale = if metric.ends_with("_mm") {
                expected.max(1e-300)
            } else {
                1.0
            };
            let off = (found - expected).abs() / scale;
            assert!(off <= *tolerance, "{name} {path}: {found} {expected}");
            *worst = worst.max(off);
        }
    }
    for ((metric, path, _), worst) in GOLDEN.iter().zip(worst) {
        println!("{metric} against {path}: off by at most {worst:.2e}");
    }
}

#[test]
fn nothing_is_ever_infinite_or_nan() {
    let masks = [
        Array3::zeros((4, 5, 6)),
        Array3::<u8>::ones((4, 5, 6)),
        Array3::zeros((0, 0, 0)),
    ];
    let mut one = Array3::zeros((4, 5, 6));
    one[[1, 2, 3]] = 1;
    for prediction in masks.iter().chain([&one]) {
        for reference in masks
            .iter()
            .chain([&one])
            .filter(|mask| mask.dim() == prediction.dim())
        {
            for value in scores(prediction.view(), reference.view(), [1.0; 3])
                .into_iter()
                .flatten()
            {
                assert!(value.is_finite());
            }
        }
    }
}

#[test]
#[ignore = "a measurement: cargo test -p stages all_metrics -- --ignored --nocapture"]
fn all_metrics_of_a_pair_take_less_than_a_tenth_of_a_second() {
    let Some(shared) = shared() else { return };
    for name in ["01_real_L3", "04_real_L1_small_pred", "05_shifted"] {
        let [prediction, reference] = ["pred", "ref"].map(|which| {
            let map = label_map(shared.join(format!("golden/metrics/{name}_{which}.nii.gz")));
            map.data
                .map(|label| *label as u8)
                .as_standard_layout()
                .into_owned()
        });
        let best = (0..10)
            .map(|_| {
                let start = std::time::Instant::now();
                let _ = std::hint::black_box(scores(prediction.view(), reference.view(), [1.0; 3]));
                start.elapsed()
            })
            .min()
            .expect("ten runs");
        println!("{name}: {best:?}");
        assert!(best.as_secs_f64() < 0.1);
    }
}
