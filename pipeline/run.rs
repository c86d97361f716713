//! `spinestream run`: a cohort manifest becomes a stream of cases, and each case Parquet rows.

use std::collections::HashMap;
use std::future::Future;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use models::{LoadedWeights, ModelConf, ModelError, Weights};
use schemas::{FaultKind, Listed, ObjectUrl, Outcome, Written};
use stages::cpu::cpu_time;
use stages::crop::Crop;
use stages::decode::{Decode, DecodeConf};
use stages::evaluate::Evaluate;
use stages::fetch::Fetch;
use stages::manifest::{Context, Manifest, ManifestError};
use stages::memory::Budget;
use stages::pool::{EVERY_WORKER_GONE, Open, Pool};
use stages::reconstruct::Reconstruct;
use stages::starts::{BEAT, Start, StartError, State};
use stages::store::{Place, StoreError, Stores, absolute, folder_of, working_folder};
use stages::tables::{Published, RunTables, Tables};
use stages::weigh::{Weigh, WeighConf};
use stages::write::Write;
use tokio::task::JoinSet;
use tokio_stream::Stream;

use crate::census::{Census, todo};
use crate::conf::{Conf, Width};
use crate::flow::{Flow, Lane};
use crate::gauges::Gauges;
use crate::record::Recorder;
use crate::summary::summary;
use crate::tally::Tally;
use crate::view::View;
use crate::{Exit, RunEnd, metrics};

/// Most bytes of a manifest or of a file of weights.
pub const SMALL_OBJECT: u64 = 4 << 30;

/// Which cases that have failed are done again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Retry {
    /// None: a failed case has its row.
    #[default]
    None,
    /// Those that failed, or have a vertebra that did, in one of these kinds; in any, if there are none.
    Failed(Vec<FaultKind>),
}

/// Runs the cohort that `conf` names; stops taking new cases once `stop` is there.
///
/// # Errors
/// What ends a run before its last case.
pub async fn run(
    conf: &Conf,
    stores: &Arc<Stores>,
    retry: &Retry,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let open = open_models("model", &conf.model, conf.pool.threads, stores).await?;
    run_with(conf, stores, open, retry, stop).await
}

/// The same with models of the caller's own: `open` builds a worker's chain on a device.
///
/// # Errors
/// See [`run`].
pub async fn run_with(
    conf: &Conf,
    stores: &Arc<Stores>,
    open: Arc<Open>,
    retry: &Retry,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let tables = tables(conf, stores)?;
    let manifest = manifest("run.manifest", &conf.run.manifest, conf.run.seed, conf, stores).await?;
    let pool = Pool::start(&conf.pool, open)
        .await
        .map_err(|error| RunEnd::Conf(error.to_string()))?;
    let page = match conf.watch.metrics.parse() {
        Ok(address) => {
            let listener = metrics::listen(address).await;
            Some(listener.map_err(|error| RunEnd::Conf(format!("watch.metrics: {error}")))?)
        }
        Err(_) => None,
    };

    let recorder = Recorder::new(conf, &tables, &pool, &manifest);
    // before any work: an output that cannot be written ends the run now, not after the first part
    let start = Start::take(&tables.records(), &recorder.first())
        .await
        .map_err(sink)?;
    if let Err(end) = start.alone(&tables.records()).await {
        // we did nothing: whoever looks at the records is to know
        let _ = start.keep(State::Stopped, &recorder.first()).await;
        return Err(match end {
            StartError::Busy(busy) => RunEnd::Busy(busy),
            StartError::Store(error) => sink(error),
        });
    }
    let published = Arc::new(published(&tables, retry).await?);
    let (manifest, census) = Census::of(manifest, &published).await?;

    let view = View {
        tally: Arc::new(Mutex::new(Tally::new(&census, conf.run.max_failed))),
        gauges: Gauges::default(),
        budget: Budget::new(conf.run.memory.as_u64()),
        pool,
        start: Instant::now(),
    };
    let processor = cpu_time();
    let (cases, broken) = todo(manifest, published);
    let stop = stop.boxed().shared();
    let flow = through_the_stages(conf, stores, &tables, &view, cases, stop.clone());
    let mut beside = JoinSet::new();
    beside.spawn(view.clone().show(conf.watch.clone()));
    beside.spawn(beat(start.clone(), recorder.clone(), view.clone()));
    if let Some(listener) = page {
        beside.spawn(metrics::serve(listener, view.clone()));
    }

    let rows = Tables::new(tables, start.worker(), start.attempt(), conf.write.clone());
    let enough = enough(stop.clone(), Duration::from_secs(conf.run.stop_s));
    let watch = |outcome: &Outcome<Written>| view.tally().see(outcome);
    let mut verdict = flow.into(rows, watch, stop, enough).await;
    if verdict.is_ok() && view.pool.is_gone() {
        verdict = Err(RunEnd::WorkersGone);
    }
    if let Some(error) = broken.lock().ok().and_then(|mut broken| broken.take()) {
        verdict = verdict.and(Err(RunEnd::Manifest {
            key: "run.manifest",
            error,
        }));
    }

    beside.shutdown().await;
    let processor = cpu_time().saturating_sub(processor);
    let state = match &verdict {
        Err(_) => State::Broken,
        Ok(()) if view.tally().ended() < census.cases => State::Stopped,
        Ok(()) => State::Ended,
    };
    let kept = start
        .keep(state, &recorder.record(&view, processor))
        .await
        .map_err(sink);
    say(&format!("{}{}", summary(&view, processor), view.tally().close()));
    verdict.and(kept)?;
    Ok(if view.tally().all_done() {
        Exit::Done
    } else {
        Exit::SomeFailed
    })
}

fn sink(error: StoreError) -> RunEnd {
    RunEnd::Tables(error.into())
}

/// Returns where the run's tables lie.
///
/// # Errors
/// `run.output` is no place.
pub fn tables(conf: &Conf, stores: &Stores) -> Result<RunTables, RunEnd> {
    let output = place(stores, "run.output", &conf.run.output)?;
    Ok(RunTables::new(output, &conf.run_id()?))
}

/// Clears what a killed start left behind and returns which cases need not be done.
async fn published(tables: &RunTables, retry: &Retry) -> Result<Published, RunEnd> {
    let listing = tables.list().await?;
    tables.clear(&listing).await?;
    let mut published = tables.published_in(&listing).await?;
    if let Retry::Failed(kinds) = retry {
        let vertebrae = match kinds.is_empty() {
            // any vertebra that failed will do
            true => HashMap::new(),
            false => tables.failed_vertebrae(&listing, &published).await?,
        };
        let again = published.forget_failed(kinds, &vertebrae);
        tracing::info!(cases = again, "failed cases are done again");
    }
    Ok(published)
}

/// Gives a sign of life now and then.
async fn beat(start: Start, recorder: Recorder, view: View) {
    let processor = cpu_time();
    loop {
        tokio::time::sleep(BEAT).await;
        let used = cpu_time().saturating_sub(processor);
        if let Err(error) = start.keep(State::Running, &recorder.record(&view, used)).await {
            tracing::warn!("the run's record could not be put: {error}");
        }
    }
}

/// Is there when the cases in hand have had their time after `stop`.
async fn enough(stop: impl Future<Output = ()>, time: Duration) {
    stop.await;
    tokio::time::sleep(time).await;
    tracing::warn!(
        "cases in hand did not end within run.stop_s = {} s; they stay for the next start",
        time.as_secs()
    );
}

/// Prints for people; that nobody listens any more (`| head`) is no reason to fail.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// The flow itself, in order.
fn through_the_stages(
    conf: &Conf,
    stores: &Arc<Stores>,
    tables: &RunTables,
    view: &View,
    cases: impl Stream<Item = Outcome<Listed>> + Send + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Flow<impl Stream<Item = Outcome<Written>> + Send + 'static> {
    let max_bytes = conf.run.memory.as_u64();
    let weigh = Weigh {
        stores: Arc::clone(stores),
        conf: WeighConf { max_bytes },
    };
    let fetch = Fetch {
        stores: Arc::clone(stores),
    };
    let decode = Decode {
        conf: DecodeConf { max_bytes },
    };
    let crop = Crop {
        conf: conf.crop.clone(),
    };
    let reconstruct = Reconstruct {
        pool: view.pool.clone(),
    };
    let evaluate = Evaluate {
        conf: conf.evaluate.clone(),
    };
    let write = Write {
        volumes: tables.volumes(),
        conf: conf.write.clone(),
    };

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = conf.pool.devices.len() * conf.pool.replicas;
    // enough cases before the pool that a micro-batch is always there to be taken
    let ready = workers + (workers * conf.pool.batch).div_ceil(4);
    let (widths, limits) = (&conf.widths, &conf.timeouts);
    let gone = view.pool.clone();
    let stop_or_gone = async move {
        tokio::select! {
            () = stop => {}
            () = gone.every_worker_gone() => {}
        }
    };
    Flow::until(cases, stop_or_gone, &view.gauges)
        .through(weigh, lane(widths.weigh, 4, limits.weigh))
        .within(&view.budget, |weighed| weighed.bytes)
        .through(fetch, lane(widths.fetch, 4, limits.fetch))
        .through(decode, lane(widths.decode, cores, limits.decode))
        .keeping(|decoded| decoded.bytes())
        .through(crop, lane(widths.crop, cores, limits.crop))
        .keeping(|cropped| cropped.bytes_to_paste())
        .through(reconstruct, lane(widths.reconstruct, ready, limits.reconstruct))
        .through(evaluate, lane(widths.evaluate, cores, limits.evaluate))
        .through(write, lane(widths.write, cores, limits.write))
        .keeping(|_| 0)
        .without(|failure| failure.fault.reason == EVERY_WORKER_GONE)
}

fn lane(width: Width, auto: usize, limit_s: u64) -> Lane {
    Lane {
        width: width.or(auto),
        limit: (limit_s > 0).then(|| Duration::from_secs(limit_s)),
    }
}

/// Copies the manifest that a configuration key names to this machine.
///
/// # Errors
/// There is none, or no room for it.
pub async fn manifest(
    key: &'static str,
    manifest: &str,
    seed: u64,
    conf: &Conf,
    stores: &Stores,
) -> Result<Manifest, RunEnd> {
    let error = |error: ManifestError| RunEnd::Manifest { key, error };
    let url = url(key, manifest)?;
    let place = stores.place(&url).map_err(|store| error(store.into()))?;
    let context = Context {
        base: folder_of(&url).map_err(|store| error(store.into()))?,
        labels: conf.label_tables(),
        seed,
    };
    Manifest::copy(&place, SMALL_OBJECT, context).await.map_err(error)
}

/// Reads a whole manifest: for verbs that need every case at once.
///
/// # Errors
/// There is none, or it cannot be read to its end.
pub async fn list(
    key: &'static str,
    manifest: &str,
    conf: &Conf,
    stores: &Stores,
) -> Result<Vec<Outcome<Listed>>, RunEnd> {
    let manifest = self::manifest(key, manifest, conf.run.seed, conf, stores).await?;
    all(key, manifest).await
}

/// Reads a manifest to its end.
///
/// # Errors
/// It cannot be.
pub async fn all(key: &'static str, manifest: Manifest) -> Result<Vec<Outcome<Listed>>, RunEnd> {
    let read = move || manifest.read()?.collect::<Result<_, ManifestError>>();
    stages::blocking(read)
        .await
        .map_err(|error| RunEnd::Manifest { key, error })
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
