//! Training of every method that learns, from a recipe. Stopped and resumed training goes on as if it had never
//! stopped.
//!
//! Encoder, generator or U-Net are fitted first. In LEBM and the authors' LSD-EBM (paper, Algorithm 1) the energy
//! learns beside them; corrected, LSD-EBM's learns afterwards, on the latents of the encoder that is then done.

use std::ops::ControlFlow;
use std::time::Duration;

use ndarray::Array3;
use schemas::Level;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::description::{Description, LatentStatistics, Method};
use crate::networks::device::{device, set_threads};
use crate::networks::layers::Stored;
use crate::networks::unet::Unet;
use crate::networks::{ENERGY, UNET};
use crate::reconstructor::ModelError;
use crate::weights::{Tensors, read, sha256_hex, write};

pub mod recipe;

mod checkpoint;
mod energy;
mod fit;
mod fresh;
mod joint;
mod losses;
mod optimizer;
mod run;
mod samples;
mod validation;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use checkpoint::State;
use run::Run;

pub use fresh::fresh;
pub use recipe::Recipe;
pub use validation::{Measure, Validated, validate};

/// One vertebra to train on or to validate with: 1 mm voxels, axes right, anterior, superior.
#[derive(Debug, Clone)]
pub struct TrainingMask {
    /// Pseudonym of the person.
    pub person: String,
    /// Its level.
    pub level: Level,
    /// 0 or 1 per voxel, 128³.
    pub mask: Array3<u8>,
}

impl TrainingMask {
    /// Returns `person_level`, the name in logs.
    pub fn name(&self) -> String {
        format!("{}_{}", self.person, self.level)
    }
}

/// What is being trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Encoder, generator or U-Net, and the energy where it learns beside them.
    Fit,
    /// Latents are encoded for the energy.
    Latents,
    /// The energy alone.
    Energy,
}

/// What happens while training goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was made.
    Step {
        /// What.
        phase: Phase,
        /// Steps of this phase so far.
        step: u64,
        /// Share of the phase that is done, by steps or time.
        progress: f64,
        /// Time in this phase.
        elapsed: Duration,
        /// Losses of this step by name.
        figures: &'a [(&'static str, f64)],
    },
    /// The model as it would be kept now was tried on the validation masks.
    Validated {
        /// What.
        phase: Phase,
        /// Steps of this phase so far.
        step: u64,
        /// One entry a mask.
        cases: &'a [Validated],
    },
    /// Bytes that training can be resumed from.
    Checkpoint {
        /// A safetensors file.
        bytes: &'a [u8],
    },
}

/// Where training got to.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The weights as a safetensors file, fit for [`crate::open`]: their running mean.
    pub weights: Vec<u8>,
    /// The weights of the last step in the same form, without the running mean: equal where the decay of the mean
    /// (`fit.ema`) is 0, but for what LEBM's BatchNorm counts behind each step. The statistics of the latents are those of
    /// the mean.
    pub last: Vec<u8>,
    /// Whether every phase came to its end; if not, the last checkpoint is there to go on from.
    pub complete: bool,
    /// The last validation.
    pub validation: Vec<Validated>,
}

/// What is trained on, by what, and against what.
pub struct Job<'a> {
    /// Masks to train on.
    pub masks: &'a [TrainingMask],
    /// Masks to try the model on.
    pub validation: &'a [TrainingMask],
    /// How to train.
    pub recipe: &'a Recipe,
    /// What measures reconstructions.
    pub measure: &'a Measure<'a>,
    /// Weights of a ReconNet that restores a share of the masks first, see [`Recipe::restored`].
    pub restorer: Option<&'a [u8]>,
    /// Weights of an LSD-EBM whose encoder and generator are kept: only the energy is trained, anew.
    pub base: Option<&'a [u8]>,
    /// Finished weights of the recipe's own networks that the fit starts from instead of fresh ones, the energy's
    /// included; never beside a base. A checkpoint goes before them, but must have begun with the same ones.
    pub start: Option<&'a [u8]>,
}

impl Job<'_> {
    /// Returns a hash of whom the weights learn from: names of the masks, and the weights looked through or begun with.
    fn taught_by(&self) -> String {
        let mut names: Vec<String> = self.masks.iter().map(TrainingMask::name).collect();
        names.sort();
        let hash = |bytes: Option<&[u8]>| bytes.map_or_else(String::new, sha256_hex);
        let mut weights = vec![hash(self.restorer), hash(self.base)];
        // no entry without one: checkpoints from before there was a choice go on
        weights.extend(self.start.map(sha256_hex));
        sha256_hex([names, weights].concat().join("\n").as_bytes())
    }
}

/// Trains a method on masks, anew, from finished weights, or from the bytes of a checkpoint.
///
/// `on_event` sees every step and every checkpoint; when it breaks, a last checkpoint is given to it and
/// training ends with what there is.
///
/// # Errors
/// [`ModelError::Conf`] for a recipe that cannot be, or weights of other networks to start from; [`ModelError::Weights`]
/// for bytes that are no checkpoint of this recipe's networks, [`ModelError::Device`] for a device that is not there,
/// [`ModelError::NotFinite`] where training runs away.
pub fn train(
    job: &Job<'_>,
    resume: Option<&[u8]>,
    on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Trained, ModelError> {
    let recipe = job.recipe;
    recipe.check()?;
    if job.masks.is_empty() {
        return Err(ModelError::Conf(
            "expected masks to train on, found none".to_owned(),
        ));
    }
    set_threads(recipe.threads);
    let device = device(&recipe.device)?;
    let restorer = job
        .restorer
        .map(|bytes| restorer(bytes, recipe, device))
        .transpose()?;
    if restorer.is_none() && recipe.restored > 0.0 {
        return Err(ModelError::Conf(
            "train.recipe.restored: expected weights of a ReconNet in train.restorer, found none".to_owned(),
        ));
    }
    let state = match (resume, job.base, job.start) {
        (_, Some(_), Some(_)) => {
            return Err(ModelError::Conf(
                "train.base, train.start: expected weights in one of them, found both: a base's encoder and generator \
                 stay as they are, those that a training starts from do not"
                    .to_owned(),
            ));
        }
        (Some(bytes), _, _) => State::read(bytes, recipe)?,
        (None, Some(bytes), None) => State::start_with(bytes, recipe)?,
        (None, None, Some(bytes)) => State::fine_tuning(bytes, recipe)?,
        (None, None, None) => State::start(recipe)?,
    };
    let taught_by = job.taught_by();
    let state = state.on(device)?.learning_from(taught_by)?;
    let mut run = Run {
        recipe,
        device,
        masks: job.masks,
        validation: job.validation,
        measure: job.measure,
        restorer: restorer.as_ref(),
        on_event,
        state,
        last: Vec::new(),
        guarded: 0,
    };
    let mut flow = ControlFlow::Continue(());
    if run.state.phase == Phase::Fit {
        flow = run.fit()?;
        let has_energy = recipe.method == Method::LsdEbm && !recipe.is_joint();
        if flow.is_continue() && has_energy {
            run.state = run.state.into_energy();
        }
    }
    if flow.is_continue() && run.state.phase == Phase::Energy {
        flow = run.energy()?;
    }
    // before the last validation, which may fail
    let _ = run.report_checkpoint()?;
    if flow.is_continue() {
        let _ = run.try_out(run.state.phase)?;
    }
    Ok(Trained {
        weights: recipe.finished(run.state.kept(), &run.state.latent)?,
        last: recipe.finished(run.state.last()?, &run.state.latent)?,
        complete: flow.is_continue(),
        validation: run.last,
    })
}

/// Checks whether a training by this recipe can start from finished weights, as [`Job::start`] asks.
///
/// # Errors
/// Why it cannot: weights of other networks, or bytes that are none.
pub fn can_start(recipe: &Recipe, weights: &[u8]) -> Result<(), ModelError> {
    State::fine_tuning(weights, recipe).map(drop)
}

/// Builds the network that restores masks before they are seen, in the kind that the training computes in.
fn restorer(bytes: &[u8], recipe: &Recipe, device: Device) -> Result<Unet, ModelError> {
    let weights = read(bytes)?;
    let description = Description::of(Method::ReconNet, &weights.metadata)?;
    let compute = if recipe.half { Kind::BFloat16 } else { Kind::Float };
    let mut parameters = Stored {
        compute,
        ..Stored::on(&weights.tensors, UNET, device)
    };
    Unet::new(&mut parameters, &description.network)
}

impl Recipe {
    /// Returns the safetensors file of finished weights, as they are to be stored.
    fn finished(&self, weights: Tensors, latent: &LatentStatistics) -> Result<Vec<u8>, ModelError> {
        let mut stored = Tensors::new();
        for (name, tensor) in weights {
            // small tensors cost nothing, and the energy's level shifts are small numbers
            let narrow = self.store_half && tensor.numel() > 1024 && !name.starts_with(ENERGY);
            let tensor = if narrow {
                tensor.f_to_kind(Kind::Half)?
            } else {
                tensor
            };
            stored.insert(name, tensor);
        }
        write(&stored, self.description(latent.clone()).to_metadata()?)
    }
}
