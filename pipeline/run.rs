//! `spinestream run`: a cohort manifest becomes a stream of cases, and each case Parquet rows.

use std::future::Future;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use models::{LoadedWeights, ModelConf, ModelError, Weights};
use schemas::{FaultKind, Listed, ObjectUrl, Outcome, Written};
use stages::Count;
use stages::cpu::{cores, cpu_time};
use stages::crop::Crop;
use stages::decode::{Decode, DecodeConf};
use stages::dicom::seg_out::{Identity, SegOut};
use stages::evaluate::Evaluate;
use stages::fetch::Fetch;
use stages::manifest::{Context, Manifest, ManifestError};
use stages::memory::Budget;
use stages::pool::{EVERY_WORKER_GONE, Open, Pool};
use stages::reconstruct::Reconstruct;
use stages::registry::is_name;
use stages::starts::State;
use stages::store::{Place, StoreError, Stores, absolute, folder_of, working_folder};
use stages::tables::{RunTables, Tables, fingerprint};
use stages::weigh::{Weigh, WeighConf};
use stages::write::{Form, Write};
use tokio_stream::Stream;

use crate::census::id_of;
use crate::champion::{self, resolved};
use crate::claim::{Claimed, Todo, claim};
use crate::conf::Conf;
use crate::flow::{Flow, Lane, Put};
use crate::gauges::Gauges;
use crate::metrics::Page;
use crate::record::Recorder;
use crate::summary::summary;
use crate::tally::Tally;
use crate::view::View;
use crate::widths::widen;
use crate::{Exit, RunEnd};

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

/// Runs the cohort that `conf` names, or the shard of it; stops taking new cases once `stop` is there. The environment
/// is not asked for a shard: see [`crate::shard::Sharding::settle`].
///
/// # Errors
/// What ends a run before its last case.
pub async fn run(
    conf: &Conf,
    stores: &Arc<Stores>,
    retry: &Retry,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let stop: Stop = stop.boxed().shared();
    let conf = &unless(&stop, resolved(conf, stores)).await?;
    let open = open_models("model", &conf.model, conf.pool.threads_each(), conf, stores);
    let open = unless(&stop, open).await?;
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
    let stop: Stop = stop.boxed().shared();
    let seg = seg_out(conf)?;
    let page = Page::open(&conf.watch.metrics).await?;
    let tables = tables(conf, stores)?;
    let ready = async {
        let manifest = manifest("run.manifest", &conf.run.manifest, conf.run.seed, conf, stores).await?;
        let pool = Pool::start(&conf.pool, open).await;
        Ok((manifest, pool.map_err(|error| RunEnd::Conf(error.to_string()))?))
    };
    let (manifest, pool) = unless(&stop, ready).await?;

    let recorder = Recorder::new(conf, &tables, &pool, &manifest);
    // before any work: an output that cannot be written ends the run now, not after the first part
    let shard = conf.run.shard.shard();
    let mut start = unless(&stop, claim(&tables, 1, shard, &recorder)).await?;
    let mut published = unless(&stop, start.only_one(&tables, retry)).await;
    if let Ok(found) = &published
        && found.cases.highest_attempt() >= start.number.attempt()
    {
        // rows of our cases by a start whose record has gone
        let least = found.cases.highest_attempt().saturating_add(1);
        start.end(State::Stopped, &recorder.first()).await;
        start = unless(&stop, claim(&tables, least, shard, &recorder)).await?;
        published = unless(&stop, start.only_one(&tables, retry)).await;
    }
    let counted = match published {
        Ok(found) => unless(&stop, found.count(manifest)).await,
        Err(end) => Err(end),
    };
    let (manifest, todo) = match counted {
        Ok(counted) => counted,
        Err(end) => {
            let state = if matches!(end, RunEnd::Stopped) {
                State::Stopped
            } else {
                State::Broken
            };
            start.end(state, &recorder.first()).await;
            return Err(end);
        }
    };

    let view = View {
        tally: Arc::new(Mutex::new(Tally::new(&todo.census, conf.run.max_failed))),
        gauges: Gauges::default(),
        budget: Budget::new(conf.run.memory.as_u64()),
        pool,
        start: Instant::now(),
    };
    page.show(&view);
    let processor = cpu_time();
    start.tell(&view, processor);
    let watched = tokio::spawn(view.clone().show(conf.watch.clone()));
    let widened = tokio::spawn(widen(view.clone()));
    let verdict = work(conf, stores, &tables, seg, &start, &view, manifest, &todo, stop).await;

    widened.abort();
    watched.abort();
    // its bars go with it
    let _ = watched.await;
    let processor = cpu_time().saturating_sub(processor);
    let state = match &verdict {
        Err(_) => State::Broken,
        Ok(Put::Whole) if view.tally().ended() == todo.census.cases => State::Ended,
        Ok(_) => State::Stopped,
    };
    start.end(state, &recorder.record(&view, processor)).await;
    say(&format!("{}{}", summary(&view, processor), view.tally().close()));
    let put = verdict?;
    Ok(if put == Put::Whole && view.tally().all_done() {
        Exit::Done
    } else {
        Exit::SomeFailed
    })
}

/// Does the cases that are to be done.
#[expect(clippy::too_many_arguments, reason = "what a run is made of, named once")]
async fn work(
    conf: &Conf,
    stores: &Arc<Stores>,
    tables: &RunTables,
    seg: Option<SegOut>,
    start: &Claimed,
    view: &View,
    manifest: Manifest,
    todo: &Todo,
    stop: Stop,
) -> Result<Put, RunEnd> {
    let (cases, broken) = todo.cases(manifest);
    let (again, tally) = (Arc::clone(&todo.again), Arc::clone(&view.tally));
    let flow = through_the_stages(conf, stores, tables, seg, view, cases, stop.clone()).without(move |failure| {
        let last = again.get(&fingerprint(&failure.id.folded()));
        let is_kept = last.is_some_and(|last| !last.failed) && failure.fault.reason != EVERY_WORKER_GONE;
        if is_kept {
            tally.lock().unwrap_or_else(PoisonError::into_inner).keep();
            let fault = &failure.fault;
            tracing::warn!(case = %failure.id, stage = failure.stage, "tried again in vain, the earlier rows stay: {fault}");
        }
        is_kept || failure.fault.reason == EVERY_WORKER_GONE
    });
    let number = &start.number;
    let rows = Tables::new(
        tables.clone(),
        number.worker(),
        number.attempt(),
        conf.write.clone(),
    );
    let enough = enough(stop.clone(), Duration::from_secs(conf.run.stop_s));
    let watch = |outcome: &Outcome<Written>| {
        let is_again = !todo.again.is_empty() && todo.again.contains_key(&fingerprint(&id_of(outcome)));
        view.tally().see(outcome, is_again)
    };
    let put = flow.into(rows, watch, stop, enough).await?;
    if view.pool.is_gone() {
        return Err(RunEnd::WorkersGone);
    }
    let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
    match broken {
        Some(error) => Err(RunEnd::Manifest {
            key: "run.manifest",
            error,
        }),
        None => Ok(put),
    }
}

/// Ends with [`RunEnd::Stopped`] if the stop signal comes before `work` is done.
pub(crate) async fn unless<T>(
    stop: &Stop,
    work: impl Future<Output = Result<T, RunEnd>>,
) -> Result<T, RunEnd> {
    tokio::select! {
        ended = work => ended,
        () = stop.clone() => Err(RunEnd::Stopped),
    }
}

/// A stop signal that many wait for.
pub(crate) type Stop = Shared<BoxFuture<'static, ()>>;

/// Returns where the run's tables lie.
///
/// # Errors
/// `run.output` is no place.
pub fn tables(conf: &Conf, stores: &Stores) -> Result<RunTables, RunEnd> {
    let output = place(stores, "run.output", &conf.run.output)?;
    Ok(RunTables::new(output, &conf.run_id()?))
}

/// Returns how DICOM segmentations are written, where they are asked for.
///
/// # Errors
/// They are to be without identity, and the environment holds no key.
pub(crate) fn seg_out(conf: &Conf) -> Result<Option<SegOut>, RunEnd> {
    if !conf.write.volumes.contains(&Form::Seg) {
        return Ok(None);
    }
    let identity = Identity::from_environment(conf.dicom.deidentify).map_err(RunEnd::Conf)?;
    Ok(Some(SegOut {
        form: conf.dicom.seg,
        identity,
    }))
}

/// Is there when the cases in hand have had their time after `stop`.
pub(crate) async fn enough(stop: impl Future<Output = ()>, time: Duration) {
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
pub(crate) fn through_the_stages(
    conf: &Conf,
    stores: &Arc<Stores>,
    tables: &RunTables,
    seg: Option<SegOut>,
    view: &View,
    cases: impl Stream<Item = Outcome<Listed>> + Send + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Flow<impl Stream<Item = Outcome<Written>> + Send + 'static> {
    let max_bytes = conf.run.memory.as_u64();
    let weigh = Weigh {
        stores: Arc::clone(stores),
        conf: WeighConf {
            max_bytes,
            images: seg.is_some(),
            stack: conf.dicom.stack,
        },
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
        seg,
    };

    // enough cases before the pool that a micro-batch is always there to be taken
    let ready = view.pool.reading().workers + view.pool.batches().div_ceil(4);
    // what computes takes a case a core, what waits for the store many more if the store is slow
    let (computes, waits) = ([cores(), 2 * cores()], [4, 64.max(2 * cores())]);
    let (widths, limits) = (&conf.widths, &conf.timeouts);
    let gone = view.pool.clone();
    let stop_or_gone = async move {
        tokio::select! {
            () = stop => {}
            () = gone.every_worker_gone() => {}
        }
    };
    Flow::until(cases, stop_or_gone, &view.gauges)
        .through(weigh, lane(widths.weigh, waits, limits.weigh))
        .within(&view.budget, |weighed| weighed.bytes)
        .through(fetch, lane(widths.fetch, waits, limits.fetch))
        .through(decode, lane(widths.decode, computes, limits.decode))
        .keeping(|decoded| decoded.bytes())
        .through(crop, lane(widths.crop, computes, limits.crop))
        .keeping(|cropped| cropped.bytes_to_paste())
        .through(
            reconstruct,
            lane(widths.reconstruct, [ready, 4 * ready], limits.reconstruct),
        )
        .through(evaluate, lane(widths.evaluate, computes, limits.evaluate))
        .through(
            write,
            lane(widths.write, [cores(), 16.max(2 * cores())], limits.write),
        )
        .keeping(|_| 0)
}

/// Returns a stage's lane: of its own accord it begins with the first number of cases, and may grow to the second.
fn lane(width: Count, [auto, most]: [usize; 2], limit_s: u64) -> Lane {
    Lane {
        width: width.or(auto),
        most: if width.is_auto() { most } else { 0 },
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

/// Returns what each worker builds: the chain that `model`, found under `key`, names. Weights may be names in the registry
/// of `conf`.
///
/// # Errors
/// Its weights cannot be had.
pub async fn open_models(
    key: &str,
    model: &ModelConf,
    threads: usize,
    conf: &Conf,
    stores: &Stores,
) -> Result<Arc<Open>, RunEnd> {
    let weights = weights(key, model, conf, stores).await?;
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
async fn weights(
    key: &str,
    model: &ModelConf,
    conf: &Conf,
    stores: &Stores,
) -> Result<LoadedWeights, RunEnd> {
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
        let bytes = if is_name(text) {
            champion::weights(key, name, text, conf, stores).await?
        } else {
            let place = place(stores, &format!("{key}.weights"), text)?;
            let error = |error: StoreError| RunEnd::Conf(ModelError::Weights(error.to_string()).to_string());
            place.read(SMALL_OBJECT).await.map_err(error)?
        };
        let added = loaded.add(name, &bytes);
        added.map_err(|error| RunEnd::Conf(error.to_string()))?;
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
