//! A site with a model registry: CT masks that grow from night to night, good ones and poisoned ones.

use std::sync::Arc;

use bytes::Bytes;
use models::description::LatentStatistics;
use models::phantom::{PhantomConf, Spine};
use models::weights::Tensors;
use ndarray::Array3;
use schemas::{LabelMap, ObjectUrl};
use serde_json::Value;
use spinestream::conf::Conf;
use spinestream::{Exit, RunEnd, night};
use stages::decode::nifti::write_label_map;
use stages::registry::{Alias, Draft, Registry, WEIGHTS};
use stages::store::{Place, Stores};

/// A site: masks, a manifest that grows, and a registry.
pub struct Site {
    pub stores: Arc<Stores>,
    /// Prefix of everything, a URL without a slash at its end.
    pub root: String,
    pub rows: Vec<String>,
    pub settings: Vec<String>,
}

impl Site {
    /// A site in memory.
    pub fn new() -> Self {
        Self::in_stores(Arc::default(), "memory:///site")
    }

    /// A site below `root` in these stores.
    pub fn in_stores(stores: Arc<Stores>, root: &str) -> Self {
        Self {
            stores,
            root: root.to_owned(),
            rows: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// The same site seen through other stores.
    pub fn through(&self, stores: Arc<Stores>) -> Self {
        Self {
            stores,
            root: self.root.clone(),
            rows: self.rows.clone(),
            settings: self.settings.clone(),
        }
    }

    /// Returns a place of the site.
    pub fn place(&self, tail: &str) -> Place {
        let url = ObjectUrl::new(format!("{}/{tail}", self.root));
        self.stores.place(&url).expect("a place")
    }

    /// Returns its registry, that of the method it trains.
    pub fn registry(&self) -> Registry {
        Registry::new(&self.place("registry"), "reconnet")
    }

    /// Puts an object.
    pub async fn put(&self, tail: &str, bytes: impl Into<Bytes>) {
        self.place(tail).put(bytes.into()).await.expect("put");
    }

    /// Adds persons by the seeds of their phantoms, each mask changed by `change` first.
    pub async fn add(&mut self, seeds: std::ops::Range<u64>, change: fn(LabelMap) -> LabelMap) {
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

    /// Returns the configuration of its nights.
    pub fn conf(&self) -> Conf {
        let mut settings: Vec<String> = SETTINGS.iter().map(|text| (*text).to_owned()).collect();
        settings.push(format!("nightly.manifest={}/ct/manifest.csv", self.root));
        settings.push(format!("registry.url={}/registry", self.root));
        settings.extend(self.settings.clone());
        Conf::read(None, std::iter::empty(), &settings).expect("conf")
    }

    /// Makes weights champion by hand that restore nothing: whatever a short training comes to is better, and whether a
    /// night promotes does not hang on how good a tiny network is.
    pub async fn crown(&self) {
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

    /// Does one night.
    pub async fn night(&self) -> Result<Exit, RunEnd> {
        night::nightly(&self.conf(), &self.stores, false, std::future::pending()).await
    }

    /// Counts the champions that nights have made.
    pub async fn promotions(&self) -> usize {
        let history = self.registry().history(Alias::Champion).await;
        let history = history.expect("history").into_iter();
        history.filter(|entry| entry.by.starts_with("night ")).count()
    }

    /// Returns the champion's version.
    pub async fn champion(&self) -> Option<String> {
        let entry = self.registry().alias(Alias::Champion).await.expect("alias");
        entry.map(|entry| entry.version.to_string())
    }

    /// Returns what a file of a night says, if it is there.
    pub async fn json(&self, night: u32, name: &str) -> Option<Value> {
        let place = self.registry().place(&format!("nights/{night:08}/{name}"));
        let bytes = place.read(1 << 24).await.ok()?;
        Some(serde_json::from_slice(&bytes).expect("json"))
    }

    /// Returns a night's report.
    pub async fn report(&self, night: u32) -> Value {
        self.json(night, "report.json").await.expect("a report")
    }
}

/// A tiny U-Net, a few steps whose loss never drives it to empty masks, three persons held out by name.
pub const SETTINGS: [&str; 20] = [
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

/// Changes nothing.
pub fn as_it_is(map: LabelMap) -> LabelMap {
    map
}

/// Calls L1 L5 and L5 L1.
pub fn swapped(mut map: LabelMap) -> LabelMap {
    map.data.mapv_inplace(|label| match label {
        20 => 24,
        24 => 20,
        other => other,
    });
    map
}

/// Takes four layers of voxels off every label: of its processes little is left.
pub fn eroded(mut map: LabelMap) -> LabelMap {
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
