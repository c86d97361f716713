//! The registry of models: the same claims in memory, on a disk and in a bucket, and what runs and people make of it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use schemas::ObjectUrl;
#[cfg(feature = "torch")]
use serde_json::Value;
use spinestream::{Exit, RunEnd};
use stages::registry::{
    Alias, AliasEntry, CARD, Collected, Draft, Keep, Pointed, ROLLBACK, Registry, RegistryError, VersionName,
    VersionRecord, WEIGHTS, former,
};
use stages::store::{Place, Stores};
use tempfile::TempDir;

use crate::support::{Cohort, s3};

fn place(stores: &Stores, url: impl Into<String>) -> Place {
    stores.place(&ObjectUrl::new(url)).expect("place")
}

/// Returns an empty registry in each store that there is; the folder of one lasts as long as what is returned.
fn everywhere(claim: &str) -> (Vec<Registry>, TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let on_disk = url::Url::from_directory_path(folder.path()).expect("an absolute path");
    let mut roots = vec![
        place(&Stores::default(), "memory:///registry"),
        place(&Stores::default(), on_disk),
    ];
    if let Some(endpoint) = s3::lent() {
        let url = format!("s3://{}/registry-{claim}-{}", s3::BUCKET, std::process::id());
        roots.push(place(&s3::stores(&endpoint), url));
    }
    let registries = roots.iter().map(|root| Registry::new(root, "lsd_ebm"));
    (registries.collect(), folder)
}

/// A name that ends with a letter from a to f.
fn name(letter: char) -> VersionName {
    format!("v20261126-0000000{letter}").parse().expect("a name")
}

fn draft(letter: char, weights: &str) -> Draft {
    Draft {
        name: name(letter),
        files: vec![
            (WEIGHTS.to_owned(), Bytes::from(weights.to_owned())),
            (CARD.to_owned(), Bytes::from_static(b"a card")),
        ],
        parent: None,
        made_by: "a test".to_owned(),
        note: String::new(),
    }
}

pub(crate) async fn publish(registry: &Registry, letter: char) -> VersionRecord {
    let published = registry.publish(draft(letter, &letter.to_string())).await;
    published.expect("published")
}

/// Points an alias after its last entry.
async fn point(registry: &Registry, alias: Alias, letter: char, by: &str) -> AliasEntry {
    let last = registry.alias(alias).await.expect("alias");
    let after = last.map_or(0, |entry| entry.number);
    let pointed = registry.point(alias, &name(letter), after, by, "why").await;
    match pointed.expect("pointed") {
        Pointed::Won(entry) => entry,
        Pointed::Lost(now) => panic!("nobody else is there, found {now:?}"),
    }
}

fn names(versions: &[VersionRecord]) -> Vec<VersionName> {
    versions.iter().map(|record| record.version.clone()).collect()
}

async fn resolved(registry: &Registry, text: &str) -> Result<VersionName, RegistryError> {
    Ok(registry.resolve(text).await?.version)
}

async fn put(registry: &Registry, tail: &str, bytes: &'static [u8]) {
    let put = registry.place(tail).put(Bytes::from_static(bytes)).await;
    put.expect("put");
}

fn damaged(error: &RegistryError, object: &str) {
    assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
    assert!(error.to_string().starts_with(object), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_published_once_and_read_back() {
    let (registries, _folder) = everywhere("once");
    for registry in registries {
        assert_eq!(registry.versions().await.expect("none"), []);
        let record = publish(&registry, 'a').await;
        // SHA-256 of "a", from sha256sum
        assert_eq!(
            record.weights_sha256,
            "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
        );
        assert_eq!(registry.version(&name('a')).await.expect("there"), record);
        assert_eq!(registry.read(&record, WEIGHTS).await.expect("weights"), "a");
        assert_eq!(registry.read(&record, CARD).await.expect("card"), "a card");
        let missing = registry.read(&record, "manifest.parquet").await;
        assert!(matches!(missing, Err(RegistryError::NoFile { .. })));

        let mut again = draft('a', "a");
        again.files[1].1 = Bytes::from_static(b"another card");
        let kept = registry.publish(again).await.expect("published before");
        assert_eq!(kept, record, "equal weights are the same version");
        assert_eq!(registry.read(&record, CARD).await.expect("card"), "a card");
        let taken = registry.publish(draft('a', "other weights")).await;
        assert!(matches!(taken, Err(RegistryError::Taken(taken)) if taken == name('a')));
        assert_eq!(registry.read(&record, WEIGHTS).await.expect("weights"), "a");

        publish(&registry, 'b').await;
        let versions = registry.versions().await.expect("two");
        assert_eq!(names(&versions), [name('a'), name('b')]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_a_record_are_no_version_and_are_published_again() {
    let (registries, _folder) = everywhere("killed");
    for registry in registries {
        // a process that was killed before its last put
        for (file, bytes) in draft('a', "half of the wei").files {
            let place = registry.place(&format!("{}/{file}", name('a')));
            place.put(bytes).await.expect("put");
        }
        assert_eq!(registry.versions().await.expect("none"), []);
        let none = registry.version(&name('a')).await;
        assert!(matches!(none, Err(RegistryError::NoVersion { .. })));
        let refused = registry.point(Alias::Champion, &name('a'), 0, "a test", "").await;
        assert!(matches!(refused, Err(RegistryError::NoVersion { .. })));

        let record = publish(&registry, 'a').await;
        assert_eq!(registry.read(&record, WEIGHTS).await.expect("weights"), "a");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_who_point_an_alias_at_once_one_wins() {
    let (registries, _folder) = everywhere("race");
    for registry in registries {
        for letter in ['a', 'b', 'c'] {
            publish(&registry, letter).await;
        }
        for after in 0..3 {
            let race = |letter: char| {
                let registry = registry.clone();
                tokio::spawn(async move {
                    let to = name(letter);
                    let pointed = registry.point(Alias::Champion, &to, after, "a racer", "").await;
                    pointed.expect("pointed")
                })
            };
            let racers = [race('a'), race('b'), race('c')];
            let (mut won, mut lost) = (Vec::new(), Vec::new());
            for racer in racers {
                match racer.await.expect("no panic") {
                    Pointed::Won(entry) => won.push(entry),
                    Pointed::Lost(entry) => lost.push(entry),
                }
            }
            let winner = registry
                .alias(Alias::Champion)
                .await
                .expect("alias")
                .expect("one");
            assert_eq!(won, std::slice::from_ref(&winner));
            assert_eq!(lost, [winner.clone(), winner.clone()]);
            assert_eq!(winner.number, after + 1);
        }
        // who has seen an old entry only is late
        let late = registry.point(Alias::Champion, &name('a'), 1, "late", "").await;
        assert!(matches!(late, Ok(Pointed::Lost(now)) if now.number == 3));
        assert_eq!(registry.history(Alias::Champion).await.expect("history").len(), 3);
        assert_eq!(registry.alias(Alias::Challenger).await.expect("none"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_champion_is_taken_back_and_names_resolve_to_what_they_say() {
    let (registries, _folder) = everywhere("back");
    for registry in registries {
        let none = registry.resolve("champion").await;
        assert!(matches!(none, Err(RegistryError::NoAlias { .. })));
        for letter in ['a', 'b'] {
            publish(&registry, letter).await;
            point(&registry, Alias::Champion, letter, "night").await;
        }
        point(&registry, Alias::Challenger, 'a', "night").await;
        assert_eq!(resolved(&registry, "champion").await.expect("b"), name('b'));
        assert_eq!(resolved(&registry, "challenger").await.expect("a"), name('a'));
        assert_eq!(
            resolved(&registry, "v20261126-0000000a").await.expect("a"),
            name('a')
        );
        let unknown = resolved(&registry, "v20261126-0000000f").await;
        assert!(matches!(unknown, Err(RegistryError::NoVersion { .. })));
        assert!(matches!(
            resolved(&registry, "best").await,
            Err(RegistryError::Name(_))
        ));

        let history = registry.history(Alias::Champion).await.expect("history");
        assert_eq!(former(&history), Some(&name('a')));
        let entry = point(&registry, Alias::Champion, 'a', ROLLBACK).await;
        assert_eq!(entry.number, 3);
        assert_eq!(resolved(&registry, "champion").await.expect("a"), name('a'));
        let history = registry.history(Alias::Champion).await.expect("history");
        assert_eq!(former(&history), None, "nothing was before it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clearing_up_spares_what_is_pointed_to_what_was_champion_and_what_is_young() {
    let (registries, _folder) = everywhere("gc");
    let keep = Keep {
        champions: 2,
        days: 30,
    };
    for registry in registries {
        for letter in ['a', 'b', 'c'] {
            publish(&registry, letter).await;
            point(&registry, Alias::Champion, letter, "night").await;
        }
        publish(&registry, 'd').await;
        publish(&registry, 'e').await;
        point(&registry, Alias::Challenger, 'e', "night").await;
        for (file, bytes) in draft('f', "leftover").files {
            let place = registry.place(&format!("{}/{file}", name('f')));
            place.put(bytes).await.expect("put");
        }
        let other = registry.place("nights/00000001/plan.json");
        other.put(Bytes::from_static(b"{}")).await.expect("put");

        let at = |days: u64| SystemTime::now() + Duration::from_secs(days * 86_400);
        let young = registry.gc(keep, at(0), false).await.expect("gc");
        assert_eq!(young, Collected::default());
        let left = registry.gc(keep, at(2), true).await.expect("gc");
        assert_eq!(left.versions, []);
        assert_eq!(left.leftovers, [name('f')]);

        let mut bytes = 0;
        for letter in ['a', 'd', 'f'] {
            let objects = registry.place(name(letter).as_str()).list().await.expect("list");
            bytes += objects.iter().map(|object| object.size).sum::<u64>();
        }
        let expected = Collected {
            versions: vec![name('a'), name('d')],
            leftovers: vec![name('f')],
            bytes,
        };
        let told = registry.gc(keep, at(31), true).await.expect("gc");
        assert_eq!(told, expected);
        assert_eq!(registry.versions().await.expect("all").len(), 5, "a dry run");
        let done = registry.gc(keep, at(31), false).await.expect("gc");
        assert_eq!(done, expected);

        let versions = registry.versions().await.expect("three");
        assert_eq!(names(&versions), [name('b'), name('c'), name('e')]);
        for letter in ['a', 'd', 'f'] {
            let objects = registry.place(name(letter).as_str()).list().await.expect("list");
            assert_eq!(objects, []);
        }
        other.head().await.expect("not a version's");
        let nothing = registry.gc(keep, at(31), false).await.expect("gc");
        assert_eq!(nothing, Collected::default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_is_named_and_nothing_is_deleted_beside_it() {
    let (registries, _folder) = everywhere("damaged");
    for registry in registries {
        for letter in ['a', 'b'] {
            publish(&registry, letter).await;
            point(&registry, Alias::Champion, letter, "night").await;
        }
        let record = registry.version(&name('a')).await.expect("a");

        put(&registry, "v20261126-0000000a/weights.safetensors", b"A").await;
        let error = registry.read(&record, WEIGHTS).await.expect_err("another byte");
        damaged(&error, "models/lsd_ebm/v20261126-0000000a/weights.safetensors");
        put(&registry, "v20261126-0000000a/weights.safetensors", b"too long").await;
        let error = registry.read(&record, WEIGHTS).await.expect_err("another length");
        damaged(&error, "models/lsd_ebm/v20261126-0000000a/weights.safetensors");
        registry
            .place("v20261126-0000000a/card.md")
            .delete()
            .await
            .expect("deleted");
        let error = registry.read(&record, CARD).await.expect_err("gone");
        damaged(&error, "models/lsd_ebm/v20261126-0000000a/card.md");

        put(&registry, "aliases/champion/00000002.json", b"{").await;
        let error = registry.resolve("champion").await.expect_err("no JSON");
        damaged(&error, "models/lsd_ebm/aliases/champion/00000002.json");
        let first = registry
            .place("aliases/champion/00000001.json")
            .read(1 << 20)
            .await;
        let second = registry.place("aliases/champion/00000002.json");
        second.put(first.expect("first")).await.expect("put");
        let error = registry.alias(Alias::Champion).await.expect_err("another entry");
        damaged(&error, "models/lsd_ebm/aliases/champion/00000002.json");
        second.delete().await.expect("deleted");
        assert_eq!(
            registry.resolve("champion").await.expect("a"),
            record,
            "as it says"
        );

        let b = registry.place("v20261126-0000000b/version.json");
        let a = registry
            .place("v20261126-0000000a/version.json")
            .read(1 << 20)
            .await;
        b.put(a.expect("record")).await.expect("put");
        let error = registry.version(&name('b')).await.expect_err("another record");
        damaged(&error, "models/lsd_ebm/v20261126-0000000b/version.json");
        let later = SystemTime::now() + Duration::from_secs(400 * 86_400);
        let error = registry
            .gc(Keep::default(), later, false)
            .await
            .expect_err("refused");
        damaged(&error, "models/lsd_ebm/v20261126-0000000b/version.json");
        b.head().await.expect("still there");
    }
}

#[cfg(feature = "torch")]
#[tokio::test(flavor = "multi_thread")]
async fn a_run_takes_the_champion_of_its_day() {
    use models::description::Method;
    use models::weights::{sha256_hex, shipped};

    let cohort = Cohort::of_phantoms(1).await;
    let registry = Registry::new(&cohort.place("registry"), "lsd_ebm");
    let weights = Bytes::from_static(shipped(Method::LsdEbm));
    let mut draft = draft('a', "");
    draft.files[0].1 = weights.clone();
    registry.publish(draft).await.expect("published");
    point(&registry, Alias::Champion, 'a', "night").await;

    let settings = [
        "registry.url=memory:///registry",
        "model.weights=champion",
        "model.steps=0",
        "crop.levels=[\"L3\"]",
        "write.volumes=[\"patch\"]",
    ];
    assert_eq!(cohort.run("out", &settings).await.expect("run"), Exit::Done);
    let rows = cohort.table("out", "vertebrae").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["weights_sha256"], sha256_hex(&weights));
    let record = cohort.place("out/runs/test/w0001.json").read(1 << 20).await;
    let record: Value = serde_json::from_slice(&record.expect("record")).expect("json");
    let used = &record["configuration"]["model"]["weights"]["lsd_ebm"];
    assert_eq!(*used, name('a').to_string(), "the version, not the alias");

    let place = registry.place("v20261126-0000000a/weights.safetensors");
    place.put(weights.slice(1..)).await.expect("put");
    let end = cohort.run("again", &settings).await.expect_err("damaged");
    assert!(matches!(end, RunEnd::Unusable(_)), "{end}");
    assert!(end.to_string().contains("model.weights"), "{end}");
}

#[tokio::test]
async fn a_name_without_a_registry_ends_the_run_before_its_first_case() {
    let cohort = Cohort::of_phantoms(1).await;
    let end = cohort.run("out", &["model.weights=champion"]).await;
    let end = end.expect_err("no registry");
    assert!(matches!(end, RunEnd::Conf(_)), "{end}");
    assert!(end.to_string().contains("registry.url"), "{end}");
    let missing = ["model.weights=challenger", "registry.url=memory:///registry"];
    let end = cohort.run("out", &missing).await.expect_err("no challenger");
    assert_eq!(end.exit(), Exit::Usage, "{end}");
    assert_eq!(cohort.place("out").list().await.expect("list"), []);
}
