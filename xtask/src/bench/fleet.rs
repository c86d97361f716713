//! Workers on a queue, beside one run of the same cases: what one, two and three of them take, what kills cost, whether a
//! slow one holds the others up, what becomes of one that is cut off, and how many cases the queue holds.

mod apart;
mod fill;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::watch::{Ended, Process};
use super::{Cohort, Common, SMALL, Setting, seconds};
use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::nats::{self, Server};
use crate::programs::{last_words, run_for_output};
use crate::{report, test_python};

/// Compares what two runs left; arguments are folder and id of each.
const COMPARE: &str = include_str!("compare.py");

/// One core a worker, and parts small enough that a killed one leaves some.
const SETTINGS: [&str; 4] = [
    "pool.replicas=1",
    "pool.threads=1",
    "write.rows_per_part=20",
    "queue.ack_wait_s=5",
];

/// Id of the run that the others are held against.
const WHOLE: &str = "whole";

/// Stops a process for nine tenths of its time, until it ends; its argument is the process.
const SLOW: &str = r#"while kill -STOP "$1" 2>/dev/null; do sleep 0.09; kill -CONT "$1"; sleep 0.01; done"#;

/// Processor time after which a worker is killed.
const KILL_AFTER: Duration = Duration::from_secs(4);

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Cases of each run; the runs with a slow worker and with one cut off have a quarter of them.
    #[arg(long, default_value_t = 2000)]
    cases: usize,
    /// Cases that the queue is filled with; 0 for none.
    #[arg(long, default_value_t = 1_000_000)]
    fill: usize,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Numbers {
    cohort: Cohort,
    cases: usize,
    whole: Run,
    /// One, two and three workers.
    workers: Vec<Run>,
    /// Of three workers two were killed, then the server, which was started again.
    killed: Run,
    /// Cases of these four.
    fewer: usize,
    /// Two workers, one of them ten times as slow.
    slow_on_queue: Run,
    /// Two shards, one of them ten times as slow.
    slow_in_shards: Run,
    cut_off: Option<Run>,
    fill: Option<fill::Numbers>,
}

/// A run by some processes.
#[derive(Debug, Serialize)]
struct Run {
    processes: usize,
    /// From the first one's start to the last one's end.
    seconds: f64,
    cpu_s: f64,
    /// Cases that were done by several processes; one row of each counts.
    twice: u64,
    /// Against one run by one process: rows as sets, and volumes.
    equal: bool,
}

/// What the parts of the bench work with.
struct Fleet<'a> {
    setting: &'a Setting,
    cohort: &'a Cohort,
    python: PathBuf,
}

/// Runs all of it and keeps the numbers.
///
/// # Errors
/// Set-up failed, or workers left something else than one run.
pub fn fleet(arguments: &Arguments, checkout: &Checkout, cache: &Cache) -> Result<()> {
    let setting = Setting::new("fleet", &arguments.common, checkout, cache)?;
    let program = nats::set_up(cache)?;
    let (cases, fewer) = (arguments.cases, (arguments.cases / 4).max(1));
    let cohort = Cohort::make(&setting, &[cases, fewer])?;
    let fleet = Fleet {
        setting: &setting,
        cohort: &cohort,
        python: test_python::set_up(cache)?,
    };
    let mut server = Server::start(&program, &setting.desk.work.join("nats"), "127.0.0.1")?;

    report::stage("one run …");
    let whole = fleet.whole(WHOLE, cases)?;
    let mut workers = Vec::new();
    for (count, id) in [(1, "one"), (2, "two"), (3, "three")] {
        report::stage(&format!("{count} workers …"));
        workers.push(fleet.workers(&server, id, cases, count)?);
    }
    report::stage("three workers, two killed, then the server …");
    let killed = fleet.killed(&mut server, cases)?;
    report::stage("a slow worker beside another …");
    fleet.whole("fewer", fewer)?;
    let slow_on_queue = fleet.slow_on_queue(&server, fewer)?;
    let slow_in_shards = fleet.slow_in_shards(fewer)?;
    report::stage("a worker that is cut off …");
    let cut_off = match apart::cut_off(&fleet, &program, fewer) {
        Ok(run) => Some(run),
        Err(error) => {
            report::stage(&format!("left out: {error:#}"));
            None
        }
    };
    let fill = match arguments.fill {
        0 => None,
        cases => Some(fill::fill(&fleet, &program, cases)?),
    };
    let numbers = Numbers {
        cases,
        whole,
        workers,
        killed,
        fewer,
        slow_on_queue,
        slow_in_shards,
        cut_off,
        fill,
        cohort,
    };
    print!("{}", numbers.table());
    setting.keep(&numbers, &SETTINGS)?;
    ensure!(
        numbers.runs().iter().all(|(_, run)| run.equal),
        "workers left something else than one run"
    );
    Ok(())
}

impl Fleet<'_> {
    /// Returns a verb on the run of that id, of the cohort's first `cases` cases.
    fn verb(&self, verb: &[&str], id: &str, cases: usize, settings: &[String]) -> Result<Command> {
        let Setting { desk, binary, store } = self.setting;
        let mut own: Vec<String> = SMALL
            .iter()
            .chain(&SETTINGS)
            .map(|text| (*text).to_owned())
            .collect();
        own.extend([
            format!("run.id={id}"),
            format!("run.seed={}", desk.seed),
            format!("run.manifest={}", store.url(&self.cohort.manifest(cases))),
            format!("run.output={}", store.url(id)),
        ]);
        own.extend_from_slice(settings);
        let mut arguments = verb.to_vec();
        arguments.push("-v");
        for setting in &own {
            arguments.extend(["--set", setting]);
        }
        let mut command = binary.mortal_verb(&arguments)?;
        store.lend(&mut command);
        Ok(command)
    }

    /// Fills the queue of a run.
    fn enqueue(&self, server: &Server, id: &str, cases: usize) -> Result<()> {
        run_for_output(&mut self.verb(&["enqueue"], id, cases, &queue(server))?).map(drop)
    }

    /// Returns a worker that ends when nothing is left.
    fn worker(&self, server: &Server, id: &str, cases: usize) -> Result<Command> {
        self.verb(&["work", "--until-empty"], id, cases, &queue(server))
    }

    /// Does the cases in one process, and says how.
    fn whole(&self, id: &str, cases: usize) -> Result<Run> {
        let start = Instant::now();
        let process = Process::start(&mut self.verb(&["run"], id, cases, &[])?)?;
        let ended = wait(vec![process])?;
        Ok(Run::of(&ended, start.elapsed(), 0, true))
    }

    fn workers(&self, server: &Server, id: &str, cases: usize, count: usize) -> Result<Run> {
        self.enqueue(server, id, cases)?;
        let start = Instant::now();
        let mut processes = Vec::new();
        for _ in 0..count {
            processes.push(Process::start(&mut self.worker(server, id, cases)?)?);
        }
        let ended = wait(processes)?;
        self.judged(&ended, start.elapsed(), WHOLE, id)
    }

    /// Kills two of three workers once they have done something, then the server for two seconds.
    fn killed(&self, server: &mut Server, cases: usize) -> Result<Run> {
        let id = "killed";
        self.enqueue(server, id, cases)?;
        let start = Instant::now();
        let last = Process::start(&mut self.worker(server, id, cases)?)?;
        let mut ended = Vec::new();
        for _ in 0..2 {
            let process = Process::start(&mut self.worker(server, id, cases)?)?;
            // processor time: some of its cases are in hand by then, and some parts are published
            let killed = process.kill_after(KILL_AFTER, "a worker that is to be killed")?;
            report::stage(&format!("killed: {}", killed.killed));
            ended.push(killed);
        }
        server.kill9();
        thread::sleep(Duration::from_secs(2));
        server.restart()?;
        ended.extend(wait(vec![last])?);
        self.judged(&ended, start.elapsed(), WHOLE, id)
    }

    fn slow_on_queue(&self, server: &Server, cases: usize) -> Result<Run> {
        let id = "slow_queue";
        self.enqueue(server, id, cases)?;
        let start = Instant::now();
        let slow = Process::start(&mut self.worker(server, id, cases)?)?;
        let slowed = slow_down(&slow)?;
        let quick = Process::start(&mut self.worker(server, id, cases)?)?;
        let ended = wait(vec![slow, quick])?;
        end(slowed);
        self.judged(&ended, start.elapsed(), "fewer", id)
    }

    fn slow_in_shards(&self, cases: usize) -> Result<Run> {
        let id = "slow_shards";
        let start = Instant::now();
        let shard =
            |shard: &str| Process::start(&mut self.verb(&["run", "--shard", shard], id, cases, &[])?);
        let slow = shard("0/2")?;
        let slowed = slow_down(&slow)?;
        let quick = shard("1/2")?;
        let ended = wait(vec![slow, quick])?;
        end(slowed);
        self.judged(&ended, start.elapsed(), "fewer", id)
    }

    /// Holds what workers left against one run.
    fn judged(&self, ended: &[Ended], elapsed: Duration, whole: &str, id: &str) -> Result<Run> {
        let folder = self.setting.store.get(&[whole, id])?;
        let mut command = Command::new(&self.python);
        command.args(["-c", COMPARE]);
        for run in [whole, id] {
            command.arg(folder.join(run)).arg(run);
        }
        let found: Value = serde_json::from_str(&run_for_output(&mut command)?)
            .context("cannot read what compare.py found")?;
        let twice = found["tables"]["cases"]["rows_of_lower_attempts"][id].as_u64();
        let is_equal = found["equal"].as_bool().unwrap_or_default();
        if !is_equal {
            report::stage(&format!("{id} differs from {whole}: {found}"));
        }
        Ok(Run::of(ended, elapsed, twice.unwrap_or_default(), is_equal))
    }
}

/// Returns the settings that name a queue.
fn queue(server: &Server) -> Vec<String> {
    vec![format!("queue.url={}", server.url())]
}

/// Waits for processes, which must do all that is left for them.
fn wait(processes: Vec<Process>) -> Result<Vec<Ended>> {
    let waiting = processes
        .into_iter()
        .enumerate()
        .map(|(number, process)| thread::spawn(move || process.wait(&format!("process {}", number + 1))));
    let waiting: Vec<_> = waiting.collect();
    let mut all = Vec::new();
    for process in waiting {
        let ended = process
            .join()
            .ok()
            .context("a thread that waits has panicked")??;
        ensure!(
            ended.status.success(),
            "expected a process to do its cases, found {}:\n{}",
            ended.status,
            last_words(&ended.words)
        );
        all.push(ended);
    }
    Ok(all)
}

/// Makes a process ten times as slow.
fn slow_down(process: &Process) -> Result<Child> {
    Command::new("sh")
        .args(["-c", SLOW, "sh", &process.pid().to_string()])
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start sh")
}

/// Ends what slows a process down that has ended: its number may be another's soon.
fn end(mut slowing: Child) {
    let _ = slowing.kill();
    let _ = slowing.wait();
}

impl Run {
    fn of(ended: &[Ended], elapsed: Duration, twice: u64, equal: bool) -> Self {
        Self {
            processes: ended.len(),
            seconds: seconds(elapsed),
            cpu_s: seconds(ended.iter().map(|ended| ended.cpu).sum()),
            twice,
            equal,
        }
    }
}

impl Numbers {
    fn runs(&self) -> Vec<(String, &Run)> {
        let mut runs = vec![("one run".to_owned(), &self.whole)];
        for run in &self.workers {
            runs.push((format!("{} workers", run.processes), run));
        }
        runs.push(("two killed, and the server".to_owned(), &self.killed));
        runs.push((
            "one ten times as slow, on the queue".to_owned(),
            &self.slow_on_queue,
        ));
        runs.push((
            "one ten times as slow, in shards".to_owned(),
            &self.slow_in_shards,
        ));
        if let Some(run) = &self.cut_off {
            runs.push(("one cut off for a minute".to_owned(), run));
        }
        runs
    }

    fn table(&self) -> String {
        let mut text = format!(
            "\n{} cases ({} from the slow ones on)\n{:<38} {:>9} {:>9} {:>7} {:>6}\n",
            self.cases, self.fewer, "", "seconds", "CPU-s", "twice", "equal"
        );
        for (what, run) in self.runs() {
            text += &format!(
                "{what:<38} {:>9.1} {:>9.1} {:>7} {:>6}\n",
                run.seconds, run.cpu_s, run.twice, run.equal
            );
        }
        if let Some(fill) = &self.fill {
            text += &fill.table();
        }
        text
    }
}

/// Returns a place for a folder of the bench's own.
fn folder(fleet: &Fleet<'_>, name: &str) -> PathBuf {
    fleet.setting.desk.work.join(name)
}
