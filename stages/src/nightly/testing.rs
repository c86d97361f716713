//! Rows of a lineage for tests.

use schemas::Level;
use schemas::rows::{LineageRow, Split, Verdict};

/// Returns an accepted mask of a person of its own, on the side that is trained on.
pub fn row(case: &str, level: Level) -> LineageRow {
    LineageRow {
        person: Some(format!("person of {case}")),
        level: Some(level),
        split: Some(Split::Train),
        source: Some(format!("source of {case}")),
        stamp: Some("stamp".to_owned()),
        patches: Some(format!("patches/{case}.nii.gz")),
        ..LineageRow::new(case, Verdict::Accepted, 1)
    }
}
