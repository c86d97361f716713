//! The latent-space diffusion energy-based model of the paper: encoder, generator, energy prior.

use rand_chacha::ChaCha8Rng;
use schemas::{Patch, Reconstruction};
use tch::{Device, Kind, Tensor};

use crate::description::{Description, LatentStatistics, Method, Preset};
use crate::networks::device::device;
use crate::networks::encoder::Encoder;
use crate::networks::generator::Generator;
use crate::networks::grids::variance;
use crate::networks::layers::Stored;
use crate::networks::restore::{Draws, Restore, Restored, reconstruct, single};
use crate::networks::{ENCODER, ENERGY, GENERATOR, Network};
use crate::reconstructor::{ModelConf, ModelError, Reconstructor, TracePoint};
use crate::weights::{Tensors, read};

pub mod energy;
pub mod langevin;
pub mod schedule;
#[cfg(test)]
mod tests;
pub mod walk;

use energy::Energy;
use langevin::{Chain, Watch, drawn, nobody};
use schedule::Schedule;
use walk::Walk;

/// Encoder, generator and energy of one set of weights on one device, ready to reconstruct.
pub struct LsdEbm {
    description: Description,
    schedule: Schedule,
    walk: Walk,
    encoder: Encoder,
    generator: Generator,
    energy: Energy,
    /// Mean and standard deviation per latent channel, shaped to be broadcast; `None` leaves latents as they are.
    standard: Option<[Tensor; 2]>,
    /// Level that the chain starts from.
    steps: usize,
    draws: Draws,
    device: Device,
}

impl LsdEbm {
    /// Builds the model from the bytes of its weights.
    ///
    /// # Errors
    /// Unfit weights, a device that is not there, more steps than the weights have levels, or several samples where
    /// all would be equal.
    pub fn open(bytes: &[u8], conf: &ModelConf, name: &str) -> Result<Self, ModelError> {
        let weights = read(bytes)?;
        let description = Description::of(Method::LsdEbm, &weights.metadata)?;
        Self::build(&weights.tensors, description, conf, device(name)?)
    }

    /// Builds the model from tensors and their description.
    ///
    /// # Errors
    /// See [`LsdEbm::open`].
    pub fn build(
        tensors: &Tensors,
        description: Description,
        conf: &ModelConf,
        device: Device,
    ) -> Result<Self, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let standard = standard(&description.latent, &description.network, device)?;
        let always_equal = conf.steps == 0 && standard.is_some();
        let draws = Draws::of(conf, always_equal)?;
        let trained = description.schedule()?;
        let schedule = match &description.levels_walked {
            Some(levels) => Schedule::new(levels)?,
            None if description.preset == Preset::Corrected => trained.clone().undivided_nowhere(),
            None => trained.clone(),
        };
        let steps = usize::try_from(conf.steps).unwrap_or(usize::MAX);
        if steps > schedule.levels() {
            return Err(ModelError::Conf(format!(
                "model.steps: expected at most the {} levels of these weights, found {steps}",
                schedule.levels()
            )));
        }
        let network = &description.network;
        let stored = |prefix| Stored::on(tensors, prefix, device);
        Ok(Self {
            encoder: Encoder::new(&mut stored(ENCODER).computing(conf.precision), network)?,
            generator: Generator::new(&mut stored(GENERATOR).computing(conf.precision), network)?,
            energy: Energy::new(
                &mut stored(ENERGY).computing(conf.precision),
                network,
                trained.levels(),
            )?,
            walk: description.walk()?.by(conf.sampler),
            schedule,
            description,
            standard,
            steps,
            draws,
            device,
        })
    }

    /// Returns what these weights are.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Returns the latents that masks B×1×x×y×z come back as from the chain, each as often as it has generators.
    ///
    /// z₀ is the posterior's mean where latents are standardised: an encoder trained on degraded masks has its best
    /// guess there, and the chain adds the spread. In the authors' code it is a sample.
    fn latents(
        &self,
        masks: &Tensor,
        rngs: &mut [ChaCha8Rng],
        watch: &mut Watch<'_>,
    ) -> Result<Tensor, ModelError> {
        let posterior = self.encoder.forward(masks)?;
        let batch = usize::try_from(masks.size5()?.0).unwrap_or_default();
        let samples = rngs.len() / batch.max(1);
        let mut noise = |shape: &[i64]| drawn(rngs, shape, self.device);
        let z0 = match &self.standard {
            Some([mean, std]) => {
                let often = posterior
                    .mean
                    .f_repeat_interleave_self_int(samples as i64, 0, None)?;
                often.f_sub(mean)?.f_div(std)?
            }
            None => posterior.sampled(samples, &mut noise)?,
        };
        if self.steps == 0 {
            return Ok(z0);
        }
        let chain = Chain {
            energy: &self.energy,
            schedule: &self.schedule,
            walk: &self.walk,
        };
        chain.there_and_back(&z0, self.steps, &z0, &mut noise, watch)
    }
}

/// Returns the statistics of latents, shaped to be broadcast over them.
pub(crate) fn standard(
    latent: &LatentStatistics,
    network: &Network,
    device: Device,
) -> Result<Option<[Tensor; 2]>, ModelError> {
    if latent.mean.is_empty() {
        return Ok(None);
    }
    let broadcast = |values: &[f64]| -> Result<Tensor, ModelError> {
        let values = Tensor::f_from_slice(values)?;
        let values = match network {
            Network::Paper(_) => values.f_view([1, -1])?,
            Network::Compact(_) => values.f_view([1, -1, 1, 1, 1])?,
        };
        Ok(values.f_to_kind(Kind::Float)?.f_to_device(device)?)
    };
    Ok(Some([broadcast(&latent.mean)?, broadcast(&latent.std)?]))
}

impl Restore for LsdEbm {
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
        let z = self.latents(masks, rngs, &mut nobody())?;
        let latents = match &self.standard {
            Some([mean, std]) => z.f_mul(std)?.f_add(mean)?,
            None => z.shallow_clone(),
        };
        let often = masks.f_repeat_interleave_self_int(self.draws.samples as i64, 0, None)?;
        let logits = self.generator.forward(&latents, &often)?;
        Ok(Restored {
            latents: Some(z),
            logits,
        })
    }
}

impl Reconstructor for LsdEbm {
    fn reconstruct(&mut self, batch: &[Patch], seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        reconstruct(self, batch, seeds)
    }

    fn trace(&mut self, patch: &Patch, seed: u64) -> Result<Vec<TracePoint>, ModelError> {
        let (masks, mut rngs) = single(self, patch, seed)?;
        let mut points = Vec::new();
        let _ = self.latents(&masks, &mut rngs, &mut |z| {
            points.push(TracePoint {
                leg: "reverse",
                position: points.len(),
                variance: variance(z)?,
            });
            Ok(())
        })?;
        Ok(points)
    }
}
