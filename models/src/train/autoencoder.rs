//! First phase: encoder and generator, degraded → clean.

use std::f64::consts::PI;
use std::ops::ControlFlow;

use ndarray::Array3;
use tch::{Device, Kind, Reduction, Tensor};

use crate::lsd_ebm::description::Network;
use crate::lsd_ebm::encoder::Encoder;
use crate::lsd_ebm::generator::Generator;
use crate::lsd_ebm::langevin::drawn;
use crate::lsd_ebm::layers::{Stored, channels_last};
use crate::lsd_ebm::{ENCODER, GENERATOR, to_tensor};
use crate::reconstructor::ModelError;
use crate::seed::{derive, generator};
use crate::train::optimizer::StepConf;
use crate::train::run::{Clock, Run};
use crate::train::samples::{Pair, Plan, ahead, next};
use crate::train::{AutoencoderConf, Phase};
use crate::weights::Tensors;

/// Steps over which the learning rate rises.
const WARM_UP: f64 = 50.0;
/// Share of the learning rate that is left at the end.
const LAST_RATE: f64 = 0.01;

/// The terms of a step's loss.
struct Loss {
    total: Tensor,
    cross_entropy: f64,
    dice: f64,
    divergence: f64,
}

impl Run<'_> {
    /// Trains encoder and generator to the end of the phase, or until told to stop.
    pub fn autoencoder(&mut self) -> Result<ControlFlow<()>, ModelError> {
        let conf = self.conf;
        let plan = Plan {
            masks: self.masks,
            conf,
            seed: derive(conf.seed, "autoencoder"),
            batch: conf.autoencoder.batch,
            degraded: conf.degraded,
            reuse: conf.reuse,
        };
        std::thread::scope(|scope| {
            let batches = ahead(scope, plan, self.state.trainee.step);
            let mut clock = Clock::start(
                self.state.seconds,
                conf.autoencoder.steps,
                conf.autoencoder.minutes,
            );
            loop {
                let step = self.state.trainee.step;
                let progress = clock.progress(step);
                if progress >= 1.0 {
                    return Ok(ControlFlow::Continue(()));
                }
                let batch = next(&batches)?;
                let figures = self.autoencoder_step(&batch, progress)?;
                let progress = clock.progress(self.state.trainee.step);
                if self
                    .report(Phase::Autoencoder, &mut clock, progress, &figures)?
                    .is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
        })
    }

    fn autoencoder_step(
        &mut self,
        batch: &[Pair],
        progress: f64,
    ) -> Result<[(&'static str, f64); 4], ModelError> {
        let conf = &self.conf.autoencoder;
        let step = self.state.trainee.step;
        let rise = ((step + 1) as f64 / WARM_UP).min(1.0);
        let fall = 0.5 * (1.0 + (PI * progress.min(1.0)).cos()) * (1.0 - LAST_RATE) + LAST_RATE;
        let step_conf = StepConf {
            learning_rate: conf.learning_rate * rise.min(fall),
            weight_decay: conf.weight_decay,
            clip: conf.clip,
            ema: conf.ema,
        };
        let seen: Vec<&Array3<u8>> = batch.iter().map(|pair| &pair.seen).collect();
        let clean: Vec<&Array3<u8>> = batch.iter().map(|pair| &pair.clean).collect();
        let network = Network::Compact(self.conf.size.clone());
        let weights = &self.state.trainee.weights;
        let networks = Networks::new(weights, &network, self.conf.compute())?;
        let noise = derive(self.conf.seed, &format!("posterior {step}"));
        let loss = networks.loss(&to_tensor(&seen)?, &to_tensor(&clean)?, noise, conf)?;
        let norm = self.state.trainee.descend(&loss.total, &step_conf)?;
        Ok([
            ("cross_entropy", loss.cross_entropy),
            ("dice", loss.dice),
            ("divergence", loss.divergence),
            ("gradient", norm),
        ])
    }
}

/// Encoder and generator on weights under training.
pub struct Networks {
    /// The encoder.
    pub encoder: Encoder,
    /// The generator.
    pub generator: Generator,
}

impl Networks {
    /// Builds both on the weights, which gradients go through.
    pub fn new(tensors: &Tensors, network: &Network, compute: Kind) -> Result<Self, ModelError> {
        let device = Device::Cpu;
        let stored = |prefix| Stored {
            tensors,
            prefix,
            kind: Kind::Float,
            compute,
            device,
        };
        Ok(Self {
            encoder: Encoder::new(&mut stored(ENCODER), network)?,
            generator: Generator::new(&mut stored(GENERATOR), network)?,
        })
    }

    fn loss(
        &self,
        seen: &Tensor,
        clean: &Tensor,
        seed: u64,
        conf: &AutoencoderConf,
    ) -> Result<Loss, ModelError> {
        let posterior = self.encoder.forward(&channels_last(seen)?)?;
        let (mean, log_variance) = (posterior.mean, posterior.log_variance);
        let count = usize::try_from(mean.size().first().copied().unwrap_or_default()).unwrap_or_default();
        let mut rngs: Vec<_> = (0..count)
            .map(|slot| generator(derive(seed, &slot.to_string())))
            .collect();
        let noise = drawn(&mut rngs, &mean.size(), mean.device())?;
        let latent = mean.f_add(&log_variance.f_mul_scalar(0.5)?.f_exp()?.f_mul(&noise)?)?;
        let logits = self.generator.forward(&latent)?;

        let cross_entropy =
            logits.f_binary_cross_entropy_with_logits::<Tensor>(clean, None, None, Reduction::Mean)?;
        let dice = soft_dice(&logits, clean)?;
        // KL(N(m, s²) ‖ N(0, 1)) = ½ (m² + s² − 1 − ln s²)
        let divergence = mean
            .f_mul(&mean)?
            .f_add(&log_variance.f_exp()?)?
            .f_sub(&log_variance)?
            .f_sub_scalar(1.0)?
            .f_mean(Kind::Float)?
            .f_mul_scalar(0.5)?;
        let total = cross_entropy
            .f_mul_scalar(conf.cross_entropy)?
            .f_add(&dice)?
            .f_add(&divergence.f_mul_scalar(conf.divergence)?)?;
        Ok(Loss {
            cross_entropy: cross_entropy.f_double_value(&[])?,
            dice: dice.f_double_value(&[])?,
            divergence: divergence.f_double_value(&[])?,
            total,
        })
    }
}

/// Returns 1 − (2 Σ p·x + 1) / (Σ p + Σ x + 1), the mean over samples, p the probabilities.
fn soft_dice(logits: &Tensor, truth: &Tensor) -> Result<Tensor, ModelError> {
    let sum = |grid: &Tensor| grid.f_sum_dim_intlist([1_i64, 2, 3, 4].as_slice(), false, Kind::Float);
    let probability = logits.f_sigmoid()?;
    let both = sum(&probability.f_mul(truth)?)?
        .f_mul_scalar(2.0)?
        .f_add_scalar(1.0)?;
    let all = sum(&probability)?.f_add(&sum(truth)?)?.f_add_scalar(1.0)?;
    Ok(both
        .f_div(&all)?
        .f_mean(Kind::Float)?
        .f_neg()?
        .f_add_scalar(1.0)?)
}
