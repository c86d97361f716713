//! `spinestream train`: trains a model on the masks of a manifest.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use models::train::Validated;
use schemas::vertebra::Scores;
use serde_json::json;
use stages::manifest::{self, Context};
use stages::store::{Stores, folder_of};
use stages::train::{Progress, WEIGHTS, gather};

use super::{FILE_MOST, place_of};
use crate::Exit;
use crate::conf::Conf;
use crate::run::{redacted, say, url};

/// Time between two progress lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Trains what `[train]` says, going on from its checkpoint; a stop signal leaves one behind.
///
/// # Errors
/// No manifest, no mask, no place for the output, or a configuration that cannot be.
pub async fn train(
    conf: &Conf,
    stores: &Arc<Stores>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit> {
    let manifest_url = url("train.manifest", &conf.train.manifest)?;
    let place = stores.place(&manifest_url).context("train.manifest")?;
    let bytes = place.read(FILE_MOST).await.context("train.manifest")?;
    let context = Context {
        base: folder_of(&manifest_url)?,
        labels: &conf.label_tables(),
        seed: conf.run.seed,
    };
    let cases = manifest::list(place.path.as_ref(), &bytes, &context)?;
    let output = place_of(stores, "train.output", &conf.train.output)?;

    let split = gather(cases, stores, &conf.train, &conf.crop).await;
    for (case, fault) in &split.failed {
        tracing::warn!(case, "{fault}");
    }
    say(&format!(
        "{} masks to train on, {} held out",
        split.train.len(),
        split.validation.len()
    ));
    let mut last_line = Instant::now();
    let watch = move |progress: Progress| match progress {
        Progress::Step {
            phase,
            step,
            progress,
            seconds,
            figures,
        } if last_line.elapsed() >= LINE_EVERY => {
            last_line = Instant::now();
            let figures: Vec<String> = figures
                .iter()
                .map(|(name, value)| format!("{name} {value:.4}"))
                .collect();
            say(&format!(
                "{phase} step {step}, {:.0} %, {seconds:.0} s: {}",
                progress * 100.0,
                figures.join(", ")
            ));
        }
        Progress::Step { .. } => {}
        Progress::Validated { step, cases } => say(&format!("step {step}: {}", figures_of(&cases))),
    };
    let restorer = restorer(conf, stores).await?;
    let trained = stages::train::train(split, &conf.train, &output, restorer, stop, watch).await?;
    for case in &trained.validation {
        let [input, reconstruction] = [&case.input, &case.reconstruction].map(dsc);
        say(&format!("{:<24} DSC {input:.4} → {reconstruction:.4}", case.name));
    }
    if !trained.complete {
        say("stopped; start again to go on from the checkpoint");
        return Ok(Exit::SomeFailed);
    }
    let figures = json!({
        "configuration": redacted(conf).train,
        "validation": trained.validation.iter().map(|case| json!({
            "name": case.name, "dsc_input": dsc(&case.input), "dsc_reconstruction": dsc(&case.reconstruction),
        })).collect::<Vec<_>>(),
    });
    output
        .join("figures.json")
        .put(figures.to_string().into_bytes().into())
        .await
        .context("train.output")?;
    say(&format!(
        "{}; weights in {WEIGHTS} below train.output",
        figures_of(&trained.validation)
    ));
    Ok(Exit::Done)
}

/// Reads the weights that `train.restorer` names.
async fn restorer(conf: &Conf, stores: &Arc<Stores>) -> Result<Option<Vec<u8>>> {
    if conf.train.restorer.is_empty() {
        return Ok(None);
    }
    let place = place_of(stores, "train.restorer", &conf.train.restorer)?;
    let bytes = place.read(FILE_MOST).await.context("train.restorer")?;
    Ok(Some(bytes.to_vec()))
}

/// The first of the metrics; undefined counts as nothing in common.
fn dsc(scores: &Scores) -> f64 {
    scores[0].unwrap_or_default()
}

fn figures_of(cases: &[Validated]) -> String {
    let mean = |get: fn(&Validated) -> f64| cases.iter().map(get).sum::<f64>() / cases.len().max(1) as f64;
    let (input, reconstruction) = (
        mean(|case| dsc(&case.input)),
        mean(|case| dsc(&case.reconstruction)),
    );
    format!(
        "mean DSC over {} held-out masks {input:.4} → {reconstruction:.4}",
        cases.len()
    )
}
