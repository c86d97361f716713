//! What the rows say together: means, spreads, and differences between methods on the same vertebrae.

use std::collections::{BTreeMap, BTreeSet};

use models::seed::derive;
use schemas::Scores;
use schemas::vertebra::METRIC_NAMES;

use super::bootstrap::{Estimate, mean_interval};
use super::{Comparison, Method};

/// From this many persons on, intervals resample persons; below, vertebrae.
pub const PERSONS_TO_RESAMPLE: usize = 8;

/// A mean and how far the values lie from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation with n − 1; `None` of one value.
    pub sd: Option<f64>,
    /// Number of values.
    pub count: usize,
}

/// Returns mean and standard deviation; `None` without a value.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let count = values.len();
    if count == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some(Spread {
        mean,
        sd: (count > 1).then(|| (squares / (count - 1) as f64).sqrt()),
        count,
    })
}

/// Returns the middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[middle - 1], upper))
}

/// Returns the position of a metric in [`Scores`].
///
/// # Panics
/// There is no metric of that name: a mistake of ours.
pub fn metric(name: &str) -> usize {
    let found = METRIC_NAMES.iter().position(|known| *known == name);
    found.expect("a name of METRIC_NAMES")
}

/// One side of a comparison: the input itself, or what a method made of it.
#[derive(Debug, Clone, Copy)]
pub enum Side<'a> {
    /// The inputs.
    Input,
    /// A method's reconstructions.
    Method(&'a Method),
}

impl Side<'_> {
    /// Returns what heads its column.
    pub fn name(&self) -> &str {
        match self {
            Self::Input => "input",
            Self::Method(method) => &method.conf.name,
        }
    }
}

impl Comparison {
    /// Returns the input and then every method.
    pub fn sides(&self) -> Vec<Side<'_>> {
        let methods = self.methods.iter().map(Side::Method);
        std::iter::once(Side::Input).chain(methods).collect()
    }

    /// Returns the scores of one side on one subject; `None` where the method failed.
    pub fn scores(&self, side: Side<'_>, subject: usize) -> Option<Scores> {
        match side {
            Side::Input => Some(self.subjects.get(subject)?.scores),
            Side::Method(method) => method.rows.get(subject)?.recon,
        }
    }

    /// Returns one metric of one side on every subject, in their order.
    pub fn values(&self, side: Side<'_>, metric: usize) -> Vec<Option<f64>> {
        let subjects = 0..self.subjects.len();
        subjects
            .map(|subject| self.scores(side, subject)?[metric])
            .collect()
    }

    /// Returns the persons compared on.
    pub fn persons(&self) -> BTreeSet<&str> {
        self.subjects
            .iter()
            .map(|subject| subject.person.as_str())
            .collect()
    }

    /// Returns whether intervals resample persons rather than vertebrae.
    pub fn resamples_persons(&self) -> bool {
        self.persons().len() >= PERSONS_TO_RESAMPLE
    }

    /// Returns the mean of `one` − `other` over the vertebrae where both have the metric, and its interval.
    pub fn difference(&self, one: Side<'_>, other: Side<'_>, metric: usize) -> Option<Estimate> {
        let pairs = self
            .values(one, metric)
            .into_iter()
            .zip(self.values(other, metric));
        let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for ((index, subject), (one, other)) in self.subjects.iter().enumerate().zip(pairs) {
            let (Some(one), Some(other)) = (one, other) else {
                continue;
            };
            let group = if self.resamples_persons() {
                subject.person.clone()
            } else {
                format!("{index:09}")
            };
            groups.entry(group).or_default().push(one - other);
        }
        let groups: Vec<Vec<f64>> = groups.into_values().collect();
        // one stream for all: equal differences get equal intervals
        mean_interval(&groups, self.conf.bootstrap, derive(self.conf.seed, "bootstrap"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing::comparison;

    #[test]
    fn mean_deviation_and_median_are_those_of_a_hand_count() {
        let found = spread(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).expect("values");
        assert_eq!((found.mean, found.count), (5.0, 8));
        // squares sum to 32: √(32/7)
        assert!((found.sd.expect("eight values") - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(spread(&[3.0]).map(|one| (one.mean, one.sd)), Some((3.0, None)));
        assert_eq!(spread(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn differences_are_taken_where_both_sides_have_a_value() {
        let comparison = comparison();
        let [input, near, far] = comparison.sides()[..] else {
            panic!("three sides")
        };
        let dsc = metric("dsc");
        // shifts 5, 6, 2 → 3, 4, 0: DSC 0.5, 0.4, 0.8 → 0.7, 0.6, 1
        let gain = comparison.difference(near, input, dsc).expect("three pairs");
        assert!((gain.mean - 0.2).abs() < 1e-12);
        assert_eq!(gain.count, 3);
        let [low, high] = gain.interval.expect("three vertebrae");
        assert!(
            (low - 0.2).abs() < 1e-12 && (high - 0.2).abs() < 1e-12,
            "every gain is 0.2"
        );
        // shifts 5, 6 → 2, 1 the other way: DSC 0.8, 0.9; the third failed
        let behind = comparison.difference(near, far, dsc).expect("two pairs");
        assert_eq!(behind.count, 2);
        assert!((behind.mean + 0.2).abs() < 1e-12, "{}", behind.mean);
    }
}
