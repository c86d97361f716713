//! A server's folder among the temporary files; one that a killed run left is removed by the next.
//!
//! Beside each lies a lock that the system drops when its holder dies. It is held before its folder is there, so that
//! a folder whose lock is free is nobody's.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, Result};

use crate::cache;

/// How our folders begin.
const PREFIX: &str = "spinestream-weed-";

/// A folder that goes when it is dropped.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes one, with an empty folder `data` in it, and removes those that are nobody's.
    ///
    /// # Errors
    /// The folder of temporary files cannot be written.
    pub fn make(salt: u64) -> Result<Self> {
        Self::make_in(&env::temp_dir(), salt)
    }

    fn make_in(parent: &Path, salt: u64) -> Result<Self> {
        remove_orphans(parent);
        let path = parent.join(format!("{PREFIX}{}-{salt:x}", process::id()));
        let make = || -> Result<Self> {
            let lock = File::create(path.with_extension("lock"))?;
            lock.try_lock()?;
            fs::create_dir_all(path.join("data"))?;
            Ok(Self {
                path: path.clone(),
                _lock: lock,
            })
        };
        make().with_context(|| format!("cannot make {}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("warning: cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Removes the folder, then its lock.
fn remove(folder: &Path) -> std::io::Result<()> {
    cache::remove(folder)?;
    fs::remove_file(folder.with_extension("lock"))
}

/// Removes what killed runs left; what cannot be removed is no reason to stop.
fn remove_orphans(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX) && path.is_dir();
        if !ours {
            continue;
        }
        let orphan = File::open(path.with_extension("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
        if orphan {
            let _ = remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_holder_is_gone_is_removed_and_one_in_use_is_not() {
        let parent = tempfile::tempdir().expect("folder");
        let used = Folder::make_in(parent.path(), 1).expect("made");
        let orphan = parent.path().join(format!("{PREFIX}0-2"));
        fs::create_dir_all(orphan.join("data")).expect("made");
        File::create(orphan.with_extension("lock")).expect("made");

        let other = Folder::make_in(parent.path(), 3).expect("made");
        assert!(used.path.is_dir() && other.path.is_dir());
        assert!(!orphan.exists() && !orphan.with_extension("lock").exists());
        drop((used, other));
        assert_eq!(fs::read_dir(parent.path()).expect("folder").count(), 0);
    }
}
