//! Diffusion of a latent up to a level, and Langevin dynamics back down.
//!
//! Signs follow the authors' code where the paper's equations (3) and (6) have them turned round: the model is
//! p ∝ exp(−E), so that every step goes down the gradient of E.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use tch::{Device, Kind, Tensor};

use crate::lsd_ebm::energy::Energy;
use crate::lsd_ebm::schedule::Schedule;
use crate::lsd_ebm::walk::{Start, StepSize, Walk};
use crate::reconstructor::ModelError;

/// Magnitude of a latent above which a chain counts as diverged: standardised latents stay below ten, those
/// of the paper's networks below some hundreds.
const BOUND: f64 = 1e5;

/// Gives unit normal noise of a shape, in the order in which a chain asks for it.
pub type Noise<'a> = dyn FnMut(&[i64]) -> Result<Tensor, ModelError> + 'a;

/// Sees the latents after each step of a chain.
pub type Watch<'a> = dyn FnMut(&Tensor) -> Result<(), ModelError> + 'a;

/// Returns a watcher that looks away.
pub fn nobody() -> impl FnMut(&Tensor) -> Result<(), ModelError> {
    |_| Ok(())
}

/// The reverse process of one set of weights.
pub struct Chain<'a> {
    /// The energy.
    pub energy: &'a Energy,
    /// Coefficients of the levels.
    pub schedule: &'a Schedule,
    /// How a level is walked.
    pub walk: &'a Walk,
}

/// Returns coefficients picked by level, one per sample, shaped to multiply latents like `like`.
pub fn picked(table: &[f64], levels: &[usize], like: &Tensor) -> Result<Tensor, ModelError> {
    let mut values = Vec::with_capacity(levels.len());
    for level in levels {
        let value = table.get(*level).copied().ok_or_else(|| {
            ModelError::Conf(format!(
                "expected a level of 0 to {}, found {level}",
                table.len() - 1
            ))
        })?;
        values.push(value);
    }
    let mut shape = vec![1; like.dim()];
    if let Some(batch) = shape.first_mut() {
        *batch = i64::try_from(levels.len()).unwrap_or(i64::MAX);
    }
    let column = Tensor::f_from_slice(&values)?.f_view(shape.as_slice())?;
    Ok(column.f_to_kind(like.kind())?.f_to_device(like.device())?)
}

/// Returns unit normal noise, each sample's from its own generator, so that it does not depend on the batch.
pub fn drawn(rngs: &mut [ChaCha8Rng], shape: &[i64], device: Device) -> Result<Tensor, ModelError> {
    let length = usize::try_from(shape.iter().skip(1).product::<i64>()).unwrap_or_default();
    let mut values: Vec<f32> = Vec::with_capacity(rngs.len() * length);
    for rng in rngs {
        values.extend(
            StandardNormal
                .sample_iter(rng)
                .take(length)
                .map(|value: f32| value),
        );
    }
    Ok(Tensor::f_from_slice(&values)?
        .f_view(shape)?
        .f_to_device(device)?)
}

impl Chain<'_> {
    /// Returns z_t = abar_t·z₀ + f·sbar_t·ε, one level per sample; f is the walk's `forward_noise`.
    pub fn diffused(&self, z0: &Tensor, levels: &[usize], noise: &Tensor) -> Result<Tensor, ModelError> {
        let signal = picked(&self.schedule.a_cum, levels, z0)?;
        let spread = picked(&self.schedule.sigma_cum, levels, z0)?.f_mul_scalar(self.walk.forward_noise)?;
        Ok(signal.f_mul(z0)?.f_add(&spread.f_mul(noise)?)?)
    }

    /// Returns z_{t+1} = a_{t+1}·z_t + f·sigma_{t+1}·ε, from levels t given per sample.
    pub fn one_up(&self, z: &Tensor, levels: &[usize], noise: &Tensor) -> Result<Tensor, ModelError> {
        let above = above(levels);
        let signal = picked(&self.schedule.a, &above, z)?;
        let spread = picked(&self.schedule.sigma, &above, z)?.f_mul_scalar(self.walk.forward_noise)?;
        Ok(signal.f_mul(z)?.f_add(&spread.f_mul(noise)?)?)
    }

    /// Returns ỹ = a_{t+1}·z_t as Langevin dynamics leaves it, from z_{t+1}; levels t are given per sample.
    ///
    /// y ← y − (λ/2)·∇_y[E(y, t) + |y − z_{t+1}|² / 2σ²_{t+1}] + τ·√λ·ε (Eq. 4 with the sign corrected).
    pub fn walked(
        &self,
        above_latent: &Tensor,
        levels: &[usize],
        observed: &Tensor,
        noise: &mut Noise<'_>,
    ) -> Result<Tensor, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let shape = above_latent.size();
        let sigma_squared: Vec<f64> = self.schedule.sigma.iter().map(|sigma| sigma * sigma).collect();
        let step_sizes: Vec<f64> = sigma_squared
            .iter()
            .map(|variance| self.step_size(*variance))
            .collect();
        let half_steps: Vec<f64> = step_sizes.iter().map(|step| step / 2.0).collect();
        let spreads: Vec<f64> = step_sizes
            .iter()
            .map(|step| step.sqrt() * self.walk.temperature)
            .collect();

        let above = above(levels);
        let variance = picked(&sigma_squared, &above, above_latent)?;
        let half_step = picked(&half_steps, &above, above_latent)?;
        let spread = picked(&spreads, &above, above_latent)?;
        let numbers: Vec<i64> = levels.iter().map(|level| *level as i64).collect();
        let numbers = Tensor::f_from_slice(&numbers)?.f_to_device(above_latent.device())?;

        let mut y = match self.walk.start {
            Start::Above => above_latent.shallow_clone(),
            Start::Noise => noise(&shape)?,
        };
        for _ in 0..self.walk.steps {
            let pull = y.f_sub(above_latent)?.f_div(&variance)?;
            let drift = self.energy.gradient(&y, &numbers, observed)?.f_add(&pull)?;
            y = y.f_sub(&half_step.f_mul(&drift)?)?;
            if self.walk.temperature != 0.0 {
                y = y.f_add(&spread.f_mul(&noise(&shape)?)?)?;
            }
        }
        // the quadratic about z_{t+1} alone lets y grow from λ = 4σ²_{t+1} on: named for the level with the least room
        let room = |level: &usize| {
            sigma_squared
                .get(level + 1)
                .map_or(0.0, |variance| 4.0 * variance)
        };
        let narrowest = levels.iter().min_by(|a, b| room(a).total_cmp(&room(b)));
        let level = narrowest.copied().unwrap_or_default();
        let step = step_sizes.get(level + 1).copied().unwrap_or_default();
        check(&y, level, step, room(&level))?;
        Ok(y)
    }

    /// Returns z_t from z_{t+1}: [`Chain::walked`], divided by what the forward process shrank it by.
    pub fn one_down(
        &self,
        above_latent: &Tensor,
        levels: &[usize],
        observed: &Tensor,
        noise: &mut Noise<'_>,
    ) -> Result<Tensor, ModelError> {
        let walked = self.walked(above_latent, levels, observed, noise)?;
        Ok(walked.f_div(&picked(&self.schedule.a_prev, &above(levels), above_latent)?)?)
    }

    /// Returns z₀ from z₀: diffused to a level, then walked down again (paper, Algorithm 2). `watch` sees z at the
    /// level reached and at each one below.
    pub fn there_and_back(
        &self,
        z0: &Tensor,
        level: usize,
        observed: &Tensor,
        noise: &mut Noise<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Tensor, ModelError> {
        let shape = z0.size();
        let batch = usize::try_from(shape.first().copied().unwrap_or_default()).unwrap_or_default();
        let mut z = self.diffused(z0, &vec![level; batch], &noise(&shape)?)?;
        watch(&z)?;
        for t in (0..level).rev() {
            z = self.one_down(&z, &vec![t; batch], observed, noise)?;
            watch(&z)?;
        }
        Ok(z)
    }

    fn step_size(&self, variance: f64) -> f64 {
        match self.walk.step {
            StepSize::Fixed(step) => step,
            StepSize::Relative { share, curvature } => share * variance / (1.0 + curvature * variance),
        }
    }
}

fn above(levels: &[usize]) -> Vec<usize> {
    levels.iter().map(|level| level + 1).collect()
}

/// Refuses latents that left the finite numbers, or are on their way, at a level walked with a step whose chain is
/// stable below a bound.
///
/// # Errors
/// [`ModelError::Diverged`].
pub fn check(y: &Tensor, level: usize, step: f64, stable: f64) -> Result<(), ModelError> {
    let largest = y.f_abs()?.f_max()?.f_to_kind(Kind::Double)?.f_double_value(&[])?;
    // not `>`: NaN must not pass
    if largest < BOUND {
        return Ok(());
    }
    Err(ModelError::Diverged {
        level,
        bound: BOUND,
        found: largest,
        step,
        stable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use crate::networks::layers::{Made, Purpose, Stored};
    use crate::networks::{Network, PaperSize};
    use crate::seed::generator;
    use crate::weights::Tensors;

    const SIZE: PaperSize = PaperSize {
        channels: 4,
        latents: 8,
        energy_width: 32,
        ..PaperSize::PAPER_CODE
    };

    fn energy(kind: Kind) -> Option<Energy> {
        let tensors = golden::tensors("models/lsd_energy.state.safetensors")?;
        let mut stored = Stored {
            tensors: &tensors,
            prefix: "",
            kind,
            compute: kind,
            device: Device::Cpu,
            purpose: Purpose::Still,
        };
        Some(Energy::new(&mut stored, &Network::Paper(SIZE), 20).unwrap())
    }

    fn walk(steps: usize) -> Walk {
        Walk {
            steps,
            ..Walk::paper()
        }
    }

    /// Noise that gives out stored tensors one after another.
    fn fed(tensors: Vec<Tensor>) -> impl FnMut(&[i64]) -> Result<Tensor, ModelError> {
        let mut rest = tensors.into_iter();
        move |shape| {
            let next = rest.next().unwrap();
            assert_eq!(next.size(), shape);
            Ok(next)
        }
    }

    fn rows(tensor: &Tensor) -> Vec<Tensor> {
        (0..tensor.size()[0]).map(|row| tensor.get(row)).collect()
    }

    fn levels(tensor: &Tensor) -> Vec<usize> {
        Vec::<i64>::try_from(tensor)
            .unwrap()
            .into_iter()
            .map(|t| t as usize)
            .collect()
    }

    #[test]
    fn langevin_chains_equal_the_golden_ones() {
        let Some(golden) = golden::tensors("langevin/lsd_langevin.safetensors") else {
            return;
        };
        for (kind, name, tolerance) in [(Kind::Float, "f32", 5e-6), (Kind::Double, "f64", 1e-12)] {
            let energy = energy(kind).unwrap();
            let get = |key: &str| golden[key].to_kind(kind);
            let unused = Tensor::zeros([1], (kind, Device::Cpu));
            let schedule = Schedule::paper(20).unwrap();
            let chain = Chain {
                energy: &energy,
                schedule: &schedule,
                walk: &walk(10),
            };

            for part in ["a", "b"] {
                let t = levels(&golden[&format!("q_sample.{part}.t")]);
                let noise = get(&format!("q_sample.{part}.noise"));
                let found = chain.diffused(&get("q_sample.z0"), &t, &noise).unwrap();
                golden::close(&found, &golden[&format!("q_sample.{part}.z_t.{name}")], tolerance);
            }
            let t = levels(&golden["pairs.t"]);
            let z_t = chain
                .diffused(&get("q_sample.z0"), &t, &get("pairs.noise_t"))
                .unwrap();
            let z_next = chain.one_up(&z_t, &t, &get("pairs.noise_next")).unwrap();
            golden::close(&z_t, &golden[&format!("pairs.z_t.{name}")], tolerance);
            golden::close(&z_next, &golden[&format!("pairs.z_next.{name}")], tolerance);

            for case in ["t0", "t7", "t19", "tmix"] {
                let t = levels(&golden[&format!("{case}.t")]);
                let mut stored = vec![get(&format!("{case}.y0"))];
                stored.extend(rows(&get(&format!("{case}.eps"))));
                let next = get(&format!("{case}.z_next"));
                let found = chain.one_down(&next, &t, &unused, &mut fed(stored)).unwrap();
                golden::close(&found, &golden[&format!("{case}.z_out.{name}")], tolerance);
            }
        }
    }

    #[test]
    fn whole_chains_equal_the_golden_ones() {
        let Some(golden) = golden::tensors("langevin/lsd_langevin.safetensors") else {
            return;
        };
        for (kind, name, tolerance) in [(Kind::Float, "f32", 5e-6), (Kind::Double, "f64", 1e-12)] {
            let energy = energy(kind).unwrap();
            for (case, levels, start) in [("chain_T20_hor6", 20, 6), ("chain_T30_hor20", 30, 20)] {
                let get = |part: &str| golden[&format!("{case}.{part}")].to_kind(kind);
                let schedule = Schedule::paper(levels).unwrap();
                let chain = Chain {
                    energy: &energy,
                    schedule: &schedule,
                    walk: &walk(5),
                };
                let mut stored = vec![get("q_noise")];
                for (y0, eps) in rows(&get("y0")).into_iter().zip(rows(&get("eps"))) {
                    stored.push(y0);
                    stored.extend(rows(&eps));
                }
                let unused = Tensor::zeros([1], (kind, Device::Cpu));
                let found = chain
                    .there_and_back(&get("z0"), start, &unused, &mut fed(stored), &mut nobody())
                    .unwrap();
                let expected = golden[&format!("{case}.z_levels.{name}")].get(0);
                golden::close(&found, &expected, tolerance);
            }
        }
    }

    #[test]
    fn a_chain_with_too_large_a_step_diverges() {
        let mut tensors = Tensors::new();
        let mut made = Made {
            tensors: &mut tensors,
            prefix: "",
            rng: &mut generator(1),
        };
        let energy = Energy::new(&mut made, &Network::Paper(SIZE), 20).unwrap();
        // MODEL.md §1: λ = 0.01 is stable up to T of about 34
        let schedule = Schedule::paper(45).unwrap();
        let chain = Chain {
            energy: &energy,
            schedule: &schedule,
            walk: &walk(300),
        };
        let z = Tensor::zeros([2, 8], (Kind::Float, Device::Cpu));
        let mut rngs = [generator(2), generator(3)];
        let mut noise = |shape: &[i64]| drawn(&mut rngs, shape, Device::Cpu);
        let result = chain.one_down(&z, &[0, 0], &z, &mut noise);
        assert!(
            matches!(result, Err(ModelError::Diverged { level: 0, step, stable, .. }) if step == 0.01 && stable < step),
            "{:?}",
            result.err()
        );
    }

    #[test]
    fn a_flat_energy_samples_the_gaussian_around_the_level_above() {
        // E = const leaves y ~ N(z_{t+1}, sigma²); the Euler step inflates the variance by 1 / (1 − λ / 4 sigma²)
        let mut tensors = Tensors::new();
        let mut made = Made {
            tensors: &mut tensors,
            prefix: "",
            rng: &mut generator(1),
        };
        Energy::new(&mut made, &Network::Paper(SIZE), 2).unwrap();
        for tensor in tensors.values_mut() {
            let _ = tensor.zero_();
        }
        let mut stored = Stored {
            tensors: &tensors,
            prefix: "",
            kind: Kind::Float,
            compute: Kind::Float,
            device: Device::Cpu,
            purpose: Purpose::Still,
        };
        let energy = Energy::new(&mut stored, &Network::Paper(SIZE), 2).unwrap();
        let schedule = Schedule::new(&crate::lsd_ebm::schedule::Levels::Noise(vec![0.0, 0.6])).unwrap();
        let chain = Chain {
            energy: &energy,
            schedule: &schedule,
            walk: &Walk::corrected(120),
        };
        let above = Tensor::full([4000, 8], 0.5, (Kind::Float, Device::Cpu));
        let mut rngs: Vec<_> = (0..4000).map(generator).collect();
        let mut noise = |shape: &[i64]| drawn(&mut rngs, shape, Device::Cpu);
        let y = chain.walked(&above, &vec![0; 4000], &above, &mut noise).unwrap();
        let mean = y.mean(Kind::Double).double_value(&[]);
        let variance = y.var(true).double_value(&[]);
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        // λ / sigma² = 0.4 / (1 + 10 · 0.36) = 0.087
        let expected = 0.36 / (1.0 - 0.087 / 4.0);
        assert!(
            (variance / expected - 1.0).abs() < 0.05,
            "{variance} and {expected}"
        );
    }
}
