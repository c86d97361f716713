//! The verbs, one file each; what `run` does stands in [`crate::run`].

pub mod compact;
pub mod degrade;
pub mod doctor;
pub mod enqueue;
pub mod evaluate;
pub mod inspect;
pub mod manifest;
pub mod models;
#[cfg(feature = "torch")]
pub mod nightly;
pub mod phantom;
pub mod plan;
pub mod report;
pub mod run;
pub mod status;
#[cfg(feature = "torch")]
pub mod train;
pub mod verify;
pub mod view;
pub mod views;
pub mod work;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use stages::store::{Place, Stores};
use stages::tables::RunTables;

use crate::champion::resolved;
use crate::conf::Conf;
use crate::run::{place, tables, url};
use crate::{Exit, RunEnd};

/// Returns the place that an argument names.
fn place_of(stores: &Arc<Stores>, name: &str, text: &str) -> Result<Place> {
    let url = url(name, text)?;
    stores.place(&url).with_context(|| name.to_owned())
}

/// Returns the tables of the run that an argument names: its id, or the URL of its folder `runs/<id>/`; without it the
/// run that the configuration tells of.
async fn tables_of(stores: &Stores, conf: &Conf, run: Option<&str>) -> Result<RunTables, RunEnd> {
    let Some(run) = run else {
        return tables(&resolved(conf, stores).await?, stores);
    };
    if !run.contains('/') {
        let output = place(stores, "run.output", &conf.run.output)?;
        return Ok(RunTables::new(output, run));
    }
    let misfit = || {
        let message = "RUN: expected a run's id, or the path or URL of its folder runs/<id>, found another";
        RunEnd::Conf(message.to_owned())
    };
    let folder = place(stores, "RUN", run)?;
    let parts: Vec<_> = folder.path.parts().collect();
    let [output @ .., runs, id] = parts.as_slice() else {
        return Err(misfit());
    };
    if runs.as_ref() != "runs" {
        return Err(misfit());
    }
    let id = id.as_ref().to_owned();
    let output = Place {
        path: output.iter().cloned().collect(),
        store: folder.store,
    };
    Ok(RunTables::new(output, &id))
}

/// Returns how a check ends.
fn exit_of(is_sound: bool) -> Exit {
    if is_sound { Exit::Done } else { Exit::SomeFailed }
}
