//! `cargo xtask bench`: what a run costs over many cases, what is left of it when it is killed, and what its parts cost
//! beside what people use today.
//!
//! A bench of runs uses the program as users do, on a store of its own; a bench of parts lets the package `bench` and its
//! peers in Python measure themselves. Each leaves numbers with machine and commit.

mod beside;
mod cohort;
mod family;
mod fleet;
mod index;
mod kills;
mod machine;
mod micro;
mod model;
mod peers;
mod scale;
mod sheet;
mod slices;
mod soak;
mod store;
mod view;
mod watch;
mod whole;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::cache::{self, Cache};
use crate::checkout::Checkout;
use crate::report;
use crate::spinestream::Binary;
use cohort::Cohort;
use machine::Origin;
use store::Store;
use watch::{Ended, Process};

/// Where the numbers go, below the checkout; git ignores it.
const RESULTS: &str = "bench/results";

/// Where a bench works, below the folder of build products.
const WORK: &str = "bench";

/// What makes a case cheap: no network, one vertebra, and its whole field of view in an eighth of the voxels.
const SMALL: [&str; 5] = [
    "model.chain=[\"interpolate\"]",
    "crop.levels=[\"L3\"]",
    "crop.size=64",
    "crop.spacing_mm=2",
    "write.volumes=[\"patch\"]",
];

/// A bench.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Runs many cases and says whether memory, open files and speed stay where they were.
    Soak(soak::Arguments),
    /// Kills a run again and again, and holds what it leaves against a run that nobody disturbed.
    Kills(kills::Arguments),
    /// Runs a cohort by workers on a queue: together, killed, slow, cut off; and fills the queue with a million cases.
    Fleet(fleet::Arguments),
    /// Makes a manifest of many DICOM objects and says how fast their headers are read.
    Index(index::Arguments),
    /// Measures single functions beside what people use for the same in Python.
    Micro(micro::Arguments),
    /// Measures reconstructions beside a PyTorch program with the same weights.
    Model(model::Arguments),
    /// Runs a whole cohort beside the same job in a pool of Python processes and in Ray Data.
    Cohort(whole::Arguments),
    /// Runs ever more cases, and says whether time grows with them and memory does not.
    Scale(scale::Arguments),
    /// Opens the viewer's page of a large run in a browser: what it weighs, and when its first picture stands.
    View(view::Arguments),
}

impl Bench {
    /// Runs it.
    ///
    /// # Errors
    /// Set-up failed, a run ended otherwise than it must, or what it left is not what it must be.
    pub fn run(&self, checkout: &Checkout, cache: &Cache) -> Result<()> {
        match self {
            Self::Soak(arguments) => soak::soak(arguments, checkout, cache),
            Self::Kills(arguments) => kills::kills(arguments, checkout, cache),
            Self::Fleet(arguments) => fleet::fleet(arguments, checkout, cache),
            Self::Index(arguments) => index::index(arguments, checkout, cache),
            Self::Micro(arguments) => micro::micro(arguments, checkout, cache),
            Self::Model(arguments) => model::model(arguments, checkout, cache),
            Self::Cohort(arguments) => whole::whole(arguments, checkout, cache),
            Self::Scale(arguments) => scale::scale(arguments, checkout, cache),
            Self::View(arguments) => view::view(arguments, checkout, cache),
        }
    }
}

/// What benches of runs ask for.
#[derive(Debug, Args)]
struct Common {
    /// Where masks, tables and volumes lie: a server of the bench's own, or the folder target/bench.
    #[arg(long, value_enum, default_value_t = store::Kind::S3)]
    store: store::Kind,
    /// Every random number follows from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Takes a program that is built already instead of building this checkout's.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

/// Where a bench works, and where its numbers go.
struct Desk {
    name: &'static str,
    seed: u64,
    work: PathBuf,
    results: PathBuf,
    origin: Origin,
}

impl Desk {
    /// Clears a folder to work in.
    fn new(name: &'static str, seed: u64, checkout: &Checkout, program: &Path) -> Result<Self> {
        let work = checkout.target().join(WORK).join(name);
        cache::remove(&work).with_context(|| format!("cannot empty {}", work.display()))?;
        fs::create_dir_all(&work)?;
        Ok(Self {
            name,
            seed,
            origin: Origin::of(checkout, program)?,
            work,
            results: checkout.root.join(RESULTS),
        })
    }

    /// Writes the numbers beside where they come from, and says where.
    fn keep(&self, numbers: &impl Serialize) -> Result<()> {
        self.keep_part("", numbers)
    }

    /// The same for a part of the bench, which leaves the numbers of the whole alone.
    fn keep_part(&self, part: &str, numbers: &impl Serialize) -> Result<()> {
        let document = Document {
            bench: self.name,
            origin: &self.origin,
            seed: self.seed,
            numbers,
        };
        fs::create_dir_all(&self.results)?;
        let path = self.results.join(format!("{}{part}.json", self.name));
        let text = serde_json::to_string_pretty(&document)?;
        fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        report::stage(&format!("the numbers are in {}", path.display()));
        Ok(())
    }
}

/// What benches of runs work with.
struct Setting {
    desk: Desk,
    binary: Binary,
    store: Store,
}

impl Setting {
    /// Builds the program and opens an empty store.
    fn new(name: &'static str, common: &Common, checkout: &Checkout, cache: &Cache) -> Result<Self> {
        let binary = match &common.program {
            Some(program) => Binary::at(checkout, program)?,
            None => Binary::build(checkout, cache)?,
        };
        let desk = Desk::new(name, common.seed, checkout, binary.program())?;
        Ok(Self {
            store: Store::open(common.store, cache, &desk.work)?,
            desk,
            binary,
        })
    }

    /// Starts a run of small cases, see [`Setting::command`].
    fn start(&self, cohort: &Cohort, cases: usize, id: &str, settings: &[&str]) -> Result<Process> {
        let settings: Vec<&str> = SMALL.iter().chain(settings).copied().collect();
        let mut command = self.command(cohort, cases, id, &settings)?;
        Process::start(self.store.lend(&mut command))
    }

    /// Returns a run of the cohort's first `cases` cases, under an id that is also its output's name.
    fn command(&self, cohort: &Cohort, cases: usize, id: &str, settings: &[&str]) -> Result<Command> {
        let mut own = vec![
            format!("run.id={id}"),
            format!("run.seed={}", self.desk.seed),
            format!("run.manifest={}", self.store.url(&cohort.manifest(cases))),
            format!("run.output={}", self.store.url(id)),
        ];
        own.extend(settings.iter().map(|setting| (*setting).to_owned()));
        // with a line of the log for each case that is done
        let mut arguments = vec!["run", "-v"];
        for setting in &own {
            arguments.extend(["--set", setting]);
        }
        self.binary.mortal_verb(&arguments)
    }

    /// Writes the numbers of runs of small cases.
    fn keep(&self, numbers: &impl Serialize, settings: &[&str]) -> Result<()> {
        self.keep_with(numbers, SMALL.iter().chain(settings).copied().collect())
    }

    /// Writes the numbers of runs with these settings.
    fn keep_with(&self, numbers: &impl Serialize, settings: Vec<&str>) -> Result<()> {
        self.desk.keep(&OfRuns {
            store: self.store.kind(),
            settings,
            numbers,
        })
    }
}

/// A file of results.
#[derive(Debug, Serialize)]
struct Document<'a, N> {
    bench: &'a str,
    #[serde(flatten)]
    origin: &'a Origin,
    seed: u64,
    #[serde(flatten)]
    numbers: &'a N,
}

/// Numbers of runs.
#[derive(Debug, Serialize)]
struct OfRuns<'a, N> {
    store: store::Kind,
    settings: Vec<&'a str>,
    #[serde(flatten)]
    numbers: &'a N,
}

/// Bytes as people read them.
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Seconds, to the millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}
