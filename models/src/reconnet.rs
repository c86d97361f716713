//! ReconNet: a U-Net with skips from a degraded mask to a whole one. The earlier pipeline ran it before the prior.

use rand_chacha::ChaCha8Rng;
use schemas::{Patch, Reconstruction};
use tch::{Device, Tensor};

use crate::description::Description;
use crate::networks::layers::Stored;
use crate::networks::restore::{Draws, Restore, Restored, reconstruct};
use crate::networks::unet::Unet;
use crate::networks::{Network, UNET};
use crate::reconstructor::{ModelConf, ModelError, Reconstructor};
use crate::weights::Tensors;

/// The U-Net of one set of weights on one device, ready to reconstruct. It draws nothing: `model.samples` does not
/// concern it.
pub struct ReconNet {
    description: Description,
    unet: Unet,
    draws: Draws,
    device: Device,
}

impl ReconNet {
    /// Builds the model from tensors and their description.
    ///
    /// # Errors
    /// Unfit weights.
    pub fn build(
        tensors: &Tensors,
        description: Description,
        conf: &ModelConf,
        device: Device,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            unet: Unet::new(
                &mut Stored::on(tensors, UNET, device).computing(conf.precision),
                &description.network,
            )?,
            draws: Draws::single(conf),
            description,
            device,
        })
    }

    /// Returns what these weights are.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

impl Restore for ReconNet {
    fn network(&self) -> &Network {
        &self.description.network
    }

    fn device(&self) -> Device {
        self.device
    }

    fn draws(&self) -> Draws {
        self.draws
    }

    fn restore(&self, masks: &Tensor, _rngs: &mut [ChaCha8Rng]) -> Result<Restored, ModelError> {
        Ok(Restored {
            latents: None,
            logits: self.unet.forward(masks)?,
        })
    }
}

impl Reconstructor for ReconNet {
    fn reconstruct(&mut self, batch: &[Patch], seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        reconstruct(self, batch, seeds)
    }
}
