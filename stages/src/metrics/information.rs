//! Normalised mutual information.

use super::{Metric, Pair, ratio};

/// Mutual information over the arithmetic mean of the two entropies (the paper's Eq. 22), natural logarithms.
///
/// 0 where one mask is constant, `None` where both are: then neither says anything (scikit-learn puts 1
/// there).
pub struct NormalisedMutualInformation;

impl Metric for NormalisedMutualInformation {
    fn name(&self) -> &'static str {
        "nmi"
    }

    fn measure(&self, pair: &Pair<'_>) -> Option<f64> {
        let t = pair.table();
        let all = t.true_positive + t.false_positive + t.false_negative + t.true_negative;
        let predicted = [
            t.true_positive + t.false_positive,
            t.false_negative + t.true_negative,
        ];
        let referred = [
            t.true_positive + t.false_negative,
            t.false_positive + t.true_negative,
        ];
        let joint = [
            [t.true_positive, t.false_positive],
            [t.false_negative, t.true_negative],
        ];

        let mut information = 0.0;
        for (row, in_prediction) in joint.iter().zip(predicted) {
            for (both, in_reference) in row.iter().zip(referred) {
                if *both > 0.0 {
                    information += both / all * (both / in_prediction * (all / in_reference)).ln();
                }
            }
        }
        let mean_entropy = f64::midpoint(entropy(predicted, all), entropy(referred, all));
        // rounding may leave the ends of the scale by some 1e-17
        ratio(information, mean_entropy).map(|value| value.clamp(0.0, 1.0))
    }
}

/// Entropy of a split of `all` voxels, in nats.
fn entropy(split: [f64; 2], all: f64) -> f64 {
    split
        .iter()
        .filter(|count| **count > 0.0)
        .map(|count| count / all * (all / count).ln())
        .sum()
}
