//! Counts outcomes as they end: for progress, the closing table, the failure brake, the exit code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use schemas::rows::VertebraRow;
use schemas::vertebra::METRIC_NAMES;
use schemas::{FaultKind, Outcome, Written};
use serde::Serialize;

use crate::RunEnd;
use crate::census::Census;

/// Outcomes from which on the share of failures is looked at.
const BRAKE_FROM: usize = 50;

/// Vertebrae and failures that the closing table and the run's record list one by one; the tables hold all.
const LISTED_MOST: usize = 24;
const RECORDED_MOST: usize = 1000;

/// Counts of a run, as its record holds them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Cases of the manifest, those of other shards included.
    pub manifest: usize,
    /// Cases of the manifest that this process's shard holds.
    pub cases: usize,
    /// Cases that an earlier start of this run had done.
    pub already_done: usize,
    /// How many of these failed, or have a vertebra that did.
    pub already_failed: usize,
    /// Cases done by this process.
    pub done: usize,
    /// Cases that became a failed row.
    pub failed: usize,
    /// Cases done before but for a vertebra and tried again in vain: their earlier rows stay.
    pub kept: usize,
    /// Vertebrae found.
    pub vertebrae: usize,
    /// Vertebrae that failed alone.
    pub vertebrae_failed: usize,
}

/// One failed case, as the run's record lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureRecord {
    case_id: String,
    stage: &'static str,
    kind: &'static str,
    reason: &'static str,
}

/// Sum of DSC over the vertebrae that have both.
#[derive(Debug, Clone, Copy, Default)]
struct Dice {
    count: usize,
    input: f64,
    recon: f64,
}

/// The run's counts and how they are shown.
#[derive(Debug)]
pub struct Tally {
    counts: Counts,
    by_kind: BTreeMap<(&'static str, FaultKind), usize>,
    failures: Vec<FailureRecord>,
    listed: Vec<String>,
    dice: BTreeMap<&'static str, Dice>,
    max_failed: f64,
    /// Outcomes that the brake looks at, and failures among them.
    braked: (usize, usize),
    start: Instant,
}

impl Tally {
    /// Starts counting the cases of a manifest, or of a shard of it, of which earlier starts had done some, and some of
    /// these in vain.
    pub fn new(census: &Census, max_failed: f64) -> Self {
        Self {
            counts: Counts {
                manifest: census.manifest,
                cases: census.cases,
                already_done: census.done,
                already_failed: census.failed,
                ..Counts::default()
            },
            by_kind: BTreeMap::new(),
            failures: Vec::new(),
            listed: Vec::new(),
            dice: BTreeMap::new(),
            max_failed,
            braked: (0, 0),
            start: Instant::now(),
        }
    }

    /// Counts a case that was tried again in vain, and keeps the rows that it had.
    pub fn keep(&mut self) {
        self.counts.kept += 1;
    }

    /// Counts one outcome; of a case that is done again a failure is nothing new, and the brake does not look at it.
    ///
    /// # Errors
    /// The share of failures is above `run.max_failed`: the run gives up.
    pub fn see(&mut self, outcome: &Outcome<Written>, is_again: bool) -> Result<(), RunEnd> {
        match outcome {
            Ok(case) => {
                self.counts.done += 1;
                tracing::debug!(case = %case.id, vertebrae = case.body.vertebrae.len(), "case done");
                for row in &case.body.vertebrae {
                    self.see_vertebra(row);
                }
            }
            Err(failure) => {
                self.counts.failed += 1;
                let kind = (failure.stage, failure.fault.kind);
                *self.by_kind.entry(kind).or_default() += 1;
                tracing::warn!(case = %failure.id, stage = failure.stage, "{}", failure.fault);
                if self.failures.len() < RECORDED_MOST {
                    self.failures.push(FailureRecord {
                        case_id: failure.id.to_string(),
                        stage: failure.stage,
                        kind: failure.fault.kind.as_str(),
                        reason: failure.fault.reason,
                    });
                }
            }
        }
        if !is_again {
            self.braked.0 += 1;
            self.braked.1 += usize::from(outcome.is_err());
        }
        let (ended, failed) = self.braked;
        let share = failed as f64 / ended as f64;
        if ended >= BRAKE_FROM && share > self.max_failed {
            return Err(RunEnd::TooManyFailed {
                failed,
                ended,
                max_failed: self.max_failed,
            });
        }
        Ok(())
    }

    fn see_vertebra(&mut self, row: &VertebraRow) {
        self.counts.vertebrae += 1;
        let dice = METRIC_NAMES
            .iter()
            .position(|name| *name == "dsc")
            .unwrap_or_default();
        let input = row.input.and_then(|scores| scores[dice]);
        let recon = row.recon.and_then(|scores| scores[dice]);
        if row.status != "done" {
            self.counts.vertebrae_failed += 1;
        }
        if let (Some(input), Some(recon)) = (input, recon) {
            let sum = self.dice.entry(row.level).or_default();
            *sum = Dice {
                count: sum.count + 1,
                input: sum.input + input,
                recon: sum.recon + recon,
            };
        }
        if self.listed.len() < LISTED_MOST {
            let number = |value: Option<f64>| value.map_or("    -".to_owned(), |value| format!("{value:.3}"));
            let volume = row
                .recon_volume_mm3
                .map_or("     -".to_owned(), |mm3| format!("{:6.1}", mm3 / 1e3));
            let flags = row.reason.map_or_else(|| row.flags.join(" "), str::to_owned);
            self.listed.push(format!(
                "{:<24} {:<5} {:>6.1} {volume}   {} → {}   {flags}",
                row.case_id,
                row.level,
                row.input_volume_mm3 / 1e3,
                number(input),
                number(recon),
            ));
        }
    }

    /// Returns how many cases failed, by stage and kind.
    pub fn by_kind(&self) -> &BTreeMap<(&'static str, FaultKind), usize> {
        &self.by_kind
    }

    /// Returns how many cases have ended, over all starts.
    pub fn ended(&self) -> usize {
        let counts = &self.counts;
        counts.already_done + counts.done + counts.failed + counts.kept
    }

    /// Returns cases a second, of this start.
    pub fn per_second(&self) -> f64 {
        (self.counts.done + self.counts.failed) as f64 / self.start.elapsed().as_secs_f64().max(1e-3)
    }

    /// Returns the counts.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns the failures that the run's record lists.
    pub fn failures(&self) -> &[FailureRecord] {
        &self.failures
    }

    /// Returns whether every case, of the shard if it is one, and every vertebra was done, over all starts of the run.
    pub fn all_done(&self) -> bool {
        let counts = &self.counts;
        let failed = counts.failed + counts.vertebrae_failed + counts.already_failed;
        failed == 0 && counts.already_done + counts.done == counts.cases
    }

    /// Returns the closing table.
    pub fn close(&self) -> String {
        let mut text = String::new();
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        if !self.listed.is_empty() {
            writeln!(
                text,
                "{:<24} {:<5} {:>6} {:>6}   {:<13}",
                "case", "level", "in cm³", "cm³", "DSC in → out"
            )?;
            for line in &self.listed {
                writeln!(text, "{}", line.trim_end())?;
            }
            if self.counts.vertebrae > self.listed.len() {
                writeln!(text, "… and {} more", self.counts.vertebrae - self.listed.len())?;
            }
        }
        for (level, dice) in &self.dice {
            let mean = |sum: f64| sum / dice.count as f64;
            writeln!(
                text,
                "mean DSC {level} over {}: {:.3} → {:.3}",
                dice.count,
                mean(dice.input),
                mean(dice.recon)
            )?;
        }
        for ((stage, kind), count) in &self.by_kind {
            writeln!(text, "failed in {stage}: {count} {kind}")?;
        }
        let counts = &self.counts;
        writeln!(
            text,
            "{} cases{}: {} done, {} failed{}; {} vertebrae, {} failed; {:.1} s",
            counts.cases,
            if counts.cases < counts.manifest {
                format!(" of this shard, of {} in the manifest", counts.manifest)
            } else {
                String::new()
            },
            counts.done,
            counts.failed,
            if counts.already_done > 0 {
                format!(
                    ", {} done before, {} of these failed",
                    counts.already_done, counts.already_failed
                )
            } else {
                String::new()
            } + &if counts.kept > 0 {
                format!(", {} tried again in vain", counts.kept)
            } else {
                String::new()
            },
            counts.vertebrae,
            counts.vertebrae_failed,
            self.start.elapsed().as_secs_f64(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{CaseId, Failure, Fault};

    fn failure() -> Outcome<Written> {
        let fault = Fault::missing("object_not_found", "mask: expected an object, found none there");
        Err(Failure {
            id: CaseId::of_row(1),
            person: None,
            stage: "fetch",
            fault,
            spent: Vec::new(),
        })
    }

    #[test]
    fn the_brake_holds_from_fifty_outcomes_on() {
        let census = Census {
            cases: 100,
            ..Census::default()
        };
        let mut tally = Tally::new(&census, 0.5);
        for _ in 0..200 {
            assert!(tally.see(&failure(), true).is_ok(), "they failed before");
        }
        for _ in 0..49 {
            assert!(tally.see(&failure(), false).is_ok());
        }
        assert!(matches!(
            tally.see(&failure(), false),
            Err(RunEnd::TooManyFailed {
                failed: 50,
                ended: 50,
                ..
            })
        ));
        assert!(tally.close().contains("failed in fetch: 250 Missing"));
        assert!(!tally.all_done());
    }
}
