//! Past one machine: the cases of a run from a queue, by workers that come, go and die.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use futures::StreamExt as _;
use models::{Chain, LoadedWeights, ModelConf, ModelError, Reconstructor};
use schemas::{Patch, Reconstruction};
use serde_json::Value;
use spinestream::queue::{self, Broker, Enqueued, Fleet, fleet};
use spinestream::{Exit, RunEnd};
use stages::tables::{RunTables, compact, verify};

use crate::support::nats::Nats;
use crate::support::{Cohort, block, last_attempts, without_circumstances};

const FAST: [&str; 3] = [
    "model.chain=[\"identity\"]",
    "pool.replicas=1",
    "write.rows_per_part=3",
];

/// Cases of the cohort that are sound; one more is not there, and one row is no case.
const SOUND: usize = 16;

/// Rows of the manifest.
const ROWS: usize = SOUND + 2;

async fn cohort() -> Cohort {
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    cohort.put("ct.nii.gz", block(22, 1.0)).await;
    for number in 1..=SOUND {
        cohort.row(&format!("C{number},mask.nii.gz,verse,ct.nii.gz,verse"));
    }
    cohort.row("gone,none.nii.gz,verse,,");
    cohort.row("c1,again.nii.gz,verse,,");
    cohort
}

/// Time after which a silent worker's case goes to another, in s: so long that nobody takes a busy machine for a dead one.
const PATIENT_S: u64 = 30;

/// Returns the settings of a run with that server as its queue.
fn settings(nats: &Nats) -> Vec<String> {
    let own = FAST.iter().map(|text| (*text).to_owned());
    own.chain(nats.settings(PATIENT_S)).collect()
}

fn texts(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

async fn enqueue(cohort: &Cohort, out: &str, nats: &Nats) -> Enqueued {
    let conf = cohort.conf(out, &texts(&settings(nats))).await;
    let enqueued = queue::enqueue(&conf, &cohort.stores, std::future::pending()).await;
    enqueued.expect("enqueued")
}

/// Works until the queue is empty.
async fn work(cohort: &Cohort, out: &str, nats: &Nats) -> Result<Exit, RunEnd> {
    let conf = cohort.conf(out, &texts(&settings(nats))).await;
    queue::work(&conf, &cohort.stores, true, std::future::pending()).await
}

fn tables(cohort: &Cohort, out: &str) -> RunTables {
    RunTables::new(cohort.place(out), "test")
}

/// Holds both tables against those of one run by one process, which is made here; no case may have two rows that count.
async fn assert_rows_of_one_run(cohort: &Cohort, out: &str) {
    cohort.run("whole", &FAST).await.expect("whole");
    // leaves the rows that count, and clears what a worker left half published
    compact(&tables(cohort, out), 100_000).await.expect("merged");
    for table in ["cases", "vertebrae"] {
        let [whole, parts] = [cohort.table("whole", table).await, cohort.table(out, table).await];
        assert_eq!(
            without_circumstances(&parts),
            without_circumstances(&whole),
            "{table}"
        );
    }
    let ids: Vec<String> = whole_ids(cohort).await;
    let verified = verify(&tables(cohort, out), ids.into_iter(), true).await;
    assert_eq!(verified.expect("verified").problems, []);
}

async fn whole_ids(cohort: &Cohort) -> Vec<String> {
    let rows = cohort.table("whole", "cases").await;
    rows.iter()
        .map(|row| row["case_id"].to_ascii_lowercase())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_enqueued_twice_is_in_the_queue_once_and_names_no_object() {
    let Some(nats) = Nats::start().await else { return };
    let cohort = cohort().await;
    let first = enqueue(&cohort, "out", &nats).await;
    assert_eq!(
        (first.cases, first.done, first.new, first.known),
        (ROWS, 0, ROWS, 0)
    );
    assert!(first.is_whole());
    let second = enqueue(&cohort, "out", &nats).await;
    assert_eq!((second.new, second.known), (0, ROWS));
    assert_eq!(nats.depth().await.pending, ROWS as u64);

    let stream = nats.stream().await;
    for sequence in 1..=ROWS as u64 {
        let message = stream.get_raw_message(sequence).await.expect("a message");
        assert_eq!(message.subject.as_str(), "SPINESTREAM.test.cases");
        let said: Value = serde_json::from_slice(&message.payload).expect("json");
        let keys: Vec<&String> = said.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["case", "manifest", "run"]);
        let text = format!("{said} {:?}", message.headers);
        assert!(!text.contains("mask") && !text.contains("memory:"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_give_the_rows_of_one_run_and_leave_an_empty_queue() {
    let Some(nats) = Nats::start().await else { return };
    let cohort = cohort().await;
    enqueue(&cohort, "out", &nats).await;
    let ends = tokio::join!(
        work(&cohort, "out", &nats),
        work(&cohort, "out", &nats),
        work(&cohort, "out", &nats)
    );
    for end in [ends.0, ends.1, ends.2] {
        end.expect("workers do not get in each other's way");
    }
    assert_eq!(nats.depth().await, queue::Depth::default());
    let rows = cohort.table("out", "cases").await;
    assert_eq!(rows.len(), ROWS, "nobody died: each case was done once");
    let told = told(&cohort, &nats).await;
    assert_eq!(
        (told.cases, told.done, told.failed),
        (Some(ROWS as u64), ROWS as u64, 2)
    );
    let done: u64 = told
        .workers
        .iter()
        .map(|worker| worker.done + worker.failed)
        .sum();
    assert_eq!((told.workers.len(), done), (3, ROWS as u64));
    assert!(
        told.workers.iter().all(|worker| worker.state == "ended"),
        "{told:?}"
    );
    assert_rows_of_one_run(&cohort, "out").await;

    let again = enqueue(&cohort, "out", &nats).await;
    assert_eq!(
        (again.done, again.new),
        (ROWS, 0),
        "what has a row is not enqueued"
    );
}

async fn told(cohort: &Cohort, nats: &Nats) -> Fleet {
    let conf = cohort.conf("out", &texts(&settings(nats))).await;
    let broker = Broker::connect(&conf.queue, "test").await.expect("connected");
    fleet(&tables(cohort, "out"), Some(&broker)).await.expect("told")
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_whose_rows_are_there_are_taken_out_of_the_queue_without_work() {
    let Some(nats) = Nats::start().await else { return };
    let cohort = cohort().await;
    enqueue(&cohort, "out", &nats).await;
    cohort
        .run("out", &FAST)
        .await
        .expect("done by one process meanwhile");
    let parts = cohort.place("out/tables").list().await.expect("list").len();
    assert_eq!(work(&cohort, "out", &nats).await.expect("worked"), Exit::Done);
    assert_eq!(nats.depth().await, queue::Depth::default());
    assert_eq!(
        cohort.place("out/tables").list().await.expect("list").len(),
        parts
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_was_handed_out_too_often_becomes_a_failed_row() {
    let Some(nats) = Nats::start().await else { return };
    let cohort = cohort().await;
    enqueue(&cohort, "out", &nats).await;
    // as if it had killed three workers, one after another
    let consumer = nats.consumer().await;
    for delivery in 1..=3 {
        let message = loop {
            let mut messages = consumer.batch().max_messages(1).messages().await.expect("asked");
            let message = messages.next().await.expect("a message").expect("sound");
            let said: Value = serde_json::from_slice(&message.payload).expect("json");
            if said["case"] == "c5" {
                break message;
            }
            // not this one: to the end of the queue
            message
                .ack_with(AckKind::Nak(Some(Duration::from_secs(2))))
                .await
                .expect("given back");
        };
        assert_eq!(message.info().expect("ours").delivered, delivery);
        message.ack_with(AckKind::Nak(None)).await.expect("given back");
    }
    // the others may have been handed out often as well, for want of another way to come to this one
    assert_eq!(
        work(&cohort, "out", &nats).await.expect("worked"),
        Exit::SomeFailed
    );
    let rows = cohort.table("out", "cases").await;
    assert_eq!(rows.len(), ROWS);
    let row = rows.iter().find(|row| row["case_id"] == "C5").expect("a row");
    assert_eq!(
        (
            row["status"].as_str(),
            row["stage"].as_str(),
            row["kind"].as_str()
        ),
        ("failed", "queue", "Exhausted")
    );
    assert_eq!(row["reason"], "gave_up");
    assert!(
        row["message"].contains("after 3 deliveries"),
        "{}",
        row["message"]
    );
    assert_eq!(nats.depth().await, queue::Depth::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_gives_back_what_it_has_not_done_and_another_goes_on() {
    let Some(nats) = Nats::start().await else { return };
    let cohort = cohort().await;
    enqueue(&cohort, "out", &nats).await;
    let parts = cohort.place("out/tables/cases");
    let first_part = async move {
        while parts.list().await.expect("list").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let slow = [settings(&nats), vec!["widths.fetch=1".to_owned()]].concat();
    let conf = cohort.conf("out", &texts(&slow)).await;
    let stopped = queue::work(&conf, &cohort.stores, false, first_part).await;
    stopped.expect("stopped");
    let done = cohort.table("out", "cases").await.len();
    let left = nats.depth().await;
    assert_eq!(
        left.pending + left.in_hand,
        (ROWS - done) as u64,
        "what has a row is acked"
    );
    work(&cohort, "out", &nats).await.expect("worked");
    assert_eq!(
        cohort.table("out", "cases").await.len(),
        ROWS,
        "none was done twice"
    );
    assert_rows_of_one_run(&cohort, "out").await;
}

/// Gives back what it gets, after a while.
struct Slow(Duration);

impl Reconstructor for Slow {
    fn reconstruct(&mut self, batch: &[Patch], _: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        std::thread::sleep(self.0);
        Ok(batch
            .iter()
            .map(|patch| Reconstruction::of_mask(patch.mask.clone()))
            .collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_case_stays_with_its_worker_beyond_the_time_in_which_a_silent_one_would_lose_it() {
    let Some(nats) = Nats::start().await else { return };
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    for id in ["a", "b", "c"] {
        cohort.row(&format!("{id},mask.nii.gz,verse,,"));
    }
    let own = FAST.iter().map(|text| (*text).to_owned());
    let settings: Vec<String> = own.chain(nats.settings(5)).collect();
    let conf = cohort.conf("out", &texts(&settings)).await;
    let enqueued = queue::enqueue(&conf, &cohort.stores, std::future::pending()).await;
    assert_eq!(enqueued.expect("enqueued").new, 3);
    let open = |device: &str| -> Result<Chain, ModelError> {
        let identity = ModelConf {
            chain: vec!["identity".to_owned()],
            ..ModelConf::default()
        };
        let identity = models::open(&identity, &LoadedWeights::new(), device)?;
        // longer than queue.ack_wait_s
        let slow = Slow(Duration::from_secs(7));
        Ok(Chain::of(vec![Box::new(slow)], identity.identity().clone()))
    };
    let slow = queue::work_with(
        &conf,
        &cohort.stores,
        Arc::new(open),
        true,
        std::future::pending(),
    );
    let idle = async {
        while nats.depth().await.in_hand < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        queue::work(&conf, &cohort.stores, true, std::future::pending()).await
    };
    let (slow, idle) = tokio::join!(slow, idle);
    assert_eq!(
        (slow.expect("worked"), idle.expect("worked")),
        (Exit::Done, Exit::Done)
    );
    let rows = cohort.table("out", "cases").await;
    assert_eq!(rows.len(), 3, "none went to the other one");
    let of_one = rows.iter().filter(|row| row["worker"] == "w0001").count();
    assert_eq!(of_one, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_leaves_while_one_process_does_the_whole_run_and_the_other_way_round() {
    let Some(nats) = Nats::start().await else { return };
    let cohort = cohort().await;
    enqueue(&cohort, "out", &nats).await;
    let records = tables(&cohort, "out").records();
    let whole = stages::starts::Start::take(&records, 1, &serde_json::Map::new()).await;
    let whole = whole.expect("a start");
    let beat = whole.beat(Box::new(serde_json::Map::new));
    let refused = work(&cohort, "out", &nats).await.expect_err("a run is at work");
    assert!(matches!(refused, RunEnd::Busy(_)), "{refused}");
    beat.end().await;
    let ended = stages::starts::State::Ended;
    whole.keep(ended, &serde_json::Map::new()).await.expect("keep");

    let worker = stages::starts::Start::take_beside(&records, 1, &serde_json::Map::new()).await;
    let beat = worker.expect("a start").beat(Box::new(serde_json::Map::new));
    let refused = cohort.run("out", &FAST).await.expect_err("a worker is at work");
    assert!(matches!(refused, RunEnd::Busy(_)), "{refused}");
    beat.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_a_later_manifest_brings_is_found_by_a_worker_with_the_earlier_one() {
    let Some(nats) = Nats::start().await else { return };
    let mut cohort = cohort().await;
    let conf = cohort.conf("out", &texts(&settings(&nats))).await;
    let parts = cohort.place("out/tables/cases");
    let later = async {
        // it has read its manifest by then
        wait_for_record(&cohort).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut longer = cohort.through(Arc::clone(&cohort.stores));
        longer.row("new,mask.nii.gz,verse,ct.nii.gz,verse");
        enqueue(&longer, "out", &nats).await
    };
    let all = async move {
        let until = Instant::now() + Duration::from_secs(120);
        while rows_below(&parts).await < ROWS + 1 {
            assert!(Instant::now() < until, "expected every case within two minutes");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let worker = queue::work(&conf, &cohort.stores, false, all);
    let (worked, enqueued) = tokio::join!(worker, later);
    worked.expect("stopped once all was there");
    assert_eq!(enqueued.new, ROWS + 1);
    let rows = cohort.table("out", "cases").await;
    assert_eq!((rows.len(), last_attempts(&rows).len()), (ROWS + 1, ROWS + 1));
    cohort.row("new,mask.nii.gz,verse,ct.nii.gz,verse");
    assert_rows_of_one_run(&cohort, "out").await;
}

async fn wait_for_record(cohort: &Cohort) {
    let folder = cohort.place("out/runs/test");
    while folder.list().await.expect("list").is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns how many rows the parts below a place have.
async fn rows_below(folder: &stages::store::Place) -> usize {
    let mut rows = 0;
    for part in folder.list().await.expect("list") {
        let place = stages::store::Place {
            store: folder.store.clone(),
            path: part.location,
        };
        rows += crate::support::rows_of(place.read(u64::MAX).await.expect("read")).len();
    }
    rows
}

#[tokio::test]
async fn without_a_server_the_verbs_say_which_key_is_meant() {
    let cohort = cohort().await;
    let conf = cohort.conf("out", &FAST).await;
    let none = queue::enqueue(&conf, &cohort.stores, std::future::pending()).await;
    let none = none.expect_err("no server is configured");
    assert!(
        none.to_string().starts_with("queue.url: expected nats://"),
        "{none}"
    );
    assert_eq!(none.exit(), Exit::Usage);
}
