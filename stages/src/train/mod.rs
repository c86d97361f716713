//! Trains a model on the masks of a manifest: the front of the flow, then one long synchronous job with checkpoints.

pub(crate) mod cache;
mod events;
mod gather;
mod keeper;
mod record;
mod scored;
#[cfg(test)]
mod tests;
mod watcher;

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use models::ModelError;
use models::train::{Event, Job, Recipe};
use object_store::Error::NotFound;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metrics::scores;
use crate::store::{Place, StoreError};

pub use cache::Cubes;
pub use gather::{CaseCubes, Gather, Split, cubes_at};
pub use scored::{Scored, mean, metric};
pub use watcher::{At, Progress};

use record::Record;
use watcher::Watcher;

/// Section `[train]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConf {
    /// Manifest of masks to learn from: path or URL; its column person splits them.
    pub manifest: String,
    /// Prefix for patches, checkpoint, weights, metrics and events: path or URL.
    pub output: String,
    /// Persons to train on; empty for all that are not held out.
    pub persons: Vec<String>,
    /// Persons held out for validation.
    pub validation: Vec<String>,
    /// Weights of a ReconNet that restores a share of the masks before they are seen (`recipe.restored`): path or URL.
    pub restorer: String,
    /// Weights of an LSD-EBM whose encoder and generator are kept while its energy is trained anew: path or URL.
    pub base: String,
    /// Weights of the recipe's own networks that training starts from instead of fresh ones, as finished weights are: path
    /// or URL; empty for none.
    pub start: String,
    /// Which method, and how it is trained.
    pub recipe: Recipe,
}

/// File of the last checkpoint below `train.output`.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// File of the finished weights below `train.output`.
pub const WEIGHTS: &str = "weights.safetensors";

/// File of the last step's weights, without their running mean, beside the finished ones.
pub const LAST: &str = "last.safetensors";

/// File below `train.output` that says how the training went.
pub const METRICS: &str = "metrics.json";

/// Folder of TensorBoard's event files below `train.output`.
pub const EVENTS: &str = "events";

/// Most bytes of a checkpoint: weights, their running mean and two moments.
const CHECKPOINT_MOST: u64 = 4 << 30;

/// Most bytes of the record of earlier starts.
const METRICS_MOST: u64 = 1 << 30;

/// Why training ends without weights.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A person cannot be learnt from and held out.
    #[error("train.persons, train.validation: expected a person in one of them, found {0} in both")]
    OnBothSides(String),
    /// The manifest holds nobody of that name.
    #[error("{key}: expected persons of the manifest, found {person}, whom it does not hold")]
    NotInManifest {
        /// Which list.
        key: &'static str,
        /// Whom it lists.
        person: String,
    },
    /// Cubes that no network is built for.
    #[error(
        "crop.size, crop.spacing_mm: expected cubes of 128 voxels of 1 mm to train on, found {size} of {spacing_mm} mm"
    )]
    Cube {
        /// Voxels along an edge.
        size: usize,
        /// Edge of a voxel.
        spacing_mm: f64,
    },
    /// There is nothing to learn from.
    #[error(
        "train.manifest: expected a mask to train on, found none among {cases} cases of the listed persons, of which {failed} failed"
    )]
    NoMask {
        /// Cases looked at.
        cases: usize,
        /// Cases that failed.
        failed: usize,
    },
    /// Every case of a listed person failed.
    #[error("train.manifest: expected a mask of every listed person, found none of {0}: the cases failed")]
    NoMaskOf(String),
    /// The store's.
    #[error("train.output: {0}")]
    Store(#[from] StoreError),
    /// The model's.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Weights that a training starts from or looks through.
#[derive(Debug, Clone, Default)]
pub struct Others {
    /// Those that `train.restorer` names.
    pub restorer: Option<Bytes>,
    /// Those that `train.base` names.
    pub base: Option<Bytes>,
    /// Those that `train.start` names.
    pub start: Option<Bytes>,
}

/// How a start of a training ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Whether every phase came to its end; if not, the last checkpoint is there to go on from.
    pub complete: bool,
    /// The last step; `None` if there was none in this start.
    pub at: Option<At>,
    /// The last validation of this start.
    pub validation: Vec<Scored>,
    /// CPU time of all starts.
    pub cpu_seconds: f64,
}

/// Trains until it is done or `stop` is there, going on from the checkpoint below `output` if there is one. [`finished`]
/// then reads the weights.
///
/// Of `conf`, only the recipe and the lists of persons are looked at: masks come by `split`, wherever their cubes lie.
/// `configuration` is what `metrics.json` says of it: without passwords and signatures in its URLs. `others` are the
/// weights that `conf.restorer`, `conf.base` and `conf.start` name.
///
/// # Errors
/// Nothing to train on, a store that fails, a configuration that cannot be.
pub async fn train(
    split: Split,
    conf: &TrainConf,
    configuration: Value,
    output: &Place,
    others: Others,
    stop: impl Future<Output = ()> + Send + 'static,
    tell: impl FnMut(Progress) + Send + 'static,
) -> Result<Ended, TrainError> {
    split.check(conf)?;
    let checkpoint = output.join(CHECKPOINT);
    let resume = read_if_there(&checkpoint, CHECKPOINT_MOST).await?;
    let record = match &resume {
        Some(_) => earlier_record(output).await?,
        None => Record::default(),
    };
    let record = record.started(configuration, &split);
    let mut watcher = Watcher::start(output, record, tell).await?;

    let stopped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopped);
    let stopper = tokio::spawn(async move {
        stop.await;
        flag.store(true, Ordering::Release);
    });
    let runtime = tokio::runtime::Handle::current();
    let recipe = conf.recipe.clone();
    let (trained, watcher) = crate::stage::blocking(move || {
        let mut failed = None;
        let mut on_event = |event: Event<'_>| {
            if let Event::Checkpoint { bytes } = &event
                && let Err(error) = runtime.block_on(checkpoint.put(Bytes::copy_from_slice(bytes)))
            {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            watcher.see(&event);
            if stopped.load(Ordering::Acquire) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let job = Job {
            masks: &split.train,
            validation: &split.validation,
            recipe: &recipe,
            measure: &|prediction, reference| scores(prediction, reference, [1.0; 3]),
            restorer: others.restorer.as_deref(),
            base: others.base.as_deref(),
            start: others.start.as_deref(),
        };
        let trained = models::train::train(&job, resume.as_deref(), &mut on_event);
        let trained = match failed {
            Some(error) => Err(TrainError::from(error)),
            None => trained.map_err(TrainError::from),
        };
        (trained, watcher)
    })
    .await;
    stopper.abort();

    // first what there is to tell, also of a training that failed
    let complete = trained.as_ref().is_ok_and(|trained| trained.complete);
    let closed = watcher.close(complete).await;
    let trained = trained?;
    if trained.complete {
        // first, so that finished weights are never without
        output.join(LAST).put(trained.last.into()).await?;
        output.join(WEIGHTS).put(trained.weights.into()).await?;
    }
    let (at, cpu_seconds) = closed?;
    Ok(Ended {
        complete: trained.complete,
        at,
        validation: trained.validation.iter().map(Scored::of).collect(),
        cpu_seconds,
    })
}

/// Weights that a training has left below its output.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Those to restore with: the running mean of the training's weights.
    pub weights: Bytes,
    /// Those of the last step, to go on from; `None` where an earlier release finished the training.
    pub last: Option<Bytes>,
}

/// Returns the weights that a training has left below `output`; `None` as long as it has not come to its end.
///
/// # Errors
/// The store's.
pub async fn finished(output: &Place) -> Result<Option<Finished>, StoreError> {
    let Some(weights) = read_if_there(&output.join(WEIGHTS), CHECKPOINT_MOST).await? else {
        return Ok(None);
    };
    let last = read_if_there(&output.join(LAST), CHECKPOINT_MOST).await?;
    Ok(Some(Finished { weights, last }))
}

/// Returns the record of the starts that led to the checkpoint.
async fn earlier_record(output: &Place) -> Result<Record, StoreError> {
    let Some(bytes) = read_if_there(&output.join(METRICS), METRICS_MOST).await? else {
        return Ok(Record::default());
    };
    Ok(Record::read(&bytes).unwrap_or_else(|| {
        tracing::warn!(
            "{METRICS}: expected the record of earlier starts, found something else; it begins anew"
        );
        Record::default()
    }))
}

async fn read_if_there(place: &Place, limit: u64) -> Result<Option<Bytes>, StoreError> {
    match place.read(limit).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::Store(NotFound { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}
