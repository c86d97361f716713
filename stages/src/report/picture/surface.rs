//! The surface of a mask as a lit body: rays through the voxels, normals from the blurred mask.

use ndarray::{Array3, ArrayView3, Axis};
use rayon::prelude::*;

use super::raster::{Pixels, Raster};

/// Pixels a mm, and rays a pixel along each side.
pub(super) const PX_PER_MM: usize = 4;
const RAYS: usize = 2;

/// Where the viewer stands: behind, this far round to the patient's right and this far up.
const AZIMUTH_DEGREES: f64 = 28.0;
const ELEVATION_DEGREES: f64 = 32.0;

/// Where the light comes from, before it is made a unit: right, up and towards the viewer on the page.
pub(super) const LIGHT: [f64; 3] = [-0.45, 0.55, 0.70];

/// Blur of the mask whose slope gives the normals, in voxels: the steps of voxels fade, slices of several mm do not.
const NORMAL_SD: f64 = 1.4;

/// How far around a place other bone takes the daylight from it, in voxels.
const SHADE_SD: f64 = 4.0;

/// Paper around the body, in mm.
const EDGE_MM: f64 = 2.5;

/// Shortest step along a ray, in voxels.
const STEP: f64 = 0.4;

/// White of the paper is 255: bone stays below, so that its lit edge can be seen.
const BRIGHTEST: f64 = 238.0;

type Vector = [f64; 3];

/// How the body is projected onto the page, without perspective; 1 mm a voxel.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// On the page to the right, up, and out of it to the viewer, in right, anterior, superior.
    right: Vector,
    up: Vector,
    viewer: Vector,
    /// Left, right, lower and upper edge of the page in mm from the middle of the grid.
    page: [f64; 4],
}

impl View {
    /// Returns the view that holds every voxel set in any of the masks, all on one grid.
    pub(super) fn over<'a>(masks: impl Iterator<Item = ArrayView3<'a, u8>>) -> Self {
        let (sin_a, cos_a) = AZIMUTH_DEGREES.to_radians().sin_cos();
        let (sin_e, cos_e) = ELEVATION_DEGREES.to_radians().sin_cos();
        let right = [cos_a, sin_a, 0.0];
        let viewer = [cos_e * sin_a, -cos_e * cos_a, sin_e];
        let up = cross(viewer, right);
        let (mut least, mut most) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for mask in masks {
            let middle = middle(mask.dim());
            for ((i, j, k), _) in mask.indexed_iter().filter(|(_, value)| **value != 0) {
                let place = add([i as f64, j as f64, k as f64], middle, -1.0);
                for (axis, direction) in [right, up].into_iter().enumerate() {
                    let at = dot(place, direction);
                    least[axis] = least[axis].min(at);
                    most[axis] = most[axis].max(at);
                }
            }
        }
        // whole mm, so that a page has whole pixels; no page where no voxel is set
        let edge = |at: f64, margin: f64| {
            if at.is_finite() {
                (at + margin).round()
            } else {
                0.0
            }
        };
        Self {
            right,
            up,
            viewer,
            page: [
                edge(least[0], -EDGE_MM),
                edge(most[0], EDGE_MM),
                edge(least[1], -EDGE_MM),
                edge(most[1], EDGE_MM),
            ],
        }
    }

    /// Returns the page's width and height in mm.
    pub(super) fn size_mm(&self) -> (f64, f64) {
        let [left, right, lower, upper] = self.page;
        (right - left, upper - lower)
    }

    /// Returns where a direction of the body points on the page: right and up.
    pub(super) fn on_page(&self, direction: Vector) -> (f64, f64) {
        (dot(direction, self.right), dot(direction, self.up))
    }

    /// Returns the mask lit by one lamp (Lambert) and by daylight that reaches hollows less, over nothing.
    pub(super) fn render(&self, mask: ArrayView3<'_, u8>) -> Raster {
        let body = Body::of(mask);
        let (width, height) = self.size_mm();
        let [width, height] = [width, height].map(|edge| edge as usize * PX_PER_MM);
        let [left, _, _, upper] = self.page;
        let mut pixels = vec![0_u8; 2 * width * height];
        let rays_per_mm = (PX_PER_MM * RAYS) as f64;
        pixels
            .par_chunks_exact_mut(2 * width)
            .enumerate()
            .for_each(|(row, line)| {
                for (column, pixel) in line.chunks_exact_mut(2).enumerate() {
                    let (mut light, mut hits) = (0.0, 0_u32);
                    for ray in 0..RAYS * RAYS {
                        let x = (column * RAYS + ray % RAYS) as f64 + 0.5;
                        let y = (row * RAYS + ray / RAYS) as f64 + 0.5;
                        let page = [left + x / rays_per_mm, upper - y / rays_per_mm];
                        if let Some(found) = self.look(&body, page) {
                            light += found;
                            hits += 1;
                        }
                    }
                    if hits > 0 {
                        let grey = BRIGHTEST * light / f64::from(hits);
                        let cover = 255.0 * f64::from(hits) / (RAYS * RAYS) as f64;
                        pixel.copy_from_slice(&[grey.round() as u8, cover.round() as u8]);
                    }
                }
            });
        Raster {
            width,
            height,
            pixels: Pixels::GreyAlpha(pixels),
        }
    }

    /// Returns how bright the body is where the ray through that point of the page meets it: 0 to 1.
    fn look(&self, body: &Body, [x, y]: [f64; 2]) -> Option<f64> {
        let on_plane = add(add(middle(body.mask.dim()), self.right, x), self.up, y);
        let place = body.met_by(on_plane, self.viewer)?;
        let normal = body.normal(place).unwrap_or(self.viewer);
        let [lx, ly, lz] = LIGHT;
        let lamp = add(add(add([0.0; 3], self.right, lx), self.up, ly), self.viewer, lz);
        let lambert = (dot(normal, lamp) / dot(lamp, lamp).sqrt()).max(0.0);
        // what lies over the place and about it; 0.2 of it is the surface itself
        let covered = sample(&body.shade, add(place, normal, 0.75 * SHADE_SD));
        let daylight = 1.0 - ((covered - 0.2) / 0.6).clamp(0.0, 1.0);
        Some((0.34 + 0.66 * lambert) * (0.50 + 0.50 * daylight))
    }
}

/// A mask made ready for rays.
struct Body {
    mask: Array3<f32>,
    /// How many cells away the nearest one is in which there is something to meet.
    distance: Array3<u8>,
    slope: Array3<f32>,
    shade: Array3<f32>,
}

impl Body {
    fn of(mask: ArrayView3<'_, u8>) -> Self {
        let distance = distance(mask);
        let mask = mask.mapv(|value| f32::from(u8::from(value != 0)));
        Self {
            slope: blurred(&mask, NORMAL_SD),
            shade: blurred(&mask, SHADE_SD),
            mask,
            distance,
        }
    }

    /// Returns where a ray that comes from the viewer through `point` first meets the mask, interpolated linearly and
    /// cut at one half: nothing is lost, not even a single voxel.
    fn met_by(&self, point: Vector, viewer: Vector) -> Option<Vector> {
        // part of the line inside the grid, by how far before the point
        let (mut far, mut near) = (f64::NEG_INFINITY, f64::INFINITY);
        for (axis, count) in self.mask.shape().iter().enumerate() {
            let last = *count as f64 - 1.0;
            let ends = [-point[axis] / viewer[axis], (last - point[axis]) / viewer[axis]];
            far = far.max(ends[0].min(ends[1]));
            near = near.min(ends[0].max(ends[1]));
        }
        let mut before = near;
        let mut at = near;
        while at >= far {
            let place = add(point, viewer, at);
            let cell = place.map(|part| part.max(0.0) as usize);
            let distance = self.distance.get(cell).copied().unwrap_or(0);
            if distance == 0 && sample(&self.mask, place) >= 0.5 {
                let (mut outside, mut inside) = (before, at);
                for _ in 0..6 {
                    let middle = (outside + inside) / 2.0;
                    if sample(&self.mask, add(point, viewer, middle)) >= 0.5 {
                        inside = middle;
                    } else {
                        outside = middle;
                    }
                }
                return Some(add(point, viewer, inside));
            }
            before = at;
            // a step by one less than the distance ends short of the nearest cell that holds something
            at -= (f64::from(distance) - 1.0).max(STEP);
        }
        None
    }

    /// Returns the outward normal, or `None` where the blurred mask is level.
    fn normal(&self, place: Vector) -> Option<Vector> {
        let along = |axis: usize| {
            let mut step = [0.0; 3];
            step[axis] = 1.0;
            sample(&self.slope, add(place, step, -1.0)) - sample(&self.slope, add(place, step, 1.0))
        };
        let downhill = [along(0), along(1), along(2)];
        let length = dot(downhill, downhill).sqrt();
        (length > 1e-6).then(|| downhill.map(|part| part / length))
    }
}

/// Returns, for the cell between voxel (i, j, k) and the next along each axis, how many cells away the nearest one is
/// that has a corner set, along the axis where they are farthest apart: 0 for that cell itself, 255 for none.
fn distance(mask: ArrayView3<'_, u8>) -> Array3<u8> {
    let corner = |index: [usize; 3]| mask.get(index).is_some_and(|value| *value != 0);
    let mut distance = Array3::from_shape_fn(mask.dim(), |(i, j, k)| {
        let holds = (0..8).any(|n| corner([i + (n & 1), j + ((n >> 1) & 1), k + (n >> 2)]));
        if holds { 0 } else { u8::MAX }
    });
    // the largest of three distances can be sought along one axis after the other
    for axis in 0..3 {
        for mut lane in distance.lanes_mut(Axis(axis)) {
            let source = lane.to_vec();
            for (index, nearest) in lane.iter_mut().enumerate() {
                let mut step = 1;
                while step < *nearest {
                    let below = index.checked_sub(step.into()).and_then(|at| source.get(at));
                    let beyond = source.get(index + usize::from(step));
                    for other in [below, beyond].into_iter().flatten() {
                        *nearest = (*nearest).min(step.max(*other));
                    }
                    step += 1;
                }
            }
        }
    }
    distance
}

/// Returns the value between voxels, linearly; 0 outside.
fn sample(volume: &Array3<f32>, place: Vector) -> f64 {
    let floor = place.map(f64::floor);
    let mut sum = 0.0;
    for corner in 0..8_usize {
        let (mut weight, mut index) = (1.0, [0; 3]);
        for axis in 0..3 {
            let up = (corner >> axis) & 1;
            let part = place[axis] - floor[axis];
            weight *= if up == 1 { part } else { 1.0 - part };
            let at = floor[axis] + up as f64;
            index[axis] = if at < 0.0 { usize::MAX } else { at as usize };
        }
        if weight > 0.0 {
            sum += weight * volume.get(index).copied().map_or(0.0, f64::from);
        }
    }
    sum
}

/// Returns the volume blurred by a Gaussian of that many voxels, cut at three standard deviations; 0 outside.
fn blurred(volume: &Array3<f32>, sd: f64) -> Array3<f32> {
    let reach = (3.0 * sd).ceil() as usize;
    let taps: Vec<f64> = (0..=2 * reach)
        .map(|tap| (-0.5 * ((tap as f64 - reach as f64) / sd).powi(2)).exp())
        .collect();
    let sum: f64 = taps.iter().sum();
    let taps: Vec<f32> = taps.iter().map(|weight| (weight / sum) as f32).collect();
    let mut blurred = volume.clone();
    for axis in 0..3 {
        for mut lane in blurred.lanes_mut(Axis(axis)) {
            let mut padded = vec![0.0; reach];
            padded.extend(lane.iter());
            padded.resize(padded.len() + reach, 0.0);
            for (value, around) in lane.iter_mut().zip(padded.windows(taps.len())) {
                *value = taps
                    .iter()
                    .zip(around)
                    .map(|(weight, value)| weight * value)
                    .sum();
            }
        }
    }
    blurred
}

/// Returns the middle of a grid in voxels.
fn middle((i, j, k): (usize, usize, usize)) -> Vector {
    [i, j, k].map(|count| (count as f64 - 1.0) / 2.0)
}

fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: Vector, b: Vector) -> Vector {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

/// Returns `start + length · direction`.
fn add(start: Vector, direction: Vector, length: f64) -> Vector {
    [0, 1, 2].map(|axis| start[axis] + length * direction[axis])
}

#[cfg(test)]
mod tests;
