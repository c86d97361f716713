//! Where labels lie in a map: one pass over the voxels, in memory order.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;
use schemas::{Affine, LabelMap};

/// Voxels of one label: how many, and from where to where.
#[derive(Debug, Clone, PartialEq)]
pub struct Extent {
    /// Number of voxels.
    pub voxels: u64,
    index_min: [usize; 3],
    index_max: [usize; 3],
    centres: Bounds,
}

/// A box in world axes, RAS mm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Leftmost, most posterior, lowest.
    pub min: [f64; 3],
    /// Rightmost, most anterior, highest.
    pub max: [f64; 3],
}

impl Bounds {
    /// Returns the middle of the box.
    pub fn centre(&self) -> [f64; 3] {
        std::array::from_fn(|axis| (self.min[axis] + self.max[axis]) / 2.0)
    }

    fn grown(&self, by: [f64; 3]) -> Self {
        Self {
            min: std::array::from_fn(|axis| self.min[axis] - by[axis]),
            max: std::array::from_fn(|axis| self.max[axis] + by[axis]),
        }
    }

    fn take_in(&mut self, other: &Self) {
        for axis in 0..3 {
            self.min[axis] = self.min[axis].min(other.min[axis]);
            self.max[axis] = self.max[axis].max(other.max[axis]);
        }
    }
}

impl Extent {
    const NOTHING: Self = Self {
        voxels: 0,
        index_min: [usize::MAX; 3],
        index_max: [0; 3],
        centres: Bounds {
            min: [f64::INFINITY; 3],
            max: [f64::NEG_INFINITY; 3],
        },
    };

    /// Returns the world box over the voxels' edges: their centres ± half a voxel projected on each axis.
    ///
    /// The centres are those of the label's own voxels, so that on an oblique grid the box is as tight as for
    /// one along the axes; the corners of the index box would reach further out.
    pub fn edges_mm(&self, affine: &Affine) -> Bounds {
        self.centres
            .grown(projected_voxel_mm(affine).map(|length| length / 2.0))
    }

    /// Returns the world box outside of which linear interpolation sees nothing of the label.
    pub fn support_mm(&self, affine: &Affine) -> Bounds {
        self.centres.grown(projected_voxel_mm(affine))
    }

    /// Returns whether a voxel of the label lies in the outermost layer of the volume.
    pub fn touches_border(&self, shape: [usize; 3]) -> bool {
        (0..3).any(|axis| self.index_min[axis] == 0 || self.index_max[axis] + 1 == shape[axis])
    }

    fn take_in(&mut self, other: &Self) {
        self.voxels += other.voxels;
        self.centres.take_in(&other.centres);
        for axis in 0..3 {
            self.index_min[axis] = self.index_min[axis].min(other.index_min[axis]);
            self.index_max[axis] = self.index_max[axis].max(other.index_max[axis]);
        }
    }
}

/// Returns the length of one voxel's shadow on each world axis, in mm.
fn projected_voxel_mm(affine: &Affine) -> [f64; 3] {
    std::array::from_fn(|row| affine.0[row][..3].iter().map(|entry| entry.abs()).sum())
}

/// Returns the extent of each of the labels that the map holds.
pub fn survey(map: &LabelMap, labels: impl Iterator<Item = u16>) -> BTreeMap<u16, Extent> {
    let wanted: BTreeMap<u16, Extent> = labels.map(|label| (label, Extent::NOTHING)).collect();
    // planes of constant k, rows of constant j: the file's memory order
    let planes = map.data.view().reversed_axes();
    let mut found = (0..planes.len_of(Axis(0)))
        .into_par_iter()
        .fold(
            || wanted.clone(),
            |mut extents, k| {
                survey_plane(planes.index_axis(Axis(0), k), k, &map.affine, &mut extents);
                extents
            },
        )
        .reduce(
            || wanted.clone(),
            |mut one, other| {
                for (label, extent) in &other {
                    one.entry(*label).or_insert(Extent::NOTHING).take_in(extent);
                }
                one
            },
        );
    found.retain(|_, extent| extent.voxels > 0);
    found
}

fn survey_plane(plane: ArrayView2<'_, u16>, k: usize, affine: &Affine, extents: &mut BTreeMap<u16, Extent>) {
    for (j, row) in plane.outer_iter().enumerate() {
        let mut i = 0;
        for (label, length) in run_lengths(row.iter().copied()) {
            let first = i;
            i += length;
            if label == 0 {
                continue;
            }
            let Some(extent) = extents.get_mut(&label) else {
                continue;
            };
            let last = i - 1;
            // the extremes of a run are at its ends, whichever way the row lies in the world
            let ends = [first, last].map(|i| affine.apply([i as f64, j as f64, k as f64]));
            extent.take_in(&Extent {
                voxels: length as u64,
                index_min: [first, j, k],
                index_max: [last, j, k],
                centres: Bounds {
                    min: std::array::from_fn(|axis| ends[0][axis].min(ends[1][axis])),
                    max: std::array::from_fn(|axis| ends[0][axis].max(ends[1][axis])),
                },
            });
        }
    }
}

/// Returns each run of equal values with its length.
fn run_lengths(values: impl Iterator<Item = u16>) -> impl Iterator<Item = (u16, usize)> {
    let mut values = values.peekable();
    std::iter::from_fn(move || {
        let value = values.next()?;
        let mut length = 1;
        while values.next_if_eq(&value).is_some() {
            length += 1;
        }
        Some((value, length))
    })
}

/// Returns every label number in the map but the background's.
pub fn labels(map: &LabelMap) -> BTreeSet<u16> {
    let mut seen = vec![false; usize::from(u16::MAX) + 1];
    for label in &map.data {
        seen[usize::from(*label)] = true;
    }
    (1..=u16::MAX).filter(|label| seen[usize::from(*label)]).collect()
}
