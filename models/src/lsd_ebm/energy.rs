//! The energy of a latent at a diffusion level: p(z_t | z_{t+1}) ∝ exp(−E(z_t, t) − |z_t − z_{t+1}|² / 2σ²).

mod compact;
mod paper;
#[cfg(test)]
mod tests;

use tch::Tensor;

pub use self::compact::CompactEnergy;
pub use self::paper::PaperEnergy;
use crate::networks::Network;
use crate::networks::layers::Parameters;
use crate::reconstructor::ModelError;

/// An energy network of one of the sizes.
pub enum Energy {
    /// As in the paper's code.
    Paper(PaperEnergy),
    /// Convolutional, on a latent that keeps its place in space.
    Compact(Box<CompactEnergy>),
}

impl Energy {
    /// Builds the energy of a description with so many diffusion levels.
    pub fn new(
        parameters: &mut dyn Parameters,
        network: &Network,
        levels: usize,
    ) -> Result<Self, ModelError> {
        Ok(match network {
            Network::Paper(size) => Self::Paper(PaperEnergy::new(parameters, size)?),
            Network::Compact(size) => Self::Compact(Box::new(CompactEnergy::new(parameters, size, levels)?)),
        })
    }

    /// Returns the energy of each latent at its level, B values; `observed` is the latent of the mask given,
    /// which only a conditioned energy looks at.
    pub fn forward(
        &self,
        latents: &Tensor,
        levels: &Tensor,
        observed: &Tensor,
    ) -> Result<Tensor, ModelError> {
        match self {
            Self::Paper(energy) => energy.forward(latents, levels),
            Self::Compact(energy) => energy.forward(latents, levels, observed),
        }
    }

    /// Returns the gradient of each latent's energy by that latent, in closed form: the chain rule is written
    /// out in each energy, and no graph is kept.
    pub fn gradient(
        &self,
        latents: &Tensor,
        levels: &Tensor,
        observed: &Tensor,
    ) -> Result<Tensor, ModelError> {
        tch::no_grad(|| match self {
            Self::Paper(energy) => energy.gradient(latents, levels),
            Self::Compact(energy) => energy.gradient(latents, levels, observed),
        })
    }
}
