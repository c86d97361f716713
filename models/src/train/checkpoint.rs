//! Everything that a training needs to go on, as one safetensors file.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::lsd_ebm::description::LatentStatistics;
use crate::lsd_ebm::{ENERGY, fresh};
use crate::reconstructor::ModelError;
use crate::seed::derive;
use crate::train::optimizer::Trainee;
use crate::train::{Phase, TrainConf};
use crate::weights::{Tensors, read, write};

/// State of a training between two steps.
pub struct Checkpoint {
    /// What is being trained.
    pub phase: Phase,
    /// Seconds spent in this phase.
    pub seconds: f64,
    /// The phase's weights and the optimizer's state.
    pub trainee: Trainee,
    /// Weights that are not being trained: the finished encoder and generator, or the energy not begun.
    pub done: Tensors,
    /// Statistics of the latents, once known.
    pub latent: LatentStatistics,
}

/// What is written beside the tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    phase: Phase,
    step: u64,
    seconds: f64,
    latent: LatentStatistics,
    conf: TrainConf,
}

const PLACE: &str = "training";

impl Checkpoint {
    /// Starts a training from fresh weights.
    pub fn start(conf: &TrainConf) -> Result<Self, ModelError> {
        let unknown = neutral(conf);
        let all = fresh(&conf.description(unknown.clone()), derive(conf.seed, "weights"))?;
        let (energy, autoencoder) = all.into_iter().partition(|(name, _)| name.starts_with(ENERGY));
        Ok(Self {
            phase: Phase::Autoencoder,
            seconds: 0.0,
            trainee: Trainee::new(autoencoder)?,
            done: energy,
            latent: unknown,
        })
    }

    /// Goes on to the second phase: the running means of encoder and generator are what is kept of them.
    pub fn into_energy(self, conf: &TrainConf) -> Result<Self, ModelError> {
        debug_assert_eq!(self.phase, Phase::Autoencoder);
        Ok(Self {
            phase: Phase::Energy,
            seconds: 0.0,
            trainee: Trainee::new(self.done)?,
            done: self.trainee.mean,
            latent: neutral(conf),
        })
    }

    /// Returns the weights as they would be kept now, and the statistics of their latents.
    pub fn kept(&self) -> Result<(Tensors, LatentStatistics), ModelError> {
        let parts = self.trainee.mean.iter().chain(&self.done);
        let tensors = parts
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect();
        Ok((tensors, self.latent.clone()))
    }

    /// Returns the checkpoint as bytes.
    pub fn write(&self, conf: &TrainConf) -> Result<Vec<u8>, ModelError> {
        let mut tensors = Tensors::new();
        for (group, part) in self.groups() {
            for (name, tensor) in part {
                tensors.insert(format!("{group}/{name}"), tensor.shallow_clone());
            }
        }
        let place = Place {
            phase: self.phase,
            step: self.trainee.step,
            seconds: self.seconds,
            latent: self.latent.clone(),
            conf: conf.clone(),
        };
        let text = serde_json::to_string(&place)
            .map_err(|error| ModelError::Weights(format!("checkpoint: {error}")))?;
        write(&tensors, HashMap::from([(PLACE.to_owned(), text)]))
    }

    /// Reads a checkpoint to go on with under a configuration of the same networks.
    pub fn read(bytes: &[u8], conf: &TrainConf) -> Result<Self, ModelError> {
        let weights = read(bytes)?;
        let text = weights.metadata.get(PLACE).ok_or_else(|| {
            ModelError::Weights(format!("expected a checkpoint with a metadata entry {PLACE:?}"))
        })?;
        let place: Place = serde_json::from_str(text)
            .map_err(|error| ModelError::Weights(format!("metadata entry {PLACE:?}: {error}")))?;
        if (&place.conf.size, &place.conf.levels) != (&conf.size, &conf.levels) {
            return Err(ModelError::Conf(
                "train.size, train.levels: expected those of the checkpoint, found others".to_owned(),
            ));
        }
        let mut trainee = Trainee {
            weights: Tensors::new(),
            mean: Tensors::new(),
            first: Tensors::new(),
            second: Tensors::new(),
            step: place.step,
        };
        let mut done = Tensors::new();
        for (name, tensor) in weights.tensors {
            let (group, name) = name.split_once('/').unwrap_or(("", &name));
            let part = match group {
                "weights" => &mut trainee.weights,
                "mean" => &mut trainee.mean,
                "first" => &mut trainee.first,
                "second" => &mut trainee.second,
                "done" => &mut done,
                _ => {
                    return Err(ModelError::Weights(format!(
                        "expected a checkpoint's tensor, found {name}"
                    )));
                }
            };
            part.insert(name.to_owned(), tensor);
        }
        let names = |part: &Tensors| part.keys().cloned().collect::<Vec<_>>();
        let expected = names(&trainee.weights);
        for part in [&trainee.mean, &trainee.first, &trainee.second] {
            if names(part) != expected {
                return Err(ModelError::Weights(
                    "expected a checkpoint with every moment".to_owned(),
                ));
            }
        }
        trainee.require_gradients()?;
        Ok(Self {
            phase: place.phase,
            seconds: place.seconds,
            trainee,
            done,
            latent: place.latent,
        })
    }

    fn groups(&self) -> [(&'static str, &Tensors); 5] {
        [
            ("weights", &self.trainee.weights),
            ("mean", &self.trainee.mean),
            ("first", &self.trainee.first),
            ("second", &self.trainee.second),
            ("done", &self.done),
        ]
    }
}

/// Returns statistics that leave latents as they are.
fn neutral(conf: &TrainConf) -> LatentStatistics {
    let channels = usize::try_from(conf.size.latents).unwrap_or_default();
    LatentStatistics {
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
    }
}
