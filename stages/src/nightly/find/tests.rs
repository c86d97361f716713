use std::collections::BTreeMap;

use models::phantom::{PhantomConf, Spine};
use schemas::rows::Split;
use schemas::{LabelMap, ObjectUrl};
use url::Url;

use super::*;
use crate::decode::nifti::write_label_map;
use crate::manifest::{Context, Manifest};
use crate::store::Place;

/// A site in memory: masks and a manifest that grow from night to night.
struct Site {
    stores: Arc<Stores>,
    rows: Vec<String>,
    conf: NightlyConf,
}

impl Site {
    fn new() -> Self {
        Self {
            stores: Arc::default(),
            rows: Vec::new(),
            conf: NightlyConf::default(),
        }
    }

    fn place(&self, tail: &str) -> Place {
        let url = ObjectUrl::new(format!("memory:///{tail}"));
        self.stores.place(&url).expect("a place")
    }

    fn registry(&self) -> Registry {
        Registry::new(&self.place("registry"), "lsd_ebm")
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) {
        self.place(&format!("ct/{name}"))
            .put(bytes.into())
            .await
            .expect("put");
    }

    /// Adds a row for a mask that may be there or not.
    fn row(&mut self, case: &str) {
        self.rows
            .push(format!("{case},{case}.nii.gz,verse,person-of-{case}"));
    }

    async fn add(&mut self, case: &str, seed: u64) {
        self.put(&format!("{case}.nii.gz"), packed(&spine(seed))).await;
        self.row(case);
    }

    async fn look(&self, earlier: Vec<LineageRow>, night: u32) -> Looked {
        let rows = format!("case_id,mask,labels,person\n{}\n", self.rows.join("\n"));
        self.look_at(&rows, earlier, night).await
    }

    async fn look_at(&self, rows: &str, earlier: Vec<LineageRow>, night: u32) -> Looked {
        let context = Context {
            base: Url::parse("memory:///ct/").expect("url"),
            labels: BTreeMap::new(),
            seed: 0,
        };
        let manifest = Manifest::of_bytes("m.csv", rows.as_bytes(), context);
        let cases = manifest.read().expect("manifest").map(Result::unwrap).collect();
        let registry = self.registry();
        let finder = Finder {
            stores: &self.stores,
            registry: &registry,
            crop: &CropConf::default(),
            max_bytes: 1 << 30,
            conf: &self.conf,
        };
        finder.look(cases, earlier, night).await.expect("looked")
    }
}

fn spine(seed: u64) -> LabelMap {
    let spine = Spine::new(seed);
    spine.label_map(&spine.grid(&PhantomConf::default()).expect("a grid"))
}

fn packed(map: &LabelMap) -> Vec<u8> {
    write_label_map(map).expect("nifti")
}

fn counts(found: &Found) -> [usize; 5] {
    [
        found.cases,
        found.unchanged,
        found.new,
        found.changed,
        found.failed,
    ]
}

#[tokio::test]
async fn what_an_earlier_night_saw_is_not_looked_at_again() {
    let mut site = Site::new();
    site.add("a", 1).await;
    site.add("b", 2).await;
    let first = site.look(Vec::new(), 1).await;
    assert_eq!(counts(&first.found), [2, 0, 2, 0, 0]);
    let masks = first.lineage.len();
    assert_eq!(first.found.masks_accepted, masks, "{:?}", first.rejects);
    assert!(masks >= 10, "five levels each");
    for row in &first.lineage {
        let patches = row.patches.as_deref().expect("cubes");
        assert!(site.registry().place(patches).head().await.is_ok());
        assert!(row.volume_mm3.is_some() && row.shape.is_some() && row.thickness_mm == Some(1.0));
    }
    let again = site.look(first.lineage.clone(), 2).await;
    assert!(again.is_nothing());
    assert_eq!(again.lineage, first.lineage);

    site.add("c", 3).await;
    site.put("a.nii.gz", packed(&spine(4))).await;
    let next = site.look(first.lineage, 2).await;
    assert_eq!(counts(&next.found), [3, 1, 1, 1, 0]);
    let nights = |case: &str| -> Vec<u32> {
        let rows = next.lineage.iter().filter(|row| row.case_id == case);
        rows.map(|row| row.night).collect()
    };
    assert!(nights("b").iter().all(|night| *night == 1));
    assert!(nights("a").iter().chain(&nights("c")).all(|night| *night == 2));
}

#[tokio::test]
async fn a_case_that_cannot_be_read_is_a_row_and_is_tried_again_when_that_may_help() {
    let mut site = Site::new();
    site.row("missing");
    site.row("broken");
    site.put("broken.nii.gz", b"no mask".to_vec()).await;
    site.rows.push("no mask at all,,verse,q".to_owned());
    let first = site.look(Vec::new(), 1).await;
    assert_eq!(counts(&first.found), [3, 0, 3, 0, 3]);
    assert_eq!(first.found.by_reason.values().sum::<usize>(), 3);
    let kind = |case: &str| {
        first
            .lineage
            .iter()
            .find(|row| row.case_id == case)
            .and_then(|row| row.kind)
    };
    assert_eq!(kind("missing"), Some(FaultKind::Missing));
    assert_eq!(kind("broken"), Some(FaultKind::Unreadable));
    assert!(
        site.look(first.lineage.clone(), 2).await.is_nothing(),
        "nothing has changed"
    );

    site.put("missing.nii.gz", packed(&spine(1))).await;
    let next = site.look(first.lineage, 2).await;
    assert_eq!(counts(&next.found), [3, 2, 0, 1, 0]);
    assert!(next.found.masks_accepted >= 5);

    // it has gone again: nothing of it may teach any more, and its person stays where he was put
    site.place("ct/missing.nii.gz").delete().await.expect("deleted");
    let last = site.look(next.lineage, 3).await;
    assert_eq!(counts(&last.found), [3, 2, 0, 1, 1]);
    let rows: Vec<_> = last
        .lineage
        .iter()
        .filter(|row| row.case_id == "missing")
        .collect();
    assert_eq!(
        (rows.len(), rows[0].verdict, rows[0].night),
        (1, Verdict::Failed, 3)
    );
    assert!(rows[0].split.is_some());
}

#[test]
fn what_may_pass_is_tried_again_and_told_again_only_if_it_has_changed() {
    let state = |stamp: Option<&str>, kind: Option<FaultKind>| State {
        stamp: stamp.map(str::to_owned),
        kind,
    };
    let seen = state(Some("s"), None);
    assert!(seen.is_final(Some("s")) && seen.has_masks());
    assert!(!seen.is_final(Some("t")) && !seen.is_final(None));
    let missing = state(None, Some(FaultKind::Missing));
    assert!(missing.is_final(None) && !missing.is_final(Some("s")) && !missing.has_masks());
    for kind in FaultKind::ALL {
        let failed = state(Some("s"), Some(kind));
        assert_ne!(failed.is_final(Some("s")), may_pass(kind), "{kind}");
        assert!(
            !failed.is_final(Some("t")),
            "another mask, whatever was wrong with the first: {kind}"
        );
        assert!(
            failed.is_same(Some("s"), kind) && !failed.is_same(None, kind),
            "{kind}"
        );
    }
    assert!(
        !missing.is_same(None, FaultKind::Unavailable),
        "something else is wrong with it"
    );
}

#[tokio::test]
async fn a_reference_teaches_in_the_place_of_its_mask() {
    let site = Site::new();
    site.put("thin.nii.gz", b"never read".to_vec()).await;
    site.put("ct.nii.gz", packed(&spine(5))).await;
    let rows = "case_id,mask,labels,reference,reference_labels,person\n\
        pair,thin.nii.gz,spider,ct.nii.gz,verse,p\n";
    let looked = site.look_at(rows, Vec::new(), 1).await;
    assert!(looked.found.masks_accepted >= 5, "{:?}", looked.rejects);
}

#[tokio::test]
async fn a_person_stays_on_the_side_that_the_first_night_chose() {
    let mut site = Site::new();
    site.conf.held_out = 0.0;
    site.add("a", 1).await;
    let first = site.look(Vec::new(), 1).await;
    assert!(first.lineage.iter().all(|row| row.split == Some(Split::Train)));
    site.conf.held_out_persons = vec!["person-of-a".to_owned(), "person-of-b".to_owned()];
    site.put("a.nii.gz", packed(&spine(7))).await;
    site.add("b", 2).await;
    let next = site.look(first.lineage, 2).await;
    let side = |case: &str| {
        next.lineage
            .iter()
            .find(|row| row.case_id == case)
            .and_then(|row| row.split)
    };
    assert_eq!((side("a"), side("b")), (Some(Split::Train), Some(Split::HeldOut)));
}

#[tokio::test]
async fn the_lineage_names_no_place_and_no_key() {
    let mut site = Site::new();
    site.add("secret-record-number", 1).await;
    let looked = site.look(Vec::new(), 1).await;
    for row in &looked.lineage {
        for hash in [&row.source, &row.stamp, &row.patches] {
            let hash = hash.as_deref().expect("a hash");
            assert!(!hash.contains("secret"), "{hash}");
        }
    }
    let other = Site::new();
    let salts = (
        salt(&site.registry()).await.expect("salt"),
        salt(&other.registry()).await.expect("salt"),
    );
    assert_ne!(salts.0, salts.1, "each registry hashes under its own");
    assert_eq!(salts.0, salt(&site.registry()).await.expect("salt"));
}
