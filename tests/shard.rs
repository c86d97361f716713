//! One run done by several processes, a shard each: the rows of one process, as sets.

use std::process::Output;
use std::time::{Duration, Instant};

use schemas::FaultKind;
use serde_json::{Map, Value};
use spinestream::run::Retry;
use spinestream::shard::Sharding;
use spinestream::verbs::compact;
use spinestream::{Exit, RunEnd};
use stages::shard::Shard;
use stages::starts::{Start, State};
use stages::tables::{Problem, RunTables, Verified, verify};

use crate::support::disk::{OnDisk, count, wait_for};
use crate::support::{Cohort, Row, block, last_attempts, without_circumstances};

const FAST: [&str; 3] = [
    "model.chain=[\"identity\"]",
    "pool.replicas=1",
    "write.rows_per_part=3",
];

/// Cases of the cohort that are sound; two more are not there.
const SOUND: usize = 16;

/// Cases without an object.
const GONE: [&str; 2] = ["gone1", "gone2"];

async fn cohort() -> Cohort {
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    cohort.put("ct.nii.gz", block(22, 1.0)).await;
    for number in 1..=SOUND {
        cohort.row(&format!("c{number},mask.nii.gz,verse,ct.nii.gz,verse"));
    }
    for id in GONE {
        cohort.row(&format!("{id},none.nii.gz,verse,,"));
    }
    cohort
}

/// Runs one shard of the cohort.
async fn run(cohort: &Cohort, out: &str, shard: &str) -> Result<Exit, RunEnd> {
    let shard = format!("run.shard={shard}");
    cohort
        .run(out, &[FAST.as_slice(), &[shard.as_str()]].concat())
        .await
}

fn shard(text: &str) -> Shard {
    text.parse().expect("a shard")
}

fn tables(cohort: &Cohort, out: &str) -> RunTables {
    RunTables::new(cohort.place(out), "test")
}

async fn verified(cohort: &Cohort, out: &str) -> Verified {
    let ids = (1..=SOUND).map(|number| format!("c{number}"));
    let ids = ids.chain(GONE.map(str::to_owned));
    verify(&tables(cohort, out), ids, true).await.expect("verified")
}

/// Returns the records of the run's starts, in order.
async fn records(cohort: &Cohort, out: &str) -> Vec<Value> {
    let folder = cohort.place(&format!("{out}/runs/test"));
    let mut names: Vec<_> = folder.list().await.expect("list");
    names.sort_by(|a, b| a.location.cmp(&b.location));
    let mut records = Vec::new();
    for name in names {
        let place = stages::store::Place {
            store: folder.store.clone(),
            path: name.location,
        };
        let text = place.read(1 << 20).await.expect("read");
        records.push(serde_json::from_slice(&text).expect("json"));
    }
    records
}

/// Holds both tables against those of a run by one process; no case may have two rows.
async fn assert_same_rows(cohort: &Cohort, whole: &str, parts: &str) {
    for table in ["cases", "vertebrae"] {
        let [whole, parts] = [cohort.table(whole, table).await, cohort.table(parts, table).await];
        assert_eq!(
            without_circumstances(&parts),
            without_circumstances(&whole),
            "{table}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_shards_one_after_another_give_the_rows_of_one_run() {
    let cohort = cohort().await;
    run(&cohort, "whole", "none").await.expect("whole");
    for index in 0..3 {
        let sharded = format!("{index}/3");
        run(&cohort, "parts", &sharded).await.expect("shard");
        let again = run(&cohort, "parts", &sharded).await;
        again.expect("a shard that is through has nothing to do, and is no error");
    }
    assert_same_rows(&cohort, "whole", "parts").await;
    assert_eq!(verified(&cohort, "parts").await.problems, []);

    let records = records(&cohort, "parts").await;
    let told = |record: &Value, key: &str| record["counts"][key].as_u64().expect("a count");
    let mut cases = 0;
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record["shard"], format!("{}/3", number / 2));
        assert_eq!(record["state"], "ended", "through all cases of its shard");
        assert_eq!(told(record, "manifest"), (SOUND + GONE.len()) as u64);
        if number % 2 == 0 {
            assert!(told(record, "cases") > 0, "none of these shards is empty");
            assert_eq!(
                told(record, "done") + told(record, "failed"),
                told(record, "cases")
            );
            cases += told(record, "cases");
        } else {
            assert_eq!(told(record, "already_done"), told(record, "cases"));
        }
    }
    assert_eq!(cases, (SOUND + GONE.len()) as u64, "each case is of one shard");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_shards_at_once_give_the_rows_of_one_run_in_memory_and_on_the_disk() {
    let cohort = cohort().await;
    run(&cohort, "whole", "none").await.expect("whole");
    let ends = tokio::join!(
        run(&cohort, "parts", "0/3"),
        run(&cohort, "parts", "1/3"),
        run(&cohort, "parts", "2/3")
    );
    for end in [ends.0, ends.1, ends.2] {
        end.expect("shards do not get in each other's way");
    }
    assert_same_rows(&cohort, "whole", "parts").await;
    assert_eq!(verified(&cohort, "parts").await.problems, []);

    let folder = tempfile::tempdir().expect("folder");
    let output = format!("run.output={}", folder.path().display());
    let on_disk = async |sharded: &str| {
        let sharded = format!("run.shard={sharded}");
        let settings = [FAST.as_slice(), &[output.as_str(), sharded.as_str()]].concat();
        cohort.run("unused", &settings).await.expect("shard")
    };
    tokio::join!(on_disk("0/3"), on_disk("1/3"), on_disk("2/3"));
    for table in ["cases", "vertebrae"] {
        let below = folder.path().join("tables").join(table).join("run=test");
        let [parts, whole] = [
            cohort.rows_on_disk(&below).await,
            cohort.table("whole", table).await,
        ];
        assert_eq!(
            without_circumstances(&parts),
            without_circumstances(&whole),
            "{table}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_division_left_another_one_does() {
    let cohort = cohort().await;
    run(&cohort, "whole", "none").await.expect("whole");
    for sharded in ["1/3", "0/2", "1/2", "none"] {
        run(&cohort, "parts", sharded).await.expect(sharded);
    }
    assert_same_rows(&cohort, "whole", "parts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_cases_are_done_again_by_the_shard_that_holds_them() {
    let cohort = cohort().await;
    for sharded in ["0/2", "1/2"] {
        run(&cohort, "out", sharded).await.expect(sharded);
    }
    cohort.put("none.nii.gz", block(22, 0.0)).await;
    let holder = shard("0/2");
    let is_held = |row: &&Row| holder.holds("test", &row["case_id"]);
    let settings = [FAST.as_slice(), &["run.shard=0/2"]].concat();
    let retry = Retry::Failed(vec![FaultKind::Missing]);
    cohort.run_again("out", &settings, &retry).await.expect("again");
    let rows = last_attempts(&cohort.table("out", "cases").await);
    assert!(rows.iter().filter(is_held).all(|row| row["status"] == "done"));
    let failed = rows.iter().filter(|row| row["status"] == "failed");
    let of_other = GONE.iter().filter(|id| !holder.holds("test", id));
    assert_eq!(
        failed.count(),
        of_other.count(),
        "the other shard's cases stay as they are"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_that_share_cases_with_a_living_one_are_refused_and_so_is_compaction() {
    let cohort = cohort().await;
    let (folder, record) = (tables(&cohort, "out").records(), Map::new());
    let living = Start::take_shard(&folder, 1, shard("0/3"), &record).await;
    let living = living.expect("a start");
    let beat = living.beat(Box::new(Map::new));
    run(&cohort, "out", "1/3").await.expect("other cases");

    let refused = async |sharded: &str| {
        let end = run(&cohort, "out", sharded).await.expect_err(sharded);
        let RunEnd::Busy(busy) = &end else {
            panic!("{sharded}: {end}");
        };
        assert_eq!((busy.its, end.exit()), (shard("0/3"), Exit::Broken));
        let said = end.to_string();
        assert!(said.contains("found w0001 at work on shard 0/3"), "{said}");
    };
    let compacted = async {
        let conf = cohort.conf("out", &FAST).await;
        let arguments = compact::Arguments { run: None, rows: 100 };
        let end = compact::compact(&arguments, &conf, &cohort.stores).await;
        let end = end.expect_err("a shard is at work");
        assert!(
            matches!(end.downcast_ref::<RunEnd>(), Some(RunEnd::Busy(_))),
            "{end}"
        );
    };
    // of these, too, the later sees the earlier, and all see the one that lives first
    tokio::join!(refused("0/3"), refused("1/4"), refused("none"), compacted);
    beat.end().await;
    living.keep(State::Ended, &record).await.expect("keep");
    run(&cohort, "out", "0/3").await.expect("it has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_shard_left_half_published_is_its_own_to_clear() {
    let cohort = cohort().await;
    run(&cohort, "out", "0/2").await.expect("shard");
    let cases = cohort.place("out/tables/cases/run=test");
    let vertebrae = cohort.place("out/tables/vertebrae/run=test");
    // as if it had been killed between the two tables, each time
    for part in cases.list().await.expect("list") {
        let part = stages::store::Place {
            store: cases.store.clone(),
            path: part.location,
        };
        part.delete().await.expect("delete");
    }
    let orphans = vertebrae.list().await.expect("list").len();
    assert!(orphans > 1);

    // another shard at work meanwhile cannot know, and neither can who verifies
    let (folder, record) = (tables(&cohort, "out").records(), Map::new());
    let living = Start::take_shard(&folder, 1, shard("0/2"), &record).await;
    let living = living.expect("a start");
    run(&cohort, "out", "1/2").await.expect("other cases");
    let found = verified(&cohort, "out").await;
    let unsettled = found.problems.iter().filter(|problem| {
        let says = problem.to_string().contains("being published?");
        assert_eq!(matches!(problem, Problem::Unsettled(_)), says);
        says
    });
    assert_eq!(unsettled.count(), orphans);
    living.keep(State::Stopped, &record).await.expect("keep");
    let found = verified(&cohort, "out").await;
    let left = found
        .problems
        .iter()
        .filter(|problem| matches!(problem, Problem::Orphan(_)));
    assert_eq!(
        left.count(),
        orphans,
        "nobody is at work, and still they are there"
    );
    assert_eq!(
        found.vertebrae,
        found.cases - failed(&cohort).await,
        "no reader counts them"
    );

    run(&cohort, "out", "0/2").await.expect("again");
    assert_eq!(verified(&cohort, "out").await.problems, []);
    run(&cohort, "whole", "none").await.expect("whole");
    assert_same_rows(&cohort, "whole", "out").await;
}

async fn failed(cohort: &Cohort) -> usize {
    let rows = cohort.table("out", "cases").await;
    rows.iter().filter(|row| row["status"] == "failed").count()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const INTERPOLATE: &str = "model.chain=[\"interpolate\"]";

#[test]
fn a_killed_shard_started_again_beside_the_other_ends_with_the_tables_of_one_run() {
    let cohort = OnDisk::new(40);
    let whole = cohort.start("whole").wait_with_output().expect("ends");
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
    let start = |sharded: &str| cohort.start_with("parts", &[INTERPOLATE, sharded]);
    let mut first = start("run.shard=0/2");
    wait_for(&cohort.output("parts/runs/test/w0001.json"));
    let second = start("run.shard=1/2");
    let parts = cohort.output("parts/tables/cases/run=test");
    let until = Instant::now() + Duration::from_secs(60);
    while count(&parts) == 0 && first.try_wait().expect("asked").is_none() {
        assert!(Instant::now() < until, "expected a part within a minute");
        std::thread::sleep(Duration::from_millis(3));
    }
    first.kill().and_then(|()| first.wait()).expect("killed");
    for run in [start("run.shard=0/2"), second] {
        let ended = run.wait_with_output().expect("ends");
        assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    }

    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let [parts, whole] = ["parts", "whole"].map(|output| runtime.block_on(cohort.rows(output)));
    for (parts, whole) in parts.iter().zip(&whole) {
        assert_eq!(without_circumstances(parts), without_circumstances(whole));
    }
    let verified = cohort.command("verify", "parts", &[]).output().expect("runs");
    let said = text(&verified.stdout);
    assert_eq!(verified.status.code(), Some(0), "{said}");
    assert!(said.contains("40 cases in the manifest, 40 with a row"), "{said}");
}

/// What a verb says in the environment of a scheduler.
fn told(cohort: &OnDisk, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let (verb, others) = arguments.split_first().expect("a verb");
    let mut command = cohort.command(verb, "out", &["model.chain=[\"identity\"]"]);
    command.args(others).envs(variables.iter().copied());
    command.output().expect("runs")
}

#[test]
fn a_scheduler_s_variables_make_the_shard_and_an_option_goes_before_them() {
    let cohort = OnDisk::new(6);
    let task = |id: &'static str| {
        [
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_MAX", "3"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
            ("SLURM_ARRAY_TASK_COUNT", "2"),
        ]
    };
    let planned = |arguments: &[&str], variables: &[(&str, &str)]| {
        let planned = told(&cohort, arguments, variables);
        assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));
        let plan: Value = serde_json::from_slice(&planned.stdout).expect("json");
        (
            plan["shard"].to_string(),
            plan["cases"].as_u64().expect("a count"),
        )
    };
    let [first, second] = [
        planned(&["plan", "--json"], &task("1")),
        planned(&["plan", "--json"], &task("3")),
    ];
    assert_eq!((first.0.as_str(), second.0.as_str()), ("\"0/2\"", "\"1/2\""));
    assert_eq!(first.1 + second.1, 6, "each case is of one of them");
    let kubernetes = [("JOB_COMPLETION_INDEX", "1"), ("JOB_COMPLETIONS", "2")];
    assert_eq!(planned(&["plan", "--json"], &kubernetes), second);
    let batch = [
        ("AWS_BATCH_JOB_ARRAY_INDEX", "0"),
        ("AWS_BATCH_JOB_ARRAY_SIZE", "2"),
    ];
    assert_eq!(planned(&["plan", "--json"], &batch), first);
    assert_eq!(planned(&["plan", "--json", "--shard", "1/2"], &task("1")), second);
    let by_key = ["plan", "--json", "--set", "run.shard=none"];
    assert_eq!(planned(&by_key, &task("1")), ("\"0/1\"".to_owned(), 6));

    for (id, sharded) in [("1", "0/2"), ("3", "1/2")] {
        let ran = told(&cohort, &["run"], &task(id));
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(0), "{said}");
        let line = format!("shard {sharded} of the cases, by SLURM_ARRAY_TASK_ID");
        assert!(
            said.lines().next().is_some_and(|first| first.contains(&line)),
            "{said}"
        );
        assert!(text(&ran.stdout).contains(" of this shard, of 6 in the manifest"));
    }
    let verified = told(&cohort, &["verify"], &[]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
}

#[test]
fn variables_that_tell_half_a_shard_or_two_end_with_two() {
    let cohort = OnDisk::new(1);
    let refused = |variables: &[(&str, &str)], words: &[&str]| {
        let ended = told(&cohort, &["run"], variables);
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    let index = ("JOB_COMPLETION_INDEX", "0");
    refused(
        &[index],
        &["expected JOB_COMPLETIONS beside JOB_COMPLETION_INDEX"],
    );
    let batch = ("AWS_BATCH_JOB_ARRAY_INDEX", "0");
    refused(
        &[index, ("JOB_COMPLETIONS", "2"), batch],
        &["JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX"],
    );
    let none = told(&cohort, &["run", "--shard", "none"], &[index, batch]);
    assert_eq!(none.status.code(), Some(0), "{}", text(&none.stderr));
    for shard in ["2/2", "1", "-1/2"] {
        let ended = told(&cohort, &["run", &format!("--shard={shard}")], &[]);
        assert_eq!(ended.status.code(), Some(2));
        assert!(
            text(&ended.stderr).contains("counted from 0"),
            "{}",
            text(&ended.stderr)
        );
    }
}

#[tokio::test]
async fn shards_are_parts_of_one_run_and_its_id_does_not_follow_from_them() {
    let conf = cohort().await.conf("out", &["run.id=auto"]).await;
    let mut sharded = conf.clone();
    sharded.run.shard = Sharding::Fixed(shard("1/2"));
    assert_eq!(sharded.run_id().expect("id"), conf.run_id().expect("id"));
}
