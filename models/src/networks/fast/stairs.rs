//! The generator's way up to the finest grid.

use tch::Tensor;

use super::doubling::Doubling;
use super::is_for;
use super::phases::Narrowing;
use crate::networks::encoder::PaperBlock;
use crate::networks::layers::{Conv, channels_last};
use crate::reconstructor::ModelError;

/// The three blocks of the paper's generators, each behind nearest up-sampling, and the convolution to logits.
pub struct FastStairs {
    steps: [Step; 3],
    last: Narrowing,
}

/// Bytes of a tensor of the finest grid, about: as many as stay in the last cache until they are used. Of a grid held whole
/// every step would come from memory, and from pages that the system hands out one by one: that takes longer than the
/// arithmetic (2.1 s against 0.65 s a vertebra).
const SLAB: i64 = 30 << 20;

impl FastStairs {
    /// Takes the blocks, from the coarsest grid up; none where they cannot be put together.
    pub fn of(blocks: &[PaperBlock; 3], last: &Conv) -> Result<Option<Self>, ModelError> {
        let [coarse, middle, fine] = blocks;
        let steps = [Step::of(coarse)?, Step::of(middle)?, Step::of(fine)?];
        let [Some(coarse), Some(middle), Some(fine)] = steps else {
            return Ok(None);
        };
        Ok(Some(Self {
            steps: [coarse, middle, fine],
            last: Narrowing::of(last)?,
        }))
    }

    /// Returns the logits on a grid of eight times the edge, in f32.
    pub fn forward(&self, coarsest: &Tensor) -> Result<Tensor, ModelError> {
        let [to32, to64, _] = &self.steps;
        let grid64 = to64.forward(&to32.forward(&channels_last(coarsest)?)?)?;
        let (batch, channels, _, y, z) = grid64.size5()?;
        let plane = batch * channels * 4 * y * z * grid64.kind().elt_size_in_bytes() as i64;
        // as many planes as fit a slab, those beside the slab included, and those that up-sampling makes beside these; a
        // box of the last convolution has two
        let planes = (SLAB / plane - 2 * MARGIN - 4) / 2 * 2;
        self.by_slabs(&grid64, planes.max(2))
    }

    /// Returns the logits on a grid of twice the edge, so many planes at a time: an even number.
    pub(super) fn by_slabs(&self, grid64: &Tensor, planes: i64) -> Result<Tensor, ModelError> {
        let end = 2 * grid64.size5()?.2;
        let mut slabs = Vec::new();
        let mut first = 0;
        while first < end {
            let behind = (first + planes).min(end);
            slabs.push(self.slab(grid64, first, behind, end)?);
            first = behind;
        }
        Ok(Tensor::f_cat(&slabs, 2)?)
    }

    /// Returns the logits of the planes from `first` to before `behind`, of `end` in all.
    fn slab(&self, grid64: &Tensor, first: i64, behind: i64, end: i64) -> Result<Tensor, ModelError> {
        let [.., step] = &self.steps;
        // each of the two convolutions to come takes one more plane at either side
        let inner = [(first - 1).max(0), (behind + 1).min(end)];
        let outer = [(first - MARGIN).max(0), (behind + MARGIN).min(end)];
        let coarse = [(outer[0] / 2 - 1).max(0), (outer[1] / 2 + 1).min(end / 2)];

        let doubled = step.double.forward(&planes_of(grid64, coarse, 0)?)?.f_relu_()?;
        let doubled = planes_of(&doubled, outer, 2 * coarse[0])?;
        let grid = step.conv.forward(&doubled)?.f_relu_()?;
        let mut grid = planes_of(&grid, inner, outer[0])?;
        let missing = [inner[0] - (first - 1), behind + 1 - inner[1]];
        if missing != [0, 0] {
            let [before, after] = missing;
            grid = grid.f_constant_pad_nd([0, 0, 0, 0, before, after])?;
        }
        self.last.forward(&grid)
    }
}

/// Planes beside a slab that its logits depend on.
const MARGIN: i64 = 2;

/// Returns planes from one to before another of a grid that begins with plane `origin`.
fn planes_of(grid: &Tensor, [from, to]: [i64; 2], origin: i64) -> Result<Tensor, ModelError> {
    Ok(grid.f_narrow(2, from - origin, to - from)?)
}

/// One block behind its up-sampling.
struct Step {
    double: Doubling,
    conv: Conv,
}

impl Step {
    fn of(block: &PaperBlock) -> Result<Option<Self>, ModelError> {
        let Some([first, second]) = block.convs() else {
            return Ok(None);
        };
        let [kernel, _] = first.parts();
        if !is_for(kernel) {
            return Ok(None);
        }
        Ok(Some(Self {
            double: Doubling::before(first)?,
            conv: second.shallow_clone(),
        }))
    }

    fn forward(&self, grid: &Tensor) -> Result<Tensor, ModelError> {
        let doubled = self.double.forward(grid)?.f_relu_()?;
        Ok(self.conv.forward(&doubled)?.f_relu_()?)
    }
}
