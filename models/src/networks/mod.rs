//! What the methods' networks are made of, at the paper's size and at one that suits a CPU.

use serde::{Deserialize, Serialize};

use crate::reconstructor::ModelError;

pub mod device;
pub mod encoder;
mod fast;
pub mod generator;
pub mod grids;
pub mod layers;
pub mod parameters;
pub mod restore;
#[cfg(test)]
mod tests;
pub mod unet;

/// Names of a network's parameters begin with these: the encoder's,
pub const ENCODER: &str = "encoder.";
/// the generator's,
pub const GENERATOR: &str = "generator.";
/// the energy's,
pub const ENERGY: &str = "energy.";
/// the U-Net's.
pub const UNET: &str = "unet.";

/// Edge of the patch, in voxels.
pub const SIDE: i64 = 128;

/// Which networks, of what size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The paper's, as its authors' code builds them, or with its mistakes mended.
    Paper(PaperSize),
    /// Fit for a CPU: a latent that keeps its place in space, GroupNorm, separate heads.
    Compact(CompactSize),
}

/// Sizes of the paper's networks, and what of the authors' code is mended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaperSize {
    /// Channels c that the first block ends with: 16 in the paper.
    pub channels: i64,
    /// The blocks end with c, 2c, 4c, 8c channels (VAE, LEBM, ReconNet) instead of c, c, 2c, 4c (LSD-EBM).
    pub wide: bool,
    /// Length of the flat latent: 100 in the paper.
    pub latents: i64,
    /// Where the log-variance comes from.
    pub heads: Heads,
    /// Width of the energy's hidden layers: 1000 in LSD-EBM, 300 in LEBM.
    pub energy_width: i64,
    /// How the energy is told its diffusion level.
    pub time: Time,
    /// LEBM's energy has a BatchNorm after each hidden layer, which takes its loss to 0 (MODEL.md §0, 8).
    pub energy_batch_norm: bool,
}

/// Where an encoder's log-variance comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heads {
    /// From the layer of the mean: 1e-6 + softplus(mean), as in the authors' code.
    Shared,
    /// From a layer of its own.
    Separate,
}

/// How the paper's energy is told its diffusion level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Time {
    /// As one more entry of the latent, the raw number, as in the authors' code.
    Raw,
    /// As sines and cosines of it (Vaswani et al. 2017).
    Embedded,
}

impl Default for PaperSize {
    fn default() -> Self {
        Self::PAPER_CODE
    }
}

impl PaperSize {
    /// LSD-EBM as the authors' code has it.
    pub const PAPER_CODE: Self = Self {
        channels: 16,
        wide: false,
        latents: 100,
        heads: Heads::Shared,
        energy_width: 1000,
        time: Time::Raw,
        energy_batch_norm: false,
    };

    /// Returns the channels that the four blocks end with, from the finest grid down.
    pub fn widths(&self) -> [i64; 4] {
        let c = self.channels;
        if self.wide {
            [c, 2 * c, 4 * c, 8 * c]
        } else {
            [c, c, 2 * c, 4 * c]
        }
    }
}

/// Sizes of the compact networks. Grids are those of a 128³ patch without a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompactSize {
    /// Channels on the grids of 64³, 32³, 16³ and 8³.
    pub channels: [i64; 4],
    /// Channels of the latent on the grid of 16³.
    pub latents: i64,
    /// Residual blocks of the encoder at 32³, 16³, 8³, and at 16³ again.
    pub encoder_blocks: [usize; 4],
    /// Residual blocks of the decoder at 16³ and 32³.
    pub decoder_blocks: [usize; 2],
    /// Channels of the energy at 16³ and 8³.
    pub energy_channels: [i64; 2],
    /// The energy sees the latent of the observed mask beside the one it judges.
    pub conditioned: bool,
    /// The generator sees the observed mask's edges beside the latent: p(x | z, y) instead of p(x | z). Tried and left
    /// off: within 300 steps the latent carried nothing any more (divergence 0.002 at a weight of 1, 0.06 at 0.2), and
    /// the held-out DSC stayed 0.012 below that without.
    pub detail: bool,
    /// Voxels along right, anterior, superior that the networks see, about the patch's centre. A mask that
    /// reaches out of it is seen whole.
    pub window: [i64; 3],
}

impl Default for CompactSize {
    fn default() -> Self {
        Self {
            channels: [16, 32, 64, 128],
            latents: 8,
            encoder_blocks: [1, 2, 2, 1],
            decoder_blocks: [2, 1],
            energy_channels: [32, 64],
            conditioned: true,
            detail: false,
            window: [128, 112, 80],
        }
    }
}

impl Network {
    /// Returns the voxels that the networks see, about the patch's centre.
    pub fn window(&self) -> [i64; 3] {
        match self {
            Self::Paper(_) => [SIDE; 3],
            Self::Compact(size) => size.window,
        }
    }

    /// Returns how many entries latents have in one statistic each: channels of a grid, or entries of a vector.
    pub fn latents(&self) -> usize {
        let count = match self {
            Self::Paper(size) => size.latents,
            Self::Compact(size) => size.latents,
        };
        usize::try_from(count).unwrap_or_default()
    }

    /// Returns the shape of one latent of the window.
    pub fn latent_shape(&self) -> Vec<i64> {
        match self {
            Self::Paper(size) => vec![size.latents],
            Self::Compact(size) => {
                let [x, y, z] = size.window.map(|length| length / 8);
                vec![size.latents, x, y, z]
            }
        }
    }

    /// Refuses sizes that make no network.
    ///
    /// # Errors
    /// [`ModelError::Weights`] that names what was found.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |what: String| Err(ModelError::Weights(what));
        match self {
            Self::Paper(size) => {
                let counts = [size.channels, size.latents, size.energy_width];
                if counts.iter().any(|count| !(1..=4096).contains(count)) || size.channels % 2 != 0 {
                    return wrong(format!(
                        "expected sizes of 1 to 4096, an even channel count, found {size:?}"
                    ));
                }
            }
            Self::Compact(size) => {
                let counts = size
                    .channels
                    .iter()
                    .chain(&size.energy_channels)
                    .chain([&size.latents]);
                if counts.into_iter().any(|count| !(1..=4096).contains(count)) {
                    return wrong(format!("expected 1 to 4096 channels, found {size:?}"));
                }
                let fits = |length: &i64| (16..=SIDE).contains(length) && length % 16 == 0;
                if !size.window.iter().all(fits) {
                    return wrong(format!(
                        "expected a window of multiples of 16 voxels, found {size:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}
