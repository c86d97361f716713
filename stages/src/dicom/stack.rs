//! Planes in order: which slices follow each other, how far apart, and what is wrong with them.
//!
//! Slices are sorted by their position along the normal, never by instance number; steps are those between positions,
//! never the slice thickness.

use schemas::{Affine, Fault};
use serde::{Deserialize, Serialize};

use super::plane::{Plane, dot};

pub use schemas::Spacing;

/// What a stack of slices may be like; part of `[dicom]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StackConf {
    /// Farthest that a slice may lie from where equal steps would have it, in mm: rounded positions. Slices farther off
    /// are resampled.
    pub tolerance_mm: f64,
    /// Widest gap between two slices that is interpolated over, in mm.
    pub max_gap_mm: f64,
}

impl StackConf {
    /// Checks that the values are lengths.
    ///
    /// # Errors
    /// A message that names the key.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("tolerance_mm", self.tolerance_mm),
            ("max_gap_mm", self.max_gap_mm),
        ] {
            if !(0.0..=1000.0).contains(&value) {
                return Err(format!(
                    "dicom.stack.{name}: expected a length from 0 to 1000 mm, found {value}"
                ));
            }
        }
        Ok(())
    }
}

impl Default for StackConf {
    fn default() -> Self {
        Self {
            tolerance_mm: 0.05,
            max_gap_mm: 12.0,
        }
    }
}

/// Slices in order along their normal.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Index of each slice's plane, first slice first.
    pub order: Vec<usize>,
    /// Plane of the first slice.
    pub first: Plane,
    /// Distance of each slice from the first along the normal, in mm.
    pub distances_mm: Vec<f64>,
    /// Shift of each slice within its plane against the first, in mm (LPS).
    pub shifts: Vec<[f64; 3]>,
    /// Mean step from slice to slice, in mm (LPS).
    pub step: [f64; 3],
    /// How far a slice lies at most from where equal steps would have it, in mm.
    pub deviation_mm: f64,
    /// Angle between the step and the normal, in degrees.
    pub tilt_deg: f64,
    /// What becomes of it.
    pub spacing: Spacing,
}

impl Stack {
    /// Sorts planes.
    ///
    /// # Errors
    /// `one_slice`, `mixed_planes` (not parallel, or of another spacing), `duplicate_slices`, `missing_slices`.
    pub fn of(planes: &[Plane], conf: &StackConf) -> Result<Self, Fault> {
        let stack = Self::with_holes(planes, conf)?;
        check_gaps(&stack.gaps_mm(), conf)?;
        Ok(stack)
    }

    /// Sorts planes that may have holes between them, or lie on one another.
    ///
    /// # Errors
    /// `one_slice`, `mixed_planes`.
    pub fn with_holes(planes: &[Plane], conf: &StackConf) -> Result<Self, Fault> {
        let Some(first) = planes.first() else {
            return Err(Fault::unsuitable(
                "one_slice",
                "expected several slices, found none",
            ));
        };
        if planes.len() == 1 {
            return Err(Fault::unsuitable(
                "one_slice",
                "expected several slices, found one: nothing tells its step",
            ));
        }
        if let Some(other) = planes.iter().position(|plane| !plane.is_parallel(first)) {
            let message = format!(
                "expected parallel slices of one pixel spacing, found slice {} of {} unlike the first",
                other + 1,
                planes.len()
            );
            return Err(Fault::unsuitable("mixed_planes", message));
        }
        let normal = first.normal();
        let mut order: Vec<usize> = (0..planes.len()).collect();
        order.sort_by(|a, b| planes[*a].distance_mm().total_cmp(&planes[*b].distance_mm()));
        // the directions of all are those of the first, to rounding: one normal for all
        let first = planes[order[0]];
        let offset = |index: &usize| {
            let position = planes[*index].position;
            [0, 1, 2].map(|axis| position[axis] - first.position[axis])
        };
        let offsets: Vec<[f64; 3]> = order.iter().map(offset).collect();
        let distances_mm: Vec<f64> = offsets.iter().map(|offset| dot(*offset, normal)).collect();
        let shifts = offsets.iter().zip(&distances_mm);
        let shifts =
            shifts.map(|(offset, distance)| [0, 1, 2].map(|axis| offset[axis] - distance * normal[axis]));
        let shifts: Vec<[f64; 3]> = shifts.collect();

        let last = offsets[offsets.len() - 1];
        let steps = (offsets.len() - 1) as f64;
        let step = last.map(|part| part / steps);
        let off = |(slice, offset): (usize, &[f64; 3])| {
            let expected = step.map(|part| part * slice as f64);
            let off = [0, 1, 2].map(|axis| offset[axis] - expected[axis]);
            dot(off, off).sqrt()
        };
        let deviation_mm = offsets.iter().enumerate().map(off).fold(0.0, f64::max);
        let shift = |shift: &[f64; 3]| dot(*shift, *shift).sqrt();
        let cosine = (dot(step, normal) / dot(step, step).sqrt()).clamp(-1.0, 1.0);
        let is_tilted = shifts.iter().map(shift).fold(0.0, f64::max)
            > conf.tolerance_mm.max(1e-3 * distances_mm[distances_mm.len() - 1]);
        let spacing = match (deviation_mm > conf.tolerance_mm, is_tilted) {
            (false, false) => Spacing::Regular,
            (false, true) => Spacing::Tilted,
            (true, false) => Spacing::Uneven,
            (true, true) => Spacing::UnevenTilted,
        };
        Ok(Self {
            order,
            first,
            distances_mm,
            shifts,
            step,
            deviation_mm,
            tilt_deg: cosine.acos().to_degrees(),
            spacing,
        })
    }

    /// Returns the map from (column, row, slice) to RAS mm with equal steps; exact for stacks that are regular or
    /// tilted, which shears it.
    pub fn affine(&self) -> Affine {
        self.first.affine(self.step)
    }

    /// Returns the gaps between slices along the normal, in mm.
    pub fn gaps_mm(&self) -> Vec<f64> {
        self.distances_mm
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect()
    }
}

/// Finds slices that lie on one another, and steps that are several of the smallest: holes.
fn check_gaps(gaps: &[f64], conf: &StackConf) -> Result<(), Fault> {
    let smallest = gaps.iter().copied().fold(f64::INFINITY, f64::min);
    let nearest = conf.tolerance_mm.min(0.01);
    let twice = gaps.iter().filter(|gap| **gap <= nearest).count();
    if twice > 0 {
        let message = format!(
            "expected slices at positions of their own, found {twice} of {} where another lies already",
            gaps.len() + 1
        );
        return Err(Fault::unsuitable("duplicate_slices", message));
    }
    let steps: Vec<f64> = gaps.iter().map(|gap| (gap / smallest).round()).collect();
    let is_whole = gaps.iter().zip(&steps).all(|(gap, steps)| {
        // rounding of both ends
        (gap - steps * smallest).abs() <= conf.tolerance_mm.max(1e-3 * gap)
    });
    let single = steps.iter().filter(|steps| **steps == 1.0).count();
    let missing: f64 = steps.iter().map(|steps| steps - 1.0).sum();
    if is_whole && missing > 0.0 && 2 * single >= gaps.len() {
        let message = format!(
            "expected a slice every {smallest:.3} mm, found {missing:.0} missing between {}",
            gaps.len() + 1
        );
        return Err(Fault::unsuitable("missing_slices", message));
    }
    Ok(())
}
