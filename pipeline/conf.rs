//! Configuration: default < file < environment < `--set`, each key known, each value checked before the run.

mod sections;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, bail};
use models::{ModelConf, Precision, Sampler};
use schemas::labels::LabelTable;
use schemas::{LabelScheme, Level};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stages::compare::ComparisonConf;
use stages::crop::CropConf;
use stages::dicom::DicomConf;
use stages::evaluate::EvaluateConf;
#[cfg(feature = "torch")]
use stages::nightly::NightlyConf;
use stages::pool::PoolConf;
use stages::registry::RegistryConf;
use stages::store::StoreConf;
#[cfg(feature = "torch")]
use stages::train::TrainConf;
use stages::write::{Form, WriteConf};
use toml::{Table, Value};

use crate::RunEnd;
use crate::queue::QueueConf;

pub use sections::{RunConf, Timeouts, WatchConf, Widths};

/// Only environment variables that start so are configuration: `SPINESTREAM__RUN__SEED=7`.
pub const ENVIRONMENT_PREFIX: &str = "SPINESTREAM__";

/// Everything that can be configured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conf {
    /// What and where.
    pub run: RunConf,
    /// How vertebrae are cut out.
    pub crop: CropConf,
    /// Which models restore them.
    pub model: ModelConf,
    /// Where the models run.
    pub pool: PoolConf,
    /// What is measured.
    pub evaluate: EvaluateConf,
    /// How many cases each stage works on at once.
    pub widths: Widths,
    /// How long each stage may take for one case.
    pub timeouts: Timeouts,
    /// How long a store may keep us waiting.
    pub store: StoreConf,
    /// How a run is seen from outside.
    pub watch: WatchConf,
    /// Where the cases of a run wait for workers on many machines.
    pub queue: QueueConf,
    /// What is written.
    pub write: WriteConf,
    /// What is taken from DICOM, and given back.
    pub dicom: DicomConf,
    /// Where trained models are kept by version.
    pub registry: RegistryConf,
    /// How a model is trained.
    #[cfg(feature = "torch")]
    pub train: TrainConf,
    /// What a night learns from, and by what it is judged.
    #[cfg(feature = "torch")]
    pub nightly: NightlyConf,
    /// Which methods are compared, and on what.
    pub comparison: ComparisonConf,
    /// A site's own label tables: `[labels.NAME]` with `L3 = 22`.
    pub labels: BTreeMap<String, BTreeMap<Level, u16>>,
}

impl Conf {
    /// Reads the configuration: a file's text, then environment variables, then `key=value` settings.
    ///
    /// # Errors
    /// A text that is no TOML, a key that is not known, a value that does not fit.
    pub fn read(
        file: Option<&str>,
        environment: impl Iterator<Item = (String, String)>,
        settings: &[String],
    ) -> Result<Self> {
        let mut table: Table = match file {
            Some(text) => text.parse().context("the configuration file is no TOML")?,
            None => Table::new(),
        };
        let mut variables: Vec<_> = environment
            .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
            .collect();
        variables.sort();
        for (name, value) in variables {
            let key = name[ENVIRONMENT_PREFIX.len()..]
                .to_ascii_lowercase()
                .replace("__", ".");
            put(&mut table, &key, &value).with_context(|| format!("environment variable {name}"))?;
        }
        for setting in settings {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| anyhow!("--set: expected key=value, found {setting:?}"))?;
            put(&mut table, key.trim(), value.trim()).with_context(|| format!("--set {key}"))?;
        }
        check_keys(&table)?;
        let conf: Self = Value::Table(table).try_into().map_err(|error: toml::de::Error| {
            anyhow!("the configuration does not fit: {}", error.to_string().trim_end())
        })?;
        conf.check()?;
        Ok(conf)
    }

    fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.run.max_failed) {
            bail!(
                "run.max_failed: expected a share from 0 to 1, found {}",
                self.run.max_failed
            );
        }
        if self.run.id != "auto" && self.run.id.parse::<schemas::CaseId>().is_err() {
            bail!(
                "run.id: expected letters, digits, '.', '_' and '-', found {:?}",
                self.run.id
            );
        }
        if self.watch.line_s == 0 || self.watch.quiet_s == 0 {
            bail!("watch: expected line_s and quiet_s from 1 s on, found 0");
        }
        let metrics = &self.watch.metrics;
        if !metrics.is_empty() && metrics.parse::<std::net::SocketAddr>().is_err() {
            bail!("watch.metrics: expected an address such as 127.0.0.1:9464, found {metrics:?}");
        }
        self.queue.check().map_err(|message| anyhow!(message))?;
        self.crop.check().map_err(|message| anyhow!(message))?;
        self.evaluate.check().map_err(|message| anyhow!(message))?;
        let samples = self.model.samples;
        self.write.check(samples).map_err(|message| anyhow!(message))?;
        self.comparison.check().map_err(|message| anyhow!(message))?;
        #[cfg(feature = "torch")]
        self.nightly.check().map_err(|message| anyhow!(message))?;
        self.dicom.series.check().map_err(|message| anyhow!(message))?;
        self.dicom.stack.check().map_err(|message| anyhow!(message))?;
        for (name, table) in self.label_tables() {
            if table.len() != self.labels.get(&name).map_or(0, BTreeMap::len) {
                bail!("labels.{name}: expected a number of its own for each level, found one twice");
            }
            if LabelScheme::named(&name, &BTreeMap::new()).is_ok() {
                bail!("labels.{name}: expected a name of your own, found that of a built-in scheme");
            }
        }
        Ok(())
    }

    /// Returns the site's own label tables, by label.
    pub fn label_tables(&self) -> BTreeMap<String, LabelTable> {
        let by_label =
            |table: &BTreeMap<Level, u16>| table.iter().map(|(level, label)| (*label, *level)).collect();
        self.labels
            .iter()
            .map(|(name, table)| (name.clone(), by_label(table)))
            .collect()
    }

    /// Returns the run's id: given, or "r" and a hash of what decides the results, never of date, widths or devices,
    /// so that a killed run, started again, goes on.
    ///
    /// # Errors
    /// Manifest or output is no URL.
    pub fn run_id(&self) -> Result<String, RunEnd> {
        if self.run.id != "auto" {
            return Ok(self.run.id.clone());
        }
        // resolved: the same relative path means another cohort in another folder
        let manifest = crate::run::url("run.manifest", &self.run.manifest)?;
        let output = crate::run::url("run.output", &self.run.output)?;
        let decides = (
            manifest.expose(),
            output.expose(),
            &self.model,
            &self.crop,
            &self.labels,
            self.run.seed,
        );
        let json_error = |error: serde_json::Error| RunEnd::Conf(format!("run.id: {error}"));
        let mut text = serde_json::to_string(&decides).map_err(json_error)?;
        // left out by default, so that runs from before there was a choice keep their ids
        if self.evaluate != EvaluateConf::default() {
            text.push_str(&serde_json::to_string(&self.evaluate).map_err(json_error)?);
        }
        // an output is either for outside the hospital or for inside, never both
        if self.write.volumes.contains(&Form::Seg) {
            let decides = (self.dicom.deidentify, self.dicom.seg, &self.dicom.stack);
            text.push_str(&serde_json::to_string(&decides).map_err(json_error)?);
        }
        let digest = Sha256::digest(text.as_bytes());
        Ok(std::iter::once("r".to_owned())
            .chain(digest.iter().take(5).map(|byte| format!("{byte:02x}")))
            .collect())
    }
}

/// Puts a value under a dotted key; text that is no TOML value is a string.
fn put(table: &mut Table, key: &str, text: &str) -> Result<()> {
    let value = format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"));
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts
        .pop()
        .filter(|part| !part.is_empty())
        .ok_or_else(|| anyhow!("expected a key, found nothing"))?;
    let mut folder = table;
    for part in parts {
        let entry = folder.entry(part).or_insert_with(|| Value::Table(Table::new()));
        folder = entry
            .as_table_mut()
            .ok_or_else(|| anyhow!("expected a section, found the value {part}"))?;
    }
    folder.insert(last.to_owned(), value);
    Ok(())
}

/// Refuses keys that are not known, naming the nearest known one.
fn check_keys(table: &Table) -> Result<()> {
    let known_keys = known_keys()?;
    let mut found = Vec::new();
    keys(table, "", &mut found);
    for key in found {
        // what is known of these depends on what else they hold: the types that read them refuse the rest
        let open = ["labels.", "model.weights.", "train.recipe."];
        if open.iter().any(|section| key.starts_with(section)) || known_keys.contains(&key) {
            continue;
        }
        let near = known_keys
            .iter()
            .max_by(|a, b| similarity(a, &key).total_cmp(&similarity(b, &key)));
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        bail!("expected a known key, found {key}{hint}");
    }
    Ok(())
}

/// Returns every key, those of values that go without saying included.
fn known_keys() -> Result<Vec<String>> {
    let mut outspoken = Conf::default();
    outspoken.model.sampler = Sampler::Langevin;
    outspoken.model.mirror = true;
    outspoken.model.precision = Precision::Half;
    let table = Table::try_from(outspoken).context("the defaults")?;
    let mut known = Vec::new();
    keys(&table, "", &mut known);
    Ok(known)
}

fn similarity(known: &str, found: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(known, found)
}

fn keys(table: &Table, prefix: &str, into: &mut Vec<String>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Table(inner) => keys(inner, &key, into),
            _ => into.push(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, environment: &[(&str, &str)], settings: &[&str]) -> Result<Conf> {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
        Conf::read(Some(file), environment, &settings)
    }

    #[test]
    fn the_default_file_equals_the_defaults() {
        let written = Conf::read(
            Some(include_str!("../conf/default.toml")),
            std::iter::empty(),
            &[],
        )
        .expect("default");
        assert_eq!(written, Conf::default());
        let mut known = known_keys().expect("defaults");
        let mut listed = Vec::new();
        keys(
            &include_str!("../conf/default.toml").parse().expect("toml"),
            "",
            &mut listed,
        );
        // how the network is trained stands in conf/train.toml
        known.retain(|key| !key.starts_with("train.recipe."));
        assert_eq!(listed, known, "conf/default.toml lists every key");
    }

    #[cfg(feature = "torch")]
    #[test]
    fn the_shipped_weights_are_trained_on_the_same_persons_and_none_that_they_are_judged_by() {
        let judged_by = ["verse007", "totalseg-s0327"].map(str::to_owned);
        let files = [
            include_str!("../conf/train.toml"),
            include_str!("../conf/train-reconnet.toml"),
            include_str!("../conf/train-vae.toml"),
            include_str!("../conf/train-lebm.toml"),
        ];
        let methods = ["lsd_ebm", "reconnet", "vae", "lebm"];
        let mut persons = Vec::new();
        for (file, method) in files.into_iter().zip(methods) {
            let train = Conf::read(Some(file), std::iter::empty(), &[])
                .expect(method)
                .train;
            assert_eq!(train.recipe.method.as_str(), method);
            assert_eq!(train.validation, ["verse010"], "tuned on a person of its own");
            assert!(!train.persons.iter().any(|person| judged_by.contains(person)));
            persons.push(train.persons);
        }
        assert!(persons.iter().all(|of_one| *of_one == persons[0]));
        for file in [
            include_str!("../conf/evaluate.toml"),
            include_str!("../conf/evaluate-steps.toml"),
        ] {
            let judged = Conf::read(Some(file), std::iter::empty(), &[]).expect("evaluate");
            assert_eq!(judged.comparison.persons, judged_by);
        }
    }

    #[cfg(feature = "torch")]
    #[test]
    fn the_file_of_a_night_holds_known_keys_and_a_recipe_that_can_be() {
        let text = include_str!("../conf/nightly.toml");
        let conf = Conf::read(Some(text), std::iter::empty(), &[]).expect("nightly");
        assert_eq!(conf.nightly.least_new, 5);
        let recipe = &conf.train.recipe;
        recipe.check().expect("a recipe");
        assert_eq!((recipe.fit.steps, recipe.energy.fit.steps), (400, 200));
        let minutes = [recipe.fit.minutes, recipe.energy.fit.minutes];
        assert_eq!(
            minutes, [0.0; 2],
            "by steps, so that weights follow from the seed"
        );
    }

    #[test]
    fn a_setting_beats_the_environment_beats_the_file() {
        let file = "[run]\nseed = 1\n[pool]\nbatch = 2\ndevices = [\"cpu\"]\n";
        let environment = [
            ("SPINESTREAM__RUN__SEED", "2"),
            ("SPINESTREAM__POOL__BATCH", "3"),
            ("SPINESTREAM_X", "1"),
        ];
        let conf = read(
            file,
            &environment,
            &["run.seed=4", "run.output=s3://b/p", "widths.fetch=7"],
        )
        .expect("conf");
        assert_eq!((conf.run.seed, conf.pool.batch.or(1).get()), (4, 3));
        assert_eq!(conf.run.output, "s3://b/p");
        assert_eq!(conf.widths.fetch.or(1).get(), 7);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let error = read("[run]\nmanifset = \"x\"\n", &[], &[]).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "expected a known key, found run.manifset; did you mean run.manifest?"
        );
        assert!(
            read("", &[], &["model.stepz=1"])
                .expect_err("unknown")
                .to_string()
                .contains("model.steps")
        );
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        assert!(read("", &[], &["run.max_failed=2"]).is_err());
        assert!(read("", &[], &["widths.crop=0"]).is_err());
        assert!(read("", &[], &["run.id=a/b"]).is_err());
        let agreement = "write.volumes=[\"agreement\"]";
        let error = read("", &[], &[agreement]).expect_err("one sample agrees with itself");
        assert!(
            ["write.volumes", "model.samples"]
                .iter()
                .all(|key| error.to_string().contains(key))
        );
        assert!(read("", &[], &[agreement, "model.samples=2"]).is_ok());
        assert!(read("[labels.site]\nL1 = 3\nL2 = 3\n", &[], &[]).is_err());
        assert!(read("[labels.verse]\nL1 = 3\n", &[], &[]).is_err());
    }

    #[test]
    fn an_own_table_names_labels() {
        let conf = read("[labels.site]\nL1 = 3\nL2 = 4\n", &[], &[]).expect("conf");
        assert_eq!(conf.label_tables()["site"].get(&4), Some(&Level::L2));
    }

    #[test]
    fn the_run_id_follows_from_what_decides_the_results() {
        let places = "[run]\nmanifest = \"m.csv\"\noutput = \"out\"\n";
        let id = |settings: &[&str]| read(places, &[], settings).expect("conf").run_id().expect("id");
        assert_eq!(id(&["pool.batch=8"]), id(&["widths.fetch=3"]));
        assert_ne!(id(&["run.seed=1"]), id(&[]));
        assert_eq!(id(&["run.id=mine"]), "mine");
        assert_eq!(id(&["run.shard=2/8"]), id(&[]), "shards are parts of one run");
        let registered = id(&["evaluate.register=rigid"]);
        assert_ne!(registered, id(&[]));
        assert_ne!(
            registered,
            id(&["evaluate.register=rigid", "evaluate.register_mm=20"])
        );
        assert_eq!(id(&["evaluate.register=none"]), id(&[]));
    }

    #[test]
    fn the_run_id_stays_what_it_is_while_nothing_new_is_asked_for() {
        let places = "[run]\nmanifest = \"s3://b/m.csv\"\noutput = \"s3://b/out\"\n";
        let id = read(places, &[], &[]).expect("conf").run_id().expect("id");
        // SHA-256 of the JSON of manifest, output, model, crop, labels and seed, from Python's hashlib
        assert_eq!(id, "rd749847137");
    }
}
