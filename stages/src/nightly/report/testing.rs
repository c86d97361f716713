//! A night in which every number is another one, so that a number in the wrong place is seen.

use std::collections::BTreeMap;

use super::{Found, HeldOutSummary, NightReport, PhaseLine, Reject, Taught, Training, Verdict};
use crate::nightly::drift::{Drift, Quartiles};
use crate::nightly::judge::{Judgement, LevelLine, MetricLine, Rule};

/// Returns the report of a night that promoted its challenger, with every part.
pub fn sample() -> NightReport {
    NightReport {
        night: 3,
        method: "lsd_ebm".to_owned(),
        began: "2026-03-04T01:00:00Z".to_owned(),
        ended: "2026-03-04T04:12:30Z".to_owned(),
        software_version: "0.1.0".to_owned(),
        verdict: Verdict::Promoted,
        why: vec![
            "Every rule is fulfilled.".to_owned(),
            "The difference lies above its bound.".to_owned(),
        ],
        champion: Some("v20260301-0a1b2c3d".to_owned()),
        challenger: Some("v20260304-4e5f6a7b".to_owned()),
        found: found(),
        rejects: rejects(),
        taught: Taught {
            new: 34,
            replayed: 136,
            persons: 41,
        },
        held_out: Some(HeldOutSummary {
            number: 2,
            persons: 12,
            masks: 57,
            sha256: "9f".repeat(32),
        }),
        drift: drift(),
        training: Some(Training {
            cpu_seconds: 10_921.5,
            seconds: 5_562.5,
            phases: vec![phase("autoencoder", 1_900, 4_801.5), phase("energy", 501, 761.5)],
            threads: 8,
        }),
        judgement: Some(judgement()),
    }
}

fn found() -> Found {
    let by_reason = [
        ("in_pieces", 6),
        ("touches_border", 7),
        ("level_order", 6),
        ("of_the_future", 1),
        ("unreadable", 5),
    ];
    Found {
        cases: 231,
        unchanged: 203,
        new: 19,
        changed: 4,
        failed: 5,
        masks_accepted: 98,
        masks_rejected: 17,
        by_reason: BTreeMap::from(by_reason.map(|(reason, count)| (reason.to_owned(), count))),
    }
}

fn rejects() -> Vec<Reject> {
    let reject = |case_id: &str, level: Option<&str>, reasons: &[&str]| Reject {
        case_id: case_id.to_owned(),
        level: level.map(str::to_owned),
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
    };
    vec![
        reject("case-007", Some("L5"), &["in_pieces", "touches_border"]),
        reject("case-011", None, &["unreadable"]),
    ]
}

fn drift() -> Vec<Drift> {
    let quartiles = |lower: f64, median: f64, upper: f64| Quartiles { lower, median, upper };
    vec![
        Drift {
            quantity: "thickness_mm".to_owned(),
            unit: "mm".to_owned(),
            before: Some(quartiles(3.3, 4.4, 4.5)),
            now: Some(quartiles(4.95, 5.5, 6.6)),
            distance: Some(0.625),
            limit: Some(0.387),
            drifted: true,
            counts: [64, 42],
        },
        Drift {
            quantity: "extent_x_mm".to_owned(),
            unit: "mm".to_owned(),
            before: Some(quartiles(81.5, 86.25, 90.125)),
            now: Some(quartiles(82.5, 87.25, 91.125)),
            distance: Some(0.115),
            limit: Some(0.389),
            drifted: false,
            counts: [63, 43],
        },
        Drift {
            quantity: "intensity_mean".to_owned(),
            unit: "of the image".to_owned(),
            before: None,
            now: Some(quartiles(201.5, 250.75, 300.25)),
            distance: None,
            limit: None,
            drifted: false,
            counts: [0, 9],
        },
    ]
}

fn phase(phase: &str, steps: u64, seconds: f64) -> PhaseLine {
    PhaseLine {
        phase: phase.to_owned(),
        steps,
        seconds,
    }
}

fn judgement() -> Judgement {
    let rule = |rule: &str, found: &str, passed: bool| Rule {
        rule: rule.to_owned(),
        found: found.to_owned(),
        passed,
    };
    let level = |level: &str, masks: usize, champion: f64, challenger: f64| LevelLine {
        level: level.to_owned(),
        masks,
        champion,
        challenger,
    };
    let metric = |metric: &str, champion: Option<f64>, challenger: Option<f64>| MetricLine {
        metric: metric.to_owned(),
        champion,
        challenger,
    };
    Judgement {
        against: "v20260301-0a1b2c3d".to_owned(),
        rules: vec![
            rule(
                "the lower end of the interval is at least −0.002",
                "+0.0031",
                true,
            ),
            rule("no level loses more than 0.010", "L5 loses 0.0125", false),
        ],
        dsc: [0.9012, 0.9127],
        difference: 0.0115,
        interval: Some([0.0031, 0.0203]),
        persons: 12,
        masks: 57,
        levels: vec![
            level("L1", 25, 0.9055, 0.9211),
            level("L5", 32, 0.8943, 0.8818),
            level("L6", 1, 0.8001, 0.8001),
        ],
        metrics: vec![
            metric("dsc", Some(0.9013), Some(0.9128)),
            metric("hd95_mm", Some(3.125), Some(2.875)),
            metric("spec", Some(0.99311), Some(0.99204)),
            metric("of_the_future", Some(0.25), None),
        ],
        differences: vec![0.031, 0.012, 0.0, -0.0125, 0.018, 0.0205],
    }
}
