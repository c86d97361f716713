//! `spinestream run`: a cohort manifest becomes a stream of cases, and each case Parquet rows.

use std::collections::HashSet;
use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use models::{LoadedWeights, ModelConf, ModelError, Weights};
use schemas::{Listed, ModelIdentity, ObjectUrl, Outcome};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use stages::crop::Crop;
use stages::decode::{Decode, DecodeConf};
use stages::evaluate::Evaluate;
use stages::fetch::{Fetch, FetchConf};
use stages::manifest::{self, Context};
use stages::pool::{EVERY_WORKER_GONE, Open, Pool};
use stages::reconstruct::Reconstruct;
use stages::store::{Place, StoreError, Stores, absolute, folder_of, working_folder};
use stages::tables::{SOFTWARE_VERSION, Tables};
use stages::write::Write;

use crate::conf::Conf;
use crate::flow::Flow;
use crate::tally::Tally;
use crate::{Exit, RunEnd};

/// Most bytes of a manifest or of a file of weights.
pub const SMALL_OBJECT: u64 = 4 << 30;

/// Runs the cohort that `conf` names; stops taking new cases once `stop` is there.
///
/// # Errors
/// What ends a run before its last case.
pub async fn run(
    conf: &Conf,
    stores: &Arc<Stores>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let open = open_models("model", &conf.model, conf.pool.threads, stores).await?;
    run_with(conf, stores, open, stop).await
}

/// The same with models of the caller's own: `open` builds a worker's chain on a device.
///
/// # Errors
/// See [`run`].
pub async fn run_with(
    conf: &Conf,
    stores: &Arc<Stores>,
    open: Arc<Open>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let start = Instant::now();
    let id = conf.run_id()?;
    let worker = worker_name();
    let output = place(stores, "run.output", &conf.run.output)?;
    let cases = list("run.manifest", &conf.run.manifest, conf, stores).await?;
    let tables = Tables::new(output.clone(), &id, &worker, conf.write.clone());
    let published = tables.published().await?;
    let pool = Pool::start(&conf.pool, open)
        .await
        .map_err(|error| RunEnd::Conf(error.to_string()))?;
    let model = pool.identity();

    let record_place = output.join(&format!("runs/{id}/{worker}.json"));
    let keep = async |record: Vec<u8>| {
        let kept = record_place.put(record.into()).await;
        kept.map_err(|error| RunEnd::Tables(error.into()))
    };
    let todo: Vec<_> = cases
        .iter()
        .filter(|case| !published.ids.contains(&id_of(case)))
        .cloned()
        .collect();
    let failed_before = cases
        .iter()
        .filter(|case| published.failed.contains(&id_of(case)))
        .count();
    let mut tally = Tally::new(
        cases.len(),
        cases.len() - todo.len(),
        failed_before,
        conf.run.max_failed,
    );
    // before any work: an output that cannot be written ends the run now, not after the first part
    keep(record(conf, &id, &model, &tally, start)).await?;
    let flow = through_the_stages(conf, stores, &output, &id, &pool, todo, stop);
    let mut verdict = flow.into(tables, |outcome| tally.see(outcome)).await;
    if verdict.is_ok() && pool.is_gone() {
        verdict = Err(RunEnd::WorkersGone);
    }
    let kept = keep(record(conf, &id, &model, &tally, start)).await;
    say(&tally.close());
    verdict.and(kept)?;
    Ok(if tally.all_done() {
        Exit::Done
    } else {
        Exit::SomeFailed
    })
}

/// Prints for people; that nobody listens any more (`| head`) is no reason to fail.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// The flow itself, in order.
fn through_the_stages(
    conf: &Conf,
    stores: &Arc<Stores>,
    output: &Place,
    id: &str,
    pool: &Pool,
    cases: Vec<Outcome<Listed>>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Flow<impl tokio_stream::Stream<Item = Outcome<schemas::Written>> + Send + 'static> {
    let max_bytes = conf.run.memory.as_u64();
    let fetch = Fetch {
        stores: Arc::clone(stores),
        conf: FetchConf { max_bytes },
    };
    let decode = Decode {
        conf: DecodeConf { max_bytes },
    };
    let crop = Crop {
        conf: conf.crop.clone(),
    };
    let reconstruct = Reconstruct { pool: pool.clone() };
    let evaluate = Evaluate {
        conf: conf.evaluate.clone(),
    };
    let write = Write {
        volumes: output.join(&format!("volumes/run={id}")),
        conf: conf.write.clone(),
    };

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = conf.pool.devices.len() * conf.pool.replicas;
    // enough cases before the pool that a micro-batch is always there to be taken
    let ready = workers + (workers * conf.pool.batch).div_ceil(4);
    let widths = &conf.widths;
    let gone = pool.clone();
    let stop_or_gone = async move {
        tokio::select! {
            () = stop => {}
            () = gone.every_worker_gone() => {}
        }
    };
    Flow::until(tokio_stream::iter(cases), stop_or_gone)
        .through(fetch, widths.fetch.or(4))
        .through(decode, widths.decode.or(cores))
        .through(crop, widths.crop.or(cores))
        .through(reconstruct, widths.reconstruct.or(ready))
        .through(evaluate, widths.evaluate.or(cores))
        .through(write, widths.write.or(cores))
        .without(|failure| failure.fault.reason == EVERY_WORKER_GONE)
}

fn id_of(case: &Outcome<Listed>) -> String {
    match case {
        Ok(case) => case.id.folded(),
        Err(failure) => failure.id.folded(),
    }
}

/// Reads the manifest that a configuration key names.
///
/// # Errors
/// There is none, or it cannot be read as a whole.
pub async fn list(
    key: &'static str,
    manifest: &str,
    conf: &Conf,
    stores: &Stores,
) -> Result<Vec<Outcome<Listed>>, RunEnd> {
    let store_error = |error| RunEnd::ManifestStore { key, error };
    let url = url(key, manifest)?;
    let place = stores.place(&url).map_err(store_error)?;
    let bytes = place.read(SMALL_OBJECT).await.map_err(store_error)?;
    let context = Context {
        base: folder_of(&url).map_err(store_error)?,
        labels: &conf.label_tables(),
        seed: conf.run.seed,
    };
    let cases = manifest::list(place.path.as_ref(), &bytes, &context)
        .map_err(|error| RunEnd::Manifest { key, error })?;
    let ids: HashSet<String> = cases.iter().map(id_of).collect();
    debug_assert_eq!(ids.len(), cases.len(), "every row has an id of its own");
    Ok(cases)
}

/// Returns what each worker builds: the chain that `model`, found under `key`, names.
///
/// # Errors
/// Its weights cannot be had.
pub async fn open_models(
    key: &str,
    model: &ModelConf,
    threads: usize,
    stores: &Stores,
) -> Result<Arc<Open>, RunEnd> {
    let weights = weights(key, model, stores).await?;
    let model = model.clone();
    Ok(Arc::new(move |device: &str| {
        #[cfg(feature = "torch")]
        models::set_threads(threads);
        #[cfg(not(feature = "torch"))]
        let _ = threads;
        models::open(&model, &weights, device)
    }))
}

/// Reads the weights that a model's configuration names, but for the shipped ones.
async fn weights(key: &str, model: &ModelConf, stores: &Stores) -> Result<LoadedWeights, RunEnd> {
    if let Weights::Each(places) = &model.weights
        && let Some(name) = places.keys().find(|name| !model.chain.contains(name))
    {
        return Err(RunEnd::Conf(format!(
            "{key}.weights: expected names of the chain {}, found {name}",
            model.chain.join(", ")
        )));
    }
    let mut loaded = LoadedWeights::new();
    for name in &model.chain {
        let Some(text) = model.weights.of(name) else {
            continue;
        };
        let place = place(stores, &format!("{key}.weights"), text)?;
        let error = |error: StoreError| RunEnd::Conf(ModelError::Weights(error.to_string()).to_string());
        let bytes = place.read(SMALL_OBJECT).await.map_err(error)?;
        loaded.insert(name.clone(), bytes.to_vec());
    }
    Ok(loaded)
}

/// Returns the URL that a configuration key holds, relative to the working folder.
///
/// # Errors
/// The key is empty, or its value no URL.
pub fn url(key: &str, text: &str) -> Result<ObjectUrl, RunEnd> {
    if text.is_empty() {
        return Err(RunEnd::Conf(format!(
            "{key}: expected a path or URL, found nothing"
        )));
    }
    let resolved = working_folder().and_then(|base| absolute(&base, text));
    resolved.map_err(|error| RunEnd::Conf(format!("{key}: {error}")))
}

/// Returns the place that a configuration key holds.
///
/// # Errors
/// See [`url`]; or the URL is of no store that this build knows.
pub fn place(stores: &Stores, key: &str, text: &str) -> Result<Place, RunEnd> {
    stores
        .place(&url(key, text)?)
        .map_err(|error| RunEnd::Conf(format!("{key}: {error}")))
}

/// A name for this process that tells nothing of the machine.
fn worker_name() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let digest = Sha256::digest(format!("{now} {}", std::process::id()).as_bytes());
    std::iter::once("w".to_owned())
        .chain(digest.iter().take(4).map(|byte| format!("{byte:02x}")))
        .collect()
}

fn record(conf: &Conf, id: &str, model: &ModelIdentity, tally: &Tally, start: Instant) -> Vec<u8> {
    let record = json!({
        "run": id,
        "software_version": SOFTWARE_VERSION,
        "configuration": redacted(conf),
        "model": model,
        "counts": tally.counts(),
        "failures": tally.failures(),
        "seconds": start.elapsed().as_secs_f64(),
    });
    record.to_string().into_bytes()
}

/// The configuration without what a URL can carry besides a place: user names, passwords, signatures.
pub fn redacted(conf: &Conf) -> Conf {
    let mut conf = conf.clone();
    let mut places = vec![
        &mut conf.run.manifest,
        &mut conf.run.output,
        &mut conf.comparison.manifest,
        &mut conf.comparison.output,
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
    ]);
    for text in places {
        if let Ok(mut url) = url::Url::parse(text) {
            url.set_query(None);
            // both fail only for URLs that cannot hold such parts
            let _ = url.set_password(None);
            let _ = url.set_username("");
            *text = url.into();
        }
    }
    conf
}
