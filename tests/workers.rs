//! Workers as processes: killed in mid-case, and their queue's server with them.

use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::disk::{OnDisk, count, wait_for};
use crate::support::nats::Nats;
use crate::support::without_circumstances;

/// Time after which a silent worker's case goes to another, in s: short, for those that are killed.
const HASTY_S: u64 = 5;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const INTERPOLATE: &str = "model.chain=[\"interpolate\"]";

/// Processes of the binary on one queue.
struct Workers<'a> {
    cohort: &'a OnDisk,
    settings: Vec<String>,
}

impl<'a> Workers<'a> {
    fn new(cohort: &'a OnDisk, nats: &Nats) -> Self {
        // a machine that is too busy for signs of life is no reason to give a case up
        let own = [INTERPOLATE, "queue.max_deliver=20"].map(str::to_owned);
        let settings = [nats.settings(HASTY_S), own.to_vec()].concat();
        Self { cohort, settings }
    }

    fn settings(&self) -> Vec<&str> {
        self.settings.iter().map(String::as_str).collect()
    }

    fn told(&self, verb: &str, arguments: &[&str]) -> Output {
        let mut command = self.cohort.command(verb, "out", &self.settings());
        let output = command.args(arguments).output().expect("runs");
        assert_eq!(output.status.code(), Some(0), "{verb}: {}", text(&output.stderr));
        output
    }

    fn start(&self) -> Child {
        let mut command = self.cohort.command("work", "out", &self.settings());
        command
            .arg("--until-empty")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().expect("starts")
    }

    /// Waits until so many parts are published.
    fn wait_for_parts(&self, parts: usize) {
        let folder = self.cohort.output("out/tables/cases/run=test");
        let until = Instant::now() + Duration::from_secs(60);
        while count(&folder) < parts {
            assert!(Instant::now() < until, "expected {parts} parts within a minute");
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Waits for workers, and holds what all have left against one run; returns how many rows there were in all.
    async fn end(&self, workers: Vec<Child>, cases: usize) -> usize {
        for worker in workers {
            let ended = worker.wait_with_output().expect("ends");
            assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
        }
        let [rows, _] = self.cohort.rows("out").await;
        // clears what a killed one has left half published, and leaves out rows of lower attempts
        self.told("compact", &[]);
        let whole = self.cohort.start("whole").wait_with_output().expect("ends");
        assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
        let (parts, whole) = (self.cohort.rows("out").await, self.cohort.rows("whole").await);
        for (parts, whole) in parts.iter().zip(&whole) {
            assert_eq!(without_circumstances(parts), without_circumstances(whole));
        }
        let verified = text(&self.told("verify", &[]).stdout);
        let line = format!("{cases} cases in the manifest, {cases} with a row");
        assert!(verified.contains(&line), "{verified}");
        let status = text(&self.told("status", &["--json"]).stdout);
        let status: Value = serde_json::from_str(&status).expect("json");
        assert_eq!(status["done"], cases);
        assert_eq!(status["queue"]["pending"].as_u64(), Some(0), "{status}");
        assert_eq!(status["queue"]["in_hand"].as_u64(), Some(0), "{status}");
        rows.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_workers_two_are_killed_in_mid_case_and_nothing_is_lost_or_doubled() {
    let Some(nats) = Nats::start().await else { return };
    let cases = 60;
    let cohort = OnDisk::new(cases);
    let workers = Workers::new(&cohort, &nats);
    let said = text(&workers.told("enqueue", &[]).stdout);
    assert!(said.contains("60 new in the queue"), "{said}");
    let mut started: Vec<Child> = (0..3).map(|_| workers.start()).collect();
    workers.wait_for_parts(2);
    for mut killed in started.drain(..2) {
        killed.kill().and_then(|()| killed.wait()).expect("killed");
    }
    // one more comes late
    started.push(workers.start());
    let rows = workers.end(started, cases).await;
    eprintln!("{} of {cases} cases ran twice", rows - cases);
    assert!(rows < 2 * cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_and_comes_again_and_nothing_is_lost_or_doubled() {
    let Some(mut nats) = Nats::start().await else {
        return;
    };
    let cases = 60;
    let cohort = OnDisk::new(cases);
    let workers = Workers::new(&cohort, &nats);
    workers.told("enqueue", &[]);
    let started: Vec<Child> = (0..2).map(|_| workers.start()).collect();
    workers.wait_for_parts(2);
    nats.kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    nats.start_again().await;
    let rows = workers.end(started, cases).await;
    eprintln!("{} of {cases} cases ran twice", rows - cases);
    assert!(rows < 2 * cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_s_record_does_not_say_that_it_lives_once_another_has_begun() {
    let Some(nats) = Nats::start().await else { return };
    let cohort = OnDisk::new(12);
    let workers = Workers::new(&cohort, &nats);
    workers.told("enqueue", &[]);
    let mut killed = workers.start();
    wait_for(&cohort.output("out/runs/test/w0001.json"));
    killed.kill().and_then(|()| killed.wait()).expect("killed");
    let second = workers.start();
    workers.end(vec![second], 12).await;
    let record = std::fs::read(cohort.output("out/runs/test/w0001.json")).expect("read");
    let record: Value = serde_json::from_slice(&record).expect("json");
    assert_eq!(record["state"], "lost");
}
