//! Rows as the page's scripts read them: JSON, column by column where there are thousands.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use schemas::vertebra::{METRIC_NAMES, Scores};
use serde::Serialize;
use serde_json::{Map, Value, json};
use stages::results::{CaseSeen, Results, VertebraSeen};
use stages::tables::SOFTWARE_VERSION;

use super::assets::NIIVUE;
use super::live::Snapshot;
use super::warnings::{expected, state, warnings};

/// How the page names and explains each metric, and whether more is better; in the order of [`METRIC_NAMES`].
const METRICS: [(&str, &str, bool); METRIC_NAMES.len()] = [
    (
        "DSC",
        "Dice coefficient: how far two masks overlap, 1 where they are equal",
        true,
    ),
    (
        "VS",
        "volumetric similarity: 1 where volumes are equal, wherever they lie",
        true,
    ),
    (
        "SEN",
        "sensitivity: share of the reference that the mask covers",
        true,
    ),
    ("SPEC", "specificity: share of the background left free", true),
    (
        "PPV",
        "precision: share of the mask that lies in the reference",
        true,
    ),
    (
        "NPV",
        "share of what the mask leaves free that is background",
        true,
    ),
    ("NMI", "normalised mutual information", true),
    ("CK", "Cohen's kappa: agreement beyond chance", true),
    ("Jaccard", "intersection over union", true),
    (
        "HD95",
        "95th percentile of the distances between the surfaces",
        false,
    ),
    ("ASSD", "mean distance between the surfaces", false),
];

/// One column a metric.
type Metrics = BTreeMap<&'static str, Vec<Option<f32>>>;

/// All vertebrae. Numbers are as exact as a screen can show: f32 takes half the text.
#[derive(Debug, Serialize)]
struct Vertebrae<'a> {
    stamp: &'a str,
    case_id: Vec<&'a str>,
    level: Vec<&'a str>,
    status: Vec<&'a str>,
    kind: Vec<Option<&'a str>>,
    reason: Vec<Option<&'a str>>,
    flags: Vec<&'a [String]>,
    source_mm3: Vec<Option<f32>>,
    input_mm3: Vec<Option<f32>>,
    recon_mm3: Vec<Option<f32>>,
    reference_mm3: Vec<Option<f32>>,
    input: Metrics,
    recon: Metrics,
}

/// All cases.
#[derive(Debug, Serialize)]
struct Cases<'a> {
    stamp: &'a str,
    case_id: Vec<&'a str>,
    status: Vec<&'a str>,
    stage: Vec<Option<&'a str>>,
    kind: Vec<Option<&'a str>>,
    reason: Vec<Option<&'a str>>,
    message: Vec<Option<&'a str>>,
    vertebrae: Vec<u32>,
    vertebrae_failed: Vec<u32>,
    duration_ms: Vec<Option<f64>>,
    attempt: Vec<u32>,
    finished_at: Vec<Option<i64>>,
}

/// Returns the vertebrae of a run.
pub(super) fn vertebrae(results: &Results, stamp: &str) -> Bytes {
    let rows = &results.vertebrae;
    packed(&Vertebrae {
        stamp,
        case_id: column(rows, |row| row.case_id.as_str()),
        level: column(rows, |row| row.level.as_str()),
        status: column(rows, |row| row.status.as_str()),
        kind: column(rows, |row| row.kind.as_deref()),
        reason: column(rows, |row| row.reason.as_deref()),
        flags: column(rows, |row| row.flags.as_slice()),
        source_mm3: column(rows, |row| short(row.source_volume_mm3)),
        input_mm3: column(rows, |row| short(row.input_volume_mm3)),
        recon_mm3: column(rows, |row| short(row.recon_volume_mm3)),
        reference_mm3: column(rows, |row| short(row.reference_volume_mm3)),
        input: metrics(results, |row| &row.input),
        recon: metrics(results, |row| &row.recon),
    })
}

/// Returns the cases of a run.
pub(super) fn cases(results: &Results, stamp: &str) -> Bytes {
    let rows = &results.cases;
    packed(&Cases {
        stamp,
        case_id: column(rows, |row| row.case_id.as_str()),
        status: column(rows, |row| row.status.as_str()),
        stage: column(rows, |row| row.stage.as_deref()),
        kind: column(rows, |row| row.kind.as_deref()),
        reason: column(rows, |row| row.reason.as_deref()),
        message: column(rows, |row| row.message.as_deref()),
        vertebrae: column(rows, |row| row.vertebrae),
        vertebrae_failed: column(rows, |row| row.vertebrae_failed),
        duration_ms: column(rows, |row| row.duration_ms),
        attempt: column(rows, |row| row.attempt),
        finished_at: column(rows, |row| row.finished_at),
    })
}

/// Returns what is to be said of the run as a whole.
pub(super) fn run(snapshot: &Snapshot) -> Bytes {
    let results = &snapshot.results;
    let failed_cases = results.cases.iter().filter(|row| row.status == "failed");
    let failed_cases = failed_cases.count();
    let failed_vertebrae = results.vertebrae.iter().filter(|row| row.status == "failed");
    let failed_vertebrae = failed_vertebrae.count();
    packed(&json!({
        "run": results.run,
        "stamp": snapshot.stamp,
        "software_version": SOFTWARE_VERSION,
        "state": state(results),
        "counts": {
            "cases": results.cases.len(),
            "done": results.cases.len() - failed_cases,
            "failed": failed_cases,
            "vertebrae": results.vertebrae.len(),
            "vertebrae_failed": failed_vertebrae,
            "expected": expected(results),
        },
        "warnings": warnings(results, snapshot.trouble.as_deref()),
        "versions": results.versions,
        "model": model(results),
        "metrics": explained(),
        "niivue": !NIIVUE.is_empty(),
    }))
}

/// Returns all that the tables tell of one vertebra, but for its latent.
pub(super) fn vertebra(row: &VertebraSeen, case: &CaseSeen) -> Bytes {
    packed(&json!({
        "case_id": row.case_id,
        "person": row.person,
        "attempt": row.attempt,
        "level": row.level,
        "label": row.label,
        "status": row.status,
        "kind": row.kind,
        "reason": row.reason,
        "message": row.message,
        "chain": row.chain,
        "model_version": row.model_version,
        "weights_sha256": row.weights_sha256,
        "steps": row.steps,
        "sampler": row.sampler,
        "samples": row.samples,
        "samples_agreement": row.samples_agreement,
        "flags": row.flags,
        "centre_mm": row.centre_mm,
        "source_spacing_mm": row.source_spacing_mm,
        "source_mm3": row.source_volume_mm3,
        "input_mm3": row.input_volume_mm3,
        "recon_mm3": row.recon_volume_mm3,
        "reference_mm3": row.reference_volume_mm3,
        "input": scores(&row.input),
        "recon": scores(&row.recon),
        "reconstruct_ms": row.reconstruct_ms,
        "worker": case.worker,
        "software_version": case.software_version,
        "finished_at": case.finished_at,
    }))
}

/// Returns which model made the run: as its last record tells, else as a row does.
fn model(results: &Results) -> Option<Value> {
    let mut records = results.records.iter().rev();
    let told = records.find_map(|record| record.json.get("model"));
    let row = || {
        let row = results.vertebrae.first()?;
        Some(json!({
            "chain": row.chain,
            "model_version": row.model_version,
            "weights_sha256": row.weights_sha256,
            "steps": row.steps,
            "sampler": row.sampler,
            "samples": row.samples,
        }))
    };
    told.cloned().or_else(row)
}

fn explained() -> Vec<Value> {
    let explained = METRIC_NAMES.into_iter().zip(METRICS);
    let explained = explained.map(|(name, (title, meaning, more_is_better))| {
        json!({
            "name": name,
            "title": title,
            "meaning": meaning,
            "unit": if name.ends_with("_mm") { "mm" } else { "" },
            "better": if more_is_better { "higher" } else { "lower" },
        })
    });
    explained.collect()
}

fn scores(scores: &Scores) -> Map<String, Value> {
    let named = METRIC_NAMES.into_iter().zip(scores);
    named
        .map(|(name, score)| (name.to_owned(), json!(score)))
        .collect()
}

fn metrics(results: &Results, of: fn(&VertebraSeen) -> &Scores) -> Metrics {
    let named = METRIC_NAMES.into_iter().enumerate();
    named
        .map(|(index, name)| (name, column(&results.vertebrae, |row| short(of(row)[index]))))
        .collect()
}

fn column<'a, R, T>(rows: &'a [Arc<R>], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row)).collect()
}

fn short(value: Option<f64>) -> Option<f32> {
    value.map(|value| value as f32)
}

fn packed(value: &impl Serialize) -> Bytes {
    let text = serde_json::to_vec(value).expect("texts, numbers and maps with texts as keys");
    text.into()
}
