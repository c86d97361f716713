//! The report of a run as one HTML page, which needs nothing but itself: what was done, how well, how fast, by what.
//!
//! Every number in it follows from the run's tables and records. [`html`] lists its parts in their order.

mod boxes;
mod change;
mod choose;
mod components;
mod facts;
mod glossary;
mod latents;
mod made;
mod metrics;
mod numbers;
mod opening;
mod outcomes;
mod pictures;
mod reasons;
mod scatter;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod times;
mod warnings;

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

use super::page::page;
use crate::results::Results;

pub use choose::{Chosen, Why, choose};
pub use pictures::Panel;

use facts::Facts;

/// Name of the page below the folder of a run's records.
pub const REPORT_OF_RUN: &str = "report.html";

/// Rows of a table that lists things one by one; all are counted.
const LISTED_MOST: usize = 200;

/// Everything that is told of a run.
#[derive(Debug)]
pub struct RunReport<'a> {
    /// Its tables and records.
    pub results: &'a Results,
    /// The vertebrae shown, see [`choose()`].
    pub panels: &'a [Panel],
    /// When the page is made.
    pub made: SystemTime,
}

/// Returns the page. It asks for nothing from elsewhere, runs nothing, and is XML too.
pub fn html(report: &RunReport<'_>) -> String {
    let facts = Facts::of(report.results);
    let sections = [
        outcomes::section(&facts),
        metrics::section(&facts),
        change::section(&facts),
        pictures::section(&facts, report.panels),
        latents::section(&facts),
        times::section(&facts),
        made::model(&facts),
        made::provenance(&facts, &clock(report.made)),
        glossary::section(),
    ];
    let title = format!("Run {}", facts.results.run);
    let opening = opening::opening(&facts, &warnings::warnings(&facts), &clock(report.made));
    page(&title, &opening, &sections)
}

/// Returns a time as RFC 3339 in UTC, to the second.
fn clock(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Returns a number and the word for so many of it.
fn many(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}
