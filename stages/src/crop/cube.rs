//! The cube around one vertebra: where it lies, what of a label falls into it.
//!
//! A cube is RAS-aligned. Its middle is the middle of the label's bounding box, moved by at most half a voxel
//! along each axis so that the box's lower faces fall on the faces of the cube's voxels. On a scan along the
//! axes, whose spacing is a whole multiple of the cube's, each cube voxel then lies within one scan voxel,
//! and cutting loses nothing. Without that, every second box of a 1 mm scan would be sampled half-way between
//! voxels, where interpolation knows only ties.

use ndarray::Array3;
use schemas::{Affine, LabelMap};

use super::extent::{Bounds, Extent};
use super::linear::{CUT, linear};

/// A cube of voxels in world axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cube {
    size: usize,
    spacing_mm: f64,
    /// Centre of voxel (0, 0, 0).
    origin_mm: [f64; 3],
}

/// Lengths below this share of a voxel are rounding of the affine, not geometry.
const ROUNDING: f64 = 1e-3;

impl Cube {
    /// Returns the cube around a box.
    pub fn around(bounds: &Bounds, size: usize, spacing_mm: f64) -> Self {
        let corner_mm = std::array::from_fn(|axis| {
            let extent = (bounds.max[axis] - bounds.min[axis]) / spacing_mm;
            let below = (size as f64 - extent) / 2.0;
            // an odd number of voxels to share ends half-way; let rounding not decide which side gets the
            // greater part
            let below = (below - ROUNDING).round();
            bounds.min[axis] - spacing_mm * below
        });
        Self::at(corner_mm, size, spacing_mm)
    }

    /// Returns the cube whose lowest, leftmost, most posterior corner is given.
    pub fn at(corner_mm: [f64; 3], size: usize, spacing_mm: f64) -> Self {
        Self {
            size,
            spacing_mm,
            origin_mm: corner_mm.map(|corner| corner + spacing_mm / 2.0),
        }
    }

    /// Returns the map from voxel index to RAS mm.
    pub fn affine(&self) -> Affine {
        Affine::axis_aligned([self.spacing_mm; 3], self.origin_mm)
    }

    /// Returns whether the box reaches into the outermost layer of voxels, or past it.
    pub fn is_touched_by(&self, bounds: &Bounds) -> bool {
        self.is_within_of_edge(bounds, 1.0 - ROUNDING)
    }

    /// Returns whether the box reaches out of the cube.
    pub fn is_left_by(&self, bounds: &Bounds) -> bool {
        self.is_within_of_edge(bounds, -ROUNDING)
    }

    fn is_within_of_edge(&self, bounds: &Bounds, voxels: f64) -> bool {
        (0..3).any(|axis| {
            let from_edge = |world: f64| (world - self.origin_mm[axis]) / self.spacing_mm + 0.5;
            from_edge(bounds.min[axis]) < voxels || from_edge(bounds.max[axis]) > self.size as f64 - voxels
        })
    }

    /// Returns the label's mask on the cube's grid: interpolated linearly, cut at one half.
    ///
    /// Nothing smooths the label before: a scan much finer than the cube is sampled point by point.
    pub fn cut(&self, map: &LabelMap, to_index: &Affine, label: u16, extent: &Extent) -> Array3<u8> {
        let mut mask = Array3::zeros((self.size, self.size, self.size));
        let voxels = map.view();
        let index_of = to_index.after(&self.affine());
        let [right, anterior, superior] = self.voxels_within(&extent.support_mm(&map.affine));
        for r in right {
            for a in anterior.clone() {
                for s in superior.clone() {
                    let index = index_of.apply([r, a, s].map(|voxel| voxel as f64));
                    if linear(&voxels, index, |value| value == label) >= CUT {
                        mask[[r, a, s]] = 1;
                    }
                }
            }
        }
        mask
    }

    /// Returns the voxels whose centres lie within the box.
    fn voxels_within(&self, bounds: &Bounds) -> [std::ops::Range<usize>; 3] {
        std::array::from_fn(|axis| {
            let voxel = |world: f64| (world - self.origin_mm[axis]) / self.spacing_mm;
            // `as` saturates: a box off the cube gives an empty range
            let first = voxel(bounds.min[axis]).ceil() as usize;
            let end = (voxel(bounds.max[axis]).floor() + 1.0) as usize;
            first..end.min(self.size)
        })
    }
}
