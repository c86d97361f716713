//! The end of a run in one table: cases by outcome, where the time went, how busy each resource was, what to change.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::gauges::Reading;
use crate::view::View;

/// Share of its time from which on a resource counts as the limit.
const AT_LIMIT: f64 = 0.85;

/// Share of the run in which each resource was busy.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Busy {
    /// Cores, by the processor time of this process.
    pub cores: f64,
    /// Model workers.
    pub models: f64,
    /// Places of each stage, in the order of the flow.
    pub stages: Vec<(&'static str, f64)>,
}

impl Busy {
    /// Measures the shares so far; `processor` is the processor time that the run has used.
    pub fn of(view: &View, processor: Duration) -> Self {
        let elapsed = view.start.elapsed();
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = view.pool.reading();
        let stages = view.gauges.read();
        Self {
            cores: processor.as_secs_f64() / (seconds * cores as f64),
            models: pool.busy.as_secs_f64() / (seconds * pool.workers.max(1) as f64),
            stages: stages
                .iter()
                .map(|stage| (stage.name, stage.share(elapsed)))
                .collect(),
        }
    }

    /// Says what holds the run back, and what would help.
    fn hint(&self) -> String {
        if self.models >= AT_LIMIT {
            return "the model workers were the limit: more pool.devices, or pool.replicas where the device has room"
                .to_owned();
        }
        if self.cores >= AT_LIMIT {
            return "the cores were the limit: no width will help, more cores or another machine will"
                .to_owned();
        }
        // stages before the slowest one are full because it holds them up: of the full ones the last is the cause
        let full = self.stages.iter().rev().find(|(_, share)| *share >= AT_LIMIT);
        match full {
            Some((stage, share)) => format!(
                "stage {stage} was full {:.0} % of the time while cores were free: raise widths.{stage}",
                share * 100.0
            ),
            None => "no stage, model worker or core was at its limit".to_owned(),
        }
    }
}

/// Returns the table's part on time.
pub fn summary(view: &View, processor: Duration) -> String {
    let mut text = String::new();
    let busy = Busy::of(view, processor);
    let _ = write(&mut text, &view.gauges.read(), &busy);
    text
}

fn write(text: &mut String, stages: &[Reading], busy: &Busy) -> std::fmt::Result {
    writeln!(
        text,
        "{:<12} {:>7} {:>7} {:>9} {:>6} {:>6} {:>8}",
        "stage", "done", "failed", "s a case", "width", "full", "held up"
    )?;
    let slowest = stages.iter().map(mean).fold(0.0, f64::max);
    for (stage, (_, share)) in stages.iter().zip(&busy.stages) {
        let mark = if slowest > 0.0 && mean(stage) >= slowest {
            "  slowest"
        } else {
            ""
        };
        writeln!(
            text,
            "{:<12} {:>7} {:>7} {:>9.3} {:>6} {:>4.0} % {:>6.1} s{mark}",
            stage.name,
            stage.done,
            stage.failed,
            mean(stage),
            stage.width,
            share * 100.0,
            stage.waited.as_secs_f64()
        )?;
    }
    writeln!(
        text,
        "busy: cores {:.0} %, model workers {:.0} %",
        busy.cores * 100.0,
        busy.models * 100.0
    )?;
    writeln!(text, "{}", busy.hint())
}

fn mean(stage: &Reading) -> f64 {
    let ended = stage.done + stage.failed;
    stage.ended.as_secs_f64() / ended.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(cores: f64, models: f64, stages: &[(&'static str, f64)]) -> Busy {
        Busy {
            cores,
            models,
            stages: stages.to_vec(),
        }
    }

    #[test]
    fn the_hint_names_what_holds_the_run_back() {
        let stages = [("fetch", 1.0), ("decode", 0.97), ("crop", 0.2)];
        assert!(busy(0.3, 0.2, &stages).hint().contains("widths.decode"));
        assert!(busy(0.3, 0.9, &stages).hint().contains("model workers"));
        assert!(busy(0.95, 0.2, &stages).hint().contains("cores"));
        assert!(busy(0.1, 0.1, &[("fetch", 0.3)]).hint().starts_with("no stage"));
    }
}
