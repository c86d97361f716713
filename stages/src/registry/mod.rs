//! The registry of models: versions that never change, and aliases that say which of them is used.
//!
//! ```text
//! models/<method>/<version>/weights.safetensors, …    put first
//! models/<method>/<version>/version.json              the commit: create-only, put last
//! models/<method>/aliases/champion/00000001.json, …   create-only, numbered: the highest number wins
//! ```
//! Stores have no transactions: whatever must be atomic is one create-only put. Nothing here holds patient data.

mod alias;
mod gc;
mod name;
mod version;

use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::blocking;
use crate::compare::key::hex;
use crate::store::{Place, StoreError};

pub use alias::{Alias, AliasEntry, Pointed, ROLLBACK, former};
pub use gc::{Collected, Keep};
pub use name::VersionName;
pub use version::{CARD, CONFIG, Draft, FileRecord, VersionRecord, WEIGHTS};

/// Most bytes of an object that says something of a version: the figures of a long training are the largest.
const WORDS_MOST: u64 = 256 << 20;

/// Small objects that are read at once.
const AT_ONCE: usize = 16;

/// Section `[registry]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConf {
    /// Prefix of the registry: path or URL; empty for none.
    pub url: String,
}

/// The part of a registry that holds one method's models.
#[derive(Debug, Clone)]
pub struct Registry {
    root: Place,
    method: String,
}

/// Why the registry could not do what was asked. Names of objects stand below the registry's own prefix.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text is neither an alias nor a version's name.
    #[error("expected champion, challenger or a version's name such as v20261126-1a2b3c4d, found {0:?}")]
    Name(String),
    /// No such version.
    #[error(
        "expected version {version} among the models of {method}, found none of that name; `spinestream models list \
         --method {method}` shows those that are there"
    )]
    NoVersion {
        /// Its name.
        version: VersionName,
        /// The method.
        method: String,
    },
    /// The alias points nowhere yet.
    #[error(
        "expected a {alias} among the models of {method}, found none yet; `spinestream models promote VERSION --method \
         {method}` makes a version champion"
    )]
    NoAlias {
        /// Which.
        alias: Alias,
        /// The method.
        method: String,
    },
    /// A version does not list such a file.
    #[error("expected a file {file} in version {version}, found none in its version.json")]
    NoFile {
        /// The version.
        version: VersionName,
        /// The file.
        file: String,
    },
    /// An object is there, and is not as it was put.
    #[error(
        "{object} in the registry is damaged: {reason}; put it back from a copy, or delete it: without its version.json a \
         version counts as none, without its highest entry an alias points where it did before"
    )]
    Damaged {
        /// Its name below the registry's prefix.
        object: String,
        /// What was expected, and what was found.
        reason: String,
    },
    /// Another version has the name.
    #[error("expected a name of its own for a version, found {0} taken by other weights")]
    Taken(VersionName),
    /// What is to be published cannot be a version.
    #[error("{0}")]
    Draft(String),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Registry {
    /// Names the models of a method below `root`, the place of `[registry] url`.
    pub fn new(root: &Place, method: &str) -> Self {
        Self {
            root: root.join(&format!("models/{method}")),
            method: method.to_owned(),
        }
    }

    /// Returns the method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns a place below `models/<method>/`.
    pub fn place(&self, tail: &str) -> Place {
        self.root.join(tail)
    }

    /// Returns the version that a text names: an alias, or a version's own name.
    ///
    /// # Errors
    /// Neither, or there is none; a damaged object; the store's.
    pub async fn resolve(&self, text: &str) -> Result<VersionRecord, RegistryError> {
        let name: VersionName = match Alias::named(text) {
            None => text.parse()?,
            Some(alias) => match self.alias(alias).await? {
                Some(entry) => entry.version,
                None => {
                    return Err(RegistryError::NoAlias {
                        alias,
                        method: self.method.clone(),
                    });
                }
            },
        };
        self.version(&name).await
    }

    /// Returns an object below `models/<method>/` as it is, `None` if there is none there.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, tail: &str) -> Result<Option<Bytes>, RegistryError> {
        match self.place(tail).read(WORDS_MOST).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_nothing(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what an object of ours says.
    async fn told<T: DeserializeOwned>(&self, tail: &str) -> Result<Option<T>, RegistryError> {
        let Some(bytes) = self.find(tail).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let reason = format!("expected what spinestream writes there, found {error}");
            self.damaged(tail, reason)
        })
    }

    fn damaged(&self, tail: &str, reason: String) -> RegistryError {
        RegistryError::Damaged {
            object: format!("models/{}/{tail}", self.method),
            reason,
        }
    }
}

/// Returns whether a text stands for a version of the registry, and so for no path: it is `champion`, `challenger` or a
/// version's name to the letter.
pub fn is_name(text: &str) -> bool {
    Alias::named(text).is_some() || text.parse::<VersionName>().is_ok()
}

/// Whether a store has no such object.
fn is_nothing(error: &StoreError) -> bool {
    matches!(error, StoreError::Store(object_store::Error::NotFound { .. }))
}

/// Returns the SHA-256 of bytes in hex.
async fn sha256(bytes: Bytes) -> String {
    blocking(move || hex(&Sha256::digest(&bytes))).await
}

/// Returns the time as records have it.
pub fn now() -> String {
    written(SystemTime::now())
}

/// Returns a time as records have it: RFC 3339, UTC, to the millisecond; the order of the texts is that of the times.
fn written(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aliases_and_names_of_versions_to_the_letter_are_no_paths() {
        for name in ["champion", "challenger", "v20261126-1a2b3c4d"] {
            assert!(is_name(name), "{name}");
        }
        for path in [
            "Champion",
            "./champion",
            "champion.safetensors",
            "champion/",
            " champion",
            "v20261126-1A2B3C4D",
            "v2026112-1a2b3c4d",
            "v20261126-1a2b3c4d5",
            "v20261126_1a2b3c4d",
            "shipped",
            "",
        ] {
            assert!(!is_name(path), "{path}");
        }
    }

    #[test]
    fn times_are_written_in_an_order_that_texts_have_too() {
        let at = |millis| written(SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis));
        // 2026-11-26 00:00 UTC: 20783 days after 1970-01-01, from Python's datetime
        assert_eq!(at(20_783 * 86_400_000 + 5), "2026-11-26T00:00:00.005Z");
        assert!(at(9) < at(10) && at(999) < at(1000));
    }
}
