//! Trouble in the middle of a run: it costs what it touches and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use models::{Chain, ModelError, Reconstructor};
use object_store::Error;
use schemas::{Patch, Reconstruction};
use spinestream::run::{Retry, run_with};
use spinestream::{Exit, RunEnd};
use stages::pool::Open;
use stages::store::Stores;
use url::Url;

use crate::support::faulty::{Deed, Faulty, gone};
use crate::support::{Cohort, block, without_circumstances};

const FAST: [&str; 3] = [
    "model.chain=[\"identity\"]",
    "write.rows_per_part=4",
    "write.volumes=[\"patch\"]",
];

/// A cohort of so many sound cases.
async fn cohort(cases: usize) -> Cohort {
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    for number in 1..=cases {
        cohort.row(&format!("c{number},mask.nii.gz,verse,,"));
    }
    cohort
}

/// The same objects behind a store that fails.
fn behind(
    cohort: &Cohort,
    fault: impl Fn(Deed, &object_store::path::Path) -> Option<Error> + Send + Sync + 'static,
) -> Cohort {
    let stores = Arc::new(Stores::default());
    let faulty = Faulty::new(cohort.place("").store, fault);
    stores.register(&Url::parse("memory:///").expect("url"), Arc::new(faulty));
    cohort.through(stores)
}

/// What a model does first with each batch.
type Work = Arc<dyn Fn(&[Patch]) -> Result<(), ModelError> + Send + Sync>;

/// Identity, but for what `work` does first with each batch.
fn model(work: impl Fn(&[Patch]) -> Result<(), ModelError> + Send + Sync + 'static) -> Arc<Open> {
    struct Injected(Work);

    impl Reconstructor for Injected {
        fn reconstruct(&mut self, batch: &[Patch], _: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
            (self.0)(batch)?;
            let masks = batch.iter().map(|patch| patch.mask.clone());
            Ok(masks.map(Reconstruction::of_mask).collect())
        }
    }

    let work: Work = Arc::new(work);
    Arc::new(move |device: &str| {
        let conf = models::ModelConf {
            chain: vec!["identity".to_owned()],
            ..Default::default()
        };
        let identity = models::open(&conf, &models::LoadedWeights::new(), device)?;
        let injected: Box<dyn Reconstructor> = Box::new(Injected(Arc::clone(&work)));
        Ok(Chain::of(vec![injected], identity.identity().clone()))
    })
}

async fn run(cohort: &Cohort, open: Arc<Open>, settings: &[&str]) -> Result<Exit, RunEnd> {
    let settings = [&FAST, settings].concat();
    let conf = cohort.conf("out", &settings).await;
    run_with(&conf, &cohort.stores, open, &Retry::None, std::future::pending()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_too_little_memory_in_a_model_worker_cost_no_case() {
    let cohort = cohort(24).await;
    let (panics, refusals) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (panicked, refused) = (Arc::clone(&panics), Arc::clone(&refusals));
    let batches = AtomicUsize::new(0);
    let open = model(move |batch| {
        let batch_number = batches.fetch_add(1, Ordering::SeqCst);
        if batch_number == 0 {
            // until others wait
            std::thread::sleep(Duration::from_millis(500));
        }
        if batch_number == 2 {
            panicked.fetch_add(1, Ordering::SeqCst);
            panic!("injected");
        }
        if batch.len() > 1 {
            refused.fetch_add(1, Ordering::SeqCst);
            return Err(ModelError::Exhausted("injected: one patch fits".to_owned()));
        }
        Ok(())
    });
    let settings = ["pool.batch=4", "pool.wait_ms=20", "widths.reconstruct=8"];
    assert_eq!(run(&cohort, open, &settings).await.expect("run"), Exit::Done);
    for table in ["cases", "vertebrae"] {
        let rows = cohort.table("out", table).await;
        assert_eq!(rows.len(), 24, "{table}");
        assert!(rows.iter().all(|row| row["status"] == "done"), "{table}");
    }
    assert_eq!(panics.load(Ordering::SeqCst), 1);
    assert!(
        refusals.load(Ordering::SeqCst) > 0,
        "batches did form, and were halved"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_takes_too_long_is_a_row_of_kind_timeout() {
    let cohort = cohort(6).await;
    let first = AtomicBool::new(true);
    let open = model(move |_| {
        if first.swap(false, Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(3));
        }
        Ok(())
    });
    let settings = ["timeouts.reconstruct=1", "pool.batch=1", "widths.reconstruct=1"];
    let exit = run(&cohort, open, &settings).await.expect("run");
    assert_eq!(exit, Exit::SomeFailed);
    let cases = cohort.table("out", "cases").await;
    let late: Vec<_> = cases.iter().filter(|row| row["status"] == "failed").collect();
    assert_eq!(cases.len(), 6);
    assert!(!late.is_empty() && late.len() < 6, "{} late", late.len());
    for row in late {
        assert_eq!(
            (
                row["stage"].as_str(),
                row["kind"].as_str(),
                row["reason"].as_str()
            ),
            ("reconstruct", "Timeout", "stage_timeout")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_cannot_write_ends_the_run_and_harms_nothing_published() {
    let cohort = cohort(24).await;
    let parts = AtomicUsize::new(0);
    let full = behind(&cohort, move |deed, path| {
        let is_part = deed == Deed::Put && path.as_ref().contains("tables/cases");
        (is_part && parts.fetch_add(1, Ordering::SeqCst) >= 2).then(gone)
    });
    let end = full.run("out", &FAST).await.expect_err("no room");
    assert!(matches!(end, RunEnd::Tables(_)), "{end}");
    assert_eq!(end.exit(), Exit::Broken);
    assert_eq!(cohort.table("out", "cases").await.len(), 8, "two parts of four");

    assert_eq!(cohort.run("out", &FAST).await.expect("next start"), Exit::Done);
    assert_eq!(cohort.run("whole", &FAST).await.expect("undisturbed"), Exit::Done);
    for table in ["cases", "vertebrae"] {
        assert_eq!(
            without_circumstances(&cohort.table("out", table).await),
            without_circumstances(&cohort.table("whole", table).await),
            "{table}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_nobody_may_write_to_ends_the_run_before_any_case() {
    let cohort = cohort(3).await;
    let closed = behind(&cohort, |deed, path| {
        (deed == Deed::Put && path.as_ref().starts_with("out")).then(gone)
    });
    let end = closed.run("out", &FAST).await.expect_err("no room");
    assert!(matches!(end, RunEnd::Tables(_)), "{end}");
    assert!(cohort.place("out").list().await.expect("list").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_forbids_or_fails_costs_the_cases_it_concerns() {
    let mut cohort = cohort(3).await;
    for name in ["forbidden", "failing", "lost"] {
        cohort.put(&format!("{name}.nii.gz"), block(22, 0.0)).await;
        cohort.row(&format!("{name},{name}.nii.gz,verse,,"));
    }
    let troubled = behind(&cohort, |deed, path| {
        let name = path.filename().unwrap_or_default();
        let source = || "injected".into();
        let path = path.to_string();
        match (deed, name) {
            (Deed::Get, "forbidden.nii.gz") => Some(Error::PermissionDenied {
                path,
                source: source(),
            }),
            (Deed::Get, "failing.nii.gz") => Some(gone()),
            // its volume cannot be put: the case has failed, and the others have not
            (Deed::Put, "lost_label-L3_desc-recon_mask.nii.gz") => Some(gone()),
            _ => None,
        }
    });
    assert_eq!(troubled.run("out", &FAST).await.expect("run"), Exit::SomeFailed);
    let cases = cohort.table("out", "cases").await;
    let told: Vec<_> = cases
        .iter()
        .map(|row| {
            format!(
                "{} {} {} {}",
                row["case_id"], row["stage"], row["kind"], row["reason"]
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "c1   ",
            "c2   ",
            "c3   ",
            "failing weigh Unavailable store_failed",
            "forbidden weigh Unavailable permission_denied",
            "lost write Unavailable store_failed",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_in_hand_past_the_deadline_of_a_stop_stay_for_the_next_start() {
    let cohort = cohort(30).await;
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let open = model(move |_| {
        // the tenth batch hangs for longer than anybody waits
        if count.fetch_add(1, Ordering::SeqCst) == 10 {
            std::thread::sleep(Duration::from_secs(30));
        }
        Ok(())
    });
    let settings = [
        &FAST[..],
        &["run.stop_s=1", "pool.batch=1", "widths.reconstruct=2"],
    ]
    .concat();
    let conf = cohort.conf("out", &settings).await;
    let stop = async move {
        while seen.load(Ordering::SeqCst) < 11 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let exit = run_with(&conf, &cohort.stores, open, &Retry::None, stop)
        .await
        .expect("run");
    assert_eq!(exit, Exit::SomeFailed);
    let cases = cohort.table("out", "cases").await;
    assert!((1..30).contains(&cases.len()), "{} rows", cases.len());
    assert!(cases.iter().all(|row| row["status"] == "done"));

    // the first start's record says that it stopped, so the next one need not wait for it
    assert_eq!(cohort.run("out", &FAST).await.expect("next start"), Exit::Done);
    assert_eq!(cohort.table("out", "cases").await.len(), 30);
}
