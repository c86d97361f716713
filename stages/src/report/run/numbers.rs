//! Metrics as the page names them, and distributions as box plots and tables tell them.

use std::array;
use std::sync::Arc;

use schemas::vertebra::METRIC_NAMES;

use crate::compare::bootstrap::percentile;
use crate::report::metrics::SHOWN;
use crate::results::VertebraSeen;

/// What stands in the column `status` of what was done.
pub(super) const DONE: &str = "done";

/// Position of DSC among the metrics.
pub(super) const DSC: usize = 0;

/// Farthest that a whisker reaches from its box, in heights of the box (Tukey 1977).
const REACH: f64 = 1.5;

/// One of the tables' metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metric {
    /// Position among a row's scores.
    pub(super) index: usize,
    /// How the page names it, with its unit.
    pub(super) heading: &'static str,
    /// Decimals of a value.
    pub(super) decimals: usize,
    /// In mm: less is better. Of the others more is.
    pub(super) is_distance: bool,
}

impl Metric {
    /// Returns every metric, in the order of the tables' columns.
    pub(super) fn all() -> [Self; METRIC_NAMES.len()] {
        array::from_fn(|index| {
            let name = METRIC_NAMES[index];
            let shown = SHOWN.iter().find(|(known, _, _)| *known == name);
            let (heading, decimals) =
                shown.map_or(("Jaccard", 3), |(_, heading, decimals)| (*heading, *decimals));
            Self {
                index,
                heading,
                decimals,
                is_distance: name.ends_with("_mm"),
            }
        })
    }

    /// Returns the input's value, if there is a finite one.
    pub(super) fn before(self, vertebra: &VertebraSeen) -> Option<f64> {
        vertebra.input[self.index].filter(|value| value.is_finite())
    }

    /// Returns the reconstruction's value, if there is a finite one.
    pub(super) fn after(self, vertebra: &VertebraSeen) -> Option<f64> {
        vertebra.recon[self.index].filter(|value| value.is_finite())
    }

    /// Returns both values where a vertebra has both.
    pub(super) fn pair(self, vertebra: &VertebraSeen) -> Option<(f64, f64)> {
        self.before(vertebra).zip(self.after(vertebra))
    }

    /// Says which values are good.
    pub(super) fn reading(self) -> &'static str {
        if self.is_distance {
            "in mm, less is better"
        } else {
            "at most 1, more is better"
        }
    }
}

/// Returns the levels that there are, from the head down.
pub(super) fn levels(vertebrae: &[Arc<VertebraSeen>]) -> Vec<&str> {
    let mut levels: Vec<&str> = vertebrae.iter().map(|vertebra| vertebra.level.as_str()).collect();
    levels.sort_unstable();
    levels.dedup();
    levels
}

/// How values are spread.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distribution {
    pub(super) count: usize,
    pub(super) mean: f64,
    pub(super) least: f64,
    /// Lower quartile, median and upper quartile, linear between the values as NumPy's default.
    pub(super) quartiles: [f64; 3],
    pub(super) most: f64,
    /// The farthest values within [`REACH`] heights of the box.
    pub(super) whiskers: [f64; 2],
    /// Values beyond the whiskers, sorted.
    pub(super) outliers: Vec<f64>,
}

impl Distribution {
    /// Returns how the finite ones of these values are spread; `None` without one.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(values);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let quartiles = [0.25, 0.5, 0.75].map(|share| percentile(&sorted, share));
        let reach = REACH * (quartiles[2] - quartiles[0]);
        let (low, high) = (quartiles[0] - reach, quartiles[2] + reach);
        let is_within = |value: &&f64| (low..=high).contains(*value);
        // rounding aside, the box itself lies within
        let whiskers = [
            sorted.iter().find(is_within).copied().unwrap_or(least),
            sorted.iter().rfind(is_within).copied().unwrap_or(most),
        ];
        Some(Self {
            count: sorted.len(),
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            least,
            quartiles,
            most,
            whiskers,
            outliers: sorted
                .into_iter()
                .filter(|value| *value < whiskers[0] || *value > whiskers[1])
                .collect(),
        })
    }
}

/// Returns the finite values in order.
pub(super) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_whiskers_and_outliers_are_those_of_numpy_and_tukey() {
        // numpy.percentile([1, 2, 3, 4, 5, 6, 7, 8, 9, 40], [25, 50, 75]) = 3.25, 5.5, 7.75: reach 6.75, to 14.5
        let values = [
            40.0,
            1.0,
            2.0,
            3.0,
            4.0,
            f64::NAN,
            5.0,
            6.0,
            7.0,
            8.0,
            9.0,
            f64::INFINITY,
        ];
        let found = Distribution::of(values).expect("values");
        assert_eq!(found.quartiles, [3.25, 5.5, 7.75]);
        assert_eq!((found.count, found.least, found.most), (10, 1.0, 40.0));
        assert_eq!(found.whiskers, [1.0, 9.0]);
        assert_eq!(found.outliers, [40.0]);
        assert!((found.mean - 8.5).abs() < 1e-12);
    }

    #[test]
    fn of_one_value_all_is_that_value_and_of_none_there_is_nothing() {
        let found = Distribution::of([2.0]).expect("a value");
        assert_eq!((found.quartiles, found.whiskers), ([2.0; 3], [2.0; 2]));
        assert!(found.outliers.is_empty());
        assert_eq!(Distribution::of([f64::NAN]), None);
        assert_eq!(Distribution::of([]), None);
    }

    #[test]
    fn every_metric_has_its_name_and_distances_are_those_in_mm() {
        let metrics = Metric::all();
        let headings = metrics.map(|metric| metric.heading);
        assert_eq!(
            headings,
            [
                "DSC", "VS", "SEN", "SPEC", "PPV", "NPV", "NMI", "CK", "Jaccard", "HD95 mm", "ASSD mm"
            ]
        );
        let distances = metrics.iter().filter(|metric| metric.is_distance);
        assert_eq!(distances.map(|metric| metric.index).collect::<Vec<_>>(), [9, 10]);
        assert_eq!(metrics[DSC].heading, "DSC");
    }
}
