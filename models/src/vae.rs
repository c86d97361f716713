//! The variational autoencoder: encoder and generator of LSD-EBM under a standard normal prior.

use rand_chacha::ChaCha8Rng;
use schemas::{Patch, Reconstruction};
use tch::{Device, Tensor};

use crate::description::Description;
use crate::lsd_ebm::langevin::drawn;
use crate::networks::encoder::Encoder;
use crate::networks::generator::Generator;
use crate::networks::layers::Stored;
use crate::networks::restore::{Draws, Restore, Restored, reconstruct};
use crate::networks::{ENCODER, GENERATOR, Network};
use crate::reconstructor::{ModelConf, ModelError, Reconstructor};
use crate::weights::Tensors;

/// Encoder and generator of one set of weights on one device, ready to reconstruct.
pub struct Vae {
    description: Description,
    encoder: Encoder,
    generator: Generator,
    draws: Draws,
    device: Device,
}

impl Vae {
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
        let stored = |prefix| Stored::on(tensors, prefix, device).computing(conf.precision);
        Ok(Self {
            encoder: Encoder::new(&mut stored(ENCODER), network)?,
            generator: Generator::new(&mut stored(GENERATOR), network)?,
            draws: Draws::of(conf, false)?,
            description,
            device,
        })
    }

    /// Returns what these weights are.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

impl Restore for Vae {
    fn network(&self) -> &Network {
        &self.description.network
    }

    fn device(&self) -> Device {
        self.device
    }

    fn draws(&self) -> Draws {
        self.draws
    }

    /// Decodes samples of the posterior, as the authors do, and never its mean, which the generator has not learnt to
    /// decode: cells that carry nothing are noise in a sample and still in the mean. Late in a training (`compact`, from
    /// step 1800 on) the mean came out as blobs, DSC 0.56, while a vote of samples had 0.88.
    fn restore(&self, masks: &Tensor, rngs: &mut [ChaCha8Rng]) -> Result<Restored, ModelError> {
        let posterior = self.encoder.forward(masks)?;
        let latents = posterior.sampled(self.draws.samples, |shape| drawn(rngs, shape, self.device))?;
        let often = masks.f_repeat_interleave_self_int(self.draws.samples as i64, 0, None)?;
        let logits = self.generator.forward(&latents, &often)?;
        Ok(Restored {
            latents: Some(latents),
            logits,
        })
    }
}

impl Reconstructor for Vae {
    fn reconstruct(&mut self, batch: &[Patch], seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        reconstruct(self, batch, seeds)
    }
}
