//! Clearing up: versions that nobody goes back to any more, and what interrupted attempts have left.

use std::collections::BTreeSet;
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::ObjectMeta;
use serde::Serialize;

use super::version::RECORD;
use super::{Alias, AliasEntry, Registry, RegistryError, VersionName};
use crate::store::Place;

/// Days after which files without a record are nobody's: no attempt to publish lasts so long.
const LEFTOVER_DAYS: u32 = 1;

/// What is kept besides the versions that an alias points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The last so many different champions, the present one included.
    pub champions: usize,
    /// Versions younger than so many days.
    pub days: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            champions: 5,
            days: 30,
        }
    }
}

/// What was deleted, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Versions.
    pub versions: Vec<VersionName>,
    /// Versions that an interrupted attempt has left without a record: to publish them, or to delete them.
    pub leftovers: Vec<VersionName>,
    /// Bytes of all their files.
    pub bytes: u64,
}

/// A folder to delete.
struct Spare {
    name: VersionName,
    is_whole: bool,
    objects: Vec<ObjectMeta>,
}

impl Registry {
    /// Deletes versions that no alias points to, that are not among the last champions and not young, and leftovers of
    /// interrupted attempts; `dry_run` only says which. Ages are those at `now`. Callers see to it that no night is at
    /// work meanwhile.
    ///
    /// A version's record goes first, so that a version is whole or none. One that an alias has come to point to
    /// meanwhile stays; whoever points an alias looks once more whether the version is still there.
    ///
    /// # Errors
    /// A damaged object, and then nothing is deleted; the store's, and then what was left goes the next time.
    pub async fn gc(&self, keep: Keep, now: SystemTime, dry_run: bool) -> Result<Collected, RegistryError> {
        let spares = self.spares(keep, DateTime::<Utc>::from(now)).await?;
        let mut collected = Collected::default();
        for spare in spares {
            if !dry_run && !self.clear(&spare, keep).await? {
                continue;
            }
            let sizes = spare.objects.iter().map(|object| object.size);
            collected.bytes += sizes.sum::<u64>();
            match spare.is_whole {
                true => collected.versions.push(spare.name),
                false => collected.leftovers.push(spare.name),
            }
        }
        Ok(collected)
    }

    /// Returns what can go.
    async fn spares(&self, keep: Keep, now: DateTime<Utc>) -> Result<Vec<Spare>, RegistryError> {
        let kept = self.kept(keep).await?;
        let mut spares = Vec::new();
        for name in self.names().await? {
            let record = self.find_version(&name).await?;
            if kept.contains(&name) {
                continue;
            }
            let objects = self.place(name.as_str()).list().await?;
            let (since, days) = match &record {
                Some(record) => (record.created_at(), keep.days),
                None => (
                    objects.iter().map(|object| object.last_modified).max(),
                    LEFTOVER_DAYS,
                ),
            };
            // a folder of the disk without any object has no time, and is nothing
            let age = since.map(|since| now.signed_duration_since(since));
            if age.is_some_and(|age| age >= TimeDelta::days(days.into())) {
                spares.push(Spare {
                    name,
                    is_whole: record.is_some(),
                    objects,
                });
            }
        }
        Ok(spares)
    }

    /// Returns the versions that stay whatever their age.
    async fn kept(&self, keep: Keep) -> Result<BTreeSet<VersionName>, RegistryError> {
        let mut kept = BTreeSet::new();
        for alias in Alias::ALL {
            let history = self.history(alias).await?;
            kept.extend(history.last().map(|entry| entry.version.clone()));
            if alias == Alias::Champion {
                kept.extend(last_different(&history, keep.champions));
            }
        }
        Ok(kept)
    }

    /// Deletes a folder, unless it has come to be needed; returns whether it was deleted.
    async fn clear(&self, spare: &Spare, keep: Keep) -> Result<bool, RegistryError> {
        if self.kept(keep).await?.contains(&spare.name) {
            return Ok(false);
        }
        let record = self.place(&format!("{}/{RECORD}", spare.name));
        if !spare.is_whole && self.find_version(&spare.name).await?.is_some() {
            // published meanwhile
            return Ok(false);
        }
        record.delete().await?;
        for object in &spare.objects {
            let place = Place {
                store: record.store.clone(),
                path: object.location.clone(),
            };
            place.delete().await?;
        }
        Ok(true)
    }
}

/// Returns the last `count` different versions of an alias, the last one first.
fn last_different(history: &[AliasEntry], count: usize) -> Vec<VersionName> {
    let mut different: Vec<VersionName> = Vec::new();
    for entry in history.iter().rev() {
        if different.len() == count {
            break;
        }
        if !different.contains(&entry.version) {
            different.push(entry.version.clone());
        }
    }
    different
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn champions_are_counted_by_versions_and_not_by_entries() {
        let name =
            |letter: &str| -> VersionName { format!("v20261126-0000000{letter}").parse().expect("a name") };
        let entry = |letter: &str| AliasEntry {
            number: 1,
            alias: Alias::Champion,
            version: name(letter),
            by: String::new(),
            why: String::new(),
            at: String::new(),
        };
        let history = ["a", "b", "c", "b", "c"].map(entry);
        assert_eq!(last_different(&history, 2), [name("c"), name("b")]);
        assert_eq!(last_different(&history, 9), ["c", "b", "a"].map(name));
        assert!(last_different(&history, 0).is_empty());
    }
}
