//! What earlier nights have accepted: what is usual of each level, and the shapes that are there already.

mod shapes;

use std::collections::BTreeMap;

use schemas::Level;
use schemas::rows::{LineageRow, SHAPE_LENGTH, Verdict};

use super::measure::Measured;

pub use shapes::{Shapes, distance};

/// What is held against the usual: volume, extents, and the share of its box that the mask fills. The last tells a mask
/// that was worn down from one of a small person.
pub const QUANTITIES: [&str; 5] = ["volume", "extent_x", "extent_y", "extent_z", "fill"];

/// What makes a standard deviation of the median distance from the median, where values are normally distributed.
const MAD_TO_SD: f64 = 1.4826;

/// Least deviation, as a share of the median: masks of a few persons may be alike by chance.
const LEAST_DEVIATION: f64 = 0.05;

/// Values of each quantity, in the order of [`QUANTITIES`], one a mask.
type Columns = [Vec<f64>; QUANTITIES.len()];

/// Everything that was accepted.
#[derive(Debug, Clone, Default)]
pub struct Known {
    values: BTreeMap<Level, Columns>,
    usual: BTreeMap<Level, Usual>,
    shapes: Shapes,
}

/// What is usual of one level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// Masks that it is told from.
    pub masks: usize,
    /// In the order of [`QUANTITIES`].
    pub quantities: [Spread; QUANTITIES.len()],
}

/// Middle and spread of values, neither of which a few outliers move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// Median distance from the median, as a standard deviation; at least a twentieth of the median.
    pub deviation: f64,
}

impl Known {
    /// Takes in the accepted masks among the rows of a lineage.
    pub fn of(rows: &[LineageRow]) -> Self {
        let mut known = Self::default();
        for row in rows.iter().filter(|row| row.verdict == Verdict::Accepted) {
            let Some(level) = row.level else { continue };
            if let (Some(volume_mm3), Some(extent_mm)) = (row.volume_mm3, row.extent_mm) {
                let columns = known.values.entry(level).or_default();
                add(columns, quantities(volume_mm3, extent_mm));
            }
            let shape = row.shape.as_deref().filter(|shape| shape.len() == SHAPE_LENGTH);
            if let (Some(person), Some(shape)) = (&row.person, shape) {
                known.shapes.add(person, level, shape);
            }
        }
        known.usual = usual(known.values.clone());
        known
    }

    /// Returns what is usual of a level, if anything of it is known.
    pub fn usual(&self, level: Level) -> Option<&Usual> {
        self.usual.get(&level)
    }

    /// Returns what is usual of every level. Where fewer than `least` masks of one are known, those of `tonight` count as
    /// well: the first night, often the largest, has nothing else to go by.
    pub fn usual_beside<'a>(
        &self,
        tonight: impl Iterator<Item = &'a (Level, Measured)>,
        least: usize,
    ) -> BTreeMap<Level, Usual> {
        let mut pooled: BTreeMap<Level, Columns> = BTreeMap::new();
        for (level, measured) in tonight {
            let known = self.values.get(level);
            if known.is_none_or(|columns| masks(columns) < least) {
                let columns = pooled
                    .entry(*level)
                    .or_insert_with(|| known.cloned().unwrap_or_default());
                add(columns, quantities(measured.volume_mm3, measured.extent_mm));
            }
        }
        let mut all = self.usual.clone();
        all.extend(usual(pooled));
        all
    }

    /// Returns every shape.
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }
}

fn add(columns: &mut Columns, values: [f64; QUANTITIES.len()]) {
    for (column, value) in columns.iter_mut().zip(values) {
        column.push(value);
    }
}

/// Returns of how many masks there are values.
fn masks(columns: &Columns) -> usize {
    columns[0].len()
}

fn usual(values: BTreeMap<Level, Columns>) -> BTreeMap<Level, Usual> {
    let levels = values.into_iter();
    levels
        .filter_map(|(level, columns)| Some((level, Usual::of(columns)?)))
        .collect()
}

impl Usual {
    fn of(mut columns: Columns) -> Option<Self> {
        let masks = masks(&columns);
        let spreads = columns.each_mut().map(|column| Spread::of(column));
        let [Some(volume), Some(x), Some(y), Some(z), Some(fill)] = spreads else {
            return None;
        };
        Some(Self {
            masks,
            quantities: [volume, x, y, z, fill],
        })
    }

    /// Returns by how many deviations a mask is away from the usual, in the quantity in which it is farthest.
    pub fn deviations(&self, measured: &Measured) -> f64 {
        let quantities = quantities(measured.volume_mm3, measured.extent_mm);
        let pairs = self.quantities.iter().zip(quantities);
        pairs
            .map(|(spread, value)| ((value - spread.median) / spread.deviation).abs())
            .fold(0.0, f64::max)
    }
}

impl Spread {
    /// Returns the spread of some values; `None` of none.
    fn of(values: &mut [f64]) -> Option<Self> {
        let median = median(values)?;
        let mut away: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
        let deviation = MAD_TO_SD * self::median(&mut away)?;
        Some(Self {
            median,
            deviation: deviation.max(LEAST_DEVIATION * median.abs()),
        })
    }
}

/// Returns the numbers that are compared, in the order of [`QUANTITIES`].
fn quantities(volume_mm3: f64, extent_mm: [f64; 3]) -> [f64; QUANTITIES.len()] {
    let [x, y, z] = extent_mm;
    [volume_mm3, x, y, z, volume_mm3 / (x * y * z)]
}

/// Returns the middle value, or the mean of the two in the middle.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::accepted;
    use super::*;

    fn mask(volume_mm3: f64, extent_mm: [f64; 3]) -> Measured {
        Measured {
            volume_mm3,
            extent_mm,
            largest_piece: 1.0,
            cavities: 0.0,
            centre_mm: [0.0; 3],
            touches_border: false,
            touches_cube: false,
            shape: vec![7; SHAPE_LENGTH],
        }
    }

    #[test]
    fn medians_and_deviations_are_those_by_hand() {
        let close = |found: Option<Spread>, median: f64, deviation: f64| {
            let found = found.expect("values");
            assert_eq!(found.median, median);
            assert!((found.deviation - deviation).abs() < 1e-12, "{found:?}");
        };
        // away from 2 by 0, 0, 1, 1, 2, 4, 7
        close(Spread::of(&mut [9.0, 1.0, 2.0, 4.0, 1.0, 6.0, 2.0]), 2.0, 1.4826);
        // away from 2.5 by 0.5, 0.5, 1.5, 7.5
        close(Spread::of(&mut [10.0, 1.0, 3.0, 2.0]), 2.5, 1.4826);
        close(Spread::of(&mut [40.0, 40.0, 41.0]), 40.0, 2.0);
        assert_eq!(Spread::of(&mut []), None);
    }

    #[test]
    fn the_usual_is_told_from_accepted_masks_of_the_level_alone() {
        let volumes = [50e3, 60e3, 70e3];
        let mut rows = Vec::new();
        for (person, volume_mm3) in volumes.into_iter().enumerate() {
            let masks = [(Level::L3, mask(volume_mm3, [100.0, 90.0, 50.0]))];
            rows.extend(accepted("case", &format!("p{person}"), &masks));
        }
        let mut rejected = accepted("case", "p9", &[(Level::L3, mask(1e3, [10.0; 3]))]);
        rejected[0].verdict = Verdict::Rejected;
        rows.extend(rejected);
        let known = Known::of(&rows);
        assert_eq!(known.shapes().len(), 3);
        assert_eq!(known.usual(Level::L2), None);
        let usual = known.usual(Level::L3).expect("three masks");
        assert_eq!(usual.masks, 3);
        assert_eq!(usual.quantities[0].median, 60e3);
        assert!((usual.quantities[0].deviation - 14_826.0).abs() < 1e-6);
        // extents that never vary: a twentieth of the median
        assert_eq!(usual.quantities[1].deviation, 5.0);

        let deviations =
            |volume_mm3: f64, right_mm: f64| usual.deviations(&mask(volume_mm3, [right_mm, 90.0, 50.0]));
        assert_eq!(deviations(60e3, 100.0), 0.0);
        // 14 826 of the volume, and as much of what fills the box
        assert!((deviations(60e3 - 14_826.0, 100.0) - 1.0).abs() < 1e-9);
        assert!((deviations(60e3, 120.0) - 4.0).abs() < 1e-9);
    }
}
