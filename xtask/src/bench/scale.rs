//! Ten cases, a hundred, a thousand, …: whether time grows with them and memory does not.

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::{Cohort, Common, Setting, mib, seconds};
use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::programs::last_words;
use crate::report;

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Cases of the runs, from few to many.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000, 10_000])]
    cases: Vec<usize>,
    /// The slope is of the runs of so many cases or more: what a start costs hides it in shorter ones.
    #[arg(long, default_value_t = 100)]
    from: usize,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Numbers {
    cohort: Cohort,
    runs: Vec<Run>,
    /// Of the logarithm of seconds over that of cases, by least squares.
    slope: Option<f64>,
    /// The same of processor seconds, which others on the machine hardly change.
    cpu_slope: Option<f64>,
    /// Largest peak over smallest, of the same runs.
    peak_rss_ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Run {
    cases: usize,
    seconds: f64,
    cpu_s: f64,
    peak_rss_bytes: u64,
}

/// Runs all of them and keeps the numbers.
///
/// # Errors
/// Set-up failed, or a run did not do all of its cases.
pub fn scale(arguments: &Arguments, checkout: &Checkout, cache: &Cache) -> Result<()> {
    let setting = Setting::new("scale", &arguments.common, checkout, cache)?;
    let cohort = Cohort::make(&setting, &arguments.cases)?;
    let mut runs = Vec::new();
    for cases in arguments.cases.iter().copied() {
        report::stage(&format!("running {cases} cases …"));
        let id = format!("of-{cases}");
        let ended = setting.start(&cohort, cases, &id, &[])?.wait(&id)?;
        ensure!(
            ended.status.success(),
            "expected the run to do all of its {cases} cases, found {}:\n{}",
            ended.status,
            last_words(&ended.words)
        );
        runs.push(Run {
            cases,
            seconds: seconds(ended.elapsed),
            cpu_s: seconds(ended.cpu),
            peak_rss_bytes: ended.peak_rss_bytes,
        });
    }
    let long: Vec<&Run> = runs.iter().filter(|run| run.cases >= arguments.from).collect();
    let points = |of: fn(&Run) -> f64| -> Vec<(f64, f64)> {
        long.iter()
            .map(|run| ((run.cases as f64).ln(), of(run).ln()))
            .collect()
    };
    let peaks = || long.iter().map(|run| run.peak_rss_bytes as f64);
    let peak_rss_ratio = peaks().reduce(f64::max).zip(peaks().reduce(f64::min));
    let numbers = Numbers {
        slope: slope(&points(|run| run.seconds)),
        cpu_slope: slope(&points(|run| run.cpu_s)),
        peak_rss_ratio: peak_rss_ratio.map(|(most, least)| most / least),
        cohort,
        runs,
    };
    print!("{}", numbers.table(arguments.from));
    setting.keep(&numbers, &[])
}

/// Returns the slope of the line that is nearest to points, by least squares; none for fewer than two.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 2 {
        return None;
    }
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let joint: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    Some(joint / spread)
}

impl Numbers {
    fn table(&self, from: usize) -> String {
        let mut text = format!(
            "\n{:>7} {:>9} {:>9} {:>11} {:>11}\n",
            "cases", "seconds", "cases/s", "CPU-s/case", "peak RSS"
        );
        for run in &self.runs {
            text += &format!(
                "{:>7} {:>9.1} {:>9.1} {:>11.4} {:>11}\n",
                run.cases,
                run.seconds,
                run.cases as f64 / run.seconds,
                run.cpu_s / run.cases as f64,
                mib(run.peak_rss_bytes)
            );
        }
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
        text += &format!(
            "from {from} cases on: slope of time {}, of processor time {}; peak RSS, largest over smallest {}\n",
            number(self.slope),
            number(self.cpu_slope),
            number(self.peak_rss_ratio)
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_has_its_exponent_for_a_slope() {
        let points: Vec<_> = [10_f64, 100.0, 1000.0]
            .map(|x| (x.ln(), (3.0 * x.powf(1.5)).ln()))
            .to_vec();
        assert!((slope(&points).expect("three points") - 1.5).abs() < 1e-12);
        assert_eq!(slope(&points[..1]), None);
    }
}
