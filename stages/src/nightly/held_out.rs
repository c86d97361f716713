//! The frozen set of masks that models are judged on: whose they are is decided once, and what they are is kept.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ndarray::Array3;
use schemas::payload::CroppedVertebra;
use schemas::rows::{LineageRow, Split, Verdict};
use schemas::vertebra::Flags;
use schemas::volume::Grid;
use schemas::{Affine, CaseId, Cropped, Fault, Level, Origin, Patch};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::NightError;
use super::conf::NightlyConf;
use super::split::lot;
use crate::compare::key::hex;
use crate::compare::{Degrade, Subject, pair_up};
use crate::crop::CropConf;
use crate::gather::Gathered;
use crate::registry::Registry;
use crate::stage::blocking;
use crate::train::{Cubes, cubes_at};

/// Folder of the sets below the method's part of the registry: numbered, the highest counts.
const FOLDER: &str = "held-out";

/// Most bytes of a set's list.
const LIST_MOST: u64 = 64 << 20;

/// A set of masks to judge on. A set is never changed, only followed by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Its number, from 1.
    pub number: u32,
    /// Its masks, by case and from the head down.
    pub masks: Vec<HeldOutMask>,
}

/// One mask of the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOutMask {
    /// Pseudonym of the case.
    pub case_id: String,
    /// Pseudonym of the person.
    pub person: String,
    /// Its level.
    pub level: Level,
    /// File of its cube below the method's part of the registry.
    pub patches: String,
}

impl HeldOut {
    /// Returns the set of the highest number, if there is one.
    ///
    /// # Errors
    /// The store's; a list that is none.
    pub async fn current(registry: &Registry) -> Result<Option<Self>, NightError> {
        let listing = registry.place(FOLDER).list().await?;
        let numbers = listing.iter().filter_map(|object| {
            let name = object.location.filename()?.strip_suffix(".json")?;
            name.parse::<u32>().ok()
        });
        let Some(number) = numbers.max() else {
            return Ok(None);
        };
        let name = name(number);
        let bytes = registry.place(&name).read(LIST_MOST).await?;
        let set: Self = serde_json::from_slice(&bytes).map_err(|error| NightError::Damaged {
            name: name.clone(),
            error: error.to_string(),
        })?;
        Ok(Some(set))
    }

    /// Chooses a set: whole persons of the held-out side, in the order of their lots, as many as `most_held_out` masks
    /// allow.
    ///
    /// # Errors
    /// How many persons there are, while they are fewer than `least_held_out`.
    pub fn choose(number: u32, lineage: &[LineageRow], conf: &NightlyConf) -> Result<Self, usize> {
        let mut by_person: BTreeMap<([u8; 32], &str), Vec<HeldOutMask>> = BTreeMap::new();
        let held_out = lineage
            .iter()
            .filter(|row| row.verdict == Verdict::Accepted && row.split == Some(Split::HeldOut));
        for row in held_out {
            let (Some(level), Some(patches), Some(person)) = (row.level, &row.patches, &row.person) else {
                continue;
            };
            let lot = (lot(person, &conf.split_key), person.as_str());
            by_person.entry(lot).or_default().push(HeldOutMask {
                case_id: row.case_id.clone(),
                person: person.clone(),
                level,
                patches: patches.clone(),
            });
        }
        if by_person.len() < conf.least_held_out {
            return Err(by_person.len());
        }
        let mut masks = Vec::new();
        for (index, of_person) in by_person.into_values().enumerate() {
            // the fewest persons come whole, whatever memory says
            if index >= conf.least_held_out && masks.len() + of_person.len() > conf.most_held_out {
                break;
            }
            masks.extend(of_person);
        }
        masks.sort_by(|a, b| (&a.case_id, a.level).cmp(&(&b.case_id, b.level)));
        Ok(Self { number, masks })
    }

    /// Puts the set, unless there is one of its number: then that one counts.
    ///
    /// # Errors
    /// The store's.
    pub async fn freeze(self, registry: &Registry) -> Result<Self, NightError> {
        let place = registry.place(&name(self.number));
        if place.create(self.to_bytes()).await? {
            return Ok(self);
        }
        // another night froze it between our look and our put
        Ok(Self::current(registry).await?.unwrap_or(self))
    }

    /// Returns the persons of the set.
    pub fn persons(&self) -> BTreeSet<&str> {
        self.masks.iter().map(|mask| mask.person.as_str()).collect()
    }

    /// Returns the SHA-256 of the list, in hex.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.to_bytes()))
    }

    /// Reads the masks and degrades them, under the seed of the set: the same for every model and every night.
    ///
    /// # Errors
    /// A mask of the set cannot be read: what models were judged on is no longer what they would be judged on.
    pub async fn subjects(
        &self,
        registry: &Registry,
        crop: &CropConf,
        limit: u64,
    ) -> Result<Vec<Subject>, NightError> {
        // of one case at a time: a mask is copied into its subject
        let mut read: Option<(&str, Cubes)> = None;
        let mut by_case: BTreeMap<&str, Vec<CroppedVertebra>> = BTreeMap::new();
        let mut persons: BTreeMap<&str, &str> = BTreeMap::new();
        for mask in &self.masks {
            if read.as_ref().is_none_or(|(patches, _)| *patches != mask.patches) {
                let cubes = cubes_at(&registry.place(&mask.patches), crop, limit).await;
                read = Some((&mask.patches, cubes.map_err(|fault| self.lost(mask, &fault))?));
            }
            let mut cubes = read.iter().flat_map(|(_, cubes)| cubes);
            let Some((_, cube)) = cubes.find(|(level, _)| *level == mask.level) else {
                let fault = Fault::missing("no_cube", "expected a cube of its level, found none");
                return Err(self.lost(mask, &fault));
            };
            by_case
                .entry(&mask.case_id)
                .or_default()
                .push(vertebra(mask.level, cube.clone()));
            persons.insert(&mask.case_id, &mask.person);
        }
        let cases = by_case
            .into_iter()
            .map(|(case_id, vertebrae)| -> Result<Cropped, NightError> {
                let grid = Grid {
                    shape: [crop.size; 3],
                    affine: millimetres(),
                };
                let id: CaseId = case_id.parse().map_err(|_| NightError::Damaged {
                    name: name(self.number),
                    error: "a case id that is none".to_owned(),
                })?;
                let origin = Origin {
                    id,
                    person: persons.get(case_id).copied().unwrap_or(case_id).to_owned(),
                    seed: 0,
                    bytes_read: 0,
                    source: None,
                };
                Ok(Cropped {
                    origin,
                    grid,
                    vertebrae,
                })
            });
        let gathered = Gathered {
            cases: cases.collect::<Result<_, NightError>>()?,
            failed: Vec::new(),
        };
        let pairs = blocking(move || pair_up(gathered, Degrade::Always, false, 0)).await;
        match pairs.left_out.first() {
            None => Ok(pairs.subjects),
            Some(left_out) => Err(NightError::HeldOut {
                number: self.number,
                case_id: left_out.case_id.clone(),
                fault: left_out.fault.clone(),
            }),
        }
    }

    fn lost(&self, mask: &HeldOutMask, fault: &Fault) -> NightError {
        NightError::HeldOut {
            number: self.number,
            case_id: mask.case_id.clone(),
            fault: fault.clone(),
        }
    }

    fn to_bytes(&self) -> Bytes {
        let text = serde_json::to_vec_pretty(self).expect("texts and numbers are JSON");
        text.into()
    }
}

fn name(number: u32) -> String {
    format!("{FOLDER}/{number:08}.json")
}

/// The grid of a cube whose place in the scan does not matter.
fn millimetres() -> Affine {
    Affine::axis_aligned([1.0; 3], [0.0; 3])
}

/// Returns the mask of the set as a vertebra that was cut out of nothing else.
fn vertebra(level: Level, cube: Array3<u8>) -> CroppedVertebra {
    let input = Patch::new(cube, millimetres());
    CroppedVertebra {
        level,
        label: 1,
        source_volume_mm3: input.volume_mm3(),
        input,
        reference: None,
        centre_mm: [0.0; 3],
        flags: Flags::new(),
    }
}

#[cfg(test)]
mod tests;
