//! Ratios of counted voxels. Definitions: Taha and Hanbury, BMC Medical Imaging 15:29 (2015), §2.1 to 2.3.

use super::{Metric, Pair, Table, ratio};

/// A ratio of voxel counts.
pub struct Overlap {
    name: &'static str,
    /// Numerator and denominator.
    parts: fn(&Table) -> (f64, f64),
}

impl Metric for Overlap {
    fn name(&self) -> &'static str {
        self.name
    }

    fn measure(&self, pair: &Pair<'_>) -> Option<f64> {
        let (numerator, denominator) = (self.parts)(pair.table());
        ratio(numerator, denominator)
    }
}

/// Dice's coefficient: 2 TP / (2 TP + FP + FN).
pub const DICE: Overlap = Overlap {
    name: "dsc",
    parts: |t| (2.0 * t.true_positive, both_volumes(t)),
};

/// Volume similarity: 1 − |FN − FP| / (2 TP + FP + FN).
pub const VOLUME_SIMILARITY: Overlap = Overlap {
    name: "vs",
    parts: |t| {
        (
            both_volumes(t) - (t.false_negative - t.false_positive).abs(),
            both_volumes(t),
        )
    },
};

/// Sensitivity (recall): TP / (TP + FN).
pub const SENSITIVITY: Overlap = Overlap {
    name: "sen",
    parts: |t| (t.true_positive, t.true_positive + t.false_negative),
};

/// Specificity: TN / (TN + FP).
pub const SPECIFICITY: Overlap = Overlap {
    name: "spec",
    parts: |t| (t.true_negative, t.true_negative + t.false_positive),
};

/// Positive predictive value (precision): TP / (TP + FP).
pub const POSITIVE_PREDICTIVE_VALUE: Overlap = Overlap {
    name: "ppv",
    parts: |t| (t.true_positive, t.true_positive + t.false_positive),
};

/// Negative predictive value: TN / (TN + FN).
pub const NEGATIVE_PREDICTIVE_VALUE: Overlap = Overlap {
    name: "npv",
    parts: |t| (t.true_negative, t.true_negative + t.false_negative),
};

/// Jaccard's index: TP / (TP + FP + FN).
pub const JACCARD: Overlap = Overlap {
    name: "jaccard",
    parts: |t| {
        (
            t.true_positive,
            t.true_positive + t.false_positive + t.false_negative,
        )
    },
};

/// Voxels of the prediction and of the reference, added up.
fn both_volumes(table: &Table) -> f64 {
    2.0 * table.true_positive + table.false_positive + table.false_negative
}
