//! Nights as a timer starts them: on good data, on poisoned data, on none; killed in the middle of everything; at once.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use object_store::ObjectStore;
use serde_json::json;
use spinestream::{Exit, RunEnd, night};
use stages::registry::{Alias, VersionName};
use stages::store::Stores;
use url::Url;

use crate::support::faulty::{Deed, Faulty, gone};
use crate::support::s3;
use crate::support::site::{SETTINGS, Site, as_it_is, eroded, swapped};

/// Good data, poisoned data and none, night after night, wherever the site lies.
async fn three_nights(mut site: Site) {
    site.crown().await;
    site.add(1..10, as_it_is).await;
    assert_eq!(site.night().await.expect("a night"), Exit::Done);
    let first = site.report(1).await;
    assert_eq!(first["found"]["masks_accepted"], 45, "{first:#}");
    assert_eq!(first["verdict"], "promoted", "{:#}", first["judgement"]["rules"]);
    let champion = site.champion().await.expect("a champion");
    assert_eq!(first["challenger"], champion);
    // from now on its weights are what trainings start from
    site.settings.push("nightly.start=champion".to_owned());
    // and enough masks of each level are known that eroded ones stand out: only now, or the first night would hold its
    // own few against each other
    site.settings.push("nightly.gates.least_known=6".to_owned());

    assert_eq!(site.night().await.expect("nothing new"), Exit::Done);
    assert!(
        site.json(2, "report.json").await.is_none(),
        "a night without news leaves no trace"
    );

    site.add(10..11, swapped).await;
    site.add(11..12, eroded).await;
    assert_eq!(site.night().await.expect("a night"), Exit::NothingJudged);
    let poisoned = site.report(2).await;
    assert_eq!(poisoned["verdict"], "nothing_to_judge");
    let rejects = poisoned["rejects"].as_array().expect("rejects");
    let reasons = |case: &str| -> Vec<String> {
        let of_case = rejects.iter().filter(|reject| reject["case_id"] == case);
        of_case.map(|reject| reject["reasons"].to_string()).collect()
    };
    assert!(
        reasons("p10")
            .iter()
            .any(|reasons| reasons.contains("level_order"))
    );
    assert!(
        reasons("p11")
            .iter()
            .all(|reasons| reasons.contains("unlike_known")),
        "{rejects:?}"
    );
    assert_eq!(reasons("p11").len(), 5);
    assert_eq!(
        site.champion().await.as_ref(),
        Some(&champion),
        "the champion stays"
    );

    // good ones beside them: more of the same kind may teach, whatever becomes of the challenger
    site.add(12..15, as_it_is).await;
    assert_eq!(site.night().await.expect("a night"), Exit::Done);
    let third = site.report(3).await;
    assert_eq!(third["champion"], champion);
    assert!(third["taught"]["replayed"].as_u64() > Some(0), "{third:#}");
    let promoted = third["verdict"] == "promoted";
    assert_eq!(
        site.champion().await == third["challenger"].as_str().map(str::to_owned),
        promoted
    );
    assert_eq!(
        promoted,
        third["judgement"]["rules"]
            .as_array()
            .expect("rules")
            .iter()
            .all(|rule| rule["passed"] == true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn good_data_promotes_poison_is_turned_away_and_nothing_new_does_nothing() {
    three_nights(Site::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_nights_on_an_s3_server() {
    let Some(endpoint) = s3::lent() else { return };
    let root = format!("s3://{}/nightly-{}", s3::BUCKET, std::process::id());
    three_nights(Site::in_stores(s3::stores(&endpoint), &root)).await;
}

// a clock that stands still: a start waits 75 s for signs of life of the one that died before it
#[tokio::test(start_paused = true)]
async fn a_night_that_dies_at_any_put_is_finished_by_the_next_start() {
    let mut site = Site::new();
    // what is trained is trained in several lives
    site.settings.push("train.recipe.fit.steps=6".to_owned());
    site.crown().await;
    site.add(1..6, as_it_is).await;
    // the same store, which from the n-th put of a start on, signs of life included, takes nothing more
    let inner = site.place("").store;
    for lives in 0.. {
        assert!(lives < 200, "a night is some dozen puts");
        let puts = AtomicUsize::new(0);
        let dying = Faulty::new(Arc::clone(&inner), move |deed, _| {
            let is_late = deed == Deed::Put && puts.fetch_add(1, Ordering::Relaxed) >= lives;
            is_late.then(gone)
        });
        let stores = Arc::new(Stores::default());
        let dying: Arc<dyn ObjectStore> = Arc::new(dying);
        stores.register(&Url::parse("memory:///").expect("url"), dying);
        match site.through(stores).night().await {
            Ok(exit) => {
                assert_eq!(exit, Exit::Done);
                break;
            }
            Err(end) => assert_eq!(end.exit(), Exit::Broken, "{end}"),
        }
    }
    let champion = site.champion().await.expect("a champion");
    assert_eq!(site.promotions().await, 1, "promoted once");
    assert_eq!(site.report(1).await["verdict"], "promoted");
    assert!(
        site.json(2, "end.json").await.is_none(),
        "one night, however often it died"
    );
    // a training that never died
    let output = format!("{}/again", site.root);
    let again = night::again(
        &site.conf(),
        &site.stores,
        &champion,
        &output,
        std::future::pending(),
    )
    .await;
    assert_eq!(again.expect("trained"), Exit::Done, "equal weights");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nights_at_once_promote_once() {
    let mut site = Site::new();
    site.crown().await;
    site.add(1..6, as_it_is).await;
    let (one, other) = tokio::join!(site.night(), site.night());
    for ended in [&one, &other] {
        // it left, or waited until the other gave its last sign of life and found nothing new
        assert!(
            matches!(ended, Ok(Exit::Done) | Err(RunEnd::Busy(_))),
            "{ended:?}"
        );
    }
    assert!(one.is_ok() || other.is_ok());
    assert_eq!(site.promotions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_trained_once_more_from_its_own_manifest_to_equal_weights() {
    let mut site = Site::new();
    site.crown().await;
    site.add(1..6, as_it_is).await;
    site.night().await.expect("a night");
    let champion = site.champion().await.expect("a champion");
    // masks and manifest may have gone: the registry has all it takes
    site.place("ct/p4.nii.gz").delete().await.expect("deleted");
    let output = format!("{}/again", site.root);
    let stop = std::future::pending();
    let again = night::again(&site.conf(), &site.stores, &champion, &output, stop).await;
    assert_eq!(again.expect("trained"), Exit::Done, "equal weights");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_held_out_persons_judge_nothing_and_their_masks_wait() {
    let mut site = Site::new();
    site.add(1..3, as_it_is).await;
    site.add(4..6, as_it_is).await;
    assert_eq!(site.night().await.expect("a night"), Exit::NothingJudged);
    assert_eq!(site.champion().await, None);
    site.add(3..4, as_it_is).await;
    assert_eq!(site.night().await.expect("a night"), Exit::Done);
    let second = site.report(2).await;
    assert_eq!(
        second["taught"]["new"], 10,
        "those of the first night too: {second:#}"
    );
    assert_eq!(second["held_out"]["persons"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_withdraws_neither_teaches_nor_judges_any_more() {
    let mut site = Site::new();
    // four judge, one more than must
    let judges = r#"nightly.held_out_persons=["person-1", "person-2", "person-3", "person-4"]"#;
    site.settings.push(judges.to_owned());
    site.add(1..7, as_it_is).await;
    assert_eq!(site.night().await.expect("a night"), Exit::Done);
    let first = site.report(1).await;
    assert_eq!(
        (&first["held_out"]["number"], &first["held_out"]["persons"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(first["taught"]["persons"], 2, "{first:#}");

    let withdrawn = r#"nightly.withdrawn=["person-4", "person-5"]"#;
    site.settings.push(withdrawn.to_owned());
    site.add(7..8, as_it_is).await;
    assert_eq!(site.night().await.expect("a night"), Exit::Done);
    let second = site.report(2).await;
    assert_eq!(
        (&second["held_out"]["number"], &second["held_out"]["persons"]),
        (&json!(2), &json!(3)),
        "another set without the one who left"
    );
    // whether the first night's are new or shown once more hangs on its promotion
    assert_eq!(
        second["taught"]["persons"], 2,
        "the sixth and the seventh: {second:#}"
    );
    let plan = site.json(2, "plan.json").await.expect("a plan");
    let masks = plan["held_out"]["masks"].as_array().expect("masks");
    assert!(masks.iter().all(|mask| mask["person"] != "person-4"), "{masks:?}");
}

/// Starts a night as a timer does, with more settings.
fn started(site: &Site, settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spinestream"));
    command.arg("nightly").stdout(Stdio::null()).stderr(Stdio::null());
    let places = [
        format!("nightly.manifest={}/ct/manifest.csv", site.root),
        format!("registry.url={}/registry", site.root),
    ];
    let all = SETTINGS.iter().copied().chain(places.iter().map(String::as_str));
    for setting in all.chain(settings.iter().copied()) {
        command.args(["--set", setting]);
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_killed_while_it_trains_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().expect("folder");
    let root = Url::from_directory_path(folder.path()).expect("url");
    let mut site = Site::in_stores(Arc::default(), root.as_str().trim_end_matches('/'));
    site.add(1..6, as_it_is).await;
    let often = [
        "train.recipe.checkpoint_minutes=0.0",
        "train.recipe.fit.steps=150",
    ];
    let mut child = started(&site, &often).spawn().expect("started");
    let checkpoint = site
        .registry()
        .place("nights/00000001/train/checkpoint.safetensors");
    let since = Instant::now();
    while checkpoint.head().await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint came");
        assert!(
            child.try_wait().expect("asked").is_none(),
            "it ended before it trained"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = started(&site, &often).status().expect("runs");
    assert_eq!(second.code(), Some(3), "one is at work already");
    assert!(child.try_wait().expect("asked").is_none(), "and goes on");
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert_eq!(site.champion().await, None);
    let ended = started(&site, &often).status().expect("runs");
    assert_eq!(ended.code(), Some(0));
    let metrics = site.json(1, "train/metrics.json").await.expect("metrics");
    assert_eq!(metrics["starts"], 2, "it went on");
    assert_eq!(metrics["complete"], true);
    assert!(site.json(1, "end.json").await.is_some());
}

#[test]
fn a_night_without_registry_or_manifest_is_a_wrong_configuration() {
    for (missing, said) in [
        ("registry.url=", "registry.url"),
        ("nightly.manifest=", "nightly.manifest"),
    ] {
        let site = Site::in_stores(Arc::default(), "memory:///site");
        let mut command = started(&site, &[missing]);
        let output = command.stderr(Stdio::piped()).output().expect("runs");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains(said), "{words}");
        assert!(matches!(output.status.code(), Some(2 | 3)), "{:?}", output.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_champion_changed_by_hand_while_a_night_goes_on_is_not_overwritten() {
    let mut site = Site::new();
    site.crown().await;
    site.add(1..6, as_it_is).await;
    site.night().await.expect("a night");
    let first = site.champion().await.expect("a champion");
    site.add(6..8, as_it_is).await;
    // as if somebody had promoted the same one once more just before the night would have: the store does it at the put
    let inner = site.place("").store;
    let (name, registry): (VersionName, _) = (first.parse().expect("a version"), site.registry());
    let by_hand = Faulty::new(inner, move |deed, path| {
        let is_judged = path.as_ref().ends_with("nights/00000002/judgement.json");
        if deed == Deed::Put && is_judged {
            // after the entry that crowned the first and that of the first night
            let pointed = registry.point(Alias::Champion, &name, 2, "by hand", "");
            // a store in memory never waits
            pointed.now_or_never().expect("at once").expect("pointed");
        }
        None
    });
    let stores = Arc::new(Stores::default());
    let by_hand: Arc<dyn ObjectStore> = Arc::new(by_hand);
    stores.register(&Url::parse("memory:///").expect("url"), by_hand);
    assert_eq!(site.through(stores).night().await.expect("a night"), Exit::Done);
    let second = site.report(2).await;
    assert_eq!(second["verdict"], "kept", "{second:#}");
    assert_eq!(site.champion().await, Some(first));
}
