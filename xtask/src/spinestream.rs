//! The program, which we know by its command line only.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::cache::Cache;
use crate::checkout::{Checkout, run};
use crate::libtorch::{self, Kind};
use crate::programs::Python;
use crate::{niivue, report};

/// A build of the program.
#[derive(Debug)]
pub struct Binary {
    program: PathBuf,
    root: PathBuf,
}

impl Binary {
    /// Returns the release build of the checkout, made now, and what it is built with if that is not there.
    ///
    /// # Errors
    /// Set-up or build failed.
    pub fn build(checkout: &Checkout, cache: &Cache) -> Result<Self> {
        libtorch::set_up_unless_linked(&checkout.root, cache, Kind::of_machine())?;
        niivue::set_up_or_warn(&checkout.root, cache);
        report::stage("building spinestream …");
        let built = run(checkout
            .cargo()
            .args(["build", "--release", "--package", "spinestream"]))?;
        ensure!(built.success(), "the build failed");
        Self::at(checkout, &checkout.target().join("release").join("spinestream"))
    }

    /// Returns a build that is there already.
    ///
    /// # Errors
    /// There is none.
    pub fn at(checkout: &Checkout, program: &Path) -> Result<Self> {
        ensure!(
            program.is_file(),
            "expected the program spinestream at {}",
            program.display()
        );
        Ok(Self {
            program: std::path::absolute(program)?,
            root: checkout.root.clone(),
        })
    }

    /// Returns where it is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns a call of one of its verbs, at the checkout's root.
    pub fn verb(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.root).args(arguments);
        command
    }

    /// The same, of a process that ends with us, however we end.
    ///
    /// # Errors
    /// There is no Python, which sees to that.
    pub fn mortal_verb(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Python::find()?.ending_with_us(&self.program);
        command.current_dir(&self.root).args(arguments);
        Ok(command)
    }

    /// Runs a verb that must succeed.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub fn must(&self, arguments: &[&str]) -> Result<()> {
        let status = run(&mut self.verb(arguments))?;
        ensure!(
            status.success(),
            "`spinestream {}` failed ({status})",
            arguments.join(" ")
        );
        Ok(())
    }
}
