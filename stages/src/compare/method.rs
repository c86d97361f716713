//! One method on its way over all vertebrae.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use models::seed::derive;
use models::{Chain, ModelError, Reconstructor as _, TracePoint};
use ndarray::Array3;
use schemas::rows::ComparisonRow;
use schemas::{Fault, ModelIdentity, Reconstruction};

use super::clock::Stopwatch;
use super::conf::MethodConf;
use super::pairs::Subject;
use super::reliability::{Reliability, reliability};
use super::row::row;
use crate::evaluate::EvaluateConf;
use crate::pool::{self, fault_of};

/// What one method did.
#[derive(Debug, Clone)]
pub struct Method {
    /// As configured.
    pub conf: MethodConf,
    /// Its models and their weights.
    pub identity: Arc<ModelIdentity>,
    /// One a subject, in their order.
    pub rows: Vec<ComparisonRow>,
    /// Reconstructions of [`Plan::shown`], in that order; `None` where there is none.
    pub shown: Vec<Option<Array3<u8>>>,
    /// Its latent along the chain on the first subject, a repeat each; empty for a method without a latent chain.
    pub traces: Vec<Vec<TracePoint>>,
    /// Why a trace is missing.
    pub trace_fault: Option<Fault>,
    /// Votes of its samples against the references, over all subjects; `None` for a single sample.
    pub reliability: Option<Reliability>,
}

/// What is the same for every method.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Key of the comparison.
    pub key: &'a str,
    /// Whether and how far reconstructions are moved onto their reference; every metric is measured, whichever it names.
    pub evaluate: &'a EvaluateConf,
    /// Subjects whose reconstructions are kept for the pictures.
    pub shown: &'a [usize],
    /// Repeats of the latent trace.
    pub repeats: usize,
}

/// How far a method has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Its name.
    pub method: &'a str,
    /// Vertebrae behind it.
    pub done: usize,
    /// All of them.
    pub total: usize,
    /// Since its first one.
    pub elapsed: Duration,
}

impl Progress<'_> {
    /// Returns how long the rest takes at the pace so far.
    pub fn left(&self) -> Duration {
        let pace = self.elapsed.as_secs_f64() / self.done.max(1) as f64;
        Duration::from_secs_f64(pace * self.total.saturating_sub(self.done) as f64)
    }
}

/// Lets a method reconstruct every subject, one at a time, and measures what it makes; `None` if `watch` breaks off.
///
/// `open` builds the chain; it is called here, in the thread that then uses it, and again after a panic. A vertebra
/// that fails is a row with its fault.
pub fn try_method(
    conf: &MethodConf,
    identity: &ModelIdentity,
    open: &dyn Fn() -> Result<Chain, ModelError>,
    subjects: &[Subject],
    plan: Plan<'_>,
    watch: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Option<Method> {
    let mut worker = Worker { open, chain: None };
    let mut method = Method {
        conf: conf.clone(),
        identity: Arc::new(identity.clone()),
        rows: Vec::with_capacity(subjects.len()),
        shown: vec![None; plan.shown.len()],
        traces: Vec::new(),
        trace_fault: None,
        reliability: None,
    };
    let start = Instant::now();
    for (index, subject) in subjects.iter().enumerate() {
        let mut attempt = worker.reconstruct(subject);
        let measured = catch_unwind(AssertUnwindSafe(|| row(&method, subject, &attempt, plan)));
        let measured = measured.unwrap_or_else(|_| {
            // a mistake of ours in a metric costs this vertebra, not the hours before it
            attempt.result = Err(Fault::bug("panic", "panicked while measuring this vertebra"));
            row(&method, subject, &attempt, plan)
        });
        method.rows.push(measured);
        if let Ok(made) = attempt.result {
            method.count_votes(&made, subject);
            if let Some(place) = plan.shown.iter().position(|shown| *shown == index) {
                method.shown[place] = Some(made.mask);
            }
        }
        let progress = Progress {
            method: &conf.name,
            done: index + 1,
            total: subjects.len(),
            elapsed: start.elapsed(),
        };
        if watch(progress).is_break() {
            return None;
        }
    }
    if let Some(first) = subjects.first() {
        match worker.traces(first, plan.repeats) {
            Ok(traces) => method.traces = traces,
            Err(fault) => method.trace_fault = Some(fault),
        }
    }
    Some(method)
}

impl Method {
    fn count_votes(&mut self, made: &Reconstruction, subject: &Subject) {
        let Some(votes) = &made.votes else { return };
        let counted = reliability(votes.view(), self.identity.samples, subject.reference.mask.view());
        match &mut self.reliability {
            // one method, one number of samples
            Some(sum) => {
                sum.add(&counted);
            }
            none => *none = Some(counted),
        }
    }
}

/// The thread's own chain, built when it is first needed.
struct Worker<'a> {
    open: &'a dyn Fn() -> Result<Chain, ModelError>,
    chain: Option<Chain>,
}

/// What became of one vertebra.
pub(super) struct Attempt {
    pub(super) result: Result<Reconstruction, Fault>,
    pub(super) wall: Duration,
    pub(super) processor: Duration,
}

impl Worker<'_> {
    fn chain(&mut self) -> Result<&mut Chain, Fault> {
        let chain = match self.chain.take() {
            Some(chain) => chain,
            None => (self.open)().map_err(|error| fault_of(&error))?,
        };
        Ok(self.chain.insert(chain))
    }

    fn reconstruct(&mut self, subject: &Subject) -> Attempt {
        let chain = match self.chain() {
            Ok(chain) => chain,
            Err(fault) => {
                return Attempt {
                    result: Err(fault),
                    wall: Duration::ZERO,
                    processor: Duration::ZERO,
                };
            }
        };
        let stopwatch = Stopwatch::start();
        let attempt = pool::attempt(chain, std::slice::from_ref(&subject.input), &[subject.seed]);
        let (wall, processor) = stopwatch.read();
        let result = match attempt {
            pool::Attempt::Done(results) => results
                .into_iter()
                .next()
                .ok_or_else(|| Fault::bug("model_failed", "expected a reconstruction, found none")),
            pool::Attempt::Failed(error) => Err(fault_of(&error)),
            pool::Attempt::Panicked => {
                self.chain = None;
                Err(panicked())
            }
        };
        Attempt {
            result,
            wall,
            processor,
        }
    }

    fn traces(&mut self, subject: &Subject, repeats: usize) -> Result<Vec<Vec<TracePoint>>, Fault> {
        let mut traces = Vec::new();
        for repeat in 0..repeats {
            let chain = self.chain()?;
            let seed = derive(subject.seed, &format!("trace {repeat}"));
            let trace = catch_unwind(AssertUnwindSafe(|| chain.trace(&subject.input, seed)));
            let trace = match trace {
                Ok(trace) => trace.map_err(|error| fault_of(&error))?,
                Err(_) => {
                    self.chain = None;
                    return Err(panicked());
                }
            };
            if trace.is_empty() {
                break;
            }
            traces.push(trace);
        }
        Ok(traces)
    }
}

fn panicked() -> Fault {
    Fault::bug("model_panicked", "the model panicked on this vertebra")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing::{Move, identity, moved, subject};

    #[test]
    fn each_subject_has_a_row_with_the_metrics_of_input_and_reconstruction() {
        let subjects = [subject("a", 5), subject("b", 2)];
        let method = moved("back by two", 2, &subjects);
        let dsc: Vec<_> = method
            .rows
            .iter()
            .map(|row| (row.input[0], row.recon.and_then(|scores| scores[0])))
            .collect();
        // cubes of ten, shifted by s: DSC = 1 − s/10
        assert_eq!(dsc, [(Some(0.5), Some(0.7)), (Some(0.8), Some(1.0))]);
        assert_eq!(method.rows[1].recon_volume_mm3, Some(1000.0));
        assert!(method.shown[0].is_some(), "the first is to be shown");
        assert_eq!(method.traces.len(), 2, "two repeats");
        assert_ne!(method.traces[0], method.traces[1], "each with a seed of its own");
    }

    #[test]
    fn a_vertebra_that_a_method_fails_on_is_a_row_that_says_why() {
        let subjects = [subject("a", 5), subject("b", 2)];
        let method = moved("too far", 7, &subjects);
        let seen: Vec<_> = method.rows.iter().map(|row| (row.status, row.kind)).collect();
        assert_eq!(seen, [("done", None), ("failed", Some("Exhausted"))]);
        assert_eq!(method.rows[1].recon, None);
        assert_eq!(method.rows[1].input[0], Some(0.8));
    }

    #[test]
    fn a_panic_costs_its_vertebra_and_the_chain_is_built_anew() {
        let opened = std::cell::Cell::new(0);
        let open = || {
            opened.set(opened.get() + 1);
            Ok(Chain::of(vec![Box::new(Move { by: 99 })], identity("move")))
        };
        let subjects = [subject("a", 5), subject("b", 2)];
        let conf = MethodConf {
            name: "broken".to_owned(),
            ..MethodConf::default()
        };
        let plan = Plan {
            key: "k",
            evaluate: &EvaluateConf::default(),
            shown: &[],
            repeats: 0,
        };
        let method = try_method(&conf, &identity("move"), &open, &subjects, plan, &mut |_| {
            ControlFlow::Continue(())
        })
        .expect("not stopped");
        assert!(method.rows.iter().all(|row| row.reason == Some("model_panicked")));
        assert_eq!(opened.get(), 2);
    }

    #[test]
    fn a_watcher_sees_every_vertebra_and_can_stop() {
        let subjects = [subject("a", 5), subject("b", 2)];
        let mut seen = Vec::new();
        let open = || Ok(Chain::of(vec![Box::new(Move { by: 1 })], identity("move")));
        let plan = Plan {
            key: "k",
            evaluate: &EvaluateConf::default(),
            shown: &[],
            repeats: 1,
        };
        let stopped = try_method(
            &MethodConf::default(),
            &identity("move"),
            &open,
            &subjects,
            plan,
            &mut |progress| {
                seen.push((progress.done, progress.total));
                ControlFlow::Break(())
            },
        );
        assert!(stopped.is_none());
        assert_eq!(seen, [(1, 2)]);
    }
}
