//! Where labels lie in a map: one pass over the voxels, in memory order.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{ArrayView1, ArrayView2, Axis};
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

    /// Returns the first and the last index of the label's voxels along each axis.
    pub fn index_box(&self) -> [[usize; 3]; 2] {
        [self.index_min, self.index_max]
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
    let nothing: Vec<(u16, Extent)> = labels.map(|label| (label, Extent::NOTHING)).collect();
    // planes of constant k, rows of constant j: the file's memory order
    let planes = map.data.view().reversed_axes();
    let found = (0..planes.len_of(Axis(0)))
        .into_par_iter()
        .fold(
            || nothing.clone(),
            |mut extents, k| {
                survey_plane(planes.index_axis(Axis(0), k), k, &map.affine, &mut extents);
                extents
            },
        )
        .reduce(
            || nothing.clone(),
            |mut one, other| {
                for ((_, extent), (_, other)) in one.iter_mut().zip(&other) {
                    extent.take_in(other);
                }
                one
            },
        );
    found
        .into_iter()
        .filter(|(_, extent)| extent.voxels > 0)
        .collect()
}

fn survey_plane(plane: ArrayView2<'_, u16>, k: usize, affine: &Affine, extents: &mut [(u16, Extent)]) {
    for (j, row) in plane.outer_iter().enumerate() {
        each_run(row, |label, first, last| {
            let Some((_, extent)) = extents.iter_mut().find(|(wanted, _)| *wanted == label) else {
                return;
            };
            // the extremes of a run are at its ends, whichever way the row lies in the world
            let ends = [first, last].map(|i| affine.apply([i as f64, j as f64, k as f64]));
            extent.take_in(&Extent {
                voxels: (last - first + 1) as u64,
                index_min: [first, j, k],
                index_max: [last, j, k],
                centres: Bounds {
                    min: std::array::from_fn(|axis| ends[0][axis].min(ends[1][axis])),
                    max: std::array::from_fn(|axis| ends[0][axis].max(ends[1][axis])),
                },
            });
        });
    }
}

/// Voxels that are passed over together where they are background.
const BLOCK: usize = 32;

/// Calls `found` with the label, the first and the last position of each run of one label in a row, but for the
/// background's.
fn each_run(row: ArrayView1<'_, u16>, mut found: impl FnMut(u16, usize, usize)) {
    let copy;
    let row = match row.to_slice() {
        Some(row) => row,
        None => {
            copy = row.to_vec();
            &copy
        }
    };
    let mut position = 0;
    while let Some(rest) = row.get(position..).filter(|rest| !rest.is_empty()) {
        if let Some(block) = rest.first_chunk::<BLOCK>()
            && block.iter().fold(0, |all, label| all | label) == 0
        {
            position += BLOCK;
            continue;
        }
        let label = rest[0];
        let length = rest.iter().take_while(|other| **other == label).count();
        if label != 0 {
            found(label, position, position + length - 1);
        }
        position += length;
    }
}

/// Returns every label number in the map but the background's.
pub fn labels(map: &LabelMap) -> BTreeSet<u16> {
    let mut seen = vec![false; usize::from(u16::MAX) + 1];
    for label in &map.data {
        seen[usize::from(*label)] = true;
    }
    (1..=u16::MAX).filter(|label| seen[usize::from(*label)]).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, ShapeBuilder as _};

    use super::super::testing::{Numbers, turned};
    use super::*;

    #[test]
    fn the_survey_of_runs_is_that_of_single_voxels() {
        let mut numbers = Numbers(17);
        for round in 0..40 {
            let shape = [[70, 5, 4], [33, 3, 9], [200, 4, 3], [1, 7, 5]][round % 4];
            let affine = turned(
                (shape, [0.7, 1.1, 3.0], [-2, 3, 1], [10.0, 0.0, 5.0]),
                [3.0, 4.0, 5.0],
            );
            let mut label = 0;
            let mut data = Array3::zeros((shape[0], shape[1], shape[2]).set_f(round % 3 != 0));
            for value in data.iter_mut() {
                // runs of any length, many of them background
                if numbers.next() < 0.1 {
                    label = [0, 0, 0, 5, 6, 700, 8][(numbers.next() * 7.0) as usize];
                }
                *value = label;
            }
            let mut expected: BTreeMap<u16, Extent> = BTreeMap::new();
            for ((i, j, k), label) in data
                .indexed_iter()
                .filter(|(_, label)| [5, 700, 9].contains(*label))
            {
                let centre = affine.apply([i as f64, j as f64, k as f64]);
                expected
                    .entry(*label)
                    .or_insert(Extent::NOTHING)
                    .take_in(&Extent {
                        voxels: 1,
                        index_min: [i, j, k],
                        index_max: [i, j, k],
                        centres: Bounds {
                            min: centre,
                            max: centre,
                        },
                    });
            }
            let map = LabelMap { data, affine };
            assert_eq!(survey(&map, [5, 700, 9].into_iter()), expected);
        }
    }
}
