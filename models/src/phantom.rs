//! Phantoms: seeded lumbar spines, L1 to L5, as label maps on any grid.
//!
//! Each vertebra is a smooth union of body, pedicles, laminae, spinous, transverse and articular processes around an
//! open canal, with a person's own sizes and asymmetries, on a spine with lordosis and a mild scoliosis. The shape is
//! implicit, so a grid of any spacing and orientation samples the very same bone.

mod anatomy;
mod measures;
mod orientation;
mod shape;
mod spine;
mod voxels;

use std::ops::Range;

use ndarray::Array3;
use rayon::prelude::*;
use schemas::volume::Grid;
use schemas::{Affine, LabelMap, Level};
use serde::{Deserialize, Serialize};

use crate::degrade::frame::extents;
use crate::reconstructor::ModelError;
pub use orientation::{Direction, Orientation};
use shape::{STEEPEST, Vector};
pub(crate) use spine::turn_about;
use spine::{Placed, placed, signed};
use voxels::voxels;

/// The phantoms' labels: scheme `verse`.
pub const LABELS: [(u16, Level); 5] = [
    (20, Level::L1),
    (21, Level::L2),
    (22, Level::L3),
    (23, Level::L4),
    (24, Level::L5),
];

/// Voxels along each side of a training patch.
const PATCH: usize = 128;
/// Most voxels of a phantom's grid: 1 GB of labels.
const MOST_VOXELS: f64 = 5e8;

/// The grid on which a phantom is sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhantomConf {
    /// Step between voxels along the grid's first, second and third axis, in mm.
    pub spacing_mm: [f64; 3],
    /// Where the three axes point: `RAS`, `PIR` for a sagittal MRI, ….
    pub orientation: Orientation,
    /// Turn of the grid against the body about right, anterior and superior, in degrees.
    pub oblique_deg: [f64; 3],
    /// Room around the spine on each side, in mm.
    pub margin_mm: f64,
}

impl Default for PhantomConf {
    fn default() -> Self {
        Self {
            spacing_mm: [1.0; 3],
            orientation: Orientation::RAS,
            oblique_deg: [0.0; 3],
            margin_mm: 10.0,
        }
    }
}

/// The spine of one made-up person.
#[derive(Debug, Clone)]
pub struct Spine {
    vertebrae: Vec<Placed>,
}

impl Spine {
    /// Draws the person that `seed` stands for.
    pub fn new(seed: u64) -> Self {
        Self {
            vertebrae: placed(seed),
        }
    }

    /// Returns a grid that holds the whole spine.
    ///
    /// # Errors
    /// A spacing, turn or margin out of range, or a grid of more than half a billion voxels.
    pub fn grid(&self, conf: &PhantomConf) -> Result<Grid, ModelError> {
        let fits = conf.spacing_mm.iter().all(|mm| (0.2..=20.0).contains(mm))
            && conf.oblique_deg.iter().all(|degrees| degrees.abs() <= 45.0)
            && (0.0..=200.0).contains(&conf.margin_mm);
        if !fits {
            return Err(ModelError::Conf(format!(
                "phantom: expected a spacing of 0.2 to 20 mm, turns of at most 45 degrees and a margin of 0 to 200 mm, \
                 found {:?}, {:?} and {}",
                conf.spacing_mm, conf.oblique_deg, conf.margin_mm
            )));
        }
        let [about_right, about_anterior, about_superior] = conf.oblique_deg;
        let turn = turn_about(2, about_superior)
            .after(&turn_about(1, about_anterior))
            .after(&turn_about(0, about_right));
        let mut affine = turn.after(&conf.orientation.affine(conf.spacing_mm));
        let to_index = affine
            .inverse()
            .ok_or_else(|| ModelError::Conf("phantom: a singular grid".to_owned()))?;
        let corners = self.vertebrae.iter().flat_map(Placed::corners);
        let (low, high) = box_of(corners.map(|corner| to_index.apply(corner)));
        let margin = conf.spacing_mm.map(|mm| conf.margin_mm / mm);
        let start = [0, 1, 2].map(|axis: usize| low[axis] - margin[axis]);
        let shape =
            [0, 1, 2].map(|axis: usize| (high[axis] - low[axis] + 2.0 * margin[axis]).ceil() as usize + 1);
        let voxels = shape.iter().map(|voxels| *voxels as f64).product::<f64>();
        if voxels > MOST_VOXELS {
            return Err(ModelError::Conf(format!(
                "phantom: expected a grid of at most {MOST_VOXELS:e} voxels, found {voxels:.1e}"
            )));
        }
        let origin = affine.apply(start);
        for (row, origin) in affine.0.iter_mut().zip(origin) {
            row[3] = origin;
        }
        Ok(Grid { shape, affine })
    }

    /// Returns the label map of the spine on a grid; levels outside are missing or cut. Labels: [`LABELS`].
    pub fn label_map(&self, grid: &Grid) -> LabelMap {
        let mut data = Array3::zeros(grid.shape);
        let parts: Vec<(u16, [Range<usize>; 3], Array3<bool>)> = LABELS
            .par_iter()
            .enumerate()
            .filter_map(|(index, (label, _))| {
                let (ranges, inside) = self.vertebra(index, grid)?;
                Some((*label, ranges, inside))
            })
            .collect();
        for (label, ranges, inside) in parts {
            for ((i, j, k), inside) in inside.indexed_iter() {
                if *inside {
                    data[[ranges[0].start + i, ranges[1].start + j, ranges[2].start + k]] = label;
                }
            }
        }
        LabelMap {
            data,
            affine: grid.affine,
        }
    }

    /// Returns the voxels of one vertebra and the part of the grid that they fill.
    fn vertebra(&self, index: usize, grid: &Grid) -> Option<([Range<usize>; 3], Array3<bool>)> {
        let to_index = grid.affine.inverse()?;
        let (low, high) = box_of(
            self.vertebrae
                .get(index)?
                .corners()
                .into_iter()
                .map(|corner| to_index.apply(corner)),
        );
        let ranges = [0, 1, 2].map(|axis: usize| {
            let start = (low[axis].floor().max(0.0) as usize).min(grid.shape[axis]);
            let end = (high[axis].ceil().max(0.0) as usize + 1).min(grid.shape[axis]);
            start..end.max(start)
        });
        let inside = voxels(&ranges, &grid.affine, STEEPEST, |voxel| {
            signed(&self.vertebrae, index, grid.affine.apply(voxel))
        });
        Some((ranges, inside))
    }
}

/// Returns the label map of the person that `seed` stands for. Labels: [`LABELS`].
///
/// # Errors
/// A configuration out of range.
pub fn spine(seed: u64, conf: &PhantomConf) -> Result<LabelMap, ModelError> {
    let spine = Spine::new(seed);
    Ok(spine.label_map(&spine.grid(conf)?))
}

/// Returns one vertebra (0 or 1) of the person that `seed` stands for as a patch: 128³ voxels of 1 mm, axes right,
/// anterior, superior, the bounding box in the middle. There is no phantom L6: its place is taken by L5.
pub fn vertebra(level: Level, seed: u64) -> Array3<u8> {
    let spine = Spine::new(seed);
    let index = level.index().min(LABELS.len() - 1);
    let mut patch = Array3::zeros((PATCH, PATCH, PATCH));
    let (low, high) = box_of(spine.vertebrae[index].corners().into_iter());
    let shape = [0, 1, 2].map(|axis: usize| (high[axis] - low[axis]).ceil() as usize + 1);
    let grid = Grid {
        shape,
        affine: Affine::axis_aligned([1.0; 3], low),
    };
    let Some((_, inside)) = spine.vertebra(index, &grid) else {
        return patch;
    };
    let found = extents(inside.view(), 1, |inside| inside.then_some(0));
    let Some(extent) = found.into_iter().flatten().next() else {
        return patch;
    };
    for ((i, j, k), inside) in inside.indexed_iter() {
        if *inside {
            let place = [0, 1, 2].map(|axis: usize| {
                let range = &extent.0[axis];
                ([i, j, k][axis] + (PATCH - range.len().min(PATCH)) / 2).wrapping_sub(range.start)
            });
            if let Some(voxel) = patch.get_mut(place) {
                *voxel = 1;
            }
        }
    }
    patch
}

/// Returns the corners of the box that holds all points.
fn box_of(points: impl Iterator<Item = Vector>) -> (Vector, Vector) {
    let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
    for point in points {
        for axis in 0..3 {
            low[axis] = low[axis].min(point[axis]);
            high[axis] = high[axis].max(point[axis]);
        }
    }
    (low, high)
}

#[cfg(test)]
mod tests;
