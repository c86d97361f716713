//! Runs made by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{Array3, s};
use schemas::Affine;
use serde_json::{Value, json};

use super::numbers::DSC;
use crate::masks::{Shown, VertebraMasks};
use crate::results::{CaseSeen, Record, Results, VertebraSeen};

/// A vertebra that was done, of a person of the case's name, with these DSC.
pub(super) fn vertebra(case_id: &str, level: &str, input: Option<f64>, recon: Option<f64>) -> VertebraSeen {
    let mut vertebra = VertebraSeen {
        case_id: case_id.to_owned(),
        person: case_id.to_owned(),
        attempt: 1,
        level: level.to_owned(),
        status: "done".to_owned(),
        chain: vec!["lsd_ebm".to_owned()],
        model_version: "compact-2".to_owned(),
        weights_sha256: "d7aa".to_owned(),
        ..VertebraSeen::default()
    };
    vertebra.input[DSC] = input;
    vertebra.recon[DSC] = recon;
    vertebra
}

/// A case that failed.
pub(super) fn failed(case_id: &str, kind: &str, reason: &str) -> Arc<CaseSeen> {
    Arc::new(CaseSeen {
        case_id: case_id.to_owned(),
        attempt: 1,
        status: "failed".to_owned(),
        stage: Some("fetch".to_owned()),
        kind: Some(kind.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some("mask: expected an object, found none there".to_owned()),
        software_version: "0.1.0".to_owned(),
        ..CaseSeen::default()
    })
}

/// A record of that name.
pub(super) fn record(name: &str, json: Value) -> Record {
    Record {
        name: name.to_owned(),
        json,
    }
}

/// A run that has come to its end with these vertebrae and their cases.
pub(super) fn results(vertebrae: impl IntoIterator<Item = VertebraSeen>) -> Results {
    let mut vertebrae: Vec<Arc<VertebraSeen>> = vertebrae.into_iter().map(Arc::new).collect();
    vertebrae.sort_by(|a, b| (&a.case_id, &a.level).cmp(&(&b.case_id, &b.level)));
    let mut cases: BTreeMap<&str, CaseSeen> = BTreeMap::new();
    for vertebra in &vertebrae {
        let case = cases.entry(&vertebra.case_id).or_insert_with(|| CaseSeen {
            case_id: vertebra.case_id.clone(),
            person: Some(vertebra.person.clone()),
            attempt: 1,
            status: "done".to_owned(),
            software_version: "0.1.0".to_owned(),
            stage_ms: [Some(20.0); 7],
            finished_at: Some(1_790_000_000_000),
            ..CaseSeen::default()
        });
        case.vertebrae += 1;
        case.vertebrae_failed += u32::from(vertebra.status != "done");
    }
    let cases: Vec<Arc<CaseSeen>> = cases.into_values().map(Arc::new).collect();
    let ended = json!({"state": "ended", "counts": {"cases": cases.len()}});
    Results {
        run: "r1".to_owned(),
        records: vec![record("w0001.json", ended)],
        cases,
        vertebrae,
        parts: 1,
        versions: ["1".to_owned()].into(),
        ..Results::default()
    }
}

/// Six cases of three persons: one case failed, and one vertebra of another.
pub(super) fn sample() -> Results {
    let scores = [
        ("a1", "L1", 0.8, 0.9),
        ("a1", "L2", 0.7, 0.8),
        ("a2", "L1", 0.6, 0.9),
        ("a2", "L2", 0.8, 0.7),
        ("b1", "L1", 0.5, 0.8),
        ("b1", "L2", 0.6, 0.6),
        ("b2", "L1", 0.7, 0.9),
        ("b2", "L2", 0.9, 0.95),
        ("c1", "L1", 0.4, 0.85),
    ];
    let mut vertebrae: Vec<VertebraSeen> = scores
        .into_iter()
        .map(|(case, level, input, recon)| {
            let mut made = vertebra(case, level, Some(input), Some(recon));
            made.latent = Some(vec![input as f32, recon as f32, 1.0, 0.0]);
            made
        })
        .collect();
    let mut diverged = vertebra("c1", "L2", None, None);
    diverged.status = "failed".to_owned();
    diverged.kind = Some("Unsuitable".to_owned());
    diverged.reason = Some("model_diverged".to_owned());
    vertebrae.push(diverged);
    for vertebra in &mut vertebrae {
        vertebra.person = vertebra.case_id.chars().take(1).collect();
    }
    let mut results = results(vertebrae);
    results.cases.push(failed("gone", "Missing", "object_not_found"));
    let told = json!({
        "worker": "w0001",
        "state": "ended",
        "run": "r1",
        "software_version": "0.1.0",
        "manifest_sha256": "9f".repeat(32),
        "configuration": {"run": {"seed": 7, "output": "s3://bucket/<out>"}},
        "model": {
            "chain": ["lsd_ebm"],
            "model_version": "compact-2",
            "weights_sha256": "d7aa",
            "steps": 1,
            "sampler": null,
            "samples": 1,
            "mirror": false,
        },
        "counts": {"cases": 6, "done": 5, "failed": 1},
        "seconds": 8.0,
        "cpu_seconds": 12.0,
        "busy": {"cores": 0.75},
    });
    results.records = vec![record("w0001.json", told)];
    results
}

/// A mask with a block of voxels.
pub(super) fn block() -> Shown {
    let mut mask = Array3::zeros((24, 24, 24));
    mask.slice_mut(s![8..16, 8..16, 8..16]).fill(1);
    Ok(Arc::new(mask))
}

/// Equal masks.
pub(super) fn masks() -> VertebraMasks {
    VertebraMasks {
        affine: Affine::axis_aligned([1.0; 3], [0.0; 3]),
        input: block(),
        recon: block(),
        reference: block(),
    }
}
