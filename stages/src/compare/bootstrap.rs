//! How sure a mean is: the percentile bootstrap, by groups.

use models::seed::generator;
use rand::RngExt as _;

/// A mean and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Mean over all values.
    pub mean: f64,
    /// 2.5th and 97.5th percentile of the resampled means; `None` of fewer than two groups or without resamples.
    pub interval: Option<[f64; 2]>,
    /// Number of values.
    pub count: usize,
}

/// Share of the resampled means on either side of the interval: it holds 95 %.
const TAIL: f64 = 0.025;

/// Returns the mean over all values of all groups, and its 95 % percentile bootstrap interval (Efron 1979): each
/// resample draws as many groups as there are, with replacement, and averages all their values. `None` without a value.
///
/// With one value a group this is the plain bootstrap; with one person a group, values of one person stay together.
/// An equal seed gives an equal interval. Of few groups the interval is narrower than its name says: for the mean of n
/// normal values it covers P(|t(n−1)| < 1.96 √((n−1)/n)), 0.89 for n = 8 and 0.94 for n = 40.
pub fn mean_interval(groups: &[Vec<f64>], resamples: usize, seed: u64) -> Option<Estimate> {
    let groups: Vec<(f64, usize)> = groups
        .iter()
        .filter(|values| !values.is_empty())
        .map(|values| (values.iter().sum(), values.len()))
        .collect();
    let total = |(sum, count): (f64, usize), group: &(f64, usize)| (sum + group.0, count + group.1);
    let (sum, count) = groups.iter().fold((0.0, 0), total);
    if count == 0 {
        return None;
    }
    let interval = (groups.len() > 1 && resamples > 0).then(|| {
        let mut random = generator(seed);
        let mut means: Vec<f64> = (0..resamples)
            .map(|_| {
                let drawn = (0..groups.len()).map(|_| &groups[random.random_range(0..groups.len())]);
                let (sum, count) = drawn.fold((0.0, 0), total);
                sum / count as f64
            })
            .collect();
        means.sort_by(f64::total_cmp);
        [percentile(&means, TAIL), percentile(&means, 1.0 - TAIL)]
    });
    Some(Estimate {
        mean: sum / count as f64,
        interval,
        count,
    })
}

/// Returns the percentile, linear between the order statistics, as NumPy's default; of a sorted list that is not empty.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn singles(values: impl IntoIterator<Item = f64>) -> Vec<Vec<f64>> {
        values.into_iter().map(|value| vec![value]).collect()
    }

    #[test]
    fn of_two_values_the_interval_reaches_from_one_to_the_other() {
        // resampled means: a in 1/4, the middle in 1/2, b in 1/4 of the draws; both tails of 2.5 % lie in the quarters
        let found = mean_interval(&singles([1.0, 4.0]), 2000, 7).expect("values");
        assert_eq!(
            found,
            Estimate {
                mean: 2.5,
                interval: Some([1.0, 4.0]),
                count: 2
            }
        );
    }

    #[test]
    fn of_many_values_the_interval_is_that_of_the_normal_distribution() {
        // 0, 1, …, 99: population variance (100² − 1)/12, so the bootstrap's standard error is √(9999/12/100)
        let found = mean_interval(&singles((0..100).map(f64::from)), 10_000, 1).expect("values");
        let error = (9999.0_f64 / 12.0 / 100.0).sqrt();
        let [low, high] = found.interval.expect("an interval");
        // the 2.5th percentile of 10 000 means has a standard error of √(p(1−p)/10 000)/φ(1.96) = 0.027 errors: take 4
        for (bound, expected) in [(low, 49.5 - 1.96 * error), (high, 49.5 + 1.96 * error)] {
            assert!(
                (bound - expected).abs() < 4.0 * 0.027 * error,
                "{bound} {expected}"
            );
        }
    }

    #[test]
    fn groups_are_drawn_as_a_whole() {
        // within a group all values are equal: ten of each say no more than one of each
        let wide = [vec![0.0; 10], vec![1.0; 10], vec![3.0; 10]];
        let narrow = singles([0.0, 1.0, 3.0]);
        let [wide, narrow] =
            [&wide[..], &narrow[..]].map(|groups| mean_interval(groups, 500, 3).expect("values"));
        assert_eq!(wide.interval, narrow.interval);
        assert_eq!((wide.count, narrow.count), (30, 3));
    }

    #[test]
    fn one_group_has_a_mean_and_no_interval_and_nothing_has_neither() {
        let one = mean_interval(&[vec![1.0, 3.0]], 100, 0).expect("values");
        assert_eq!((one.mean, one.interval), (2.0, None));
        assert_eq!(mean_interval(&[Vec::new()], 100, 0), None);
    }

    #[test]
    fn an_equal_seed_gives_an_equal_interval() {
        let values = singles([0.1, 0.7, 0.2, 0.9]);
        assert_eq!(mean_interval(&values, 200, 5), mean_interval(&values, 200, 5));
    }

    #[test]
    fn coverage_of_the_mean_of_normal_values_is_that_of_the_closed_form() {
        const SIMULATIONS: usize = 600;
        const VALUES: usize = 20;
        let mut random = generator(11);
        let mut normal = || {
            // Box and Muller
            let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
            radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
        };
        let mut covered = 0;
        for simulation in 0..SIMULATIONS {
            let sample = singles((0..VALUES).map(|_| normal()));
            let found = mean_interval(&sample, 1000, simulation as u64).expect("values");
            let [low, high] = found.interval.expect("an interval");
            covered += usize::from(low <= 0.0 && 0.0 <= high);
        }
        let share = covered as f64 / SIMULATIONS as f64;
        // P(|t(19)| < 1.959964 √(19/20)), Simpson's rule on the density of t with 20 000 steps
        let expected = 0.928_699_f64;
        let error = (expected * (1.0 - expected) / SIMULATIONS as f64).sqrt();
        assert!(
            (share - expected).abs() < 3.0 * error,
            "{share} against {expected}"
        );
    }
}
