//! The checkout that this xtask was built in, and cargo as it runs there.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result};

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
