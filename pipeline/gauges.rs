//! What the flow does just now and has done, stage by stage: what progress, summary and metrics are read from.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::flow::Lane;

/// Upper bounds of the buckets in which a case's seconds in a stage are counted; longer ones come after the last.
pub const SECONDS: [f64; 12] = [
    0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0,
];

/// Every stage's gauge, in the order of the flow.
#[derive(Debug, Clone, Default)]
pub struct Gauges(Arc<Mutex<Vec<Arc<Gauge>>>>);

/// One stage's gauge.
#[derive(Debug)]
pub struct Gauge {
    name: &'static str,
    width: AtomicUsize,
    most: usize,
    times: Mutex<Times>,
}

#[derive(Debug)]
struct Times {
    in_hand: Vec<Instant>,
    done: u64,
    failed: u64,
    busy: Duration,
    waited: Duration,
    buckets: [u64; SECONDS.len() + 1],
    last: Instant,
}

/// What a gauge says at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The stage.
    pub name: &'static str,
    /// Cases that it may have in hand.
    pub width: usize,
    /// The most that it may be given.
    pub most: usize,
    /// Cases that it has.
    pub in_hand: usize,
    /// Cases that went on to the next stage.
    pub done: u64,
    /// Cases that ended here.
    pub failed: u64,
    /// Time that cases spent here, all together, those in hand included.
    pub busy: Duration,
    /// Time that cases that had ended here waited for the next stage to take them.
    pub waited: Duration,
    /// Cases by their seconds here: up to each of [`SECONDS`], and longer.
    pub buckets: [u64; SECONDS.len() + 1],
    /// Time of the cases that have ended here.
    pub ended: Duration,
    /// Age of the oldest case in hand.
    pub oldest: Option<Duration>,
    /// Time since a case last began or ended here.
    pub quiet: Duration,
}

impl Gauges {
    /// Adds the gauge of the next stage.
    pub fn add(&self, name: &'static str, lane: &Lane) -> Arc<Gauge> {
        let gauge = Arc::new(Gauge {
            name,
            width: AtomicUsize::new(lane.width.get()),
            most: lane.most.max(lane.width.get()),
            times: Mutex::new(Times {
                in_hand: Vec::new(),
                done: 0,
                failed: 0,
                busy: Duration::ZERO,
                waited: Duration::ZERO,
                buckets: [0; SECONDS.len() + 1],
                last: Instant::now(),
            }),
        });
        lock(&self.0).push(Arc::clone(&gauge));
        gauge
    }

    /// Lets a stage have so many cases in hand.
    pub fn widen(&self, name: &str, width: usize) {
        let gauges = lock(&self.0);
        if let Some(gauge) = gauges.iter().find(|gauge| gauge.name == name) {
            gauge.width.store(width.clamp(1, gauge.most), Ordering::Relaxed);
        }
    }

    /// Reads every gauge.
    pub fn read(&self) -> Vec<Reading> {
        lock(&self.0).iter().map(|gauge| gauge.read()).collect()
    }
}

impl Gauge {
    /// Returns how many cases the stage may have in hand just now.
    pub fn width(&self) -> usize {
        self.width.load(Ordering::Relaxed)
    }

    /// Says that a case begins.
    pub fn begin(&self) -> Instant {
        let now = Instant::now();
        let mut times = lock(&self.times);
        times.in_hand.push(now);
        times.last = now;
        now
    }

    /// Says that the case that began at `start` has ended.
    pub fn end(&self, start: Instant, is_done: bool) {
        let now = Instant::now();
        let spent = now - start;
        let mut times = lock(&self.times);
        if let Some(position) = times.in_hand.iter().position(|begun| *begun == start) {
            times.in_hand.swap_remove(position);
        }
        if is_done {
            times.done += 1;
        } else {
            times.failed += 1;
        }
        times.busy += spent;
        let bucket = SECONDS.partition_point(|bound| *bound < spent.as_secs_f64());
        times.buckets[bucket] += 1;
        times.last = now;
    }

    /// Says that a case that had ended waited so long for the next stage.
    pub fn waited(&self, time: Duration) {
        lock(&self.times).waited += time;
    }

    fn read(&self) -> Reading {
        let times = lock(&self.times);
        let running: Duration = times.in_hand.iter().map(Instant::elapsed).sum();
        Reading {
            name: self.name,
            width: self.width(),
            most: self.most,
            in_hand: times.in_hand.len(),
            done: times.done,
            failed: times.failed,
            busy: times.busy + running,
            waited: times.waited,
            buckets: times.buckets,
            ended: times.busy,
            oldest: times.in_hand.iter().map(Instant::elapsed).max(),
            quiet: times.last.elapsed(),
        }
    }
}

impl Reading {
    /// Returns the share of `elapsed` in which the stage's places were taken.
    pub fn share(&self, elapsed: Duration) -> f64 {
        self.busy.as_secs_f64() / (self.width as f64 * elapsed.as_secs_f64()).max(f64::MIN_POSITIVE)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_counts_what_begins_and_ends() {
        let gauges = Gauges::default();
        let gauge = gauges.add("crop", &Lane::of(2));
        let (first, second) = (gauge.begin(), gauge.begin());
        gauge.end(first, true);
        gauge.end(second, false);
        let third = gauge.begin();
        let reading = gauges.read().remove(0);
        assert_eq!((reading.in_hand, reading.done, reading.failed), (1, 1, 1));
        assert_eq!(reading.buckets.iter().sum::<u64>(), 2);
        assert!(reading.oldest.is_some() && reading.busy >= reading.ended);
        gauge.end(third - Duration::from_secs(7), true);
        let reading = gauges.read().remove(0);
        assert_eq!(
            reading.buckets[8], 1,
            "seven seconds are more than 2.5 and less than 10"
        );
        assert_eq!(reading.in_hand, 1, "that start was of no case in hand");
    }
}
