//! `spinestream work`: a process that does cases of a run as the queue hands them out.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use schemas::{Outcome, Written};
use stages::blocking;
use stages::cpu::cpu_time;
use stages::manifest::ById;
use stages::memory::Budget;
use stages::pool::{EVERY_WORKER_GONE, Open, Pool};
use stages::starts::State;
use stages::store::Stores;
use stages::tables::{Tables, Watched};

use super::Broker;
use super::hands::Hands;
use super::sink::Acked;
use super::source::Source;
use crate::census::Census;
use crate::champion::resolved;
use crate::claim::{Claimed, claim_beside};
use crate::conf::Conf;
use crate::flow::Put;
use crate::gauges::Gauges;
use crate::metrics::Page;
use crate::record::Recorder;
use crate::run::{Stop, enough, manifest, open_models, say, seg_out, tables, through_the_stages, unless};
use crate::summary::summary;
use crate::tally::Tally;
use crate::view::View;
use crate::widths::widen;
use crate::{Exit, RunEnd};

/// Longest time at the end until the queue's server has been told what has become of the cases in hand.
const LAST_ACKS: Duration = Duration::from_secs(10);

/// Signs of life that a case gives within the time after which it would go to somebody else.
const SIGNS: u32 = 3;

/// Takes cases of the run that `conf` tells of from its queue, until `stop` is there, or with `until_empty` until there is
/// nothing left to do. Any number of such processes may be at work on a run, and come and go.
///
/// # Errors
/// What ends a worker before its last case: the cases it has in hand go to others.
pub async fn work(
    conf: &Conf,
    stores: &Arc<Stores>,
    until_empty: bool,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let stop: Stop = stop.boxed().shared();
    let conf = &unless(&stop, resolved(conf, stores)).await?;
    let open = open_models("model", &conf.model, conf.pool.threads_each(), conf, stores);
    let open = unless(&stop, open).await?;
    work_with(conf, stores, open, until_empty, stop).await
}

/// The same with models of the caller's own: `open` builds a model worker's chain on a device.
///
/// # Errors
/// See [`work`].
pub async fn work_with(
    conf: &Conf,
    stores: &Arc<Stores>,
    open: Arc<Open>,
    until_empty: bool,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let stop: Stop = stop.boxed().shared();
    let seg = seg_out(conf)?;
    let page = Page::open(&conf.watch.metrics).await?;
    let tables = tables(conf, stores)?;
    let ready = async {
        let broker = Broker::connect(&conf.queue, tables.run()).await?;
        let consumer = broker.ensure().await?;
        let manifest = manifest("run.manifest", &conf.run.manifest, conf.run.seed, conf, stores).await?;
        let pool = Pool::start(&conf.pool, open).await;
        let pool = pool.map_err(|error| RunEnd::Conf(error.to_string()))?;
        Ok((broker, consumer, manifest, pool))
    };
    let (broker, consumer, manifest, pool) = unless(&stop, ready).await?;

    let recorder = Recorder::new(conf, &tables, &pool, &manifest);
    // rows first: the number must be above that of every one
    let published = async { Watched::new(tables.clone()).await.map_err(RunEnd::from) };
    let published = unless(&stop, published).await?;
    let least = published.published().highest_attempt().saturating_add(1);
    let start = unless(&stop, claim_beside(&tables, least, &recorder)).await?;
    let listed = async {
        start.beside(&tables).await?;
        let cases = blocking(move || manifest.by_id()).await;
        cases.map_err(|error| RunEnd::Manifest {
            key: "run.manifest",
            error,
        })
    };
    let cases = match unless(&stop, listed).await {
        Ok(cases) => cases,
        Err(end) => return Err(leave(start, &recorder, end).await),
    };

    let view = View {
        tally: Arc::new(Mutex::new(Tally::new(
            &census(&cases, &published),
            conf.run.max_failed,
        ))),
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

    let hands = Hands::default();
    let beat = consumer.cached_info().config.ack_wait / SIGNS;
    let keeper = hands.keep(&broker, beat);
    let source = Source {
        broker: broker.clone(),
        consumer,
        hands: hands.clone(),
        cases: Arc::new(cases),
        published,
        conf: conf.clone(),
        stores: Arc::clone(stores),
        until_empty,
        unknown: None,
    };
    let (cases, served) = source.open();
    let taking = served.abort_handle();
    let stages = through_the_stages(conf, stores, &tables, seg, &view, cases, stop.clone());
    let rows = Tables::new(
        tables.clone(),
        start.number.worker(),
        start.number.attempt(),
        conf.write.clone(),
    );
    let left = hands.clone();
    let flow = stages.without(move |failure| {
        let is_gone = failure.fault.reason == EVERY_WORKER_GONE;
        if is_gone {
            left.leave(&failure.id.folded());
        }
        is_gone
    });
    let watch = |outcome: &Outcome<Written>| view.tally().see(outcome, false);
    let enough = enough(stop.clone(), Duration::from_secs(conf.run.stop_s));
    let put = flow.into(Acked::new(rows, hands), watch, stop, enough).await;
    let verdict = match put {
        Err(end) => Err(end),
        Ok(_) if view.pool.is_gone() => Err(RunEnd::WorkersGone),
        // a stage that hangs would keep the source waiting
        Ok(Put::InPart) => Ok(Put::InPart),
        Ok(Put::Whole) => match served.await {
            Ok(served) => served.map(|()| Put::Whole),
            Err(_) => Err(RunEnd::Unusable(
                "the task that takes cases from the queue has gone".to_owned(),
            )),
        },
    };
    taking.abort();
    keeper.end(LAST_ACKS).await;

    widened.abort();
    watched.abort();
    // its bars go with it
    let _ = watched.await;
    let processor = cpu_time().saturating_sub(processor);
    let is_over = is_over(&broker).await;
    let state = match &verdict {
        Err(_) => State::Broken,
        Ok(Put::Whole) if is_over => State::Ended,
        Ok(_) => State::Stopped,
    };
    start.end(state, &recorder.record(&view, processor)).await;
    say(&format!("{}{}", summary(&view, processor), view.tally().close()));
    let put = verdict?;
    let counts = view.tally().counts().clone();
    Ok(
        if put == Put::Whole && counts.failed + counts.vertebrae_failed == 0 {
            Exit::Done
        } else {
            Exit::SomeFailed
        },
    )
}

/// Says in the record that this start has come to nothing.
async fn leave(start: Claimed, recorder: &Recorder, end: RunEnd) -> RunEnd {
    let state = if matches!(end, RunEnd::Stopped) {
        State::Stopped
    } else {
        State::Broken
    };
    start.end(state, &recorder.first()).await;
    end
}

/// Counts as a run of the whole manifest does: which of its cases come to this worker, nobody knows.
fn census(cases: &ById, published: &Watched) -> Census {
    let published = published.published();
    Census {
        manifest: cases.len(),
        cases: cases.len(),
        done: published.cases().min(cases.len()),
        failed: published.failed(),
    }
}

/// Whether nothing is left to do, for anybody.
async fn is_over(broker: &Broker) -> bool {
    if !broker.is_connected() {
        return false;
    }
    match broker.depth().await {
        Ok(Some(depth)) => depth.pending + depth.in_hand == 0,
        _ => false,
    }
}
