//! What a night did, for programs as JSON and for people as one HTML page that needs nothing but itself.

mod found;
mod judged;
mod made;
mod reasons;
mod strip;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verdict;
mod watched;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::drift::Drift;
use super::judge::{INPUT, Judgement};
use crate::report::page::page;

pub use reasons::explain;
#[cfg(test)]
pub use testing::sample;
pub use verdict::sentence;

/// Everything that is told of a night.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightReport {
    /// Number of the night.
    pub night: u32,
    /// The method that was trained.
    pub method: String,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// When it ended, RFC 3339 in UTC.
    pub ended: String,
    /// Version of the program.
    pub software_version: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Why, in sentences for people.
    pub why: Vec<String>,
    /// Version of the champion before the verdict: the one that was judged against.
    pub champion: Option<String>,
    /// Version that was trained and judged.
    pub challenger: Option<String>,
    /// What lay in the manifest.
    pub found: Found,
    /// Masks and cases that may not teach, at most 200; [`Found::by_reason`] counts all.
    pub rejects: Vec<Reject>,
    /// What the training was shown.
    pub taught: Taught,
    /// What models are judged on; `None` where nothing is held out yet.
    pub held_out: Option<HeldOutSummary>,
    /// How far the new masks are from those known before.
    pub drift: Vec<Drift>,
    /// The training; `None` where there was none.
    pub training: Option<Training>,
    /// What was found when the challenger was judged; `None` where nothing was judged.
    pub judgement: Option<Judgement>,
}

/// What came of a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The challenger is the champion from now on.
    Promoted,
    /// The champion stays, or there still is none.
    Kept,
    /// No challenger was judged.
    NothingToJudge,
}

/// What a night found in its manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Cases of the manifest.
    pub cases: usize,
    /// Cases that are as they were the night before.
    pub unchanged: usize,
    /// Cases that were not there before.
    pub new: usize,
    /// Cases whose objects were written anew.
    pub changed: usize,
    /// Cases that could not be read.
    pub failed: usize,
    /// Masks that passed every gate.
    pub masks_accepted: usize,
    /// Masks that did not.
    pub masks_rejected: usize,
    /// Masks and cases by what speaks against them; one may have several reasons.
    pub by_reason: BTreeMap<String, usize>,
}

/// A mask or a whole case that may not teach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Pseudonym of the case.
    pub case_id: String,
    /// Level of the mask; `None` for a whole case.
    pub level: Option<String>,
    /// What speaks against it, as codes.
    pub reasons: Vec<String>,
}

/// What a training was shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taught {
    /// Masks that were new.
    pub new: usize,
    /// Masks known before that were shown beside them.
    pub replayed: usize,
    /// Persons of all these masks.
    pub persons: usize,
}

/// The frozen masks that models are judged on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOutSummary {
    /// Number of the set; a set is never changed.
    pub number: u32,
    /// Persons in it.
    pub persons: usize,
    /// Masks in it.
    pub masks: usize,
    /// SHA-256 of its file, in hex.
    pub sha256: String,
}

/// A night's training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Processor time of all threads.
    pub cpu_seconds: f64,
    /// Time on the clock.
    pub seconds: f64,
    /// Its phases, in order.
    pub phases: Vec<PhaseLine>,
    /// Threads of the tensor operations.
    pub threads: usize,
}

/// One phase of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseLine {
    /// What is trained.
    pub phase: String,
    /// Steps made.
    pub steps: u64,
    /// Time on the clock.
    pub seconds: f64,
}

/// Returns the report as JSON, for programs. A number that is not finite becomes null.
pub fn json(report: &NightReport) -> String {
    let text = serde_json::to_string_pretty(report).expect("texts, numbers and maps by text are JSON");
    text + "\n"
}

/// Returns the report as one HTML page, for people. It asks for nothing from elsewhere, runs nothing, and is XML too.
pub fn html(report: &NightReport) -> String {
    let mut sections = judged::sections(report);
    sections.push(found::section(report));
    sections.push(watched::section(report));
    sections.push(made::training(report));
    sections.push(made::held_out(report));
    sections.push(made::provenance(report));
    sections.push(made::glossary());
    let title = format!("Night {} of {}", report.night, report.method);
    page(&title, &verdict::opening(report), &sections)
}
