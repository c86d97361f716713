//! What several parts of the page tell of a run, found once.

use std::collections::BTreeSet;

use serde_json::Value;

use super::numbers::{DONE, DSC, Metric, levels};
use crate::results::{Record, Results, VertebraSeen};

/// A run, and what is counted of it.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) results: &'a Results,
    /// Cases that ended as a failure.
    pub(super) cases_failed: usize,
    /// Vertebrae that failed alone.
    pub(super) vertebrae_failed: usize,
    /// Persons of the vertebrae.
    pub(super) persons: usize,
    /// Levels that there are, from the head down.
    pub(super) levels: Vec<&'a str>,
    pub(super) metrics: Vec<Metric>,
    /// Reconstructions that were measured against a reference.
    pub(super) measured: usize,
    /// Records of the starts of the run itself, in their order; other verbs leave records too.
    pub(super) starts: Vec<&'a Record>,
    /// How fast it went, if a record tells.
    pub(super) speed: Option<Speed>,
}

/// How fast the starts of a run were together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Speed {
    /// Cases that came to an end.
    pub(super) cases: f64,
    /// Time on the clock, each start's own.
    pub(super) seconds: f64,
    /// Share of that time in which cores were busy, if a record tells.
    pub(super) cores: Option<f64>,
}

impl<'a> Facts<'a> {
    /// Counts.
    pub(super) fn of(results: &'a Results) -> Self {
        let metrics = Metric::all();
        let persons: BTreeSet<&str> = results
            .vertebrae
            .iter()
            .map(|vertebra| vertebra.person.as_str())
            .collect();
        let starts: Vec<&Record> = results
            .records
            .iter()
            .filter(|record| record.json.get("verb").is_none())
            .collect();
        let is_measured = |vertebra: &&VertebraSeen| metrics[DSC].after(vertebra).is_some();
        Self {
            results,
            cases_failed: results.cases.iter().filter(|case| case.status != DONE).count(),
            vertebrae_failed: results
                .vertebrae
                .iter()
                .filter(|vertebra| vertebra.status != DONE)
                .count(),
            persons: persons.len(),
            levels: levels(&results.vertebrae),
            metrics: metrics.to_vec(),
            measured: results
                .vertebrae
                .iter()
                .map(AsRef::as_ref)
                .filter(is_measured)
                .count(),
            speed: speed(&starts),
            starts,
        }
    }

    /// Returns the vertebrae of a level, or all.
    pub(super) fn vertebrae(&self, level: Option<&str>) -> impl Iterator<Item = &'a VertebraSeen> {
        let all = self.results.vertebrae.iter().map(AsRef::as_ref);
        all.filter(move |vertebra: &&VertebraSeen| level.is_none_or(|level| vertebra.level == level))
    }

    /// Returns both values of a metric of every vertebra that has both.
    pub(super) fn pairs(&self, metric: Metric, level: Option<&str>) -> impl Iterator<Item = (f64, f64)> {
        self.vertebrae(level)
            .filter_map(move |vertebra| metric.pair(vertebra))
    }

    /// Returns the last record that a start of the run left.
    pub(super) fn last(&self) -> Option<&'a Record> {
        self.starts.last().copied()
    }

    /// Returns how many cases the manifest held when the run was started last, if a record tells.
    pub(super) fn expected(&self) -> Option<usize> {
        let mut latest = self.starts.iter().rev();
        // of a run in shards the cases are those of the start's own; records from before there were any have no more
        let count = latest.find_map(|record| {
            let all = number(record, "/counts/manifest");
            all.or_else(|| number(record, "/counts/cases"))
        });
        Some(count? as usize)
    }
}

/// Sums what the records tell; a start that tells no time, or did nothing, does not count.
fn speed(starts: &[&Record]) -> Option<Speed> {
    let (mut cases, mut seconds) = (0.0, 0.0);
    let (mut busy, mut watched) = (0.0, 0.0);
    for record in starts {
        let Some(time) = number(record, "/seconds").filter(|time| *time > 0.0) else {
            continue;
        };
        let ended = ["/counts/done", "/counts/failed"].map(|count| number(record, count).unwrap_or(0.0));
        let ended: f64 = ended.iter().sum();
        if ended <= 0.0 {
            continue;
        }
        cases += ended;
        seconds += time;
        if let Some(share) = number(record, "/busy/cores") {
            busy += share * time;
            watched += time;
        }
    }
    (seconds > 0.0).then_some(Speed {
        cases,
        seconds,
        cores: (watched > 0.0).then_some(busy / watched),
    })
}

/// Returns a number that a record holds.
pub(super) fn number(record: &Record, pointer: &str) -> Option<f64> {
    record.json.pointer(pointer)?.as_f64()
}

/// Returns a text that a record holds.
pub(super) fn text<'a>(record: &'a Record, pointer: &str) -> Option<&'a str> {
    record.json.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::record;
    use super::*;

    #[test]
    fn starts_are_as_fast_together_as_their_cases_by_their_times() {
        let results = Results {
            records: vec![
                record(
                    "w0001.json",
                    json!({"counts": {"done": 6, "failed": 2}, "seconds": 4.0, "busy": {"cores": 0.5}}),
                ),
                record(
                    "w0002.json",
                    json!({"counts": {"done": 12, "failed": 0}, "seconds": 12.0, "busy": {"cores": 0.9}}),
                ),
                record(
                    "w0003.json",
                    json!({"verb": "compact", "counts": {"done": 99}, "seconds": 1.0}),
                ),
                record(
                    "w0004.json",
                    json!({"counts": {"done": 0, "failed": 0, "cases": 5, "manifest": 20}, "seconds": 50.0}),
                ),
                record("w0005.json", json!([])),
            ],
            ..Results::default()
        };
        let facts = Facts::of(&results);
        // 20 cases in 16 s; busy (0.5 · 4 + 0.9 · 12) / 16
        let speed = facts.speed.expect("two starts tell");
        assert_eq!((speed.cases, speed.seconds), (20.0, 16.0));
        assert!((speed.cores.expect("told") - 0.8).abs() < 1e-12);
        assert_eq!(facts.expected(), Some(20));
        assert_eq!(facts.starts.len(), 4, "compact's record is none of a start");
        assert_eq!(Facts::of(&Results::default()).speed, None);
    }
}
