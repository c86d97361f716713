//! LEBM's short chains: Langevin dynamics on the prior, and on the posterior of an observed mask.

use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

use crate::lebm::energy::PriorEnergy;
use crate::lsd_ebm::langevin::{Noise, Watch, check};
use crate::networks::generator::Generator;
use crate::reconstructor::ModelError;

/// Constants of the two chains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Short {
    /// Steps of the posterior's chain.
    pub posterior_steps: usize,
    /// Step size s of the posterior's chain.
    pub posterior_step: f64,
    /// Steps of the prior's chain.
    pub prior_steps: usize,
    /// Step size s of the prior's chain.
    pub prior_step: f64,
    /// What a mask is, given its latent.
    pub likelihood: Likelihood,
    /// Factor on the noise √s·ε.
    pub temperature: f64,
}

/// What a mask is, given its latent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likelihood {
    /// Normal about the generator's probability, with this standard deviation; the authors' sampler has 0.3,
    /// though their generator learns by cross-entropy.
    Gaussian(f64),
    /// Bernoulli, as the generator learns. The gradient of a mask's −log p(x | z) is divided by its norm per latent
    /// entry and multiplied by this: so many voxels weigh as one observation, and the chain stays stable.
    Bernoulli(f64),
}

impl Short {
    /// Returns the authors' constants, for so many prior steps in training (30, in the paper also 2, 15 and 20).
    pub fn paper(prior_steps: usize) -> Self {
        Self {
            posterior_steps: 20,
            posterior_step: 0.1,
            prior_steps,
            prior_step: 0.4,
            likelihood: Likelihood::Gaussian(0.3),
            temperature: 1.0,
        }
    }
}

/// The chains of one set of weights.
pub struct ShortRun<'a> {
    /// The generator.
    pub generator: &'a Generator,
    /// The energy.
    pub energy: &'a PriorEnergy,
    /// Constants.
    pub short: &'a Short,
    /// Masks whose mean energy the authors' code follows in place of each one's own: the batch in training; 1 otherwise,
    /// so that no mask's chain depends on its neighbours.
    pub shared_by: usize,
}

impl ShortRun<'_> {
    /// Returns latents of the prior, from noise z: z ← z − (s/2)·(∇E(z) + z) + √s·ε.
    ///
    /// # Errors
    /// The chain leaves the finite numbers.
    pub fn prior(
        &self,
        start: &Tensor,
        noise: &mut Noise<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Tensor, ModelError> {
        let (steps, step) = (self.short.prior_steps, self.short.prior_step);
        let drift = |z: &Tensor| Ok(self.energy.gradient(z)?.f_add(z)?);
        self.walk(start, (steps, step), drift, noise, watch)
    }

    /// Returns latents of the posterior of masks, from noise z:
    /// z ← z − (s/2)·(∇[−log p(x | z)] + ∇E(z) + z) + √s·ε (Pang et al. 2020, Eq. 8).
    ///
    /// # Errors
    /// The chain leaves the finite numbers.
    pub fn posterior(
        &self,
        masks: &Tensor,
        start: &Tensor,
        noise: &mut Noise<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Tensor, ModelError> {
        let (steps, step) = (self.short.posterior_steps, self.short.posterior_step);
        self.walk(start, (steps, step), |z| self.drift(masks, z), noise, watch)
    }

    /// Returns the gradient of −log p(x, z) by z.
    pub fn drift(&self, masks: &Tensor, z: &Tensor) -> Result<Tensor, ModelError> {
        let by_masks = self.by_masks(masks, z)?;
        let by_energy = self
            .energy
            .gradient(z)?
            .f_div_scalar(self.shared_by.max(1) as f64)?;
        Ok(by_masks.f_add(&by_energy)?.f_add(z)?)
    }

    /// Returns the gradient of −log p(x | z) by z, through the generator.
    pub fn by_masks(&self, masks: &Tensor, z: &Tensor) -> Result<Tensor, ModelError> {
        tch::with_grad(|| {
            let leaf = z.f_detach()?.f_set_requires_grad(true)?;
            let logits = self.generator.forward(&leaf, masks)?;
            let loss = match self.short.likelihood {
                Likelihood::Gaussian(sigma) => logits
                    .f_sigmoid()?
                    .f_sub(masks)?
                    .f_square()?
                    .f_sum(logits.kind())?
                    .f_div_scalar(2.0 * sigma * sigma)?,
                Likelihood::Bernoulli(_) => {
                    logits.f_binary_cross_entropy_with_logits::<Tensor>(masks, None, None, Reduction::Sum)?
                }
            };
            let mut gradients = Tensor::f_run_backward(&[loss], &[leaf], false, false)?;
            let gradient = gradients.remove(0).f_detach()?;
            let Likelihood::Bernoulli(weight) = self.short.likelihood else {
                return Ok(gradient);
            };
            let entries: Vec<i64> = (1..gradient.dim() as i64).collect();
            let mean_square = gradient
                .f_square()?
                .f_mean_dim(entries.as_slice(), true, gradient.kind())?;
            let norm = mean_square.f_sqrt()?.f_add_scalar(1e-12)?;
            Ok(gradient.f_div(&norm)?.f_mul_scalar(weight)?)
        })
    }

    fn walk(
        &self,
        start: &Tensor,
        (steps, step): (usize, f64),
        drift: impl Fn(&Tensor) -> Result<Tensor, ModelError>,
        noise: &mut Noise<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Tensor, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let shape = start.size();
        let spread = step.sqrt() * self.short.temperature;
        let mut z = start.shallow_clone();
        for _ in 0..steps {
            z = z.f_sub(&drift(&z)?.f_mul_scalar(step / 2.0)?)?;
            if spread != 0.0 {
                z = z.f_add(&noise(&shape)?.f_mul_scalar(spread)?)?;
            }
            watch(&z)?;
        }
        // the normal prior alone lets z grow from s = 4 on
        check(&z, 0, step, 4.0)?;
        Ok(z)
    }
}
