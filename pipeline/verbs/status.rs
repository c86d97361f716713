//! `spinestream status`: a run and its workers, seen from outside.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use stages::store::Stores;

use super::tables_of;
use crate::conf::Conf;
use crate::queue::{Broker, fleet};
use crate::run::say;
use crate::{Exit, RunEnd};

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The run: its id (with --conf), or the path or URL of its folder runs/<id>; else the configuration's.
    pub run: Option<String>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Says what waits in the queue, what is in hand and done, who is at work and how fast, and how long it will take.
///
/// # Errors
/// The store's; a queue is configured, and its server does not answer.
pub async fn status(arguments: &Arguments, conf: &Conf, stores: &Arc<Stores>) -> Result<Exit> {
    let tables = tables_of(stores, conf, arguments.run.as_deref()).await?;
    let broker = if conf.queue.url.is_empty() {
        None
    } else {
        let connected = Broker::connect(&conf.queue, tables.run()).await;
        Some(connected.map_err(RunEnd::from)?)
    };
    let found = fleet(&tables, broker.as_ref()).await?;
    if arguments.json {
        say(&serde_json::to_string_pretty(&found)?);
    } else {
        say(&found.text());
    }
    Ok(Exit::Done)
}
