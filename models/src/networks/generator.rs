//! From a latent to the logits of a mask: p(x | z₀).

use tch::Tensor;

use crate::networks::encoder::{PAPER_GRID, PaperBlock};
use crate::networks::fast::FastStairs;
use crate::networks::layers::{
    Conv, Double, GroupNorm, Linear, Parameters, Residual, channels_last, depth_to_space, through,
};
use crate::networks::{CompactSize, Network, PaperSize};
use crate::reconstructor::ModelError;

/// A generator (decoder) of one of the sizes.
pub enum Generator {
    /// As in the paper's code.
    Paper(Box<PaperGenerator>),
    /// From a latent that keeps its place in space.
    Compact(Box<CompactGenerator>),
}

impl Generator {
    /// Builds the generator of a description.
    pub fn new(parameters: &mut dyn Parameters, network: &Network) -> Result<Self, ModelError> {
        Ok(match network {
            Network::Paper(size) => Self::Paper(Box::new(PaperGenerator::new(parameters, size)?)),
            Network::Compact(size) => Self::Compact(Box::new(CompactGenerator::new(parameters, size)?)),
        })
    }

    /// Returns the logits of masks, B×1×x×y×z: a voxel is vertebra where its logit is above 0, which is where
    /// its probability is above 0.5. Only a generator of detail looks at the observed masks B×1×x×y×z.
    pub fn forward(&self, latents: &Tensor, observed: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::Paper(generator) => generator.forward(latents),
            Self::Compact(generator) => generator.forward(latents, observed),
        }
    }
}

/// The authors' `VAE_new_Dec_small`, or `GenModel_vert` where the size is wide: one linear layer, then three blocks
/// with nearest up-sampling before each.
pub struct PaperGenerator {
    coarsest: i64,
    linear: Linear,
    blocks: [PaperBlock; 3],
    last: Conv,
    fast: Option<FastStairs>,
}

impl PaperGenerator {
    /// Asks for the parameters under the authors' names.
    pub fn new(parameters: &mut dyn Parameters, size: &PaperSize) -> Result<Self, ModelError> {
        let [c128, c64, c32, c16] = size.widths();
        let linear = Linear::new(parameters, "linear_dec", [size.latents, c16 * PAPER_GRID])?;
        let blocks = [
            PaperBlock::new(parameters, "conv_rest_u_32", [c16, c32, c32])?,
            PaperBlock::new(parameters, "conv_rest_u_64", [c32, c64, c64])?,
            PaperBlock::new(parameters, "conv_rest_u_128", [c64, c128, c128])?,
        ];
        let last = Conv::new(parameters, "conv_final", [c128, 1], [3, 1])?;
        Ok(Self {
            coarsest: c16,
            fast: FastStairs::of(&blocks, &last)?,
            linear,
            blocks,
            last,
        })
    }

    /// Returns the fast way up, where there is one.
    #[cfg(test)]
    pub(super) fn fast(&self) -> Option<&FastStairs> {
        self.fast.as_ref()
    }

    /// Returns the logits; the authors' code goes on to their sigmoid.
    pub fn forward(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        let flat = self.linear.forward(latents)?;
        let mut grid = flat.f_view([-1, self.coarsest, 16, 16, 16])?;
        if let Some(fast) = &self.fast {
            return Ok(fast.forward(&grid)?.f_to_kind(latents.kind())?);
        }
        for block in &self.blocks {
            grid = block.forward(&doubled(&grid)?)?;
        }
        Ok(self.last.forward(&grid)?.f_to_kind(latents.kind())?)
    }
}

/// Returns the grid of twice the edge, each voxel eight times.
pub(super) fn doubled(grid: &Tensor) -> Result<Tensor, ModelError> {
    let (_, _, x, y, z) = grid.size5()?;
    Ok(grid.f_upsample_nearest3d([2 * x, 2 * y, 2 * z], None, None, None)?)
}

/// Residual blocks on the latent grid and on that of twice the edge, then sub-voxels woven into the last grid.
pub struct CompactGenerator {
    first: Conv,
    blocks: [Vec<Residual>; 2],
    up: [Double; 2],
    norm: GroupNorm,
    detail: Option<[Conv; 2]>,
    last: Conv,
}

impl CompactGenerator {
    /// Asks for the parameters.
    pub fn new(parameters: &mut dyn Parameters, size: &CompactSize) -> Result<Self, ModelError> {
        let [c64, c32, c16, _] = size.channels;
        let [n16, n32] = size.decoder_blocks;
        // fields of view of 4 and 6 voxels: edges of what was observed, not its shape, which is the latent's to say
        let detail = if size.detail {
            Some([
                Conv::new(parameters, "detail64", [1, c64], [4, 2])?,
                Conv::new(parameters, "detail32", [c64, c32], [2, 2])?,
            ])
        } else {
            None
        };
        let last = if size.detail { 2 * c64 } else { c64 };
        Ok(Self {
            first: Conv::new(parameters, "first", [size.latents, c16], [3, 1])?,
            blocks: [
                Residual::row(parameters, "blocks16", c16, n16)?,
                Residual::row(parameters, "blocks32", c32, n32)?,
            ],
            up: [
                Double::new(parameters, "up32", [c16, c32])?,
                Double::new(parameters, "up64", [c32, c64])?,
            ],
            norm: GroupNorm::new(parameters, "norm", c32)?,
            detail,
            last: Conv::new(parameters, "last", [last, 8], [3, 1])?,
        })
    }

    /// Returns the logits on a grid of eight times the latent's edge, in the kind of the latents.
    pub fn forward(&self, latents: &Tensor, observed: &Tensor) -> Result<Tensor, ModelError> {
        let [blocks16, blocks32] = &self.blocks;
        let [up32, up64] = &self.up;
        let grid16 = through(blocks16, self.first.forward(&channels_last(latents)?)?)?;
        let mut grid32 = up32.forward(&grid16)?;
        let mut detail64 = None;
        if let Some([to64, to32]) = &self.detail {
            let detail = to64.forward(&channels_last(observed)?)?.f_silu()?;
            grid32 = grid32.f_add(&to32.forward(&detail)?)?;
            detail64 = Some(detail);
        }
        let grid32 = through(blocks32, grid32)?;
        let mut grid64 = up64.forward(&self.norm.forward(&grid32)?.f_silu()?)?.f_silu()?;
        if let Some(detail) = detail64 {
            grid64 = Tensor::f_cat(&[grid64, detail], 1)?;
        }
        depth_to_space(&self.last.forward(&grid64)?.f_to_kind(latents.kind())?)
    }
}
