//! What a network is: the one description that its weights carry and from which it is built.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::lsd_ebm::schedule::Levels;
use crate::reconstructor::ModelError;

/// Name of the method in a description.
pub const METHOD: &str = "lsd_ebm";

/// Key of the description, as JSON, in the weights' `__metadata__`. One key only, so that equal weights are
/// equal bytes.
pub const DESCRIPTION: &str = "description";

/// Everything about a set of weights that is not a number in them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// [`METHOD`].
    pub method: String,
    /// Version of these weights, as the tables name it.
    pub version: String,
    /// Networks and their sizes.
    pub network: Network,
    /// Diffusion levels that the energy was trained for.
    pub levels: Levels,
    /// The walk from one level to the one below.
    pub walk: Walk,
    /// Mean and standard deviation of each latent channel over the training set; latents are standardised
    /// by these before they are diffused. Empty for the paper's networks, which diffuse latents as they are.
    pub latent: LatentStatistics,
}

/// Which networks, of what size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The paper's, as its authors' code builds them.
    Paper(PaperSize),
    /// Fit for a CPU: a latent that keeps its place in space, GroupNorm, separate heads.
    Compact(CompactSize),
}

/// Sizes of the paper's networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaperSize {
    /// Channels c of the middle blocks: 16 in the paper.
    pub channels: i64,
    /// Length of the flat latent: 100 in the paper.
    pub latents: i64,
    /// Width of the energy's hidden layers: 1000 in the paper.
    pub energy_width: i64,
}

impl Default for PaperSize {
    fn default() -> Self {
        Self {
            channels: 16,
            latents: 100,
            energy_width: 1000,
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
            window: [128, 112, 80],
        }
    }
}

/// How Langevin dynamics walks from z_{t+1} to z_t.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walk {
    /// Langevin steps per level (K).
    pub steps: usize,
    /// Step size λ.
    pub step: StepSize,
    /// Factor on the Langevin noise √λ·ε: 1 samples, 0 descends; 0.01 in the paper's code.
    pub temperature: f64,
    /// Factor on the noise of the forward process: 1, but 0.1 in the paper's code.
    pub forward_noise: f64,
    /// Where a level starts.
    pub start: Start,
}

/// Step size λ of the Langevin dynamics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepSize {
    /// The same at every level: 0.01 in the paper's code, which diverges where λ > 4 sigma².
    Fixed(f64),
    /// `share`·sigma² / (1 + `curvature`·sigma²), sigma² that of the level above: a share of the variance that
    /// the quadratic and an energy of this curvature leave, so that no level diverges.
    Relative {
        /// Share of the variance.
        share: f64,
        /// Curvature of the energy that is reckoned with.
        curvature: f64,
    },
}

/// Where the dynamics of a level starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// From N(0, 1), as in the paper's code.
    Noise,
    /// From z_{t+1}.
    Above,
}

/// Mean and standard deviation per latent channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentStatistics {
    /// Means.
    pub mean: Vec<f64>,
    /// Standard deviations.
    pub std: Vec<f64>,
}

impl Walk {
    /// Returns the walk of the paper's code.
    pub fn paper() -> Self {
        Self {
            steps: 300,
            step: StepSize::Fixed(0.01),
            temperature: 0.01,
            forward_noise: 0.1,
            start: Start::Noise,
        }
    }

    /// Returns the corrected walk: sampling at unit temperature, stable at every level.
    pub fn corrected(steps: usize) -> Self {
        Self {
            steps,
            step: StepSize::Relative {
                share: 0.4,
                curvature: 10.0,
            },
            temperature: 1.0,
            forward_noise: 1.0,
            start: Start::Above,
        }
    }
}

impl Description {
    /// Returns the description in the metadata of weights.
    ///
    /// # Errors
    /// [`ModelError::Weights`] if there is none, or one of another method or without sense.
    pub fn from_metadata(metadata: &HashMap<String, String>) -> Result<Self, ModelError> {
        let Some(text) = metadata.get(DESCRIPTION) else {
            return Err(ModelError::Weights(format!(
                "expected a metadata entry {DESCRIPTION:?}, found none"
            )));
        };
        let description: Self = serde_json::from_str(text)
            .map_err(|error| ModelError::Weights(format!("metadata entry {DESCRIPTION:?}: {error}")))?;
        description.check()?;
        Ok(description)
    }

    /// Returns the metadata that holds this description.
    ///
    /// # Errors
    /// [`ModelError::Weights`] for numbers that JSON cannot hold.
    pub fn to_metadata(&self) -> Result<HashMap<String, String>, ModelError> {
        let text = serde_json::to_string(self)
            .map_err(|error| ModelError::Weights(format!("description: {error}")))?;
        Ok(HashMap::from([(DESCRIPTION.to_owned(), text)]))
    }

    fn check(&self) -> Result<(), ModelError> {
        let wrong = |what: String| Err(ModelError::Weights(what));
        if self.method != METHOD {
            return wrong(format!("expected method {METHOD:?}, found {:?}", self.method));
        }
        if self.walk.steps == 0 {
            return wrong("expected at least one Langevin step a level, found 0".to_owned());
        }
        match &self.network {
            Network::Paper(size) => {
                if size.channels < 2 || size.channels % 2 != 0 || size.latents < 1 || size.energy_width < 1 {
                    return wrong(format!(
                        "expected positive sizes, an even channel count, found {size:?}"
                    ));
                }
            }
            Network::Compact(size) => {
                let counts = size
                    .channels
                    .iter()
                    .chain(&size.energy_channels)
                    .chain([&size.latents]);
                if counts.into_iter().any(|count| *count < 1 || *count > 4096) {
                    return wrong(format!("expected 1 to 4096 channels, found {size:?}"));
                }
                if size
                    .window
                    .iter()
                    .any(|length| *length < 16 || *length > SIDE || length % 16 != 0)
                {
                    return wrong(format!(
                        "expected a window of multiples of 16 voxels, found {size:?}"
                    ));
                }
                let latents = usize::try_from(size.latents).unwrap_or_default();
                let statistics = &self.latent;
                if statistics.mean.len() != latents || statistics.std.len() != latents {
                    return wrong(format!(
                        "expected latent statistics of {latents} channels, found {} and {}",
                        statistics.mean.len(),
                        statistics.std.len()
                    ));
                }
                if !statistics.std.iter().all(|std| *std > 0.0 && std.is_finite()) {
                    return wrong("expected positive standard deviations of the latents".to_owned());
                }
            }
        }
        Ok(())
    }
}

/// Edge of the patch, in voxels.
pub const SIDE: i64 = 128;
