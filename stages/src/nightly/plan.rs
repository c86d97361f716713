//! The nights of a registry: what each set out to do, frozen before it began, and how it ended.
//!
//! ```text
//! nights/00000001/lineage-<hash>.parquet   every mask ever seen, before anything else of the night; plan or end name it
//! nights/00000001/plan.json         what is trained and judged, create-only; a night without an end goes on by it
//! nights/00000001/judgement.json
//! nights/00000001/report.html, report.json
//! nights/00000001/end.json          create-only, last
//! ```

use bytes::Bytes;
use models::ModelConf;
use models::train::Recipe;
use object_store::Error::NotFound;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::NightError;
use super::conf::Margins;
use super::drift::Drift;
use super::held_out::HeldOut;
use super::report::{Found, Reject, Verdict};
use crate::compare::key::hex;
use crate::crop::CropConf;
use crate::registry::{Registry, VersionName};
use crate::store::{Place, StoreError};

/// Folder of the nights below the method's part of the registry.
pub const FOLDER: &str = "nights";

/// Most bytes of a plan or of an end: a plan lists two hundred rejects.
const FILE_MOST: u64 = 16 << 20;

/// File of a night that says what it set out to do.
pub const PLAN: &str = "plan.json";
/// File that says what came of the comparison.
pub const JUDGEMENT: &str = "judgement.json";
/// File that says that it ended, and how.
pub const END: &str = "end.json";
/// Folder of its training.
pub const TRAINING: &str = "train";

/// What a night found: what its report tells of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Number of the night.
    pub night: u32,
    /// The method.
    pub method: String,
    /// When it began: RFC 3339, UTC.
    pub began: String,
    /// Counts.
    pub found: Found,
    /// Masks that may not teach, the first of them.
    pub rejects: Vec<Reject>,
    /// How the new masks differ from those known.
    pub drift: Vec<Drift>,
}

/// What a night trains and judges, decided before the first step and never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What it found.
    #[serde(flatten)]
    pub facts: Facts,
    /// Name of the model to be.
    pub version: VersionName,
    /// The champion that it is judged against.
    pub champion: Option<Champion>,
    /// Whether the training starts from the champion's weights.
    pub starts_from_champion: bool,
    /// How it trains: version and seed included.
    pub recipe: Recipe,
    /// How masks are cut.
    pub crop: CropConf,
    /// How models reconstruct while they are judged; the weights are the two models' own.
    pub model: ModelConf,
    /// What may be lost.
    pub margins: Margins,
    /// Resamples of the interval.
    pub bootstrap: usize,
    /// File of the lineage below [`FOLDER`], with what is trained on marked.
    pub lineage: String,
    /// The frozen set.
    pub held_out: HeldOut,
    /// Masks trained on that are new to the champion.
    pub new: usize,
    /// Masks trained on that it knows.
    pub replayed: usize,
    /// Persons among them.
    pub persons: usize,
}

/// The champion as a night found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Champion {
    /// Its version.
    pub version: VersionName,
    /// Number of its alias: a promotion of the night takes the next one, or loses.
    pub number: u32,
    /// SHA-256 of its weights, in hex.
    pub weights_sha256: String,
}

/// How a night ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// In one word.
    pub verdict: Verdict,
    /// In sentences.
    pub why: Vec<String>,
    /// When: RFC 3339, UTC.
    pub ended: String,
    /// File of its lineage, below [`FOLDER`]; `None` if nobody knows any.
    pub lineage: Option<String>,
    /// The model that it trained, if it came so far.
    pub version: Option<VersionName>,
}

/// A night, by its number.
#[derive(Debug, Clone)]
pub struct Night {
    /// Its number, from 1.
    pub number: u32,
    /// Its folder.
    pub place: Place,
}

/// The nights that there are.
#[derive(Debug, Clone, Default)]
pub struct Nights {
    /// How the last one ended.
    pub last: Option<End>,
    /// One that has a plan and no end.
    pub unfinished: Option<Night>,
    /// Number of the next one.
    pub next: u32,
}

impl Nights {
    /// Looks the nights up.
    ///
    /// # Errors
    /// The store's; an end that is none.
    pub async fn of(registry: &Registry) -> Result<Self, NightError> {
        let folder = registry.place(FOLDER);
        let listing = folder.list().await?;
        let numbers = |file: &str| -> Vec<u32> {
            let named = listing.iter().filter_map(|object| {
                let below: Vec<String> = object
                    .location
                    .prefix_match(&folder.path)?
                    .map(|part| part.as_ref().to_owned())
                    .collect();
                match below.as_slice() {
                    [night, name] if name == file => night.parse().ok(),
                    _ => None,
                }
            });
            named.collect()
        };
        let (planned, ended) = (numbers(PLAN), numbers(END));
        let mut nights = Self {
            next: planned.iter().chain(&ended).max().unwrap_or(&0) + 1,
            ..Self::default()
        };
        if let Some(number) = ended.iter().max() {
            nights.last = Some(Night::of(registry, *number).read(END).await?);
        }
        // there is one at most: a night begins only when there is none
        if let Some(number) = planned.iter().filter(|number| !ended.contains(number)).max() {
            nights.unfinished = Some(Night::of(registry, *number));
        }
        Ok(nights)
    }
}

impl Night {
    /// Returns the night of a number.
    pub fn of(registry: &Registry, number: u32) -> Self {
        Self {
            number,
            place: registry.place(&format!("{FOLDER}/{number:08}")),
        }
    }

    /// Reads a file of the night that is JSON.
    ///
    /// # Errors
    /// The store's; a file that is none.
    pub async fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T, NightError> {
        let bytes = self.place.join(name).read(FILE_MOST).await?;
        serde_json::from_slice(&bytes).map_err(|error| NightError::Damaged {
            name: format!("{FOLDER}/{:08}/{name}", self.number),
            error: error.to_string(),
        })
    }

    /// The same, or `None` if there is no such file.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub async fn read_if_there<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, NightError> {
        match self.read(name).await {
            Ok(found) => Ok(Some(found)),
            Err(NightError::Store(StoreError::Store(NotFound { .. }))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a file of the night, over an earlier one.
    ///
    /// # Errors
    /// The store's.
    pub async fn put(&self, name: &str, bytes: impl Into<Bytes>) -> Result<(), NightError> {
        Ok(self.place.join(name).put(bytes.into()).await?)
    }

    /// Puts a lineage under the hash of its bytes, so that a night that was asleep and has lost its lease puts it over no
    /// other; returns the file's name below [`FOLDER`].
    ///
    /// # Errors
    /// The store's.
    pub async fn put_lineage(&self, bytes: Bytes) -> Result<String, NightError> {
        let name = format!("lineage-{}.parquet", hex(&Sha256::digest(&bytes)[..8]));
        self.put(&name, bytes).await?;
        Ok(format!("{:08}/{name}", self.number))
    }

    /// Puts a file of the night that is JSON, unless it is there; returns whether it is this one.
    ///
    /// # Errors
    /// The store's.
    pub async fn create<T: Serialize>(&self, name: &str, value: &T) -> Result<bool, NightError> {
        let text = serde_json::to_vec_pretty(value).expect("texts and finite numbers are JSON");
        Ok(self.place.join(name).create(text.into()).await?)
    }
}

impl Plan {
    /// Returns who points aliases in this night's name.
    pub fn by(&self) -> String {
        format!("night {}", self.facts.night)
    }
}
