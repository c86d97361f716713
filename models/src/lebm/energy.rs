//! The energy that tilts LEBM's prior: p(z) ∝ exp(−E(z)) · N(z; 0, 1). It knows no diffusion level.

use tch::{Kind, Tensor};

use crate::lsd_ebm::energy::CompactEnergy;
use crate::networks::layers::{BatchNorm, Linear, Parameters};
use crate::networks::{CompactSize, Network, PaperSize};
use crate::reconstructor::ModelError;

/// An energy of one of the sizes.
pub enum PriorEnergy {
    /// A perceptron on a flat latent.
    Paper(Box<PaperPriorEnergy>),
    /// Convolutional, on a latent that keeps its place in space.
    Compact(Box<CompactEnergy>),
}

impl PriorEnergy {
    /// Builds the energy of a description.
    pub fn new(parameters: &mut dyn Parameters, network: &Network) -> Result<Self, ModelError> {
        Ok(match network {
            Network::Paper(size) => Self::Paper(Box::new(PaperPriorEnergy::new(parameters, size)?)),
            Network::Compact(size) => {
                let size = CompactSize {
                    conditioned: false,
                    ..size.clone()
                };
                Self::Compact(Box::new(CompactEnergy::new(parameters, &size, 1)?))
            }
        })
    }

    /// Returns the energy of each latent, B values.
    pub fn forward(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::Paper(energy) => energy.forward(latents),
            Self::Compact(energy) => energy.forward(latents, &no_level(latents)?, latents),
        }
    }

    /// Returns the gradient of each latent's energy by that latent, in closed form. BatchNorm must not be counting.
    pub fn gradient(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        tch::no_grad(|| match self {
            Self::Paper(energy) => energy.gradient(latents),
            Self::Compact(energy) => energy.gradient(latents, &no_level(latents)?, latents),
        })
    }
}

/// Returns level 0 for each latent.
fn no_level(latents: &Tensor) -> Result<Tensor, ModelError> {
    let batch = latents.size().first().copied().unwrap_or_default();
    Ok(Tensor::f_zeros([batch], (Kind::Int64, latents.device()))?)
}

/// Hidden layers.
const HIDDEN: usize = 4;

/// The authors' `E_func` with `num_layers = 3`: four hidden layers, each with GELU and, in their code, BatchNorm,
/// then one output.
pub struct PaperPriorEnergy {
    hidden: Vec<Hidden>,
    last: Linear,
}

struct Hidden {
    linear: Linear,
    norm: Option<BatchNorm>,
}

impl PaperPriorEnergy {
    /// Asks for the parameters under the authors' names, which count GELU and BatchNorm too.
    pub fn new(parameters: &mut dyn Parameters, size: &PaperSize) -> Result<Self, ModelError> {
        let width = size.energy_width;
        let mut hidden = Vec::with_capacity(HIDDEN);
        for layer in 0..HIDDEN {
            let from = if layer == 0 { size.latents } else { width };
            let linear = Linear::new(parameters, &format!("ebm.{}", 3 * layer), [from, width])?;
            let norm = if size.energy_batch_norm {
                Some(BatchNorm::new(
                    parameters,
                    &format!("ebm.{}", 3 * layer + 2),
                    width,
                )?)
            } else {
                None
            };
            hidden.push(Hidden { linear, norm });
        }
        let last = Linear::new(parameters, &format!("ebm.{}", 3 * HIDDEN), [width, 1])?;
        Ok(Self { hidden, last })
    }

    fn forward(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        let mut rows = latents.shallow_clone();
        for hidden in &self.hidden {
            rows = hidden.forward(&hidden.linear.forward(&rows)?)?;
        }
        Ok(self.last.forward(&rows)?.f_squeeze_dim(1)?)
    }

    /// The chain rule from the output back: through each scale of a BatchNorm, gelu' and matrix.
    fn gradient(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        let mut rows = latents.shallow_clone();
        let mut before_gelu = Vec::with_capacity(HIDDEN);
        for hidden in &self.hidden {
            let inner = hidden.linear.forward(&rows)?;
            rows = hidden.forward(&inner)?;
            before_gelu.push(inner);
        }
        let mut by_rows = self.last.weight().f_expand_as(&rows)?;
        for (hidden, inner) in self.hidden.iter().zip(&before_gelu).rev() {
            if let Some(norm) = &hidden.norm {
                by_rows = norm.backward(&by_rows)?;
            }
            by_rows = hidden
                .linear
                .backward(&inner.f_gelu_backward(&by_rows, "none")?)?;
        }
        Ok(by_rows)
    }
}

impl Hidden {
    /// Returns what follows the linear layer: GELU, then the norm if there is one.
    fn forward(&self, inner: &Tensor) -> Result<Tensor, ModelError> {
        let active = inner.f_gelu("none")?;
        match &self.norm {
            Some(norm) => norm.forward(&active),
            None => Ok(active),
        }
    }
}
