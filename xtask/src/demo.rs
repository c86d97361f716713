//! `cargo xtask demo`: the main job, end to end, on a cohort with real cases, phantoms and two bad ones.

mod cohort;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::cache::{self, Cache};
use crate::checkout::{Checkout, run};
use crate::spinestream::Binary;
use crate::{report, sample};

/// The demo's configuration: it puts everything below [`FOLDER`], under the run id [`RUN`].
const CONF: &str = "conf/demo.toml";

/// Where everything of the demo goes; made anew each time.
const FOLDER: &str = "target/demo";

/// `run.id` in [`CONF`].
const RUN: &str = "demo";

/// What must come of the two cases that are bad on purpose.
const EXPECTED: [(&str, &str); 2] = [(cohort::CORRUPT, "Unreadable"), (cohort::MISSING, "Missing")];

/// Exit code of a run that ended, but with cases that failed.
const SOME_FAILED: i32 = 1;

/// Sets everything up, makes the cohort, runs the job and holds what came of it against what must.
///
/// # Errors
/// Set-up, build or run failed, or something else came out than the demo expects.
pub fn demo(checkout: &Checkout, cache: &Cache) -> Result<()> {
    let sample = sample::set_up(cache)?;
    let binary = Binary::build(checkout, cache)?;

    let folder = checkout.root.join(FOLDER);
    cache::remove(&folder).with_context(|| format!("cannot empty {FOLDER}"))?;
    report::stage("making the cohort …");
    let cases = cohort::make(&binary, &sample, &folder.join("cohort"))?;
    report::stage(&format!("running {cases} cases, two of them bad on purpose …"));
    let status = run(&mut binary.verb(&["run", "--conf", CONF]))?;

    let record = RunRecord::read(&folder.join("runs").join(RUN))?;
    check(status, &record, cases)?;
    report::stage("all went as expected: those two failed, each in its own way, and nothing else");
    binary.must(&["report", "--conf", CONF])?;
    print!("{}", closing_words());
    Ok(())
}

/// What a worker wrote about the run.
#[derive(Debug, Deserialize)]
struct RunRecord {
    counts: Counts,
    failures: Vec<FailureRecord>,
}

#[derive(Debug, Deserialize)]
struct Counts {
    cases: usize,
    done: usize,
    failed: usize,
    vertebrae: usize,
    vertebrae_failed: usize,
}

#[derive(Debug, Deserialize)]
struct FailureRecord {
    case_id: String,
    kind: String,
    reason: String,
}

impl RunRecord {
    /// Reads the record of the one worker of a run.
    fn read(folder: &Path) -> Result<Self> {
        let entries = fs::read_dir(folder).context("the run left no record")?;
        let paths: Vec<_> = entries
            .collect::<Result<Vec<_>, _>>()?
            .iter()
            .map(|entry| entry.path())
            .collect();
        let mut records = paths
            .iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"));
        let (Some(path), None) = (records.next(), records.next()) else {
            bail!(
                "expected the record of one worker below runs/{RUN}, found {}",
                paths.len()
            );
        };
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text)
            .with_context(|| format!("cannot read the run's record {}", path.display()))
    }
}

/// Holds the run against what the demo expects.
fn check(status: ExitStatus, record: &RunRecord, cases: usize) -> Result<()> {
    ensure!(
        status.code() == Some(SOME_FAILED),
        "expected exit code {SOME_FAILED} (the run ended, some cases failed), found {status}"
    );
    let expected: BTreeSet<_> = EXPECTED.into_iter().collect();
    let found: BTreeSet<_> = record
        .failures
        .iter()
        .map(|failure| (failure.case_id.as_str(), failure.kind.as_str()))
        .collect();
    if found != expected {
        let describe = |failure: &FailureRecord| {
            let FailureRecord {
                case_id,
                kind,
                reason,
            } = failure;
            format!("{case_id}: {kind} ({reason})")
        };
        let found: Vec<_> = record.failures.iter().map(describe).collect();
        bail!(
            "expected these failures: {expected:?}, found: {}",
            found.join(", ")
        );
    }
    let counts = &record.counts;
    ensure!(
        counts.cases == cases && counts.failed == expected.len() && counts.done == cases - expected.len(),
        "expected {cases} cases, {} of them failed, found {counts:?}",
        expected.len()
    );
    ensure!(
        counts.vertebrae > 0 && counts.vertebrae_failed == 0,
        "expected vertebrae, none of them failed, found {counts:?}"
    );
    Ok(())
}

/// Says where everything is.
fn closing_words() -> String {
    let sql = format!(
        "SELECT case_id, level, round(input_dsc, 3) AS dsc_input, round(recon_dsc, 3) AS dsc_reconstruction, \
         round(recon_volume_mm3 / 1000, 1) AS volume_cm3 FROM '{FOLDER}/tables/vertebrae/*/*.parquet' ORDER BY ALL"
    );
    format!(
        "\n\
         cohort           {FOLDER}/cohort/manifest.csv\n\
         tables           {FOLDER}/tables/vertebrae/run={RUN}/  one row a vertebra\n\
         \u{20}                {FOLDER}/tables/cases/run={RUN}/      one row a case, whatever came of it\n\
         reconstructions  {FOLDER}/volumes/run={RUN}/<case>/   NIfTI, in patch and scan space\n\
         record           {FOLDER}/runs/{RUN}/                 configuration, versions, counts, times\n\
         report           {FOLDER}/runs/{RUN}/report.html      one page: outcomes, metrics, pictures, times\n\
         look around      target/release/spinestream view --conf {CONF}   rows and shapes in a browser\n\
         \n\
         ct-patch is very likely one of the vertebrae that the shipped weights were trained on: its figure is no test.\n\
         Held-out figures stand in models/weights/README.md.\n\
         \n\
         ask DuckDB:      duckdb -c \"{sql}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn record(failures: &[(&str, &str)]) -> RunRecord {
        let failed = failures.len();
        let json = serde_json::json!({
            "counts": {"cases": 7, "done": 7 - failed, "failed": failed, "vertebrae": 19, "vertebrae_failed": 0},
            "failures": failures.iter().map(|(case_id, kind)| serde_json::json!({
                "case_id": case_id, "stage": "decode", "kind": kind, "reason": "some_reason"
            })).collect::<Vec<_>>(),
            "configuration": {"what the demo does not read": "is no error"},
        });
        serde_json::from_value(json).expect("a record")
    }

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn exactly_the_two_bad_cases_must_fail_each_in_its_own_way() {
        let both = record(&[("missing", "Missing"), ("corrupt", "Unreadable")]);
        check(exit(1), &both, 7).expect("as expected");
        assert!(check(exit(0), &both, 7).is_err(), "a run that says all went well");
        assert!(check(exit(1), &both, 8).is_err(), "a case without outcome");
        for failures in [
            &[("missing", "Missing")] as &[_],
            &[("missing", "Unavailable"), ("corrupt", "Unreadable")],
            &[
                ("missing", "Missing"),
                ("corrupt", "Unreadable"),
                ("phantom-1", "Bug"),
            ],
        ] {
            assert!(check(exit(1), &record(failures), 7).is_err(), "{failures:?}");
        }
    }

    #[test]
    fn the_configuration_puts_everything_where_the_demo_looks() {
        let conf = include_str!("../../conf/demo.toml");
        for line in [
            format!("id = \"{RUN}\""),
            format!("output = \"{FOLDER}\""),
            format!("manifest = \"{FOLDER}/cohort/manifest.csv\""),
            format!("[labels.{}]", cohort::MRI_SCHEME),
        ] {
            assert!(
                conf.lines().any(|found| found == line),
                "no line {line:?} in {CONF}"
            );
        }
    }
}
