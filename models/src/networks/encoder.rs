//! From a mask to the mean and log-variance of its latent: q(z₀ | x).

use tch::Tensor;

use crate::networks::fast::FastPyramid;
use crate::networks::layers::{
    BatchNorm, Conv, Double, Fresh, GroupNorm, Linear, Parameters, Purpose, Residual, through,
};
use crate::networks::{CompactSize, Heads, Network, PaperSize};
use crate::reconstructor::ModelError;

/// Mean and log-variance of a latent.
pub struct Posterior {
    /// Mean of z₀.
    pub mean: Tensor,
    /// Logarithm of its variance.
    pub log_variance: Tensor,
}

impl Posterior {
    /// Returns so many samples of each latent, one after another: mean + e^(log-variance / 2)·ε.
    ///
    /// # Errors
    /// What `noise` or libtorch says.
    pub fn sampled(
        &self,
        samples: usize,
        mut noise: impl FnMut(&[i64]) -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        let often = |tensor: &Tensor| tensor.f_repeat_interleave_self_int(samples as i64, 0, None);
        let mean = often(&self.mean)?;
        let spread = often(&self.log_variance)?.f_mul_scalar(0.5)?.f_exp()?;
        Ok(mean.f_add(&spread.f_mul(&noise(&mean.size())?)?)?)
    }
}

/// An encoder of one of the sizes.
pub enum Encoder {
    /// As in the paper's code.
    Paper(Box<PaperEncoder>),
    /// With a latent that keeps its place in space.
    Compact(Box<CompactEncoder>),
}

impl Encoder {
    /// Builds the encoder of a description.
    pub fn new(parameters: &mut dyn Parameters, network: &Network) -> Result<Self, ModelError> {
        Ok(match network {
            Network::Paper(size) => Self::Paper(Box::new(PaperEncoder::new(parameters, size)?)),
            Network::Compact(size) => Self::Compact(Box::new(CompactEncoder::new(parameters, size)?)),
        })
    }

    /// Returns the posterior of masks B×1×x×y×z of 0 and 1.
    pub fn forward(&self, masks: &Tensor) -> Result<Posterior, ModelError> {
        match self {
            Self::Paper(encoder) => encoder.forward(masks),
            Self::Compact(encoder) => encoder.forward(masks),
        }
    }
}

/// Two convolutions of kernel 3, each with BatchNorm and ReLU, under the authors' names.
pub(super) struct PaperBlock {
    convs: [Conv; 2],
    /// None where they are part of the convolutions.
    norms: Option<[BatchNorm; 2]>,
}

impl PaperBlock {
    /// Asks for the block's parameters; a `Sequential` of conv, norm, ReLU, conv, norm, ReLU.
    pub(super) fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        [from, between, to]: [i64; 3],
    ) -> Result<Self, ModelError> {
        let convs = [
            Conv::new(parameters, &format!("{name}.0"), [from, between], [3, 1])?,
            Conv::new(parameters, &format!("{name}.3"), [between, to], [3, 1])?,
        ];
        let norms = [
            BatchNorm::new(parameters, &format!("{name}.1"), between)?,
            BatchNorm::new(parameters, &format!("{name}.4"), to)?,
        ];
        if parameters.purpose() != Purpose::Restoring {
            let norms = Some(norms);
            return Ok(Self { convs, norms });
        }
        let ([first, second], [first_norm, second_norm]) = (convs, norms);
        Ok(Self {
            convs: [first.with(&first_norm)?, second.with(&second_norm)?],
            norms: None,
        })
    }

    /// Returns the block's output.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        let [first, second] = &self.convs;
        let norm = |index: usize, grid: Tensor| match &self.norms {
            Some(norms) => norms[index].forward(&grid),
            None => Ok(grid),
        };
        let between = norm(0, first.forward(input)?)?.f_relu_()?;
        Ok(norm(1, second.forward(&between)?)?.f_relu_()?)
    }

    /// Returns the two convolutions, norms included, where those are part of them.
    pub(super) fn convs(&self) -> Option<&[Conv; 2]> {
        self.norms.is_none().then_some(&self.convs)
    }
}

/// Returns the largest of each eight voxels.
pub(super) fn halved(grid: &Tensor) -> Result<Tensor, ModelError> {
    Ok(grid.f_max_pool3d([2; 3], [2; 3], [0; 3], [1; 3], false)?)
}

/// The authors' `VAE_new_Enc_small`, or the encoder of their `VAE_new` where the size is wide: four blocks with
/// max-pooling between, then one linear layer, or two.
pub struct PaperEncoder {
    blocks: PaperPyramid,
    fast: Option<FastPyramid>,
    linear: Linear,
    log_variance: Option<Linear>,
}

/// Voxels of the grid that the paper's linear layers see: 16³.
pub(super) const PAPER_GRID: i64 = 16 * 16 * 16;

/// The four blocks of the paper's encoders, with max-pooling between.
pub(super) struct PaperPyramid([PaperBlock; 4]);

impl PaperPyramid {
    /// Asks for the parameters under the authors' names.
    pub(super) fn new(parameters: &mut dyn Parameters, size: &PaperSize) -> Result<Self, ModelError> {
        let [c128, c64, c32, c16] = size.widths();
        Ok(Self([
            PaperBlock::new(parameters, "conv_initial", [1, c128 / 2, c128])?,
            PaperBlock::new(parameters, "conv_rest_x_64", [c128, c128, c64])?,
            PaperBlock::new(parameters, "conv_rest_x_32", [c64, c64, c32])?,
            PaperBlock::new(parameters, "conv_rest_x_16", [c32, c32, c16])?,
        ]))
    }

    /// Returns the blocks, from the finest grid down.
    pub(super) fn blocks(&self) -> &[PaperBlock; 4] {
        &self.0
    }

    /// Returns what each block gives, from the finest grid down.
    pub(super) fn forward(&self, masks: &Tensor) -> Result<[Tensor; 4], ModelError> {
        let [block128, block64, block32, block16] = &self.0;
        let grid128 = block128.forward(masks)?;
        let grid64 = block64.forward(&halved(&grid128)?)?;
        let grid32 = block32.forward(&halved(&grid64)?)?;
        let grid16 = block16.forward(&halved(&grid32)?)?;
        Ok([grid128, grid64, grid32, grid16])
    }
}

impl PaperEncoder {
    /// Asks for the parameters under the authors' names.
    pub fn new(parameters: &mut dyn Parameters, size: &PaperSize) -> Result<Self, ModelError> {
        let blocks = PaperPyramid::new(parameters, size)?;
        let [.., c16] = size.widths();
        let shape = [c16 * PAPER_GRID, size.latents];
        Ok(Self {
            fast: FastPyramid::of(&blocks)?,
            blocks,
            linear: Linear::new(parameters, "linear_enc", shape)?,
            log_variance: match size.heads {
                Heads::Shared => None,
                Heads::Separate => Some(Linear::starting(
                    parameters,
                    "linear_enc_log_variance",
                    shape,
                    QUIET,
                )?),
            },
        })
    }

    /// Returns the posterior. In the authors' code mean and log-variance come from the same layer:
    /// log-variance = 1e-6 + softplus(mean), so that no standard deviation is below 1.
    pub fn forward(&self, masks: &Tensor) -> Result<Posterior, ModelError> {
        let grid16 = match &self.fast {
            Some(fast) => fast.forward(masks)?,
            None => {
                let [.., grid16] = self.blocks.forward(masks)?;
                grid16
            }
        };
        let features = grid16.f_flatten(1, -1)?.f_to_kind(masks.kind())?;
        let mean = self.linear.forward(&features)?;
        let log_variance = match &self.log_variance {
            None => mean.f_softplus()?.f_add_scalar(1e-6)?,
            Some(head) => within_bounds(&head.forward(&features)?)?,
        };
        Ok(Posterior { mean, log_variance })
    }
}

/// Keeps log-variances within [`LOG_VARIANCE`].
fn within_bounds(log_variance: &Tensor) -> Result<Tensor, ModelError> {
    let [lowest, highest] = LOG_VARIANCE;
    Ok(log_variance.f_clamp(lowest, highest)?)
}

/// Strided convolutions down to an eighth of the edge and one level further and back, then two heads.
///
/// An input grid of (x, y, z) voxels gives a latent grid of (x, y, z) / 8.
pub struct CompactEncoder {
    stem: Conv,
    down: [Conv; 3],
    blocks: [Vec<Residual>; 4],
    up: Double,
    norm: GroupNorm,
    mean: Conv,
    log_variance: Conv,
}

/// Log-variances are kept within these: below, the noise no longer matters; above, it hides everything.
const LOG_VARIANCE: [f64; 2] = [-10.0, 4.0];
/// Log-variance at the start of training: a standard deviation of 0.14.
const LOG_VARIANCE_START: f64 = -4.0;
/// Start of a head of log-variances: weights, bias.
const QUIET: [Fresh; 2] = [Fresh::Constant(0.0), Fresh::Constant(LOG_VARIANCE_START)];

impl CompactEncoder {
    /// Asks for the parameters.
    pub fn new(parameters: &mut dyn Parameters, size: &CompactSize) -> Result<Self, ModelError> {
        let [c64, c32, c16, c8] = size.channels;
        let [n32, n16, n8, n16_again] = size.encoder_blocks;
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
                Residual::row(parameters, "blocks16_again", c16, n16_again)?,
            ],
            up: Double::new(parameters, "up16", [c8, c16])?,
            norm: GroupNorm::new(parameters, "norm", c16)?,
            mean: Conv::new(parameters, "mean", [c16, size.latents], [1, 1])?,
            log_variance: Conv::starting(parameters, "log_variance", [c16, size.latents], [1, 1], QUIET)?,
        })
    }

    /// Returns the posterior on the latent grid, in f32 or f64 whatever the convolutions compute in.
    pub fn forward(&self, masks: &Tensor) -> Result<Posterior, ModelError> {
        let [down32, down16, down8] = &self.down;
        let [blocks32, blocks16, blocks8, blocks16_again] = &self.blocks;
        let grid64 = self.stem.forward(masks)?.f_silu()?;
        let grid32 = through(blocks32, down32.forward(&grid64)?)?;
        let grid16 = through(blocks16, down16.forward(&grid32)?)?;
        let grid8 = through(blocks8, down8.forward(&grid16)?)?;
        let back = grid16.f_add(&self.up.forward(&grid8)?)?;
        let features = self.norm.forward(&through(blocks16_again, back)?)?.f_silu()?;
        let mean = self.mean.forward(&features)?.f_to_kind(masks.kind())?;
        let log_variance = self.log_variance.forward(&features)?.f_to_kind(masks.kind())?;
        Ok(Posterior {
            mean,
            log_variance: within_bounds(&log_variance)?,
        })
    }
}
