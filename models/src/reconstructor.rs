//! What a model is to the rest of the world, and the one list of models.

use std::collections::BTreeMap;

use schemas::{ModelIdentity, Patch, Reconstruction};
use serde::{Deserialize, Serialize};

use crate::baseline::Identity;
use crate::interpolate::Interpolate;
use crate::loaded::LoadedWeights;
#[cfg(feature = "torch")]
use crate::{
    description::{Description, Method},
    lebm::Lebm,
    lsd_ebm::LsdEbm,
    reconnet::ReconNet,
    vae::Vae,
    weights::Tensors,
};

/// Which models, in which state: section `[model]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConf {
    /// Names of the models that a patch goes through, in order.
    pub chain: Vec<String>,
    /// Weights of the chain's networks: `shipped`, or a path or an object's URL, or a name in the registry; a table of
    /// them by name for a chain of several networks.
    pub weights: Weights,
    /// Diffusion levels to walk (Algorithm 2's T); 0 decodes the encoder's latent directly.
    pub steps: u32,
    /// How a level is walked.
    #[serde(skip_serializing_if = "Sampler::is_trained")]
    pub sampler: Sampler,
    /// Samples drawn per vertebra.
    pub samples: u32,
    /// Restore the mask's mirror image too (left for right), and take the mean of the two: a vertebra is nearly
    /// symmetric, and networks that learnt with both sides in turn err differently on each. Twice the time.
    #[serde(skip_serializing_if = "is_off")]
    pub mirror: bool,
    /// Numbers that the networks compute in.
    #[serde(skip_serializing_if = "Precision::is_full")]
    pub precision: Precision,
}

/// Where weights come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Weights {
    /// `shipped` for every network of the chain, or one place for the only one.
    One(String),
    /// `shipped` or a place for each network, by the model's name.
    Each(BTreeMap<String, String>),
}

/// What stands for the weights that this crate ships.
pub const SHIPPED: &str = "shipped";

impl Weights {
    /// Returns the place of a model's weights; `None` for the shipped ones.
    pub fn of(&self, model: &str) -> Option<&str> {
        let place = match self {
            Self::One(place) => place.as_str(),
            Self::Each(places) => places.get(model).map_or(SHIPPED, String::as_str),
        };
        (place != SHIPPED).then_some(place)
    }
}

/// How a diffusion level is walked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// As the weights were trained to be walked.
    #[default]
    Trained,
    /// The paper's: 300 steps of λ = 0.01 from noise.
    Langevin,
    /// Downhill in a few steps as long as the level's variance, from the level above.
    Preconditioned,
}

impl Sampler {
    /// Returns the name in the configuration and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trained => "trained",
            Self::Langevin => "langevin",
            Self::Preconditioned => "preconditioned",
        }
    }

    /// Returns whether it is the one that goes without saying: a run without another keeps the id that it always had.
    pub fn is_trained(&self) -> bool {
        *self == Self::Trained
    }
}

/// Numbers that networks compute in. Latents, the paper's energy and what norms are scaled by stay in f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32, as the weights were trained.
    #[default]
    #[serde(rename = "f32")]
    Full,
    /// bfloat16: nearly twice as fast where the processor multiplies it (AVX512-BF16, AMX, a GPU), slower elsewhere.
    #[serde(rename = "bf16")]
    Half,
}

impl Precision {
    /// Returns the name in the configuration and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "f32",
            Self::Half => "bf16",
        }
    }

    /// Returns whether it is the one that goes without saying: a run without another keeps the id that it always had.
    pub fn is_full(&self) -> bool {
        *self == Self::Full
    }
}

impl Default for ModelConf {
    fn default() -> Self {
        Self {
            chain: vec!["lsd_ebm".to_owned()],
            weights: Weights::One(SHIPPED.to_owned()),
            steps: 1,
            sampler: Sampler::Trained,
            samples: 1,
            mirror: false,
            precision: Precision::Full,
        }
    }
}

/// What goes without saying is not written: a run without it keeps the id that it always had.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_off(switch: &bool) -> bool {
    !switch
}

/// Why a model could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No model of that name in [`open`]'s list.
    #[error("expected a model name ({known}), found {found:?}")]
    Unknown {
        /// The names there are.
        known: String,
        /// The name asked for.
        found: String,
    },
    /// The configuration asks for what the model cannot do.
    #[error("{0}")]
    Conf(String),
    /// The weights are not what the model needs.
    #[error("weights: {0}")]
    Weights(String),
    /// The device is not there.
    #[error("device: {0}")]
    Device(String),
    /// The patch is not of the size the model was made for.
    #[error("expected a patch of {expected:?} voxels, found {found:?}")]
    Shape {
        /// Voxels along each axis.
        expected: [usize; 3],
        /// Voxels along each axis.
        found: [usize; 3],
    },
    /// Memory of the device gave out: halve the batch and try again.
    #[error("memory gave out: {0}")]
    Exhausted(String),
    /// The Langevin chain left the finite numbers.
    #[error(
        "the Langevin chain diverged at level {level}: expected finite latents below {bound}, found {found}; its step is \
         {step:.3e}, at most stable below {stable:.3e}"
    )]
    Diverged {
        /// Diffusion level.
        level: usize,
        /// Largest magnitude let pass.
        bound: f64,
        /// Largest magnitude found (NaN included).
        found: f64,
        /// Step size λ of the chain.
        step: f64,
        /// Step size from which on it diverges whatever the energy: 4σ² of the level above, 4 for LEBM. A curved energy
        /// needs smaller ones.
        stable: f64,
    },
    /// Training came upon gradients that are no numbers, step after step.
    #[error("training: expected a finite gradient, found none in {steps} steps up to step {step}")]
    NotFinite {
        /// The last of the steps.
        step: u64,
        /// Steps in a row.
        steps: u32,
    },
    /// A model broke its contract.
    #[error("{0}")]
    Contract(String),
    /// libtorch said no.
    #[error("libtorch: {0}")]
    Torch(String),
}

/// A model: degraded patches in, restored patches out, a pure function of patch and seed.
///
/// A worker thread owns it: it need not be `Send`.
pub trait Reconstructor {
    /// Returns one reconstruction a patch, in order; `seeds` has one entry a patch.
    ///
    /// # Errors
    /// The batch as a whole failed; a caller finds the culprit by going through it one by one.
    fn reconstruct(&mut self, batch: &[Patch], seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError>;

    /// Returns how the latent of one patch spreads on its way along the chain, in the order walked; nothing for a
    /// method without a latent chain.
    ///
    /// # Errors
    /// As for [`Self::reconstruct`].
    fn trace(&mut self, _patch: &Patch, _seed: u64) -> Result<Vec<TracePoint>, ModelError> {
        Ok(Vec::new())
    }
}

/// One latent on its way along a chain (paper, Fig. 5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TracePoint {
    /// Part of the way: `forward` (diffusion), `reverse` (the learned prior), `posterior` (Langevin on the posterior).
    pub leg: &'static str,
    /// Position along the leg in the order walked, from 0.
    pub position: usize,
    /// Variance over the entries of this one latent.
    pub variance: f64,
}

/// Models that a patch goes through one after another.
pub struct Chain {
    models: Vec<Box<dyn Reconstructor>>,
    identity: ModelIdentity,
}

/// Names of the models, as `model.chain` takes them.
pub const MODELS: [&str; 6] = ["identity", "interpolate", "lsd_ebm", "lebm", "vae", "reconnet"];

/// Those of them that learn, and so have weights, whatever this build holds.
pub const LEARNED: [&str; 4] = ["lsd_ebm", "lebm", "vae", "reconnet"];

/// Those of them that draw nothing: their samples would all be equal.
const WITHOUT_SAMPLES: [&str; 3] = ["identity", "interpolate", "reconnet"];

/// Builds the chain that `conf` names on `device` (`cpu`, `cuda:0`) from its weights.
///
/// # Errors
/// An unknown name, unfit weights, several samples of a last model that draws nothing, or a device that is not there.
pub fn open(conf: &ModelConf, weights: &LoadedWeights, device: &str) -> Result<Chain, ModelError> {
    let mut models: Vec<Box<dyn Reconstructor>> = Vec::new();
    let mut versions: Vec<String> = Vec::new();
    #[cfg_attr(
        not(feature = "torch"),
        expect(unused_mut, reason = "only networks have weights")
    )]
    let mut hashes: Vec<String> = Vec::new();
    for name in &conf.chain {
        match name.as_str() {
            "identity" => {
                models.push(Box::new(Identity));
                continue;
            }
            "interpolate" => {
                models.push(Box::new(Interpolate));
                continue;
            }
            _ => {}
        }
        #[cfg(feature = "torch")]
        if let Some(method) = Method::ALL.into_iter().find(|method| method.as_str() == name) {
            let (weights, sha256) = weights.of(method)?;
            let (model, version) = network(method, &weights, conf, device)?;
            models.push(model);
            versions.push(version);
            hashes.push(sha256);
            continue;
        }
        return Err(ModelError::Unknown {
            known: MODELS.join(", "),
            found: name.to_owned(),
        });
    }
    let Some(last) = conf.chain.last() else {
        return Err(ModelError::Conf(
            "model.chain: expected at least one model, found none".to_owned(),
        ));
    };
    if conf.samples > 1 && WITHOUT_SAMPLES.contains(&last.as_str()) {
        return Err(ModelError::Conf(format!(
            "model.samples: expected 1 for a chain that ends with {last}, which draws nothing, found {}",
            conf.samples
        )));
    }
    #[cfg(not(feature = "torch"))]
    let _ = (weights, device);
    let precision = (!versions.is_empty()).then_some(conf.precision.as_str());
    if versions.is_empty() {
        versions.push("none".to_owned());
    }
    let walks = conf.chain.iter().any(|name| name == "lsd_ebm");
    let identity = ModelIdentity {
        chain: conf.chain.clone(),
        model_version: versions.join("+"),
        weights_sha256: hashes.join("+"),
        steps: if walks { conf.steps } else { 0 },
        sampler: walks.then(|| conf.sampler.as_str()),
        samples: conf.samples,
        mirror: conf.mirror,
        precision,
    };
    Ok(Chain { models, identity })
}

/// Builds a method's model from its weights, and says their version.
#[cfg(feature = "torch")]
fn network(
    method: Method,
    weights: &crate::weights::Weights,
    conf: &ModelConf,
    device: &str,
) -> Result<(Box<dyn Reconstructor>, String), ModelError> {
    let device = crate::networks::device::device(device)?;
    let description = Description::of(method, &weights.metadata)?;
    let version = description.version.clone();
    Ok((built(&weights.tensors, description, conf, device)?, version))
}

/// Builds the model that a description says, on tensors that fit it.
///
/// # Errors
/// Tensors that do not fit, or a configuration that asks what these weights cannot do.
#[cfg(feature = "torch")]
pub fn built(
    tensors: &Tensors,
    description: Description,
    conf: &ModelConf,
    device: tch::Device,
) -> Result<Box<dyn Reconstructor>, ModelError> {
    Ok(match description.method {
        Method::LsdEbm => Box::new(LsdEbm::build(tensors, description, conf, device)?),
        Method::Lebm => Box::new(Lebm::build(tensors, description, conf, device)?),
        Method::Vae => Box::new(Vae::build(tensors, description, conf, device)?),
        Method::ReconNet => Box::new(ReconNet::build(tensors, description, conf, device)?),
    })
}

impl Chain {
    /// Returns a chain of these models under this identity.
    pub fn of(models: Vec<Box<dyn Reconstructor>>, identity: ModelIdentity) -> Self {
        Self { models, identity }
    }

    /// Returns what the tables say of this chain.
    pub fn identity(&self) -> &ModelIdentity {
        &self.identity
    }
}

impl Reconstructor for Chain {
    fn reconstruct(&mut self, batch: &[Patch], seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        let mut models = self.models.iter_mut();
        let Some(first) = models.next() else {
            return Err(ModelError::Conf("an empty chain".to_owned()));
        };
        let mut results = first.reconstruct(batch, seeds)?;
        for model in models {
            let between: Vec<Patch> = results
                .into_iter()
                .zip(batch)
                // without slices: what a model has restored is no longer a stack of the scan's slices
                .map(|(result, patch)| Patch::new(result.mask, patch.affine))
                .collect();
            results = model.reconstruct(&between, seeds)?;
        }
        Ok(results)
    }

    /// The last model's trace, on what the models before it make of the patch.
    fn trace(&mut self, patch: &Patch, seed: u64) -> Result<Vec<TracePoint>, ModelError> {
        let Some((last, before)) = self.models.split_last_mut() else {
            return Err(ModelError::Conf("an empty chain".to_owned()));
        };
        let mut patch = patch.clone();
        for model in before {
            let made = model.reconstruct(std::slice::from_ref(&patch), &[seed])?;
            let first = made.into_iter().next().ok_or_else(|| {
                ModelError::Contract("expected a reconstruction of the patch, found none".to_owned())
            })?;
            // without slices, as in `reconstruct`
            patch = Patch::new(first.mask, patch.affine);
        }
        last.trace(&patch, seed)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use schemas::Affine;

    use super::*;

    /// Adds one to every voxel; its latent is the patch's first voxel.
    struct Add;

    impl Reconstructor for Add {
        fn reconstruct(
            &mut self,
            batch: &[Patch],
            _seeds: &[u64],
        ) -> Result<Vec<Reconstruction>, ModelError> {
            Ok(batch
                .iter()
                .map(|patch| Reconstruction::of_mask(patch.mask.mapv(|value| value + 1)))
                .collect())
        }

        fn trace(&mut self, patch: &Patch, _seed: u64) -> Result<Vec<TracePoint>, ModelError> {
            Ok(vec![TracePoint {
                leg: "forward",
                position: 0,
                variance: f64::from(patch.mask[[0, 0, 0]]),
            }])
        }
    }

    fn chain(models: Vec<Box<dyn Reconstructor>>) -> Chain {
        let identity = ModelIdentity {
            chain: Vec::new(),
            model_version: "none".to_owned(),
            weights_sha256: String::new(),
            steps: 0,
            sampler: None,
            samples: 1,
            mirror: false,
            precision: None,
        };
        Chain::of(models, identity)
    }

    #[cfg(feature = "torch")]
    #[test]
    fn every_method_that_learns_is_listed_as_such() {
        assert_eq!(LEARNED, Method::ALL.map(Method::as_str));
        assert!(LEARNED.iter().all(|name| MODELS.contains(name)));
    }

    #[test]
    fn several_samples_of_what_draws_nothing_are_refused() {
        for name in ["identity", "interpolate"] {
            let conf = |samples| ModelConf {
                chain: vec![name.to_owned()],
                samples,
                ..ModelConf::default()
            };
            assert!(open(&conf(1), &LoadedWeights::new(), "cpu").is_ok());
            let refused = open(&conf(2), &LoadedWeights::new(), "cpu");
            assert!(matches!(refused, Err(ModelError::Conf(message)) if message.contains(name)));
        }
    }

    #[test]
    fn a_chain_traces_its_last_model_on_what_the_others_made() {
        let patch = Patch {
            slices: None,
            mask: Array3::zeros((1, 1, 1)),
            affine: Affine::axis_aligned([1.0; 3], [0.0; 3]),
        };
        let points = chain(vec![Box::new(Add), Box::new(Add), Box::new(Add)])
            .trace(&patch, 0)
            .expect("trace");
        assert_eq!(
            points.iter().map(|point| point.variance).collect::<Vec<_>>(),
            [2.0]
        );
        let none = chain(vec![Box::new(Add), Box::new(Identity)])
            .trace(&patch, 0)
            .expect("trace");
        assert_eq!(none, [], "a method without a latent chain has no trace");
        assert!(chain(Vec::new()).trace(&patch, 0).is_err());
    }
}
