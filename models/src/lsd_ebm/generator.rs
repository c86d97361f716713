//! From a latent to the logits of a mask: p(x | z₀).

use tch::Tensor;

use crate::lsd_ebm::description::{CompactSize, Network, PaperSize};
use crate::lsd_ebm::encoder::{PAPER_GRID, PaperBlock};
use crate::lsd_ebm::layers::{
    Conv, Double, GroupNorm, Linear, Parameters, Residual, channels_last, depth_to_space, through,
};
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
    /// its probability is above 0.5.
    pub fn forward(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::Paper(generator) => generator.forward(latents),
            Self::Compact(generator) => generator.forward(latents),
        }
    }
}

/// The authors' `VAE_new_Dec_small`: one linear layer, then three blocks with nearest up-sampling before each.
pub struct PaperGenerator {
    channels: i64,
    linear: Linear,
    blocks: [PaperBlock; 3],
    last: Conv,
}

impl PaperGenerator {
    /// Asks for the parameters under the authors' names.
    pub fn new(parameters: &mut dyn Parameters, size: &PaperSize) -> Result<Self, ModelError> {
        let c = size.channels;
        Ok(Self {
            channels: c,
            linear: Linear::new(parameters, "linear_dec", [size.latents, 4 * c * PAPER_GRID])?,
            blocks: [
                PaperBlock::new(parameters, "conv_rest_u_32", [4 * c, 2 * c, 2 * c])?,
                PaperBlock::new(parameters, "conv_rest_u_64", [2 * c, c, c])?,
                PaperBlock::new(parameters, "conv_rest_u_128", [c, c, c])?,
            ],
            last: Conv::new(parameters, "conv_final", [c, 1], [3, 1])?,
        })
    }

    /// Returns the logits; the authors' code goes on to their sigmoid.
    pub fn forward(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        let flat = self.linear.forward(latents)?;
        let mut grid = flat.f_view([-1, 4 * self.channels, 16, 16, 16])?;
        for block in &self.blocks {
            let (_, _, x, y, z) = grid.size5()?;
            grid = block.forward(&grid.f_upsample_nearest3d([2 * x, 2 * y, 2 * z], None, None, None)?)?;
        }
        self.last.forward(&grid)
    }
}

/// Residual blocks on the latent grid and on that of twice the edge, then sub-voxels woven into the last grid.
pub struct CompactGenerator {
    first: Conv,
    blocks: [Vec<Residual>; 2],
    up: [Double; 2],
    norm: GroupNorm,
    last: Conv,
}

impl CompactGenerator {
    /// Asks for the parameters.
    pub fn new(parameters: &mut dyn Parameters, size: &CompactSize) -> Result<Self, ModelError> {
        let [c64, c32, c16, _] = size.channels;
        let [n16, n32] = size.decoder_blocks;
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
            last: Conv::new(parameters, "last", [c64, 8], [3, 1])?,
        })
    }

    /// Returns the logits on a grid of eight times the latent's edge, in the kind of the latents.
    pub fn forward(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        let [blocks16, blocks32] = &self.blocks;
        let [up32, up64] = &self.up;
        let grid16 = through(blocks16, self.first.forward(&channels_last(latents)?)?)?;
        let grid32 = through(blocks32, up32.forward(&grid16)?)?;
        let grid64 = up64.forward(&self.norm.forward(&grid32)?.f_silu()?)?.f_silu()?;
        depth_to_space(&self.last.forward(&grid64)?.f_to_kind(latents.kind())?)
    }
}
