//! Columns of the metrics of a mask against its reference, equal in every table that has them.

use super::column::{Column, real};
use crate::vertebra::{METRIC_NAMES, Scores};

/// What each metric is, in the order of [`METRIC_NAMES`].
const METRIC_MEANINGS: [&str; METRIC_NAMES.len()] = [
    "Dice coefficient (paper Eq. 18)",
    "volumetric similarity (paper Eq. 19)",
    "sensitivity TP/(TP+FN) (paper Eq. 20)",
    "specificity TN/(TN+FP) (paper Eq. 21)",
    "positive predictive value TP/(TP+FP)",
    "negative predictive value TN/(TN+FN)",
    "normalised mutual information, arithmetic mean (paper Eq. 22)",
    "Cohen's kappa (paper Eq. 23)",
    "Jaccard index",
    "95th percentile Hausdorff distance, larger of both directions, mm",
    "average symmetric surface distance, both directions pooled, mm",
];

/// Returns a column a metric, named `<prefix>_<metric>`; all null where `get` gives none.
pub(super) fn metrics<R: 'static>(
    prefix: &str,
    what: &str,
    get: impl Fn(&R) -> Option<Scores> + Copy + 'static,
) -> Vec<Column<R>> {
    let mut columns = Vec::new();
    for (index, (name, meaning)) in METRIC_NAMES.into_iter().zip(METRIC_MEANINGS).enumerate() {
        let score = move |row: &R| get(row).and_then(|scores| scores[index]);
        columns.push(real(
            format!("{prefix}_{name}"),
            format!("{what}: {meaning}"),
            score,
        ));
    }
    columns
}
