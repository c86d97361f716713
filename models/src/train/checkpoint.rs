//! Everything that a training needs to go on, as one safetensors file.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::description::{Description, LatentStatistics, Method};
use crate::networks::ENERGY;
use crate::networks::layers::{Fresh, Parameters as _, Stored};
use crate::reconstructor::ModelError;
use crate::seed::derive;
use crate::train::fresh::fresh;
use crate::train::optimizer::Trainee;
use crate::train::{Phase, Recipe};
use crate::weights::{Tensors, read, write};

/// State of a training between two steps.
pub struct State {
    /// What is being trained.
    pub phase: Phase,
    /// Seconds spent in this phase.
    pub seconds: f64,
    /// Encoder, generator or U-Net.
    pub networks: Trainee,
    /// The energy; without weights in methods that have none.
    pub energy: Trainee,
    /// Statistics of the latents, once known.
    pub latent: LatentStatistics,
    /// Hash of what is learnt from; empty until it is said.
    pub taught_by: String,
}

/// What is written beside the tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    phase: Phase,
    seconds: f64,
    /// Steps, and steps taken, of networks and energy.
    steps: [[u64; 2]; 2],
    latent: LatentStatistics,
    recipe: Recipe,
    #[serde(default)]
    taught_by: String,
}

const PLACE: &str = "training";

impl State {
    /// Starts a training from fresh weights.
    pub fn start(recipe: &Recipe) -> Result<Self, ModelError> {
        Self::begin(fresh_of(recipe)?, recipe)
    }

    /// Starts a training from finished weights of the recipe's own networks, the energy and what BatchNorm has counted
    /// included. Moments are fresh, steps count from 0, and the statistics of the latents are found anew.
    ///
    /// # Errors
    /// [`ModelError::Conf`] that says what differs for weights of other networks, [`ModelError::Weights`] for bytes that
    /// hold none, or not all of them.
    pub fn fine_tuning(bytes: &[u8], recipe: &Recipe) -> Result<Self, ModelError> {
        let weights = read(bytes)?;
        let description = Description::read(&weights.metadata)?;
        let differences = description.differences(&recipe.description(LatentStatistics::default()));
        if !differences.is_empty() {
            return Err(ModelError::Conf(format!(
                "train.start: expected weights of the recipe's own networks, found others, by their {}",
                differences.join(", ")
            )));
        }
        let mut given = Stored::on(&weights.tensors, "", Device::Cpu);
        let mut all = Tensors::new();
        // those that a network asks for, as when the weights are opened: whatever else the file holds is not trained
        for (name, tensor) in fresh_of(recipe)? {
            let tensor = given.get(&name, &tensor.size(), Fresh::Constant(0.0))?;
            all.insert(name, tensor);
        }
        Self::begin(all, recipe)
    }

    fn begin(all: Tensors, recipe: &Recipe) -> Result<Self, ModelError> {
        let (energy, networks): (Tensors, Tensors) =
            all.into_iter().partition(|(name, _)| name.starts_with(ENERGY));
        let latent = if recipe.standardises() {
            LatentStatistics::neutral(recipe.network.latents())
        } else {
            LatentStatistics::default()
        };
        Ok(Self {
            phase: Phase::Fit,
            seconds: 0.0,
            networks: Trainee::new(networks)?,
            energy: Trainee::new(energy)?,
            latent,
            taught_by: String::new(),
        })
    }

    /// Starts the training of an energy on the encoder and generator of finished weights.
    ///
    /// # Errors
    /// [`ModelError::Conf`] where the energy does not learn alone, or for networks other than the recipe's.
    pub fn start_with(bytes: &[u8], recipe: &Recipe) -> Result<Self, ModelError> {
        let weights = read(bytes)?;
        let description = Description::of(Method::LsdEbm, &weights.metadata)?;
        if recipe.method != Method::LsdEbm || recipe.is_joint() || description.network != recipe.network {
            return Err(ModelError::Conf(
                "train.base: expected weights of the recipe's networks, whose energy learns after them, found others"
                    .to_owned(),
            ));
        }
        let fresh = Self::start(recipe)?;
        let is_kept = |(name, _): &(String, Tensor)| !name.starts_with(ENERGY);
        let networks = weights.tensors.into_iter().filter(is_kept).collect();
        Ok(Self {
            networks: Trainee::new(networks)?,
            ..fresh.into_energy()
        })
    }

    /// Returns the same state with its tensors on a device.
    pub fn on(self, device: Device) -> Result<Self, ModelError> {
        Ok(Self {
            networks: self.networks.on(device)?,
            energy: self.energy.on(device)?,
            ..self
        })
    }

    /// Returns the same state as one that learns from what has this hash.
    ///
    /// # Errors
    /// [`ModelError::Conf`] for a checkpoint that has learnt from something else: whom it has seen can no longer be held
    /// out.
    pub fn learning_from(self, hash: String) -> Result<Self, ModelError> {
        if !self.taught_by.is_empty() && self.taught_by != hash {
            return Err(ModelError::Conf(
                "train: expected the masks, train.restorer, train.base and train.start of the checkpoint, found \
                 others; another train.output begins anew"
                    .to_owned(),
            ));
        }
        Ok(Self {
            taught_by: hash,
            ..self
        })
    }

    /// Goes on to the energy alone.
    pub fn into_energy(self) -> Self {
        Self {
            phase: Phase::Energy,
            seconds: 0.0,
            ..self
        }
    }

    /// Returns how many steps the phase has made.
    pub fn step(&self) -> u64 {
        match self.phase {
            Phase::Fit => self.networks.step,
            Phase::Latents | Phase::Energy => self.energy.step,
        }
    }

    /// Returns the weights as they would be kept now.
    pub fn kept(&self) -> Tensors {
        let mut all = self.networks.kept();
        all.extend(self.energy.kept());
        all
    }

    /// Returns the weights of the last step, without their running mean.
    pub fn last(&self) -> Result<Tensors, ModelError> {
        let mut all = self.networks.frozen()?;
        all.extend(self.energy.frozen()?);
        Ok(all)
    }

    /// Returns the checkpoint as bytes.
    pub fn write(&self, recipe: &Recipe) -> Result<Vec<u8>, ModelError> {
        let mut tensors = Tensors::new();
        for (group, trainee) in [("networks", &self.networks), ("energy", &self.energy)] {
            for (part, all) in parts(trainee) {
                for (name, tensor) in all {
                    tensors.insert(format!("{group}/{part}/{name}"), tensor.shallow_clone());
                }
            }
        }
        let place = Place {
            phase: self.phase,
            seconds: self.seconds,
            steps: [&self.networks, &self.energy].map(|trainee| [trainee.step, trainee.taken]),
            latent: self.latent.clone(),
            recipe: recipe.clone(),
            taught_by: self.taught_by.clone(),
        };
        let text = serde_json::to_string(&place)
            .map_err(|error| ModelError::Weights(format!("checkpoint: {error}")))?;
        write(&tensors, HashMap::from([(PLACE.to_owned(), text)]))
    }

    /// Reads a checkpoint to go on with under a recipe of the same networks.
    pub fn read(bytes: &[u8], recipe: &Recipe) -> Result<Self, ModelError> {
        let weights = read(bytes)?;
        let text = weights.metadata.get(PLACE).ok_or_else(|| {
            ModelError::Weights(format!("expected a checkpoint with a metadata entry {PLACE:?}"))
        })?;
        let place: Place = serde_json::from_str(text)
            .map_err(|error| ModelError::Weights(format!("metadata entry {PLACE:?}: {error}")))?;
        let of = |recipe: &Recipe| recipe.description(LatentStatistics::default());
        let differences = of(&place.recipe).differences(&of(recipe));
        if !differences.is_empty() {
            return Err(ModelError::Conf(format!(
                "train.recipe: expected the networks of the checkpoint, found others, by their {}",
                differences.join(", ")
            )));
        }
        let mut groups: BTreeMap<String, Trainee> = BTreeMap::new();
        for (name, tensor) in weights.tensors {
            let foreign = || ModelError::Weights(format!("expected a checkpoint's tensor, found {name}"));
            let mut words = name.splitn(3, '/');
            let (Some(group), Some(part), Some(own)) = (words.next(), words.next(), words.next()) else {
                return Err(foreign());
            };
            let trainee = groups.entry(group.to_owned()).or_insert_with(Trainee::empty);
            let part = match part {
                "weights" => &mut trainee.weights,
                "mean" => &mut trainee.mean,
                "first" => &mut trainee.first,
                "second" => &mut trainee.second,
                "statistics" => &mut trainee.statistics,
                "kept_statistics" => &mut trainee.kept_statistics,
                _ => return Err(foreign()),
            };
            part.insert(own.to_owned(), tensor);
        }
        let [networks, energy] = ["networks", "energy"].map(|group| groups.remove(group));
        let trainee = |found: Option<Trainee>, [step, taken]: [u64; 2]| -> Result<Trainee, ModelError> {
            let mut trainee = found.unwrap_or_else(Trainee::empty);
            let names = |part: &Tensors| part.keys().cloned().collect::<Vec<_>>();
            let expected = names(&trainee.weights);
            if [&trainee.mean, &trainee.first, &trainee.second]
                .into_iter()
                .any(|part| names(part) != expected)
                || names(&trainee.statistics) != names(&trainee.kept_statistics)
            {
                return Err(ModelError::Weights(
                    "expected a checkpoint with every moment".to_owned(),
                ));
            }
            trainee.step = step;
            trainee.taken = taken;
            trainee.require_gradients()?;
            Ok(trainee)
        };
        let [of_networks, of_energy] = place.steps;
        Ok(Self {
            phase: place.phase,
            seconds: place.seconds,
            networks: trainee(networks, of_networks)?,
            energy: trainee(energy, of_energy)?,
            latent: place.latent,
            taught_by: place.taught_by,
        })
    }
}

/// Returns fresh weights of the recipe's networks.
fn fresh_of(recipe: &Recipe) -> Result<Tensors, ModelError> {
    let description = recipe.description(LatentStatistics::default());
    fresh(&description, derive(recipe.seed, "weights"))
}

fn parts(trainee: &Trainee) -> [(&'static str, &Tensors); 6] {
    [
        ("weights", &trainee.weights),
        ("mean", &trainee.mean),
        ("first", &trainee.first),
        ("second", &trainee.second),
        ("statistics", &trainee.statistics),
        ("kept_statistics", &trainee.kept_statistics),
    ]
}
