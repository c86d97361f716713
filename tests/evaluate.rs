//! `evaluate`: a row a method and vertebra, a report that names everything, and nothing overwritten.

use std::process::Command;
use std::sync::Arc;

use models::{Chain, ModelError, Reconstructor};
use schemas::{ModelIdentity, Patch, Reconstruction};
use spinestream::verbs::evaluate::{evaluate, evaluate_with};
use spinestream::{Exit, RunEnd};
use stages::pool::Open;

use crate::support::{Cohort, Row, rows_of, without_circumstances};

/// Sets every voxel that has a set one to the left or right: stands for a method that changes something.
struct Wider;

impl Reconstructor for Wider {
    fn reconstruct(&mut self, batch: &[Patch], _seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        let widened = |patch: &Patch| {
            let mut mask = patch.mask.clone();
            for ((i, j, k), voxel) in mask.indexed_iter_mut() {
                let at = |i: usize| patch.mask.get([i, j, k]).is_some_and(|value| *value != 0);
                *voxel |= u8::from(at(i.wrapping_sub(1)) || at(i + 1));
            }
            Reconstruction::of_mask(mask)
        };
        Ok(batch.iter().map(widened).collect())
    }
}

/// Fails on whatever it gets.
struct Unwell;

impl Reconstructor for Unwell {
    fn reconstruct(&mut self, _batch: &[Patch], _seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        Err(ModelError::Exhausted("expected memory, found none".to_owned()))
    }
}

fn opens(name: &str, model: fn() -> Box<dyn Reconstructor>) -> Arc<Open> {
    let identity = ModelIdentity {
        chain: vec![name.to_owned()],
        model_version: "none".to_owned(),
        weights_sha256: String::new(),
        steps: 0,
        sampler: None,
        samples: 1,
        mirror: false,
        precision: None,
    };
    Arc::new(move |_device: &str| Ok(Chain::of(vec![model()], identity.clone())))
}

fn identity() -> Arc<Open> {
    opens("identity", || Box::new(models::baseline::Identity))
}

const METHODS: &str = r#"comparison.methods=[{name="as it is", chain=["identity"]}, {name="wider", chain=["identity"], figure="steps"}]"#;

async fn settings(cohort: &Cohort, out: &str, more: &[&str]) -> spinestream::conf::Conf {
    let output = format!("comparison.output=memory:///{out}");
    let mut all = vec![
        "comparison.manifest=memory:///cohort/manifest.csv",
        &output,
        METHODS,
        "comparison.bootstrap=200",
        "comparison.pictures=2",
        "crop.levels=[\"L2\", \"L3\"]",
    ];
    all.extend(more);
    cohort.conf("unused", &all).await
}

/// A phantom with a reference, one whose clean mask is all there is, and one whose file is broken.
async fn cohort() -> Cohort {
    let mut cohort = Cohort::of_phantoms(1).await;
    cohort.row("clean,p1_ct.nii.gz,verse,,");
    cohort.put("broken.nii.gz", &b"no NIfTI"[..]).await;
    cohort.row("broken,broken.nii.gz,verse,,");
    cohort
}

async fn compared(cohort: &Cohort, out: &str, more: &[&str]) -> Result<Exit, RunEnd> {
    let conf = settings(cohort, out, more).await;
    let open = vec![identity(), opens("wider", || Box::new(Wider))];
    evaluate_with(&conf, &cohort.stores, open, std::future::pending()).await
}

async fn report(cohort: &Cohort, out: &str) -> String {
    let place = cohort.place(&format!("{out}/report/report.md"));
    String::from_utf8(place.read(1 << 20).await.expect("report").to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_has_a_row_for_every_vertebra_and_a_broken_case_is_named() {
    let cohort = cohort().await;
    let exit = compared(&cohort, "a", &[]).await.expect("compared");
    assert_eq!(exit, Exit::SomeFailed, "a case was broken");

    let rows = cohort.rows_below("a/tables/comparison").await;
    assert_eq!(rows.len(), 2 * 4, "two methods, two levels of two cases");
    for row in &rows {
        assert_eq!(row["status"], "done");
        let number = |column: &str| row[column].parse::<f64>().expect("number");
        assert!(number("input_dsc") > 0.3 && number("input_dsc") < 1.0);
        assert!(number("seconds") >= 0.0 && number("cpu_seconds") >= 0.0);
        if row["method"] == "as it is" {
            assert_eq!(row["recon_assd_mm"], row["input_assd_mm"]);
        } else {
            assert!(number("recon_volume_mm3") > number("input_volume_mm3"));
        }
        let expected = if row["case_id"] == "clean" {
            "degraded"
        } else {
            "paired"
        };
        assert_eq!(row["origin"], expected);
    }
    let report = report(&cohort, "a").await;
    for name in [
        "as it is",
        "wider",
        "| broken | all | Unreadable |",
        "p1 L2",
        "clean L3",
    ] {
        assert!(report.contains(name), "{name}\n{report}");
    }
    for object in cohort.place("a/report").list().await.expect("list") {
        let name = object.location.filename().expect("a name").to_owned();
        assert!(
            ["report.md", "comparison.json"].contains(&name.as_str())
                || report.contains(&format!("]({name})")),
            "{name}"
        );
    }

    compared(&cohort, "b", &[]).await.expect("compared");
    let again = cohort.rows_below("b/tables/comparison").await;
    let sorted = |rows: &[Row]| {
        let mut rows = without_circumstances(rows);
        rows.sort();
        rows
    };
    assert_eq!(
        sorted(&rows),
        sorted(&again),
        "equal seeds give equal tables but for times"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_comparison_is_renewed_and_another_one_is_refused_before_any_work() {
    let cohort = Cohort::of_phantoms(1).await;
    assert_eq!(compared(&cohort, "a", &[]).await.expect("compared"), Exit::Done);
    let first = report(&cohort, "a").await;
    let renewed = compared(&cohort, "a", &["comparison.pictures=1"]).await;
    assert_eq!(renewed.expect("what only the report shows is free"), Exit::Done);
    assert_eq!(
        cohort
            .place("a/tables/comparison")
            .list()
            .await
            .expect("list")
            .len(),
        1
    );

    let other = compared(&cohort, "a", &["comparison.degrade=always"]).await;
    let error = other.expect_err("another comparison");
    assert_eq!(error.exit(), Exit::Broken);
    assert!(error.to_string().contains("comparison.output"), "{error}");
    let kept = report(&cohort, "a").await;
    assert_eq!(
        first.lines().nth(4),
        kept.lines().nth(4),
        "the key stands in the report"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_fails_leaves_rows_that_say_why() {
    let cohort = Cohort::of_phantoms(1).await;
    let conf = settings(&cohort, "a", &[]).await;
    let open = vec![identity(), opens("unwell", || Box::new(Unwell))];
    let exit = evaluate_with(&conf, &cohort.stores, open, std::future::pending()).await;
    assert_eq!(exit.expect("compared"), Exit::SomeFailed);
    let rows = cohort.rows_below("a/tables/comparison").await;
    let failed: Vec<_> = rows.iter().filter(|row| row["status"] == "failed").collect();
    assert_eq!(failed.len(), 2);
    for row in failed {
        assert_eq!(
            (row["kind"].as_str(), row["recon_dsc"].as_str()),
            ("Exhausted", "")
        );
        assert!(row["message"].contains("expected memory"));
    }
    assert!(report(&cohort, "a").await.contains("2 reconstructions failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_writes_no_half_comparison() {
    let cohort = Cohort::of_phantoms(1).await;
    let conf = settings(&cohort, "a", &[]).await;
    let open = vec![identity(), identity()];
    let exit = evaluate_with(&conf, &cohort.stores, open, std::future::ready(())).await;
    assert_eq!(exit.expect("stopped"), Exit::SomeFailed);
    assert!(cohort.place("a/tables").list().await.expect("list").is_empty());
    assert_eq!(
        compared(&cohort, "a", &["comparison.degrade=always"])
            .await
            .expect("nothing to lose there"),
        Exit::Done
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_ends_with_the_code_that_says_whose_matter_it_is() {
    let cohort = Cohort::of_phantoms(1).await;
    let exit = async |more: &[&str]| {
        let conf = settings(&cohort, "a", more).await;
        let ended = evaluate(&conf, &cohort.stores, std::future::pending()).await;
        ended.expect_err("cannot be").exit()
    };
    assert_eq!(exit(&["comparison.methods=[]"]).await, Exit::Usage);
    assert_eq!(
        exit(&[r#"comparison.methods=[{name="x", chain=["nothing"]}]"#]).await,
        Exit::Usage
    );
    assert_eq!(
        exit(&[r#"comparison.methods=[{name="x", weights="memory:///none"}]"#]).await,
        Exit::Usage
    );
    assert_eq!(exit(&["comparison.persons=[\"nobody\"]"]).await, Exit::Usage);
    assert_eq!(
        exit(&["comparison.manifest=memory:///none.csv"]).await,
        Exit::Broken
    );
    assert_eq!(
        exit(&["comparison.manifest=memory:///cohort/p1.nii.gz"]).await,
        Exit::Broken
    );
    // the phantoms have L1 to L5
    assert_eq!(exit(&["crop.levels=[\"L6\"]"]).await, Exit::Broken);
}

#[test]
fn the_verb_compares_from_the_command_line() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_spinestream"))
            .args(arguments)
            .output()
            .expect("runs")
    };
    assert!(run(&["phantom", "1", &path("cohort")]).status.success());
    let conf = format!(
        "[comparison]\nmanifest = {:?}\noutput = {:?}\nbootstrap = 100\n[crop]\nlevels = [\"L3\"]\n\
         [[comparison.methods]]\nname = \"as it is\"\nchain = [\"identity\"]\n",
        path("cohort/manifest.csv"),
        path("out")
    );
    std::fs::write(path("evaluate.toml"), conf).expect("write");
    let ran = run(&["evaluate", "--conf", &path("evaluate.toml")]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(
        ran.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(
        said.contains("1 reconstructions done, 0 failed; 0 cases"),
        "{said}"
    );
    let parts: Vec<_> = std::fs::read_dir(path("out/tables/comparison"))
        .expect("tables")
        .collect();
    let [Ok(part)] = parts.as_slice() else {
        panic!("one part")
    };
    assert_eq!(rows_of(std::fs::read(part.path()).expect("part").into()).len(), 1);
    let report = std::fs::read_to_string(path("out/report/report.md")).expect("report");
    assert!(!report.contains(&path("")), "no path of the machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_stands_beside_what_was_measured_and_makes_another_comparison() {
    let cohort = Cohort::of_phantoms(1).await;
    let one = "crop.levels=[\"L2\"]";
    let rigid = ["evaluate.register=rigid", "evaluate.metrics=[\"dsc\"]", one];
    assert_eq!(
        compared(&cohort, "plain", &[one]).await.expect("compared"),
        Exit::Done
    );
    assert_eq!(
        compared(&cohort, "moved", &rigid).await.expect("compared"),
        Exit::Done
    );
    let plain = cohort.rows_below("plain/tables/comparison").await;
    let moved = cohort.rows_below("moved/tables/comparison").await;
    assert_eq!((plain.len(), moved.len()), (2, 2));
    for (plain, moved) in plain.iter().zip(&moved) {
        let number = |column: &str| moved[column].parse::<f64>().expect("number");
        for metric in ["dsc", "hd95_mm", "assd_mm"] {
            assert_eq!(
                moved[&format!("recon_{metric}")],
                plain[&format!("recon_{metric}")]
            );
            assert!(number(&format!("registered_{metric}")).is_finite());
        }
        assert!(number("registered_dsc") >= number("recon_dsc"));
        assert_eq!(moved["recon_volume_mm3"], plain["recon_volume_mm3"]);
        assert_eq!(plain["registered_dsc"], "");
        assert_ne!(plain["comparison"], moved["comparison"]);
    }
    assert!(report(&cohort, "moved").await.contains("## Registered"));
    assert!(!report(&cohort, "plain").await.contains("## Registered"));
    let refused = compared(&cohort, "plain", &rigid).await;
    assert_eq!(refused.expect_err("another comparison").exit(), Exit::Broken);
}
