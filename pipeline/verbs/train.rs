//! `spinestream train`: trains a model on the masks of a manifest.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use indicatif::{FormattedDuration, ProgressBar};
use schemas::Scores;
use serde_json::json;
use stages::store::Stores;
use stages::train::{Ended, Gather, METRICS, Others, Progress, Scored, Split, WEIGHTS, mean, metric};

use crate::bar::bar;
use crate::conf::Conf;
use crate::record::redacted;
use crate::run::{SMALL_OBJECT, list, place, say};
use crate::{Exit, RunEnd};

/// Time between two progress lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Length of the bar: parts of a phase.
const PARTS: u64 = 1000;

/// Trains what `[train]` says, going on from its checkpoint; a stop signal leaves one behind.
///
/// # Errors
/// No manifest, no mask, no place for the output, or a configuration that cannot be.
pub async fn train(
    conf: &Conf,
    stores: &Arc<Stores>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let stop = stop.shared();
    let output = place(stores, "train.output", &conf.train.output)?;
    let gather = Gather::new(stores, &conf.crop, conf.run.memory.as_u64(), &output)?;
    let cases = list("train.manifest", &conf.train.manifest, conf, stores).await?;
    let split = tokio::select! {
        split = gather.gather(cases, &conf.train) => split?,
        () = stop.clone() => {
            say("stopped before the first step; start again to go on");
            return Ok(Exit::SomeFailed);
        }
    };
    let failed = split.failed.len();
    report(&split);

    let redacted = redacted(conf);
    let configuration = json!({ "train": redacted.train, "crop": redacted.crop });
    let mut display = Display::new();
    let tell = move |progress: Progress| display.show(&progress);
    let train = &conf.train;
    let others = Others {
        restorer: weights("train.restorer", &train.restorer, stores).await?,
        base: weights("train.base", &train.base, stores).await?,
        start: weights("train.start", &train.start, stores).await?,
    };
    let ended = stages::train::train(split, train, configuration, &output, others, stop, tell).await?;
    for case in &ended.validation {
        say(&format!(
            "{:<24} DSC {}",
            case.name,
            arrow(&case.input, &case.reconstruction)
        ));
    }
    say(&closing(&ended));
    Ok(if ended.complete && failed == 0 {
        Exit::Done
    } else {
        Exit::SomeFailed
    })
}

/// Reads the weights that a key names, if it names any.
async fn weights(key: &str, text: &str, stores: &Stores) -> Result<Option<Bytes>, RunEnd> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = place(stores, key, text)?.read(SMALL_OBJECT).await;
    Ok(Some(
        bytes.map_err(|error| RunEnd::Conf(format!("{key}: {error}")))?,
    ))
}

/// Says what there is to learn from, and what there is not.
fn report(split: &Split) {
    for (case, fault) in &split.failed {
        tracing::warn!(case, "{fault}");
    }
    say(&format!(
        "{} masks to train on, {} held out, from {} cases ({} of them cut before, {} failed)",
        split.train.len(),
        split.validation.len(),
        split.cases + split.failed.len(),
        split.cached,
        split.failed.len()
    ));
}

/// Shows a training while it goes on: a bar on a terminal, a line now and then elsewhere.
pub(crate) struct Display {
    bar: ProgressBar,
    last_line: Instant,
}

impl Display {
    /// Shows nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            bar: bar(PARTS, "{msg}"),
            last_line: Instant::now(),
        }
    }

    /// Shows what is new.
    pub(crate) fn show(&mut self, progress: &Progress) {
        match progress {
            Progress::Step { progress: share, .. } if !self.bar.is_hidden() => {
                self.bar.set_position((share * PARTS as f64) as u64);
                self.bar.set_message(line(progress));
            }
            Progress::Step { .. } => {
                if self.last_line.elapsed() >= LINE_EVERY {
                    self.last_line = Instant::now();
                    eprintln!("{}", line(progress));
                }
            }
            Progress::Validated { .. } => self.bar.suspend(|| say(&line(progress))),
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Returns one line on a step or a validation.
fn line(progress: &Progress) -> String {
    match progress {
        Progress::Step {
            phase,
            step,
            progress,
            seconds,
            cpu_seconds,
            figures,
        } => {
            let figures: Vec<String> = figures
                .iter()
                .map(|(name, value)| format!("{name} {value:.4}"))
                .collect();
            let left = match left(*progress, *seconds) {
                Some(left) => clock(left),
                None => "?".to_owned(),
            };
            format!(
                "{phase} step {step}, {:.0} %, left {left}, CPU {}: {}",
                progress * 100.0,
                clock(*cpu_seconds),
                figures.join(", ")
            )
        }
        Progress::Validated { phase, step, cases } => {
            let faults = cases
                .iter()
                .filter_map(|case| Some((&case.name, case.fault.as_ref()?)));
            let faults: String = faults.map(|(name, fault)| format!("; {name}: {fault}")).collect();
            format!("{phase} step {step}: {}{faults}", means(cases))
        }
    }
}

/// Returns the seconds that are left of a phase, from the share that is done.
fn left(progress: f64, seconds: f64) -> Option<f64> {
    (progress > 0.0).then(|| (seconds * (1.0 - progress) / progress).max(0.0))
}

/// Returns seconds as hours, minutes and seconds.
fn clock(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    FormattedDuration(duration).to_string()
}

fn means(cases: &[Scored]) -> String {
    let input = mean(cases.iter().map(|case| &case.input));
    let reconstruction = mean(cases.iter().map(|case| &case.reconstruction));
    format!(
        "mean DSC over {} held-out masks {}",
        cases.len(),
        arrow(&input, &reconstruction)
    )
}

/// Returns DSC before → after.
fn arrow(input: &Scores, reconstruction: &Scores) -> String {
    let [input, reconstruction] = [input, reconstruction].map(|scores| match metric(scores, "dsc") {
        Some(dsc) => format!("{dsc:.4}"),
        None => "-".to_owned(),
    });
    format!("{input} → {reconstruction}")
}

/// Returns the last line.
fn closing(ended: &Ended) -> String {
    let cpu = clock(ended.cpu_seconds);
    if ended.complete {
        let means = means(&ended.validation);
        return format!("{means}; CPU {cpu}; {WEIGHTS} and {METRICS} lie below train.output");
    }
    let at = match &ended.at {
        Some((phase, step)) => format!("at step {step} of {phase}"),
        None => "before the first step".to_owned(),
    };
    format!("stopped {at}, CPU {cpu}; start again to go on from the checkpoint below train.output")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(progress: f64) -> Progress {
        Progress::Step {
            phase: "fit".to_owned(),
            step: 120,
            progress,
            seconds: 900.0,
            cpu_seconds: 3723.4,
            figures: vec![("dice", 0.25), ("gradient", 1.5)],
        }
    }

    #[test]
    fn a_line_tells_the_time_left_from_the_share_done() {
        assert_eq!(
            line(&step(0.25)),
            "fit step 120, 25 %, left 00:45:00, CPU 01:02:03: dice 0.2500, gradient 1.5000"
        );
        assert!(line(&step(0.0)).contains("left ?"), "nothing to go by");
        assert!(line(&step(1.002)).contains("left 00:00:00"), "over by a step");
    }

    #[test]
    fn the_closing_line_says_where_a_stopped_training_stands() {
        let mut ended = Ended {
            complete: false,
            at: Some(("energy".to_owned(), 7)),
            validation: Vec::new(),
            cpu_seconds: 61.0,
        };
        assert!(closing(&ended).starts_with("stopped at step 7 of energy, CPU 00:01:01; "));
        ended.complete = true;
        assert_eq!(
            closing(&ended),
            "mean DSC over 0 held-out masks - → -; CPU 00:01:01; weights.safetensors and metrics.json lie below train.output"
        );
    }
}
