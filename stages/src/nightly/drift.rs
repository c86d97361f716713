//! Whether a night's new masks are of the kind that was known before, one quantity at a time.
//!
//! Drift decides nothing, it is watched: a new scanner or another way of drawing shows here first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::bootstrap::percentile;
use crate::compare::summary::median;

/// Fewest values on a side for a verdict.
pub const FEWEST: usize = 8;

/// Fewest known masks of a level whose median says what a usual volume of it is.
const FEWEST_OF_LEVEL: usize = 3;

/// Share of the quantities that are called drifted although nothing has changed, if all values are independent. Those
/// of one person are not: a night of few persons is called drifted more often.
const ALPHA: f64 = 0.001;

/// The numbers of one mask that are compared; `None` where there is no image, or no number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen<'a> {
    /// Its level.
    pub level: &'a str,
    /// Its volume.
    pub volume_mm3: Option<f64>,
    /// How far it reaches along x, y and z.
    pub extent_mm: [Option<f64>; 3],
    /// Spacing of the scan's voxels along x, y and z.
    pub spacing_mm: [Option<f64>; 3],
    /// The largest of these spacings.
    pub thickness_mm: Option<f64>,
    /// Mean of the image within the mask.
    pub intensity_mean: Option<f64>,
    /// Standard deviation of the image within the mask.
    pub intensity_sd: Option<f64>,
}

/// One quantity of the masks known before and of the new ones, in any order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name.
    pub quantity: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Values of the masks that were known before.
    pub before: Vec<f64>,
    /// Values of the new masks.
    pub now: Vec<f64>,
}

/// Where the middle half of the values lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quartiles {
    /// A quarter of the values lies below.
    pub lower: f64,
    /// Half of the values lies below.
    pub median: f64,
    /// A quarter of the values lies above.
    pub upper: f64,
}

/// How far the new values of one quantity are from those known before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Its name.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
    /// Of the masks known before; `None` without a value.
    pub before: Option<Quartiles>,
    /// Of the new masks; `None` without a value.
    pub now: Option<Quartiles>,
    /// Two-sample Kolmogorov–Smirnov distance, 0 to 1; `None` where a side has no value.
    pub distance: Option<f64>,
    /// Distance that chance alone exceeds once in a thousand times; `None` where a side has fewer than [`FEWEST`] values.
    pub limit: Option<f64>,
    /// Whether the distance exceeds the limit.
    pub drifted: bool,
    /// Number of values before and now.
    pub counts: [usize; 2],
}

/// How a quantity is read off a mask.
type Read = fn(&Seen<'_>) -> Option<f64>;

/// What is compared besides the volume: name, unit, value.
const QUANTITIES: [(&str, &str, Read); 9] = [
    ("extent_x_mm", "mm", |seen| seen.extent_mm[0]),
    ("extent_y_mm", "mm", |seen| seen.extent_mm[1]),
    ("extent_z_mm", "mm", |seen| seen.extent_mm[2]),
    ("spacing_x_mm", "mm", |seen| seen.spacing_mm[0]),
    ("spacing_y_mm", "mm", |seen| seen.spacing_mm[1]),
    ("spacing_z_mm", "mm", |seen| seen.spacing_mm[2]),
    ("thickness_mm", "mm", |seen| seen.thickness_mm),
    ("intensity_mean", "of the image", |seen| seen.intensity_mean),
    ("intensity_sd", "of the image", |seen| seen.intensity_sd),
];

/// Returns every quantity of the masks known before and of the new ones.
///
/// Volumes are ratios to the median of the known masks of their level, so that all levels make one sample; a level with
/// fewer than three known masks has no median to go by and is left out.
pub fn samples(before: &[Seen<'_>], now: &[Seen<'_>]) -> Vec<Sample> {
    let medians = medians(before);
    let volume = Sample {
        quantity: "volume_mm3",
        unit: "× known median of the level",
        before: relative_volumes(before, &medians),
        now: relative_volumes(now, &medians),
    };
    let others = QUANTITIES.into_iter().map(|(quantity, unit, read)| Sample {
        quantity,
        unit,
        before: before.iter().filter_map(read).collect(),
        now: now.iter().filter_map(read).collect(),
    });
    std::iter::once(volume).chain(others).collect()
}

/// Returns how far the new values of each quantity are from those known before.
pub fn drifts(samples: &[Sample]) -> Vec<Drift> {
    samples.iter().map(drift).collect()
}

/// Returns how far the new values are from those known before. What is not finite does not count.
pub fn drift(sample: &Sample) -> Drift {
    let before = sorted(&sample.before);
    let now = sorted(&sample.now);
    let distance = distance(&before, &now);
    let limit = limit(before.len(), now.len());
    Drift {
        quantity: sample.quantity.to_owned(),
        unit: sample.unit.to_owned(),
        before: quartiles(&before),
        now: quartiles(&now),
        distance,
        limit,
        drifted: distance.zip(limit).is_some_and(|(found, most)| found > most),
        counts: [before.len(), now.len()],
    }
}

/// Returns the median volume of each level that has enough known masks.
fn medians<'a>(known: &[Seen<'a>]) -> BTreeMap<&'a str, f64> {
    let mut volumes: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for seen in known {
        if let Some(volume) = seen.volume_mm3.filter(|volume| volume.is_finite()) {
            volumes.entry(seen.level).or_default().push(volume);
        }
    }
    volumes
        .into_iter()
        .filter(|(_, volumes)| volumes.len() >= FEWEST_OF_LEVEL)
        .filter_map(|(level, volumes)| Some((level, median(&volumes)?)))
        .collect()
}

fn relative_volumes(masks: &[Seen<'_>], medians: &BTreeMap<&str, f64>) -> Vec<f64> {
    let ratio = |seen: &Seen<'_>| Some(seen.volume_mm3? / medians.get(seen.level)?);
    masks.iter().filter_map(ratio).collect()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn quartiles(sorted: &[f64]) -> Option<Quartiles> {
    if sorted.is_empty() {
        return None;
    }
    Some(Quartiles {
        lower: percentile(sorted, 0.25),
        median: percentile(sorted, 0.5),
        upper: percentile(sorted, 0.75),
    })
}

/// Returns the two-sample Kolmogorov–Smirnov distance sup |F(x) − G(x)| of sorted values.
///
/// Both distribution functions are read after all values that are equal: spacings of scans are few and repeat.
fn distance(before: &[f64], now: &[f64]) -> Option<f64> {
    if before.is_empty() || now.is_empty() {
        return None;
    }
    let mut largest = 0.0_f64;
    // of the values on either side, those that are at most the one in hand; where a side ends, the gap only closes
    let (mut below, mut below_now) = (0, 0);
    while let (Some(one), Some(other)) = (before.get(below), now.get(below_now)) {
        let value = one.min(*other);
        below = before.partition_point(|known| *known <= value);
        below_now = now.partition_point(|new| *new <= value);
        let share = below as f64 / before.len() as f64;
        let share_now = below_now as f64 / now.len() as f64;
        largest = largest.max((share - share_now).abs());
    }
    Some(largest)
}

/// Returns the asymptotic critical value c(α) √((n + m) / (n m)), c(α) = √(−ln(α/2) / 2) (Smirnov 1948); for ties it is
/// on the safe side.
fn limit(before: usize, now: usize) -> Option<f64> {
    if before < FEWEST || now < FEWEST {
        return None;
    }
    let (n, m) = (before as f64, now as f64);
    let factor = (-(ALPHA / 2.0).ln() / 2.0).sqrt();
    Some(factor * ((n + m) / (n * m)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(before: Vec<f64>, now: Vec<f64>) -> Drift {
        drift(&Sample {
            quantity: "thickness_mm",
            unit: "mm",
            before,
            now,
        })
    }

    fn uniform(first: u32) -> Vec<f64> {
        // out of order: the order must not matter
        (first..first + 100).rev().map(f64::from).collect()
    }

    #[test]
    fn disjoint_samples_are_1_apart_and_equal_ones_0() {
        let apart = compared(uniform(0), uniform(100));
        assert_eq!((apart.distance, apart.drifted), (Some(1.0), true));
        assert_eq!(compared(uniform(100), uniform(0)).distance, Some(1.0));
        let equal = compared(uniform(0), uniform(0));
        assert_eq!((equal.distance, equal.drifted), (Some(0.0), false));
    }

    #[test]
    fn a_shifted_uniform_sample_is_its_shift_apart() {
        for (shift, drifted) in [(7, false), (25, false), (28, true), (60, true)] {
            let found = compared(uniform(0), uniform(shift));
            let distance = found.distance.expect("values");
            assert!(
                (distance - f64::from(shift) / 100.0).abs() < 1e-12,
                "{shift}: {distance}"
            );
            // c(0.001) = 1.949475, √(200/10 000) = 0.141421
            let limit = found.limit.expect("enough values");
            assert!((limit - 0.275_697).abs() < 1e-6, "{limit}");
            assert_eq!(found.drifted, drifted, "{shift}");
        }
    }

    #[test]
    fn equal_values_are_counted_together_on_both_sides() {
        // up to 3 mm lie a tenth of one side and a half of the other; up to 4.4 mm all of both
        let slices = |thin: usize, thick: usize| [vec![3.0; thin], vec![4.4; thick]].concat();
        let found = compared(slices(1, 9), slices(20, 20));
        assert!((found.distance.expect("values") - 0.4).abs() < 1e-12);
        // the same shares of other numbers of values
        let equal = compared(slices(10, 30), slices(4, 12));
        assert_eq!((equal.distance, equal.drifted), (Some(0.0), false));
    }

    #[test]
    fn of_few_values_there_is_a_distance_and_no_verdict() {
        let found = compared(uniform(0), uniform(500)[..7].to_vec());
        assert_eq!(
            (found.distance, found.limit, found.drifted),
            (Some(1.0), None, false)
        );
        assert_eq!(found.counts, [100, 7]);
        let nothing = compared(Vec::new(), uniform(0));
        assert_eq!(
            (nothing.before, nothing.distance, nothing.limit),
            (None, None, None)
        );
    }

    #[test]
    fn eight_values_a_side_suffice_where_they_lie_apart() {
        // the limit is 1.949475 · √(16/64) = 0.974737
        let found = compared(uniform(0)[..8].to_vec(), uniform(200)[..8].to_vec());
        assert!((found.limit.expect("eight values") - 0.974_737).abs() < 1e-6);
        assert!(found.drifted);
    }

    #[test]
    fn quartiles_are_those_of_numpy_and_what_is_not_finite_does_not_count() {
        let found = compared(
            vec![5.0, f64::NAN, 1.0, 4.0, 2.0, 3.0],
            vec![1.0, f64::INFINITY, 2.0],
        );
        let before = found.before.expect("values");
        assert_eq!((before.lower, before.median, before.upper), (2.0, 3.0, 4.0));
        let now = found.now.expect("values");
        assert_eq!((now.lower, now.median, now.upper), (1.25, 1.5, 1.75));
        assert_eq!(found.counts, [5, 2]);
    }

    fn seen(level: &str, volume_mm3: f64) -> Seen<'_> {
        Seen {
            level,
            volume_mm3: Some(volume_mm3),
            extent_mm: [Some(48.0), Some(90.0), Some(42.0)],
            spacing_mm: [Some(4.4), Some(0.6), Some(0.6)],
            thickness_mm: Some(4.4),
            intensity_mean: None,
            intensity_sd: None,
        }
    }

    #[test]
    fn volumes_of_all_levels_are_measured_by_the_known_ones_of_their_own() {
        let before = [
            seen("L1", 20.0),
            seen("L1", 40.0),
            seen("L1", 60.0),
            seen("L5", 50.0),
            seen("L5", 80.0),
            seen("L5", 100.0),
            seen("L6", 7.0),
        ];
        let now = [seen("L1", 60.0), seen("L5", 40.0), seen("L6", 7.0)];
        let samples = samples(&before, &now);
        assert_eq!(samples[0].before, [0.5, 1.0, 1.5, 0.625, 1.0, 1.25]);
        assert_eq!(samples[0].now, [1.5, 0.5], "a level known once has no median");
        assert_eq!(samples.len(), 1 + QUANTITIES.len());
        let find = |name: &str| samples.iter().find(|sample| sample.quantity == name);
        assert_eq!(find("extent_z_mm").expect("compared").now, [42.0; 3]);
        assert_eq!(find("spacing_x_mm").expect("compared").before, [4.4; 7]);
        assert!(find("intensity_mean").expect("compared").now.is_empty());
        assert!(drifts(&samples).iter().all(|drift| !drift.drifted));
    }
}
