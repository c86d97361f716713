//! `spinestream evaluate`: methods side by side on the vertebrae of a manifest, one table and one report.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use schemas::rows::{ComparisonRow, Row as _};
use schemas::{Listed, ModelIdentity, Outcome};
use serde_json::json;
use stages::blocking;
use stages::compare::key::key;
use stages::compare::summary::{Side, metric, spread};
use stages::compare::{Comparison, Method, Pairs, Plan, Progress, pair_up, try_method};
use stages::evaluate::Register;
use stages::gather::gather;
use stages::pool::Open;
use stages::report::{self, REPORT};
use stages::store::{Place, Stores};
use stages::tables::{SOFTWARE_VERSION, TablesError, encode};

use crate::champion::resolved_methods;
use crate::conf::Conf;
use crate::record::redacted;
use crate::run::{all, manifest, open_models, place, say};
use crate::{Exit, RunEnd};

/// Time between two progress lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Says whose comparison an output holds; below its report's folder.
const RECORD: &str = "comparison.json";

/// Compares what `[comparison]` names; a stop signal ends it with nothing written.
///
/// # Errors
/// A configuration that cannot be, a manifest without a vertebra to compare on, an output that cannot be used.
pub async fn evaluate(
    conf: &Conf,
    stores: &Arc<Stores>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let conf = &resolved_methods(conf, stores).await?;
    let mut open = Vec::new();
    for method in &conf.comparison.methods {
        let key = format!("comparison.methods, {}", method.name);
        open.push(open_models(&key, &method.model, conf.comparison.threads, conf, stores).await?);
    }
    evaluate_with(conf, stores, open, stop).await
}

/// The same with models of the caller's own: `open` builds each method's chain on a device.
///
/// # Errors
/// See [`evaluate`].
pub async fn evaluate_with(
    conf: &Conf,
    stores: &Arc<Stores>,
    open: Vec<Arc<Open>>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let asked = &conf.comparison;
    let output = place(stores, "comparison.output", &asked.output)?;
    let identities = identities(conf, &open).await?;
    let (cases, manifest_sha256) = list(conf, stores).await?;

    let max_bytes = conf.run.memory.as_u64();
    let stop = stop.shared();
    let is_wanted = |person: &str| asked.is_wanted(person);
    let gathered = tokio::select! {
        gathered = gather(cases, stores, &conf.crop, max_bytes, is_wanted) => gathered,
        () = stop.clone() => {
            say("stopped; nothing was written, start again to begin anew");
            return Ok(Exit::SomeFailed);
        }
    };
    let (degrade, seed) = (asked.degrade, asked.seed);
    let registers = conf.evaluate.register != Register::None;
    let pairs = blocking(move || pair_up(gathered, degrade, registers, seed)).await;
    for entry in &pairs.left_out {
        tracing::warn!(case = entry.case_id, level = ?entry.level, "{}", entry.fault);
    }
    if pairs.subjects.is_empty() {
        let message = format!(
            "comparison.manifest: expected a vertebra to compare on, found none, and {} cases or vertebrae left out",
            pairs.left_out.len()
        );
        return Err(RunEnd::Unusable(message));
    }
    let key = key(asked, &conf.evaluate, &identities, &pairs);
    claim(conf, &output, &key).await?;

    say(&format!(
        "comparison {key}: {} methods on {} vertebrae ({} MiB in memory), {} left out",
        asked.methods.len(),
        pairs.subjects.len(),
        bytes_of(&pairs) >> 20,
        pairs.left_out.len()
    ));
    let comparison = Comparison {
        key,
        manifest_sha256,
        conf: redacted(conf).comparison,
        evaluate: conf.evaluate.clone(),
        subjects: Vec::new(),
        left_out: Vec::new(),
        methods: Vec::new(),
    };
    let Some(comparison) = compare(comparison, pairs, open, identities, stop).await else {
        say("stopped; nothing was written, start again to begin anew");
        return Ok(Exit::SomeFailed);
    };
    for method in &comparison.methods {
        if let Some(fault) = &method.trace_fault {
            tracing::warn!(method = method.conf.name, "no latents along the chain: {fault}");
        }
    }
    let comparison = publish(&output, comparison).await?;
    say(&closing(&comparison));
    Ok(if comparison.all_done() {
        Exit::Done
    } else {
        Exit::SomeFailed
    })
}

/// Opens every method once: what cannot be opened is to end the comparison now, not after hours.
async fn identities(conf: &Conf, open: &[Arc<Open>]) -> Result<Vec<ModelIdentity>, RunEnd> {
    if open.is_empty() {
        let message = "comparison.methods: expected at least one method, found none";
        return Err(RunEnd::Conf(message.to_owned()));
    }
    let mut identities = Vec::new();
    for (method, open) in conf.comparison.methods.iter().zip(open) {
        let (open, device) = (Arc::clone(open), conf.comparison.device.clone());
        let identity = blocking(move || open(&device).map(|chain| chain.identity().clone())).await;
        identities.push(
            identity
                .map_err(|error| RunEnd::Conf(format!("comparison.methods, {}: {error}", method.name)))?,
        );
    }
    Ok(identities)
}

/// Returns the manifest's cases and its SHA-256.
async fn list(conf: &Conf, stores: &Stores) -> Result<(Vec<Outcome<Listed>>, String), RunEnd> {
    let key = "comparison.manifest";
    let asked = &conf.comparison;
    let manifest = manifest(key, &asked.manifest, asked.seed, conf, stores).await?;
    let sha256 = manifest.sha256().to_owned();
    let cases = all(key, manifest).await?;
    for person in &conf.comparison.persons {
        let is_there = cases.iter().any(|case| match case {
            Ok(case) => case.body.origin.person == *person,
            Err(failure) => failure.person.as_ref() == Some(person),
        });
        if !is_there {
            return Err(RunEnd::Conf(format!(
                "comparison.persons: expected persons of the manifest, found {person:?}, who is not"
            )));
        }
    }
    Ok((cases, sha256))
}

/// Writes the record of the comparison, unless the output holds the results of another one: these are never
/// overwritten. The same comparison made again (equal key) renews its table and report, and says so.
async fn claim(conf: &Conf, output: &Place, key: &str) -> Result<(), RunEnd> {
    let unusable = |error: TablesError| RunEnd::Unusable(format!("comparison.output: {error}"));
    let part = part_name(key);
    let tables = output.join(&format!("tables/{}", ComparisonRow::TABLE));
    let tables = tables.list().await.map_err(|error| unusable(error.into()))?;
    let report = output.join("report");
    let files = report.list().await.map_err(|error| unusable(error.into()))?;
    let is_other_part = tables
        .iter()
        .any(|object| object.location.filename() != Some(&part));
    let has_report = files
        .iter()
        .any(|object| object.location.filename() == Some(REPORT));
    if is_other_part || (has_report && tables.is_empty()) {
        let message = format!(
            "comparison.output: expected nothing there, or what comparison {key} made before, found the results of another \
             one; choose another output or clear this one"
        );
        return Err(RunEnd::Unusable(message));
    }
    if !tables.is_empty() {
        say(&format!(
            "comparison {key} was made before: its table and report are renewed"
        ));
    }
    let redacted = redacted(conf);
    let record = json!({
        "comparison": key,
        "software_version": SOFTWARE_VERSION,
        "crop": redacted.crop,
        "evaluate": redacted.evaluate.with_every_metric(),
        "configuration": redacted.comparison,
    });
    // before any work: an output that cannot be written ends it here
    let kept = report.join(RECORD).put(format!("{record:#}\n").into()).await;
    kept.map_err(|error| unusable(error.into()))
}

fn part_name(key: &str) -> String {
    format!("part-{key}.parquet")
}

/// Lets one method after another go over all vertebrae, alone on the machine so that their times count; `None` once
/// `stop` is there.
async fn compare(
    mut comparison: Comparison,
    pairs: Pairs,
    open: Vec<Arc<Open>>,
    identities: Vec<ModelIdentity>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Option<Comparison> {
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopped);
    let stopper = tokio::spawn(async move {
        stop.await;
        flag.store(true, Ordering::Release);
    });
    comparison.subjects = pairs.subjects;
    comparison.left_out = pairs.left_out;
    let compared = blocking(move || {
        let shown = report::shown(comparison.subjects.len(), comparison.conf.pictures);
        let plan = Plan {
            key: &comparison.key,
            evaluate: &comparison.evaluate,
            shown: &shown,
            repeats: comparison.conf.repeats,
        };
        let methods = comparison.conf.methods.iter().zip(open).zip(identities);
        let count = methods.len();
        let mut done: Vec<Method> = Vec::with_capacity(count);
        for (index, ((method, open), identity)) in methods.enumerate() {
            let device = comparison.conf.device.clone();
            let mut lines = Lines::new(index + 1, count);
            let mut watch = |progress: Progress<'_>| {
                lines.see(progress);
                match stopped.load(Ordering::Acquire) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            let open = || open(&device);
            let subjects = &comparison.subjects;
            done.push(try_method(method, &identity, &open, subjects, plan, &mut watch)?);
            // traces come after the last vertebra that the watcher saw
            if stopped.load(Ordering::Acquire) {
                return None;
            }
        }
        comparison.methods = done;
        Some(comparison)
    })
    .await;
    stopper.abort();
    compared
}

/// Progress for people: one line every few seconds, and one at the end of each method.
struct Lines {
    number: usize,
    count: usize,
    last: Instant,
}

impl Lines {
    fn new(number: usize, count: usize) -> Self {
        Self {
            number,
            count,
            last: Instant::now(),
        }
    }

    fn see(&mut self, progress: Progress<'_>) {
        let is_last = progress.done == progress.total;
        if !is_last && self.last.elapsed() < LINE_EVERY {
            return;
        }
        self.last = Instant::now();
        let time = if is_last {
            format!("{:.1} s", progress.elapsed.as_secs_f64())
        } else {
            format!("{:.0} s left", progress.left().as_secs_f64())
        };
        say(&format!(
            "{} ({} of {}): {} of {} vertebrae, {time}",
            progress.method, self.number, self.count, progress.done, progress.total
        ));
    }
}

/// Writes table and report.
async fn publish(output: &Place, comparison: Comparison) -> Result<Comparison, RunEnd> {
    let unusable = |error: TablesError| RunEnd::Unusable(format!("comparison.output: {error}"));
    let (comparison, encoded) = blocking(move || {
        let rows: Vec<ComparisonRow> = comparison
            .methods
            .iter()
            .flat_map(|method| method.rows.clone())
            .collect();
        let files = report::files(&comparison);
        let encoded = encode(&rows).map(|part| (part, files));
        (comparison, encoded)
    })
    .await;
    let (part, files) = encoded.map_err(unusable)?;
    let folder = output.join(&format!("tables/{}", ComparisonRow::TABLE));
    let kept = folder.join(&part_name(&comparison.key)).put(part).await;
    kept.map_err(|error| unusable(error.into()))?;
    for file in files {
        let place = output.join("report").join(&file.name);
        let kept = place.put(file.text.into()).await;
        kept.map_err(|error| unusable(error.into()))?;
    }
    Ok(comparison)
}

/// Returns the bytes of all masks compared on, which are held until the end.
fn bytes_of(pairs: &Pairs) -> usize {
    let both = pairs
        .subjects
        .iter()
        .flat_map(|subject| [&subject.input, &subject.reference]);
    both.map(|patch| patch.mask.len()).sum()
}

fn closing(comparison: &Comparison) -> String {
    let mut text = format!("{:<40} {:>4} {:>7} {:>9}\n", "method", "n", "DSC", "ASSD mm");
    for side in comparison.sides() {
        let mean = |name: &str| {
            let values: Vec<f64> = comparison
                .values(side, metric(name))
                .into_iter()
                .flatten()
                .collect();
            spread(&values)
        };
        let dsc = mean("dsc");
        let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let count = match side {
            Side::Input => comparison.subjects.len(),
            Side::Method(_) => dsc.map_or(0, |spread| spread.count),
        };
        text.push_str(&format!(
            "{:<40} {count:>4} {:>7} {:>9}\n",
            side.name(),
            shown(dsc.map(|spread| spread.mean)),
            shown(mean("assd_mm").map(|spread| spread.mean)),
        ));
    }
    let rows: usize = comparison.methods.iter().map(|method| method.rows.len()).sum();
    let failed = comparison.failures().count();
    let untraced = comparison
        .methods
        .iter()
        .filter(|method| method.trace_fault.is_some());
    let untraced = match untraced.count() {
        0 => String::new(),
        count => format!("; {count} methods without latents along the chain"),
    };
    text.push_str(&format!(
        "{} reconstructions done, {failed} failed; {} cases or vertebrae left out{untraced}; report/{REPORT} below comparison.output",
        rows - failed,
        comparison.left_out.len()
    ));
    text
}
