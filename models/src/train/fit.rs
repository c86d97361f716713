//! The fit of encoder, generator or U-Net, and of the energy where it learns beside them.

use std::ops::ControlFlow;

use ndarray::Array3;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::description::{Method, Preset};
use crate::lsd_ebm::langevin::drawn;
use crate::networks::encoder::{Encoder, Posterior};
use crate::networks::generator::Generator;
use crate::networks::grids::to_tensor;
use crate::networks::layers::{Purpose, Stored, channels_last};
use crate::networks::unet::Unet;
use crate::networks::{ENCODER, GENERATOR, UNET};
use crate::reconstructor::ModelError;
use crate::seed::{derive, generator};
use crate::train::joint::{Contrast, count_once_more, lebm_losses, lsd_ebm_losses};
use crate::train::losses::{Loss, cross_entropy_sum, divergence_sum, per_sample, reconstruction};
use crate::train::run::{Clock, Run};
use crate::train::samples::{Pair, Plan, ahead, next};
use crate::train::{Phase, Recipe};
use crate::weights::Tensors;

/// What one batch asks of the weights.
pub struct Losses {
    /// Of encoder, generator or U-Net.
    pub networks: Loss,
    /// Of the energy, where it learns beside them.
    pub energy: Option<Loss>,
    /// Latents on which the energy's BatchNorm counts once more after the step.
    pub counted: Option<Tensor>,
}

/// A batch as tensors, B×1×x×y×z each.
pub struct Batch {
    /// What the encoder sees.
    pub seen: Tensor,
    /// What the generator's detail, or the sampler, sees.
    pub observed: Tensor,
    /// What is to come out.
    pub clean: Tensor,
}

impl Batch {
    /// Stacks pairs.
    pub fn of(pairs: &[Pair], device: Device) -> Result<Self, ModelError> {
        let stacked = |get: fn(&Pair) -> &Array3<u8>| -> Result<Tensor, ModelError> {
            let masks: Vec<_> = pairs.iter().map(get).collect();
            to_tensor(&masks, device)
        };
        Ok(Self {
            seen: stacked(|pair| &pair.seen)?,
            observed: stacked(|pair| &pair.observed)?,
            clean: stacked(|pair| &pair.clean)?,
        })
    }

    /// Puts what the restorer makes of them in place of the masks that are to be restored first.
    pub fn restored(mut self, pairs: &[Pair], restorer: Option<&Unet>) -> Result<Self, ModelError> {
        let rows: Vec<i64> = (0_i64..)
            .zip(pairs)
            .filter(|(_, pair)| pair.restored)
            .map(|(row, _)| row)
            .collect();
        let (Some(unet), false) = (restorer, rows.is_empty()) else {
            return Ok(self);
        };
        let _no_grad = tch::no_grad_guard();
        let rows = Tensor::f_from_slice(&rows)?.f_to_device(self.seen.device())?;
        let masks = unet.forward(&self.seen.f_index_select(0, &rows)?)?;
        let masks = masks.f_gt(0.0)?.f_to_kind(Kind::Float)?;
        self.seen = self.seen.f_index_copy(0, &rows, &masks)?;
        self.observed = self.observed.f_index_copy(0, &rows, &masks)?;
        Ok(self)
    }
}

impl Run<'_> {
    /// Fits to the end of the phase, or until told to stop.
    pub fn fit(&mut self) -> Result<ControlFlow<()>, ModelError> {
        let recipe = self.recipe;
        let fit = &recipe.fit;
        let plan = Plan {
            masks: self.masks,
            recipe,
            seed: derive(recipe.seed, "fit"),
            batch: fit.batch,
            degraded: recipe.degraded,
            reuse: recipe.reuse,
            restores: self.restorer.is_some(),
        };
        let each = fit.accumulate as u64;
        std::thread::scope(|scope| {
            let batches = ahead(scope, plan, self.state.networks.step * each);
            let mut clock = Clock::start(self.state.seconds, fit.steps, fit.minutes);
            loop {
                let progress = clock.progress(self.state.networks.step);
                if progress >= 1.0 {
                    return Ok(ControlFlow::Continue(()));
                }
                let figures = match self.fit_step(progress, || next(&batches)) {
                    // a step without a gradient, as the guard counts them: the next one draws other noise
                    Err(ModelError::Diverged { .. }) => {
                        self.state.networks.step += 1;
                        self.state.energy.step += 1;
                        self.without_gradient()?
                    }
                    figures => figures?,
                };
                let progress = clock.progress(self.state.networks.step);
                if self
                    .report(Phase::Fit, &mut clock, progress, &figures)?
                    .is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
        })
    }

    /// Makes one step of as many batches as the recipe accumulates.
    fn fit_step(
        &mut self,
        progress: f64,
        mut next: impl FnMut() -> Result<Vec<Pair>, ModelError>,
    ) -> Result<Vec<(&'static str, f64)>, ModelError> {
        let recipe = self.recipe;
        let step = self.state.networks.step;
        let batches = recipe.fit.accumulate;
        let mut sums = Vec::new();
        let mut figures: Vec<(&'static str, f64)> = Vec::new();
        let mut counted = None;
        for part in 0..batches {
            let pairs = next()?;
            let batch = Batch::of(&pairs, self.device)?.restored(&pairs, self.restorer)?;
            let losses = self.losses(&batch, derive(recipe.seed, &format!("step {step} part {part}")))?;
            let mut of_this = vec![self.state.networks.gradients(&losses.networks.total)?];
            counted = losses.counted;
            let mut told = losses.networks.figures;
            if let Some(energy) = losses.energy {
                of_this.push(self.state.energy.gradients(&energy.total)?);
                told.extend(energy.figures);
            }
            if sums.is_empty() {
                sums = of_this;
            } else {
                for (sum, gradients) in sums.iter_mut().zip(&of_this) {
                    sum.add(gradients)?;
                }
            }
            figures.extend(told);
        }
        let rate = recipe.fit.rate(step, progress);
        let mut sums = sums.into_iter();
        if let Some(sum) = sums.next() {
            let norm = self
                .state
                .networks
                .descend(&sum.mean_of(batches)?, &recipe.fit, rate)?;
            figures.push(("gradient", norm));
        }
        if let Some(sum) = sums.next() {
            let fit = &recipe.energy.fit;
            let sum = sum.mean_of(batches)?;
            let norm = self.state.energy.descend(&sum, fit, fit.rate(step, progress))?;
            figures.push(("energy_gradient", norm));
        }
        if let Some(latents) = counted {
            count_once_more(&self.state.energy, recipe, &latents)?;
        }
        figures.push(("learning_rate", rate));
        self.guard(&figures)?;
        Ok(figures)
    }

    fn losses(&self, batch: &Batch, seed: u64) -> Result<Losses, ModelError> {
        let recipe = self.recipe;
        let networks = self.state.networks.in_training();
        let mut noise = noise_of(seed, &batch.seen);
        let alone = |networks| Losses {
            networks,
            energy: None,
            counted: None,
        };
        match recipe.method {
            Method::ReconNet => {
                let unet = Unet::new(&mut stored(&networks, UNET, recipe), &recipe.network)?;
                let logits = unet.forward(&batch.seen)?;
                Ok(alone(if recipe.preset == Preset::PaperCode {
                    by_sums(&logits, &batch.clean)?
                } else {
                    reconstruction(&logits, &batch.clean, &recipe.loss)?
                }))
            }
            Method::LsdEbm if recipe.is_joint() => {
                let levels = recipe.description(self.state.latent.clone()).schedule()?.levels();
                let count = batch.seen.size().first().copied().unwrap_or_default();
                let mut rng = generator(derive(seed, "levels"));
                let levels: Vec<usize> = (0..count).map(|_| rng.random_range(0..levels)).collect();
                lsd_ebm_losses(
                    &Autoencoder::new(&networks, recipe)?,
                    &Contrast::of(&self.state.energy, recipe)?,
                    batch,
                    &levels,
                    &mut noise,
                )
            }
            Method::Vae | Method::LsdEbm => {
                let mut noise = weakened(noise, seed, recipe.latent_noise);
                Ok(alone(
                    Autoencoder::new(&networks, recipe)?.loss(batch, recipe, &mut noise)?,
                ))
            }
            Method::Lebm => lebm_losses(&self.state, recipe, batch, &mut noise),
        }
    }
}

/// Returns what draws the noise of one batch: each sample has a generator of its own.
pub fn noise_of(seed: u64, masks: &Tensor) -> impl FnMut(&[i64]) -> Result<Tensor, ModelError> {
    let count = masks.size().first().copied().unwrap_or_default();
    let mut rngs: Vec<ChaCha8Rng> = (0..count)
        .map(|slot| generator(derive(seed, &slot.to_string())))
        .collect();
    let device = masks.device();
    move |shape: &[i64]| drawn(&mut rngs, shape, device)
}

/// Multiplies noise by a factor a sample, drawn between the two given ones.
fn weakened(
    mut noise: impl FnMut(&[i64]) -> Result<Tensor, ModelError>,
    seed: u64,
    [least, largest]: [f64; 2],
) -> impl FnMut(&[i64]) -> Result<Tensor, ModelError> {
    let mut rng = generator(derive(seed, "latent noise"));
    move |shape: &[i64]| {
        let noise = noise(shape)?;
        let count = shape.first().copied().unwrap_or_default();
        let factors: Vec<f32> = (0..count)
            .map(|_| (least + (largest - least) * rng.random::<f64>()) as f32)
            .collect();
        let mut column = vec![1; noise.dim()];
        if let Some(batch) = column.first_mut() {
            *batch = count;
        }
        let factors = Tensor::f_from_slice(&factors)?.f_view(column.as_slice())?;
        Ok(noise.f_mul(&factors.f_to_device(noise.device())?)?)
    }
}

/// Returns parameters under training.
pub fn stored<'a>(tensors: &'a Tensors, prefix: &'a str, recipe: &Recipe) -> Stored<'a> {
    let first = tensors.values().next();
    let kind = first.map_or(Kind::Float, Tensor::kind);
    let device = first.map_or(Device::Cpu, Tensor::device);
    Stored {
        kind,
        compute: if recipe.half { Kind::BFloat16 } else { kind },
        purpose: Purpose::Training,
        ..Stored::on(tensors, prefix, device)
    }
}

/// Returns parameters that are used in the middle of training, and not trained thereby.
pub fn still<'a>(tensors: &'a Tensors, prefix: &'a str, recipe: &Recipe) -> Stored<'a> {
    Stored {
        purpose: Purpose::Still,
        ..stored(tensors, prefix, recipe)
    }
}

/// Returns the same parameters, computed with in the kind that they are held in: differences of energies are small.
pub fn in_full(stored: Stored<'_>) -> Stored<'_> {
    Stored {
        compute: stored.kind,
        ..stored
    }
}

/// Returns the authors' reconstruction loss: cross-entropy, a sum over voxels per sample.
pub fn by_sums(logits: &Tensor, clean: &Tensor) -> Result<Loss, ModelError> {
    let total = per_sample(&cross_entropy_sum(logits, clean)?, clean)?;
    Ok(Loss {
        figures: vec![("cross_entropy_sum", total.f_double_value(&[])?)],
        total,
    })
}

/// Encoder and generator on weights under training.
pub struct Autoencoder {
    /// The encoder.
    pub encoder: Encoder,
    /// The generator.
    pub generator: Generator,
}

impl Autoencoder {
    /// Builds both on the weights, which gradients go through.
    pub fn new(tensors: &Tensors, recipe: &Recipe) -> Result<Self, ModelError> {
        Ok(Self {
            encoder: Encoder::new(&mut stored(tensors, ENCODER, recipe), &recipe.network)?,
            generator: Generator::new(&mut stored(tensors, GENERATOR, recipe), &recipe.network)?,
        })
    }

    /// Returns the posterior of what is seen, a sample of it, and the logits that it decodes to.
    pub fn forward(
        &self,
        batch: &Batch,
        noise: &mut dyn FnMut(&[i64]) -> Result<Tensor, ModelError>,
    ) -> Result<(Posterior, Tensor, Tensor), ModelError> {
        let posterior = self.encoder.forward(&channels_last(&batch.seen)?)?;
        let z = posterior.sampled(1, noise)?;
        let logits = self.generator.forward(&z, &batch.observed)?;
        Ok((posterior, z, logits))
    }

    /// Returns cross-entropy, soft Dice and divergence from N(0, 1): of the VAE's evidence lower bound, and for
    /// LSD-EBM with a small weight, since its prior is the energy's to learn afterwards.
    pub fn loss(
        &self,
        batch: &Batch,
        recipe: &Recipe,
        noise: &mut dyn FnMut(&[i64]) -> Result<Tensor, ModelError>,
    ) -> Result<Loss, ModelError> {
        let (posterior, _, logits) = self.forward(batch, noise)?;
        let divergence = divergence_sum(&posterior)?;
        if recipe.preset == Preset::PaperCode {
            let sum = cross_entropy_sum(&logits, &batch.clean)?;
            let figures = vec![
                (
                    "cross_entropy_sum",
                    per_sample(&sum, &batch.clean)?.f_double_value(&[])?,
                ),
                (
                    "divergence_sum",
                    per_sample(&divergence, &batch.clean)?.f_double_value(&[])?,
                ),
            ];
            let total = per_sample(&sum.f_add(&divergence)?, &batch.clean)?;
            return Ok(Loss { total, figures });
        }
        let mut loss = reconstruction(&logits, &batch.clean, &recipe.loss)?;
        // both as sums, so that a weight of 1 is the evidence lower bound
        let per_voxel = divergence.f_div_scalar(batch.clean.numel() as f64)?;
        let entries = posterior.mean.numel() as f64;
        loss.figures
            .push(("divergence", divergence.f_double_value(&[])? / entries));
        let weight = recipe.loss.cross_entropy * recipe.loss.divergence;
        loss.total = loss.total.f_add(&per_voxel.f_mul_scalar(weight)?)?;
        Ok(loss)
    }
}
