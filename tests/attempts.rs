//! Starts of one run after and beside each other: failed cases on request, two processes by mistake, kills.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use schemas::FaultKind;
use spinestream::Exit;
use spinestream::run::Retry;

use crate::support::{Cohort, Row, block, last_attempts, without_circumstances};

const FAST: [&str; 1] = ["model.chain=[\"identity\"]"];

#[tokio::test(flavor = "multi_thread")]
async fn failed_cases_are_done_again_only_on_request_and_by_kind() {
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    cohort.put("broken.nii.gz", vec![1, 2, 3]).await;
    cohort.row("good,mask.nii.gz,verse,,");
    cohort.row("late,late.nii.gz,verse,,");
    cohort.row("broken,broken.nii.gz,verse,,");
    assert_eq!(cohort.run("out", &FAST).await.expect("run"), Exit::SomeFailed);

    // both are sound by now
    cohort.put("late.nii.gz", block(22, 0.0)).await;
    cohort.put("broken.nii.gz", block(22, 0.0)).await;
    let status = async || {
        let rows = last_attempts(&cohort.table("out", "cases").await);
        let status = |row: &Row| format!("{} {} {}", row["case_id"], row["status"], row["attempt"]);
        rows.iter().map(status).collect::<Vec<_>>()
    };
    let again = async |retry| cohort.run_again("out", &FAST, &retry).await.expect("again");
    assert_eq!(again(Retry::None).await, Exit::SomeFailed);
    assert_eq!(
        status().await,
        ["broken failed 0", "good done 0", "late failed 0"]
    );
    assert_eq!(
        again(Retry::Failed(vec![FaultKind::Missing])).await,
        Exit::SomeFailed
    );
    assert_eq!(status().await, ["broken failed 0", "good done 0", "late done 2"]);
    assert_eq!(again(Retry::Failed(Vec::new())).await, Exit::Done);
    assert_eq!(status().await, ["broken done 3", "good done 0", "late done 2"]);
    assert_eq!(again(Retry::Failed(Vec::new())).await, Exit::Done);
    assert_eq!(
        cohort.table("out", "cases").await.len(),
        5,
        "nothing was left to retry"
    );
}

/// A folder with a cohort of phantoms and the arguments that run it.
struct OnDisk {
    folder: tempfile::TempDir,
}

impl OnDisk {
    fn new(cases: usize) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let cohort = folder.path().join("cohort");
        let made = Command::new(env!("CARGO_BIN_EXE_spinestream"))
            .args(["phantom", "1"])
            .arg(&cohort)
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("runs").success());
        let row = |number| format!("c{number},phantom-0001_dseg.nii.gz,verse\n");
        let rows: String = (1..=cases).map(row).collect();
        std::fs::write(
            cohort.join("manifest.csv"),
            format!("case_id,mask,labels\n{rows}"),
        )
        .expect("write");
        Self { folder }
    }

    fn output(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, output: &str) -> Child {
        let manifest = self.folder.path().join("cohort/manifest.csv");
        let mut command = Command::new(env!("CARGO_BIN_EXE_spinestream"));
        command.args([
            "run",
            "--set",
            "run.id=test",
            "--set",
            "model.chain=[\"interpolate\"]",
        ]);
        command.args([
            "--set",
            "write.rows_per_part=4",
            "--set",
            "write.volumes=[\"patch\"]",
        ]);
        command.args(["--set", "crop.levels=[\"L3\"]"]);
        for (key, path) in [("run.manifest", manifest), ("run.output", self.output(output))] {
            command.arg("--set").arg(format!("{key}={}", path.display()));
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("starts")
    }

    async fn rows(&self, output: &str) -> [Vec<Row>; 2] {
        let cohort = Cohort::new();
        let below = self.output(output).join("tables");
        let mut tables = [Vec::new(), Vec::new()];
        let names = ["cases", "vertebrae"];
        for (table, name) in tables.iter_mut().zip(names) {
            *table = cohort.rows_on_disk(&below.join(name).join("run=test")).await;
        }
        tables
    }
}

fn wait_for(path: &Path) {
    let until = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(
            Instant::now() < until,
            "expected {} within a minute",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn of_two_processes_on_one_run_the_second_leaves_and_nothing_is_doubled() {
    let cohort = OnDisk::new(60);
    let first = cohort.start("out");
    wait_for(&cohort.output("out/runs/test/w0000.json"));
    let second = cohort.start("out").wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(3), "{said}");
    assert!(said.contains("found w0000"), "{said}");

    let first = first.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&first.stderr);
    assert_eq!(first.status.code(), Some(0), "{said}");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let [cases, vertebrae] = runtime.block_on(cohort.rows("out"));
    assert_eq!((cases.len(), vertebrae.len()), (60, 60));
    assert!(cases.iter().all(|row| row["worker"] == "w0000"));
}

#[test]
fn a_run_killed_again_and_again_ends_with_the_tables_of_an_undisturbed_one() {
    let cohort = OnDisk::new(60);
    let whole = cohort.start("whole").wait_with_output().expect("ends");
    assert_eq!(whole.status.code(), Some(0));
    for kill in 0..3_u32 {
        let mut run = cohort.start("killed");
        // in the middle of work: after another part of this start
        let parts = cohort.output("killed/tables/cases/run=test");
        let before = count(&parts);
        let until = Instant::now() + Duration::from_secs(60);
        while count(&parts) <= before && run.try_wait().expect("asked").is_none() {
            assert!(Instant::now() < until, "expected a part within a minute");
            std::thread::sleep(Duration::from_millis(3));
        }
        std::thread::sleep(Duration::from_millis(u64::from(7 * kill)));
        run.kill().and_then(|()| run.wait()).expect("killed");
    }
    let last = cohort.start("killed").wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&last.stderr);
    assert_eq!(last.status.code(), Some(0), "{said}");

    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let [whole_cases, whole_vertebrae] = runtime.block_on(cohort.rows("whole"));
    let [cases, vertebrae] = runtime.block_on(cohort.rows("killed"));
    assert_eq!(cases.len(), 60, "no case has two rows: each was published once");
    assert_eq!(without_circumstances(&cases), without_circumstances(&whole_cases));
    assert_eq!(
        without_circumstances(&vertebrae),
        without_circumstances(&whole_vertebrae)
    );
    let starts = cases.iter().map(|row| row["attempt"].clone());
    let starts: std::collections::BTreeSet<_> = starts.collect();
    assert!(starts.len() > 1, "the kills came in the middle: {starts:?}");
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}
