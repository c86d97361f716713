//! `spinestream run`: its arguments.

use clap::Args;
use schemas::FaultKind;

use crate::run::Retry;

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Does cases again that failed, or of which a vertebra did: all of them, or those of some kinds (Unavailable,
    /// Timeout, …).
    #[arg(long, value_name = "KIND", num_args = 0..)]
    pub retry_failed: Option<Vec<FaultKind>>,
}

impl Arguments {
    /// Returns what they say.
    pub fn retry(&self) -> Retry {
        match &self.retry_failed {
            None => Retry::None,
            Some(kinds) => Retry::Failed(kinds.clone()),
        }
    }
}
