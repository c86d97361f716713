//! U-Nets with skips: from a degraded mask to the logits of a whole one.

use tch::Tensor;

use crate::networks::encoder::{PaperBlock, PaperPyramid};
use crate::networks::generator::doubled;
use crate::networks::layers::{
    Conv, Double, GroupNorm, Parameters, Residual, channels_last, depth_to_space, through,
};
use crate::networks::{CompactSize, Network, PaperSize};
use crate::reconstructor::ModelError;

/// A U-Net of one of the sizes.
pub enum Unet {
    /// The authors' ReconNet.
    Paper(Box<PaperUnet>),
    /// With the trunk of the compact encoder.
    Compact(Box<CompactUnet>),
}

impl Unet {
    /// Builds the U-Net of a description.
    pub fn new(parameters: &mut dyn Parameters, network: &Network) -> Result<Self, ModelError> {
        Ok(match network {
            Network::Paper(size) => Self::Paper(Box::new(PaperUnet::new(parameters, size)?)),
            Network::Compact(size) => Self::Compact(Box::new(CompactUnet::new(parameters, size)?)),
        })
    }

    /// Returns the logits of masks B×1×x×y×z.
    pub fn forward(&self, masks: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::Paper(net) => net.forward(masks),
            Self::Compact(net) => net.forward(masks),
        }
    }
}

/// The authors' `ReconNet`: the wide pyramid of their VAE, and at each grid on the way up the encoder's features
/// before those from below.
pub struct PaperUnet {
    down: PaperPyramid,
    up: [PaperBlock; 3],
    last: Conv,
}

impl PaperUnet {
    /// Asks for the parameters under the authors' names.
    pub fn new(parameters: &mut dyn Parameters, size: &PaperSize) -> Result<Self, ModelError> {
        let [c128, c64, c32, c16] = size.widths();
        Ok(Self {
            down: PaperPyramid::new(parameters, size)?,
            up: [
                PaperBlock::new(parameters, "conv_rest_u_32", [c32 + c16, c32, c32])?,
                PaperBlock::new(parameters, "conv_rest_u_64", [c64 + c32, c64, c64])?,
                PaperBlock::new(parameters, "conv_rest_u_128", [c128 + c64, c128, c128])?,
            ],
            last: Conv::new(parameters, "conv_final", [c128, 1], [3, 1])?,
        })
    }

    fn forward(&self, masks: &Tensor) -> Result<Tensor, ModelError> {
        let [grid128, grid64, grid32, grid16] = self.down.forward(masks)?;
        let mut grid = grid16;
        for (block, skipped) in self.up.iter().zip([grid32, grid64, grid128]) {
            grid = block.forward(&Tensor::f_cat(&[skipped, doubled(&grid)?], 1)?)?;
        }
        Ok(self.last.forward(&grid)?.f_to_kind(masks.kind())?)
    }
}

/// The trunk of the compact encoder, and the same way back with the features of each grid added.
pub struct CompactUnet {
    stem: Conv,
    down: [Conv; 3],
    blocks: [Vec<Residual>; 3],
    up: [Double; 3],
    blocks_again: [Vec<Residual>; 2],
    norm: GroupNorm,
    last: Conv,
}

impl CompactUnet {
    /// Asks for the parameters.
    pub fn new(parameters: &mut dyn Parameters, size: &CompactSize) -> Result<Self, ModelError> {
        let [c64, c32, c16, c8] = size.channels;
        let [n32, n16, n8, _] = size.encoder_blocks;
        let [n16_again, n32_again] = size.decoder_blocks;
        Ok(Self {
            stem: Conv::new(parameters, "stem", [1, c64], [4, 2])?,
            down: [
                Conv::new(parameters, "down32", [c64, c32], [2, 2])?,
                Conv::new(parameters, "down16", [c32, c16], [2, 2])?,
                Conv::new(parameters, "down8", [c16, c8], [2, 2])?,
            ],
            blocks: [
                Residual::row(parameters, "blocks32", c32, n32)?,
                Residual::row(parameters, "blocks16", c16, n16)?,
                Residual::row(parameters, "blocks8", c8, n8)?,
            ],
            up: [
                Double::new(parameters, "up16", [c8, c16])?,
                Double::new(parameters, "up32", [c16, c32])?,
                Double::new(parameters, "up64", [c32, c64])?,
            ],
            blocks_again: [
                Residual::row(parameters, "blocks16_again", c16, n16_again)?,
                Residual::row(parameters, "blocks32_again", c32, n32_again)?,
            ],
            norm: GroupNorm::new(parameters, "norm", c32)?,
            last: Conv::new(parameters, "last", [2 * c64, 8], [3, 1])?,
        })
    }

    fn forward(&self, masks: &Tensor) -> Result<Tensor, ModelError> {
        let [down32, down16, down8] = &self.down;
        let [blocks32, blocks16, blocks8] = &self.blocks;
        let [up16, up32, up64] = &self.up;
        let [blocks16_again, blocks32_again] = &self.blocks_again;
        let grid64 = self.stem.forward(&channels_last(masks)?)?.f_silu()?;
        let grid32 = through(blocks32, down32.forward(&grid64)?)?;
        let grid16 = through(blocks16, down16.forward(&grid32)?)?;
        let grid8 = through(blocks8, down8.forward(&grid16)?)?;
        let back16 = through(blocks16_again, grid16.f_add(&up16.forward(&grid8)?)?)?;
        let back32 = through(blocks32_again, grid32.f_add(&up32.forward(&back16)?)?)?;
        let back64 = up64.forward(&self.norm.forward(&back32)?.f_silu()?)?.f_silu()?;
        let both = Tensor::f_cat(&[grid64, back64], 1)?;
        depth_to_space(&self.last.forward(&both)?.f_to_kind(masks.kind())?)
    }
}
