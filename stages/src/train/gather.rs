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

/// Masks to train on and masks held out: by person as [`Gather::gather`] splits them, or by whatever rule a caller has,
/// who fills in the counts too, since [`Split::check`] tells them.
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
    /// How many of these were not read but lay cut already.
    pub cached: usize,
}

/// What is needed to bring masks into their cubes.
#[derive(Debug, Clone)]
pub struct Gather {
    cut: Cut,
    kept_below: Place,
    max_bytes: u64,
}

/// Where a person's masks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Train,
    Validation,
}

/// A case's cubes, and the file that keeps them.
#[derive(Debug, Clone)]
pub struct CaseCubes {
    /// Name of the file below the place that [`Gather::new`] was given: `patches/<key>.nii.gz`.
    pub name: String,
    /// The vertebrae, from the head down.
    pub cubes: Cubes,
    /// They lay there, and the mask was not read.
    pub cached: bool,
    /// They lie there now: the store has not refused them.
    pub kept: bool,
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
    /// Reads masks from `stores`, none of more than `max_bytes`, and keeps cubes below `kept_below`, each case's under its
    /// [`Gather::name`]: `train.output`, or one place for the cubes of many trainings, which then read them there.
    ///
    /// # Errors
    /// Cubes that no network is built for.
    pub fn new(
        stores: &Arc<Stores>,
        crop: &CropConf,
        max_bytes: u64,
        kept_below: &Place,
    ) -> Result<Self, TrainError> {
        if (crop.size, crop.spacing_mm) != CUBE {
            return Err(TrainError::Cube {
                size: crop.size,
                spacing_mm: crop.spacing_mm,
            });
        }
        Ok(Self::of_any_cube(stores, crop, max_bytes, kept_below))
    }

    pub(super) fn of_any_cube(
        stores: &Arc<Stores>,
        crop: &CropConf,
        max_bytes: u64,
        kept_below: &Place,
    ) -> Self {
        Self {
            cut: Cut::new(stores, crop, max_bytes),
            kept_below: kept_below.clone(),
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

    async fn outcome(&self, case: Outcome<Listed>) -> Result<(String, CaseCubes), (String, Fault)> {
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

    /// Returns the name of the file with a case's cubes, below the place that [`Gather::new`] was given. It follows from
    /// everything that the cubes follow from, of the mask what its store says of it: the mask is not read.
    ///
    /// # Errors
    /// The mask is not there, or its store does not answer.
    pub async fn name(&self, listed: &Listed) -> Result<String, Fault> {
        let stamps = stamps(&self.cut.fetch.stores, &listed.mask).await;
        let stamps = stamps.map_err(|fault| fault.about("mask"))?;
        Ok(cache::name(&listed.mask, &stamps, &self.cut.crop.conf))
    }

    /// Returns a case's cubes: those kept if its mask is still the same, or cut anew and kept.
    ///
    /// # Errors
    /// The first stage's fault. That cubes cannot be kept, or those kept not be read, is a warning.
    pub async fn cubes(&self, listed: Listed) -> Result<CaseCubes, Fault> {
        let name = self.name(&listed).await?;
        let place = self.kept_below.join(&name);
        let case = listed.origin.id.clone();
        match self.kept(&place).await {
            Ok(Some(cubes)) => {
                return Ok(CaseCubes {
                    name,
                    cubes,
                    cached: true,
                    kept: true,
                });
            }
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
        let put = place
            .put(Bytes::from(packed?))
            .await
            .map_err(StoreError::into_fault);
        let kept = put.is_ok();
        if let Err(fault) = put {
            tracing::warn!(%case, "cubes cannot be kept, the next start cuts them anew: {fault}");
        }
        Ok(CaseCubes {
            name,
            cubes,
            cached: false,
            kept,
        })
    }

    async fn kept(&self, place: &Place) -> Result<Option<Cubes>, Fault> {
        match place.read(self.max_bytes).await {
            Ok(bytes) => unpacked(bytes, &self.cut.crop.conf).await.map(Some),
            Err(StoreError::Store(NotFound { .. })) => Ok(None),
            Err(error) => Err(error.into_fault()),
        }
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

/// Reads the cubes that [`Gather::cubes`] has kept at a place, which is its place joined with [`CaseCubes::name`]; the
/// file has at most `limit` bytes.
///
/// # Errors
/// They are not there, or what is there is no cubes of this size.
pub async fn cubes_at(place: &Place, crop: &CropConf, limit: u64) -> Result<Cubes, Fault> {
    let bytes = place.read(limit).await.map_err(StoreError::into_fault)?;
    unpacked(bytes, crop).await
}

async fn unpacked(bytes: Bytes, crop: &CropConf) -> Result<Cubes, Fault> {
    let crop = crop.clone();
    blocking(move || cache::read(&bytes, &crop)).await
}

fn person_of(case: &Outcome<Listed>) -> Option<&str> {
    match case {
        Ok(case) => Some(&case.body.origin.person),
        Err(failure) => failure.person.as_deref(),
    }
}

#[cfg(test)]
mod tests;
