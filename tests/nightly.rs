//! Nights as a timer starts them: on good data, on poisoned data, on none; killed in the middle of everything; at once.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use models::description::LatentStatistics;
use models::phantom::{PhantomConf, Spine};
use models::weights::Tensors;
use ndarray::Array3;
use object_store::ObjectStore;
use schemas::{LabelMap, ObjectUrl};
use serde_json::{Value, json};
use spinestream::conf::Conf;
use spinestream::{Exit, RunEnd, night};
use stages::decode::nifti::write_label_map;
use stages::registry::{Alias, Draft, Registry, VersionName, WEIGHTS};
use stages::store::{Place, Stores};
use url::Url;

use crate::support::faulty::{Deed, Faulty, gone};
use crate::support::s3;

/// A site: masks, a manifest that grows, and a registry.
struct Site {
    stores: Arc<Stores>,
    /// Prefix of everything, a URL without a slash at its end.
    root: String,
    rows: Vec<String>,
    settings: Vec<String>,
}

impl Site {
    fn new() -> Self {
        Self::in_stores(Arc::default(), "memory:///site")
    }

    fn in_stores(stores: Arc<Stores>, root: &str) -> Self {
        Self {
            stores,
            root: root.to_owned(),
            rows: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// The same site seen through other stores.
    fn through(&self, stores: Arc<Stores>) -> Self {
        Self {
            stores,
            root: self.root.clone(),
            rows: self.rows.clone(),
            settings: self.settings.clone(),
        }
    }

    fn place(&self, tail: &str) -> Place {
        let url = ObjectUrl::new(format!("{}/{tail}", self.root));
        self.stores.place(&url).expect("a place")
    }

    fn registry(&self) -> Registry {
        Registry::new(&self.place("registry"), "reconnet")
    }

    async fn put(&self, tail: &str, bytes: impl Into<Bytes>) {
        self.place(tail).put(bytes.into()).await.expect("put");
    }

    /// Adds persons by the seeds of their phantoms, each mask changed by `change` first.
    async fn add(&mut self, seeds: std::ops::Range<u64>, change: fn(LabelMap) -> LabelMap) {
        for seed in seeds {
            let packed = tokio::task::spawn_blocking(move || packed(&change(spine(seed))));
            self.put(&format!("ct/p{seed}.nii.gz"), packed.await.expect("packed"))
                .await;
            self.rows
                .push(format!("p{seed},p{seed}.nii.gz,verse,person-{seed}"));
        }
        self.put(
            "ct/manifest.csv",
            format!("case_id,mask,labels,person\n{}\n", self.rows.join("\n")),
        )
        .await;
    }

    fn conf(&self) -> Conf {
        let mut settings: Vec<String> = SETTINGS.iter().map(|text| (*text).to_owned()).collect();
        settings.push(format!("nightly.manifest={}/ct/manifest.csv", self.root));
        settings.push(format!("registry.url={}/registry", self.root));
        settings.extend(self.settings.clone());
        Conf::read(None, std::iter::empty(), &settings).expect("conf")
    }

    /// Makes weights champion by hand that restore nothing: whatever a short training comes to is better, and whether a
    /// night promotes does not hang on how good a tiny network is.
    async fn crown(&self) {
        let description = self.conf().train.recipe.description(LatentStatistics::default());
        let fresh = models::train::fresh(&description, 0).expect("fresh weights");
        // no logit is above 0: every mask comes out empty
        let nothing: Tensors = fresh
            .into_iter()
            .map(|(name, tensor)| (name, tensor.zeros_like()))
            .collect();
        let metadata = description.to_metadata().expect("metadata");
        let weights = models::weights::write(&nothing, metadata).expect("weights");
        let draft = Draft {
            name: "v20260101-00000000".parse().expect("a name"),
            files: vec![(WEIGHTS.to_owned(), weights.into())],
            parent: None,
            made_by: "by hand".to_owned(),
            note: String::new(),
        };
        let registry = self.registry();
        let record = registry.publish(draft).await.expect("published");
        let pointed = registry
            .point(Alias::Champion, &record.version, 0, "by hand", "")
            .await;
        pointed.expect("pointed");
    }

    async fn night(&self) -> Result<Exit, RunEnd> {
        night::nightly(&self.conf(), &self.stores, false, std::future::pending()).await
    }

    /// Counts the champions that nights have made.
    async fn promotions(&self) -> usize {
        let history = self.registry().history(Alias::Champion).await;
        let history = history.expect("history").into_iter();
        history.filter(|entry| entry.by.starts_with("night ")).count()
    }

    async fn champion(&self) -> Option<String> {
        let entry = self.registry().alias(Alias::Champion).await.expect("alias");
        entry.map(|entry| entry.version.to_string())
    }

    async fn json(&self, night: u32, name: &str) -> Option<Value> {
        let place = self.registry().place(&format!("nights/{night:08}/{name}"));
        let bytes = place.read(1 << 24).await.ok()?;
        Some(serde_json::from_slice(&bytes).expect("json"))
    }

    async fn report(&self, night: u32) -> Value {
        self.json(night, "report.json").await.expect("a report")
    }
}

/// A tiny U-Net, a few steps whose loss never drives it to empty masks, three persons held out by name.
const SETTINGS: [&str; 20] = [
    "train.recipe.method=reconnet",
    "train.recipe.network.compact.channels=[4, 4, 8, 8]",
    "train.recipe.network.compact.window=[96, 112, 64]",
    "train.recipe.threads=1",
    "train.recipe.half=false",
    "train.recipe.reuse=1",
    "train.recipe.phantoms=0.0",
    "train.recipe.loss.cross_entropy=0.0",
    "train.recipe.loss.dice=1.0",
    "train.recipe.fit.steps=24",
    "train.recipe.fit.minutes=0",
    "train.recipe.fit.batch=1",
    "train.recipe.fit.ema=0.0",
    "train.recipe.fit.warm_up=2",
    "nightly.start=scratch",
    "nightly.margins.spec=0.9",
    "nightly.held_out=0.0",
    "nightly.held_out_persons=[\"person-1\", \"person-2\", \"person-3\"]",
    "nightly.least_held_out=3",
    "nightly.bootstrap=1000",
];

fn spine(seed: u64) -> LabelMap {
    let spine = Spine::new(seed);
    spine.label_map(&spine.grid(&PhantomConf::default()).expect("a grid"))
}

fn packed(map: &LabelMap) -> Vec<u8> {
    write_label_map(map).expect("nifti")
}

fn as_it_is(map: LabelMap) -> LabelMap {
    map
}

/// Calls L1 L5 and L5 L1.
fn swapped(mut map: LabelMap) -> LabelMap {
    map.data.mapv_inplace(|label| match label {
        20 => 24,
        24 => 20,
        other => other,
    });
    map
}

/// Takes four layers of voxels off every label: of its processes little is left.
fn eroded(mut map: LabelMap) -> LabelMap {
    for _ in 0..4 {
        map.data = peeled(&map.data);
    }
    map
}

/// Takes the voxels off that touch another label or none by a face.
fn peeled(labels: &Array3<u16>) -> Array3<u16> {
    let (size_i, size_j, size_k) = labels.dim();
    let mut peeled = labels.clone();
    for ((i, j, k), label) in peeled.indexed_iter_mut() {
        let is_inside = i > 0 && j > 0 && k > 0 && i + 1 < size_i && j + 1 < size_j && k + 1 < size_k;
        let keeps = is_inside
            && [
                [i - 1, j, k],
                [i + 1, j, k],
                [i, j - 1, k],
                [i, j + 1, k],
                [i, j, k - 1],
                [i, j, k + 1],
            ]
            .into_iter()
            .all(|neighbour| labels[neighbour] == *label);
        if !keeps {
            *label = 0;
        }
    }
    peeled
}

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
