//! Stop half-way, start again, get the same tables; and no case is done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Cohort, block, without_circumstances};
use models::{Chain, ModelError, Reconstructor};
use schemas::{Patch, Reconstruction};
use spinestream::run::{Retry, run_with};
use spinestream::{Exit, RunEnd};

/// More than all stages together hold in hand.
const CASES: usize = 40;

const FAST: [&str; 3] = [
    "model.chain=[\"identity\"]",
    "write.rows_per_part=2",
    "widths.fetch=1",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_goes_on_and_ends_with_the_same_tables() {
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    cohort.put("ct.nii.gz", block(22, 1.0)).await;
    for number in 1..=CASES {
        cohort.row(&format!("c{number},mask.nii.gz,verse,ct.nii.gz,verse"));
    }
    assert_eq!(cohort.run("whole", &FAST).await.expect("run"), Exit::Done);

    let parts = cohort.place("parts/tables/cases");
    let first_part = async move {
        while parts.list().await.expect("list").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let exit = cohort
        .run_until("parts", &FAST, first_part)
        .await
        .expect("first start");
    assert_eq!(exit, Exit::SomeFailed, "not all is done");
    let first = cohort.table("parts", "cases").await.len();
    assert!((2..CASES).contains(&first), "stopped half-way, after {first}");
    assert_eq!(
        cohort.run("parts", &FAST).await.expect("second start"),
        Exit::Done
    );

    for table in ["cases", "vertebrae"] {
        let whole = without_circumstances(&cohort.table("whole", table).await);
        let parts = without_circumstances(&cohort.table("parts", table).await);
        assert_eq!(whole, parts, "{table}");
    }
    let records = cohort.place("parts/runs/test").list().await.expect("list");
    let mut done = 0;
    for record in &records {
        let place = stages::store::Place {
            store: cohort.place("").store,
            path: record.location.clone(),
        };
        let text: serde_json::Value =
            serde_json::from_slice(&place.read(1 << 20).await.expect("read")).expect("json");
        done += text["counts"]["done"].as_u64().expect("count");
    }
    assert_eq!(done, CASES as u64, "each case was done once over both starts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_start_has_nothing_to_do() {
    let mut cohort = Cohort::of_phantoms(1).await;
    cohort.row("gone,none.nii.gz,verse,,");
    assert_eq!(cohort.run("out", &FAST).await.expect("run"), Exit::SomeFailed);
    let before = cohort.place("out/tables").list().await.expect("list");
    let again = cohort.run("out", &FAST).await.expect("again");
    assert_eq!(again, Exit::SomeFailed, "the failed case is still failed");
    assert_eq!(
        before.len(),
        cohort.place("out/tables").list().await.expect("list").len()
    );
}

/// Gives back what it gets for ten patches; then it panics.
struct Mortal(usize);

impl Reconstructor for Mortal {
    fn reconstruct(&mut self, batch: &[Patch], _: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        self.0 += batch.len();
        assert!(self.0 <= 10, "the model dies");
        Ok(batch
            .iter()
            .map(|patch| Reconstruction::of_mask(patch.mask.clone()))
            .collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_worker_has_gone_the_run_ends_and_the_rest_stays_for_the_next_start() {
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    for number in 1..=CASES {
        cohort.row(&format!("c{number},mask.nii.gz,verse,,"));
    }
    let settings = [FAST.as_slice(), &["pool.replicas=1"]].concat();
    let conf = cohort.conf("out", &settings).await;
    let opened = AtomicUsize::new(0);
    let open = move |device: &str| match opened.fetch_add(1, Ordering::SeqCst) {
        0 => {
            let identity = models::open(
                &models::ModelConf {
                    chain: vec!["identity".to_owned()],
                    ..Default::default()
                },
                &models::LoadedWeights::new(),
                device,
            )?;
            Ok(Chain::of(vec![Box::new(Mortal(0))], identity.identity().clone()))
        }
        _ => Err(ModelError::Device("lost".to_owned())),
    };
    let end = run_with(
        &conf,
        &cohort.stores,
        Arc::new(open),
        &Retry::None,
        std::future::pending(),
    )
    .await;
    assert!(matches!(end, Err(RunEnd::WorkersGone)), "{end:?}");
    let rows = cohort.table("out", "cases").await;
    assert!(
        (1..=10).contains(&rows.len()),
        "what was done is written: {}",
        rows.len()
    );
    assert!(
        rows.iter().all(|row| row["status"] == "done"),
        "no case is blamed for the pool"
    );

    assert_eq!(cohort.run("out", &FAST).await.expect("next start"), Exit::Done);
    assert_eq!(cohort.table("out", "cases").await.len(), CASES);
}
