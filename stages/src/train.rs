//! Trains a model on the masks of a manifest: the front of the flow, then one long synchronous job with checkpoints.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use models::ModelError;
use models::train::{Event, Trained, TrainingMask, Validated};
use schemas::{Fault, Listed, Outcome};
use serde::{Deserialize, Serialize};

use crate::crop::CropConf;
use crate::fetch::FetchConf;
use crate::store::{Place, StoreError, Stores};

/// Section `[train]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConf {
    /// Manifest of masks to learn from: path or URL; its column person splits them.
    pub manifest: String,
    /// Prefix for checkpoint, weights and figures: path or URL.
    pub output: String,
    /// Persons to train on; empty for all that are not held out.
    pub persons: Vec<String>,
    /// Persons held out for validation.
    pub validation: Vec<String>,
    /// How the LSD-EBM is trained.
    pub lsd_ebm: models::train::TrainConf,
}

/// File of the last checkpoint below `train.output`.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// File of the finished weights below `train.output`.
pub const WEIGHTS: &str = "weights.safetensors";

/// Most bytes of a checkpoint: weights, their running mean and two moments.
const CHECKPOINT_MOST: u64 = 4 << 30;

/// Why training ends without weights.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// There is nothing to learn from.
    #[error("expected at least one mask of a person to train on, found none among {0} in the manifest")]
    NoMask(usize),
    /// The store's.
    #[error("train.output: {0}")]
    Store(#[from] StoreError),
    /// The model's.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Masks to train on and masks held out.
#[derive(Debug, Clone, Default)]
pub struct Split {
    /// To learn from.
    pub train: Vec<TrainingMask>,
    /// Held out.
    pub validation: Vec<TrainingMask>,
    /// Cases that gave no mask, and why.
    pub failed: Vec<(String, Fault)>,
}

/// Brings every vertebra of the listed cases into its cube and splits them by person.
pub async fn gather(
    cases: Vec<Outcome<Listed>>,
    stores: &Arc<Stores>,
    conf: &TrainConf,
    crop: &CropConf,
) -> Split {
    let is_wanted = |person: &str| {
        let is_among = |persons: &[String]| persons.iter().any(|known| known == person);
        is_among(&conf.validation) || conf.persons.is_empty() || is_among(&conf.persons)
    };
    let max_bytes = FetchConf::default().max_bytes;
    let gathered = crate::gather::gather(cases, stores, crop, max_bytes, is_wanted).await;
    let mut split = Split {
        failed: gathered.failed,
        ..Split::default()
    };
    for case in gathered.cases {
        let person = &case.origin.person;
        let side = if conf.validation.contains(person) {
            &mut split.validation
        } else {
            &mut split.train
        };
        side.extend(case.vertebrae.into_iter().map(|vertebra| TrainingMask {
            person: person.clone(),
            level: vertebra.level,
            mask: vertebra.input.mask,
        }));
    }
    split
}

/// What a watcher of the training is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A step was made.
    Step {
        /// Which network: `autoencoder`, `latents`, `energy`.
        phase: String,
        /// Steps of this phase so far.
        step: u64,
        /// Share of the phase done.
        progress: f64,
        /// Seconds in this phase.
        seconds: f64,
        /// Losses by name.
        figures: Vec<(&'static str, f64)>,
    },
    /// The held-out masks were tried.
    Validated {
        /// Steps of this phase so far.
        step: u64,
        /// One entry a mask.
        cases: Vec<Validated>,
    },
}

/// Trains until it is done or `stop` is there, going on from the checkpoint below `output` if there is one.
///
/// # Errors
/// Nothing to train on, a store that fails, a configuration that cannot be.
pub async fn train(
    split: Split,
    conf: &TrainConf,
    output: &Place,
    stop: impl Future<Output = ()> + Send + 'static,
    mut watch: impl FnMut(Progress) + Send + 'static,
) -> Result<Trained, TrainError> {
    if split.train.is_empty() {
        return Err(TrainError::NoMask(
            split.train.len() + split.validation.len() + split.failed.len(),
        ));
    }
    let checkpoint = output.join(CHECKPOINT);
    let resume = match checkpoint.read(CHECKPOINT_MOST).await {
        Ok(bytes) => Some(bytes),
        Err(StoreError::Store(object_store::Error::NotFound { .. })) => None,
        Err(error) => return Err(error.into()),
    };
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopped);
    let stopper = tokio::spawn(async move {
        stop.await;
        flag.store(true, Ordering::Release);
    });
    let runtime = tokio::runtime::Handle::current();
    let settings = conf.lsd_ebm.clone();
    let trained = crate::stage::blocking(move || {
        let mut failed = None;
        let mut on_event = |event: Event<'_>| {
            match event {
                Event::Step {
                    phase,
                    step,
                    progress,
                    elapsed,
                    figures,
                } => watch(Progress::Step {
                    phase: format!("{phase:?}").to_ascii_lowercase(),
                    step,
                    progress,
                    seconds: elapsed.as_secs_f64(),
                    figures: figures.to_vec(),
                }),
                Event::Validated { step, cases, .. } => watch(Progress::Validated {
                    step,
                    cases: cases.to_vec(),
                }),
                Event::Checkpoint { bytes } => {
                    if let Err(error) = runtime.block_on(checkpoint.put(bytes.to_vec().into())) {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
            }
            if stopped.load(Ordering::Acquire) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let trained = models::train::train(
            &split.train,
            &split.validation,
            &settings,
            resume.as_deref(),
            &mut on_event,
        );
        match failed {
            Some(error) => Err(TrainError::from(error)),
            None => trained.map_err(TrainError::from),
        }
    })
    .await;
    stopper.abort();
    let trained = trained?;
    if trained.complete {
        output.join(WEIGHTS).put(trained.weights.clone().into()).await?;
    }
    Ok(trained)
}
