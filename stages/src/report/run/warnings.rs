//! What a reader must know before any number: that the run is unfinished, empty, half failed, damaged, of another
//! version, or without references.

use schemas::rows::SCHEMA_VERSION;

use super::facts::{Facts, text};
use super::many;

/// Names that a warning lists; it says how many more there are.
const NAMED_MOST: usize = 12;

/// Returns the warnings, the gravest first.
pub(super) fn warnings(facts: &Facts<'_>) -> Vec<String> {
    let results = facts.results;
    let mut warnings = Vec::new();
    if results.cases.is_empty() {
        warnings.push("This run is empty: no case has a row yet.".to_owned());
    }
    warnings.extend(unfinished(facts));
    if !results.damaged.is_empty() {
        let parts = results
            .damaged
            .iter()
            .map(|(name, why)| format!("{name} ({why})"));
        warnings.push(format!(
            "{} could not be read; the rows in them are missing on this page: {}.",
            many(results.damaged.len(), "part of the tables", "parts of the tables"),
            named(parts)
        ));
    }
    if results.unpublished > 0 {
        warnings.push(format!(
            "{} not published in both tables: a start was killed, or is just publishing. What they hold does not count.",
            many(results.unpublished, "part is", "parts are")
        ));
    }
    warnings.extend(newer(facts));
    warnings.extend(older(facts));
    let (failed, cases) = (facts.cases_failed, results.cases.len());
    if failed > 0 && 2 * failed >= cases {
        let share = 100.0 * failed as f64 / cases as f64;
        warnings.push(format!(
            "{failed} of {cases} cases failed ({share:.0} %): means of the others may not stand for all."
        ));
    }
    warnings.extend(unmeasured(facts));
    warnings
}

/// Says what is not done yet, as far as the records tell.
fn unfinished(facts: &Facts<'_>) -> Option<String> {
    let Some(last) = facts.last() else {
        return Some(
            "No record of a start of this run was found: how many cases it should have is not known."
                .to_owned(),
        );
    };
    let state = text(last, "/state").unwrap_or("unknown");
    // of a run in shards the last start is one of several
    let mut states = facts.starts.iter().map(|record| text(record, "/state"));
    let is_at_work = states.any(|state| state == Some("running"));
    let told = if is_at_work { "running" } else { state };
    let fate = match told {
        "ended" => "its last start said that it ended".to_owned(),
        "running" => "a start was at work when this page was made, or was killed".to_owned(),
        "stopped" => "its last start was stopped by a signal".to_owned(),
        "broken" => "its last start could not go on".to_owned(),
        "lost" => "its last start gave no sign of life any more".to_owned(),
        other => format!("its last start says that it is {other}"),
    };
    let rows = facts.results.cases.len();
    match facts.expected() {
        Some(expected) if rows < expected => Some(format!(
            "Unfinished: {rows} of {expected} cases of the manifest have a row; {fate}."
        )),
        _ if state != "ended" => Some(format!("No record says that the run came to its end: {fate}.")),
        Some(_) => None,
        None => Some("No record tells how many cases the manifest holds.".to_owned()),
    }
}

/// Returns whether a part's version is above ours, if it is a number.
fn is_above(version: &str) -> bool {
    let ours = SCHEMA_VERSION.parse::<u32>();
    ours.is_ok_and(|ours| version.parse::<u32>().is_ok_and(|version| version > ours))
}

fn newer(facts: &Facts<'_>) -> Option<String> {
    let results = facts.results;
    let above = results.versions.iter().filter(|version| is_above(version));
    let above: Vec<&str> = above.map(String::as_str).collect();
    if above.is_empty() && results.unknown.is_empty() {
        return None;
    }
    let mut words = "Written by a newer version of spinestream".to_owned();
    if !above.is_empty() {
        words += &format!(
            " (schema version {}; this one knows {SCHEMA_VERSION})",
            above.join(", ")
        );
    }
    if !results.unknown.is_empty() {
        words += &format!(
            "; columns that this one does not know are left out: {}",
            named(results.unknown.iter().cloned())
        );
    }
    Some(words + ".")
}

fn older(facts: &Facts<'_>) -> Option<String> {
    let results = facts.results;
    let below = results.versions.iter();
    let below = below.filter(|version| *version != SCHEMA_VERSION && !is_above(version));
    let below: Vec<&str> = below.map(String::as_str).collect();
    if below.is_empty() && results.missing.is_empty() {
        return None;
    }
    let mut words = "Some of it was written by an older version of spinestream".to_owned();
    if !below.is_empty() {
        words += &format!(
            " (schema version {}; this one writes {SCHEMA_VERSION})",
            below.join(", ")
        );
    }
    if !results.missing.is_empty() {
        words += &format!(
            "; columns that were not there yet: {}",
            named(results.missing.iter().cloned())
        );
    }
    Some(words + ".")
}

fn unmeasured(facts: &Facts<'_>) -> Option<String> {
    let vertebrae = facts.results.vertebrae.len();
    let reconstructed = vertebrae - facts.vertebrae_failed;
    match facts.measured {
        _ if reconstructed == 0 => None,
        0 => Some(
            "No vertebra could be held against a reference: there are no metrics, only volumes and shapes."
                .to_owned(),
        ),
        measured if measured < reconstructed => Some(format!(
            "{} of {reconstructed} reconstructed vertebrae could not be held against a reference; metrics are of the \
             other {measured}.",
            reconstructed - measured
        )),
        _ => None,
    }
}

/// Returns the first names, and how many more there are.
fn named(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let shown: Vec<&str> = names.iter().take(NAMED_MOST).map(String::as_str).collect();
    let mut words = shown.join(", ");
    if names.len() > NAMED_MOST {
        words += &format!(" and {} more", names.len() - NAMED_MOST);
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{failed, record, results, sample, vertebra};
    use super::*;
    use crate::results::Results;

    fn of(results: &Results) -> Vec<String> {
        warnings(&Facts::of(results))
    }

    fn assert_says(results: &Results, expected: &str) {
        let found = of(results);
        assert!(
            found.iter().any(|warning| warning.contains(expected)),
            "{expected} in {found:#?}"
        );
    }

    #[test]
    fn of_a_whole_run_there_is_nothing_to_warn() {
        assert_eq!(of(&sample()), [] as [String; 0]);
    }

    #[test]
    fn an_empty_run_and_one_without_a_record_say_so() {
        let nothing = Results::default();
        assert_says(&nothing, "This run is empty: no case has a row yet.");
        assert_says(&nothing, "No record of a start of this run was found");
    }

    #[test]
    fn a_run_with_fewer_rows_than_cases_is_unfinished_whatever_its_record_says() {
        for (state, fate) in [
            ("running", "was at work when this page was made, or was killed"),
            ("stopped", "was stopped by a signal"),
            ("broken", "could not go on"),
            ("lost", "gave no sign of life any more"),
            ("ended", "said that it ended"),
            ("of_the_future", "says that it is of_the_future"),
        ] {
            let mut run = sample();
            let told = json!({"state": state, "counts": {"cases": 10}});
            run.records = vec![record("w0001.json", told)];
            let cases = run.cases.len();
            assert_says(&run, &format!("Unfinished: {cases} of 10 cases"));
            assert_says(&run, fate);
        }
    }

    #[test]
    fn a_whole_run_whose_process_did_not_end_says_so_too() {
        let mut run = sample();
        let told = json!({"state": "running", "counts": {"cases": run.cases.len()}});
        run.records = vec![record("w0001.json", told)];
        assert_says(&run, "No record says that the run came to its end");
    }

    #[test]
    fn what_another_version_wrote_is_named() {
        let mut run = sample();
        run.versions = ["1", "2", "10"].map(str::to_owned).into();
        run.unknown.insert("cases.shoe_size".to_owned());
        assert_says(&run, "schema version 10, 2; this one knows 1");
        assert_says(&run, "does not know are left out: cases.shoe_size.");
        let mut run = sample();
        run.versions = ["none".to_owned()].into();
        run.missing
            .extend((0..14).map(|column| format!("vertebrae.c{column:02}")));
        assert_says(&run, "schema version none; this one writes 1");
        assert_says(&run, "vertebrae.c11 and 2 more.");
    }

    #[test]
    fn damaged_and_half_published_parts_are_named() {
        let mut run = sample();
        run.damaged = vec![("part-1.parquet".to_owned(), "parquet: cut short".to_owned())];
        run.unpublished = 2;
        assert_says(&run, "1 part of the tables could not be read");
        assert_says(&run, "part-1.parquet (parquet: cut short).");
        assert_says(&run, "2 parts are not published in both tables");
    }

    #[test]
    fn half_failed_runs_and_missing_references_are_told() {
        let mut run = results([vertebra("a", "L1", None, None)]);
        run.cases.push(failed("b", "Missing", "object_not_found"));
        assert_says(&run, "1 of 2 cases failed (50 %)");
        assert_says(&run, "No vertebra could be held against a reference");
        let run = results([
            vertebra("a", "L1", None, None),
            vertebra("a", "L2", Some(0.5), Some(0.6)),
        ]);
        assert_says(
            &run,
            "1 of 2 reconstructed vertebrae could not be held against a reference",
        );
    }
}
