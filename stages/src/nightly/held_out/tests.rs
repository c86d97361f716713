use std::sync::Arc;

use models::phantom::vertebra as phantom;
use schemas::ObjectUrl;

use super::*;
use crate::nightly::testing::row;
use crate::store::Stores;
use crate::train::cache;

fn registry(stores: &Arc<Stores>) -> Registry {
    let root = stores
        .place(&ObjectUrl::new("memory:///registry"))
        .expect("a place");
    Registry::new(&root, "lsd_ebm")
}

/// Persons with two masks each, all of them held out.
fn lineage(persons: usize) -> Vec<LineageRow> {
    let rows = (0..persons).flat_map(|number| {
        [Level::L2, Level::L3].map(|level| LineageRow {
            split: Some(Split::HeldOut),
            ..row(&format!("c{number:02}"), level)
        })
    });
    rows.collect()
}

fn conf(least_held_out: usize, most_held_out: usize) -> NightlyConf {
    NightlyConf {
        least_held_out,
        most_held_out,
        ..NightlyConf::default()
    }
}

#[test]
fn whole_persons_are_chosen_once_there_are_enough() {
    assert_eq!(HeldOut::choose(1, &lineage(3), &conf(4, 100)), Err(3));
    let all = HeldOut::choose(1, &lineage(4), &conf(4, 100)).expect("enough");
    assert_eq!((all.persons().len(), all.masks.len()), (4, 8));
    let few = HeldOut::choose(1, &lineage(9), &conf(2, 7)).expect("enough");
    assert_eq!(
        (few.persons().len(), few.masks.len()),
        (3, 6),
        "the fourth does not fit"
    );
    let least = HeldOut::choose(1, &lineage(9), &conf(5, 1)).expect("enough");
    assert_eq!(least.persons().len(), 5, "as many as must be");
    let mut rows = lineage(4);
    rows[0].verdict = Verdict::Rejected;
    rows[2].split = Some(Split::Train);
    let rest = HeldOut::choose(1, &rows, &conf(2, 100)).expect("enough");
    assert_eq!(rest.masks.len(), 6);
}

#[test]
fn the_order_of_the_lineage_does_not_matter() {
    let mut rows = lineage(9);
    let first = HeldOut::choose(1, &rows, &conf(2, 7)).expect("enough");
    rows.reverse();
    assert_eq!(HeldOut::choose(1, &rows, &conf(2, 7)).expect("enough"), first);
}

#[tokio::test]
async fn a_set_is_frozen_once_and_read_back() {
    let stores: Arc<Stores> = Arc::default();
    let registry = registry(&stores);
    assert!(HeldOut::current(&registry).await.expect("none").is_none());
    let set = HeldOut::choose(1, &lineage(4), &conf(2, 100)).expect("enough");
    let frozen = set.clone().freeze(&registry).await.expect("frozen");
    assert_eq!(frozen, set);
    let other = HeldOut::choose(1, &lineage(9), &conf(2, 100)).expect("enough");
    assert_eq!(
        other.freeze(&registry).await.expect("there"),
        set,
        "the first one counts"
    );
    let current = HeldOut::current(&registry).await.expect("read").expect("a set");
    assert_eq!((current.sha256(), current), (set.sha256(), set));
}

#[tokio::test]
async fn its_masks_are_degraded_alike_every_time_and_a_lost_one_is_told() {
    let stores: Arc<Stores> = Arc::default();
    let registry = registry(&stores);
    let crop = CropConf::default();
    let set = HeldOut::choose(1, &lineage(2), &conf(2, 100)).expect("enough");
    for (seed, case) in ["c00", "c01"].into_iter().enumerate() {
        let cubes = [Level::L2, Level::L3].map(|level| (level, phantom(level, seed as u64)));
        let packed = cache::write(&cubes.to_vec(), &crop).expect("packed");
        let place = registry.place(&format!("patches/{case}.nii.gz"));
        place.put(packed.into()).await.expect("put");
    }
    let subjects = set.subjects(&registry, &crop, 1 << 30).await.expect("subjects");
    let named: Vec<_> = subjects
        .iter()
        .map(|subject| (subject.case_id.as_str(), subject.person.as_str(), subject.level))
        .collect();
    assert_eq!(named.len(), 4);
    assert_eq!(named[1], ("c00", "person of c00", Level::L3));
    assert_eq!(subjects[1].reference.mask, phantom(Level::L3, 0));
    assert!(
        subjects
            .iter()
            .all(|subject| subject.scores[0].is_some_and(|dsc| dsc < 1.0))
    );
    let again = set.subjects(&registry, &crop, 1 << 30).await.expect("subjects");
    assert!(
        subjects
            .iter()
            .zip(&again)
            .all(|(one, other)| one.input == other.input)
    );

    registry
        .place("patches/c01.nii.gz")
        .delete()
        .await
        .expect("deleted");
    let lost = set
        .subjects(&registry, &crop, 1 << 30)
        .await
        .expect_err("a mask is lost");
    assert!(
        matches!(&lost, NightError::HeldOut { case_id, .. } if case_id == "c01"),
        "{lost}"
    );
}
