//! How alike two masks are: the one list of metrics, and what they share about a pair of masks.
//!
//! Every metric takes the reference for the truth. An undefined value is `None`, never an infinity or a NaN.

mod agreement;
mod information;
mod overlap;
mod surface;

use std::borrow::Cow;
use std::cell::OnceCell;

use ndarray::{ArrayView1, ArrayView3, Axis, Slice, Zip};
use schemas::Scores;
use schemas::vertebra::METRIC_NAMES;

use self::surface::SurfaceDistances;

/// A number that says how alike two masks are.
pub trait Metric {
    /// Returns the name of its column.
    fn name(&self) -> &'static str;

    /// Returns the value, or `None` where it is undefined.
    fn measure(&self, pair: &Pair<'_>) -> Option<f64>;
}

/// The metrics, in the order of the tables' columns.
pub const METRICS: [&dyn Metric; METRIC_NAMES.len()] = [
    &overlap::DICE,
    &overlap::VOLUME_SIMILARITY,
    &overlap::SENSITIVITY,
    &overlap::SPECIFICITY,
    &overlap::POSITIVE_PREDICTIVE_VALUE,
    &overlap::NEGATIVE_PREDICTIVE_VALUE,
    &information::NormalisedMutualInformation,
    &agreement::CohensKappa,
    &overlap::JACCARD,
    &surface::HausdorffDistance95,
    &surface::AverageSurfaceDistance,
];

/// Returns every metric of the prediction, in the order of [`METRICS`].
///
/// # Panics
/// If the two masks differ in shape.
pub fn scores(prediction: ArrayView3<'_, u8>, reference: ArrayView3<'_, u8>, spacing_mm: [f64; 3]) -> Scores {
    let pair = Pair::new(prediction, reference, spacing_mm);
    METRICS.map(|metric| metric.measure(&pair))
}

/// A prediction and its reference on one grid, with what several metrics need of them.
pub struct Pair<'a> {
    /// What is measured.
    pub prediction: ArrayView3<'a, u8>,
    /// What is taken for the truth.
    pub reference: ArrayView3<'a, u8>,
    /// Between voxels along each axis.
    pub spacing_mm: [f64; 3],
    table: Table,
    /// Smallest box that holds both masks; `None` where both are empty.
    bounds: Option<[Slice; 3]>,
    distances: OnceCell<Option<SurfaceDistances>>,
}

impl<'a> Pair<'a> {
    /// Compares two masks of one grid; every voxel that is not 0 is set.
    ///
    /// # Panics
    /// If the two masks differ in shape.
    pub fn new(prediction: ArrayView3<'a, u8>, reference: ArrayView3<'a, u8>, spacing_mm: [f64; 3]) -> Self {
        assert_eq!(prediction.dim(), reference.dim(), "two masks of one grid");
        let (table, bounds) = survey(&prediction, &reference);
        Self {
            prediction,
            reference,
            spacing_mm,
            table,
            bounds,
            distances: OnceCell::new(),
        }
    }

    /// Returns how many voxels are set in both masks, in one or in none.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Returns the distances between the two surfaces, or `None` where a mask has none. They are measured
    /// once.
    pub fn distances(&self) -> Option<&SurfaceDistances> {
        self.distances.get_or_init(|| self.measure_distances()).as_ref()
    }

    fn measure_distances(&self) -> Option<SurfaceDistances> {
        // nothing is set outside this box, so that both surfaces and the ways between them lie within it
        let bounds = self.bounds?;
        let [prediction, reference] = [&self.prediction, &self.reference]
            .map(|mask| mask.slice_each_axis(|axis| bounds[axis.axis.index()]));
        SurfaceDistances::between(prediction, reference, self.spacing_mm)
    }
}

/// Voxels by what prediction and reference say of them: whole numbers, held as the ratios need them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Table {
    /// Set in both.
    pub true_positive: f64,
    /// Set in the prediction only.
    pub false_positive: f64,
    /// Set in the reference only.
    pub false_negative: f64,
    /// Set in neither.
    pub true_negative: f64,
}

/// Counts the voxels and finds the box that holds both masks, in one pass.
fn survey(prediction: &ArrayView3<'_, u8>, reference: &ArrayView3<'_, u8>) -> (Table, Option<[Slice; 3]>) {
    let mut counts = Counts::default();
    let mut min = [usize::MAX; 3];
    let mut max = [0; 3];
    // which positions of a row are set in any row
    let mut in_any_row = vec![0; prediction.len_of(Axis(2))];
    Zip::indexed(prediction.rows())
        .and(reference.rows())
        .for_each(|(i, j), one, other| {
            let (one, other) = (contiguous(&one), contiguous(&other));
            if is_zero(&one) && is_zero(&other) {
                return;
            }
            counts.add(&one, &other);
            for ((any, one), other) in in_any_row.iter_mut().zip(one.iter()).zip(other.iter()) {
                *any |= one | other;
            }
            for (axis, index) in [i, j].into_iter().enumerate() {
                min[axis] = min[axis].min(index);
                max[axis] = max[axis].max(index);
            }
        });
    let is_set = |voxel: &u8| *voxel != 0;
    min[2] = in_any_row.iter().position(is_set).unwrap_or(usize::MAX);
    max[2] = in_any_row.iter().rposition(is_set).unwrap_or(0);

    let Counts {
        both,
        predicted,
        referred,
    } = counts;
    let all = prediction.len() as u64;
    let table = Table {
        true_positive: both as f64,
        false_positive: (predicted - both) as f64,
        false_negative: (referred - both) as f64,
        true_negative: (all + both - predicted - referred) as f64,
    };
    let is_any_set = predicted + referred > 0;
    (
        table,
        is_any_set.then(|| [0, 1, 2].map(|axis| Slice::from(min[axis]..=max[axis]))),
    )
}

/// Voxels that are set.
#[derive(Default)]
struct Counts {
    both: u64,
    predicted: u64,
    referred: u64,
}

impl Counts {
    fn add(&mut self, one: &[u8], other: &[u8]) {
        // so few that each number is a byte: many voxels are counted at a time
        const FEW: usize = 255;
        for (one, other) in one.chunks(FEW).zip(other.chunks(FEW)) {
            let (mut both, mut predicted, mut referred) = (0_u8, 0_u8, 0_u8);
            for (one, other) in one.iter().zip(other) {
                let (one, other) = (u8::from(*one != 0), u8::from(*other != 0));
                both += one & other;
                predicted += one;
                referred += other;
            }
            self.both += u64::from(both);
            self.predicted += u64::from(predicted);
            self.referred += u64::from(referred);
        }
    }
}

/// Returns the row as it lies in memory, or a copy of one whose voxels lie apart.
fn contiguous<'a>(row: &ArrayView1<'a, u8>) -> Cow<'a, [u8]> {
    row.to_slice()
        .map_or_else(|| Cow::Owned(row.to_vec()), Cow::Borrowed)
}

fn is_zero(voxels: &[u8]) -> bool {
    voxels.iter().fold(0, |any, voxel| any | voxel) == 0
}

/// Returns `numerator / denominator`, or `None` for 0/0.
fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator != 0.0).then(|| numerator / denominator)
}

#[cfg(test)]
mod tests;
