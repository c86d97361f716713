//! Distances between the surfaces of two masks, in mm between voxel centres.
//!
//! A mask's surface is what one erosion with the 6-neighbour cross takes away; outside the volume is
//! background (MedPy's and MONAI's definition).

use models::distance::Nearest;
use ndarray::{Array3, ArrayView3};

use super::{Metric, Pair};

/// The larger of the two directed 95th percentiles, linearly interpolated (as MONAI; MedPy pools the
/// directions).
pub struct HausdorffDistance95;

impl Metric for HausdorffDistance95 {
    fn name(&self) -> &'static str {
        "hd95_mm"
    }

    fn measure(&self, pair: &Pair<'_>) -> Option<f64> {
        let distances = pair.distances()?;
        let there = percentile(&distances.prediction_to_reference, 0.95);
        let back = percentile(&distances.reference_to_prediction, 0.95);
        Some(there.max(back))
    }
}

/// The mean over the distances of both directions together (as MedPy and MONAI).
pub struct AverageSurfaceDistance;

impl Metric for AverageSurfaceDistance {
    fn name(&self) -> &'static str {
        "assd_mm"
    }

    fn measure(&self, pair: &Pair<'_>) -> Option<f64> {
        let distances = pair.distances()?;
        let sum: f64 = distances
            .prediction_to_reference
            .iter()
            .chain(&distances.reference_to_prediction)
            .sum();
        let count = distances.prediction_to_reference.len() + distances.reference_to_prediction.len();
        Some(sum / count as f64)
    }
}

/// For each surface voxel of one mask, the distance to the nearest one of the other. Neither list is empty.
pub struct SurfaceDistances {
    prediction_to_reference: Vec<f64>,
    reference_to_prediction: Vec<f64>,
}

impl SurfaceDistances {
    /// Measures within a box that holds both masks; `None` where a mask is empty and so has no surface.
    pub fn between(
        prediction: ArrayView3<'_, u8>,
        reference: ArrayView3<'_, u8>,
        spacing_mm: [f64; 3],
    ) -> Option<Self> {
        let predicted = surface(prediction);
        let referred = surface(reference);
        Some(Self {
            prediction_to_reference: distances(&predicted, &referred, spacing_mm)?,
            reference_to_prediction: distances(&referred, &predicted, spacing_mm)?,
        })
    }
}

/// Returns the set voxels with a face neighbour that is not set.
fn surface(mask: ArrayView3<'_, u8>) -> Array3<bool> {
    let (size_i, size_j, size_k) = mask.dim();
    let is_set = |i: usize, j: usize, k: usize| mask.get((i, j, k)).is_some_and(|value| *value != 0);
    Array3::from_shape_fn((size_i, size_j, size_k), |(i, j, k)| {
        // below index 0 wraps round to an index that no volume has
        let neighbours = [
            (i.wrapping_sub(1), j, k),
            (i + 1, j, k),
            (i, j.wrapping_sub(1), k),
            (i, j + 1, k),
            (i, j, k.wrapping_sub(1)),
            (i, j, k + 1),
        ];
        is_set(i, j, k) && !neighbours.into_iter().all(|(i, j, k)| is_set(i, j, k))
    })
}

/// Returns the distance from each voxel of `from` to the nearest of `to`, or `None` where either has none.
fn distances(from: &Array3<bool>, to: &Array3<bool>, spacing_mm: [f64; 3]) -> Option<Vec<f64>> {
    let nearest = Nearest::to(to, spacing_mm);
    let asked = from.indexed_iter().filter(|(_, is_surface)| **is_surface);
    let distances: Vec<f64> = asked.map(|(voxel, _)| nearest.distance_mm(voxel)).collect();
    let is_defined = distances.first().is_some_and(|distance| distance.is_finite());
    is_defined.then_some(distances)
}

/// Returns the value below which a share of the values lies, interpolated linearly between ranks as NumPy
/// does.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    let rank = share * (values.len() - 1) as f64;
    let (_, lower, above) = values.select_nth_unstable_by(rank.floor() as usize, f64::total_cmp);
    let lower = *lower;
    let upper = above.iter().copied().fold(f64::INFINITY, f64::min);
    let upper = if above.is_empty() { lower } else { upper };
    lower + (upper - lower) * rank.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_between_its_neighbours_in_rank() {
        // numpy.percentile([4, 1, 3, 2, 5], 95) and of one value
        assert!((percentile(&[4.0, 1.0, 3.0, 2.0, 5.0], 0.95) - 4.8).abs() < 1e-12);
        assert_eq!(percentile(&[7.0], 0.95), 7.0);
        assert_eq!(percentile(&[2.0, 1.0], 1.0), 2.0);
    }

    #[test]
    fn the_surface_of_a_cube_is_its_shell_also_at_the_border_of_the_volume() {
        let inner = surface(Array3::<u8>::ones((5, 5, 5)).view());
        assert_eq!(inner.iter().filter(|set| **set).count(), 125 - 27);
    }
}
