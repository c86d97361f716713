//! Second phase: the energy, by contrast of diffused latents with what Langevin dynamics makes of the level
//! above (paper, Algorithm 1; the sign of its energy loss is turned round there).

use std::ops::ControlFlow;

use ndarray::Array3;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::lsd_ebm::description::{Description, LatentStatistics, Network};
use crate::lsd_ebm::energy::Energy;
use crate::lsd_ebm::langevin::{Chain, drawn, picked};
use crate::lsd_ebm::layers::{Stored, channels_last};
use crate::lsd_ebm::schedule::Schedule;
use crate::lsd_ebm::{ENERGY, to_tensor};
use crate::reconstructor::ModelError;
use crate::seed::{derive, generator};
use crate::train::autoencoder::Networks;
use crate::train::optimizer::StepConf;
use crate::train::run::{Clock, Run};
use crate::train::samples::{Plan, ahead, next};
use crate::train::{Event, Phase};
use crate::weights::Tensors;

/// Factor on the loss per latent entry, so that its gradient is of the order of one.
const SCALE: f64 = 100.0;
/// Share of the learning rate that is left at the end.
const LAST_RATE: f64 = 0.05;

/// Latents of clean masks and of the same masks degraded, standardised, N×C×x×y×z.
struct Bank {
    clean: Tensor,
    degraded: Tensor,
}

impl Run<'_> {
    /// Trains the energy to the end of the phase, or until told to stop.
    pub fn energy(&mut self) -> Result<ControlFlow<()>, ModelError> {
        let conf = self.conf;
        if conf.energy.steps == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let Some(bank) = self.bank()? else {
            return Ok(ControlFlow::Break(()));
        };
        let description = conf.description(self.state.latent.clone());
        let schedule = Schedule::new(&description.levels)?;
        let mut clock = Clock::start(self.state.seconds, conf.energy.steps, conf.energy.minutes);
        loop {
            let progress = clock.progress(self.state.trainee.step);
            if progress >= 1.0 {
                let _ = self.try_out(Phase::Energy)?;
                return Ok(ControlFlow::Continue(()));
            }
            let figures = self.energy_step(&bank, &description, &schedule, progress)?;
            let progress = clock.progress(self.state.trainee.step);
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
        let conf = self.conf;
        let plan = Plan {
            masks: self.masks,
            conf,
            seed: derive(conf.seed, "energy"),
            batch: conf.autoencoder.batch,
            degraded: 1.0,
            reuse: 1,
        };
        let network = Network::Compact(conf.size.clone());
        let networks = Networks::new(&self.state.done, &network, conf.compute())?;
        let encode = |masks: &[&Array3<u8>]| -> Result<Tensor, ModelError> {
            Ok(networks
                .encoder
                .forward(&channels_last(&to_tensor(masks)?)?)?
                .mean
                .f_contiguous()?)
        };
        let clock = Clock::start(0.0, conf.energy.latents as u64, 0.0);
        let (mut clean, mut degraded) = (Vec::new(), Vec::new());
        let mut count = 0;
        let flow = std::thread::scope(|scope| -> Result<ControlFlow<()>, ModelError> {
            let batches = ahead(scope, plan, 0);
            while count < conf.energy.latents {
                let batch = next(&batches)?;
                let masks: Vec<&Array3<u8>> = batch.iter().map(|pair| &pair.clean).collect();
                clean.push(encode(&masks)?);
                let masks: Vec<&Array3<u8>> = batch.iter().map(|pair| &pair.seen).collect();
                degraded.push(encode(&masks)?);
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
        let axes = [0_i64, 2, 3, 4];
        let mean = clean.f_mean_dim(axes.as_slice(), true, Kind::Float)?;
        let std = clean.f_std_dim(axes.as_slice(), true, true)?.f_clamp_min(1e-3)?;
        let numbers = |tensor: &Tensor| -> Result<Vec<f64>, ModelError> {
            Ok(Vec::<f64>::try_from(
                &tensor.f_to_kind(Kind::Double)?.f_flatten(0, -1)?,
            )?)
        };
        self.state.latent = LatentStatistics {
            mean: numbers(&mean)?,
            std: numbers(&std)?,
        };
        Ok(Some(Bank {
            clean: clean.f_sub(&mean)?.f_div(&std)?,
            degraded: degraded.f_sub(&mean)?.f_div(&std)?,
        }))
    }

    fn energy_step(
        &mut self,
        bank: &Bank,
        description: &Description,
        schedule: &Schedule,
        progress: f64,
    ) -> Result<[(&'static str, f64); 4], ModelError> {
        let conf = &self.conf.energy;
        let step = self.state.trainee.step;
        let mut rng = generator(derive(self.conf.seed, &format!("contrast {step}")));
        let count = bank.clean.size().first().copied().unwrap_or_default();
        let rows: Vec<i64> = (0..conf.batch).map(|_| rng.random_range(0..count)).collect();
        let levels: Vec<usize> = (0..conf.batch)
            .map(|_| rng.random_range(0..schedule.levels()))
            .collect();
        let mut rngs: Vec<ChaCha8Rng> = (0..conf.batch).map(|_| generator(rng.random())).collect();
        let rows = Tensor::f_from_slice(&rows)?;
        let z0 = bank.clean.f_index_select(0, &rows)?;
        let observed = bank.degraded.f_index_select(0, &rows)?;

        let frozen = self.state.trainee.frozen()?;
        let sampler = network(&frozen, description, schedule)?;
        let chain = Chain {
            energy: &sampler,
            schedule,
            walk: &description.walk,
        };
        let shape = z0.size();
        let mut noise = |shape: &[i64]| drawn(&mut rngs, shape, Device::Cpu);
        let z = chain.diffused(&z0, &levels, &noise(&shape)?)?;
        let above = chain.one_up(&z, &levels, &noise(&shape)?)?;
        let negative = chain.walked(&above, &levels, &observed, &mut noise)?;
        let next_levels: Vec<usize> = levels.iter().map(|level| level + 1).collect();
        let positive = z.f_mul(&picked(&schedule.a, &next_levels, &z)?)?;

        let trained = network(&self.state.trainee.weights, description, schedule)?;
        let numbers: Vec<i64> = levels.iter().map(|level| *level as i64).collect();
        let numbers = Tensor::f_from_slice(&numbers)?;
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
            let per_entry = |energy: &Tensor| -> Result<Tensor, ModelError> {
                Ok(energy.f_div_scalar(entries)?.f_square()?.f_mean(Kind::Float)?)
            };
            let squares = per_entry(&energy_positive)?.f_add(&per_entry(&energy_negative)?)?;
            loss = loss.f_add(&squares.f_mul_scalar(conf.regularisation)?)?;
        }
        let step_conf = StepConf {
            learning_rate: conf.learning_rate * (1.0 - progress).max(LAST_RATE),
            weight_decay: 0.0,
            clip: conf.clip,
            ema: conf.ema,
        };
        let norm = self.state.trainee.descend(&loss, &step_conf)?;
        let apart = |a: &Tensor, b: &Tensor| -> Result<f64, ModelError> {
            Ok(a.f_sub(b)?
                .f_square()?
                .f_mean(Kind::Float)?
                .f_double_value(&[])?
                .sqrt())
        };
        Ok([
            (
                "contrast",
                contrast.f_mean(Kind::Float)?.f_double_value(&[])? / entries,
            ),
            ("walked", apart(&negative, &positive)?),
            ("above", apart(&above, &positive)?),
            ("gradient", norm),
        ])
    }
}

fn network(tensors: &Tensors, description: &Description, schedule: &Schedule) -> Result<Energy, ModelError> {
    let mut stored = Stored {
        tensors,
        prefix: ENERGY,
        kind: Kind::Float,
        compute: Kind::Float,
        device: Device::Cpu,
    };
    Energy::new(&mut stored, &description.network, schedule.levels())
}
