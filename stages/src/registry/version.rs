//! Versions: files that are put once and never changed, and the record that says that all of them are there.

use std::collections::BTreeSet;
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AT_ONCE, Registry, RegistryError, VersionName, is_nothing, sha256, written};
use crate::store::StoreError;
use crate::tables::SOFTWARE_VERSION;

/// File of a version that runs load.
pub const WEIGHTS: &str = "weights.safetensors";

/// File of a version that says what its weights are: their description.
pub const CONFIG: &str = "config.json";

/// File of a version that tells people what it is.
pub const CARD: &str = "card.md";

/// File that makes a folder of files a version.
pub(super) const RECORD: &str = "version.json";

/// What is to become a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its name.
    pub name: VersionName,
    /// Its files, [`WEIGHTS`] among them, by name.
    pub files: Vec<(String, Bytes)>,
    /// The version that its training began from.
    pub parent: Option<VersionName>,
    /// What made it: a night, a verb.
    pub made_by: String,
    /// A word for people.
    pub note: String,
}

/// What is kept of a version besides its files: `version.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// Its name.
    pub version: VersionName,
    /// The method.
    pub method: String,
    /// When it was published: RFC 3339, UTC.
    pub created: String,
    /// The version that its training began from.
    pub parent: Option<VersionName>,
    /// What made it: a night, a verb.
    pub made_by: String,
    /// A word for people.
    pub note: String,
    /// SHA-256 of [`WEIGHTS`], in hex.
    pub weights_sha256: String,
    /// Version of the software that published it.
    pub software_version: String,
    /// Its files.
    pub files: Vec<FileRecord>,
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

impl VersionRecord {
    /// Returns what the record says of a file.
    pub fn file(&self, name: &str) -> Option<&FileRecord> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Returns the bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Returns when it was published, if the record tells a time.
    pub(super) fn created_at(&self) -> Option<DateTime<Utc>> {
        let time = DateTime::parse_from_rfc3339(&self.created).ok()?;
        Some(time.with_timezone(&Utc))
    }
}

impl Registry {
    /// Publishes a version: its files, over what an interrupted attempt has left, then its record, create-only. What is
    /// published already with equal weights is left as it is, and its record returned: a killed process publishes again.
    ///
    /// # Errors
    /// Other weights have the name; files that make no version; a damaged record; the store's.
    pub async fn publish(&self, draft: Draft) -> Result<VersionRecord, RegistryError> {
        check(&draft.files)?;
        let record = self.record_of(&draft).await;
        // never over the files of a version that is there
        if let Some(there) = self.find_version(&record.version).await? {
            return same(there, &record);
        }
        for (name, bytes) in draft.files {
            self.place(&format!("{}/{name}", record.version))
                .put(bytes)
                .await?;
        }
        let commit = self.place(&format!("{}/{RECORD}", record.version));
        if commit.create(format!("{:#}\n", json!(record)).into()).await? {
            return Ok(record);
        }
        // another process has published it since we looked
        let there = self.version(&record.version).await?;
        same(there, &record)
    }

    async fn record_of(&self, draft: &Draft) -> VersionRecord {
        let mut files = Vec::new();
        for (name, bytes) in &draft.files {
            files.push(FileRecord {
                name: name.clone(),
                bytes: bytes.len() as u64,
                sha256: sha256(bytes.clone()).await,
            });
        }
        let weights = files.iter().find(|file| file.name == WEIGHTS);
        VersionRecord {
            version: draft.name.clone(),
            method: self.method.clone(),
            created: written(SystemTime::now()),
            parent: draft.parent.clone(),
            made_by: draft.made_by.clone(),
            note: draft.note.clone(),
            weights_sha256: weights.map(|file| file.sha256.clone()).unwrap_or_default(),
            software_version: SOFTWARE_VERSION.to_owned(),
            files,
        }
    }

    /// Returns every version that is whole, oldest first.
    ///
    /// # Errors
    /// A damaged record; the store's.
    pub async fn versions(&self) -> Result<Vec<VersionRecord>, RegistryError> {
        let names = self.names().await?;
        let read = |name: VersionName| {
            let registry = self.clone();
            async move { registry.find_version(&name).await }
        };
        let found = futures::stream::iter(names).map(read).buffered(AT_ONCE);
        let found: Vec<Option<VersionRecord>> = found.try_collect().await?;
        let mut versions: Vec<VersionRecord> = found.into_iter().flatten().collect();
        versions.sort_by(|a, b| (&a.created, &a.version).cmp(&(&b.created, &b.version)));
        Ok(versions)
    }

    /// Returns a version's record.
    ///
    /// # Errors
    /// There is no such version, or not all of it; a damaged record; the store's.
    pub async fn version(&self, name: &VersionName) -> Result<VersionRecord, RegistryError> {
        let found = self.find_version(name).await?;
        found.ok_or_else(|| RegistryError::NoVersion {
            version: name.clone(),
            method: self.method.clone(),
        })
    }

    /// Returns a file of a version, which is as it was published.
    ///
    /// # Errors
    /// The version has none of that name; the file is another one, or gone; the store's.
    pub async fn read(&self, record: &VersionRecord, file: &str) -> Result<Bytes, RegistryError> {
        let Some(known) = record.file(file) else {
            return Err(RegistryError::NoFile {
                version: record.version.clone(),
                file: file.to_owned(),
            });
        };
        let tail = format!("{}/{file}", record.version);
        let misfit = |found: String| {
            let FileRecord { bytes, sha256, .. } = known;
            let reason =
                format!("expected {bytes} bytes of SHA-256 {sha256} as {RECORD} says, found {found}");
            self.damaged(&tail, reason)
        };
        let bytes = match self.place(&tail).read(known.bytes).await {
            Ok(bytes) => bytes,
            Err(StoreError::TooLarge { found, .. }) => return Err(misfit(format!("{found} bytes"))),
            Err(error) if is_nothing(&error) => return Err(misfit("no object".to_owned())),
            Err(error) => return Err(error.into()),
        };
        let found = sha256(bytes.clone()).await;
        if found != known.sha256 {
            return Err(misfit(format!("{} bytes of SHA-256 {found}", bytes.len())));
        }
        Ok(bytes)
    }

    /// Returns the names of all folders that are versions, or may become one.
    pub(super) async fn names(&self) -> Result<Vec<VersionName>, RegistryError> {
        let folders = self.root.folders().await?;
        Ok(folders.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Returns a version's record, `None` if there is none.
    pub(super) async fn find_version(
        &self,
        name: &VersionName,
    ) -> Result<Option<VersionRecord>, RegistryError> {
        let tail = format!("{name}/{RECORD}");
        let Some(record) = self.told::<VersionRecord>(&tail).await? else {
            return Ok(None);
        };
        let weights = record.file(WEIGHTS).map(|file| &file.sha256);
        let reason = if (&record.version, &record.method) != (name, &self.method) {
            format!(
                "expected its own record, found that of {} of {}",
                record.version, record.method
            )
        } else if weights != Some(&record.weights_sha256) {
            format!("expected one SHA-256 for {WEIGHTS}, found two, or no such file")
        } else if record.created_at().is_none() {
            "expected a time in created, found another text".to_owned()
        } else {
            return Ok(Some(record));
        };
        Err(self.damaged(&tail, reason))
    }
}

/// Refuses files that make no version.
fn check(files: &[(String, Bytes)]) -> Result<(), RegistryError> {
    let mut names = BTreeSet::new();
    for (name, _) in files {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_name = !name.starts_with('.') && !name.is_empty() && name.bytes().all(is_plain);
        if !is_name || name == RECORD || !names.insert(name.as_str()) {
            return Err(RegistryError::Draft(format!(
                "expected files of a version with plain names, each of its own and none {RECORD}, found {name:?}"
            )));
        }
    }
    if !names.contains(WEIGHTS) {
        return Err(RegistryError::Draft(format!(
            "expected a file {WEIGHTS} in a version, found none"
        )));
    }
    Ok(())
}

/// Returns the version that is there, if its weights are ours.
fn same(there: VersionRecord, ours: &VersionRecord) -> Result<VersionRecord, RegistryError> {
    if there.weights_sha256 == ours.weights_sha256 {
        return Ok(there);
    }
    Err(RegistryError::Taken(there.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> (String, Bytes) {
        (name.to_owned(), Bytes::from_static(b"bytes"))
    }

    #[test]
    fn files_that_make_no_version_are_refused() {
        assert!(check(&[file(WEIGHTS), file(CARD)]).is_ok());
        assert!(check(&[file(CARD)]).is_err(), "no weights");
        for name in ["a/b", "..", ".hidden", "", RECORD, WEIGHTS, "weights (1)"] {
            let refused = check(&[file(WEIGHTS), file(name)]);
            assert!(matches!(refused, Err(RegistryError::Draft(_))), "{name}");
        }
    }
}
