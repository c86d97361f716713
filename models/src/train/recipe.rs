//! How to train: section `[train.recipe]` of the configuration. Method, preset and size decide every default.

mod preset;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::augment::AugmentConf;
use crate::description::{Description, LatentStatistics, Method, Preset};
use crate::lebm::Short;
use crate::lsd_ebm::schedule::{Levels, Schedule};
use crate::lsd_ebm::walk::Walk;
use crate::networks::Network;
use crate::reconstructor::ModelError;

use preset::PAPER_LEVELS_WALKED;

/// How large the networks are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// The paper's.
    Paper,
    /// Fit for a CPU.
    #[default]
    Compact,
}

/// How to train a method. What a configuration leaves out follows from `method`, `preset` and `size`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    /// The method.
    pub method: Method,
    /// The authors' code to the letter, or as the mathematics says.
    pub preset: Preset,
    /// How large the networks are.
    pub size: Size,
    /// Version to write into the weights.
    pub version: String,
    /// Seed of everything random; weights are equal for equal seeds, steps and threads.
    pub seed: u64,
    /// Where to train: `cpu` or `cuda:<number>`. Samples are prepared on the CPU.
    pub device: String,
    /// Threads of the tensor operations; one more prepares samples.
    pub threads: usize,
    /// Compute convolutions in bfloat16: twice as fast on CPUs that have it, much slower on others; on a GPU mixed
    /// precision.
    pub half: bool,
    /// Store the finished weights in 16 bits.
    pub store_half: bool,
    /// Minutes between checkpoints.
    pub checkpoint_minutes: f64,
    /// Steps between validations.
    pub validate_every: u64,
    /// The networks in full.
    pub network: Network,
    /// LSD-EBM: diffusion levels.
    pub levels: Levels,
    /// LSD-EBM: the walk from one level to the one below.
    pub walk: Walk,
    /// LEBM: its chains.
    pub short: Short,
    /// Share of clean masks' copies that are degraded before the encoder sees them (0: the paper's way).
    pub degraded: f64,
    /// Share of the degraded pairs whose encoder sees the clean mask while the generator's detail is the degraded
    /// one's: it teaches the generator to take from the latent what the observed mask lacks.
    pub informed: f64,
    /// Share of the degraded pairs that go through ReconNet first, if `train.restorer` names its weights.
    pub restored: f64,
    /// Share of phantoms among the masks.
    pub phantoms: f64,
    /// Batches that show the same augmented masks, each time degraded anew: augmentation is the dear part.
    pub reuse: u64,
    /// Random deformation of the masks.
    pub augment: AugmentConf,
    /// Least and largest factor on the noise of the posterior that the generator decodes, drawn per mask. 1 is the
    /// evidence lower bound's. From 0 on, the generator also learns to decode the mean, which is what LSD-EBM's chain
    /// starts from: cells of the latent that carry nothing are noise in a sample and still in the mean.
    pub latent_noise: [f64; 2],
    /// What encoder, generator or U-Net are trained for.
    pub loss: LossConf,
    /// How encoder, generator or U-Net are trained.
    pub fit: Fit,
    /// How the energy is trained: after them, or in `paper-code` and LEBM beside them, with the steps of `fit`.
    pub energy: EnergyConf,
}

/// Weights of the terms of a loss, beside each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConf {
    /// Binary cross-entropy, mean per voxel.
    pub cross_entropy: f64,
    /// Soft Dice loss.
    pub dice: f64,
    /// Kullback–Leibler divergence of the posterior from N(0, 1) beside the cross-entropy, both as sums: 1 is the
    /// evidence lower bound.
    pub divergence: f64,
}

/// How a network is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Most steps.
    pub steps: u64,
    /// Most minutes; 0 for as long as the steps take. Resumed minutes count together.
    pub minutes: f64,
    /// Masks, or latents, per batch.
    pub batch: usize,
    /// Batches whose gradients make one step.
    pub accumulate: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// How the learning rate falls.
    pub schedule: Rate,
    /// Steps over which the learning rate rises first.
    pub warm_up: u64,
    /// AdamW's decays of the running means of the gradient and of its square.
    pub betas: [f64; 2],
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Norm that a step's gradient is cut to; 0 leaves it.
    pub clip: f64,
    /// Decay of the running mean of the weights, which is what is kept; 0 keeps the weights themselves.
    pub ema: f64,
}

/// How a learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// Not at all.
    Constant,
    /// As a cosine to a hundredth.
    Cosine,
    /// Linearly to a twentieth.
    Linear,
}

impl Rate {
    /// Returns the share of the largest learning rate after a share of the training.
    pub fn at(self, progress: f64) -> f64 {
        let progress = progress.clamp(0.0, 1.0);
        match self {
            Self::Constant => 1.0,
            Self::Cosine => 0.01 + 0.99 * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Self::Linear => (1.0 - progress).max(0.05),
        }
    }
}

/// How an energy is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnergyConf {
    /// Steps, learning rate and the like; 0 steps leave the energy as it starts: untrained, or as `train.start` has it.
    pub fit: Fit,
    /// Pairs of clean and degraded latents that are encoded once and then trained on.
    pub latents: usize,
    /// Weight of the squared energies (mean per latent entry), which keeps them small.
    pub regularisation: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self::of(Method::LsdEbm, Preset::Corrected, Size::Compact)
    }
}

impl Recipe {
    /// Returns whether the energy is trained beside the other networks, step by step, instead of after them.
    pub fn is_joint(&self) -> bool {
        self.method == Method::Lebm || (self.method == Method::LsdEbm && self.preset == Preset::PaperCode)
    }

    /// Returns whether latents are standardised before they are diffused.
    pub fn standardises(&self) -> bool {
        self.method == Method::LsdEbm && self.preset == Preset::Corrected
    }

    /// Returns what the weights trained so will be, with latent statistics as far as they are known.
    pub fn description(&self, latent: LatentStatistics) -> Description {
        let is_diffusion = self.method == Method::LsdEbm;
        let walked = is_diffusion && self.preset == Preset::PaperCode;
        Description {
            method: self.method,
            version: self.version.clone(),
            preset: self.preset,
            network: self.network.clone(),
            levels: is_diffusion.then(|| self.levels.clone()),
            levels_walked: walked.then_some(Levels::Paper(PAPER_LEVELS_WALKED)),
            walk: is_diffusion.then(|| self.walk.clone()),
            short: (self.method == Method::Lebm).then(|| self.short.clone()),
            latent,
        }
    }

    /// Refuses numbers that cannot be.
    ///
    /// # Errors
    /// [`ModelError::Conf`] that names the key.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |what: String| Err(ModelError::Conf(format!("train.recipe.{what}")));
        let energy = &self.energy.fit;
        for (name, count) in [
            ("threads", self.threads),
            ("fit.batch", self.fit.batch),
            ("fit.accumulate", self.fit.accumulate),
            ("energy.fit.batch", energy.batch),
            ("energy.fit.accumulate", energy.accumulate),
            ("energy.latents", self.energy.latents),
            ("walk.steps", self.walk.steps),
            ("reuse", usize::try_from(self.reuse).unwrap_or_default()),
            (
                "validate_every",
                usize::try_from(self.validate_every).unwrap_or_default(),
            ),
        ] {
            if count == 0 {
                return wrong(format!("{name}: expected at least 1, found 0"));
            }
        }
        for (name, share) in [
            ("degraded", self.degraded),
            ("informed", self.informed),
            ("restored", self.restored),
            ("phantoms", self.phantoms),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return wrong(format!("{name}: expected a share of 0 to 1, found {share}"));
            }
        }
        let [least, largest] = self.latent_noise;
        if !(0.0 <= least && least <= largest && largest.is_finite()) {
            return wrong(format!(
                "latent_noise: expected two factors from 0 on that rise, found {least} and {largest}"
            ));
        }
        let decodes_a_sample = matches!(self.method, Method::Vae | Method::LsdEbm) && !self.is_joint();
        if self.latent_noise != [1.0, 1.0] && !decodes_a_sample {
            return wrong(format!(
                "latent_noise: expected [1, 1] for {} under this preset, found {least} and {largest}",
                self.method
            ));
        }
        if self.informed + self.restored > 1.0 {
            return wrong(format!(
                "informed, restored: expected shares of at most 1 together, found {} and {}",
                self.informed, self.restored
            ));
        }
        let of_size = matches!(
            (&self.network, self.size),
            (Network::Paper(_), Size::Paper) | (Network::Compact(_), Size::Compact)
        );
        if !of_size && self.preset == Preset::Corrected {
            return wrong("network: expected one of the given size, found the other".to_owned());
        }
        if self.preset == Preset::PaperCode && !matches!(self.network, Network::Paper(_)) {
            return wrong("network: expected the paper's for paper-code, found a compact one".to_owned());
        }
        if matches!(&self.network, Network::Paper(size) if size.energy_batch_norm) && self.fit.batch < 2 {
            return wrong("fit.batch: expected at least 2 for an energy with BatchNorm, found 1".to_owned());
        }
        Schedule::new(&self.levels)
            .map_err(|error| ModelError::Conf(format!("train.recipe.levels: {error}")))?;
        self.network
            .check()
            .map_err(|error| ModelError::Conf(format!("train.recipe.network: {error}")))
    }
}

impl Fit {
    /// Returns the learning rate of a step, after a share of the training.
    pub fn rate(&self, step: u64, progress: f64) -> f64 {
        let rise = if self.warm_up == 0 {
            1.0
        } else {
            ((step + 1) as f64 / self.warm_up as f64).min(1.0)
        };
        self.learning_rate * rise.min(self.schedule.at(progress))
    }
}

/// A recipe as it is written, every key given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(remote = "Recipe")]
struct Written {
    method: Method,
    preset: Preset,
    size: Size,
    version: String,
    seed: u64,
    device: String,
    threads: usize,
    half: bool,
    store_half: bool,
    checkpoint_minutes: f64,
    validate_every: u64,
    network: Network,
    levels: Levels,
    walk: Walk,
    short: Short,
    degraded: f64,
    informed: f64,
    restored: f64,
    phantoms: f64,
    reuse: u64,
    augment: AugmentConf,
    latent_noise: [f64; 2],
    loss: LossConf,
    fit: Fit,
    energy: EnergyConf,
}

/// What is looked at first.
#[derive(Deserialize)]
struct Which {
    #[serde(default = "lsd_ebm")]
    method: Method,
    #[serde(default)]
    preset: Preset,
    #[serde(default)]
    size: Size,
}

fn lsd_ebm() -> Method {
    Method::LsdEbm
}

impl<'de> Deserialize<'de> for Recipe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(deserializer)?;
        let which: Which = serde_json::from_value(given.clone()).map_err(D::Error::custom)?;
        let preset = Self::of(which.method, which.preset, which.size);
        let mut all = serde_json::to_value(preset).map_err(D::Error::custom)?;
        put_over(&mut all, given);
        Written::deserialize(all).map_err(D::Error::custom)
    }
}

/// Entries that say one of several things by their only key: a new one takes the place of the old.
const CHOICES: [&str; 4] = ["levels", "step", "likelihood", "network"];

/// Puts given entries over those of a preset, table by table.
fn put_over(preset: &mut Value, given: Value) {
    match (preset, given) {
        (Value::Object(preset), Value::Object(given)) => {
            for (key, value) in given {
                let chooses_anew = CHOICES.contains(&key.as_str())
                    && !matches!((preset.get(&key), &value), (Some(Value::Object(old)), Value::Object(new))
                        if new.keys().all(|key| old.contains_key(key)));
                match preset.get_mut(&key) {
                    Some(old) if !chooses_anew => put_over(old, value),
                    _ => {
                        preset.insert(key, value);
                    }
                }
            }
        }
        (preset, given) => *preset = given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsd_ebm::walk::StepSize;

    fn read(text: &str) -> Result<Recipe, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn what_is_left_out_follows_from_method_preset_and_size() {
        assert_eq!(read("{}").unwrap(), Recipe::default());
        for method in Method::ALL {
            for preset in [Preset::PaperCode, Preset::Corrected] {
                for size in [Size::Paper, Size::Compact] {
                    let recipe = Recipe::of(method, preset, size);
                    recipe.check().unwrap();
                    let text = serde_json::to_string(&recipe).unwrap();
                    assert_eq!(read(&text).unwrap(), recipe);
                }
            }
        }
        let recipe =
            read(r#"{"method": "vae", "preset": "paper-code", "size": "paper", "seed": 3}"#).unwrap();
        assert_eq!((recipe.seed, recipe.fit.learning_rate), (3, 2e-5));
        assert_eq!(recipe.fit.batch, 4);
    }

    #[test]
    fn single_keys_of_a_table_leave_the_others() {
        let recipe = read(
            r#"{"fit": {"steps": 7}, "network": {"compact": {"latents": 4}}, "levels": {"paper": 15},
                "walk": {"step": {"relative": {"share": 0.2}}}}"#,
        )
        .unwrap();
        assert_eq!((recipe.fit.steps, recipe.fit.batch), (7, 4));
        let Network::Compact(size) = &recipe.network else {
            panic!("compact is the default")
        };
        assert_eq!((size.latents, size.conditioned), (4, true));
        assert_eq!(recipe.levels, Levels::Paper(15));
        assert!(
            matches!(recipe.walk.step, StepSize::Relative { share, curvature } if share == 0.2 && curvature == 10.0)
        );
    }

    #[test]
    fn unknown_keys_and_senseless_numbers_are_refused() {
        assert!(read(r#"{"stepz": 3}"#).is_err());
        assert!(read(r#"{"fit": {"stepz": 3}}"#).is_err());
        assert!(read(r#"{"method": "gan"}"#).is_err());
        for text in [
            r#"{"degraded": 1.5}"#,
            r#"{"fit": {"batch": 0}}"#,
            r#"{"levels": {"paper": 1}}"#,
            r#"{"informed": 0.7, "restored": 0.7}"#,
            r#"{"latent_noise": [1.0, 0.5]}"#,
            r#"{"method": "reconnet", "latent_noise": [0.0, 1.0]}"#,
        ] {
            assert!(
                matches!(read(text).unwrap().check(), Err(ModelError::Conf(_))),
                "{text}"
            );
        }
    }
}
