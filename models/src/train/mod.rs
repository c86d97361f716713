//! Training of the `compact` LSD-EBM (paper, Algorithm 1) in two phases: the autoencoder, then the energy on
//! its latents. Stopped and resumed training goes on as if it had never stopped.

use std::ops::ControlFlow;
use std::time::Duration;

use ndarray::Array3;
use schemas::Level;
use serde::{Deserialize, Serialize};
use tch::Kind;

use crate::augment::AugmentConf;
use crate::lsd_ebm::description::{
    CompactSize, Description, LatentStatistics, METHOD, Network, StepSize, Walk,
};
use crate::lsd_ebm::schedule::{Levels, Schedule};
use crate::lsd_ebm::{ENERGY, set_threads};
use crate::reconstructor::ModelError;
use crate::weights::{Tensors, write};

mod autoencoder;
mod checkpoint;
mod energy;
mod optimizer;
mod run;
mod samples;
#[cfg(test)]
mod tests;
mod validation;

use checkpoint::Checkpoint;
use run::Run;

pub use validation::{Validated, validate};

/// How to train: section `[train]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConf {
    /// Version to write into the weights.
    pub version: String,
    /// Seed of everything random; weights are equal for equal seeds, steps and threads.
    pub seed: u64,
    /// Threads of the tensor operations; one more prepares samples.
    pub threads: usize,
    /// Compute convolutions in bfloat16: twice as fast on CPUs that have it, much slower on others.
    pub half: bool,
    /// Store the finished weights in 16 bits.
    pub store_half: bool,
    /// Minutes between checkpoints.
    pub checkpoint_minutes: f64,
    /// Steps between validations.
    pub validate_every: u64,
    /// Sizes of the networks.
    pub size: CompactSize,
    /// Standard deviation of the noise at each diffusion level, from 0 up.
    pub levels: Vec<f64>,
    /// Share of clean masks' copies that are degraded before the encoder sees them (0: the paper's way).
    pub degraded: f64,
    /// Share of phantoms among the masks.
    pub phantoms: f64,
    /// Batches that show the same augmented masks, each time degraded anew: augmentation is the dear part.
    pub reuse: u64,
    /// Random deformation of the masks.
    pub augment: AugmentConf,
    /// First phase.
    pub autoencoder: AutoencoderConf,
    /// Second phase.
    pub energy: EnergyConf,
}

/// The first phase: encoder and generator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoencoderConf {
    /// Most steps.
    pub steps: u64,
    /// Most minutes; 0 for as long as the steps take. Resumed minutes count together.
    pub minutes: f64,
    /// Masks per step.
    pub batch: usize,
    /// Largest learning rate; it rises over 50 steps, then falls as a cosine to a hundredth.
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Norm that a step's gradient is cut to.
    pub clip: f64,
    /// Decay of the running mean of the weights, which is what is kept.
    pub ema: f64,
    /// Weight of the binary cross-entropy (mean per voxel) beside one soft Dice loss.
    pub cross_entropy: f64,
    /// Weight of the Kullback–Leibler divergence from N(0, 1) (mean per latent entry).
    pub divergence: f64,
}

/// The second phase: the energy prior on the latents of the trained encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnergyConf {
    /// Most steps; 0 leaves the energy untrained.
    pub steps: u64,
    /// Most minutes; 0 for as long as the steps take. Resumed minutes count together.
    pub minutes: f64,
    /// Latents per step.
    pub batch: usize,
    /// Pairs of clean and degraded latents that are encoded once and then trained on.
    pub latents: usize,
    /// Largest learning rate; it falls linearly to a twentieth.
    pub learning_rate: f64,
    /// Norm that a step's gradient is cut to.
    pub clip: f64,
    /// Decay of the running mean of the weights, which is what is kept.
    pub ema: f64,
    /// Langevin steps per level (K), in training and afterwards.
    pub langevin_steps: usize,
    /// Langevin step size as a share of the variance that quadratic and curvature leave at a level.
    pub langevin_step: f64,
    /// Curvature of the energy that the step size reckons with.
    pub langevin_curvature: f64,
    /// Weight of the squared energies (mean per latent entry), which keeps them small.
    pub regularisation: f64,
}

impl Default for TrainConf {
    fn default() -> Self {
        Self {
            version: "compact-1".to_owned(),
            seed: 0,
            threads: 2,
            half: true,
            store_half: true,
            checkpoint_minutes: 5.0,
            validate_every: 200,
            size: CompactSize::default(),
            levels: vec![0.0, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95],
            degraded: 0.85,
            phantoms: 0.0,
            reuse: 2,
            augment: AugmentConf::default(),
            autoencoder: AutoencoderConf::default(),
            energy: EnergyConf::default(),
        }
    }
}

impl Default for AutoencoderConf {
    fn default() -> Self {
        Self {
            steps: 3000,
            minutes: 45.0,
            batch: 4,
            learning_rate: 2e-3,
            weight_decay: 1e-2,
            clip: 1.0,
            ema: 0.995,
            cross_entropy: 5.0,
            divergence: 5e-4,
        }
    }
}

impl Default for EnergyConf {
    fn default() -> Self {
        Self {
            steps: 1200,
            minutes: 10.0,
            batch: 8,
            latents: 480,
            learning_rate: 3e-4,
            clip: 1.0,
            ema: 0.98,
            langevin_steps: 15,
            langevin_step: 0.4,
            langevin_curvature: 10.0,
            regularisation: 0.0,
        }
    }
}

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

/// Which network is being trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Encoder and generator.
    Autoencoder,
    /// Latents are encoded for the energy.
    Latents,
    /// The energy.
    Energy,
}

/// What happens while training goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was made.
    Step {
        /// Which network.
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
        /// Which network.
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
    /// The weights as a safetensors file, fit for [`crate::lsd_ebm::LsdEbm::open`].
    pub weights: Vec<u8>,
    /// Whether every phase came to its end; if not, the last checkpoint is there to go on from.
    pub complete: bool,
    /// The last validation.
    pub validation: Vec<Validated>,
}

/// Trains `compact` on masks, anew or from the bytes of a checkpoint.
///
/// `on_event` sees every step and every checkpoint; when it breaks, a last checkpoint is given to it and
/// training ends with what there is.
///
/// # Errors
/// [`ModelError::Conf`] for a configuration that cannot be, [`ModelError::Weights`] for bytes that are no
/// checkpoint of this configuration's networks.
pub fn train(
    masks: &[TrainingMask],
    validation: &[TrainingMask],
    conf: &TrainConf,
    resume: Option<&[u8]>,
    on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Trained, ModelError> {
    conf.check(masks)?;
    set_threads(conf.threads);
    let checkpoint = match resume {
        Some(bytes) => Checkpoint::read(bytes, conf)?,
        None => Checkpoint::start(conf)?,
    };
    let mut run = Run {
        conf,
        masks,
        validation,
        on_event,
        state: checkpoint,
        last: Vec::new(),
    };
    let mut flow = ControlFlow::Continue(());
    if run.state.phase == Phase::Autoencoder {
        flow = run.autoencoder()?;
        if flow.is_continue() {
            run.state = run.state.into_energy(conf)?;
        }
    }
    if flow.is_continue() {
        flow = run.energy()?;
    }
    let _ = run.report_checkpoint()?;
    let weights = conf.finished(&run.state)?;
    Ok(Trained {
        weights,
        complete: flow.is_continue(),
        validation: run.last,
    })
}

impl TrainConf {
    /// Returns what the weights trained so will be, with latent statistics as far as they are known.
    pub fn description(&self, latent: LatentStatistics) -> Description {
        let walk = Walk {
            step: StepSize::Relative {
                share: self.energy.langevin_step,
                curvature: self.energy.langevin_curvature,
            },
            ..Walk::corrected(self.energy.langevin_steps)
        };
        Description {
            method: METHOD.to_owned(),
            version: self.version.clone(),
            network: Network::Compact(self.size.clone()),
            levels: Levels::Noise(self.levels.clone()),
            walk,
            latent,
        }
    }

    /// Returns the safetensors file of the weights as they are to be kept.
    fn finished(&self, state: &Checkpoint) -> Result<Vec<u8>, ModelError> {
        let (tensors, latent) = state.kept()?;
        let mut stored = Tensors::new();
        for (name, tensor) in tensors {
            // small tensors cost nothing, and the energy's level shifts are small numbers
            let narrow = self.store_half && tensor.numel() > 1024 && !name.starts_with(ENERGY);
            let tensor = if narrow {
                tensor.f_to_kind(Kind::Half)?
            } else {
                tensor
            };
            stored.insert(name, tensor);
        }
        write(&stored, self.description(latent).to_metadata()?)
    }

    /// Returns the kind in which convolutions compute.
    fn compute(&self) -> Kind {
        if self.half { Kind::BFloat16 } else { Kind::Float }
    }

    fn check(&self, masks: &[TrainingMask]) -> Result<(), ModelError> {
        let wrong = |what: String| Err(ModelError::Conf(what));
        if masks.is_empty() {
            return wrong("expected masks to train on, found none".to_owned());
        }
        for (name, count) in [
            ("train.threads", self.threads),
            ("train.autoencoder.batch", self.autoencoder.batch),
            ("train.energy.batch", self.energy.batch),
            ("train.energy.langevin_steps", self.energy.langevin_steps),
            ("train.energy.latents", self.energy.latents),
            ("train.reuse", usize::try_from(self.reuse).unwrap_or_default()),
            (
                "train.validate_every",
                usize::try_from(self.validate_every).unwrap_or_default(),
            ),
        ] {
            if count == 0 {
                return wrong(format!("{name}: expected at least 1, found 0"));
            }
        }
        for (name, share) in [
            ("train.degraded", self.degraded),
            ("train.phantoms", self.phantoms),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return wrong(format!("{name}: expected a share of 0 to 1, found {share}"));
            }
        }
        Schedule::new(&Levels::Noise(self.levels.clone()))
            .map_err(|error| ModelError::Conf(format!("train.levels: {error}")))?;
        Ok(())
    }
}
