//! What a reader must know before trusting what the page shows, in words.

use std::collections::BTreeSet;

use schemas::rows::SCHEMA_VERSION;
use serde::Serialize;
use serde_json::Value;
use stages::results::{NO_VERSION, Record, Results};

/// Names that a warning lists before it says how many more there are.
const NAMES: usize = 6;

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Warning {
    /// What it is, for programs.
    pub(super) code: &'static str,
    /// What it is, for people.
    pub(super) text: String,
}

/// Returns how far the run is: `empty`, `running`, `ended` or `unfinished`.
pub(super) fn state(results: &Results) -> &'static str {
    let states: Vec<&str> = starts(results)
        .filter_map(|record| record.json.get("state").and_then(Value::as_str))
        .collect();
    let rows = results.cases.len() as u64;
    let all_there = expected(results).is_none_or(|expected| rows >= expected);
    if states.contains(&"running") {
        "running"
    } else if rows == 0 {
        "empty"
    } else if all_there && states.contains(&"ended") {
        "ended"
    } else {
        "unfinished"
    }
}

/// Returns the cases of the manifest, as the records tell.
pub(super) fn expected(results: &Results) -> Option<u64> {
    // of a run in shards the cases are those of the start's own
    let count = |record: &Record| {
        let told = |key: &str| record.json.pointer(key).and_then(Value::as_u64);
        told("/counts/manifest").or_else(|| told("/counts/cases"))
    };
    starts(results).filter_map(count).max()
}

/// Returns what is to be said; `trouble` is why the store cannot be read just now.
pub(super) fn warnings(results: &Results, trouble: Option<&str>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code, text| warnings.push(Warning { code, text });
    if let Some(trouble) = trouble {
        warn(
            "unreachable",
            format!("The run could not be read again just now, so this may be old: {trouble}."),
        );
    }
    progress(results, &mut warn);
    let (cases, vertebrae) = (results.cases.len(), results.vertebrae.len());
    let failed = results.cases.iter().filter(|case| case.status == "failed");
    let failed = failed.count();
    if cases > 0 && failed * 2 >= cases {
        warn(
            "half_failed",
            format!("{failed} of {cases} cases failed: what is shown is of the others only."),
        );
    }
    versions(results, &mut warn);
    if !results.damaged.is_empty() {
        let names = results
            .damaged
            .iter()
            .map(|(name, why)| format!("{name} ({why})"));
        warn(
            "damaged",
            format!(
                "{} cannot be read, so their cases are not shown: {}.",
                counted(results.damaged.len(), "part"),
                listed(names)
            ),
        );
    }
    if results.unpublished > 0 {
        warn(
            "unpublished",
            format!(
                "{} of one table alone: a start was killed, or is just publishing. Not counted here.",
                counted(results.unpublished, "part")
            ),
        );
    }
    let rows = results.vertebrae.iter();
    let without = rows.filter(|row| row.reference_volume_mm3.is_none()).count();
    if without > 0 && without == vertebrae {
        warn(
            "no_reference",
            "No vertebra has a reference, so there are no metrics and no errors to show.".to_owned(),
        );
    } else if without > 0 {
        warn(
            "no_reference",
            format!("{without} of {vertebrae} vertebrae have no reference, and so no metrics and no errors."),
        );
    }
    warnings
}

fn progress(results: &Results, warn: &mut impl FnMut(&'static str, String)) {
    let rows = results.cases.len();
    let of = match expected(results) {
        Some(expected) => format!("{rows} of {expected} cases have a row"),
        None => format!("{} so far, and nobody knows of how many", counted(rows, "case")),
    };
    match state(results) {
        "running" => warn(
            "running",
            format!("In progress, as a start's record says: {of}. The page follows."),
        ),
        "empty" => warn("empty", format!("No case has a row yet: {of}.")),
        "unfinished" => warn(
            "unfinished",
            format!("The run has not come to its end: {of}. Started again, it goes on."),
        ),
        _ => {}
    }
}

fn versions(results: &Results, warn: &mut impl FnMut(&'static str, String)) {
    let number = |version: &String| version.parse::<u32>().ok();
    let own = SCHEMA_VERSION.parse::<u32>().ok();
    let is_newer = results.versions.iter().any(|version| number(version) > own);
    if is_newer || !results.unknown.is_empty() {
        let columns = columns(&results.unknown);
        warn(
            "newer",
            format!("A newer spinestream wrote some of this run; what this one knows is shown{columns}."),
        );
    }
    let is_older = results
        .versions
        .iter()
        .any(|version| version == NO_VERSION || number(version) < own);
    if is_older || !results.missing.is_empty() {
        let columns = columns(&results.missing);
        warn(
            "older",
            format!(
                "An older spinestream wrote some of this run; what it did not write is left empty{columns}."
            ),
        );
    }
}

/// Returns the records of starts of the run; `compact` leaves one too.
fn starts(results: &Results) -> impl Iterator<Item = &Record> {
    let records = results.records.iter();
    records.filter(|record| record.json.get("verb").is_none())
}

fn columns(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!(" ({})", listed(names.iter().cloned()))
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMES);
    let mut text = names.take(NAMES).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use stages::results::{CaseSeen, VertebraSeen};

    use super::*;

    fn run(cases: &[&str], records: &[Value]) -> Results {
        let case = |(index, status): (usize, &&str)| {
            Arc::new(CaseSeen {
                case_id: format!("p{index}"),
                status: (*status).to_owned(),
                ..CaseSeen::default()
            })
        };
        let record = |json: &Value| Record {
            name: "w0001.json".to_owned(),
            json: json.clone(),
        };
        Results {
            cases: cases.iter().enumerate().map(case).collect(),
            records: records.iter().map(record).collect(),
            versions: BTreeSet::from([SCHEMA_VERSION.to_owned()]),
            ..Results::default()
        }
    }

    fn codes(results: &Results) -> Vec<&'static str> {
        let warnings = warnings(results, None);
        warnings.into_iter().map(|warning| warning.code).collect()
    }

    #[test]
    fn a_run_has_ended_when_a_start_says_so_and_every_case_has_a_row() {
        let ended = json!({ "state": "ended", "counts": { "cases": 2 } });
        let merged = json!({ "state": "ended", "verb": "compact" });
        let running = json!({ "state": "running", "counts": { "cases": 2 } });
        let shard = json!({ "state": "ended", "counts": { "cases": 2, "manifest": 3 } });
        assert_eq!(state(&run(&["done", "done"], &[shard])), "unfinished");
        let two = ["done", "done"];
        assert_eq!(state(&run(&two, std::slice::from_ref(&ended))), "ended");
        assert_eq!(state(&run(&["done"], std::slice::from_ref(&ended))), "unfinished");
        assert_eq!(state(&run(&two, &[])), "unfinished");
        assert_eq!(state(&run(&two, &[merged])), "unfinished");
        assert_eq!(state(&run(&[], &[])), "empty");
        assert_eq!(state(&run(&[], &[ended, running])), "running");
        assert_eq!(codes(&run(&two, &[])), ["unfinished"]);
    }

    #[test]
    fn what_is_not_as_it_should_be_is_said_once_each() {
        let ended = json!({ "state": "ended", "counts": { "cases": 2 } });
        let mut results = run(&["done", "failed"], &[ended]);
        let row = VertebraSeen::default();
        let paired = VertebraSeen {
            reference_volume_mm3: Some(1.0),
            ..VertebraSeen::default()
        };
        results.vertebrae = vec![Arc::new(row), Arc::new(paired)];
        results.versions.insert("2".to_owned());
        results.missing.insert("cases.finished_at".to_owned());
        results
            .damaged
            .push(("part-1.parquet".to_owned(), "cut short".to_owned()));
        results.unpublished = 1;
        let expected = [
            "half_failed",
            "newer",
            "older",
            "damaged",
            "unpublished",
            "no_reference",
        ];
        assert_eq!(codes(&results), expected);
        let trouble = warnings(&results, Some("the store is away"));
        assert_eq!(trouble[0].code, "unreachable");
        assert!(trouble[0].text.contains("the store is away"));
    }

    #[test]
    fn many_names_are_cut_short_and_counted() {
        let names: Vec<String> = (0..9).map(|index| format!("c{index}")).collect();
        assert_eq!(listed(names.into_iter()), "c0, c1, c2, c3, c4, c5 and 3 more");
    }
}
