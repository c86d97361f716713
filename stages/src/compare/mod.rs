//! Compares methods on the vertebrae of a manifest: pure work, whose order `pipeline/verbs/evaluate.rs` says.
//!
//! Listed in that order: what is compared, on what, how a method goes through it, and what the numbers say.

pub mod bootstrap;
pub mod clock;
pub mod conf;
pub mod key;
pub mod method;
pub mod pairs;
pub mod reliability;
mod row;
pub mod summary;
#[cfg(test)]
pub(crate) mod testing;

use schemas::rows::ComparisonRow;

pub use conf::{ComparisonConf, Degrade, FigureConf, MethodConf};
pub use method::{Method, Plan, Progress, try_method};
pub use pairs::{LeftOut, Pairs, Subject, pair_up};

use crate::evaluate::EvaluateConf;

/// Everything that the report tells of.
#[derive(Debug)]
pub struct Comparison {
    /// Hash of what decides the results: names the table's part.
    pub key: String,
    /// SHA-256 of the manifest, in hex.
    pub manifest_sha256: String,
    /// What was asked for.
    pub conf: ComparisonConf,
    /// Whether and how far reconstructions were moved onto their reference, to be measured a second time.
    pub evaluate: EvaluateConf,
    /// The vertebrae, in the manifest's order and from the head down.
    pub subjects: Vec<Subject>,
    /// What could not be compared on.
    pub left_out: Vec<LeftOut>,
    /// The methods, in the configuration's order.
    pub methods: Vec<Method>,
}

impl Comparison {
    /// Returns the rows of the reconstructions that failed.
    pub fn failures(&self) -> impl Iterator<Item = &ComparisonRow> {
        let rows = self.methods.iter().flat_map(|method| &method.rows);
        rows.filter(|row| row.status != "done")
    }

    /// Returns whether every case, vertebra and method was done.
    pub fn all_done(&self) -> bool {
        self.left_out.is_empty()
            && self.failures().next().is_none()
            && self.methods.iter().all(|method| method.trace_fault.is_none())
    }
}
