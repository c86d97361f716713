//! The ready views: `spinestream views` loaded into DuckDB, DataFusion and Polars over real outputs.
//!
//! `tests/views/check.py` holds each view in each of them against the same view in plain Python.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use schemas::FaultKind;
use serde_json::{Value, json};
use spinestream::Exit;
use spinestream::run::Retry;

use crate::support::{Cohort, block, last_attempts};

/// The interpreter; `None` says that the tests are skipped.
fn python() -> Option<OsString> {
    let python = std::env::var_os("SPINESTREAM_PYTHON");
    if python.is_none() {
        eprintln!("skipped: SPINESTREAM_PYTHON is not set");
    }
    python
}

fn spinestream(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_spinestream"))
        .args(arguments)
        .output()
        .expect("runs")
}

/// Puts the golden of the first schema below an output, as its run `golden`.
fn lay_down_golden(out: &Path) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema-1");
    for table in ["cases", "vertebrae"] {
        let folder = out.join(format!("tables/{table}/run=golden"));
        std::fs::create_dir_all(&folder).expect("folder");
        let part = golden.join(format!("{table}.parquet"));
        std::fs::copy(part, folder.join("part-golden.parquet")).expect("copy");
    }
}

/// Prints the views of an output for every program, lets check.py look at them, and returns what it tells.
fn checked(python: &OsStr, folder: &Path, out: &Path) -> Value {
    let scripts = folder.join("scripts");
    std::fs::create_dir_all(&scripts).expect("folder");
    let setting = format!("run.output={}", out.display());
    for program in ["duckdb", "datafusion", "polars"] {
        let printed = spinestream(&["views", "--for", program, "--set", &setting]);
        assert!(
            printed.status.success(),
            "{}",
            String::from_utf8_lossy(&printed.stderr)
        );
        std::fs::write(scripts.join(program), printed.stdout).expect("write");
    }
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/views/check.py");
    let read = Command::new(python)
        .arg(check)
        .arg(&scripts)
        .arg(out)
        .output()
        .expect("python runs");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    serde_json::from_slice(&read.stdout).expect("json")
}

/// A cohort with a case of each fate: done, mended after the first start, done but for a vertebra, never there, and a row
/// without a usable id, whose person nobody knows.
async fn cohort() -> Cohort {
    let mut cohort = Cohort::of_phantoms(1).await;
    // the golden has a case of this id too
    cohort.row("phantom-0001,p1.nii.gz,verse,p1_ct.nii.gz,verse");
    cohort.row("Late,late.nii.gz,verse,,");
    // a label that falls between the voxels of the cube fails alone
    let mut data = ndarray::Array3::<u16>::zeros((60, 60, 60));
    data.slice_mut(ndarray::s![10..30, 10..30, 10..30]).fill(22);
    data[[45, 45, 45]] = 23;
    let affine = schemas::Affine::axis_aligned([0.3; 3], [0.0; 3]);
    let mask = stages::decode::nifti::write_mask(data.view(), &affine).expect("nifti");
    cohort.put("half.nii.gz", mask).await;
    cohort.row("half,half.nii.gz,verse,,");
    cohort.row("gone,none.nii.gz,verse,,");
    cohort.row("no/id,half.nii.gz,verse,,");
    cohort
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_the_same_in_duckdb_datafusion_polars_and_plain_python() {
    let Some(python) = python() else { return };
    let cohort = cohort().await;
    let folder = tempfile::tempdir().expect("folder");
    // what means something in SQL, in a pattern or in a URL is a name like any other
    let out: PathBuf = folder.path().join("it's [an] output #1");
    let output = format!("run.output={}", out.display());
    let identity = [output.as_str(), "model.chain=[\"identity\"]"];
    assert_eq!(
        cohort.run("unused", &identity).await.expect("run"),
        Exit::SomeFailed
    );
    cohort.put("late.nii.gz", block(22, 0.0)).await;
    let missing = Retry::Failed(vec![FaultKind::Missing]);
    cohort
        .run_again("unused", &identity, &missing)
        .await
        .expect("again");
    // an id that looks like a date stays a text
    let other = [
        output.as_str(),
        "model.chain=[\"interpolate\"]",
        "run.id=\"2026-11-26\"",
    ];
    assert_eq!(cohort.run("unused", &other).await.expect("run"), Exit::SomeFailed);
    lay_down_golden(&out);

    let found = checked(&python, folder.path(), &out);
    assert_eq!(found["runs"], json!(["2026-11-26", "golden", "test"]));
    // as the rows say that are read here: six cases a run of ours and three of the golden
    let all = cohort.rows_on_disk(&out.join("tables/cases/run=test")).await;
    let last = last_attempts(&all);
    assert!(all.len() > last.len(), "a case has two attempts");
    assert_eq!(found["rows"]["latest_cases"], json!(2 * last.len() + 3));
    let vertebrae: u64 = last
        .iter()
        .map(|row| row["vertebrae"].parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(vertebrae, 13, "two phantoms, a block, and two of half");
    assert_eq!(found["rows"]["latest_vertebrae"], json!(2 * vertebrae + 10));
    // the golden's phantom-0002 is of no other run, and older than all
    assert_eq!(found["rows"]["current_vertebrae"], json!(vertebrae + 5));
    assert_eq!(found["current"], json!(["2026-11-26", "golden"]));
    // ours both ways round, and phantom-0001 of the golden against each of ours
    assert_eq!(found["rows"]["run_comparison"], json!(2 * vertebrae + 2 * 2 * 5));
}

#[test]
fn tables_of_the_first_schema_alone_have_every_view() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("out");
    lay_down_golden(&out);
    let found = checked(&python, folder.path(), &out);
    let rows = json!({
        "latest_cases": 3,
        "latest_vertebrae": 10,
        "current_vertebrae": 10,
        "persons": 3,
        "failures": 1,
        "run_comparison": 0,
        "run_comparison_summary": 0,
    });
    assert_eq!(found["rows"], rows);
}

#[test]
fn views_of_an_output_that_nobody_else_can_read_are_refused() {
    let refused = spinestream(&["views", "--set", "run.output=memory:///out"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("run.output: expected an output on disk or in a bucket"),
        "{said}"
    );
}
