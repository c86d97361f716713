//! Finds how many cases each stage should work on at once, while the run goes on.
//!
//! A run is as fast as it can be once its scarce resource, the model workers or the cores, is never idle. Until then the
//! last stage that is full holds the others up: it is given more cases. Stages that wait (for a store, say) need many,
//! stages that compute few; how many depends on the store, the scans and the models, and shows after seconds.

use std::time::{Duration, Instant};

use stages::cpu::{cores, cpu_time};

use crate::gauges::Reading;
use crate::view::View;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Share of its time from which on cores or model workers count as never idle.
const AT_WORK: f64 = 0.9;

/// Share of its places from which on a stage counts as full.
const FULL: f64 = 0.85;

/// Widens stages until it is dropped.
pub async fn widen(view: View) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut before: Option<Look> = None;
    loop {
        ticks.tick().await;
        let now = Look::of(&view);
        if let Some((stage, width)) = before.as_ref().and_then(|before| now.since(before).wider()) {
            tracing::info!(
                stage,
                width,
                "cores and model workers were idle: the stage takes more cases at once"
            );
            view.gauges.widen(stage, width);
            // what comes of it is seen from the next look on
            before = None;
            continue;
        }
        before = Some(now);
    }
}

/// What a run had done at one moment.
struct Look {
    at: Instant,
    processor: Duration,
    models: Duration,
    workers: usize,
    stages: Vec<Reading>,
}

impl Look {
    fn of(view: &View) -> Self {
        let pool = view.pool.reading();
        Self {
            at: Instant::now(),
            processor: cpu_time(),
            models: pool.busy,
            workers: pool.workers,
            stages: view.gauges.read(),
        }
    }

    /// Returns how busy everything was since another look.
    fn since(&self, before: &Self) -> Shares {
        let seconds = (self.at - before.at).as_secs_f64().max(1e-3);
        let share = |now: Duration, then: Duration, places: usize| {
            now.saturating_sub(then).as_secs_f64() / (seconds * places.max(1) as f64)
        };
        let stages = self.stages.iter().zip(&before.stages);
        Shares {
            cores: share(self.processor, before.processor, cores()),
            models: share(self.models, before.models, self.workers),
            stages: stages
                .map(|(now, then)| Stage {
                    name: now.name,
                    width: now.width,
                    most: now.most,
                    full: share(now.busy, then.busy, now.width),
                })
                .collect(),
        }
    }
}

/// How busy everything was for a while.
struct Shares {
    cores: f64,
    models: f64,
    stages: Vec<Stage>,
}

struct Stage {
    name: &'static str,
    width: usize,
    most: usize,
    full: f64,
}

impl Shares {
    /// Returns the stage that should take more cases at once, and how many; none while nothing is to be gained.
    fn wider(&self) -> Option<(&'static str, usize)> {
        if self.cores >= AT_WORK || self.models >= AT_WORK {
            return None;
        }
        let stage = self.stages.iter().rev().find(|stage| stage.full >= FULL)?;
        let width = (stage.width + (stage.width / 2).max(1)).min(stage.most);
        (width > stage.width).then_some((stage.name, width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(cores: f64, models: f64, fetch: [usize; 2], decode: f64) -> Shares {
        let [width, most] = fetch;
        let stage = |name, width, most, full| Stage {
            name,
            width,
            most,
            full,
        };
        Shares {
            cores,
            models,
            stages: vec![
                stage("weigh", 4, 64, 0.95),
                stage("fetch", width, most, 0.99),
                stage("decode", 2, 4, decode),
            ],
        }
    }

    #[test]
    fn the_last_full_stage_is_widened_while_cores_and_models_idle() {
        assert_eq!(shares(0.3, 0.5, [4, 64], 0.2).wider(), Some(("fetch", 6)));
        assert_eq!(shares(0.3, 0.5, [4, 64], 0.9).wider(), Some(("decode", 3)));
        assert_eq!(shares(0.3, 0.5, [4, 5], 0.2).wider(), Some(("fetch", 5)));
        assert_eq!(shares(0.3, 0.5, [4, 4], 0.2).wider(), None, "the user said 4");
        assert_eq!(shares(0.95, 0.5, [4, 64], 0.2).wider(), None, "no core is left");
        assert_eq!(
            shares(0.3, 0.95, [4, 64], 0.2).wider(),
            None,
            "no model worker is"
        );
    }
}
