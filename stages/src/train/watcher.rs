//! Tells of a training while it goes on: TensorBoard events, `metrics.json`, and whoever watches.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use models::train::{Event, Phase};
use serde::Serialize as _;

use super::events::EventLog;
use super::keeper::Keeper;
use super::record::Record;
use super::scored::{Scored, mean};
use super::{EVENTS, METRICS};
use crate::cpu::cpu_time;
use crate::store::{Place, StoreError};

/// What a watcher of the training is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A step was made.
    Step {
        /// Which network, by the models' own name: `fit`, `energy`, …
        phase: String,
        /// Steps of this phase so far.
        step: u64,
        /// Share of the phase done.
        progress: f64,
        /// Seconds in this phase, earlier starts included.
        seconds: f64,
        /// CPU time of the whole training so far, earlier starts included.
        cpu_seconds: f64,
        /// Losses by name.
        figures: Vec<(&'static str, f64)>,
    },
    /// The held-out masks were tried.
    Validated {
        /// Which network.
        phase: String,
        /// Steps of this phase so far.
        step: u64,
        /// One entry a mask.
        cases: Vec<Scored>,
    },
}

/// Where a training stands: a phase and its step.
pub type At = (String, u64);

/// Everything that is told of a training.
pub struct Watcher<W> {
    output: Place,
    keeper: Keeper,
    events: EventLog,
    record: Record,
    begun: Instant,
    cpu: Duration,
    /// Phases that this start has come to.
    entered: BTreeSet<String>,
    at: Option<At>,
    tell: W,
}

impl<W: FnMut(Progress)> Watcher<W> {
    /// Begins with a record of earlier starts, and puts it: an output that cannot be written ends a training now,
    /// not after its first validation.
    ///
    /// # Errors
    /// The store's.
    pub async fn start(output: &Place, record: Record, tell: W) -> Result<Self, StoreError> {
        let earlier = output.join(EVENTS).list().await?;
        let earlier = earlier.iter().filter_map(|object| object.location.filename());
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let events = EventLog::start(began, earlier);
        output.join(METRICS).put(record.to_bytes().into()).await?;
        Ok(Self {
            output: output.clone(),
            keeper: Keeper::start(),
            events,
            record,
            begun: Instant::now(),
            cpu: cpu_time(),
            entered: BTreeSet::new(),
            at: None,
            tell,
        })
    }

    /// Takes in what happened.
    pub fn see(&mut self, event: &Event<'_>) {
        let at = self.begun.elapsed();
        match event {
            Event::Step {
                phase,
                step,
                progress,
                elapsed,
                figures,
            } => {
                let (phase, cpu) = self.enter(*phase, *step);
                let seconds = elapsed.as_secs_f64();
                self.record.step(&phase, *step, seconds, cpu, figures);
                self.events.step(at, &phase, *step, figures);
                self.at = Some((phase.clone(), *step));
                (self.tell)(Progress::Step {
                    phase,
                    step: *step,
                    progress: *progress,
                    seconds,
                    cpu_seconds: self.record.cpu_seconds(),
                    figures: figures.to_vec(),
                });
            }
            Event::Validated { phase, step, cases } => {
                let cases: Vec<Scored> = cases.iter().map(Scored::of).collect();
                let (phase, cpu) = self.enter(*phase, *step);
                self.record.validated(&phase, *step, cpu, &cases);
                self.events.scalars(at, *step, &means(&phase, &cases));
                self.keep_record();
                (self.tell)(Progress::Validated {
                    phase,
                    step: *step,
                    cases,
                });
            }
            // what is put as the training's own checkpoint goes with the record up to it
            Event::Checkpoint { .. } => self.keep_record(),
        }
        if self.events.is_due(at) {
            let (events, output) = (&mut self.events, &self.output);
            self.keeper.offer(|| {
                let (name, bytes) = events.file(at);
                (output.join(EVENTS).join(&name), bytes.into())
            });
        }
    }

    /// Puts what is left; returns where the training stands and the CPU seconds of all its starts.
    ///
    /// # Errors
    /// The record cannot be put.
    pub async fn close(mut self, complete: bool) -> Result<(Option<At>, f64), StoreError> {
        let last = self.events.close(self.begun.elapsed());
        let last = last.map(|(name, bytes)| (self.output.join(EVENTS).join(&name), bytes.into()));
        self.keeper.close(last).await;
        if complete {
            self.record.completed();
        }
        let bytes = self.record.to_bytes();
        self.output.join(METRICS).put(bytes.into()).await?;
        Ok((self.at, self.record.cpu_seconds()))
    }

    /// Returns the name of the phase and the CPU time since the last event.
    fn enter(&mut self, phase: Phase, step: u64) -> (String, Duration) {
        let phase = name(phase);
        if self.entered.insert(phase.clone()) {
            self.record.rewind(&phase, step);
        }
        let before = std::mem::replace(&mut self.cpu, cpu_time());
        (phase, self.cpu.saturating_sub(before))
    }

    fn keep_record(&self) {
        let place = self.output.join(METRICS);
        self.keeper.offer(|| (place, self.record.to_bytes().into()));
    }
}

/// Returns the mean metrics of the reconstructions, each under its tag.
fn means(phase: &str, cases: &[Scored]) -> Vec<(String, f64)> {
    let means = mean(cases.iter().map(|case| &case.reconstruction));
    let named = schemas::vertebra::METRIC_NAMES.iter().zip(means);
    named
        .filter_map(|(name, value)| Some((format!("validation/{phase}/{name}"), value?)))
        .collect()
}

/// Returns a phase's name as checkpoints write it.
fn name(phase: Phase) -> String {
    let written = phase.serialize(serde_json::value::Serializer);
    match written {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{phase:?}"),
    }
}
