//! The verbs of spinestream, and the only place where stages meet. Read [`run::run`] first: it is the whole story.

pub mod conf;
pub mod flow;
pub mod run;
pub mod tally;
pub mod verbs;

use stages::manifest::ManifestError;
use stages::store::StoreError;
use stages::tables::TablesError;

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
}

/// What ends a run before its last case: nothing else does.
#[derive(Debug, thiserror::Error)]
pub enum RunEnd {
    /// The configuration does not fit the machine, the model or itself.
    #[error("configuration: {0}")]
    Conf(String),
    /// The manifest cannot be had.
    #[error("run.manifest: {0}")]
    ManifestStore(#[source] StoreError),
    /// The manifest cannot be read.
    #[error("run.manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// The sink cannot write.
    #[error("run.output: {0}")]
    Tables(#[from] TablesError),
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
}

impl RunEnd {
    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Conf(_) => Exit::Usage,
            _ => Exit::Broken,
        }
    }
}
