//! The driver: moves cases through stages over bounded channels, times them, and turns panics into rows.
//!
//! ```text
//! Flow::until(cases, stop).through(Fetch, w).through(Decode, w)….into(tables)
//! ```
//! Each `through` is one task that keeps at most `width` cases of its stage in hand and passes their outcomes on,
//! in the order in which they end, through a channel that holds one. So memory is the sum of the widths.

use std::collections::HashMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use schemas::{Case, CaseId, Failure, Fault, Outcome, Spent};
use stages::{Sink, Stage};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

/// How often a sink is asked whether something is due while no outcome comes.
const TICK: Duration = Duration::from_secs(1);

/// Outcomes on their way: a stream, and whom it will meet next.
pub struct Flow<S> {
    outcomes: S,
}

/// What a running stage must know of a case to make a row of it if the stage panics.
struct InHand {
    id: CaseId,
    person: Option<String>,
    spent: Spent,
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
    ) -> Flow<impl Stream<Item = Outcome<T>> + Send + 'static> {
        Flow {
            outcomes: cases.take_until(Box::pin(stop)),
        }
    }

    /// Adds a stage that works on up to `width` cases at once. What failed before passes by it.
    pub fn through<G>(self, stage: G, width: NonZeroUsize) -> Flow<ReceiverStream<Outcome<G::Out>>>
    where
        G: Stage<In = T>,
    {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(drive(self.outcomes, Arc::new(stage), width.get(), sender));
        Flow {
            outcomes: ReceiverStream::new(receiver),
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
        }
    }

    /// Hands every outcome to `watch`, then to the sink, and closes the sink at the end.
    ///
    /// `watch` may end the flow early; what the sink holds is put down all the same.
    ///
    /// # Errors
    /// The sink's error, or what `watch` ended the flow with.
    pub async fn into<K, E>(
        self,
        mut sink: K,
        mut watch: impl FnMut(&Outcome<T>) -> Result<(), E>,
    ) -> Result<(), E>
    where
        K: Sink<T> + Tick<Error = <K as Sink<T>>::Error>,
        E: From<<K as Sink<T>>::Error>,
    {
        let mut outcomes = std::pin::pin!(self.outcomes);
        let mut ticks = tokio::time::interval(TICK);
        let mut verdict = Ok(());
        loop {
            tokio::select! {
                outcome = outcomes.next() => {
                    let Some(outcome) = outcome else { break };
                    verdict = watch(&outcome);
                    sink.accept(outcome).await?;
                    if verdict.is_err() {
                        break;
                    }
                }
                _ = ticks.tick() => sink.tick().await?,
            }
        }
        sink.close().await?;
        verdict
    }
}

/// A sink in which something may fall due while nothing comes.
pub trait Tick {
    /// What ends the run.
    type Error;

    /// Does what is due.
    fn tick(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl Tick for stages::tables::Tables {
    type Error = stages::tables::TablesError;

    async fn tick(&mut self) -> Result<(), Self::Error> {
        Self::tick(self).await
    }
}

async fn drive<G: Stage>(
    cases: impl Stream<Item = Outcome<G::In>> + Send,
    stage: Arc<G>,
    width: usize,
    sender: mpsc::Sender<Outcome<G::Out>>,
) {
    let mut cases = std::pin::pin!(cases.fuse());
    let mut running = JoinSet::new();
    let mut in_hand: HashMap<Id, InHand> = HashMap::new();
    let mut more = true;
    loop {
        let outcome = tokio::select! {
            ended = running.join_next_with_id(), if !running.is_empty() => match ended {
                Some(ended) => outcome_of::<G>(ended, &mut in_hand),
                None => continue,
            },
            case = cases.next(), if more && running.len() < width => match case {
                None => {
                    more = false;
                    continue;
                }
                Some(Err(failure)) => Err(failure),
                Some(Ok(case)) => {
                    let Case { id, person, body, spent } = case;
                    let span = tracing::debug_span!("stage", name = G::NAME, case = %id);
                    let stage = Arc::clone(&stage);
                    let task = running.spawn(async move { stage.run(body).await }.instrument(span));
                    in_hand.insert(task.id(), InHand { id, person, spent, start: Instant::now() });
                    continue;
                }
            },
            else => break,
        };
        if sender.send(outcome).await.is_err() {
            // nobody listens any more: the run has ended for another reason
            break;
        }
    }
}

type Ended<T> = Result<(Id, Result<T, Fault>), tokio::task::JoinError>;

fn outcome_of<G: Stage>(ended: Ended<G::Out>, in_hand: &mut HashMap<Id, InHand>) -> Outcome<G::Out> {
    let id = match &ended {
        Ok((id, _)) => *id,
        Err(error) => error.id(),
    };
    let InHand {
        id,
        person,
        mut spent,
        start,
    } = in_hand
        .remove(&id)
        .expect("every running task was put in hand when it was spawned");
    spent.push((G::NAME, start.elapsed()));
    let fault = match ended {
        Ok((_, Ok(body))) => {
            return Ok(Case {
                id,
                person,
                body,
                spent,
            });
        }
        Ok((_, Err(fault))) => fault,
        // the panic's own words may quote a header: they went to stderr, not into a row
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
mod tests {
    use super::*;

    struct Odd;

    impl Stage for Odd {
        type In = u32;
        type Out = u32;
        const NAME: &'static str = "odd";

        async fn run(&self, input: u32) -> Result<u32, Fault> {
            assert!(input != 4, "four");
            if input.is_multiple_of(2) {
                Err(Fault::unsuitable("even", "even"))
            } else {
                Ok(input * 10)
            }
        }
    }

    #[derive(Default)]
    struct Gather(Vec<(String, Result<u32, &'static str>)>);

    impl Sink<u32> for &mut Gather {
        type Error = ();

        async fn accept(&mut self, outcome: Outcome<u32>) -> Result<(), ()> {
            self.0.push(match outcome {
                Ok(case) => (case.id.to_string(), Ok(case.body)),
                Err(failure) => (failure.id.to_string(), Err(failure.fault.reason)),
            });
            Ok(())
        }

        async fn close(self) -> Result<(), ()> {
            Ok(())
        }
    }

    impl Tick for &mut Gather {
        type Error = ();

        async fn tick(&mut self) -> Result<(), ()> {
            Ok(())
        }
    }

    fn cases(count: u32) -> impl Stream<Item = Outcome<u32>> + Send + 'static {
        let case = |number| {
            Ok(Case {
                id: format!("c{number}").parse().expect("id"),
                person: None,
                body: number,
                spent: Vec::new(),
            })
        };
        tokio_stream::iter((1..=count).map(case))
    }

    fn width(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).expect("not zero")
    }

    #[tokio::test]
    async fn one_case_in_is_one_outcome_out_even_if_a_stage_panics() {
        let mut gather = Gather::default();
        let flow = Flow::until(cases(6), std::future::pending());
        flow.through(Odd, width(2))
            .into(&mut gather, |_| Ok::<(), ()>(()))
            .await
            .expect("flow");
        gather.0.sort();
        let expected = [
            ("c1", Ok(10)),
            ("c2", Err("even")),
            ("c3", Ok(30)),
            ("c4", Err("panic")),
            ("c5", Ok(50)),
            ("c6", Err("even")),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(id, result)| (id.to_owned(), result))
            .collect();
        assert_eq!(gather.0, expected);
    }

    #[tokio::test]
    async fn a_stopped_flow_takes_no_new_case() {
        let mut gather = Gather::default();
        let flow = Flow::until(cases(1000), std::future::ready(()));
        flow.through(Odd, width(2))
            .into(&mut gather, |_| Ok::<(), ()>(()))
            .await
            .expect("flow");
        assert!(gather.0.is_empty());
    }

    #[tokio::test]
    async fn a_watch_can_end_the_flow_early() {
        let mut gather = Gather::default();
        let mut seen = 0;
        let flow = Flow::until(cases(1000), std::future::pending()).through(Odd, width(1));
        let watch = |_: &Outcome<u32>| {
            seen += 1;
            if seen == 10 { Err(()) } else { Ok(()) }
        };
        assert_eq!(flow.into(&mut gather, watch).await, Err(()));
        assert_eq!(gather.0.len(), 10);
    }
}
