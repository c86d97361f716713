//! `spinestream compact`: merges the small parts of a run's tables.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use serde_json::{Map, json};
use stages::starts::{Start, StartError, State};
use stages::store::Stores;
use stages::tables::{SOFTWARE_VERSION, TablesError, compact as merge};

use super::tables_of;
use crate::conf::Conf;
use crate::run::say;
use crate::{Exit, RunEnd};

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The run: its id (with --conf), or the path or URL of its folder runs/<id>; else the configuration's.
    pub run: Option<String>,
    /// Cases that a merged part holds, about; all of them are in memory at once.
    #[arg(long, default_value_t = 20_000, value_name = "CASES", value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub rows: u32,
}

/// Merges parts until each holds about so many cases. Of several attempts at a case the last one's rows are kept.
///
/// # Errors
/// Another process is at work on the run; the store's; a file below the tables that is none of ours.
pub async fn compact(arguments: &Arguments, conf: &Conf, stores: &Arc<Stores>) -> Result<Exit> {
    let tables = tables_of(stores, conf, arguments.run.as_deref()).await?;
    let records = tables.records();
    let mut record = Map::new();
    record.insert("run".to_owned(), tables.run().into());
    record.insert("verb".to_owned(), "compact".into());
    record.insert("software_version".to_owned(), SOFTWARE_VERSION.into());
    let store_error = |error| RunEnd::Tables(TablesError::from(error));
    // a start like any other: no run begins meanwhile, and none is at work
    let start = Start::take(&records, 1, &record).await.map_err(store_error)?;
    let first = record.clone();
    let beat = start.beat(Box::new(move || first.clone()));
    let merged = match start.alone(&records).await {
        Ok(()) => merge(&tables, arguments.rows as usize)
            .await
            .map_err(RunEnd::from),
        Err(StartError::Busy(busy)) => Err(busy.into()),
        Err(StartError::Store(error)) => Err(store_error(error)),
    };
    let state = match &merged {
        Ok(_) => State::Ended,
        Err(_) => State::Broken,
    };
    if let Ok(done) = &merged {
        let parts = json!({ "before": done.before, "after": done.after, "superseded_rows": done.superseded });
        record.insert("parts".to_owned(), parts);
    }
    beat.end().await;
    start.keep(state, &record).await.map_err(store_error)?;
    let done = merged?;
    say(&format!(
        "{} parts, {} before; {} rows of cases with a later attempt left out",
        done.after, done.before, done.superseded
    ));
    if done.halves > 0 {
        say(&format!(
            "{} parts of table cases have lost their vertebrae: start the run again, which does their cases anew",
            done.halves
        ));
    }
    Ok(Exit::Done)
}
