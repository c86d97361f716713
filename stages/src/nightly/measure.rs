//! One cut vertebra, and one scan, in numbers: what gates, drift and the search for doublets go by.

use ndarray::{Array3, ArrayView3, Axis, s};
use schemas::Flag;
use schemas::payload::CroppedVertebra;
use schemas::rows::{LineageRow, SHAPE_LENGTH};
use schemas::vertebra::Flags;
use schemas::volume::Grid;

use crate::crop::pieces;

/// A mask that is to teach, in its cube. For a case with a reference it is cut from that, as a case of its own.
#[derive(Debug, Clone, Copy)]
pub struct Teaching<'a> {
    /// 0 or 1 per voxel of 1 mm; axes right, anterior, superior.
    pub mask: ArrayView3<'a, u8>,
    /// Centre of the label's bounding box in its scan, RAS mm.
    pub centre_mm: [f64; 3],
    /// Volume of the label in its scan.
    pub volume_mm3: f64,
    /// What the cut has noticed.
    pub flags: &'a Flags,
}

impl<'a> From<&'a CroppedVertebra> for Teaching<'a> {
    fn from(vertebra: &'a CroppedVertebra) -> Self {
        Self {
            mask: vertebra.input.mask.view(),
            centre_mm: vertebra.centre_mm,
            volume_mm3: vertebra.source_volume_mm3,
            flags: &vertebra.flags,
        }
    }
}

/// The numbers of one mask.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Volume of the label in its scan.
    pub volume_mm3: f64,
    /// Extent of the mask in its cube: right, anterior, superior; all 0 for an empty one.
    pub extent_mm: [f64; 3],
    /// Share of the mask's voxels in its largest 26-connected piece.
    pub largest_piece: f64,
    /// Background voxels that the mask encloses (6-connected), as a share of its own.
    pub cavities: f64,
    /// Centre of the label's bounding box in its scan, RAS mm.
    pub centre_mm: [f64; 3],
    /// The label touches the border of its scan.
    pub touches_border: bool,
    /// The label reaches the border of its cube.
    pub touches_cube: bool,
    /// Share that the mask fills of each of 8 × 8 × 8 blocks of 16 mm around its centroid, 255 for all; S runs fastest,
    /// then A. Where the mask lies in its cube does not count.
    pub shape: Vec<u8>,
}

impl Measured {
    /// Returns whether the mask has no voxel in its cube.
    pub fn is_empty(&self) -> bool {
        self.extent_mm[0] <= 0.0
    }

    /// Writes the numbers into a row.
    pub fn put(&self, row: &mut LineageRow) {
        row.volume_mm3 = Some(self.volume_mm3);
        row.extent_mm = Some(self.extent_mm);
        row.largest_piece = Some(self.largest_piece);
        row.cavities = Some(self.cavities);
        row.centre_mm = Some(self.centre_mm);
        row.shape = Some(self.shape.clone());
    }
}

/// Measures one mask.
pub fn measure(teaching: &Teaching<'_>) -> Measured {
    let mut measured = Measured {
        volume_mm3: teaching.volume_mm3,
        extent_mm: [0.0; 3],
        largest_piece: 0.0,
        cavities: 0.0,
        centre_mm: teaching.centre_mm,
        touches_border: teaching.flags.contains(&Flag::TouchesBorder),
        touches_cube: teaching.flags.contains(&Flag::TouchesCube),
        shape: vec![0; SHAPE_LENGTH],
    };
    let mask = teaching.mask;
    let Some(occupied) = Occupied::of(mask) else {
        return measured;
    };
    let [
        [right, anterior, superior],
        [right_last, anterior_last, superior_last],
    ] = occupied.index_box;
    let within = mask.slice(s![
        right..=right_last,
        anterior..=anterior_last,
        superior..=superior_last
    ]);
    let (size_right, size_anterior, size_superior) = within.dim();
    let voxels = occupied.voxels as f64;
    measured.extent_mm = [size_right as f64, size_anterior as f64, size_superior as f64];
    let largest = pieces::sizes(within).into_iter().next().unwrap_or_default();
    measured.largest_piece = largest as f64 / voxels;
    measured.cavities = enclosed(within) as f64 / voxels;
    measured.shape = shape(mask, &occupied);
    measured
}

/// Where the voxels of a mask lie.
struct Occupied {
    voxels: usize,
    /// First and last index along each axis.
    index_box: [[usize; 3]; 2],
    /// Mean index along each axis.
    centroid: [f64; 3],
}

impl Occupied {
    fn of(mask: ArrayView3<'_, u8>) -> Option<Self> {
        let mut voxels = 0_usize;
        let mut sums = [0_usize; 3];
        let (mut first, mut last) = ([usize::MAX; 3], [0_usize; 3]);
        for (right, plane) in mask.outer_iter().enumerate() {
            for (anterior, row) in plane.outer_iter().enumerate() {
                for (superior, _) in row.iter().enumerate().filter(|(_, voxel)| **voxel != 0) {
                    voxels += 1;
                    let index = [right, anterior, superior];
                    for axis in 0..3 {
                        sums[axis] += index[axis];
                        first[axis] = first[axis].min(index[axis]);
                        last[axis] = last[axis].max(index[axis]);
                    }
                }
            }
        }
        (voxels > 0).then(|| Self {
            voxels,
            index_box: [first, last],
            centroid: sums.map(|sum| sum as f64 / voxels as f64),
        })
    }
}

/// Returns the number of background voxels that no way over faces of background voxels leads out of. The mask fills the
/// box that it comes in to all sides: beyond it there is nothing but background.
fn enclosed(within: ArrayView3<'_, u8>) -> usize {
    let (size_i, size_j, size_k) = within.dim();
    // with a layer of background around, from which all that is open can be reached
    let mut closed = Array3::<u8>::zeros((size_i + 2, size_j + 2, size_k + 2));
    closed
        .slice_mut(s![1..=size_i, 1..=size_j, 1..=size_k])
        .zip_mut_with(&within, |closed, voxel| *closed = u8::from(*voxel != 0));
    closed[[0, 0, 0]] = 1;
    let mut open = vec![[0_usize; 3]];
    while let Some(here) = open.pop() {
        for axis in 0..3 {
            let neighbours = [here[axis].checked_sub(1), Some(here[axis] + 1)];
            for position in neighbours.into_iter().flatten() {
                let mut there = here;
                there[axis] = position;
                if let Some(voxel) = closed.get_mut(there).filter(|voxel| **voxel == 0) {
                    *voxel = 1;
                    open.push(there);
                }
            }
        }
    }
    closed.iter().filter(|voxel| **voxel == 0).count()
}

/// Blocks of a shape along each axis.
const BLOCKS: usize = 8;

/// Edge of a block, in voxels.
const BLOCK: f64 = 16.0;

/// A block and the share of a voxel that lies in it.
type Share = (usize, f64);

/// Returns how full each block around the mask's centroid is. Voxels that lie across a border of blocks count to both, so
/// that a mask moved by a part of a voxel has almost the same shape; by whole voxels, the same.
fn shape(mask: ArrayView3<'_, u8>, occupied: &Occupied) -> Vec<u8> {
    let shares = [0, 1, 2].map(|axis| shares(mask.len_of(Axis(axis)), occupied.centroid[axis]));
    let [first, last] = occupied.index_box;
    let mut filled = Array3::<f64>::zeros((BLOCKS, BLOCKS, BLOCKS));
    for right in first[0]..=last[0] {
        for anterior in first[1]..=last[1] {
            let row = mask.slice(s![right, anterior, ..]);
            let mut along = [0.0; BLOCKS];
            for (superior, _) in row.iter().enumerate().filter(|(_, voxel)| **voxel != 0) {
                for (block, share) in shares[2][superior] {
                    along[block] += share;
                }
            }
            for (block_right, share_right) in shares[0][right] {
                for (block_anterior, share_anterior) in shares[1][anterior] {
                    let share = share_right * share_anterior;
                    for (block, voxels) in along.iter().enumerate() {
                        filled[[block_right, block_anterior, block]] += share * voxels;
                    }
                }
            }
        }
    }
    let full = BLOCK.powi(3);
    // `as` saturates: blocks at the ends take what lies beyond them
    filled
        .iter()
        .map(|voxels| (voxels / full * 255.0).round() as u8)
        .collect()
}

/// Returns, for each index along an axis, the two blocks that its voxel may lie in. Blocks are counted from 64 mm before
/// the middle; what lies beyond the last counts to it.
fn shares(size: usize, middle: f64) -> Vec<[Share; 2]> {
    let block = |number: f64| number.clamp(0.0, (BLOCKS - 1) as f64) as usize;
    let of_voxel = |index: usize| {
        let begin = (index as f64 - 0.5 - middle) / BLOCK + (BLOCKS / 2) as f64;
        let number = begin.floor();
        let share = ((number + 1.0 - begin) * BLOCK).min(1.0);
        [(block(number), share), (block(number + 1.0), 1.0 - share)]
    };
    (0..size).map(of_voxel).collect()
}

/// The numbers of one scan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScanMeasured {
    /// Voxel spacing along right, anterior, superior, each that of the index axis that runs most along it.
    pub spacing_mm: [f64; 3],
    /// The largest of them.
    pub thickness_mm: f64,
}

impl ScanMeasured {
    /// Writes the numbers into a row.
    pub fn put(&self, row: &mut LineageRow) {
        row.spacing_mm = Some(self.spacing_mm);
        row.thickness_mm = Some(self.thickness_mm);
    }
}

/// The index axes that may run along right, anterior, superior.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Measures the grid of a scan.
pub fn measure_scan(grid: &Grid) -> ScanMeasured {
    let steps_mm = grid.affine.spacing_mm();
    // sum of the cosines between index axes and the axes of the body that they are to run along
    let along = |order: [usize; 3]| -> f64 {
        let axes = order.into_iter().enumerate();
        axes.map(|(row, axis)| (grid.affine.0[row][axis] / steps_mm[axis]).abs())
            .sum()
    };
    let mut best = ORDERS[0];
    for order in ORDERS {
        if along(order) > along(best) {
            best = order;
        }
    }
    let spacing_mm = best.map(|axis| steps_mm[axis]);
    ScanMeasured {
        spacing_mm,
        thickness_mm: spacing_mm.into_iter().fold(0.0, f64::max),
    }
}

#[cfg(test)]
mod tests;
