//! `spinestream enqueue`: the cases of a run that have no row go into its queue.

use std::future::Future;
use std::sync::{Arc, PoisonError};

use futures::{FutureExt as _, StreamExt as _};
use stages::shard::{Shard, Share};
use stages::store::Stores;

use super::broker::UNCONFIRMED_MOST;
use super::{Broker, Ticket};
use crate::RunEnd;
use crate::bar::bar;
use crate::census::{Census, id_of, todo};
use crate::champion::resolved;
use crate::conf::Conf;
use crate::run::{Stop, manifest, tables, unless};

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Enqueued {
    /// Id of the run.
    pub run: String,
    /// Rows of the manifest.
    pub cases: usize,
    /// Those that have a row in the tables already.
    pub done: usize,
    /// Those that are in the queue since now.
    pub new: usize,
    /// Those that were put into the queue before, within `queue.dedup_s`.
    pub known: usize,
}

impl Enqueued {
    /// Whether every case is done or in the queue.
    pub fn is_whole(&self) -> bool {
        self.done + self.new + self.known == self.cases
    }
}

/// Puts every case of the manifest that has no row into the run's queue; until `stop` is there. What is there already the
/// server knows again, so it may be called as often as one likes, and goes on where it was killed.
///
/// # Errors
/// The manifest, the tables or the queue's server cannot be used.
pub async fn enqueue(
    conf: &Conf,
    stores: &Arc<Stores>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Enqueued, RunEnd> {
    let stop: Stop = stop.boxed().shared();
    let ready = async {
        let conf = &resolved(conf, stores).await?;
        let tables = tables(conf, stores)?;
        let broker = Broker::connect(&conf.queue, tables.run()).await?;
        broker.ensure().await?;
        let manifest = manifest("run.manifest", &conf.run.manifest, conf.run.seed, conf, stores).await?;
        let published = Arc::new(tables.published().await?);
        let share = Share::new(tables.run(), Shard::WHOLE);
        let (manifest, census) = Census::of(manifest, &share, &published).await?;
        Ok((broker, manifest, published, share, census))
    };
    let (broker, manifest, published, share, census) = unless(&stop, ready).await?;

    let sha256: Arc<str> = manifest.sha256().into();
    let mut enqueued = Enqueued {
        run: broker.run().to_owned(),
        cases: census.cases,
        done: census.done,
        ..Enqueued::default()
    };
    let bar = bar(
        (census.cases - census.done) as u64,
        "{pos}/{len} cases {per_sec} {msg}",
    );
    let (cases, broken) = todo(manifest, share, published);
    let put = |ticket: Ticket| {
        let broker = broker.clone();
        async move { broker.put(&ticket).await }
    };
    let run = broker.run().to_owned();
    let tickets = cases.take_until(stop).map(|case| Ticket {
        run: run.clone(),
        case: id_of(&case),
        manifest: sha256.to_string(),
    });
    let mut answers = tickets.map(put).buffer_unordered(UNCONFIRMED_MOST);
    while let Some(is_new) = answers.next().await {
        if is_new? {
            enqueued.new += 1;
        } else {
            enqueued.known += 1;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
    match broken {
        Some(error) => Err(RunEnd::Manifest {
            key: "run.manifest",
            error,
        }),
        None => Ok(enqueued),
    }
}
