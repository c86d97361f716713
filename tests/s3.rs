//! The flow over a real S3 server, through what happens to such servers and on the way to them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::ObjectUrl;
use spinestream::verbs::phantom::pair;
use stages::store::{Place, Stores};

use crate::support::s3::{self, Proxy, Trouble, Weed};
use crate::support::{Cohort, Row};

/// A cohort below a prefix of its own.
struct Bucket {
    stores: Arc<Stores>,
    prefix: String,
}

impl Bucket {
    /// Puts phantoms `c1`, `c2`, … into the bucket at `endpoint`; `damage` changes the bytes of some masks.
    async fn of_phantoms(
        endpoint: &str,
        prefix: &str,
        cases: usize,
        damage: impl Fn(usize, &mut Vec<u8>),
    ) -> Self {
        let bucket = Self {
            stores: s3::stores(endpoint),
            prefix: format!("{prefix}-{}", std::process::id()),
        };
        let phantom = pair(1).expect("phantom");
        let mut manifest = "case_id,mask,labels,reference,reference_labels\n".to_owned();
        for number in 1..=cases {
            let mut mask = phantom.mask.to_vec();
            damage(number, &mut mask);
            bucket
                .place(&format!("cohort/c{number}.nii.gz"))
                .put(mask.into())
                .await
                .expect("put");
            manifest += &format!("c{number},c{number}.nii.gz,verse,ct.nii.gz,verse\n");
        }
        bucket
            .place("cohort/ct.nii.gz")
            .put(phantom.reference)
            .await
            .expect("put");
        bucket
            .place("cohort/manifest.csv")
            .put(manifest.into())
            .await
            .expect("put");
        bucket
    }

    fn place(&self, key: &str) -> Place {
        let url = format!("s3://{}/{}/{key}", s3::BUCKET, self.prefix);
        self.stores.place(&ObjectUrl::new(url)).expect("place")
    }

    /// A verb on this cohort, through the server or proxy at `endpoint`.
    fn verb(&self, verb: &str, endpoint: &str) -> Command {
        let base = format!("s3://{}/{}", s3::BUCKET, self.prefix);
        let mut command = Command::new(env!("CARGO_BIN_EXE_spinestream"));
        command.arg(verb);
        for setting in [
            format!("run.manifest={base}/cohort/manifest.csv"),
            format!("run.output={base}/out"),
            "run.id=test".to_owned(),
            "run.max_failed=1".to_owned(),
            "model.chain=[\"interpolate\"]".to_owned(),
            "crop.levels=[\"L3\"]".to_owned(),
            "write.rows_per_part=5".to_owned(),
            "write.volumes=[\"patch\"]".to_owned(),
        ] {
            command.arg("--set").arg(setting);
        }
        s3::lend(&mut command, endpoint)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    async fn cases(&self) -> Vec<Row> {
        let cohort = Cohort::with(Arc::clone(&self.stores));
        cohort.rows_in(self.place("out/tables/cases/run=test")).await
    }
}

/// Waits for a child that must end with a code, and returns what it said.
fn ended(child: Child, code: i32) -> String {
    let output = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_in_a_bucket_is_planned_run_compacted_and_verified() {
    let Some(endpoint) = s3::lent() else { return };
    let bucket = Bucket::of_phantoms(&endpoint, "whole", 12, |_, _| {}).await;
    let verb = |name: &str| bucket.verb(name, &endpoint);

    let planned = ended(verb("plan").arg("--json").spawn().expect("starts"), 0);
    let planned: serde_json::Value = serde_json::from_str(&planned).expect("json");
    assert_eq!((&planned["cases"], &planned["todo"]), (&12.into(), &12.into()));
    assert_eq!(planned["faults_of_sample"], serde_json::json!({}));
    ended(verb("run").spawn().expect("starts"), 0);
    let planned = ended(verb("plan").spawn().expect("starts"), 0);
    assert!(
        planned.contains("12 cases, 12 done (0 of these failed), 0 to do"),
        "{planned}"
    );
    let compacted = ended(verb("compact").spawn().expect("starts"), 0);
    assert!(compacted.starts_with("1 parts, 3 before"), "{compacted}");
    let verified = ended(verb("verify").spawn().expect("starts"), 0);
    assert!(
        verified.contains("12 with a row, 12 rows in 1 parts; 12 vertebrae; 12 files"),
        "{verified}"
    );
    assert!(verified.contains("; 0 problems"), "{verified}");
    assert_eq!(bucket.cases().await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_and_started_again_in_mid_run_costs_no_case() {
    let Some(mut weed) = Weed::start().await else {
        return;
    };
    let bucket = Bucket::of_phantoms(&weed.endpoint(), "killed", 60, |_, _| {}).await;
    let run = bucket.verb("run", &weed.endpoint()).spawn().expect("starts");
    let until = Instant::now() + Duration::from_secs(60);
    while bucket.cases().await.is_empty() {
        assert!(Instant::now() < until, "expected a part within a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    weed.kill();
    tokio::time::sleep(Duration::from_secs(5)).await;
    weed.start_again().await;
    ended(run, 0);
    let cases = bucket.cases().await;
    assert_eq!(cases.len(), 60);
    assert!(cases.iter().all(|row| row["status"] == "done"));
    let verified = ended(
        bucket.verb("verify", &weed.endpoint()).spawn().expect("starts"),
        0,
    );
    assert!(verified.contains("; 0 problems"), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_fail_are_made_again_and_damaged_objects_are_rows() {
    let Some(endpoint) = s3::lent() else { return };
    // one object in ten lies truncated in the bucket
    let damage = |number: usize, mask: &mut Vec<u8>| {
        if number.is_multiple_of(10) {
            mask.truncate(mask.len() / 2);
        }
    };
    let bucket = Bucket::of_phantoms(&endpoint, "troubled", 40, damage).await;
    // and one request in seven fails, in one of three ways; not the same ones as a rhythm of the flow would meet
    let proxy = Proxy::before(&endpoint, |number| match number * 2_654_435_761 % 1000 {
        0..50 => Trouble::Throttled,
        50..100 => Trouble::Cut,
        100..150 => Trouble::HungUp,
        _ => Trouble::None,
    });
    ended(bucket.verb("run", &proxy.endpoint()).spawn().expect("starts"), 1);
    let troubles = proxy.troubles();
    assert!(troubles >= 10, "{troubles} requests failed");

    let cases = bucket.cases().await;
    assert_eq!(cases.len(), 40);
    for row in &cases {
        let number: usize = row["case_id"][1..].parse().expect("a number");
        let told = (
            row["status"].as_str(),
            row["stage"].as_str(),
            row["reason"].as_str(),
        );
        let expected = match number.is_multiple_of(10) {
            true => ("failed", "decode", "truncated"),
            false => ("done", "", ""),
        };
        assert_eq!(told, expected, "{}", row["case_id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_the_server_does_not_know_end_the_run_with_a_clear_error() {
    let Some(endpoint) = s3::lent() else { return };
    let bucket = Bucket::of_phantoms(&endpoint, "keys", 1, |_, _| {}).await;
    let mut run = bucket.verb("run", &endpoint);
    run.env("AWS_SECRET_ACCESS_KEY", "another");
    let output = run.output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("run.manifest"), "{said}");
    assert!(!said.contains("another"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_the_aws_tools_is_enough() {
    let Some(endpoint) = s3::lent() else { return };
    let bucket = Bucket::of_phantoms(&endpoint, "profile", 1, |_, _| {}).await;
    let folder = tempfile::tempdir().expect("folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("write");
    write(
        "credentials",
        "[site]\naws_access_key_id = testkey\naws_secret_access_key = testsecret\n",
    );
    write(
        "config",
        &format!("[profile site]\nregion = us-east-1\nendpoint_url = {endpoint}\n"),
    );
    let mut run = bucket.verb("run", &endpoint);
    for name in [
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
    ] {
        run.env_remove(name);
    }
    let file = |name: &str| -> std::path::PathBuf { Path::join(folder.path(), name) };
    run.env("AWS_PROFILE", "site")
        .env("AWS_SHARED_CREDENTIALS_FILE", file("credentials"))
        .env("AWS_CONFIG_FILE", file("config"));
    ended(run.spawn().expect("starts"), 0);
    assert_eq!(bucket.cases().await.len(), 1);
}
