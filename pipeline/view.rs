//! A run as it is seen from outside while it goes on: bars on a terminal, a line now and then elsewhere, and a warning
//! when nothing moves.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{FormattedDuration, ProgressBar};
use stages::memory::Budget;
use stages::pool::{self, Pool};

use crate::bar::styled;
use crate::conf::WatchConf;
use crate::gauges::{Gauges, Reading};
use crate::tally::Tally;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// All that can be seen of a run.
#[derive(Debug, Clone)]
pub struct View {
    /// Outcomes.
    pub tally: Arc<Mutex<Tally>>,
    /// Stages.
    pub gauges: Gauges,
    /// Model workers.
    pub pool: Pool,
    /// Memory for volumes.
    pub budget: Budget,
    /// When the flow began.
    pub start: Instant,
}

impl View {
    /// Returns the tally, to look at or to count on.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the run until it is dropped.
    pub async fn show(self, conf: WatchConf) {
        let mut bars = None;
        let (mut line, mut warned) = (Instant::now(), Instant::now());
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let stages = self.gauges.read();
            if stages.is_empty() {
                // the flow has not begun
                continue;
            }
            let bars = bars.get_or_insert_with(|| Bars::new(&self, &stages));
            bars.set(&self, &stages);
            if bars.are_hidden() && line.elapsed() >= Duration::from_secs(conf.line_s) {
                line = Instant::now();
                self.tell(&stages);
            }
            let quiet = Duration::from_secs(conf.quiet_s);
            if warned.elapsed() >= quiet
                && let Some(warning) = stalled(&stages, quiet)
            {
                warned = Instant::now();
                tracing::warn!("{warning}");
            }
        }
    }

    /// One line of the log: numbers for machines, a sentence for people.
    fn tell(&self, stages: &[Reading]) {
        let (cases, ended, failed, per_second) = {
            let tally = self.tally();
            let counts = tally.counts();
            (counts.cases, tally.ended(), counts.failed, tally.per_second())
        };
        let left_s = left(cases - ended.min(cases), per_second).map(|left| left.as_secs());
        let pool = self.pool.reading();
        let text = format!(
            "{ended} of {cases} cases, {failed} failed, {per_second:.1}/s{}; {}; models {} of {} + {} queued; memory {} of {} MiB",
            left_s.map_or(String::new(), |left| format!(
                ", {} left",
                FormattedDuration(Duration::from_secs(left))
            )),
            in_hand(stages),
            pool.working,
            pool.workers,
            pool.queued,
            self.budget.taken() >> 20,
            self.budget.bytes() >> 20,
        );
        tracing::info!(target: "spinestream::progress", ended, cases, failed, per_second, left_s, "{text}");
    }
}

/// Says in which stages cases are, and how many could be.
fn in_hand(stages: &[Reading]) -> String {
    let mut text = String::new();
    for stage in stages {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{} {}/{}", stage.name, stage.in_hand, stage.width);
    }
    text
}

/// Returns the time that is left for so many cases.
fn left(cases: usize, per_second: f64) -> Option<Duration> {
    let seconds = cases as f64 / per_second;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Names the stage in which the oldest case is, if nothing has begun or ended anywhere for `quiet`.
fn stalled(stages: &[Reading], quiet: Duration) -> Option<String> {
    let still = stages.iter().map(|stage| stage.quiet).min()?;
    if still < quiet {
        return None;
    }
    let oldest = stages.iter().max_by_key(|stage| stage.oldest)?;
    Some(match oldest.oldest {
        Some(age) => format!(
            "no progress for {} s: stage {} has {} of {} cases in hand, the oldest for {} s",
            still.as_secs(),
            oldest.name,
            oldest.in_hand,
            oldest.width,
            age.as_secs()
        ),
        None => format!(
            "no progress for {} s: no stage has a case in hand; the manifest's next case or memory for it is waited for",
            still.as_secs()
        ),
    })
}

/// A line for all cases and one a stage.
struct Bars {
    cases: ProgressBar,
    stages: Vec<ProgressBar>,
    models: ProgressBar,
}

impl Bars {
    fn new(view: &View, stages: &[Reading]) -> Self {
        let (cases, ended) = {
            let tally = view.tally();
            (tally.counts().cases as u64, tally.ended() as u64)
        };
        let template = "{bar:30} {pos}/{len} cases {elapsed_precise} {msg}";
        let bar = styled(cases, template);
        bar.set_position(ended);
        let part = |name: &str| {
            let bar = styled(1, "{prefix:>12} {bar:10} {pos}/{len} {msg}");
            bar.set_prefix(name.to_owned());
            bar
        };
        Self {
            cases: bar,
            stages: stages.iter().map(|stage| part(stage.name)).collect(),
            models: part("models"),
        }
    }

    fn are_hidden(&self) -> bool {
        self.cases.is_hidden()
    }

    fn set(&mut self, view: &View, stages: &[Reading]) {
        if self.are_hidden() {
            return;
        }
        let elapsed = view.start.elapsed().as_secs_f64().max(1e-3);
        {
            let tally = view.tally();
            let counts = tally.counts();
            let rest = counts.cases - tally.ended().min(counts.cases);
            let left = left(rest, tally.per_second()).map_or(String::new(), |left| {
                format!(", {} left", FormattedDuration(left))
            });
            self.cases.set_position(tally.ended() as u64);
            self.cases.set_message(format!(
                "{:.1}/s{left}, {} failed, memory {} of {} MiB",
                tally.per_second(),
                counts.failed,
                view.budget.taken() >> 20,
                view.budget.bytes() >> 20
            ));
        }
        for (bar, stage) in self.stages.iter().zip(stages) {
            bar.set_length(stage.width as u64);
            bar.set_position(stage.in_hand as u64);
            let rate = (stage.done + stage.failed) as f64 / elapsed;
            bar.set_message(format!("{rate:.1}/s, {} failed", stage.failed));
        }
        let pool::Reading {
            workers,
            working,
            queued,
            ..
        } = view.pool.reading();
        self.models.set_length(workers as u64);
        self.models.set_position(working as u64);
        self.models.set_message(format!("{queued} vertebrae queued"));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for bar in self.stages.iter().chain([&self.cases, &self.models]) {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Lane;

    #[test]
    fn what_stands_still_is_named() {
        let gauges = Gauges::default();
        let two = Lane::of(2);
        let (_, decode) = (gauges.add("fetch", &two), gauges.add("decode", &two));
        assert_eq!(stalled(&gauges.read(), Duration::from_secs(60)), None);
        let still = stalled(&gauges.read(), Duration::ZERO).expect("quiet for no time at all");
        assert!(still.contains("no stage has a case in hand"), "{still}");
        decode.begin();
        let still = stalled(&gauges.read(), Duration::ZERO).expect("quiet");
        assert!(still.contains("stage decode has 1 of 2 cases in hand"), "{still}");
    }
}
