//! Many cases in one run: memory, open files and speed must not depend on how many were there before.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::watch::{Progress, Sample, Usage};
use super::{Cohort, Common, Ended, Setting, mib, seconds};
use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::programs::last_words;
use crate::report;

/// Parts that a run is looked at in.
const PARTS: usize = 10;

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Cases of the long run.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..))]
    cases: u32,
    /// Cases of the short run, whose memory the long one's is compared with.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..))]
    compare: u32,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Numbers {
    cohort: Cohort,
    short: Run,
    long: Run,
    /// Long over short.
    peak_rss_ratio: f64,
}

/// One run.
#[derive(Debug, Serialize)]
struct Run {
    cases: usize,
    seconds: f64,
    cpu_s_per_case: f64,
    peak_rss_bytes: u64,
    /// The server's peak until the end of this run.
    server_peak_rss_bytes: Option<u64>,
    cases_per_s: f64,
    /// Slowest tenth.
    cases_per_s_min: Option<f64>,
    /// Fastest tenth.
    cases_per_s_max: Option<f64>,
    parts: Vec<Part>,
    samples: Vec<Sample>,
}

/// A tenth of a run's cases.
#[derive(Debug, Clone, Serialize)]
struct Part {
    /// Cases until its end.
    cases: usize,
    /// When it ended.
    at_s: f64,
    /// Not known of a run that was over before it said how far it was.
    cases_per_s: Option<f64>,
    /// Most of its samples; none if it was over between two.
    rss_bytes: Option<u64>,
    open_files: Option<usize>,
}

/// Runs both and keeps the numbers.
///
/// # Errors
/// Set-up failed, or a run did not do all of its cases.
pub fn soak(arguments: &Arguments, checkout: &Checkout, cache: &Cache) -> Result<()> {
    let setting = Setting::new("soak", &arguments.common, checkout, cache)?;
    let [short, long] = [arguments.compare, arguments.cases].map(|cases| cases as usize);
    let cohort = Cohort::make(&setting, &[short, long])?;
    let run = |id: &str, cases: usize| -> Result<Run> {
        report::stage(&format!("running {cases} cases …"));
        let process = setting.start(&cohort, cases, id, &[])?;
        let ended = process.wait(id)?;
        ensure!(
            ended.status.success(),
            "expected the run to do all of its {cases} cases, found {}:\n{}",
            ended.status,
            last_words(&ended.words)
        );
        let server = setting.store.server().and_then(Usage::of);
        Ok(Run::of(cases, ended, server.map(|server| server.peak_rss_bytes)))
    };
    let short = run("short", short)?;
    let long = run("long", long)?;
    let numbers = Numbers {
        peak_rss_ratio: long.peak_rss_bytes as f64 / short.peak_rss_bytes as f64,
        cohort,
        short,
        long,
    };
    print!("{}", numbers.table());
    setting.keep(&numbers, &[])
}

impl Run {
    fn of(cases: usize, ended: Ended, server_peak_rss_bytes: Option<u64>) -> Self {
        let parts = parts(cases, &ended);
        let rates = || parts.iter().filter_map(|part| part.cases_per_s);
        Self {
            cases,
            seconds: seconds(ended.elapsed),
            cpu_s_per_case: ended.cpu.as_secs_f64() / cases as f64,
            peak_rss_bytes: ended.peak_rss_bytes,
            server_peak_rss_bytes,
            cases_per_s: cases as f64 / ended.elapsed.as_secs_f64(),
            cases_per_s_min: rates().reduce(f64::min),
            cases_per_s_max: rates().reduce(f64::max),
            parts,
            samples: ended.samples,
        }
    }
}

/// Cuts a run into tenths of its cases.
fn parts(cases: usize, ended: &Ended) -> Vec<Part> {
    let end = Progress {
        at: ended.elapsed,
        cases,
    };
    let mut then = Progress {
        at: Duration::ZERO,
        cases: 0,
    };
    let mut parts = Vec::new();
    for number in 1..=PARTS {
        let upto = cases * number / PARTS;
        let at = time_of(upto, &ended.progress, end);
        let rate = (upto - then.cases) as f64 / (at - then.at).as_secs_f64();
        let within = |sample: &&Sample| (seconds(then.at)..=seconds(at)).contains(&sample.at_s);
        let samples = || ended.samples.iter().filter(within);
        parts.push(Part {
            cases: upto,
            at_s: seconds(at),
            cases_per_s: (!ended.progress.is_empty()).then_some(rate),
            rss_bytes: samples().map(|sample| sample.rss_bytes).max(),
            open_files: samples().map(|sample| sample.open_files).max(),
        });
        then = Progress { at, cases: upto };
    }
    parts
}

/// Returns when that many cases had an outcome: exact at the progress lines, as if even between them.
fn time_of(cases: usize, progress: &[Progress], end: Progress) -> Duration {
    let mut before = Progress {
        at: Duration::ZERO,
        cases: 0,
    };
    for after in progress.iter().chain([&end]) {
        if after.cases >= cases && after.cases > before.cases {
            let share = (cases - before.cases) as f64 / (after.cases - before.cases) as f64;
            return before.at + (after.at - before.at).mul_f64(share);
        }
        before = *after;
    }
    end.at
}

impl Numbers {
    fn table(&self) -> String {
        let mut text = format!(
            "\n{:>7} {:>9} {:>9} {:>15} {:>10} {:>11} {:>13}\n",
            "cases", "seconds", "cases/s", "tenths, min-max", "CPU-s/case", "peak RSS", "server's peak"
        );
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
        for run in [&self.short, &self.long] {
            let range = match (run.cases_per_s_min, run.cases_per_s_max) {
                (Some(min), Some(max)) => format!("{min:.1}-{max:.1}"),
                _ => "-".to_owned(),
            };
            text += &format!(
                "{:>7} {:>9.1} {:>9.1} {range:>15} {:>10.4} {:>11} {:>13}\n",
                run.cases,
                run.seconds,
                run.cases_per_s,
                run.cpu_s_per_case,
                mib(run.peak_rss_bytes),
                run.server_peak_rss_bytes.map_or("-".to_owned(), mib),
            );
        }
        text += &format!("peak RSS, long over short: {:.3}\n\n", self.peak_rss_ratio);
        text += &format!(
            "{:>7} {:>9} {:>9} {:>11} {:>10}\n",
            "cases", "at s", "cases/s", "RSS", "open files"
        );
        for part in &self.long.parts {
            text += &format!(
                "{:>7} {:>9.1} {:>9} {:>11} {:>10}\n",
                part.cases,
                part.at_s,
                number(part.cases_per_s),
                part.rss_bytes.map_or("-".to_owned(), mib),
                part.open_files.map_or("-".to_owned(), |files| files.to_string()),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_ends_between_the_lines_around_it() {
        let progress = |at: u64, cases: usize| Progress {
            at: Duration::from_secs(at),
            cases,
        };
        let lines = [progress(5, 100), progress(10, 100), progress(15, 300)];
        let end = progress(20, 400);
        let at = |cases: usize| time_of(cases, &lines, end).as_secs_f64();
        assert_eq!(
            [at(50), at(100), at(150), at(300), at(400)],
            [2.5, 5.0, 11.25, 15.0, 20.0]
        );
        assert_eq!(time_of(100, &[], end), Duration::from_secs(5), "no line: even");
        assert_eq!(
            time_of(400, &[progress(15, 400)], end),
            Duration::from_secs(15),
            "a line at the end"
        );
    }
}
