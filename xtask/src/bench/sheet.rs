//! What a process of the package `bench`, or of a peer, says that it measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::checkout::{Checkout, run};
use crate::libtorch::{self, Kind};
use crate::programs::Python;
use crate::report;

use super::peers;

/// What was measured in one process.
#[derive(Debug, Deserialize)]
pub struct Sheet {
    /// One entry a thing.
    pub measured: Vec<Measured>,
    /// The most memory that was ever resident.
    pub peak_rss_bytes: u64,
}

/// One thing that was measured. Times are of one piece of work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Name of the thing.
    pub name: String,
    /// Who did it.
    pub by: String,
    pieces: usize,
    repeats: usize,
    /// By the clock on the wall.
    pub seconds: Spread,
    /// Processor time of all threads.
    pub cpu_s: Spread,
    /// What came of it.
    #[serde(skip_serializing)]
    pub numbers: BTreeMap<String, f64>,
    /// The same, as files in the folder.
    #[serde(skip_serializing)]
    pub files: BTreeMap<String, String>,
}

/// Times of several repeats.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
}

impl Sheet {
    /// Returns the thing of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<&Measured> {
        let mut all = self.measured.iter();
        all.find(|measured| measured.name == name)
            .with_context(|| format!("expected a measurement {name}, found none"))
    }
}

impl Measured {
    /// Returns the numbers of a file.
    ///
    /// # Errors
    /// It is not there, or of an ending that is not known.
    pub fn values(&self, key: &str, folder: &Path) -> Result<Vec<f32>> {
        let name = self.files.get(key);
        let name = name.with_context(|| format!("{}: expected a file {key}, found none", self.name))?;
        let bytes = fs::read(folder.join(name)).with_context(|| format!("cannot read {name}"))?;
        if name.ends_with(".u8") {
            return Ok(bytes.into_iter().map(f32::from).collect());
        }
        ensure!(name.ends_with(".f32"), "expected .u8 or .f32, found {name}");
        let (values, _) = bytes.as_chunks::<4>();
        Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }
}

/// Both sides: the package `bench` and the peers.
#[derive(Debug)]
pub struct Sides {
    program: PathBuf,
    python: PathBuf,
    scripts: PathBuf,
    seed: u64,
}

impl Sides {
    /// Builds ours and sets the peers up.
    ///
    /// # Errors
    /// Set-up or build failed.
    pub fn new(checkout: &Checkout, cache: &Cache, seed: u64) -> Result<Self> {
        libtorch::set_up_unless_linked(&checkout.root, cache, Kind::of_machine())?;
        // before the build, which takes longer
        let python = peers::set_up(cache)?;
        report::stage("building bench …");
        let built = run(checkout
            .cargo()
            .args(["build", "--release", "--package", "bench"]))?;
        ensure!(built.success(), "the build failed");
        Ok(Self {
            program: checkout.target().join("release").join("bench"),
            python,
            scripts: checkout.root.join("bench").join("peers"),
            seed,
        })
    }

    /// Returns our program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Lays out what a suite measures on: first ours, then what the peers add.
    ///
    /// # Errors
    /// One of them failed.
    pub fn make(&self, suite: &str, folder: &Path) -> Result<()> {
        self.ours("make", suite, folder)?;
        self.peers("make", suite, folder)?;
        Ok(())
    }

    /// Lets ours measure, and then the peers.
    ///
    /// # Errors
    /// One of them failed.
    pub fn measure(&self, suite: &str, folder: &Path) -> Result<[Sheet; 2]> {
        report::stage(&format!("{suite}: ours …"));
        let ours = self.ours("measure", suite, folder)?;
        report::stage(&format!("{suite}: its peers …"));
        let peers = self.peers("measure", suite, folder)?;
        // for whoever wants to look closer
        fs::write(folder.join("ours.json"), &ours)?;
        fs::write(folder.join("peers.json"), &peers)?;
        let read = |text: &str| serde_json::from_str(text).context("cannot read what was measured");
        Ok([read(&ours)?, read(&peers)?])
    }

    /// Lets ours make weights of the paper's size.
    ///
    /// # Errors
    /// It failed.
    pub fn weights(&self, file: &Path) -> Result<()> {
        let mut command = Python::find()?.ending_with_us(&self.program);
        command.arg("weights").arg(file);
        command.args(["--seed", &self.seed.to_string()]);
        said(&mut command, "weights").map(drop)
    }

    fn ours(&self, verb: &str, suite: &str, folder: &Path) -> Result<String> {
        let mut command = Python::find()?.ending_with_us(&self.program);
        command.args([verb, suite]).arg(folder);
        command.args(["--seed", &self.seed.to_string()]);
        said(&mut command, suite)
    }

    fn peers(&self, verb: &str, suite: &str, folder: &Path) -> Result<String> {
        let mut command = Python::find()?.ending_with_us(&self.python);
        command.arg(self.scripts.join(format!("{suite}.py")));
        command.arg(verb).arg(folder).arg(self.seed.to_string());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        // a cure for old builds of OpenBLAS, which some machines set, and which slows a current one
        command
            .env_remove("OPENBLAS_CORETYPE")
            .env_remove("OPENBLAS_L2_SIZE");
        said(&mut command, suite)
    }
}

/// Runs a command and returns what it said on stdout; what it says on stderr is for whoever waits.
fn said(command: &mut Command, suite: &str) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start what measures")?;
    ensure!(
        output.status.success(),
        "bench {suite} failed ({})",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}
