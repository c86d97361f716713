//! The starts of a run: each process takes a number, keeps its record under it, and sees whether an earlier one still
//! lives.
//!
//! ```text
//! runs/<id>/w0001.json, w0002.json, …   create-only, then put anew every few seconds as a sign of life
//! ```
//! The number is the attempt of every row that the process writes: no two processes write rows of one attempt, and of
//! two rows of a case the later start's counts. (Attempt 0 is of runs from before starts had numbers.)
//!
//! Starts of different shards live side by side, and so do those that take their cases from one queue; of two that could
//! do the same case otherwise, the later leaves.

mod process;

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::shard::Shard;
use crate::store::{Place, StoreError};
use process::Process;

/// Time between two signs of life.
pub const BEAT: Duration = Duration::from_secs(5);

/// Time without a sign of life after which a process counts as dead: a store may be silent for a minute
/// (`store.read_timeout_s`) before a request to it is given up and made again.
const DEAD_AFTER: Duration = Duration::from_secs(75);

/// Looks for a sign of life that it takes to find none for so long, one a second, as far as they are answered.
const LOOKS: u64 = DEAD_AFTER.as_secs();

/// Longest time for one sign of life.
const SIGN_MOST: Duration = Duration::from_secs(30);

/// Longest time for the last one that is on its way when no more are given.
const LAST_SIGN: Duration = Duration::from_secs(5);

/// Records that are read at once.
const AT_ONCE: usize = 32;

/// Most bytes of a record: it lists a thousand failures at most.
const RECORD_MOST: u64 = 16 << 20;

/// What a process does just now, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// At work.
    Running,
    /// Went through all cases.
    Ended,
    /// Stopped by a signal, with cases left.
    Stopped,
    /// Could not go on.
    Broken,
    /// Gave no sign of life any more, as a later start found.
    Lost,
}

/// The number that this process has taken.
#[derive(Debug, Clone)]
pub struct Start {
    number: u32,
    worker: String,
    shard: Shard,
    queue: bool,
    place: Place,
    process: Option<Process>,
}

/// The part of a record that others read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sign {
    state: State,
    process: Option<Process>,
    /// The cases that it does; every one, in the records of those that do, and of versions without shards.
    #[serde(default, skip_serializing_if = "Shard::is_whole")]
    shard: Shard,
    /// Whether it takes its cases from the run's queue, which hands each out to one process at a time.
    #[serde(default, skip_serializing_if = "is_false")]
    queue: bool,
}

/// For serde, which asks by reference.
fn is_false(value: &bool) -> bool {
    !value
}

/// Another process is at work on the same run, or on the same shard of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected no other process at work on {cases}, found {worker}{beside}: two would only do the work twice; wait \
     until it has ended, or stop it",
    cases = cases_of(.own),
    beside = beside(.its, .own)
)]
pub struct Busy {
    /// Its name.
    pub worker: String,
    /// Its shard.
    pub its: Shard,
    /// The shard of the process that leaves.
    pub own: Shard,
}

fn cases_of(own: &Shard) -> String {
    if own.is_whole() {
        "this run".to_owned()
    } else {
        format!("shard {own} of this run")
    }
}

fn beside(its: &Shard, own: &Shard) -> String {
    match (its.is_whole(), its == own) {
        (true, true) => String::new(),
        (true, false) => " at work on all of it".to_owned(),
        _ => format!(" at work on shard {its}"),
    }
}

/// Why a start could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process is at work.
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// Makes a record.
pub type Tell = Box<dyn Fn() -> Map<String, Value> + Send>;

impl Start {
    /// Takes a number of the run whose records lie below `runs`, the next one, and at least `least`; `record` is the first
    /// record.
    ///
    /// # Errors
    /// The store's.
    pub async fn take(runs: &Place, least: u32, record: &Map<String, Value>) -> Result<Self, StoreError> {
        Self::take_shard(runs, least, Shard::WHOLE, record).await
    }

    /// The same, for a process that does the cases of one shard.
    ///
    /// # Errors
    /// The store's.
    pub async fn take_shard(
        runs: &Place,
        least: u32,
        shard: Shard,
        record: &Map<String, Value>,
    ) -> Result<Self, StoreError> {
        Self::take_as(runs, least, shard, false, record).await
    }

    /// The same, for a process that takes its cases from the run's queue.
    ///
    /// # Errors
    /// The store's.
    pub async fn take_beside(
        runs: &Place,
        least: u32,
        record: &Map<String, Value>,
    ) -> Result<Self, StoreError> {
        Self::take_as(runs, least, Shard::WHOLE, true, record).await
    }

    async fn take_as(
        runs: &Place,
        least: u32,
        shard: Shard,
        queue: bool,
        record: &Map<String, Value>,
    ) -> Result<Self, StoreError> {
        let process = Process::own();
        loop {
            let last = numbers(runs).await?.pop().unwrap_or(0);
            let number = last.saturating_add(1).max(least);
            let worker = name(number);
            let start = Self {
                number,
                place: runs.join(&format!("{worker}.json")),
                worker,
                shard,
                queue,
                process: process.clone(),
            };
            if start.place.create(start.text(State::Running, record)).await? {
                return Ok(start);
            }
            // another process took it between our look and our put
        }
    }

    /// Returns the attempt of every row that this process writes.
    pub fn attempt(&self) -> u32 {
        self.number
    }

    /// Returns the name of this process in rows.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Returns the cases that this process does.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Puts the record anew, which is also a sign of life.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(&self, state: State, record: &Map<String, Value>) -> Result<(), StoreError> {
        self.place.put(self.text(state, record)).await
    }

    /// Gives a sign of life now and then, until the beat is ended.
    pub fn beat(&self, tell: Tell) -> Beat {
        let start = self.clone();
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                if tokio::time::timeout(BEAT, &mut stopped).await.is_ok() {
                    return;
                }
                let record = tell();
                let kept = tokio::time::timeout(SIGN_MOST, start.keep(State::Running, &record));
                match kept.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!("the run's record could not be put: {error}"),
                    Err(_) => tracing::warn!("the run's record could not be put in time"),
                }
            }
        });
        Beat { stop, task }
    }

    fn text(&self, state: State, record: &Map<String, Value>) -> Bytes {
        let mut all = Map::new();
        all.insert("worker".to_owned(), self.worker.clone().into());
        let sign = Sign {
            state,
            process: self.process.clone(),
            shard: self.shard,
            queue: self.queue,
        };
        if let Ok(Value::Object(sign)) = serde_json::to_value(sign) {
            all.extend(sign);
        }
        all.extend(record.clone());
        Value::Object(all).to_string().into()
    }

    /// Makes sure that no earlier start of the run still lives that could do a case of ours; those of other shards may, and
    /// those that take their cases from the queue that ours come from.
    /// A process that was killed a moment ago gives no sign either: on this machine the kernel is asked, otherwise signs
    /// of life are waited for, of all at once. Records of those that are dead say so from then on.
    ///
    /// # Errors
    /// One does; or the store's.
    pub async fn alone(&self, runs: &Place) -> Result<(), StartError> {
        let mut silent = Vec::new();
        let mut earlier = numbers(runs).await?;
        // a later one sees us and leaves: of two that start at once the earlier stays
        earlier.retain(|number| *number < self.number);
        for other in running(runs, earlier).await? {
            if self.queue && other.sign.queue {
                // nobody waits for it, but it need not look alive for ever
                if self.knows_it_dead(&other) {
                    other.bury(runs).await?;
                }
                continue;
            }
            if !self.shard.overlaps(other.sign.shard) {
                continue;
            }
            match self.is_here(&other).await {
                Some(true) => return Err(self.busy(&other).into()),
                Some(false) => other.bury(runs).await?,
                None => silent.push(other),
            }
        }
        if silent.is_empty() {
            return Ok(());
        }
        tracing::info!(
            "{} earlier processes of this run never said that they ended; waiting for signs of life, {} s at most",
            silent.len(),
            DEAD_AFTER.as_secs()
        );
        for _ in 0..LOOKS {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut still = Vec::new();
            for other in silent {
                match other.gave_a_sign().await? {
                    // its last sign may have been that it ended
                    true if Other::running(runs, other.number).await?.is_some() => {
                        return Err(self.busy(&other).into());
                    }
                    true => {}
                    false => still.push(other),
                }
            }
            silent = still;
            if silent.is_empty() {
                return Ok(());
            }
        }
        for other in &silent {
            other.bury(runs).await?;
        }
        Ok(())
    }

    fn busy(&self, other: &Other) -> Busy {
        Busy {
            worker: name(other.number),
            its: other.sign.shard,
            own: self.shard,
        }
    }

    /// Says whether another process was one of this machine and has ended.
    fn knows_it_dead(&self, other: &Other) -> bool {
        let (Some(own), Some(other)) = (&self.process, &other.sign.process) else {
            return false;
        };
        own.machine == other.machine && own != other && !other.lives()
    }

    /// Says whether another process lives, if it is, or was, one of this machine.
    async fn is_here(&self, other: &Other) -> Option<bool> {
        let (own, other) = (self.process.as_ref()?, other.sign.process.as_ref()?);
        if own.machine != other.machine || own == other {
            return None;
        }
        // one that was killed just now takes a moment to die
        if other.lives() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Some(other.lives())
    }
}

/// Signs of life, given by a task of their own.
#[derive(Debug)]
pub struct Beat {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Beat {
    /// Gives no further sign, and waits for one that is on its way, so that it does not come after a last record.
    pub async fn end(self) {
        drop(self.stop);
        // it can only have panicked, and its words went to the log
        let mut task = self.task;
        if tokio::time::timeout(LAST_SIGN, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// An earlier start that has not said that it ended.
struct Other {
    number: u32,
    place: Place,
    sign: Sign,
    record: Map<String, Value>,
    seen: ObjectMeta,
}

impl Other {
    /// Returns the start of that number, if its record says that it is at work.
    async fn running(runs: &Place, number: u32) -> Result<Option<Self>, StoreError> {
        let place = runs.join(&format!("{}.json", name(number)));
        let seen = match place.head().await {
            Ok(seen) => seen,
            Err(StoreError::Store(object_store::Error::NotFound { .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = place.read(RECORD_MOST).await?;
        // what is no record gives no sign of life
        let (Ok(sign), Ok(record)) = (
            serde_json::from_slice::<Sign>(&bytes),
            serde_json::from_slice(&bytes),
        ) else {
            return Ok(None);
        };
        Ok((sign.state == State::Running).then_some(Self {
            number,
            place,
            sign,
            record,
            seen,
        }))
    }

    async fn gave_a_sign(&self) -> Result<bool, StoreError> {
        let now = match self.place.head().await {
            Ok(now) => now,
            // whoever deleted it: it is looked at anew, and is not there
            Err(StoreError::Store(object_store::Error::NotFound { .. })) => return Ok(true),
            Err(error) => return Err(error),
        };
        Ok((now.last_modified, &now.e_tag) != (self.seen.last_modified, &self.seen.e_tag))
    }

    /// Notes in its record that it is dead, so that nobody waits for it again.
    async fn bury(&self, runs: &Place) -> Result<(), StoreError> {
        // its last word may have come meanwhile
        let Some(now) = Self::running(runs, self.number).await? else {
            return Ok(());
        };
        let mut record = now.record;
        record.insert("state".to_owned(), serde_json::json!(State::Lost));
        self.place.put(Value::Object(record).to_string().into()).await
    }
}

/// Returns the names of the starts whose records say that they are at work; they may be dead.
///
/// # Errors
/// The store's.
pub async fn at_work(runs: &Place) -> Result<Vec<String>, StoreError> {
    let others = running(runs, numbers(runs).await?).await?;
    Ok(others.iter().map(|other| name(other.number)).collect())
}

/// Returns those of some starts whose records say that they are at work, in order; a run in many shards has many.
async fn running(runs: &Place, numbers: Vec<u32>) -> Result<Vec<Other>, StoreError> {
    let looks: Vec<_> = numbers
        .into_iter()
        .map(|number| Other::running(runs, number))
        .collect();
    let found: Vec<Option<Other>> = futures::stream::iter(looks)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

fn name(number: u32) -> String {
    format!("w{number:04}")
}

/// Returns the numbers that have been taken, in order.
async fn numbers(runs: &Place) -> Result<Vec<u32>, StoreError> {
    let mut numbers: Vec<u32> = runs
        .list()
        .await?
        .iter()
        .filter_map(|object| {
            let name = object.location.filename()?;
            name.strip_prefix('w')?.strip_suffix(".json")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
