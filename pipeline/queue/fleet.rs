//! `spinestream status`: what waits in the queue, what is done, and who is at work.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::Value;
use stages::store::{Place, StoreError};
use stages::tables::{RunTables, TablesError};

use super::{Broker, Depth};
use crate::RunEnd;

/// Most bytes of a record.
const RECORD_MOST: u64 = 16 << 20;

/// Time without a sign of life after which a process that says that it is at work is shown as silent; one gives a sign
/// every five seconds, and a slow store keeps it back.
const SILENT_AFTER: Duration = Duration::from_secs(30);

/// Records that are read at once.
const AT_ONCE: usize = 16;

/// What a process of the run tells of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// `running`, `silent`, or how it ended.
    pub state: String,
    /// Cases that it has done.
    pub done: u64,
    /// Cases that became failed rows of its own.
    pub failed: u64,
    /// Cases a second, since it began.
    pub per_second: f64,
    /// Time since its last sign of life, in s, by the clocks of the store and of this machine.
    pub quiet_s: u64,
}

/// All that is known of a run's workers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fleet {
    /// Id of the run.
    pub run: String,
    /// What the queue's server says; nothing if there is none, or nothing was enqueued.
    pub queue: Option<Depth>,
    /// Cases of the manifest, as the last process found it.
    pub cases: Option<u64>,
    /// Cases that have a row.
    pub done: u64,
    /// How many of these failed, or have a vertebra that did.
    pub failed: u64,
    /// Cases a second, of all that are at work.
    pub per_second: f64,
    /// Time that is left at this rate, in s.
    pub left_s: Option<u64>,
    /// Every process that has worked on the run, in order.
    pub workers: Vec<Worker>,
}

/// Looks at the queue and at the store; without a broker at the store alone.
///
/// # Errors
/// The store's, or the server's.
pub async fn fleet(tables: &RunTables, broker: Option<&Broker>) -> Result<Fleet, RunEnd> {
    let queue = match broker {
        Some(broker) => broker.depth().await?,
        None => None,
    };
    let published = tables.published().await?;
    let records = records(&tables.records()).await.map_err(TablesError::from)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let workers: Vec<Worker> = records
        .iter()
        .filter(|(_, record, _)| record.get("verb").is_none())
        .map(|(name, record, put_s)| worker(name, record, now.as_secs().saturating_sub(*put_s)))
        .collect();
    let counts = records
        .iter()
        .rev()
        .find_map(|(_, record, _)| record.pointer("/counts/manifest"));
    let cases = counts.and_then(Value::as_u64);
    let done = published.cases() as u64;
    let running = workers.iter().filter(|worker| worker.state == "running");
    // the sum of nothing is a negative zero
    let per_second = running.map(|worker| worker.per_second).sum::<f64>() + 0.0;
    let to_do = match (queue, cases) {
        (Some(depth), _) => Some(depth.pending + depth.in_hand),
        (None, Some(cases)) => Some(cases.saturating_sub(done)),
        (None, None) => None,
    };
    Ok(Fleet {
        run: tables.run().to_owned(),
        queue,
        cases,
        done,
        failed: published.failed() as u64,
        per_second,
        left_s: to_do.and_then(|cases| left(cases, per_second)),
        workers,
    })
}

/// Returns the time that so many cases take, in s.
fn left(cases: u64, per_second: f64) -> Option<u64> {
    let left = Duration::try_from_secs_f64(cases as f64 / per_second).ok()?;
    Some(left.as_secs())
}

fn worker(name: &str, record: &Value, quiet_s: u64) -> Worker {
    let count = |path: &str| record.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let (done, failed) = (count("/counts/done"), count("/counts/failed"));
    let seconds = record.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
    let state = record.get("state").and_then(Value::as_str).unwrap_or("unknown");
    let is_silent = state == "running" && quiet_s > SILENT_AFTER.as_secs();
    Worker {
        name: name.to_owned(),
        state: if is_silent { "silent" } else { state }.to_owned(),
        done,
        failed,
        per_second: if seconds > 0.0 {
            (done + failed) as f64 / seconds
        } else {
            0.0
        },
        quiet_s,
    }
}

/// Returns the records of the run's processes by name, each with when it was put, in s since 1970.
async fn records(folder: &Place) -> Result<Vec<(String, Value, u64)>, StoreError> {
    let mut found = Vec::new();
    for object in folder.list().await? {
        let name = object
            .location
            .filename()
            .and_then(|name| name.strip_suffix(".json"));
        // markers of merges lie there, too
        let Some(name) = name.filter(|name| name.starts_with('w')) else {
            continue;
        };
        let put_s = u64::try_from(object.last_modified.timestamp()).unwrap_or(0);
        found.push((name.to_owned(), put_s));
    }
    // in the order of their numbers, which may have more than four digits
    found.sort_by_key(|(name, _)| (name.len(), name.clone()));
    let read = |(name, put_s): (String, u64)| async move {
        let place = folder.join(&format!("{name}.json"));
        let bytes = match place.read(RECORD_MOST).await {
            Ok(bytes) => bytes,
            Err(StoreError::Store(object_store::Error::NotFound { .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        let record = serde_json::from_slice::<Value>(&bytes).ok();
        Ok(record.map(|record| (name, record, put_s)))
    };
    let records: Vec<Option<(String, Value, u64)>> = futures::stream::iter(found)
        .map(read)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(records.into_iter().flatten().collect())
}

impl Fleet {
    /// Returns what people read.
    pub fn text(&self) -> String {
        let mut text = format!("run {}: ", self.run);
        match self.cases {
            Some(cases) => text += &format!("{} of {cases} cases done", self.done),
            None => text += &format!("{} cases done", self.done),
        }
        text += &format!(
            ", {} of these failed; {:.2} cases/s",
            self.failed, self.per_second
        );
        if let Some(left) = self.left_s {
            let left = indicatif::FormattedDuration(Duration::from_secs(left));
            text += &format!(", {left} left");
        }
        text += "\n";
        match &self.queue {
            Some(depth) => {
                text += &format!(
                    "queue: {} pending, {} in hand, {} of these handed out more than once\n",
                    depth.pending, depth.in_hand, depth.redelivered
                );
            }
            None => text += "queue: nothing of this run was enqueued\n",
        }
        for worker in &self.workers {
            text += &format!(
                "{:<8} {:<8} {:>9} done {:>7} failed {:>8.2}/s",
                worker.name, worker.state, worker.done, worker.failed, worker.per_second
            );
            if worker.state == "silent" {
                text += &format!("  no sign of life for {} s", worker.quiet_s);
            }
            text += "\n";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fleet() -> Fleet {
        let record = json!({"state": "running", "counts": {"done": 30, "failed": 10}, "seconds": 20.0});
        Fleet {
            run: "r1".to_owned(),
            queue: Some(Depth {
                pending: 100,
                in_hand: 20,
                redelivered: 1,
            }),
            cases: Some(160),
            done: 40,
            failed: 10,
            per_second: 2.0,
            left_s: left(120, 2.0),
            workers: vec![worker("w0001", &record, 3), worker("w0002", &record, 31)],
        }
    }

    #[test]
    fn a_worker_without_a_sign_of_life_is_silent_and_one_that_ended_is_not() {
        let states: Vec<String> = fleet().workers.into_iter().map(|worker| worker.state).collect();
        assert_eq!(states, ["running", "silent"]);
        let ended = worker("w0003", &json!({"state": "ended"}), 4000);
        assert_eq!((ended.state.as_str(), ended.per_second), ("ended", 0.0));
    }

    #[test]
    fn the_time_left_is_that_of_what_waits_and_what_is_in_hand() {
        assert_eq!(left(120, 2.0), Some(60));
        assert_eq!(left(120, 0.0), None, "nobody is at work");
        let text = fleet().text();
        for part in [
            "run r1: 40 of 160 cases done, 10 of these failed; 2.00 cases/s, 00:01:00 left",
            "queue: 100 pending, 20 in hand, 1 of these handed out more than once",
            "no sign of life for 31 s",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
