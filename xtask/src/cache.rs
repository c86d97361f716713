//! The one folder outside the checkout that holds what was fetched, and how something gets into it whole.
//!
//! An item of the cache is a folder with a marker inside. It is built in a folder of its own and renamed into
//! place once it is complete, under a lock that the system drops when its holder dies. So whatever is
//! interrupted, an item is either there or not, and two runs at once build it once. Downloads lie beside it
//! until it is complete: a run that was interrupted goes on from them.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::{env, io, process};

use anyhow::{Context as _, Result, bail};

use crate::report;

/// File inside a complete item; it holds the recipe that the item was made by.
const MARKER: &str = ".complete";

/// The cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

/// Where an item is being made.
#[derive(Debug)]
pub struct Workbench {
    /// Empty folder that becomes the item.
    pub item: PathBuf,
    /// Empty folder for what is in the way afterwards.
    pub scratch: PathBuf,
    /// Folder that outlives an interrupted run, but not the complete item.
    pub downloads: PathBuf,
}

impl Cache {
    /// Returns the cache of this user: `$SPINESTREAM_CACHE`, else `$XDG_CACHE_HOME/spinestream`, else
    /// `~/.cache/spinestream`.
    ///
    /// # Errors
    /// None of the three is set.
    pub fn of_user() -> Result<Self> {
        let set = |name: &str| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        // the XDG specification has relative paths ignored
        let xdg = set("XDG_CACHE_HOME").filter(|folder| folder.is_absolute());
        let folder = if let Some(own) = set("SPINESTREAM_CACHE") {
            std::path::absolute(own)?
        } else if let Some(xdg) = xdg {
            xdg.join("spinestream")
        } else if let Some(home) = set("HOME") {
            home.join(".cache").join("spinestream")
        } else {
            bail!("no place for the cache folder: set SPINESTREAM_CACHE (or HOME)");
        };
        Ok(Self { folder })
    }

    /// Returns the cache in that folder.
    #[cfg(test)]
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Returns where the item lies, or will lie.
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the item, made by `build` if it is not there yet or was made by another recipe.
    ///
    /// # Errors
    /// The folder cannot be written, or `build` failed; there is no item then, and its downloads are kept.
    pub fn item(
        &self,
        name: &str,
        recipe: &str,
        build: impl FnOnce(&Workbench) -> Result<()>,
    ) -> Result<PathBuf> {
        let place = self.place(name);
        if is_complete(&place, recipe) {
            return Ok(place);
        }
        let beside = |ending: &str| self.folder.join(format!("{name}.{ending}"));
        let parent = place.parent().context("an item lies inside the cache")?;
        fs::create_dir_all(parent).with_context(|| {
            format!(
                "cannot make the cache folder {}: set SPINESTREAM_CACHE",
                parent.display()
            )
        })?;
        let lock = File::create(beside("lock")).context("cannot write into the cache folder")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                report::stage(&format!("waiting for another run that lays out {name} …"));
                lock.lock().context("cannot lock the cache")?;
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the cache"),
        }
        if is_complete(&place, recipe) {
            return Ok(place);
        }

        remove_partials(parent, &beside("partial-"));
        // a name of our own: whatever a killed run left behind cannot mix with it
        let partial = beside(&format!("partial-{}", process::id()));
        remove(&partial)?;
        let bench = Workbench {
            item: partial.join("item"),
            scratch: partial.join("scratch"),
            downloads: beside("downloads"),
        };
        for folder in [&bench.item, &bench.scratch, &bench.downloads] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let built = build(&bench).and_then(|()| {
            fs::write(bench.item.join(MARKER), recipe)?;
            if place.symlink_metadata().is_ok() {
                fs::rename(&place, bench.scratch.join("replaced"))?;
            }
            fs::rename(&bench.item, &place)?;
            Ok(())
        });
        let cleaned = remove(&partial).and_then(|()| {
            if built.is_ok() {
                remove(&bench.downloads)
            } else {
                Ok(())
            }
        });
        built.with_context(|| format!("cannot lay out {name}"))?;
        cleaned.context("cannot clean up in the cache folder")?;
        Ok(place)
    }
}

/// Says whether the item there is whole and made by this recipe.
pub fn is_complete(place: &Path, recipe: &str) -> bool {
    fs::read_to_string(place.join(MARKER)).is_ok_and(|found| found == recipe)
}

/// Removes what killed runs left of the same item; what cannot be removed is no reason to stop.
fn remove_partials(parent: &Path, prefix: &Path) {
    let Some(prefix) = prefix.file_name().map(OsStr::to_string_lossy) else {
        return;
    };
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&*prefix) {
            let _ = remove(&entry.path());
        }
    }
}

/// Removes a folder; one that is not there is no error.
pub fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Names below the folder, sorted.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn text(place: &Path) -> String {
        fs::read_to_string(place.join("text")).expect("the item's file")
    }

    #[test]
    fn a_complete_item_is_not_built_again_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("folder");
        let cache = Cache::at(folder.path());
        let built = AtomicUsize::new(0);
        for _ in 0..2 {
            let build = |bench: &Workbench| {
                built.fetch_add(1, Ordering::Relaxed);
                fs::write(bench.downloads.join("wheel"), "fetched")?;
                fs::write(bench.scratch.join("rest"), "in the way")?;
                Ok(fs::write(bench.item.join("text"), "one")?)
            };
            let place = cache.item("samples/thing", "recipe", build).expect("built");
            assert_eq!(text(&place), "one");
        }
        assert_eq!(built.load(Ordering::Relaxed), 1);
        assert_eq!(names(&folder.path().join("samples")), ["thing", "thing.lock"]);
    }

    #[test]
    fn a_failed_build_leaves_no_item_and_keeps_its_downloads() {
        let folder = tempfile::tempdir().expect("folder");
        let cache = Cache::at(folder.path());
        let failed = cache.item("thing", "recipe", |bench| {
            fs::write(bench.downloads.join("wheel"), "fetched")?;
            fs::write(bench.item.join("text"), "half")?;
            bail!("the network went away")
        });
        assert!(format!("{:#}", failed.expect_err("failed")).contains("the network went away"));
        assert_eq!(names(folder.path()), ["thing.downloads", "thing.lock"]);
        let place = cache.item("thing", "recipe", |bench| {
            assert_eq!(names(&bench.item), [""; 0], "nothing of the failed build is left");
            Ok(fs::rename(
                bench.downloads.join("wheel"),
                bench.item.join("text"),
            )?)
        });
        assert_eq!(text(&place.expect("built")), "fetched");
        assert_eq!(names(folder.path()), ["thing", "thing.lock"]);
    }

    #[test]
    fn a_folder_without_its_marker_and_one_of_another_recipe_are_built_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let cache = Cache::at(folder.path());
        fs::create_dir_all(cache.place("thing")).expect("folder");
        fs::write(cache.place("thing").join("text"), "half").expect("file");
        fs::create_dir_all(folder.path().join("thing.partial-1/item")).expect("left by a killed run");
        for recipe in ["first", "second"] {
            let build = |bench: &Workbench| Ok(fs::write(bench.item.join("text"), recipe)?);
            assert_eq!(text(&cache.item("thing", recipe, build).expect("built")), recipe);
        }
        assert_eq!(names(folder.path()), ["thing", "thing.lock"]);
    }

    #[test]
    fn two_runs_at_once_build_once() {
        let folder = tempfile::tempdir().expect("folder");
        let built = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let cache = Cache::at(folder.path());
                    let build = |bench: &Workbench| {
                        built.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(50));
                        Ok(fs::write(bench.item.join("text"), "one")?)
                    };
                    assert_eq!(text(&cache.item("thing", "recipe", build).expect("built")), "one");
                });
            }
        });
        assert_eq!(built.load(Ordering::Relaxed), 1);
    }
}
