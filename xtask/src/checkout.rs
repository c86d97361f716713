//! The checkout that this xtask was built in, and cargo as it runs there.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus};
use std::{env, fs, io};

use anyhow::{Context as _, Result, bail};

/// Root folder of a checkout.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// Absolute.
    pub root: PathBuf,
}

impl Checkout {
    /// Returns the checkout of this package.
    ///
    /// # Errors
    /// The package lies in no folder.
    pub fn of_this_package() -> Result<Self> {
        // cargo says it anew at each run, so a moved checkout is found; a bare binary remembers its build
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&package)
            .parent()
            .context("xtask lies inside a checkout")?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Returns the folder of build products.
    pub fn target(&self) -> PathBuf {
        let moved = env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty());
        self.root.join(moved.unwrap_or_else(|| "target".into()))
    }

    /// Returns a cargo that runs at the root, as if called by hand.
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        // `.cargo/config.toml` set this for us; handed on, it would count as a change and have the bindings rebuilt
        if env::var_os("LIBTORCH").is_some_and(|folder| Path::new(&folder) == self.root.join(".libtorch")) {
            cargo
                .env_remove("LIBTORCH")
                .env_remove("LIBTORCH_BYPASS_VERSION_CHECK");
        }
        cargo
    }
}

/// Runs a command that speaks for itself.
///
/// # Errors
/// It cannot be started.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.status().with_context(|| format!("cannot start {name}"))
}

/// Makes `link` point to `place`, in one step, so that a build at the same time sees the old or the new.
///
/// # Errors
/// Something that is no link is there already, or its folder cannot be written.
pub fn link(link: &Path, place: &Path) -> Result<()> {
    match fs::read_link(link) {
        Ok(target) if target == place => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => bail!(
            "{} is no link: move it away, set-up makes a link there",
            link.display()
        ),
    }
    let name = link.file_name().context("a link has a name")?;
    let fresh = link.with_file_name(format!("{}-{}", name.to_string_lossy(), process::id()));
    symlink(place, &fresh).context("cannot write into the checkout")?;
    fs::rename(&fresh, link).with_context(|| format!("cannot link {}", link.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_made_moved_and_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(".libtorch");
        for target in ["one", "two", "two"] {
            link(&path, Path::new(target)).expect("linked");
            assert_eq!(fs::read_link(&path).expect("a link"), Path::new(target));
        }
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }

    #[test]
    fn a_folder_in_the_link_s_place_is_not_touched() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(".libtorch");
        fs::create_dir(&path).expect("folder");
        let error = link(&path, Path::new("one")).expect_err("refused");
        assert!(error.to_string().contains("is no link"), "{error}");
    }
}
