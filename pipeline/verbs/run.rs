//! `spinestream run`: its arguments.

use clap::Args;
use schemas::FaultKind;

use crate::run::Retry;
use crate::shard::Sharding;

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Does one of N shards of the cases, I counted from 0: 0/8, …, 7/8 are all; none for every case. Without it
    /// run.shard, and what the variables of a Slurm, Kubernetes or AWS Batch array say. Each process of a run has one of
    /// its own, and N is the same for all that run at once.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Sharding>,
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
