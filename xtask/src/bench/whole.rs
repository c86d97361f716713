//! A whole cohort: ours beside the same job in a pool of Python processes and in Ray Data, with the same networks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::family::{self, Family};
use super::model::by_hand;
use super::sheet::Sides;
use super::{Cohort, Common, Setting, mib, seconds};
use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::report::{self, Ticker};

/// Networks of the paper's size, walked by the fast sampler; what else a rival does, no more.
const PAPER: [&str; 5] = [
    "model.steps=20",
    "model.sampler=preconditioned",
    "write.volumes=[\"patch\"]",
    "crop.levels=[\"L1\", \"L2\", \"L3\", \"L4\", \"L5\"]",
    "evaluate.register=none",
];

/// Longest time that a rival may take.
const LONGEST: Duration = Duration::from_secs(3 * 3600);

/// Who does the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rival {
    /// A pool of processes, with our fast sampler.
    PoolFast,
    /// Ray Data, with our fast sampler.
    RayFast,
    /// A pool of processes, with the authors' sampler.
    PoolAuthors,
    /// Ray Data, with the authors' sampler.
    RayAuthors,
}

impl Rival {
    const ALL: [Self; 4] = [Self::PoolFast, Self::RayFast, Self::PoolAuthors, Self::RayAuthors];

    /// Returns its name, its script, its sampler, and how many times its cases per second ours are to be.
    fn parts(self) -> (&'static str, &'static str, &'static str, f64) {
        match self {
            Self::PoolFast => ("Python pool, fast sampler", "cohort.py", "fast", 2.0),
            Self::RayFast => ("Ray Data, fast sampler", "ray_cohort.py", "fast", 2.0),
            Self::PoolAuthors => ("Python pool, authors' sampler", "cohort.py", "authors", 5.0),
            Self::RayAuthors => ("Ray Data, authors' sampler", "ray_cohort.py", "authors", 5.0),
        }
    }
}

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Cases of the cohort.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    cases: u32,
    /// Cases of it that each rival does: the first ones.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rival_cases: u32,
    /// These rivals; else all.
    #[arg(long, value_enum)]
    rivals: Vec<Rival>,
    /// Cases of a run without rivals, with the shipped weights; 0 for none.
    #[arg(long, default_value_t = 1000)]
    alone: u32,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Numbers {
    cohort: Cohort,
    ours: Ours,
    rivals: Vec<Beside>,
    alone: Option<Ours>,
}

/// A run of ours.
#[derive(Debug, Serialize)]
struct Ours {
    #[serde(flatten)]
    did: Did,
    /// Share of the run in which the cores were busy, by its own account.
    busy_cores: f64,
    /// The same of the model workers.
    busy_models: f64,
    /// Seconds on the wall over processor seconds by cores.
    wall_over_cpu: f64,
}

/// What a program did with a cohort.
#[derive(Debug, Serialize)]
struct Did {
    who: &'static str,
    cases: usize,
    seconds: f64,
    cases_per_s: f64,
    cpu_s_per_case: f64,
    /// Most memory of all its processes together, what they share counted once.
    peak_memory_bytes: u64,
    processes: usize,
}

/// A rival beside ours.
#[derive(Debug, Serialize)]
struct Beside {
    #[serde(flatten)]
    did: Did,
    /// Our cases per second over its.
    ratio: f64,
    aim: f64,
    /// Our memory over its.
    memory_ratio: f64,
    /// Vertebrae that both have rows of.
    rows: usize,
    /// Largest difference of each number in those.
    apart: BTreeMap<String, f64>,
}

/// Runs ours and its rivals one after the other and keeps the numbers.
///
/// # Errors
/// Set-up failed, one of them did not do all of its cases, or rows differ in number or by more than 1e-3 in DSC.
pub fn whole(arguments: &Arguments, checkout: &Checkout, cache: &Cache) -> Result<()> {
    let sides = Sides::new(checkout, cache, arguments.common.seed)?;
    let weights = by_hand(&sides, checkout, arguments.common.seed)?;
    let setting = Setting::new("cohort", &arguments.common, checkout, cache)?;
    let [cases, rival_cases, alone] =
        [arguments.cases, arguments.rival_cases, arguments.alone].map(|cases| cases as usize);
    let rival_cases = rival_cases.min(cases);
    let cohort = Cohort::make(&setting, &[cases, rival_cases, alone.max(1)])?;

    let place = format!("model.weights={}", weights.display());
    let settings: Vec<&str> = PAPER.into_iter().chain([place.as_str()]).collect();
    let ours = Ours::run(&setting, &cohort, cases, "paper", &settings)?;
    let mut numbers = Numbers {
        cohort: cohort.clone(),
        ours,
        rivals: Vec::new(),
        alone: None,
    };
    let noise = setting.desk.work.join("noise.f32");
    // rivals read files; what ours has written is got from wherever it lies
    let files = setting.store.get(&["cohort", "paper"])?;
    sides.noise(&files.join(cohort.manifest(rival_cases)), &noise)?;
    for rival in Rival::ALL {
        if !arguments.rivals.is_empty() && !arguments.rivals.contains(&rival) {
            continue;
        }
        let (who, script, sampler, aim) = rival.parts();
        let out = setting.desk.work.join(format!("{script}-{sampler}"));
        let mut command = sides.script(script)?;
        command.arg(files.join(cohort.manifest(rival_cases)));
        command.arg(&out).arg(&weights).arg(&noise).arg(sampler);
        let did = Did::watched(&mut command, who, rival_cases, &setting.desk.work)?;
        let equal = sides.equal_rows(&files.join("paper"), &out)?;
        let equal = serde_json::from_str(&equal).context("how far rows lie apart")?;
        numbers
            .rivals
            .push(Beside::of(&numbers.ours.did, did, aim, equal)?);
        print!("{}", numbers.table());
    }
    if alone > 0 {
        let settings = ["write.volumes=[\"patch\"]"];
        numbers.alone = Some(Ours::run(&setting, &cohort, alone, "compact", &settings)?);
    }
    print!("{}", numbers.table());
    setting.keep_with(&numbers, settings)?;
    for rival in &numbers.rivals {
        rival.check()?;
    }
    Ok(())
}

impl Ours {
    fn run(setting: &Setting, cohort: &Cohort, cases: usize, id: &str, settings: &[&str]) -> Result<Self> {
        report::stage(&format!("{id}: ours, {cases} cases …"));
        let mut command = setting.command(cohort, cases, id, settings)?;
        let work = &setting.desk.work;
        let did = Did::watched(setting.store.lend(&mut command), "spinestream", cases, work)?;
        let record = format!("{id}/runs/{id}/w0001.json");
        let folder = setting.store.get(&[id])?;
        let text = fs::read_to_string(folder.join(&record)).with_context(|| format!("expected {record}"))?;
        let record: Record = serde_json::from_str(&text).context("the record of a run")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        Ok(Self {
            busy_cores: record.busy.cores,
            busy_models: record.busy.models,
            wall_over_cpu: did.seconds * cores / (did.cpu_s_per_case * did.cases as f64),
            did,
        })
    }
}

/// What a run leaves of itself, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Record {
    busy: Busy,
}

#[derive(Debug, Deserialize)]
struct Busy {
    cores: f64,
    models: f64,
}

impl Did {
    /// Runs a command to its end and looks at it and all that it starts.
    fn watched(command: &mut Command, who: &'static str, cases: usize, work: &Path) -> Result<Self> {
        let log = work.join("log.txt");
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {who}"))?;
        let mut family = Family::of(child.id());
        let mut ticker = Ticker::new();
        let status = loop {
            family.look();
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > LONGEST {
                child.kill()?;
                break child.wait()?;
            }
            std::thread::sleep(family::LOOK_EVERY);
            ticker.tick(|| {
                format!(
                    "{who}: {:.0} s, {}",
                    start.elapsed().as_secs_f64(),
                    mib(family.memory_bytes)
                )
            });
        };
        let elapsed = start.elapsed();
        ensure!(
            status.success(),
            "expected {who} to do all of its {cases} cases, found {status}:\n{}",
            crate::programs::last_words(&fs::read_to_string(&log).unwrap_or_default())
        );
        Ok(Self {
            who,
            cases,
            seconds: seconds(elapsed),
            cases_per_s: cases as f64 / elapsed.as_secs_f64(),
            cpu_s_per_case: family.cpu().as_secs_f64() / cases as f64,
            peak_memory_bytes: family.peak_memory_bytes,
            processes: family.processes,
        })
    }

    fn line(&self) -> String {
        format!(
            "{:<32} {:>6} {:>9.1} {:>9.3} {:>11.2} {:>12} {:>6}",
            self.who,
            self.cases,
            self.seconds,
            self.cases_per_s,
            self.cpu_s_per_case,
            mib(self.peak_memory_bytes),
            self.processes
        )
    }
}

/// How far rows lie apart, as `equal_rows.py` says it.
#[derive(Debug, Deserialize)]
pub struct Equal {
    peer: usize,
    both: usize,
    apart: BTreeMap<String, f64>,
}

/// Largest difference of a Dice coefficient that still counts as the same row.
const DSC_WITHIN: f64 = 1e-3;

impl Beside {
    fn of(ours: &Did, did: Did, aim: f64, equal: Equal) -> Result<Self> {
        ensure!(
            equal.both == equal.peer && equal.peer >= did.cases,
            "{}: expected rows of vertebrae that ours has too, found {} of {}",
            did.who,
            equal.both,
            equal.peer
        );
        Ok(Self {
            ratio: ours.cases_per_s / did.cases_per_s,
            memory_ratio: ours.peak_memory_bytes as f64 / did.peak_memory_bytes as f64,
            aim,
            rows: equal.both,
            apart: equal.apart,
            did,
        })
    }

    fn apart(&self, name: &str) -> f64 {
        self.apart.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Refuses rows that are not the same.
    fn check(&self) -> Result<()> {
        for name in ["input_dsc", "recon_dsc"] {
            ensure!(
                self.apart(name) <= DSC_WITHIN,
                "{}: expected {name} within {DSC_WITHIN}, found {}",
                self.did.who,
                self.apart(name)
            );
        }
        Ok(())
    }
}

impl Numbers {
    fn table(&self) -> String {
        let mut text = format!(
            "\n{:<32} {:>6} {:>9} {:>9} {:>11} {:>12} {:>6} {:>16} {:>8}  {}\n",
            "",
            "cases",
            "seconds",
            "cases/s",
            "CPU-s/case",
            "peak memory",
            "procs",
            "ours is faster",
            "memory",
            "DSC apart, input and reconstruction"
        );
        for ours in [Some(&self.ours), self.alone.as_ref()].into_iter().flatten() {
            text += &format!("{}\n", ours.did.line());
        }
        for rival in &self.rivals {
            let missed = if rival.ratio >= rival.aim { "" } else { ", missed" };
            text += &format!(
                "{} {:>16} {:>8.3}  {:.0e} {:.0e}\n",
                rival.did.line(),
                format!("{:.1} (≥ {}{missed})", rival.ratio, rival.aim),
                rival.memory_ratio,
                rival.apart("input_dsc"),
                rival.apart("recon_dsc"),
            );
        }
        for (what, ours) in [("cohort", Some(&self.ours)), ("alone", self.alone.as_ref())] {
            if let Some(ours) = ours {
                text += &format!(
                    "{what}: cores busy {:.1} %, model workers {:.1} %, wall {:.3} of CPU seconds / cores\n",
                    ours.busy_cores * 100.0,
                    ours.busy_models * 100.0,
                    ours.wall_over_cpu
                );
            }
        }
        text
    }
}
