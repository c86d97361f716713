//! `kill -9` at random moments, again and again: the tables must be those of a run that nobody disturbed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Cohort, Common, Ended, Setting, seconds};
use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::programs::{last_words, run_for_output};
use crate::{report, test_python};

/// Compares what two runs left; arguments are folder and id of each.
const COMPARE: &str = include_str!("compare.py");

/// Small parts, so that a killed run leaves some.
const SETTINGS: [&str; 2] = ["write.rows_per_part=20", "write.seconds_per_part=2"];

/// Cases of a part.
const PART: u32 = 20;

/// Share of the run that all killed starts together should get done.
const GAIN: f64 = 0.6;

/// Ids of the runs, and prefixes of their outputs.
const UNDISTURBED: &str = "undisturbed";
const KILLED: &str = "killed";

/// Latest moment of a kill, as a share of the undisturbed run: the first start, at least, is killed.
const LATEST: f64 = 0.8;

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How often it is killed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,
    /// Cases of both runs.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    cases: u32,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Numbers {
    cohort: Cohort,
    cases: usize,
    kills_asked_for: u32,
    kills: usize,
    undisturbed: Start,
    /// Once more, with nothing left to do.
    idle: Start,
    /// Of the killed run.
    starts: Vec<Start>,
    /// Processor time of all starts over that of the undisturbed run.
    cpu_ratio: f64,
    /// Cases that were done again because a kill came before their rows were published.
    cases_done_again: usize,
    compared: Compared,
}

/// What `compare.py` found.
#[derive(Debug, Serialize, Deserialize)]
struct Compared {
    equal: bool,
    tables: BTreeMap<String, Table>,
    cases_with_several_rows: Both,
    volumes: Volumes,
    /// Of each start that came as far as writing one.
    records: Value,
}

/// A number of each run.
#[derive(Debug, Serialize, Deserialize)]
struct Both {
    undisturbed: usize,
    killed: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Table {
    columns: usize,
    rows: Both,
    rows_only_in: Both,
    duplicates: Both,
    rows_of_lower_attempts: Both,
}

#[derive(Debug, Serialize, Deserialize)]
struct Volumes {
    r#in: Both,
    only_in: Both,
    differing: usize,
}

/// One start of a run.
#[derive(Debug, Clone, Serialize)]
struct Start {
    /// Processor time after which it was to be killed; none for one that was left alone.
    kill_after_cpu_s: Option<f64>,
    cpu_s: f64,
    seconds: f64,
    killed: bool,
    /// Cases that it did, whether or not their rows came to be published.
    cases_done: usize,
}

impl Start {
    fn of(ended: &Ended, kill_after: Option<Duration>) -> Self {
        Self {
            kill_after_cpu_s: kill_after.map(seconds),
            cpu_s: seconds(ended.cpu),
            seconds: seconds(ended.elapsed),
            killed: ended.killed,
            cases_done: ended.done,
        }
    }
}

/// Runs, kills, compares and keeps the numbers.
///
/// # Errors
/// Set-up failed, a run ended by itself before its last case, or the tables differ.
pub fn kills(arguments: &Arguments, checkout: &Checkout, cache: &Cache) -> Result<()> {
    // before any work: without it nothing can be compared
    let python = test_python::set_up(cache)?;
    let setting = Setting::new("kills", &arguments.common, checkout, cache)?;
    let cases = arguments.cases as usize;
    let cohort = Cohort::make(&setting, &[cases])?;

    report::stage(&format!("running {cases} cases, undisturbed …"));
    let whole = undisturbed(&setting, &cohort, cases, UNDISTURBED)?;
    report::stage("starting it again, with nothing left to do …");
    let idle = undisturbed(&setting, &cohort, cases, UNDISTURBED)?;
    let mean = mean_moment(&whole, &idle, arguments);
    let latest = whole.cpu.mul_f64(LATEST);

    let mut starts = Vec::new();
    let mut random = Random(arguments.common.seed);
    for number in 1..=arguments.kills {
        let moment = mean.mul_f64(2.0 * random.share()).min(latest);
        let what = format!("start {number} of {}", arguments.kills);
        let process = setting.start(&cohort, cases, KILLED, &SETTINGS)?;
        let ended = process.kill_after(moment, &what)?;
        starts.push(Start::of(&ended, Some(moment)));
        if !ended.killed {
            ensure!(
                ended.status.success(),
                "expected the run to be killed or to do all of its cases, found {}:\n{}",
                ended.status,
                last_words(&ended.words)
            );
            report::stage("the run did its last case before it could be killed again");
            break;
        }
        report::stage(&format!(
            "{what}: killed after {:.1} s, of these {:.2} s of processor time",
            ended.elapsed.as_secs_f64(),
            ended.cpu.as_secs_f64()
        ));
    }
    let kills = starts.iter().filter(|start| start.killed).count();
    report::stage(&format!("killed {kills} times; running to the end …"));
    let last = undisturbed(&setting, &cohort, cases, KILLED)?;
    starts.push(Start::of(&last, None));

    let compared = compare(&setting, &python)?;
    let done: usize = starts.iter().map(|start| start.cases_done).sum();
    let cpu_s: f64 = starts.iter().map(|start| start.cpu_s).sum();
    let numbers = Numbers {
        cohort,
        cases,
        kills_asked_for: arguments.kills,
        kills,
        cpu_ratio: cpu_s / whole.cpu.as_secs_f64(),
        cases_done_again: done.saturating_sub(cases),
        undisturbed: Start::of(&whole, None),
        idle: Start::of(&idle, None),
        starts,
        compared,
    };
    setting.keep(&numbers, &SETTINGS)?;
    print!("{}", numbers.table());
    ensure!(
        numbers.kills > 0,
        "the run was over before it could be killed: take more --cases"
    );
    ensure!(
        numbers.compared.equal,
        "the killed run left something else than the undisturbed one"
    );
    Ok(())
}

/// Returns after how much processor time a start is killed, on average.
///
/// Moments are counted in processor time, which does not pass while a start waits, nor slower on a busy machine.
/// A start that is killed loses what it takes to begin and, on average, half a part; what it gains besides must not
/// add up to the whole run before the last kill.
fn mean_moment(whole: &Ended, idle: &Ended, arguments: &Arguments) -> Duration {
    let work = whole.cpu.saturating_sub(idle.cpu);
    let half_a_part = work.mul_f64((f64::from(PART) / 2.0 / f64::from(arguments.cases)).min(1.0));
    idle.cpu + half_a_part + work.mul_f64(GAIN / f64::from(arguments.kills))
}

/// Runs to the end.
fn undisturbed(setting: &Setting, cohort: &Cohort, cases: usize, id: &str) -> Result<Ended> {
    let ended = setting.start(cohort, cases, id, &SETTINGS)?.wait(id)?;
    ensure!(
        ended.status.success(),
        "expected the run to do all of its {cases} cases, found {}:\n{}",
        ended.status,
        last_words(&ended.words)
    );
    Ok(ended)
}

/// Holds what both left against each other.
fn compare(setting: &Setting, python: &Path) -> Result<Compared> {
    let folder = setting.store.get(&[UNDISTURBED, KILLED])?;
    let mut command = Command::new(python);
    command.args(["-c", COMPARE]);
    for id in [UNDISTURBED, KILLED] {
        command.arg(folder.join(id)).arg(id);
    }
    let output = run_for_output(&mut command)?;
    serde_json::from_str(&output).context("cannot read what compare.py found")
}

impl Numbers {
    fn table(&self) -> String {
        let mut text = format!(
            "\n{} kills, {} cases, {} done again; processor time {:.2} times that of the undisturbed run\n\n{:<23} {:>11} {:>7}\n",
            self.kills, self.cases, self.cases_done_again, self.cpu_ratio, "", UNDISTURBED, KILLED
        );
        let mut line = |what: &str, both: &Both| {
            text += &format!("{what:<23} {:>11} {:>7}\n", both.undisturbed, both.killed);
        };
        for (name, table) in &self.compared.tables {
            line(&format!("{name}: rows"), &table.rows);
            line("  only there", &table.rows_only_in);
            line("  there twice", &table.duplicates);
            line("  of lower attempts", &table.rows_of_lower_attempts);
        }
        line("cases with several rows", &self.compared.cases_with_several_rows);
        line("volumes", &self.compared.volumes.r#in);
        line("  only there", &self.compared.volumes.only_in);
        text += &format!("volumes that differ: {}\n", self.compared.volumes.differing);
        text
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): enough for moments, and equal for equal seeds.
struct Random(u64);

impl Random {
    /// Returns a number from 0 to 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_say_how_large_a_part_is() {
        assert!(SETTINGS.contains(&format!("write.rows_per_part={PART}").as_str()));
    }

    #[test]
    fn moments_are_spread_and_follow_from_the_seed() {
        let moments = |seed: u64| {
            let mut random = Random(seed);
            (0..1000).map(|_| random.share()).collect::<Vec<_>>()
        };
        assert_eq!(moments(3), moments(3));
        assert_ne!(moments(3), moments(4));
        let mean = moments(3).iter().sum::<f64>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
        // first output of SplitMix64 for the seed 0, as its authors' code gives it
        assert_eq!(
            Random(0).share(),
            (0xe220_a839_7b1d_cdaf_u64 >> 11) as f64 / (1_u64 << 53) as f64
        );
    }
}
