//! The latent-space energy-based model (Pang et al. 2020): a generator and an energy on its latents, no encoder.
//!
//! A mask's latent is found by Langevin dynamics on the posterior, each of whose steps decodes and goes back through
//! the generator: an order of magnitude dearer than an encoder.

use rand_chacha::ChaCha8Rng;
use schemas::{Patch, Reconstruction};
use tch::{Device, Tensor};

use crate::description::Description;
use crate::lsd_ebm::langevin::{Watch, drawn, nobody};
use crate::networks::generator::Generator;
use crate::networks::grids::variance;
use crate::networks::layers::Stored;
use crate::networks::restore::{Draws, Restore, Restored, reconstruct};
use crate::networks::{ENERGY, GENERATOR, Network, restore};
use crate::reconstructor::{ModelConf, ModelError, Precision, Reconstructor, TracePoint};
use crate::weights::Tensors;

pub mod energy;
pub mod langevin;
#[cfg(test)]
mod tests;

use energy::PriorEnergy;
use langevin::ShortRun;

pub use langevin::{Likelihood, Short};

/// Generator and energy of one set of weights on one device, ready to reconstruct.
pub struct Lebm {
    description: Description,
    short: Short,
    generator: Generator,
    energy: PriorEnergy,
    draws: Draws,
    device: Device,
}

impl Lebm {
    /// Builds the model from tensors and their description.
    ///
    /// # Errors
    /// Unfit weights, or more samples than can be.
    pub fn build(
        tensors: &Tensors,
        description: Description,
        conf: &ModelConf,
        device: Device,
    ) -> Result<Self, ModelError> {
        let network = &description.network;
        if conf.precision != Precision::Full {
            return Err(ModelError::Conf(format!(
                "model.precision: expected f32 for lebm, whose chain follows the generator's gradient, found {}",
                conf.precision.as_str()
            )));
        }
        Ok(Self {
            short: description.short()?.clone(),
            generator: Generator::new(&mut Stored::on(tensors, GENERATOR, device), network)?,
            energy: PriorEnergy::new(&mut Stored::on(tensors, ENERGY, device), network)?,
            draws: Draws::of(conf, false)?,
            description,
            device,
        })
    }

    /// Returns what these weights are.
    pub fn description(&self) -> &Description {
        &self.description
    }

    fn latents(
        &self,
        masks: &Tensor,
        rngs: &mut [ChaCha8Rng],
        watch: &mut Watch<'_>,
    ) -> Result<Tensor, ModelError> {
        let run = ShortRun {
            generator: &self.generator,
            energy: &self.energy,
            short: &self.short,
            shared_by: 1,
        };
        let shape = latent_shape(&self.description.network, masks)?;
        let mut noise = |shape: &[i64]| drawn(rngs, shape, self.device);
        let start = noise(&shape)?;
        watch(&start)?;
        run.posterior(masks, &start, &mut noise, watch)
    }
}

/// Returns the shape of the latents of masks B×1×x×y×z, whatever their window.
pub(crate) fn latent_shape(network: &Network, masks: &Tensor) -> Result<Vec<i64>, ModelError> {
    let (batch, _, x, y, z) = masks.size5()?;
    Ok(match network {
        Network::Paper(size) => vec![batch, size.latents],
        Network::Compact(size) => vec![batch, size.latents, x / 8, y / 8, z / 8],
    })
}

impl Restore for Lebm {
    fn network(&self) -> &Network {
        &self.description.network
    }

    fn device(&self) -> Device {
        self.device
    }

    fn draws(&self) -> Draws {
        self.draws
    }

    fn restore(&self, masks: &Tensor, rngs: &mut [ChaCha8Rng]) -> Result<Restored, ModelError> {
        let often = masks.f_repeat_interleave_self_int(self.draws.samples as i64, 0, None)?;
        let latents = self.latents(&often, rngs, &mut nobody())?;
        let logits = self.generator.forward(&latents, &often)?;
        Ok(Restored {
            latents: Some(latents),
            logits,
        })
    }
}

impl Reconstructor for Lebm {
    fn reconstruct(&mut self, batch: &[Patch], seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        reconstruct(self, batch, seeds)
    }

    fn trace(&mut self, patch: &Patch, seed: u64) -> Result<Vec<TracePoint>, ModelError> {
        let (masks, mut rngs) = restore::single(self, patch, seed)?;
        let mut points = Vec::new();
        let _ = self.latents(&masks, &mut rngs, &mut |z| {
            points.push(TracePoint {
                leg: "posterior",
                position: points.len(),
                variance: variance(z)?,
            });
            Ok(())
        })?;
        Ok(points)
    }
}
