//! `spinestream report`: what came of a run, as one HTML page that needs nothing but itself.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use futures::StreamExt as _;
use stages::blocking;
use stages::masks::MaskSource;
use stages::report::run::{Chosen, Panel, REPORT_OF_RUN, RunReport, choose, html};
use stages::results::Results;
use stages::store::{Place, Stores};
use stages::tables::{RunTables, TablesError};

use super::{place_of, tables_of};
use crate::conf::Conf;
use crate::masks::mask_source;
use crate::run::say;
use crate::{Exit, RunEnd};

/// Vertebrae whose masks are fetched and drawn at once: each holds three masks of 2 MiB, and its scan while it is
/// cut.
const AT_ONCE: usize = 2;

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The run: its id (with --conf), or the path or URL of its folder runs/<id>; else the configuration's.
    pub run: Option<String>,
    /// Where the page goes; else report.html in the run's folder.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<String>,
    /// Vertebrae shown as pictures: half of them the worst, the others the most improved.
    #[arg(long, default_value_t = 12, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=200))]
    pub pictures: u32,
}

/// Writes the page and says where it lies. An unfinished, empty or damaged run has one too, which says so.
///
/// # Errors
/// There is no such run; the store's.
pub async fn report(arguments: &Arguments, conf: &Conf, stores: &Arc<Stores>) -> Result<Exit> {
    let tables = tables_of(stores, conf, arguments.run.as_deref()).await?;
    let (place, name) = goal(arguments, conf, stores, &tables)?;
    let results = Arc::new(Results::read(&tables).await.map_err(RunEnd::from)?);
    if results.is_nothing() {
        let message = format!(
            "RUN: expected a run {} below this output, found neither rows nor records of it",
            tables.run()
        );
        return Err(RunEnd::Unusable(message).into());
    }
    let chosen = choose(&results, arguments.pictures as usize);
    let panels = draw(chosen, &mask_source(&tables, conf, stores)).await;
    let page = blocking(move || {
        html(&RunReport {
            results: &results,
            panels: &panels,
            made: SystemTime::now(),
        })
    })
    .await;
    let size = page.len();
    let kept = place.put(page.into()).await;
    kept.map_err(|error| RunEnd::Tables(TablesError::from(error)))?;
    say(&format!("{name}: {} KiB", size.div_ceil(1024)));
    Ok(Exit::Done)
}

/// Returns where the page goes, and how that is told.
fn goal(
    arguments: &Arguments,
    conf: &Conf,
    stores: &Arc<Stores>,
    tables: &RunTables,
) -> Result<(Place, String)> {
    if let Some(output) = &arguments.output {
        return Ok((place_of(stores, "--output", output)?, output.clone()));
    }
    let folder = match &arguments.run {
        Some(run) if run.contains('/') => run.clone(),
        _ => format!("{}/runs/{}", conf.run.output.trim_end_matches('/'), tables.run()),
    };
    let name = format!("{}/{REPORT_OF_RUN}", folder.trim_end_matches('/'));
    Ok((tables.records().join(REPORT_OF_RUN), name))
}

/// Returns the chosen vertebrae as pictures, in their order.
async fn draw(chosen: Vec<Chosen>, source: &MaskSource) -> Vec<Panel> {
    let drawn = futures::stream::iter(chosen).map(|chosen| async move {
        let masks = source.masks(&chosen.case, &chosen.vertebra).await;
        blocking(move || Panel::draw(chosen, &masks)).await
    });
    drawn.buffered(AT_ONCE).collect().await
}
