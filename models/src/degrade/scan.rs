//! One thick-slice scan of a spine, and the labels as somebody would draw them on its slices.

use std::ops::Range;

use ndarray::{Array3, ArrayView2, ArrayView3, ArrayViewMut3, Axis, Slice, Zip};
use rand::{Rng, RngExt as _};

use super::frame::Extent;
use super::smooth::{blur_slices, smooth_noise};
use crate::seed::{derive, generator};

/// Distance between slices, in mm.
const THICKNESS_MM: [f64; 2] = [3.0, 5.5];
/// Half the field of view along left–right, in mm.
const HALF_VIEW_MM: [f64; 2] = [22.0, 34.0];
/// How far the field of view's centre may lie off the spine's, in mm.
const OFF_CENTRE_MM: [f64; 2] = [-3.0, 3.0];
/// Standard deviation of the slice profile, in slice thicknesses (full width at half maximum: 0.94).
const PROFILE_SD: f64 = 0.4;
/// Where the slice profile ends, in slice thicknesses.
const PROFILE_REACH: f64 = 1.2;
/// Standard deviation of the blur within a slice, in mm.
const IN_PLANE_SD_MM: f64 = 1.3;
/// Share of bone from which on a voxel is called bone: above one half, so that labels stay inside the bone.
const THRESHOLD: [f64; 2] = [0.62, 0.9];
/// Least threshold, however the noise falls: keeps voxels outside the bone few.
const THRESHOLD_LEAST: f32 = 0.3;
/// Greatest threshold: what is bone all around, like the middle of the vertebral body, is always drawn.
const THRESHOLD_GREATEST: f32 = 0.95;
/// Standard deviation of the threshold's smooth jitter.
const JITTER_SD: f32 = 0.18;
/// Size of the jitter's grains within a slice, in mm.
const JITTER_GRAIN_MM: [f64; 2] = [4.0, 9.0];
/// Size of the jitter's grains along left–right, in slices.
const JITTER_GRAIN_SLICES: f64 = 1.5;
/// How much the threshold rises per standard deviation of the drop-out noise above its level.
const DROP_OUT_GAIN: f32 = 0.5;
/// Level from which on the drop-out noise counts, in standard deviations.
const DROP_OUT_LEVEL: f32 = 0.8;
/// Size of drop-outs within a slice, in mm.
const DROP_OUT_GRAIN_MM: f64 = 14.0;
/// Size of drop-outs along left–right, in slices.
const DROP_OUT_GRAIN_SLICES: f64 = 4.0;

/// One scan: where its slices lie along left–right, and how its labels are drawn.
///
/// Positions are in mm from the left border of the grid's first voxel: voxel `i` covers `i..i + 1` times the spacing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    /// Distance between slices.
    pub(super) thickness_mm: f64,
    /// Where the middle of the leftmost slice lies.
    pub(super) first_mm: f64,
    /// Number of slices.
    pub(super) slices: usize,
    view_mm: [f64; 2],
    threshold: f32,
    jitter_grain_mm: f64,
}

impl Scan {
    /// Draws a scan about the middle of the extents, or of the grid if there are none.
    pub(super) fn over(extents: &[Option<Extent>], voxels: usize, spacing_mm: f64, seed: u64) -> Self {
        let middles = extents
            .iter()
            .flatten()
            .map(|extent| (extent.0[0].start + extent.0[0].end) as f64 / 2.0);
        let count = middles.clone().count();
        let middle = if count == 0 {
            voxels as f64 / 2.0
        } else {
            middles.sum::<f64>() / count as f64
        };

        let mut rng = generator(derive(seed, "scan"));
        let mut draw = |range: [f64; 2]| range[0] + (range[1] - range[0]) * rng.random::<f64>();
        let thickness_mm = draw(THICKNESS_MM).max(spacing_mm);
        let phase_mm = thickness_mm * draw([0.0, 1.0]);
        let half_view_mm = draw(HALF_VIEW_MM);
        let centre_mm = middle * spacing_mm + draw(OFF_CENTRE_MM);
        Self {
            thickness_mm,
            first_mm: centre_mm - half_view_mm + phase_mm,
            slices: ((2.0 * half_view_mm - phase_mm) / thickness_mm) as usize + 1,
            view_mm: [centre_mm - half_view_mm, centre_mm + half_view_mm],
            threshold: draw(THRESHOLD) as f32,
            jitter_grain_mm: draw(JITTER_GRAIN_MM),
        }
    }

    fn centre_mm(&self, slice: usize) -> f64 {
        self.first_mm + self.thickness_mm * slice as f64
    }

    /// Returns the slice that shows voxel `plane`, if the field of view reaches that far.
    pub(super) fn slice_at(&self, plane: usize, spacing_mm: f64) -> Option<usize> {
        let position_mm = (plane as f64 + 0.5) * spacing_mm;
        if position_mm < self.view_mm[0] || position_mm > self.view_mm[1] {
            return None;
        }
        let slice = ((position_mm - self.first_mm) / self.thickness_mm).round();
        (slice >= 0.0 && slice < self.slices as f64).then_some(slice as usize)
    }

    /// Returns how much of each slice comes from each of the grid's planes, the sum over the planes being one.
    fn profiles(&self, planes: usize, spacing_mm: f64) -> Vec<Vec<f32>> {
        let mut profiles = Vec::with_capacity(self.slices);
        for slice in 0..self.slices {
            let mut profile: Vec<f64> = Vec::with_capacity(planes);
            for plane in 0..planes {
                let position_mm = (plane as f64 + 0.5) * spacing_mm;
                let distance = (position_mm - self.centre_mm(slice)) / self.thickness_mm;
                let reached = distance.abs() <= PROFILE_REACH;
                profile.push(if reached {
                    (-0.5 * (distance / PROFILE_SD).powi(2)).exp()
                } else {
                    0.0
                });
            }
            let sum: f64 = profile.iter().sum();
            let share = |weight: &f64| if sum > 0.0 { (weight / sum) as f32 } else { 0.0 };
            profiles.push(profile.iter().map(share).collect());
        }
        profiles
    }
}

/// A label as drawn on a scan's slices: a window of rows and columns (anterior, superior) within each of them.
pub(super) struct Drawn {
    bone: Array3<bool>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Drawn {
    /// Draws the label of which `extent` holds all voxels.
    pub(super) fn of<T: Copy>(
        voxels: ArrayView3<'_, T>,
        extent: &Extent,
        is_label: impl Fn(T) -> bool,
        scan: &Scan,
        spacing_mm: [f64; 3],
        rng: &mut impl Rng,
    ) -> Self {
        let (planes, row_end, column_end) = voxels.dim();
        let [plane_mm, row_mm, column_mm] = spacing_mm;
        let [along, across, up] = &extent.0;
        let rows = widened(across, row_mm, row_end);
        let columns = widened(up, column_mm, column_end);

        let mut share = Array3::<f32>::zeros((scan.slices, rows.len(), columns.len()));
        let profiles = scan.profiles(planes, plane_mm);
        for plane in along.clone() {
            let window = cropped(voxels.index_axis(Axis(0), plane), &rows, &columns);
            let bone = window.mapv(|value| f32::from(u8::from(is_label(value))));
            for (profile, mut slice) in profiles.iter().zip(share.axis_iter_mut(Axis(0))) {
                if profile[plane] > 0.0 {
                    slice.scaled_add(profile[plane], &bone);
                }
            }
        }
        blur_slices(&mut share, [IN_PLANE_SD_MM / row_mm, IN_PLANE_SD_MM / column_mm]);

        let shape = [scan.slices, rows.len(), columns.len()];
        let grain = |slices: f64, mm: f64| [slices, mm / row_mm, mm / column_mm];
        let jitter = smooth_noise(rng, shape, grain(JITTER_GRAIN_SLICES, scan.jitter_grain_mm));
        let drop_out = smooth_noise(rng, shape, grain(DROP_OUT_GRAIN_SLICES, DROP_OUT_GRAIN_MM));
        let mut bone = Array3::from_elem(share.raw_dim(), false);
        Zip::from(&mut bone)
            .and(&share)
            .and(&jitter)
            .and(&drop_out)
            .for_each(|bone, share, jitter, drop_out| {
                let missing = DROP_OUT_GAIN * (drop_out - DROP_OUT_LEVEL).max(0.0);
                *bone = *share
                    > (scan.threshold + JITTER_SD * jitter + missing)
                        .clamp(THRESHOLD_LEAST, THRESHOLD_GREATEST);
            });
        Self { bone, rows, columns }
    }

    /// Writes `label` wherever the slice that a plane shows has bone and nothing is written yet.
    pub(super) fn paint<T: Copy + Default + PartialEq>(
        &self,
        target: &mut ArrayViewMut3<'_, T>,
        label: T,
        slice_at: impl Fn(usize) -> Option<usize>,
    ) {
        for (plane, mut voxels) in target.axis_iter_mut(Axis(0)).enumerate() {
            let Some(slice) = slice_at(plane) else { continue };
            let mut window = voxels.slice_axis_mut(Axis(0), Slice::from(self.rows.clone()));
            let window = window.slice_axis_mut(Axis(1), Slice::from(self.columns.clone()));
            Zip::from(window)
                .and(self.bone.index_axis(Axis(0), slice))
                .for_each(|voxel, bone| {
                    if *bone && *voxel == T::default() {
                        *voxel = label;
                    }
                });
        }
    }
}

/// Returns the range with a margin for the blur, within `0..end`.
fn widened(range: &Range<usize>, spacing_mm: f64, end: usize) -> Range<usize> {
    let margin = (2.0 * IN_PLANE_SD_MM / spacing_mm).ceil().min(end as f64) as usize;
    range.start.saturating_sub(margin)..(range.end + margin).min(end)
}

fn cropped<'a, T>(
    plane: ArrayView2<'a, T>,
    rows: &Range<usize>,
    columns: &Range<usize>,
) -> ArrayView2<'a, T> {
    let mut window = plane;
    window.slice_axis_inplace(Axis(0), Slice::from(rows.clone()));
    window.slice_axis_inplace(Axis(1), Slice::from(columns.clone()));
    window
}
