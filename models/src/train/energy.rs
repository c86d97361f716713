//! Second phase: the energy, by contrast of diffused latents with what Langevin dynamics makes of the level
//! above (paper, Algorithm 1; the sign of its energy loss is turned round there).

use std::ops::ControlFlow;

use ndarray::Array3;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::description::LatentStatistics;
use crate::lsd_ebm::energy::Energy;
use crate::lsd_ebm::langevin::{Chain, drawn, picked};
use crate::lsd_ebm::schedule::Schedule;
use crate::lsd_ebm::standard;
use crate::networks::encoder::Encoder;
use crate::networks::grids::to_tensor;
use crate::networks::layers::channels_last;
use crate::networks::unet::Unet;
use crate::networks::{ENCODER, ENERGY};
use crate::reconstructor::ModelError;
use crate::seed::{derive, generator};
use crate::train::fit::{Batch, in_full, still, stored};
use crate::train::losses::mean_square;
use crate::train::run::{Clock, Run};
use crate::train::samples::{Pair, Plan, ahead, next};
use crate::train::{Event, Phase, Recipe};
use crate::weights::Tensors;

/// Factor on the loss per latent entry, so that its gradient is of the order of one.
const SCALE: f64 = 100.0;

/// Latents of clean masks and of the same masks degraded, standardised, N×C×x×y×z.
struct Bank {
    clean: Tensor,
    degraded: Tensor,
}

impl Run<'_> {
    /// Trains the energy to the end of the phase, or until told to stop.
    pub fn energy(&mut self) -> Result<ControlFlow<()>, ModelError> {
        let fit = &self.recipe.energy.fit;
        // the statistics of the latents too are what this phase finds
        let Some(bank) = self.bank()? else {
            return Ok(ControlFlow::Break(()));
        };
        let schedule = Schedule::new(&self.recipe.levels)?;
        let mut clock = Clock::start(self.state.seconds, fit.steps, fit.minutes);
        loop {
            let progress = clock.progress(self.state.energy.step);
            if progress >= 1.0 {
                return Ok(ControlFlow::Continue(()));
            }
            let figures = match self.energy_step(&bank, &schedule, progress) {
                // a step without a gradient, as the guard counts them: the next one draws other noise
                Err(ModelError::Diverged { .. }) => {
                    self.state.energy.step += 1;
                    self.without_gradient()?
                }
                figures => figures?,
            };
            let progress = clock.progress(self.state.energy.step);
            if self
                .report(Phase::Energy, &mut clock, progress, &figures)?
                .is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// Encodes the bank of latents and takes their statistics; `None` when told to stop.
    fn bank(&mut self) -> Result<Option<Bank>, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let recipe = self.recipe;
        let plan = Plan {
            masks: self.masks,
            recipe,
            seed: derive(recipe.seed, "energy"),
            batch: recipe.fit.batch,
            degraded: 1.0,
            reuse: 1,
            restores: self.restorer.is_some(),
        };
        let kept = self.state.networks.kept();
        let encoder = Encoder::new(&mut still(&kept, ENCODER, recipe), &recipe.network)?;
        let encode = |masks: &Tensor| -> Result<Tensor, ModelError> {
            Ok(encoder.forward(&channels_last(masks)?)?.mean.f_contiguous()?)
        };
        let wanted = recipe.energy.latents;
        let clock = Clock::start(0.0, wanted as u64, 0.0);
        let (mut clean, mut degraded) = (Vec::new(), Vec::new());
        let mut count = 0;
        let flow = std::thread::scope(|scope| -> Result<ControlFlow<()>, ModelError> {
            let batches = ahead(scope, plan, 0);
            while count < wanted {
                let batch = next(&batches)?;
                let masks: Vec<&Array3<u8>> = batch.iter().map(|pair| &pair.clean).collect();
                clean.push(encode(&to_tensor(&masks, self.device)?)?);
                degraded.push(encode(&observed(&batch, self.restorer, self.device)?)?);
                count += batch.len();
                let progress = clock.progress(count as u64);
                let step = count as u64;
                let elapsed = clock.elapsed();
                let event = Event::Step {
                    phase: Phase::Latents,
                    step,
                    progress,
                    elapsed,
                    figures: &[],
                };
                if (self.on_event)(event).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if flow.is_break() {
            return Ok(None);
        }
        let (clean, degraded) = (Tensor::f_cat(&clean, 0)?, Tensor::f_cat(&degraded, 0)?);
        // over samples, and over the grid where there is one
        let axes: Vec<i64> = (0..clean.dim() as i64).filter(|axis| *axis != 1).collect();
        let mean = clean.f_mean_dim(axes.as_slice(), false, Kind::Double)?;
        let std = clean
            .f_to_kind(Kind::Double)?
            .f_std_dim(axes.as_slice(), true, false)?
            .f_clamp_min(1e-3)?;
        self.state.latent = LatentStatistics {
            mean: Vec::<f64>::try_from(&mean)?,
            std: Vec::<f64>::try_from(&std)?,
        };
        let statistics = standard(&self.state.latent, &recipe.network, self.device)?;
        let Some([mean, std]) = statistics else {
            return Err(ModelError::Conf("expected latents with statistics".to_owned()));
        };
        Ok(Some(Bank {
            clean: clean.f_sub(&mean)?.f_div(&std)?,
            degraded: degraded.f_sub(&mean)?.f_div(&std)?,
        }))
    }

    fn energy_step(
        &mut self,
        bank: &Bank,
        schedule: &Schedule,
        progress: f64,
    ) -> Result<Vec<(&'static str, f64)>, ModelError> {
        let (conf, fit) = (&self.recipe.energy, &self.recipe.energy.fit);
        let step = self.state.energy.step;
        let mut rng = generator(derive(self.recipe.seed, &format!("contrast {step}")));
        let count = bank.clean.size().first().copied().unwrap_or_default();
        let rows: Vec<i64> = (0..fit.batch).map(|_| rng.random_range(0..count)).collect();
        let levels: Vec<usize> = (0..fit.batch)
            .map(|_| rng.random_range(0..schedule.levels()))
            .collect();
        let mut rngs: Vec<ChaCha8Rng> = (0..fit.batch).map(|_| generator(rng.random())).collect();
        let rows = Tensor::f_from_slice(&rows)?.f_to_device(self.device)?;
        let z0 = bank.clean.f_index_select(0, &rows)?;
        let observed = bank.degraded.f_index_select(0, &rows)?;

        let frozen = self.state.energy.frozen()?;
        let sampler = network(&frozen, self.recipe, schedule)?;
        let chain = Chain {
            energy: &sampler,
            schedule,
            walk: &self.recipe.walk,
        };
        let shape = z0.size();
        let mut noise = |shape: &[i64]| drawn(&mut rngs, shape, self.device);
        let z = chain.diffused(&z0, &levels, &noise(&shape)?)?;
        let above = chain.one_up(&z, &levels, &noise(&shape)?)?;
        let negative = chain.walked(&above, &levels, &observed, &mut noise)?;
        let next_levels: Vec<usize> = levels.iter().map(|level| level + 1).collect();
        let positive = z.f_mul(&picked(&schedule.a, &next_levels, &z)?)?;

        let weights = self.state.energy.in_training();
        let trained = network(&weights, self.recipe, schedule)?;
        let numbers: Vec<i64> = levels.iter().map(|level| *level as i64).collect();
        let numbers = Tensor::f_from_slice(&numbers)?.f_to_device(self.device)?;
        let energy_positive = trained.forward(&positive, &numbers, &observed)?;
        let energy_negative = trained.forward(&negative, &numbers, &observed)?;
        let contrast = energy_positive.f_sub(&energy_negative)?;
        // levels with little noise count as much as the first: weight sigma_1 / sigma_{t+1}, per sample
        let first = schedule.sigma.get(1).copied().unwrap_or(1.0);
        let weights = picked(&schedule.sigma, &next_levels, &contrast)?
            .f_reciprocal()?
            .f_mul_scalar(first)?;
        let entries = shape.iter().skip(1).product::<i64>() as f64;
        let mut loss = contrast
            .f_mul(&weights)?
            .f_mean(Kind::Float)?
            .f_mul_scalar(SCALE / entries)?;
        if conf.regularisation > 0.0 {
            let per_entry = |energy: &Tensor| mean_square(&energy.f_div_scalar(entries)?);
            let squares = per_entry(&energy_positive)?.f_add(&per_entry(&energy_negative)?)?;
            loss = loss.f_add(&squares.f_mul_scalar(conf.regularisation)?)?;
        }
        let gradients = self.state.energy.gradients(&loss)?;
        let rate = fit.rate(step, progress);
        let norm = self.state.energy.descend(&gradients, fit, rate)?;
        let apart = |a: &Tensor, b: &Tensor| -> Result<f64, ModelError> {
            Ok(mean_square(&a.f_sub(b)?)?.f_double_value(&[])?.sqrt())
        };
        let figures = vec![
            (
                "contrast",
                contrast.f_mean(Kind::Float)?.f_double_value(&[])? / entries,
            ),
            ("walked", apart(&negative, &positive)?),
            ("above", apart(&above, &positive)?),
            ("energy_gradient", norm),
            ("learning_rate", rate),
        ];
        self.guard(&figures)?;
        Ok(figures)
    }
}

/// Returns what the chain will start from: degraded masks, restored where a pair says so.
fn observed(pairs: &[Pair], restorer: Option<&Unet>, device: Device) -> Result<Tensor, ModelError> {
    Ok(Batch::of(pairs, device)?.restored(pairs, restorer)?.observed)
}

fn network(tensors: &Tensors, recipe: &Recipe, schedule: &Schedule) -> Result<Energy, ModelError> {
    let mut parameters = in_full(stored(tensors, ENERGY, recipe));
    Energy::new(&mut parameters, &recipe.network, schedule.levels())
}
