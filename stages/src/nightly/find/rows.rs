//! The rows of a night's new cases: gated, and each person's on one side.

use std::collections::BTreeMap;

use schemas::rows::{LineageRow, Split, Verdict};

use super::NewCase;
use crate::nightly::conf::NightlyConf;
use crate::nightly::drift::Seen;
use crate::nightly::gate::{GatedCase, gate};
use crate::nightly::known::Known;
use crate::nightly::split::split_known;

/// Returns the rows of the new cases, gated, beside those of all others. `sides` are those of known persons.
pub(super) fn rows_of(
    new: Vec<NewCase>,
    earlier: Vec<LineageRow>,
    sides: &BTreeMap<String, Split>,
    conf: &NightlyConf,
    night: u32,
) -> (Vec<LineageRow>, Vec<LineageRow>) {
    let known = Known::of(&earlier);
    let gated: Vec<GatedCase> = new
        .iter()
        .filter_map(|case| {
            let cut = case.outcome.as_ref().ok()?;
            Some(GatedCase {
                case_id: case.case_id.clone(),
                person: case.person.clone().unwrap_or_default(),
                vertebrae: cut.masks.clone(),
            })
        })
        .collect();
    let mut reasons = gate(&gated, &known, &conf.gates).into_iter();
    let mut rows = Vec::new();
    for case in new {
        let side = case.person.as_deref().map(|person| side(person, sides, conf));
        let named = |verdict| LineageRow {
            person: case.person.clone(),
            split: side,
            source: case.source.clone(),
            stamp: case.stamp.clone(),
            ..LineageRow::new(case.case_id.as_str(), verdict, night)
        };
        let cut = match &case.outcome {
            Ok(cut) => cut,
            Err(fault) => {
                rows.push(LineageRow {
                    reasons: vec![fault.reason.to_owned()],
                    kind: Some(fault.kind),
                    ..named(Verdict::Failed)
                });
                continue;
            }
        };
        let of_case = reasons.next().unwrap_or_default();
        for ((level, measured), reasons) in cut.masks.iter().zip(of_case) {
            let verdict = if reasons.is_empty() {
                Verdict::Accepted
            } else {
                Verdict::Rejected
            };
            let mut row = LineageRow {
                level: Some(*level),
                reasons: reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
                patches: (!measured.is_empty()).then(|| cut.patches.clone()),
                spacing_mm: cut.scan.spacing_mm,
                thickness_mm: cut.scan.thickness_mm,
                ..named(verdict)
            };
            measured.put(&mut row);
            if let Some(intensity) = cut.intensities.get(level) {
                intensity.put(&mut row);
            }
            rows.push(row);
        }
    }
    (rows, earlier)
}

/// Returns a person's side: a person stays where an earlier night has put him.
fn side(person: &str, known: &BTreeMap<String, Split>, conf: &NightlyConf) -> Split {
    let is_named = conf.held_out_persons.iter().any(|held_out| held_out == person);
    let share = if is_named { 1.0 } else { conf.held_out };
    split_known(person, known, &conf.split_key, share)
}

/// Returns the numbers of accepted masks that are watched.
pub(super) fn watched(rows: &[LineageRow]) -> Vec<Seen<'static>> {
    let accepted = rows.iter().filter(|row| row.verdict == Verdict::Accepted);
    let seen = accepted.filter_map(|row| {
        Some(Seen {
            level: row.level?.as_str(),
            volume_mm3: row.volume_mm3,
            extent_mm: axes(row.extent_mm),
            spacing_mm: axes(row.spacing_mm),
            thickness_mm: row.thickness_mm,
            intensity_mean: row.intensity_mean,
            intensity_sd: row.intensity_sd,
        })
    });
    seen.collect()
}

fn axes(mm: Option<[f64; 3]>) -> [Option<f64>; 3] {
    mm.map_or([None; 3], |mm| mm.map(Some))
}
