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
use super::linear::{CUT, Rows, Surroundings, linear};

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
        let is_label = |value| value == label;
        let index_of = to_index.after(&self.affine());
        let within @ [right, anterior, superior] = &self.voxels_within(&extent.support_mm(&map.affine));

        // as the map lies in memory: there are more voxels to take from it than to look up
        let Some(ready) = Surroundings::of(&voxels, extent.index_box(), 0, is_label) else {
            let mut mask_within = mask.slice_each_axis_mut(|axis| within[axis.axis.index()].clone().into());
            for ((r, a, s), voxel) in mask_within.indexed_iter_mut() {
                let voxel_of_cube = [right.start + r, anterior.start + a, superior.start + s];
                let index = index_of.apply(voxel_of_cube.map(|index| index as f64));
                *voxel = u8::from(linear(&voxels, index, is_label) >= CUT);
            }
            return mask;
        };
        let mut rows = Rows::new(&ready, &index_of, 2, superior.clone());
        let mask_rows = mask.as_slice_mut().expect("made in its standard order");
        for r in right.clone() {
            for a in anterior.clone() {
                let start = (r * self.size + a) * self.size + superior.start;
                let row = &mut mask_rows[start..][..superior.len()];
                rows.each([r, a, superior.start], |position, all, share| {
                    row[position] = u8::from(all || share() >= CUT);
                });
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
            let end = ((voxel(bounds.max[axis]).floor() + 1.0) as usize).min(self.size);
            first.min(end)..end
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ShapeBuilder as _;

    use super::super::extent::survey;
    use super::super::testing::{Numbers, Turned, in_vertebra, painted, turned};
    use super::*;

    #[test]
    fn a_cut_is_to_the_voxel_what_looking_up_each_voxel_by_itself_gives() {
        let mut numbers = Numbers(3);
        let mut set = 0;
        for round in 0..60 {
            let mut number = |low: f64, high: f64| low + numbers.next() * (high - low);
            let axes = [[1, 2, 3], [-2, -3, 1], [3, -1, -2], [-1, -2, 3], [2, 1, -3]][round % 5];
            // whole millimetres, where points fall on voxels and on their faces; and any
            let spacing_mm = match round % 3 {
                0 => [1.0, 1.0, [1.0, 2.0, 3.0][round / 3 % 3]],
                _ => [0, 1, 2].map(|_| number(0.6, 4.0)),
            };
            // not at all, about one axis, about all
            let degrees = [
                [0.0; 3],
                [number(-40.0, 40.0), 0.0, 0.0],
                [0, 1, 2].map(|_| number(-30.0, 30.0)),
            ][round % 4 % 3];
            let shape = spacing_mm.map(|spacing: f64| (70.0 / spacing) as usize);
            let grid: Turned = (shape, spacing_mm, axes, degrees);
            let middle_mm = [number(-9.0, 9.0).round(), number(-9.0, 9.0), 400.0];
            let affine = turned(grid, middle_mm);
            let map = painted(shape, affine, |point| {
                let label = in_vertebra([0, 1, 2].map(|axis| point[axis] - middle_mm[axis]));
                u16::from(label) * (7 + u16::from(point[0] > middle_mm[0] + 20.0))
            });
            let extent = survey(&map, [7].into_iter()).remove(&7).expect("a label");
            let to_index = affine.inverse().expect("regular");
            let size = [64, 40, 90][round % 3];
            let cube = Cube::around(&extent.edges_mm(&affine), size, [1.0, 1.3][round % 2]);
            let found = cube.cut(&map, &to_index, 7, &extent);
            let index_of = to_index.after(&cube.affine());
            for ((r, a, s), found) in found.indexed_iter() {
                let index = index_of.apply([r, a, s].map(|voxel| voxel as f64));
                let expected = linear(&map.view(), index, |value| value == 7) >= CUT;
                assert_eq!(*found, u8::from(expected), "{grid:?} {:?}", [r, a, s]);
                set += usize::from(*found);
            }
        }
        assert!(set > 1_000_000, "{set}");
    }

    #[test]
    fn a_box_too_large_to_be_made_ready_is_cut_all_the_same() {
        // a block of 13 mm, in voxels of a twentieth of one
        let affine = Affine::axis_aligned([0.05; 3], [0.0; 3]);
        let data = Array3::from_elem((260, 260, 260).f(), 7);
        let map = LabelMap { data, affine };
        let extent = survey(&map, [7].into_iter()).remove(&7).expect("a label");
        assert!(Surroundings::of(&map.view(), extent.index_box(), 0, |value| value == 7).is_none());
        let cube = Cube::around(&extent.edges_mm(&affine), 16, 1.0);
        let cut = cube.cut(&map, &affine.inverse().expect("regular"), 7, &extent);
        let set = cut.map(|voxel| usize::from(*voxel)).sum();
        assert_eq!(set, 13 * 13 * 13);
    }
}
