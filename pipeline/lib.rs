//! The verbs of spinestream, and the only place where stages meet. Read [`run::run`] first: it is the whole story.

pub mod bar;
pub mod census;
pub mod champion;
pub mod claim;
pub mod conf;
pub mod flow;
pub mod gauges;
pub mod lease;
pub mod masks;
pub mod metrics;
#[cfg(feature = "torch")]
pub mod night;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod panics;
pub mod queue;
pub mod record;
pub mod run;
pub mod shard;
pub mod summary;
pub mod tally;
pub mod verbs;
pub mod view;
pub mod viewer;
pub mod widths;

#[cfg(feature = "torch")]
use models::ModelError;
use stages::manifest::ManifestError;
#[cfg(feature = "torch")]
use stages::nightly::NightError;
use stages::starts::Busy;
use stages::tables::TablesError;
#[cfg(feature = "torch")]
use stages::train::TrainError;

use crate::queue::QueueError;

/// How a command ends, as its exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All done.
    Done = 0,
    /// The run ended, but some cases or vertebrae failed.
    SomeFailed = 1,
    /// Bad usage or configuration.
    Usage = 2,
    /// The run could not go on.
    Broken = 3,
    /// A night could judge nothing, because of the data.
    NothingJudged = 4,
}

/// What ends a run before its last case: nothing else does.
#[derive(Debug, thiserror::Error)]
pub enum RunEnd {
    /// The configuration does not fit the machine, the model or itself.
    #[error("configuration: {0}")]
    Conf(String),
    /// The manifest cannot be had, or not be read to its end.
    #[error("{key}: {error}")]
    Manifest {
        /// Which one.
        key: &'static str,
        /// Why.
        error: ManifestError,
    },
    /// A stop signal came before the first case.
    #[error("stopped before the first case; start again to go on")]
    Stopped,
    /// Another process does this run.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The sink cannot write.
    #[error("run.output: {0}")]
    Tables(#[from] TablesError),
    /// The queue of cases cannot be used.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// What a verb besides `run` reads from or writes to cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// No model worker is left.
    #[error("every model worker has gone; the cases not yet written stay for the next start")]
    WorkersGone,
    /// Too many cases failed.
    #[error("{failed} of {ended} cases failed, more than run.max_failed = {max_failed} allows")]
    TooManyFailed {
        /// Failed so far.
        failed: usize,
        /// Ended so far.
        ended: usize,
        /// The share allowed.
        max_failed: f64,
    },
    /// A training ends without weights.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Training(#[from] TrainError),
    /// A night cannot go on.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Night(#[from] NightError),
}

impl RunEnd {
    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Conf(_) | Self::Queue(QueueError::Conf { .. }) => Exit::Usage,
            Self::Stopped => Exit::SomeFailed,
            #[cfg(feature = "torch")]
            Self::Training(
                TrainError::OnBothSides(_)
                | TrainError::NotInManifest { .. }
                | TrainError::Cube { .. }
                | TrainError::Model(ModelError::Conf(_)),
            ) => Exit::Usage,
            _ => Exit::Broken,
        }
    }
}
