//! What comes before the first case: a number for this start, the certainty that nobody else is at work, and what
//! earlier starts have left to do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemas::{Listed, Outcome};
use serde_json::{Map, Value};
use stages::cpu::cpu_time;
use stages::manifest::Manifest;
use stages::shard::{Shard, Share};
use stages::starts::{Beat, Start, StartError, State};
use stages::store::StoreError;
use stages::tables::{Last, Published, RunTables};
use tokio_stream::wrappers::ReceiverStream;

use crate::RunEnd;
use crate::census::{Broken, Census, todo};
use crate::record::Recorder;
use crate::run::Retry;
use crate::view::View;

/// Longest time for the last record.
const LAST_RECORD: Duration = Duration::from_secs(10);

/// A start that has its number and gives signs of life.
#[derive(Debug)]
pub struct Claimed {
    /// Its number.
    pub number: Start,
    beat: Beat,
    seen: Seen,
}

/// What the signs of life tell: nothing of cases before there are any.
type Seen = Arc<Mutex<Option<(View, Duration)>>>;

/// What earlier starts have published.
#[derive(Debug)]
pub struct Found {
    /// Which cases of this shard need not be done.
    pub cases: Published,
    share: Share,
    /// Cases that are done again, and how they ended before.
    again: HashMap<u128, Last>,
}

/// What there is to do.
#[derive(Debug)]
pub struct Todo {
    /// How many cases there are, and are done.
    pub census: Census,
    /// Cases that are done again, and how they ended before. Of one that was done but for a vertebra the rows stay if it
    /// is in vain; and none of them counts for `run.max_failed`, since they have failed before.
    pub again: Arc<HashMap<u128, Last>>,
    share: Share,
    published: Arc<Published>,
}

/// Takes a number of the run, at least `least`, for one shard of it, and begins to give signs of life.
///
/// # Errors
/// The output cannot be written.
pub async fn claim(
    tables: &RunTables,
    least: u32,
    shard: Shard,
    recorder: &Recorder,
) -> Result<Claimed, RunEnd> {
    let taken = Start::take_shard(&tables.records(), least, shard, &recorder.first()).await;
    Ok(begin(taken.map_err(sink)?, recorder))
}

/// The same, for a process that takes its cases from the run's queue.
///
/// # Errors
/// The output cannot be written.
pub async fn claim_beside(tables: &RunTables, least: u32, recorder: &Recorder) -> Result<Claimed, RunEnd> {
    let taken = Start::take_beside(&tables.records(), least, &recorder.first()).await;
    Ok(begin(taken.map_err(sink)?, recorder))
}

/// Begins to give signs of life.
fn begin(number: Start, recorder: &Recorder) -> Claimed {
    let seen = Seen::default();
    let tell = {
        let (recorder, seen) = (recorder.clone(), Arc::clone(&seen));
        move || match &*seen.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((view, processor)) => recorder.record(view, cpu_time().saturating_sub(*processor)),
            None => recorder.first(),
        }
    };
    let beat = number.beat(Box::new(tell));
    Claimed { number, beat, seen }
}

fn sink(error: StoreError) -> RunEnd {
    RunEnd::Tables(error.into())
}

fn busy(error: StartError) -> RunEnd {
    match error {
        StartError::Busy(busy) => RunEnd::Busy(busy),
        StartError::Store(error) => sink(error),
    }
}

impl Claimed {
    /// Makes sure that nobody is at work on the run who could do the same case: others that take theirs from the queue may.
    ///
    /// # Errors
    /// Somebody is; the output cannot be read.
    pub async fn beside(&self, tables: &RunTables) -> Result<(), RunEnd> {
        self.number.alone(&tables.records()).await.map_err(busy)
    }

    /// Makes sure that nobody else is at work on this shard, clears what a killed start of it left behind, and returns
    /// what is published of its cases.
    ///
    /// # Errors
    /// Somebody is; the output cannot be read.
    pub async fn only_one(&self, tables: &RunTables, retry: &Retry) -> Result<Found, RunEnd> {
        self.number.alone(&tables.records()).await.map_err(busy)?;
        let shard = self.number.shard();
        let listing = tables.list().await?;
        tables.clear_shard(&listing, shard).await?;
        let mut cases = tables.published_of(&listing, shard).await?;
        let mut again = HashMap::new();
        if let Retry::Failed(kinds) = retry {
            let vertebrae = if kinds.is_empty() {
                // any vertebra that failed will do
                HashMap::new()
            } else {
                tables.failed_vertebrae(&listing, &cases).await?
            };
            again = cases.forget_failed(kinds, &vertebrae);
            tracing::info!(cases = again.len(), "failed cases are done again");
        }
        let share = Share::new(tables.run(), shard);
        Ok(Found { cases, share, again })
    }

    /// Lets the signs of life tell of the cases, too; `processor` is the processor time before the first of them.
    pub fn tell(&self, view: &View, processor: Duration) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((view.clone(), processor));
    }

    /// Puts the last record. That it cannot be put harms nothing: the next start sees that this process is dead.
    pub async fn end(self, state: State, record: &Map<String, Value>) {
        self.beat.end().await;
        match tokio::time::timeout(LAST_RECORD, self.number.keep(state, record)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the run's last record could not be put: {error}"),
            Err(_) => tracing::warn!("the run's last record could not be put in time"),
        }
    }
}

impl Found {
    /// Counts the cases of the manifest, and those that are done.
    ///
    /// # Errors
    /// The manifest cannot be read to its end.
    pub async fn count(self, manifest: Manifest) -> Result<(Manifest, Todo), RunEnd> {
        let published = Arc::new(self.cases);
        let (manifest, census) = Census::of(manifest, &self.share, &published).await?;
        let todo = Todo {
            census,
            again: Arc::new(self.again),
            share: self.share,
            published,
        };
        Ok((manifest, todo))
    }
}

impl Todo {
    /// Returns the cases to do, read as the flow takes them.
    pub fn cases(&self, manifest: Manifest) -> (ReceiverStream<Outcome<Listed>>, Broken) {
        todo(manifest, self.share.clone(), Arc::clone(&self.published))
    }
}
