//! Resampling a mask through an affine map and an elastic displacement in one step.

use ndarray::{Array3, ArrayView3};
use rand::{Rng, RngExt as _};
use rand_distr::StandardNormal;
use schemas::Affine;

use crate::degrade::frame::{Extent, extents};

/// Largest displacement that the warped box has room for, in voxels.
const MARGIN_MOST: f64 = 16.0;
/// Most cells of the displacement's lattice along an axis.
const CELLS_MOST: usize = 32;

pub(super) fn extent_of(mask: ArrayView3<'_, u8>) -> Option<Extent> {
    extents(mask, 1, |value| (value != 0).then_some(0))
        .pop()
        .flatten()
}

/// Copies every set voxel to its place from `start` on, where that lies within the target.
pub(super) fn place(source: ArrayView3<'_, u8>, start: [i64; 3], target: &mut Array3<u8>) {
    for ((i, j, k), value) in source.indexed_iter() {
        if *value == 0 {
            continue;
        }
        let place = [i, j, k].map(|index| index as i64);
        let [i, j, k] =
            [0, 1, 2].map(|axis| usize::try_from(place[axis] + start[axis]).unwrap_or(usize::MAX));
        if let Some(voxel) = target.get_mut([i, j, k]) {
            *voxel = 1;
        }
    }
}

/// A 3×3 matrix by rows.
pub(super) type Matrix = [[f64; 3]; 3];

pub(super) fn product(left: &Matrix, right: &Matrix) -> Matrix {
    let entry = |row: usize, column: usize| (0..3).map(|k| left[row][k] * right[k][column]).sum();
    [0, 1, 2].map(|row| [0, 1, 2].map(|column| entry(row, column)))
}

fn times(matrix: &Matrix, point: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|row| (0..3).map(|k| matrix[row][k] * point[k]).sum())
}

/// Returns the inverse, or `None` of a singular or non-finite matrix.
fn inverse(matrix: &Matrix) -> Option<Matrix> {
    let mut affine = Affine::axis_aligned([1.0; 3], [0.0; 3]);
    for (row, entries) in matrix.iter().enumerate() {
        affine.0[row][..3].copy_from_slice(entries);
    }
    let inverse = affine.inverse()?.0;
    Some([0, 1, 2].map(|row| [inverse[row][0], inverse[row][1], inverse[row][2]]))
}

/// The voxels of a mask within its bounding box, with one empty voxel around.
pub(super) struct Bone {
    shape: [usize; 3],
    padded: Array3<u8>,
}

impl Bone {
    pub(super) fn of(mask: ArrayView3<'_, u8>) -> Option<Self> {
        let extent = extent_of(mask)?;
        let shape = [0, 1, 2].map(|axis: usize| extent.0[axis].len());
        let mut padded = Array3::zeros(shape.map(|voxels| voxels + 2));
        let start = [0, 1, 2].map(|axis: usize| 1 - extent.0[axis].start as i64);
        place(mask, start, &mut padded);
        Some(Self { shape, padded })
    }

    /// Returns the middle of the bounding box as a padded index.
    fn middle(&self) -> [f64; 3] {
        self.shape.map(|voxels| (voxels as f64 + 1.0) / 2.0)
    }

    /// Returns how far the mapped voxels reach from the mapped middle along each axis.
    pub(super) fn span(&self, forward: &Matrix) -> [f64; 3] {
        let middle = self.middle();
        let mut span = [0.5_f64; 3];
        for ((i, j, k), value) in self.padded.indexed_iter() {
            if *value != 0 {
                let offset = [i as f64 - middle[0], j as f64 - middle[1], k as f64 - middle[2]];
                for (reach, mapped) in span.iter_mut().zip(times(forward, offset)) {
                    *reach = reach.max(mapped.abs() + 0.5);
                }
            }
        }
        span
    }

    /// Returns the linear interpolation at a padded index.
    fn at(&self, place: [f64; 3]) -> f64 {
        let [_, rows, columns] = self.shape.map(|voxels| voxels + 2);
        let inside = (0..3).all(|axis| place[axis] >= 0.0 && place[axis] < (self.shape[axis] + 1) as f64);
        let Some(voxels) = self.padded.as_slice().filter(|_| inside) else {
            return 0.0;
        };
        let [i, j, k] = place.map(|position| position as usize);
        let first = (i * rows + j) * columns + k;
        let (row, plane) = (columns, rows * columns);
        let corner = |offset: usize| voxels[first + offset];
        let corners = [0, 1, row, row + 1, plane, plane + 1, plane + row, plane + row + 1].map(corner);
        match corners.iter().sum() {
            0 => return 0.0,
            8 => return 1.0,
            _ => {}
        }
        let [x, y, z] = [place[0] - i as f64, place[1] - j as f64, place[2] - k as f64];
        let value = corners.map(f64::from);
        let mix = |low: f64, high: f64, share: f64| low + share * (high - low);
        let near = mix(mix(value[0], value[1], z), mix(value[2], value[3], z), y);
        let far = mix(mix(value[4], value[5], z), mix(value[6], value[7], z), y);
        mix(near, far, x)
    }
}

/// Smooth random displacement, in voxels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elastic {
    /// Standard deviation along each axis.
    pub(super) sd: f64,
    /// Distance between the nodes at which it is drawn.
    pub(super) spacing: f64,
}

/// Where each voxel of a warped box comes from: trilinear between nodes that hold a padded index of the bone.
pub(super) struct Field {
    shape: [usize; 3],
    cells: [usize; 3],
    nodes: Array3<[f64; 3]>,
}

impl Field {
    /// Makes the field of a box around the origin that has room for the mapped bone and its displacement.
    ///
    /// Returns `None` of a map without an inverse. Along each axis the box is at most `most` voxels and the displacement's
    /// room long, and has an odd or even number of voxels as the bone has, so that an identity map meets the
    /// bone's own voxels.
    pub(super) fn new(
        bone: &Bone,
        forward: &Matrix,
        elastic: Elastic,
        most: [usize; 3],
        rng: &mut impl Rng,
    ) -> Option<Self> {
        let backward = inverse(forward)?;
        let span = bone.span(forward);
        let margin = (3.0 * elastic.sd).clamp(0.0, MARGIN_MOST);
        let shape = [0, 1, 2].map(|axis: usize| {
            let mapped = (2.0 * span[axis]).min(most[axis] as f64);
            let least = (mapped + 2.0 * margin).ceil().max(1.0) as usize;
            least + (least + bone.shape[axis]) % 2
        });
        let cells = shape.map(|voxels| {
            let cells = (voxels as f64 / elastic.spacing).round() as usize;
            cells.clamp(1, CELLS_MOST)
        });
        let middle = bone.middle();
        let nodes = Array3::from_shape_fn(cells.map(|cells| cells + 1), |(i, j, k)| {
            let node = [i, j, k];
            let offset = [0, 1, 2].map(|axis: usize| {
                let last = (shape[axis] - 1) as f64;
                last * node[axis] as f64 / cells[axis] as f64 - last / 2.0
            });
            let source = times(&backward, offset);
            [0, 1, 2].map(|axis: usize| {
                let displacement: f64 = rng.sample(StandardNormal);
                middle[axis] + source[axis] + elastic.sd * displacement
            })
        });
        Some(Self { shape, cells, nodes })
    }

    pub(super) fn warp(&self, bone: &Bone) -> Array3<u8> {
        let steps = [0, 1, 2].map(|axis: usize| self.steps(axis));
        let mut warped = Array3::zeros(self.shape);
        let mix = |low: [f64; 3], high: [f64; 3], share: f64| {
            [0, 1, 2].map(|axis: usize| low[axis] + share * (high[axis] - low[axis]))
        };
        let mut line = vec![[0.0; 3]; self.cells[2] + 1];
        for (mut plane, (i, x)) in warped.outer_iter_mut().zip(&steps[0]) {
            for (mut row, (j, y)) in plane.outer_iter_mut().zip(&steps[1]) {
                for (k, node) in line.iter_mut().enumerate() {
                    let near = mix(self.nodes[[*i, *j, k]], self.nodes[[*i, j + 1, k]], *y);
                    let far = mix(self.nodes[[i + 1, *j, k]], self.nodes[[i + 1, j + 1, k]], *y);
                    *node = mix(near, far, *x);
                }
                for (voxel, (k, z)) in row.iter_mut().zip(&steps[2]) {
                    *voxel = u8::from(bone.at(mix(line[*k], line[k + 1], *z)) >= 0.5);
                }
            }
        }
        warped
    }

    /// Returns the cell of each voxel along an axis and the place within it.
    fn steps(&self, axis: usize) -> Vec<(usize, f64)> {
        let cells = self.cells[axis];
        let last = (self.shape[axis] - 1).max(1) as f64;
        let step = |index: usize| {
            let position = index as f64 * cells as f64 / last;
            let cell = (position as usize).min(cells - 1);
            (cell, position - cell as f64)
        };
        (0..self.shape[axis]).map(step).collect()
    }
}
