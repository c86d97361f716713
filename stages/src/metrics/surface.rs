//! Distances between the surfaces of two masks, in mm between voxel centres.
//!
//! A mask's surface is what one erosion with the 6-neighbour cross takes away; outside the volume is
//! background (MedPy's and MONAI's definition).

use models::distance::distances_mm;
use ndarray::{ArrayView3, Zip};

use super::{Metric, Pair, is_zero};

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
        let shape = prediction.dim().into();
        let predicted = surface(prediction);
        let referred = surface(reference);
        if predicted.is_empty() || referred.is_empty() {
            return None;
        }
        Some(Self {
            prediction_to_reference: distances_mm(&predicted, &referred, shape, spacing_mm),
            reference_to_prediction: distances_mm(&referred, &predicted, shape, spacing_mm),
        })
    }
}

/// Returns the set voxels with a face neighbour that is not set, the last axis fastest.
fn surface(mask: ArrayView3<'_, u8>) -> Vec<[usize; 3]> {
    let (size_i, size_j, size_k) = mask.dim();
    // a layer of background lies around: nothing outside the volume is set
    let row = size_k + 2;
    let plane = row * (size_j + 2);
    let mut set = vec![0_u8; plane * (size_i + 2)];
    let start = |i: usize, j: usize| (i + 1) * plane + (j + 1) * row + 1;
    Zip::indexed(mask.rows()).for_each(|(i, j), voxels| {
        for (slot, voxel) in set[start(i, j)..].iter_mut().zip(voxels) {
            *slot = u8::from(*voxel != 0);
        }
    });

    let mut found = Vec::new();
    let mut is_surface = vec![0_u8; size_k];
    for i in 0..size_i {
        for j in 0..size_j {
            let start = start(i, j);
            let here = &set[start..start + size_k];
            if is_zero(here) {
                continue;
            }
            is_surface.copy_from_slice(here);
            let inner = [
                start - 1,
                start + 1,
                start - row,
                start + row,
                start - plane,
                start + plane,
            ];
            let [a, b, c, d, e, f] = inner.map(|start| &set[start..start + size_k]);
            for (k, voxel) in is_surface.iter_mut().enumerate() {
                *voxel &= !(a[k] & b[k] & c[k] & d[k] & e[k] & f[k]);
            }
            let on_surface = is_surface.iter().enumerate().filter(|(_, voxel)| **voxel != 0);
            found.extend(on_surface.map(|(k, _)| [i, j, k]));
        }
    }
    found
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
    use ndarray::Array3;

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
        assert_eq!(inner.len(), 125 - 27);
    }
}
