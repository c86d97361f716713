//! Starts of one run after and beside each other: failed cases on request, two processes by mistake, kills.

use std::time::{Duration, Instant};

use schemas::FaultKind;
use spinestream::Exit;
use spinestream::run::Retry;
use stages::tables::{RunTables, compact};

#[cfg(feature = "torch")]
use crate::support::disk::wait_for;
use crate::support::disk::{OnDisk, count};
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
        ["broken failed 1", "good done 1", "late failed 1"]
    );
    assert_eq!(
        again(Retry::Failed(vec![FaultKind::Missing])).await,
        Exit::SomeFailed
    );
    assert_eq!(status().await, ["broken failed 1", "good done 1", "late done 3"]);
    assert_eq!(again(Retry::Failed(Vec::new())).await, Exit::Done);
    assert_eq!(status().await, ["broken done 4", "good done 1", "late done 3"]);
    assert_eq!(again(Retry::Failed(Vec::new())).await, Exit::Done);
    let rows = cohort.table("out", "cases").await;
    assert_eq!(rows.len(), 5, "nothing was left to retry");

    let tables = RunTables::new(cohort.place("out"), "test");
    let compacted = compact(&tables, 100).await.expect("compact");
    assert_eq!(compacted.superseded, 2, "the rows of two attempts in vain");
    let rows = cohort.table("out", "cases").await;
    assert_eq!(rows.len(), 3, "one row a case is left");
    assert!(rows.iter().all(|row| row["status"] == "done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_tried_again_in_vain_keeps_what_it_had() {
    let mut cohort = Cohort::new();
    // a label that falls between the voxels of the cube fails alone; the other vertebra is done
    let mut data = ndarray::Array3::<u16>::zeros((60, 60, 60));
    data.slice_mut(ndarray::s![10..30, 10..30, 10..30]).fill(22);
    data[[45, 45, 45]] = 23;
    let affine = schemas::Affine::axis_aligned([0.3; 3], [0.0; 3]);
    let mask = stages::decode::nifti::write_mask(data.view(), &affine).expect("nifti");
    cohort.put("mask.nii.gz", mask).await;
    cohort.row("half,mask.nii.gz,verse,,");
    assert_eq!(cohort.run("out", &FAST).await.expect("run"), Exit::SomeFailed);
    let before = cohort.table("out", "vertebrae").await;
    let failed = before.iter().filter(|row| row["status"] == "failed").count();
    assert_eq!((before.len(), failed), (2, 1));

    cohort.place("cohort/mask.nii.gz").delete().await.expect("delete");
    let exit = cohort.run_again("out", &FAST, &Retry::Failed(Vec::new())).await;
    assert_eq!(exit.expect("again"), Exit::SomeFailed);
    let rows = cohort.table("out", "cases").await;
    assert_eq!((rows.len(), rows[0]["status"].as_str()), (1, "done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_earlier_records_have_gone_is_still_the_later_one() {
    let mut cohort = Cohort::new();
    cohort.row("late,late.nii.gz,verse,,");
    assert_eq!(cohort.run("out", &FAST).await.expect("run"), Exit::SomeFailed);
    cohort
        .place("out/runs/test/w0001.json")
        .delete()
        .await
        .expect("delete");
    cohort.put("late.nii.gz", block(22, 0.0)).await;
    let exit = cohort.run_again("out", &FAST, &Retry::Failed(Vec::new())).await;
    assert_eq!(exit.expect("again"), Exit::Done);
    let rows = last_attempts(&cohort.table("out", "cases").await);
    assert_eq!(
        (rows[0]["status"].as_str(), rows[0]["attempt"].as_str()),
        ("done", "2")
    );
}

#[cfg(feature = "torch")]
#[test]
fn of_two_processes_on_one_run_the_second_leaves_and_nothing_is_doubled() {
    let cohort = OnDisk::new(10);
    // a network that takes seconds a vertebra: the first is at work for longer than the second takes to look twice
    let settings = ["model.chain=[\"lsd_ebm\"]", "model.samples=5"];
    let first = cohort.start_with("out", &settings);
    wait_for(&cohort.output("out/runs/test/w0001.json"));
    let second = cohort
        .start_with("out", &settings)
        .wait_with_output()
        .expect("ends");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(3), "{said}");
    assert!(said.contains("found w0001"), "{said}");

    let first = first.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&first.stderr);
    assert_eq!(first.status.code(), Some(0), "{said}");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let [cases, vertebrae] = runtime.block_on(cohort.rows("out"));
    assert_eq!((cases.len(), vertebrae.len()), (10, 10));
    assert!(cases.iter().all(|row| row["worker"] == "w0001"));
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
