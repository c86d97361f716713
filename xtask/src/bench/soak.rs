//! Many cases in one run: memory, open files and speed must not depend on how many were there before.

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::watch::{Sample, Usage};
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
    /// What others do on the machine changes speed, but hardly this.
    cpu_s_per_case: Option<f64>,
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
    let end_s = ended.elapsed.as_secs_f64();
    let lines = ended
        .progress
        .iter()
        .map(|line| (line.cases as f64, line.at.as_secs_f64()));
    let times: Vec<_> = lines.chain([(cases as f64, end_s)]).collect();
    let samples = ended.samples.iter().map(|sample| (sample.at_s, sample.cpu_s));
    let cpus: Vec<_> = samples.chain([(end_s, ended.cpu.as_secs_f64())]).collect();
    let known = !ended.progress.is_empty();

    let mut parts = Vec::new();
    let (mut begin, mut begin_s, mut begin_cpu_s) = (0, 0.0, 0.0);
    for number in 1..=PARTS {
        let upto = cases * number / PARTS;
        let at_s = interpolate(&times, upto as f64);
        let cpu_s = interpolate(&cpus, at_s);
        let done = (upto - begin) as f64;
        let within = |sample: &&Sample| (begin_s..=at_s).contains(&sample.at_s);
        let samples = || ended.samples.iter().filter(within);
        parts.push(Part {
            cases: upto,
            at_s,
            cases_per_s: known.then_some(done / (at_s - begin_s)),
            cpu_s_per_case: known.then_some((cpu_s - begin_cpu_s) / done),
            rss_bytes: samples().map(|sample| sample.rss_bytes).max(),
            open_files: samples().map(|sample| sample.open_files).max(),
        });
        (begin, begin_s, begin_cpu_s) = (upto, at_s, cpu_s);
    }
    parts
}

/// Returns y at x on the line through 0 and points of rising x: exact at these, as if even between them.
fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let mut before = (0.0, 0.0);
    for after in points {
        if after.0 >= x && after.0 > before.0 {
            return before.1 + (after.1 - before.1) * (x - before.0) / (after.0 - before.0);
        }
        before = *after;
    }
    before.1
}

impl Numbers {
    fn table(&self) -> String {
        let mut text = format!(
            "\n{:>7} {:>9} {:>9} {:>15} {:>10} {:>11} {:>13}\n",
            "cases", "seconds", "cases/s", "tenths, min-max", "CPU-s/case", "peak RSS", "server's peak"
        );
        let number =
            |value: Option<f64>, digits| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
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
            "{:>7} {:>9} {:>9} {:>10} {:>11} {:>10}\n",
            "cases", "at s", "cases/s", "CPU-s/case", "RSS", "open files"
        );
        for part in &self.long.parts {
            text += &format!(
                "{:>7} {:>9.1} {:>9} {:>10} {:>11} {:>10}\n",
                part.cases,
                part.at_s,
                number(part.cases_per_s, 1),
                number(part.cpu_s_per_case, 4),
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
        let lines = [(100.0, 5.0), (100.0, 10.0), (300.0, 15.0), (400.0, 20.0)];
        let at = [50.0, 100.0, 150.0, 300.0, 400.0].map(|cases| interpolate(&lines, cases));
        assert_eq!(at, [2.5, 5.0, 11.25, 15.0, 20.0]);
        let at_the_end = [(400.0, 15.0), (400.0, 20.0)];
        assert_eq!(
            interpolate(&at_the_end, 400.0),
            15.0,
            "the last line, not the end"
        );
    }
}
