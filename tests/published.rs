//! What lies in the store after a run: verified, compacted, and whole whenever somebody looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::ObjectStore;
use object_store::memory::InMemory;
use spinestream::Exit;
use stages::store::{Place, Stores};
use stages::tables::{Problem, RunTables, Verified, compact, verify};
use url::Url;

use crate::support::faulty::{Deed, Faulty, gone};
use crate::support::{Cohort, Row, block, without_circumstances};

const FAST: [&str; 2] = ["model.chain=[\"identity\"]", "write.rows_per_part=3"];

/// Cases of a small cohort; the last of them is bad.
const CASES: usize = 8;

/// A cohort that has been run: eight cases in three parts, one of them failed.
async fn run() -> Cohort {
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    for number in 1..CASES {
        cohort.row(&format!("c{number},mask.nii.gz,verse,,"));
    }
    cohort.row("gone,none.nii.gz,verse,,");
    assert_eq!(cohort.run("out", &FAST).await.expect("run"), Exit::SomeFailed);
    cohort
}

fn tables(stores: &Stores) -> RunTables {
    let output = stores.place(&schemas::ObjectUrl::new("memory:///out"));
    RunTables::new(output.expect("place"), "test")
}

async fn verified(cohort: &Cohort) -> Verified {
    let ids = (1..CASES).map(|number| format!("c{number}"));
    let ids = ids.chain(["gone".to_owned()]);
    verify(&tables(&cohort.stores), ids, true)
        .await
        .expect("verified")
}

/// Returns one object below a prefix.
async fn first_below(cohort: &Cohort, key: &str) -> Place {
    let folder = cohort.place(key);
    let found = folder.list().await.expect("list").remove(0);
    Place {
        path: found.location,
        ..folder
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_verified_and_each_thing_that_goes_wrong_is_named() {
    let cohort = run().await;
    let sound = verified(&cohort).await;
    assert_eq!(sound.problems, []);
    assert_eq!(
        (sound.manifest, sound.cases, sound.rows, sound.vertebrae),
        (8, 8, 8, 7)
    );
    assert_eq!(sound.files, 14, "a patch and a scan for each case that was done");

    let file = cohort.place("out/volumes/run=test/c1/c1_label-L3_desc-recon_mask.nii.gz");
    file.put(vec![1, 2, 3].into()).await.expect("put");
    let scan = cohort.place("out/volumes/run=test/c2/c2_space-scan_desc-recon_dseg.nii.gz");
    scan.delete().await.expect("delete");
    let found = verified(&cohort).await;
    let changed = Problem::Changed("c1/c1_label-L3_desc-recon_mask.nii.gz".to_owned());
    let no_file = Problem::NoFile("c2/c2_space-scan_desc-recon_dseg.nii.gz".to_owned());
    assert_eq!(found.count, 2, "{:?}", found.problems);
    assert!(found.problems.contains(&changed) && found.problems.contains(&no_file));

    let part = first_below(&cohort, "out/tables/vertebrae/run=test").await;
    part.delete().await.expect("delete");
    let found = verified(&cohort).await;
    assert!(
        found
            .problems
            .iter()
            .any(|problem| matches!(problem, Problem::Half(_)))
    );
    let without = found
        .problems
        .iter()
        .filter(|problem| matches!(problem, Problem::NoRow(_)));
    assert!(
        (1..=3).contains(&without.count()),
        "the part's cases count as not done"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_whose_vertebrae_have_gone_are_done_again() {
    let cohort = run().await;
    let whole = rows(&cohort.stores).await;
    let part = first_below(&cohort, "out/tables/vertebrae/run=test").await;
    part.delete().await.expect("delete");
    assert_eq!(cohort.run("out", &FAST).await.expect("again"), Exit::SomeFailed);
    assert_eq!(rows(&cohort.stores).await, whole);
    compact(&tables(&cohort.stores), 100).await.expect("compact");
    assert_eq!(
        verified(&cohort).await.problems,
        [],
        "the half part went with compaction"
    );
}

/// Rows of both tables that count: of each case those of the highest attempt.
async fn rows(stores: &Arc<Stores>) -> (Vec<Row>, Vec<Row>) {
    let cohort = Cohort::with(Arc::clone(stores));
    let highest = async |table: &str| {
        let mut rows: Vec<Row> = cohort.table("out", table).await;
        let attempt = |row: &Row| row["attempt"].parse::<u32>().expect("a number");
        let mut last = std::collections::HashMap::new();
        for row in cohort.table("out", "cases").await {
            let known = last.entry(row["case_id"].clone()).or_insert(0);
            *known = attempt(&row).max(*known);
        }
        rows.retain(|row| last[&row["case_id"]] == attempt(row));
        without_circumstances(&rows)
    };
    (highest("cases").await, highest("vertebrae").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn compacted_tables_hold_the_same_rows_in_fewer_parts() {
    let cohort = run().await;
    let before = rows(&cohort.stores).await;
    assert_eq!(before.0.len(), CASES);
    let done = compact(&tables(&cohort.stores), 100).await.expect("compact");
    assert_eq!((done.before, done.after, done.superseded), (3, 1, 0));
    assert_eq!(rows(&cohort.stores).await, before);
    let after = verified(&cohort).await;
    assert_eq!((after.problems.as_slice(), after.files), (&[][..], 14));
    let again = compact(&tables(&cohort.stores), 100).await.expect("again");
    assert_eq!((again.before, again.after), (1, 1), "nothing is left to merge");
    let parts = cohort.place("out/tables").list().await.expect("list");
    assert_eq!(parts.len(), 2, "one part a table, and the old ones have gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_killed_after_any_deed_leaves_every_row_once() {
    let cohort = run().await;
    let whole = rows(&cohort.stores).await;
    let store = cohort.place("").store;
    let objects = store_of(&store).await;
    let mut deeds = 0;
    loop {
        let memory: Arc<dyn ObjectStore> = Arc::new(copy_of(&objects).await);
        let stores = Arc::new(Stores::default());
        let base = Url::parse("memory:///").expect("url");
        let left = AtomicUsize::new(deeds);
        let killed = Faulty::new(Arc::clone(&memory), move |deed, _| {
            let counts = matches!(deed, Deed::Put | Deed::Delete);
            let none_left = counts
                && left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_err();
            none_left.then(gone)
        });
        stores.register(&base, Arc::new(killed));
        let ended = compact(&tables(&stores), 100).await;
        let after = Arc::new(Stores::default());
        after.register(&base, memory);
        // as an analyst sees it before anybody tidies up: every row is there, and no two of a case differ
        let mut seen = Cohort::with(Arc::clone(&after)).table("out", "cases").await;
        seen.dedup_by_key(|row| row["case_id"].clone());
        assert_eq!(without_circumstances(&seen), whole.0, "after {deeds} deeds");
        let listing = tables(&after).list().await.expect("list");
        let published = tables(&after).published_in(&listing).await.expect("published");
        assert_eq!(published.cases(), CASES, "after {deeds} deeds");
        tables(&after).clear(&listing).await.expect("clear");
        assert_eq!(rows(&after).await, whole, "after {deeds} deeds");
        if ended.is_ok() {
            break;
        }
        deeds += 1;
    }
    assert!(deeds >= 9, "a marker, two puts and six deletions, not {deeds}");
}

type Objects = Vec<(object_store::path::Path, bytes::Bytes)>;

async fn store_of(store: &Arc<dyn ObjectStore>) -> Objects {
    use futures::TryStreamExt as _;
    use object_store::ObjectStoreExt as _;
    let listed: Vec<_> = store.list(None).try_collect().await.expect("list");
    let mut objects = Vec::new();
    for object in listed {
        let found = store.get(&object.location).await.expect("get");
        objects.push((object.location, found.bytes().await.expect("bytes")));
    }
    objects
}

async fn copy_of(objects: &Objects) -> InMemory {
    use object_store::ObjectStoreExt as _;
    let memory = InMemory::new();
    for (path, bytes) in objects {
        memory.put(path, bytes.clone().into()).await.expect("put");
    }
    memory
}
