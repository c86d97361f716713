//! Brings every vertebra of the manifest into its cube, from earlier starts where it was cut before, and splits
//! them by person.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use models::train::TrainingMask;
use object_store::Error::NotFound;
use schemas::{Fault, Listed, Outcome};

use super::cache::{self, Cubes};
use super::{TrainConf, TrainError};
use crate::crop::CropConf;
use crate::gather::Cut;
use crate::objects::stamps;
use crate::stage::blocking;
use crate::store::{Place, StoreError, Stores};

/// The cubes that networks are built for, in voxels and mm.
const CUBE: (usize, f64) = (128, 1.0);

/// Masks to train on and masks held out.
#[derive(Debug, Clone, Default)]
pub struct Split {
    /// To learn from.
    pub train: Vec<TrainingMask>,
    /// Held out.
    pub validation: Vec<TrainingMask>,
    /// Cases that gave no mask, and why.
    pub failed: Vec<(String, Fault)>,
    /// Cases that gave masks.
    pub cases: usize,
    /// How many of these were not read but lay cut below `train.output`.
    pub cached: usize,
}

/// What is needed to bring masks into their cubes.
#[derive(Debug, Clone)]
pub struct Gather {
    cut: Cut,
    output: Place,
    max_bytes: u64,
}

/// Where a person's masks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Train,
    Validation,
}

/// A case's cubes, and whether they lay in the store.
struct Found {
    cubes: Cubes,
    cached: bool,
}

impl TrainConf {
    /// Checks the lists of persons against each other and against the manifest, before anything is read.
    ///
    /// # Errors
    /// A person on both sides, or one whom the manifest does not hold.
    pub fn check_persons(&self, cases: &[Outcome<Listed>]) -> Result<(), TrainError> {
        if let Some(person) = self
            .persons
            .iter()
            .find(|person| self.validation.contains(person))
        {
            return Err(TrainError::OnBothSides(person.clone()));
        }
        for (key, persons) in [
            ("train.persons", &self.persons),
            ("train.validation", &self.validation),
        ] {
            let unknown = persons
                .iter()
                .find(|person| !cases.iter().any(|case| person_of(case) == Some(person.as_str())));
            if let Some(person) = unknown {
                return Err(TrainError::NotInManifest {
                    key,
                    person: person.clone(),
                });
            }
        }
        Ok(())
    }

    fn side(&self, person: &str) -> Option<Side> {
        let is_in = |persons: &[String]| persons.iter().any(|listed| listed == person);
        if is_in(&self.validation) {
            Some(Side::Validation)
        } else if self.persons.is_empty() || is_in(&self.persons) {
            Some(Side::Train)
        } else {
            None
        }
    }
}

impl Split {
    /// Checks that there is something to learn from, and a mask of everyone whom the configuration lists.
    ///
    /// # Errors
    /// There is not.
    pub fn check(&self, conf: &TrainConf) -> Result<(), TrainError> {
        if self.train.is_empty() {
            return Err(TrainError::NoMask {
                cases: self.cases + self.failed.len(),
                failed: self.failed.len(),
            });
        }
        for (listed, masks) in [(&conf.persons, &self.train), (&conf.validation, &self.validation)] {
            let without = listed
                .iter()
                .find(|person| !masks.iter().any(|mask| mask.person == **person));
            if let Some(person) = without {
                return Err(TrainError::NoMaskOf(person.clone()));
            }
        }
        Ok(())
    }
}

impl Gather {
    /// Reads masks from `stores`, none of more than `max_bytes`, and keeps cubes below `output`.
    ///
    /// # Errors
    /// Cubes that no network is built for.
    pub fn new(
        stores: &Arc<Stores>,
        crop: &CropConf,
        max_bytes: u64,
        output: &Place,
    ) -> Result<Self, TrainError> {
        if (crop.size, crop.spacing_mm) != CUBE {
            return Err(TrainError::Cube {
                size: crop.size,
                spacing_mm: crop.spacing_mm,
            });
        }
        Ok(Self::of_any_cube(stores, crop, max_bytes, output))
    }

    pub(super) fn of_any_cube(stores: &Arc<Stores>, crop: &CropConf, max_bytes: u64, output: &Place) -> Self {
        Self {
            cut: Cut::new(stores, crop, max_bytes),
            output: output.clone(),
            max_bytes,
        }
    }

    /// Brings every vertebra of the listed cases into its cube and splits them by person, in the manifest's order.
    /// Only the column mask is read, and only of persons who are asked for.
    ///
    /// # Errors
    /// See [`TrainConf::check_persons`]; a case that cannot be had is an entry of [`Split::failed`].
    pub async fn gather(&self, cases: Vec<Outcome<Listed>>, conf: &TrainConf) -> Result<Split, TrainError> {
        conf.check_persons(&cases)?;
        let wanted = cases
            .into_iter()
            .filter(|case| person_of(case).is_none_or(|person| conf.side(person).is_some()));
        // as many volumes in memory as there are cores to unpack them; outcomes keep the manifest's order
        let width = std::thread::available_parallelism().map_or(1, usize::from);
        let mut outcomes = futures::stream::iter(wanted)
            .map(|case| self.outcome(case))
            .buffered(width);
        let mut split = Split::default();
        while let Some(outcome) = outcomes.next().await {
            let (person, found) = match outcome {
                Ok(found) => found,
                Err(failed) => {
                    split.failed.push(failed);
                    continue;
                }
            };
            let side = match conf.side(&person) {
                Some(Side::Train) => &mut split.train,
                Some(Side::Validation) => &mut split.validation,
                None => continue,
            };
            side.extend(found.cubes.into_iter().map(|(level, mask)| TrainingMask {
                person: person.clone(),
                level,
                mask,
            }));
            split.cases += 1;
            split.cached += usize::from(found.cached);
        }
        Ok(split)
    }

    async fn outcome(&self, case: Outcome<Listed>) -> Result<(String, Found), (String, Fault)> {
        let case = case.map_err(|failure| (failure.id.to_string(), failure.fault))?;
        let person = case.body.origin.person.clone();
        // as in the flow: a mistake of ours costs the case, and its words went to stderr
        let found = match AssertUnwindSafe(self.cubes(case.body)).catch_unwind().await {
            Ok(found) => found,
            Err(_) => Err(Fault::bug("panic", "panicked on this case")),
        };
        match found {
            Ok(found) => Ok((person, found)),
            Err(fault) => Err((case.id.to_string(), fault)),
        }
    }

    /// Returns a case's cubes: those kept below the output if its mask is still the same, or cut anew and kept.
    async fn cubes(&self, listed: Listed) -> Result<Found, Fault> {
        let stamps = stamps(&self.cut.fetch.stores, &listed.mask).await;
        let stamps = stamps.map_err(|fault| fault.about("mask"))?;
        let kept = self
            .output
            .join(&cache::name(&listed.mask, &stamps, &self.cut.crop.conf));
        let case = listed.origin.id.clone();
        match self.kept(&kept).await {
            Ok(Some(cubes)) => return Ok(Found { cubes, cached: true }),
            Ok(None) => {}
            Err(fault) => tracing::warn!(%case, "kept cubes cannot be read, they are cut anew: {fault}"),
        }
        let cubes = self.cut(listed).await?;
        let crop = self.cut.crop.conf.clone();
        let (cubes, packed) = blocking(move || {
            let packed = cache::write(&cubes, &crop);
            (cubes, packed)
        })
        .await;
        let put = kept
            .put(Bytes::from(packed?))
            .await
            .map_err(StoreError::into_fault);
        if let Err(fault) = put {
            tracing::warn!(%case, "cubes cannot be kept, the next start cuts them anew: {fault}");
        }
        Ok(Found { cubes, cached: false })
    }

    async fn kept(&self, place: &Place) -> Result<Option<Cubes>, Fault> {
        let bytes = match place.read(self.max_bytes).await {
            Ok(bytes) => bytes,
            Err(StoreError::Store(NotFound { .. })) => return Ok(None),
            Err(error) => return Err(error.into_fault()),
        };
        let crop = self.cut.crop.conf.clone();
        blocking(move || cache::read(&bytes, &crop).map(Some)).await
    }

    async fn cut(&self, listed: Listed) -> Result<Cubes, Fault> {
        let alone = Listed {
            reference: None,
            ..listed
        };
        let cropped = self.cut.run(alone).await?;
        // a label thinner than a voxel of the cube leaves nothing to learn from
        let full = cropped
            .vertebrae
            .into_iter()
            .filter(|vertebra| vertebra.input.voxels() > 0);
        let cubes: Cubes = full
            .map(|vertebra| (vertebra.level, vertebra.input.mask))
            .collect();
        if cubes.is_empty() {
            return Err(Fault::unsuitable(
                "empty_cubes",
                "mask: expected a label that fills a voxel of its cube, found none",
            ));
        }
        Ok(cubes)
    }
}

fn person_of(case: &Outcome<Listed>) -> Option<&str> {
    match case {
        Ok(case) => Some(&case.body.origin.person),
        Err(failure) => failure.person.as_deref(),
    }
}

#[cfg(test)]
mod tests;
