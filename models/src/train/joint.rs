//! One step of the methods whose energy learns beside the other networks: the authors' LSD-EBM, and LEBM.

use tch::Tensor;

use crate::description::Preset;
use crate::lebm::energy::PriorEnergy;
use crate::lebm::langevin::ShortRun;
use crate::lebm::{Likelihood, latent_shape};
use crate::lsd_ebm::energy::Energy;
use crate::lsd_ebm::langevin::{Chain, Noise, nobody, picked};
use crate::lsd_ebm::schedule::Schedule;
use crate::lsd_ebm::walk::Walk;
use crate::networks::generator::Generator;
use crate::networks::{ENERGY, GENERATOR, Network};
use crate::reconstructor::ModelError;
use crate::train::Recipe;
use crate::train::checkpoint::State;
use crate::train::fit::{Autoencoder, Batch, Losses, by_sums, in_full, still, stored};
use crate::train::losses::{
    Loss, authors_entropy_sum, cross_entropy_sum, mean_square, per_sample, reconstruction,
};
use crate::train::optimizer::Trainee;

/// The energy under training, the same energy frozen for the sampler, and what the sampler walks by.
pub struct Contrast {
    trained: Energy,
    frozen: Energy,
    schedule: Schedule,
    walk: Walk,
}

impl Contrast {
    /// Builds both on the weights.
    pub fn of(trainee: &Trainee, recipe: &Recipe) -> Result<Self, ModelError> {
        let schedule = Schedule::new(&recipe.levels)?;
        let levels = schedule.levels();
        let weights = trainee.in_training();
        let frozen = trainee.frozen()?;
        let mut of_frozen = still(&frozen, ENERGY, recipe);
        Ok(Self {
            trained: Energy::new(&mut stored(&weights, ENERGY, recipe), &recipe.network, levels)?,
            frozen: Energy::new(&mut of_frozen, &recipe.network, levels)?,
            schedule,
            walk: recipe.walk.clone(),
        })
    }
}

/// Returns the losses of one step of the authors' LSD-EBM, quirks included (MODEL.md §1). Levels are given per sample;
/// noise is asked for in this order: posterior, z_t, z_{t+1}, then the chain's start and steps.
pub fn lsd_ebm_losses(
    autoencoder: &Autoencoder,
    contrast: &Contrast,
    batch: &Batch,
    levels: &[usize],
    noise: &mut Noise<'_>,
) -> Result<Losses, ModelError> {
    let (posterior, z_inf, logits) = autoencoder.forward(batch, noise)?;
    let cross_entropy = cross_entropy_sum(&logits, &batch.clean)?;
    let entropy = authors_entropy_sum(&posterior, &z_inf)?;
    let total = per_sample(&cross_entropy.f_add(&entropy)?, &batch.clean)?;
    let networks = Loss {
        figures: vec![
            ("loss_g", total.f_double_value(&[])?),
            ("cross_entropy_sum", cross_entropy.f_double_value(&[])?),
            ("entropy_term_sum", entropy.f_double_value(&[])?),
        ],
        total,
    };

    let chain = Chain {
        energy: &contrast.frozen,
        schedule: &contrast.schedule,
        walk: &contrast.walk,
    };
    let z0 = z_inf.f_detach()?;
    let shape = z0.size();
    let z = chain.diffused(&z0, levels, &noise(&shape)?)?;
    let above = chain.one_up(&z, levels, &noise(&shape)?)?;
    let walked = chain.one_down(&above, levels, &z0, noise)?;
    let next_levels: Vec<usize> = levels.iter().map(|level| level + 1).collect();
    let shrink = picked(&contrast.schedule.a_prev, &next_levels, &z)?;
    let numbers: Vec<i64> = levels.iter().map(|level| *level as i64).collect();
    let numbers = Tensor::f_from_slice(&numbers)?.f_to_device(z.device())?;
    let energy = |latent: &Tensor| contrast.trained.forward(&latent.f_mul(&shrink)?, &numbers, &z0);
    let apart = energy(&z)?.f_sub(&energy(&walked)?)?;
    // B×1×1×1 times B gives B×B in the authors' code: the weight is no longer the sample's own
    let first = contrast.schedule.sigma.get(1).copied().unwrap_or(1.0);
    let weight = picked(&contrast.schedule.sigma, &next_levels, &apart)?
        .f_reciprocal()?
        .f_mul_scalar(first)?
        .f_mean(apart.kind())?;
    let contrast = apart.f_mean(apart.kind())?;
    let total = contrast.f_mul(&weight)?;
    let energy = Loss {
        figures: vec![
            ("loss_e", contrast.f_double_value(&[])?),
            ("scaled_loss_e", total.f_double_value(&[])?),
        ],
        total,
    };
    Ok(Losses {
        networks,
        energy: Some(energy),
        counted: None,
    })
}

/// Returns the losses of one step of LEBM. Noise is asked for in this order: the posterior chain's start and steps,
/// then the prior's.
pub fn lebm_losses(
    state: &State,
    recipe: &Recipe,
    batch: &Batch,
    noise: &mut Noise<'_>,
) -> Result<Losses, ModelError> {
    let shape = latent_shape(&recipe.network, &batch.seen)?;
    let starts = noise(&shape)?;
    let [posterior, prior_starts, prior] = chains(state, recipe, batch, &starts, noise)?;

    let weights = state.networks.in_training();
    let generator = Generator::new(&mut stored(&weights, GENERATOR, recipe), &recipe.network)?;
    let logits = generator.forward(&posterior, &batch.seen)?;
    let networks = if recipe.preset == Preset::PaperCode {
        by_sums(&logits, &batch.clean)?
    } else {
        reconstruction(&logits, &batch.clean, &recipe.loss)?
    };

    let weights = state.energy.in_training();
    let energy = PriorEnergy::new(&mut in_full(stored(&weights, ENERGY, recipe)), &recipe.network)?;
    // the prior's latents first, as the authors' BatchNorm counts them
    let of_prior = energy.forward(&prior)?;
    let of_posterior = energy.forward(&posterior)?;
    let kind = of_prior.kind();
    let mut total = of_posterior.f_mean(kind)?.f_sub(&of_prior.f_mean(kind)?)?;
    let mut figures = vec![("loss_e", total.f_double_value(&[])?)];
    if recipe.preset == Preset::Corrected {
        // per latent entry, so that a grid's gradient is of the order of a vector's
        let entries = shape.iter().skip(1).product::<i64>() as f64;
        total = total.f_div_scalar(entries)?;
        if recipe.energy.regularisation > 0.0 {
            let [a, b] = [of_prior, of_posterior].map(|all| all.f_div_scalar(entries));
            let squares = mean_square(&a?)?.f_add(&mean_square(&b?)?)?;
            total = total.f_add(&squares.f_mul_scalar(recipe.energy.regularisation)?)?;
        }
    }
    figures.push(("latent_variance", posterior.f_var(false)?.f_double_value(&[])?));
    Ok(Losses {
        networks,
        energy: Some(Loss { total, figures }),
        counted: counts(recipe).then_some(prior_starts),
    })
}

/// Returns whether the energy has a BatchNorm.
fn counts(recipe: &Recipe) -> bool {
    matches!(&recipe.network, Network::Paper(size) if size.energy_batch_norm)
}

/// Lets the energy's BatchNorm count latents, as the authors' log line does after each step with the prior's starts:
/// the statistics are what the next chains walk by.
pub fn count_once_more(trainee: &Trainee, recipe: &Recipe, latents: &Tensor) -> Result<(), ModelError> {
    let _no_grad = tch::no_grad_guard();
    let weights = trainee.in_training();
    let energy = PriorEnergy::new(&mut in_full(stored(&weights, ENERGY, recipe)), &recipe.network)?;
    let _ = energy.forward(latents)?;
    Ok(())
}

/// Returns latents of the posterior of what is seen, and the prior's before and after its chain; BatchNorm counts nothing meanwhile.
fn chains(
    state: &State,
    recipe: &Recipe,
    batch: &Batch,
    start: &Tensor,
    noise: &mut Noise<'_>,
) -> Result<[Tensor; 3], ModelError> {
    let (networks, energy) = (state.networks.frozen()?, state.energy.frozen()?);
    let mut of_generator = still(&networks, GENERATOR, recipe);
    let generator = Generator::new(&mut of_generator, &recipe.network)?;
    let energy = PriorEnergy::new(&mut in_full(still(&energy, ENERGY, recipe)), &recipe.network)?;
    let run = ShortRun {
        generator: &generator,
        energy: &energy,
        short: &recipe.short,
        shared_by: match recipe.short.likelihood {
            Likelihood::Gaussian(_) => usize::try_from(batch.seen.size5()?.0).unwrap_or(1),
            Likelihood::Bernoulli(_) => 1,
        },
    };
    let posterior = run.posterior(&batch.seen, start, noise, &mut nobody())?;
    let start = noise(&start.size())?;
    let prior = run.prior(&start, noise, &mut nobody())?;
    Ok([posterior, start, prior])
}
