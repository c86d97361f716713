//! The grid on which the frames of a segmentation lie, those that were left out included.

use schemas::{Affine, Fault};

use crate::dicom::plane::{Plane, dot};

/// How far a frame may lie from a slice of the grid, in mm.
const TOLERANCE_MM: f64 = 0.05;

/// Positions nearer to each other than this are one, in mm: no slice is as thin.
const SAME_MM: f64 = 2.0 * TOLERANCE_MM;

/// Most slices: two metres of half a millimetre.
const SLICES_MOST: usize = 4096;

/// Share of the smallest gap below which Slice Thickness casts doubt on it: every other slice may have been left out.
const THIN: f64 = 0.55;

/// Slices of equal steps that hold every frame.
#[derive(Debug, Clone, PartialEq)]
pub struct SegGrid {
    /// Slice of each frame.
    pub slice_of: Vec<usize>,
    /// Slices from the first frame to the last.
    pub slices: usize,
    /// (column, row, slice) → RAS mm.
    pub affine: Affine,
    /// Step along the normal, in mm.
    pub step_mm: f64,
}

impl SegGrid {
    /// Finds the grid of planes; `promised_mm` is Spacing Between Slices, which must fit the positions to be believed.
    ///
    /// # Errors
    /// `mixed_planes`, `one_slice` (nothing tells its step), `uneven_frames`, `sparse_frames` (several steps are
    /// possible), `too_large`.
    pub fn of(planes: &[Plane], promised_mm: Option<f64>, thickness_mm: Option<f64>) -> Result<Self, Fault> {
        let Some(any) = planes.first() else {
            return Err(Fault::unreadable("bad_segments", "expected frames, found none"));
        };
        if let Some(other) = planes.iter().position(|plane| !plane.is_parallel(any)) {
            let message = format!(
                "expected parallel frames of one pixel spacing, found frame {} unlike the first",
                other + 1
            );
            return Err(Fault::unsuitable("mixed_planes", message));
        }
        let normal = any.normal();
        let first = planes
            .iter()
            .min_by(|a, b| a.distance_mm().total_cmp(&b.distance_mm()))
            .unwrap_or(any);
        let offsets: Vec<[f64; 3]> = planes
            .iter()
            .map(|plane| [0, 1, 2].map(|axis| plane.position[axis] - first.position[axis]))
            .collect();
        let distances: Vec<f64> = offsets.iter().map(|offset| dot(*offset, normal)).collect();
        let step_mm = step(&distances, promised_mm, thickness_mm)?;

        let slice = |distance: f64| (distance / step_mm).round();
        let last = distances.iter().copied().map(slice).fold(0.0, f64::max);
        if last >= SLICES_MOST as f64 {
            let message = format!(
                "expected at most {SLICES_MOST} slices of {step_mm:.3} mm, found {}",
                last + 1.0
            );
            return Err(Fault::unsuitable("too_large", message));
        }
        // slices may be shifted against each other, by the same step after step
        let shift =
            |frame: usize| [0, 1, 2].map(|axis| offsets[frame][axis] - distances[frame] * normal[axis]);
        let farthest = (0..planes.len())
            .max_by(|a, b| distances[*a].total_cmp(&distances[*b]))
            .unwrap_or(0);
        let per_slice = if last > 0.0 {
            shift(farthest).map(|part| part / last)
        } else {
            [0.0; 3]
        };
        let mut slice_of = Vec::with_capacity(planes.len());
        for (frame, distance) in distances.iter().enumerate() {
            let slice = slice(*distance);
            let expected = per_slice.map(|part| part * slice);
            let off = [0, 1, 2].map(|axis| shift(frame)[axis] - expected[axis]);
            let off = dot(off, off) + (distance - slice * step_mm).powi(2);
            if off.sqrt() > TOLERANCE_MM {
                let message = format!(
                    "expected frames on slices of {step_mm:.3} mm, found frame {} off by {:.3} mm",
                    frame + 1,
                    off.sqrt()
                );
                return Err(Fault::unsuitable("uneven_frames", message));
            }
            slice_of.push(slice as usize);
        }
        let step = [0, 1, 2].map(|axis| normal[axis] * step_mm + per_slice[axis]);
        Ok(Self {
            slice_of,
            slices: last as usize + 1,
            affine: first.affine(step),
            step_mm,
        })
    }
}

/// Returns the step between slices: the promised one where positions are multiples of it, else the smallest gap.
fn step(distances: &[f64], promised_mm: Option<f64>, thickness_mm: Option<f64>) -> Result<f64, Fault> {
    let mut sorted = distances.to_vec();
    sorted.sort_by(f64::total_cmp);
    let gaps = sorted
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .filter(|gap| *gap > SAME_MM);
    let smallest = gaps.fold(f64::INFINITY, f64::min);
    let fits = |step: f64| {
        let off = |distance: &f64| (distance - (distance / step).round() * step).abs();
        distances.iter().all(|distance| off(distance) <= TOLERANCE_MM)
    };
    // a promise that no gap keeps is believed only if slices are as thin: one digit could have become another
    let is_doubtful = |promised: f64| {
        smallest.is_finite()
            && smallest > 1.5 * promised
            && thickness_mm.is_none_or(|thickness| (thickness / promised - 1.0).abs() > 0.25)
    };
    if promised_mm.is_some_and(|step| step > SAME_MM && fits(step) && is_doubtful(step)) {
        let message = format!(
            "expected frames one Spacing Between Slices apart, or slices as thin as it, found gaps of {smallest:.3} mm and more"
        );
        return Err(Fault::unsuitable("sparse_frames", message));
    }
    if let Some(promised) = promised_mm.filter(|step| *step > SAME_MM && fits(*step)) {
        // rounded less than the promise, which many slices would add up
        let farthest = sorted.last().copied().unwrap_or(0.0);
        let steps = (farthest / promised).round();
        return Ok(if steps > 0.0 { farthest / steps } else { promised });
    }
    if !smallest.is_finite() {
        return Err(Fault::unsuitable(
            "one_slice",
            "expected frames at several positions, or Spacing Between Slices, found neither: nothing tells the step",
        ));
    }
    let farthest = sorted.last().copied().unwrap_or(smallest);
    let step = farthest / (farthest / smallest).round();
    if let Some(thickness) = thickness_mm.filter(|thickness| *thickness < THIN * smallest) {
        let message = format!(
            "expected Spacing Between Slices for frames at least {smallest:.3} mm apart of slices {thickness:.3} mm thick, \
             found none that fits: some may have been left out"
        );
        return Err(Fault::unsuitable("sparse_frames", message));
    }
    Ok(step)
}
