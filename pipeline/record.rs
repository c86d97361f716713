//! The record of a start, as it lies in `runs/<id>/<worker>.json`: what was asked for, what has come of it.

use std::sync::Arc;
use std::time::Duration;

use models::Weights;
use schemas::ModelIdentity;
use serde_json::{Map, Value, json};
use stages::manifest::Manifest;
use stages::pool::Pool;
use stages::tables::{RunTables, SOFTWARE_VERSION};

use crate::conf::Conf;
use crate::summary::Busy;
use crate::view::View;

/// Stands for what is not to be shown.
const HIDDEN: &str = "***";

/// Writes the records of one start.
#[derive(Debug, Clone)]
pub struct Recorder {
    configuration: Value,
    run: String,
    model: Arc<ModelIdentity>,
    manifest_sha256: String,
}

impl Recorder {
    /// Notes what does not change while the run lasts.
    pub fn new(conf: &Conf, tables: &RunTables, pool: &Pool, manifest: &Manifest) -> Self {
        Self {
            configuration: json!(redacted(conf)),
            run: tables.run().to_owned(),
            model: pool.identity(),
            manifest_sha256: manifest.sha256().to_owned(),
        }
    }

    /// Returns the record before any case.
    pub fn first(&self) -> Map<String, Value> {
        object(json!({
            "run": self.run,
            "software_version": SOFTWARE_VERSION,
            "configuration": self.configuration,
            "manifest_sha256": self.manifest_sha256,
            "model": *self.model,
        }))
    }

    /// Returns the record as things stand; `processor` is the processor time used.
    pub fn record(&self, view: &View, processor: Duration) -> Map<String, Value> {
        let mut record = self.first();
        let tally = view.tally();
        record.extend(object(json!({
            "counts": tally.counts(),
            "failures": tally.failures(),
            "seconds": view.start.elapsed().as_secs_f64(),
            "cpu_seconds": processor.as_secs_f64(),
            "busy": Busy::of(view, processor),
        })));
        record
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The configuration with `***` for what a URL can carry besides a place: user names, passwords, signatures.
pub fn redacted(conf: &Conf) -> Conf {
    let mut conf = conf.clone();
    let mut places = vec![
        &mut conf.run.manifest,
        &mut conf.run.output,
        &mut conf.comparison.manifest,
        &mut conf.comparison.output,
        &mut conf.registry.url,
    ];
    let methods = conf.comparison.methods.iter_mut();
    let compared = methods.map(|method| &mut method.model.weights);
    for weights in std::iter::once(&mut conf.model.weights).chain(compared) {
        match weights {
            Weights::One(place) => places.push(place),
            Weights::Each(each) => places.extend(each.values_mut()),
        }
    }
    #[cfg(feature = "torch")]
    places.extend([
        &mut conf.train.manifest,
        &mut conf.train.output,
        &mut conf.train.restorer,
        &mut conf.train.base,
        &mut conf.nightly.manifest,
        &mut conf.train.start,
    ]);
    for text in places {
        if let Ok(mut url) = url::Url::parse(text) {
            if url.query().is_some() {
                url.set_query(Some(HIDDEN));
            }
            // both fail only for URLs that cannot hold such parts
            if url.password().is_some() {
                let _ = url.set_password(Some(HIDDEN));
            }
            if !url.username().is_empty() {
                let _ = url.set_username(HIDDEN);
            }
            *text = url.into();
        }
    }
    conf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_urls_are_hidden_and_places_stay() {
        let settings = [
            "run.manifest=s3://key:secret@bucket/m.csv?X-Amz-Signature=abc".to_owned(),
            "run.output=out/here".to_owned(),
            "registry.url=s3://key:secret@bucket/models".to_owned(),
            "model.weights=https://host/w.safetensors?token=abc".to_owned(),
        ];
        let conf = Conf::read(None, std::iter::empty(), &settings).expect("conf");
        let shown = redacted(&conf);
        assert_eq!(shown.run.manifest, "s3://***:***@bucket/m.csv?***");
        assert_eq!(shown.run.output, "out/here");
        assert_eq!(shown.registry.url, "s3://***:***@bucket/models");
        let text = json!(shown).to_string();
        assert!(!text.contains("secret") && !text.contains("abc"), "{text}");
    }

    #[cfg(feature = "torch")]
    #[test]
    fn so_are_secrets_of_the_weights_that_a_training_starts_from() {
        let settings = ["train.start=https://host/w.safetensors?token=abc".to_owned()];
        let conf = Conf::read(None, std::iter::empty(), &settings).expect("conf");
        let shown = redacted(&conf);
        assert_eq!(shown.train.start, "https://host/w.safetensors?***");
    }
}
