//! How busy the workers are, and in what batches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the workers of a pool do and have done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Workers that live.
    pub workers: usize,
    /// Workers that are at work.
    pub working: usize,
    /// Vertebrae that wait for one.
    pub queued: usize,
    /// Time at work, all workers together.
    pub busy: Duration,
    /// Micro-batches by their size.
    pub batches: BTreeMap<usize, u64>,
}

/// Clocks of all workers.
#[derive(Debug)]
pub(super) struct Clock {
    alive: Arc<AtomicUsize>,
    times: Mutex<Times>,
}

#[derive(Debug, Default)]
struct Times {
    at_work_since: Vec<Instant>,
    busy: Duration,
    batches: BTreeMap<usize, u64>,
}

/// A batch in a worker's hands; ends when it is dropped, by a panic too.
pub(super) struct Busy<'a> {
    clock: &'a Clock,
    since: Instant,
}

impl Clock {
    pub(super) fn new(alive: Arc<AtomicUsize>) -> Self {
        Self {
            alive,
            times: Mutex::default(),
        }
    }

    pub(super) fn start(&self, batch: usize) -> Busy<'_> {
        let since = Instant::now();
        let mut times = self.lock();
        times.at_work_since.push(since);
        *times.batches.entry(batch).or_default() += 1;
        Busy { clock: self, since }
    }

    pub(super) fn read(&self, queued: usize) -> Reading {
        let times = self.lock();
        let running = times.at_work_since.iter().map(Instant::elapsed);
        Reading {
            workers: self.alive.load(Ordering::Acquire),
            working: times.at_work_since.len(),
            queued,
            busy: times.busy + running.sum::<Duration>(),
            batches: times.batches.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut times = self.clock.lock();
        times.busy += self.since.elapsed();
        if let Some(position) = times.at_work_since.iter().position(|since| *since == self.since) {
            times.at_work_since.swap_remove(position);
        }
    }
}
