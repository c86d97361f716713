//! `spinestream report`: what came of a run, as one HTML page that needs nothing but itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use futures::StreamExt as _;
use stages::blocking;
use stages::masks::MaskSource;
use stages::registry::{CARD, RegistryError};
use stages::report::run::{Card, Chosen, Panel, REPORT_OF_RUN, RunReport, SHIPPED, choose, html};
use stages::results::Results;
use stages::store::{Place, Stores};
use stages::tables::{RunTables, TablesError};

use super::{place_of, tables_of};
use crate::champion::registry;
use crate::conf::Conf;
use crate::masks::mask_source;
use crate::run::say;
use crate::{Exit, RunEnd};

/// Vertebrae whose masks are fetched and drawn at once: each holds three masks of 2 MiB, and its scan while it is
/// cut.
const AT_ONCE: usize = 2;

/// The card of the weights that the program comes with.
const SHIPPED_CARD: &str = include_str!("../../models/weights/README.md");

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
    let cards = cards(&results, conf, stores).await;
    let page = blocking(move || {
        html(&RunReport {
            results: &results,
            panels: &panels,
            cards: &cards,
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

/// Returns the model cards of the versions that the rows name, as far as they can be had: of shipped weights from the
/// program itself, of others from the registry.
async fn cards(results: &Results, conf: &Conf, stores: &Arc<Stores>) -> Vec<Card> {
    let makers: BTreeSet<(&[String], &str)> = results
        .vertebrae
        .iter()
        .map(|vertebra| (vertebra.chain.as_slice(), vertebra.model_version.as_str()))
        .collect();
    let told = |key: &str| {
        let records = results.records.iter().rev();
        let urls = records.filter_map(|record| record.json.pointer(key)?.as_str());
        urls.map(str::to_owned).next()
    };
    let mut conf = conf.clone();
    if conf.registry.url.is_empty() {
        conf.registry.url = told("/configuration/registry/url").unwrap_or_default();
    }
    let mut cards: Vec<Card> = Vec::new();
    for (chain, version) in makers {
        let card = if version.starts_with(SHIPPED) {
            Some(SHIPPED_CARD.to_owned())
        } else {
            of_registry(chain, version, &conf, stores).await
        };
        let card = card.map(|text| Card {
            version: version.to_owned(),
            text,
        });
        cards.extend(card);
    }
    cards
}

/// Returns the card of a version that one method of the chain has in the registry. A page without a card is still a page:
/// why there is none goes to the log.
async fn of_registry(chain: &[String], version: &str, conf: &Conf, stores: &Stores) -> Option<String> {
    if conf.registry.url.is_empty() {
        return None;
    }
    // the row's version is that of the chain's last model
    for method in chain.iter().rev() {
        let card = async {
            let registry = registry(conf, stores, method).map_err(|end| end.to_string())?;
            let said = |error: RegistryError| error.to_string();
            let record = registry.resolve(version).await.map_err(said)?;
            registry.read(&record, CARD).await.map_err(said)
        };
        match card.await {
            Ok(bytes) => return Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => tracing::debug!("no model card of {version} of {method}: {error}"),
        }
    }
    None
}

/// Returns the chosen vertebrae as pictures, in their order.
async fn draw(chosen: Vec<Chosen>, source: &MaskSource) -> Vec<Panel> {
    let drawn = futures::stream::iter(chosen).map(|chosen| async move {
        let masks = source.masks(&chosen.case, &chosen.vertebra).await;
        blocking(move || Panel::draw(chosen, &masks)).await
    });
    drawn.buffered(AT_ONCE).collect().await
}
