//! Where numbers come from: machine, commit, program, time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::checkout::Checkout;

/// What a number without it would be worth nothing.
#[derive(Debug, Serialize)]
pub struct Origin {
    machine: Machine,
    commit: Option<Commit>,
    program: String,
    /// Seconds since 1970.
    unix_time: u64,
}

#[derive(Debug, Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    memory_bytes: u64,
    /// Processes that others kept busy as the bench began, over a minute.
    load: f64,
}

/// Commit of the checkout; a program that was built elsewhere may be of another.
#[derive(Debug, Serialize)]
struct Commit {
    hash: String,
    changed_since: bool,
}

impl Origin {
    /// Looks around.
    ///
    /// # Errors
    /// The clock stands before 1970.
    pub fn of(checkout: &Checkout, program: &Path) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            machine: Machine::this(),
            commit: Commit::of(&checkout.root),
            program: program.to_string_lossy().into_owned(),
            unix_time: now.context("the clock is wrong")?.as_secs(),
        })
    }
}

impl Machine {
    /// What the system tells of itself; what it does not tell is empty or 0.
    fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kibibytes: Option<u64> = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|value| value.trim_end_matches(" kB").parse().ok());
        let load = read("/proc/loadavg");
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kibibytes.unwrap_or_default() * 1024,
            load: load
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
        }
    }
}

impl Commit {
    /// None where there is no git, or no repository.
    fn of(root: &Path) -> Option<Self> {
        let git = |arguments: &[&str]| {
            let output = Command::new("git")
                .arg("-C")
                .arg(root)
                .args(arguments)
                .output()
                .ok()?;
            let said = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| said.trim().to_owned())
        };
        Some(Self {
            hash: git(&["rev-parse", "HEAD"])?,
            changed_since: !git(&["status", "--porcelain"])?.is_empty(),
        })
    }
}

/// Returns the first value of `name: value` lines.
pub fn field(text: &str, name: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = pairs.find(|(found, _)| found.trim() == name)?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_are_found() {
        let text = "processor\t: 0\nmodel name\t: A CPU @ 2: GHz\nmodel name\t: other\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A CPU @ 2: GHz"));
        assert_eq!(field(text, "flags"), None);
    }

    #[test]
    fn this_machine_tells_its_memory() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20, "{machine:?}");
    }
}
