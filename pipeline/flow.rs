//! The driver: moves cases through stages over bounded channels, times them, limits them, and turns panics into rows.
//!
//! ```text
//! Flow::until(cases, stop, gauges).through(Weigh, lane).within(&budget, need).through(Fetch, lane)….into(tables, …)
//! ```
//! Each `through` is one task that keeps at most `width` cases of its stage in hand and passes their outcomes on,
//! in the order in which they end, through a channel that holds one. So memory is the sum of the widths, and of what
//! [`Flow::within`] lets in.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use schemas::{Case, CaseId, Failure, Fault, Held, Outcome, Spent};
use stages::memory::Budget;
use stages::{HELD, Sink, Stage};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

use crate::gauges::{Gauge, Gauges};

/// How often a sink is asked whether something is due while no outcome comes.
const TICK: Duration = Duration::from_secs(1);

/// Time for the last rows once cases in hand are not waited for any more.
const LAST: Duration = Duration::from_secs(10);

/// Outcomes on their way: a stream, and whom it will meet next.
pub struct Flow<S> {
    outcomes: S,
    gauges: Gauges,
}

/// What a stage is given: how many cases at once, and how long for each.
#[derive(Debug, Clone, Copy)]
pub struct Lane {
    /// Cases in hand at most, to begin with.
    pub width: NonZeroUsize,
    /// What the width may grow to while the run goes on; nothing, if that is less.
    pub most: usize,
    /// Longest time for one of them; `None` for as long as it takes.
    pub limit: Option<Duration>,
}

#[cfg(test)]
impl Lane {
    /// Returns a lane for so many cases, each for as long as it takes.
    pub fn of(width: usize) -> Self {
        Self {
            width: NonZeroUsize::new(width).expect("at least one case"),
            most: width,
            limit: None,
        }
    }
}

/// What a running stage must know of a case to make a row of it if the stage panics.
struct InHand {
    id: CaseId,
    person: Option<String>,
    spent: Spent,
    held: Held,
    start: Instant,
}

impl<T, S> Flow<S>
where
    T: Send + 'static,
    S: Stream<Item = Outcome<T>> + Send + 'static,
{
    /// Starts a flow that takes no new case once `stop` is there; the cases in hand go on to their end.
    pub fn until(
        cases: S,
        stop: impl Future<Output = ()> + Send + 'static,
        gauges: &Gauges,
    ) -> Flow<impl Stream<Item = Outcome<T>> + Send + 'static> {
        Flow {
            outcomes: cases.take_until(Box::pin(stop)),
            gauges: gauges.clone(),
        }
    }

    /// Adds a stage. What failed before passes by it.
    pub fn through<G>(self, stage: G, lane: Lane) -> Flow<ReceiverStream<Outcome<G::Out>>>
    where
        G: Stage<In = T>,
    {
        let (sender, receiver) = mpsc::channel(1);
        let gauge = self.gauges.add(G::NAME, &lane);
        tokio::spawn(drive(self.outcomes, Arc::new(stage), lane, sender, gauge));
        Flow {
            outcomes: ReceiverStream::new(receiver),
            gauges: self.gauges,
        }
    }

    /// Lets a case on only once the budget holds what it needs; whoever came first goes first.
    pub fn within(
        self,
        budget: &Budget,
        need: impl Fn(&T) -> u64 + Send + 'static,
    ) -> Flow<impl Stream<Item = Outcome<T>> + Send + 'static> {
        let budget = budget.clone();
        let outcomes = self.outcomes.then(move |outcome| {
            let need = outcome.as_ref().map_or(0, |case| need(&case.body));
            let budget = budget.clone();
            async move {
                let mut case = outcome?;
                case.held = budget.take(need).await;
                Ok(case)
            }
        });
        Flow {
            outcomes,
            gauges: self.gauges,
        }
    }

    /// Gives back to the budget what a case does not need any more.
    pub fn keeping(
        self,
        need: impl Fn(&T) -> u64 + Send + 'static,
    ) -> Flow<impl Stream<Item = Outcome<T>> + Send + 'static> {
        let outcomes = self.outcomes.map(move |outcome| {
            if let Ok(case) = &outcome {
                case.held.shrink(need(&case.body));
            }
            outcome
        });
        Flow {
            outcomes,
            gauges: self.gauges,
        }
    }

    /// Leaves out failures of one kind: their cases get no row and stay for the next start.
    pub fn without(
        self,
        left_out: impl Fn(&Failure) -> bool + Send + 'static,
    ) -> Flow<impl Stream<Item = Outcome<T>> + Send + 'static> {
        let keep = move |outcome: &Outcome<T>| !outcome.as_ref().is_err_and(&left_out);
        Flow {
            outcomes: tokio_stream::StreamExt::filter(self.outcomes, keep),
            gauges: self.gauges,
        }
    }

    /// Hands every outcome to `watch`, then to the sink, and closes the sink at the end.
    ///
    /// `watch` may end the flow early; what the sink holds is put down all the same. So it is at once when `stopping`
    /// is there, and a last time when `enough` is there: cases still in hand then have no row.
    ///
    /// # Errors
    /// The sink's error, or what `watch` ended the flow with.
    pub async fn into<K, E>(
        self,
        mut sink: K,
        mut watch: impl FnMut(&Outcome<T>) -> Result<(), E>,
        stopping: impl Future<Output = ()>,
        enough: impl Future<Output = ()>,
    ) -> Result<Put, E>
    where
        K: Sink<T> + Pending<Error = <K as Sink<T>>::Error>,
        E: From<<K as Sink<T>>::Error>,
    {
        let mut outcomes = std::pin::pin!(self.outcomes);
        let (mut stopping, mut enough) = (std::pin::pin!(stopping), std::pin::pin!(enough));
        let mut is_stopping = false;
        let mut ticks = tokio::time::interval(TICK);
        let mut verdict = Ok(());
        let (mut is_late, mut is_cut) = (false, false);
        loop {
            let (end, is_sinking) = (Cell::new(false), Cell::new(false));
            let mut sunk = std::pin::pin!(async {
                let (end, is_sinking) = (&end, &is_sinking);
                tokio::select! {
                    outcome = outcomes.next() => {
                        let Some(outcome) = outcome else {
                            end.set(true);
                            return Ok(());
                        };
                        verdict = watch(&outcome);
                        end.set(verdict.is_err());
                        is_sinking.set(true);
                        sink.accept(outcome).await
                    }
                    () = &mut stopping, if !is_stopping => {
                        is_stopping = true;
                        is_sinking.set(true);
                        sink.put_down().await
                    }
                    _ = ticks.tick() => {
                        is_sinking.set(true);
                        sink.tick().await
                    }
                }
            });
            tokio::select! {
                sunk = &mut sunk => sunk?,
                () = &mut enough => {
                    is_late = true;
                    if is_sinking.get() {
                        match tokio::time::timeout(LAST, sunk).await {
                            Ok(sunk) => sunk?,
                            Err(_) => is_cut = true,
                        }
                    }
                }
            }
            if end.get() || is_late {
                break;
            }
        }
        if is_cut {
            return verdict.map(|()| Put::InPart);
        }
        let mut closed = std::pin::pin!(sink.close());
        let closed = tokio::select! {
            closed = &mut closed => Some(closed),
            () = &mut enough, if !is_late => tokio::time::timeout(LAST, closed).await.ok(),
            () = tokio::time::sleep(LAST), if is_late => None,
        };
        match closed {
            Some(closed) => closed?,
            None => return verdict.map(|()| Put::InPart),
        }
        verdict.map(|()| Put::Whole)
    }
}

/// What the sink has put down of what came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// All.
    Whole,
    /// Not all: the deadline of a stop came first.
    InPart,
}

/// A sink that holds rows for a while.
pub trait Pending {
    /// What ends the run.
    type Error;

    /// Does what is due while nothing comes.
    fn tick(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Puts down what is held, now.
    fn put_down(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl Pending for stages::tables::Tables {
    type Error = stages::tables::TablesError;

    async fn tick(&mut self) -> Result<(), Self::Error> {
        Self::tick(self).await
    }

    async fn put_down(&mut self) -> Result<(), Self::Error> {
        self.publish().await
    }
}

async fn drive<G: Stage>(
    cases: impl Stream<Item = Outcome<G::In>> + Send,
    stage: Arc<G>,
    lane: Lane,
    sender: mpsc::Sender<Outcome<G::Out>>,
    gauge: Arc<Gauge>,
) {
    let mut cases = std::pin::pin!(cases.fuse());
    let mut running = JoinSet::new();
    let mut in_hand: HashMap<Id, InHand> = HashMap::new();
    let mut more = true;
    loop {
        let outcome = tokio::select! {
            ended = running.join_next_with_id(), if !running.is_empty() => match ended {
                Some(ended) => outcome_of::<G>(ended, &mut in_hand, &gauge),
                None => continue,
            },
            case = cases.next(), if more && running.len() < gauge.width() => match case {
                None => {
                    more = false;
                    continue;
                }
                Some(Err(failure)) => Err(failure),
                Some(Ok(case)) => {
                    let Case { id, person, body, spent, held } = case;
                    let span = tracing::info_span!("stage", name = G::NAME, case = %id);
                    let stage = Arc::clone(&stage);
                    let start = gauge.begin();
                    let work = {
                        let gauge = Arc::clone(&gauge);
                        async move {
                            let result = within_limit(&*stage, body, lane.limit).await;
                            // here, and not when the driver comes to it: waiting for the next stage is not its time
                            gauge.end(start, result.is_ok());
                            (result, start.elapsed())
                        }
                    };
                    let work = HELD.scope(held.clone(), work);
                    let task = running.spawn(work.instrument(span));
                    in_hand.insert(task.id(), InHand { id, person, spent, held, start });
                    continue;
                }
            },
            else => break,
        };
        let ended = Instant::now();
        if sender.send(outcome).await.is_err() {
            // nobody listens any more: the run has ended for another reason
            break;
        }
        gauge.waited(ended.elapsed());
    }
}

/// Lets a stage do its work, but not for ever. A blocking part of it cannot be called off: it goes on unheard.
async fn within_limit<G: Stage>(stage: &G, body: G::In, limit: Option<Duration>) -> Result<G::Out, Fault> {
    let Some(limit) = limit else {
        return stage.run(body).await;
    };
    match tokio::time::timeout(limit, stage.run(body)).await {
        Ok(result) => result,
        Err(_) => {
            let message = format!(
                "expected an end of stage {name} within {} s (timeouts.{name}), found none",
                limit.as_secs_f64(),
                name = G::NAME
            );
            Err(Fault::timeout("stage_timeout", message))
        }
    }
}

type Ended<T> = Result<(Id, (Result<T, Fault>, Duration)), tokio::task::JoinError>;

fn outcome_of<G: Stage>(
    ended: Ended<G::Out>,
    in_hand: &mut HashMap<Id, InHand>,
    gauge: &Gauge,
) -> Outcome<G::Out> {
    let id = match &ended {
        Ok((id, _)) => *id,
        Err(error) => error.id(),
    };
    let InHand {
        id,
        person,
        mut spent,
        held,
        start,
    } = in_hand
        .remove(&id)
        .expect("every running task was put in hand when it was spawned");
    let time = match &ended {
        Ok((_, (_, time))) => *time,
        Err(_) => {
            gauge.end(start, false);
            start.elapsed()
        }
    };
    spent.push((G::NAME, time));
    let fault = match ended {
        Ok((_, (Ok(body), _))) => {
            return Ok(Case {
                id,
                person,
                body,
                spent,
                held,
            });
        }
        Ok((_, (Err(fault), _))) => fault,
        // the panic's own words may quote a header: they are told nowhere, see `panics`
        Err(_) => Fault::bug("panic", format!("stage {} panicked on this case", G::NAME)),
    };
    Err(Failure {
        id,
        person,
        stage: G::NAME,
        fault,
        spent,
    })
}

#[cfg(test)]
mod tests;
