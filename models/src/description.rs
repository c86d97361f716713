//! What a set of weights is: the one description that weights carry and from which their method is built.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lebm::Short;
use crate::lsd_ebm::schedule::{Levels, Schedule};
use crate::lsd_ebm::walk::Walk;
use crate::networks::{Network, Time};
use crate::reconstructor::ModelError;

/// Key of the description, as JSON, in the weights' `__metadata__`. One key only, so that equal weights are
/// equal bytes.
pub const DESCRIPTION: &str = "description";

/// A method that learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Latent-space diffusion energy-based model: the paper's.
    LsdEbm,
    /// Latent-space energy-based model (Pang et al. 2020): a generator and an energy, no encoder.
    Lebm,
    /// Variational autoencoder (Kingma and Welling 2014).
    Vae,
    /// U-Net with skips from a degraded mask to a whole one.
    #[serde(rename = "reconnet")]
    ReconNet,
}

impl Method {
    /// Every method that learns.
    pub const ALL: [Self; 4] = [Self::LsdEbm, Self::Lebm, Self::Vae, Self::ReconNet];

    /// Returns the name in configuration, tables and weights.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LsdEbm => "lsd_ebm",
            Self::Lebm => "lebm",
            Self::Vae => "vae",
            Self::ReconNet => "reconnet",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose mathematics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The authors' constants and quirks to the letter.
    PaperCode,
    /// As the mathematics says.
    #[default]
    Corrected,
}

/// Everything about a set of weights that is not a number in them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The method.
    pub method: Method,
    /// Version of these weights, as the tables name it.
    pub version: String,
    /// Whose mathematics they follow.
    #[serde(default)]
    pub preset: Preset,
    /// Networks and their sizes.
    pub network: Network,
    /// LSD-EBM: diffusion levels that the energy was trained for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<Levels>,
    /// LSD-EBM: levels to walk, where they are not the trained ones. The authors' evaluation has a schedule of 30
    /// whatever the model was trained with (MODEL.md §0, 6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels_walked: Option<Levels>,
    /// LSD-EBM: the walk from one level to the one below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub walk: Option<Walk>,
    /// LEBM: the short chains of posterior and prior.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<Short>,
    /// Mean and standard deviation of each latent channel over the training set; latents are standardised
    /// by these before they are diffused. Empty where latents are left as they are.
    #[serde(default)]
    pub latent: LatentStatistics,
}

/// Mean and standard deviation per latent channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentStatistics {
    /// Means.
    pub mean: Vec<f64>,
    /// Standard deviations.
    pub std: Vec<f64>,
}

impl LatentStatistics {
    /// Returns statistics of so many channels that leave latents as they are.
    pub fn neutral(channels: usize) -> Self {
        Self {
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
        }
    }
}

impl Description {
    /// Returns the description in the metadata of weights of whatever method.
    ///
    /// # Errors
    /// [`ModelError::Weights`] if there is none, or one without sense.
    pub fn read(metadata: &HashMap<String, String>) -> Result<Self, ModelError> {
        let Some(text) = metadata.get(DESCRIPTION) else {
            return Err(ModelError::Weights(format!(
                "expected a metadata entry {DESCRIPTION:?}, found none"
            )));
        };
        let description: Self = serde_json::from_str(text)
            .map_err(|error| ModelError::Weights(format!("metadata entry {DESCRIPTION:?}: {error}")))?;
        description.check()?;
        Ok(description)
    }

    /// Returns the description in the metadata of weights of one method.
    ///
    /// # Errors
    /// [`ModelError::Weights`] if there is none, or one of another method or without sense.
    pub fn of(method: Method, metadata: &HashMap<String, String>) -> Result<Self, ModelError> {
        let description = Self::read(metadata)?;
        if description.method != method {
            return Err(ModelError::Weights(format!(
                "expected weights of method {method}, found {}",
                description.method
            )));
        }
        Ok(description)
    }

    /// Returns by name what is not the same in another description. Version and latent statistics do not count: weights
    /// that differ in nothing else are of the same networks.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let Self {
            method,
            version: _,
            preset,
            network,
            levels,
            levels_walked,
            walk,
            short,
            latent: _,
        } = self;
        let parts = [
            ("method", *method == other.method),
            ("preset", *preset == other.preset),
            ("network", *network == other.network),
            ("levels", *levels == other.levels),
            ("levels_walked", *levels_walked == other.levels_walked),
            ("walk", *walk == other.walk),
            ("short", *short == other.short),
        ];
        parts
            .into_iter()
            .filter(|(_, is_same)| !is_same)
            .map(|(name, _)| name)
            .collect()
    }

    /// Returns the metadata that holds this description.
    ///
    /// # Errors
    /// [`ModelError::Weights`] for numbers that JSON cannot hold.
    pub fn to_metadata(&self) -> Result<HashMap<String, String>, ModelError> {
        let text = serde_json::to_string(self)
            .map_err(|error| ModelError::Weights(format!("description: {error}")))?;
        Ok(HashMap::from([(DESCRIPTION.to_owned(), text)]))
    }

    /// Returns the schedule that the energy was trained for.
    ///
    /// # Errors
    /// [`ModelError::Weights`] without levels, or for such as make no schedule.
    pub fn schedule(&self) -> Result<Schedule, ModelError> {
        let levels = self.levels.as_ref();
        Schedule::new(levels.ok_or_else(|| self.lacks("levels"))?)
    }

    /// Returns the walk down the levels.
    ///
    /// # Errors
    /// [`ModelError::Weights`] without one.
    pub fn walk(&self) -> Result<&Walk, ModelError> {
        self.walk.as_ref().ok_or_else(|| self.lacks("walk"))
    }

    /// Returns the short chains.
    ///
    /// # Errors
    /// [`ModelError::Weights`] without any.
    pub fn short(&self) -> Result<&Short, ModelError> {
        self.short.as_ref().ok_or_else(|| self.lacks("short"))
    }

    fn lacks(&self, what: &str) -> ModelError {
        ModelError::Weights(format!(
            "expected an entry {what:?} in the description of {} weights, found none",
            self.method
        ))
    }

    fn check(&self) -> Result<(), ModelError> {
        self.network.check()?;
        match self.method {
            Method::LsdEbm => {
                let trained = self.schedule()?.levels();
                steps_within(self.walk()?.steps)?;
                // a raw number tells any level; a table ends with the last one trained
                let any = matches!(&self.network, Network::Paper(size) if size.time == Time::Raw);
                if let Some(levels) = &self.levels_walked
                    && Schedule::new(levels)?.levels() > trained
                    && !any
                {
                    return Err(ModelError::Weights(format!(
                        "expected at most the {trained} levels trained to be walked, found more"
                    )));
                }
            }
            Method::Lebm => {
                let short = self.short()?;
                steps_within(short.posterior_steps)?;
                steps_within(short.prior_steps)?;
            }
            Method::Vae | Method::ReconNet => {}
        }
        let statistics = &self.latent;
        let counts = [statistics.mean.len(), statistics.std.len()];
        let latents = self.network.latents();
        let may_lack = self.method != Method::LsdEbm || self.preset == Preset::PaperCode;
        if counts != [latents, latents] && !(counts == [0, 0] && may_lack) {
            return Err(ModelError::Weights(format!(
                "expected latent statistics of {latents} channels, found {} and {}",
                counts[0], counts[1]
            )));
        }
        if !statistics.std.iter().all(|std| *std > 0.0 && std.is_finite()) {
            return Err(ModelError::Weights(
                "expected positive standard deviations of the latents".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Most Langevin steps of one level or chain: three times the paper's would be 900.
const STEPS_MOST: usize = 10_000;

/// Refuses no step at all, and so many that a vertebra would take hours.
fn steps_within(steps: usize) -> Result<(), ModelError> {
    if (1..=STEPS_MOST).contains(&steps) {
        return Ok(());
    }
    Err(ModelError::Weights(format!(
        "expected 1 to {STEPS_MOST} Langevin steps, found {steps}"
    )))
}
