//! Agreement beyond chance.

use super::{Metric, Pair, ratio};

/// Cohen's kappa; `None` where both masks are constant and equal, so that chance alone agrees fully.
pub struct CohensKappa;

impl Metric for CohensKappa {
    fn name(&self) -> &'static str {
        "ck"
    }

    /// For two raters and two classes (p_o − p_e) / (1 − p_e) is this ratio of whole numbers, without
    /// cancellation.
    fn measure(&self, pair: &Pair<'_>) -> Option<f64> {
        let t = pair.table();
        let agreed = t.true_positive * t.true_negative - t.false_positive * t.false_negative;
        let predicted_not_referred =
            (t.true_positive + t.false_positive) * (t.false_positive + t.true_negative);
        let referred_not_predicted =
            (t.true_positive + t.false_negative) * (t.false_negative + t.true_negative);
        ratio(2.0 * agreed, predicted_not_referred + referred_not_predicted)
    }
}
