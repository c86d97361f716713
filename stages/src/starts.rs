//! The starts of a run: each process takes a number, keeps its record under it, and sees whether an earlier one still
//! lives.
//!
//! ```text
//! runs/<id>/w0000.json, w0001.json, …   create-only, then put anew every few seconds as a sign of life
//! ```
//! The number is the attempt of every row that the process writes: no two processes write rows of one attempt, and of
//! two rows of a case the later start's counts.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::compare::key::hex;
use crate::store::{Place, StoreError};

/// Time between two signs of life.
pub const BEAT: Duration = Duration::from_secs(5);

/// Signs of life that a process may miss before it counts as dead.
const MISSED: u32 = 3;

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
}

/// The number that this process has taken.
#[derive(Debug, Clone)]
pub struct Start {
    number: u32,
    worker: String,
    place: Place,
    process: Option<Process>,
}

/// The part of a record that others read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sign {
    state: State,
    process: Option<Process>,
}

/// Tells whether a process of this machine still lives; says nothing of the machine to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    /// Hash of the machine's boot and of the process namespace.
    machine: String,
    pid: u32,
    /// When it began, in the kernel's ticks: process numbers are used again.
    began: u64,
}

/// Another process is at work on the same run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected no other process at work on this run, found {worker}: two would only do the work twice; wait until it \
     has ended, or stop it"
)]
pub struct Busy {
    /// Its name.
    pub worker: String,
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

impl Start {
    /// Takes the next number of the run whose records lie below `runs`, with `record` as the first record.
    ///
    /// # Errors
    /// The store's.
    pub async fn take(runs: &Place, record: &Map<String, Value>) -> Result<Self, StoreError> {
        let process = Process::own();
        loop {
            let number = next(runs).await?;
            let worker = name(number);
            let start = Self {
                number,
                place: runs.join(&format!("{worker}.json")),
                worker,
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

    /// Puts the record anew, which is also a sign of life.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(&self, state: State, record: &Map<String, Value>) -> Result<(), StoreError> {
        self.place.put(self.text(state, record)).await
    }

    fn text(&self, state: State, record: &Map<String, Value>) -> Bytes {
        let mut all = Map::new();
        all.insert("worker".to_owned(), self.worker.clone().into());
        let sign = Sign {
            state,
            process: self.process.clone(),
        };
        if let Ok(Value::Object(sign)) = serde_json::to_value(sign) {
            all.extend(sign);
        }
        all.extend(record.clone());
        Value::Object(all).to_string().into()
    }

    /// Makes sure that no earlier start of the run still lives. A process that was killed a moment ago gives no sign
    /// either: on this machine the kernel is asked, otherwise signs of life are waited for.
    ///
    /// # Errors
    /// One does; or the store's.
    pub async fn alone(&self, runs: &Place) -> Result<(), StartError> {
        for number in numbers(runs).await? {
            if number >= self.number {
                // it sees us and leaves: of two that start at once the earlier stays
                continue;
            }
            let place = runs.join(&format!("{}.json", name(number)));
            if self.lives(&place).await? {
                return Err(Busy { worker: name(number) }.into());
            }
        }
        Ok(())
    }

    async fn lives(&self, place: &Place) -> Result<bool, StoreError> {
        let bytes = match place.read(RECORD_MOST).await {
            Ok(bytes) => bytes,
            Err(StoreError::Store(object_store::Error::NotFound { .. })) => return Ok(false),
            Err(error) => return Err(error),
        };
        // what is no record gives no sign of life
        let Ok(sign) = serde_json::from_slice::<Sign>(&bytes) else {
            return Ok(false);
        };
        if sign.state != State::Running {
            return Ok(false);
        }
        if let (Some(own), Some(other)) = (&self.process, &sign.process)
            && own.machine == other.machine
            && own != other
        {
            // one that was killed just now takes a moment to die
            if other.lives() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            return Ok(other.lives());
        }
        tracing::info!(
            "another process seems to be at work on this run; waiting to see whether it still lives"
        );
        let seen = place.head().await?;
        let until = Instant::now() + BEAT * MISSED;
        while Instant::now() < until {
            tokio::time::sleep(BEAT / 5).await;
            let now = place.head().await?;
            if (now.last_modified, &now.e_tag) != (seen.last_modified, &seen.e_tag) {
                // its last sign may have been that it ended
                let text = place.read(RECORD_MOST).await?;
                let sign = serde_json::from_slice::<Sign>(&text).ok();
                return Ok(sign.is_some_and(|sign| sign.state == State::Running));
            }
        }
        Ok(false)
    }
}

impl Process {
    /// Returns this process; `None` where there is no `/proc`.
    fn own() -> Option<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let digest = Sha256::digest(format!("{} {}", boot.trim(), namespace.display()).as_bytes());
        let pid = std::process::id();
        Some(Self {
            machine: hex(&digest[..8]),
            pid,
            began: began(pid)?,
        })
    }

    fn lives(&self) -> bool {
        began(self.pid) == Some(self.began)
    }
}

/// Returns when a process began, in the kernel's ticks: the 22nd field of its `stat` (proc(5)).
fn began(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the second field is the program's name in brackets, and may hold blanks
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // a zombie has ended, but for its parent's asking
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
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

async fn next(runs: &Place) -> Result<u32, StoreError> {
    let last = numbers(runs).await?.pop();
    Ok(last.map_or(0, |last| last.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use schemas::ObjectUrl;

    use super::*;
    use crate::store::Stores;

    fn runs(stores: &Stores) -> Place {
        stores.place(&ObjectUrl::new("memory:///runs/r")).expect("place")
    }

    #[tokio::test]
    async fn every_start_has_a_number_of_its_own() {
        let (stores, record) = (Stores::default(), Map::new());
        let runs = runs(&stores);
        let first = Start::take(&runs, &record).await.expect("first");
        let second = Start::take(&runs, &record).await.expect("second");
        assert_eq!(
            (first.attempt(), second.attempt(), second.worker()),
            (0, 1, "w0001")
        );
        let (third, fourth) = tokio::join!(Start::take(&runs, &record), Start::take(&runs, &record));
        let mut both = [third.expect("third").attempt(), fourth.expect("fourth").attempt()];
        both.sort_unstable();
        assert_eq!(both, [2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_processes_the_earlier_stays() {
        let (stores, record) = (Stores::default(), Map::new());
        let runs = runs(&stores);
        let first = Start::take(&runs, &record).await.expect("first");
        let second = Start::take(&runs, &record).await.expect("second");
        let beat = {
            let first = first.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(BEAT).await;
                    first.keep(State::Running, &Map::new()).await.expect("keep");
                }
            })
        };
        let error = second.alone(&runs).await.expect_err("the first lives");
        assert!(matches!(error, StartError::Busy(Busy { worker }) if worker == "w0000"));
        first.alone(&runs).await.expect("nobody is earlier");
        beat.abort();
        second.alone(&runs).await.expect("no sign of life any more");
        first.keep(State::Ended, &record).await.expect("keep");
        second.alone(&runs).await.expect("it said that it ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_process_of_this_machine_is_not_waited_for() {
        let (stores, record) = (Stores::default(), Map::new());
        let runs = runs(&stores);
        let Some(own) = Process::own() else { return };
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("a child");
        let mut first = Start::take(&runs, &record).await.expect("first");
        first.process = Some(Process {
            pid: child.id(),
            began: began(child.id()).expect("it lives"),
            ..own
        });
        first.keep(State::Running, &record).await.expect("keep");
        let second = Start::take(&runs, &record).await.expect("second");
        assert!(second.alone(&runs).await.is_err(), "the child lives");
        child.kill().and_then(|()| child.wait()).expect("killed");
        let asked = Instant::now();
        second.alone(&runs).await.expect("killed");
        assert!(asked.elapsed().is_zero(), "no sign of life was waited for");
    }
}
