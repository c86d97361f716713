//! The encoder's way down, where the mask is.

use std::cell::OnceCell;
use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::is_for;
use super::phases::Widening;
use crate::networks::SIDE;
use crate::networks::encoder::{PaperPyramid, halved};
use crate::networks::layers::Conv;
use crate::reconstructor::ModelError;

/// The four blocks of the paper's encoders, with max-pooling between.
///
/// A block sees two voxels far. What lies farther from the mask than the blocks so far see is what an empty mask gives:
/// that is computed once, and of each mask only the rest. A vertebra with its surroundings is a fifth of the patch.
pub struct FastPyramid {
    levels: [Level; 4],
    /// What an empty mask gives, as each level hands it on.
    empty: OnceCell<[Tensor; 4]>,
}

/// Voxels that a block sees to either side.
const REACH: i64 = 2;

/// A box of voxels, along each axis from one to before another.
type Region = [Range<i64>; 3];

impl FastPyramid {
    /// Takes the blocks; none where they cannot be put together.
    pub fn of(pyramid: &PaperPyramid) -> Result<Option<Self>, ModelError> {
        let mut levels = Vec::with_capacity(4);
        for block in pyramid.blocks() {
            let Some([first, second]) = block.convs() else {
                return Ok(None);
            };
            let [kernel, _] = first.parts();
            if !is_for(kernel) {
                return Ok(None);
            }
            let first = if levels.is_empty() {
                First::OfMask(Widening::of(first)?)
            } else {
                First::OfGrid(first.shallow_clone())
            };
            let second = second.shallow_clone();
            levels.push(Level { first, second });
        }
        let levels: Result<[Level; 4], _> = levels.try_into();
        Ok(levels.ok().map(|levels| Self {
            levels,
            empty: OnceCell::new(),
        }))
    }

    /// Returns what the last block gives of masks B×1×128³.
    pub fn forward(&self, masks: &Tensor) -> Result<Tensor, ModelError> {
        let (batch, ..) = masks.size5()?;
        let empty = self.empty()?;
        let [.., coarsest] = empty;
        let Some(mut region) = region_of(masks)? else {
            return copies(coarsest, batch);
        };
        let mut edge = SIDE;
        // what the level above handed on of its region, to be put among what an empty mask gives
        let mut grid = masks.shallow_clone();
        let mut last = Tensor::new();
        for (number, level) in self.levels.iter().enumerate() {
            let is_last = number + 1 == self.levels.len();
            // max-pooling halves it: from an even voxel to before an even voxel
            let changed = grown(&region, REACH, edge, if is_last { 1 } else { 2 });
            let seen = grown(&changed, REACH, edge, 2);
            let input = match number.checked_sub(1).and_then(|above| empty.get(above)) {
                None => cut(&grid, &seen, &whole(edge))?,
                Some(around) => {
                    let around = copies(&cut(around, &seen, &whole(edge))?, batch)?;
                    cut(&around, &region, &seen)?.f_copy_(&grid)?;
                    around
                }
            };
            let output = level.forward(&input)?;
            last = cut(&output, &changed, &seen)?;
            if !is_last {
                grid = halved(&last)?;
                edge /= 2;
                region = changed.map(|side| side.start / 2..side.end / 2);
            } else {
                region = changed;
            }
        }
        let result = copies(coarsest, batch)?;
        cut(&result, &region, &whole(edge))?.f_copy_(&last)?;
        Ok(result)
    }

    /// Returns what an empty mask gives.
    fn empty(&self) -> Result<&[Tensor; 4], ModelError> {
        if let Some(empty) = self.empty.get() {
            return Ok(empty);
        }
        let [finest, coarser @ ..] = &self.levels;
        let mut grid = finest.empty()?;
        let mut grids = vec![grid.shallow_clone()];
        for (number, level) in coarser.iter().enumerate() {
            grid = level.forward(&grid)?;
            if number + 1 < coarser.len() {
                grid = halved(&grid)?;
            }
            grids.push(grid.shallow_clone());
        }
        let grids: Result<[Tensor; 4], _> = grids.try_into();
        let grids = grids.map_err(|_| ModelError::Contract("expected four grids".to_owned()))?;
        Ok(self.empty.get_or_init(|| grids))
    }
}

/// One block.
struct Level {
    first: First,
    second: Conv,
}

/// A block's first convolution.
enum First {
    OfMask(Widening),
    OfGrid(Conv),
}

/// Planes of the finest grid that are made at once where nothing is set.
const SLAB: i64 = 16;

impl Level {
    /// Returns what the finest level hands on of an empty mask. Of its slabs only the outermost differ: the others are made
    /// once, and none is ever held whole.
    fn empty(&self) -> Result<Tensor, ModelError> {
        let slab = |before: i64, after: i64| -> Result<Tensor, ModelError> {
            let shape = [1, 1, before + SLAB + after, SIDE, SIDE];
            let made = self.forward(&Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))?)?;
            halved(&made.f_narrow(2, before, SLAB)?)
        };
        let (first, between, last) = (slab(0, REACH)?, slab(REACH, REACH)?, slab(REACH, 0)?);
        let inner = vec![&between; (SIDE / SLAB - 2) as usize];
        let slabs: Vec<&Tensor> = std::iter::once(&first).chain(inner).chain([&last]).collect();
        Ok(Tensor::f_cat(&slabs, 2)?)
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        let mut between = match &self.first {
            First::OfMask(conv) => conv.forward(input)?,
            First::OfGrid(conv) => conv.forward(input)?,
        };
        Ok(self.second.forward(&between.f_relu_()?)?.f_relu_()?)
    }
}

/// Returns the box of voxels that are set in any of the masks.
fn region_of(masks: &Tensor) -> Result<Option<Region>, ModelError> {
    let any = masks.f_amax([0, 1], false)?;
    let mut region: Region = [0..0, 0..0, 0..0];
    for (axis, side) in region.iter_mut().enumerate() {
        let others: Vec<i64> = (0..3).filter(|other| *other != axis as i64).collect();
        let line = Vec::<f32>::try_from(any.f_amax(others.as_slice(), false)?.f_to_kind(Kind::Float)?)?;
        let is_set = |value: &f32| *value != 0.0;
        let (Some(first), Some(last)) = (line.iter().position(is_set), line.iter().rposition(is_set)) else {
            return Ok(None);
        };
        *side = first as i64..last as i64 + 1;
    }
    Ok(Some(region))
}

/// Returns the box with so many voxels more on every side, outwards to a multiple of `step`, within a grid.
fn grown(region: &Region, by: i64, edge: i64, step: i64) -> Region {
    region.clone().map(|side| {
        let start = (side.start - by).max(0) / step * step;
        let end = ((side.end + by + step - 1) / step * step).min(edge);
        start..end
    })
}

fn whole(edge: i64) -> Region {
    [0..edge, 0..edge, 0..edge]
}

/// Returns a box of a grid that covers the box `of`.
fn cut(grid: &Tensor, region: &Region, of: &Region) -> Result<Tensor, ModelError> {
    let mut cut = grid.shallow_clone();
    for (axis, (side, all)) in (2_i64..).zip(region.iter().zip(of)) {
        cut = cut.f_narrow(axis, side.start - all.start, side.end - side.start)?;
    }
    Ok(cut)
}

/// Returns so many copies of one grid, channels last in memory, to be written on.
fn copies(grid: &Tensor, batch: i64) -> Result<Tensor, ModelError> {
    let (_, channels, x, y, z) = grid.size5()?;
    let copies = Tensor::f_empty([batch, x, y, z, channels], (grid.kind(), grid.device()))?;
    let mut copies = copies.f_permute([0, 4, 1, 2, 3])?;
    copies.f_copy_(grid)?;
    Ok(copies)
}
