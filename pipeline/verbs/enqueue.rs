//! `spinestream enqueue`: its arguments, and what it says.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use stages::store::Stores;

use super::exit_of;
use crate::Exit;
use crate::conf::Conf;
use crate::queue;
use crate::run::say;

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Puts the cases without a row into the run's queue; exit code 1 if it was stopped before the last.
///
/// # Errors
/// See [`queue::enqueue`].
pub async fn enqueue(
    arguments: &Arguments,
    conf: &Conf,
    stores: &Arc<Stores>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit> {
    let enqueued = queue::enqueue(conf, stores, stop).await?;
    if arguments.json {
        say(&serde_json::to_string_pretty(&enqueued)?);
    } else {
        say(&format!(
            "run {}: {} cases in the manifest, {} with a row; {} new in the queue, {} put there before",
            enqueued.run, enqueued.cases, enqueued.done, enqueued.new, enqueued.known
        ));
    }
    Ok(exit_of(enqueued.is_whole()))
}
