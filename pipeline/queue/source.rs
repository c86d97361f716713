//! Where a worker's cases come from: one message each time that the flow has a free place.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt as _;
use schemas::{Failure, Fault, Listed, Outcome};
use stages::blocking;
use stages::manifest::{ById, ManifestError};
use stages::store::Stores;
use stages::tables::Watched;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::Stream;

use super::hands::{Hands, Taken};
use super::{Broker, Ticket};
use crate::RunEnd;
use crate::conf::Conf;
use crate::run::manifest;

/// Name of this stage in rows.
const NAME: &str = "queue";

/// Longest time that the server holds a request for a case before it says that there is none.
const EXPIRES: Duration = Duration::from_secs(2);

/// Time before a request that went wrong is made again.
const AGAIN: Duration = Duration::from_secs(1);

/// Age from which on a look at what is published is too old for a case that was handed out before.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Hands cases of the queue to a flow.
pub(super) struct Source {
    pub(super) broker: Broker,
    pub(super) consumer: PullConsumer,
    pub(super) hands: Hands,
    /// The manifest, for what a message does not say.
    pub(super) cases: Arc<ById>,
    pub(super) published: Watched,
    pub(super) conf: Conf,
    pub(super) stores: Arc<Stores>,
    /// Whether it ends when there is nothing more to do, for anybody.
    pub(super) until_empty: bool,
    /// The manifest that was read again in vain, by its hash as a message said it.
    pub(super) unknown: Option<String>,
}

impl Source {
    /// Returns the cases as the flow takes them: each is asked for when there is a place for it and not before. The task
    /// ends with the stream, and says why if that was too early.
    pub(super) fn open(
        self,
    ) -> (
        impl Stream<Item = Outcome<Listed>> + Send + 'static,
        JoinHandle<Result<(), RunEnd>>,
    ) {
        let (ask, asked) = mpsc::channel(1);
        let (sender, receiver) = mpsc::channel(1);
        let task = tokio::spawn(self.serve(asked, sender));
        let cases = futures::stream::unfold((ask, receiver), |(ask, mut cases)| async move {
            ask.send(()).await.ok()?;
            let case: Outcome<Listed> = cases.recv().await?;
            Some((case, (ask, cases)))
        });
        (cases, task)
    }

    async fn serve(
        mut self,
        mut asked: mpsc::Receiver<()>,
        cases: mpsc::Sender<Outcome<Listed>>,
    ) -> Result<(), RunEnd> {
        while asked.recv().await.is_some() {
            let next = tokio::select! {
                next = self.next() => next?,
                // the flow takes no more
                () = cases.closed() => break,
            };
            let Some((case, outcome)) = next else { break };
            if cases.send(outcome).await.is_err() {
                self.hands.leave(&case);
                break;
            }
        }
        Ok(())
    }

    /// Returns the next case to do, by its folded id; `None` once there is none any more.
    async fn next(&mut self) -> Result<Option<(String, Outcome<Listed>)>, RunEnd> {
        loop {
            let Some(message) = self.pull().await else {
                return Ok(None);
            };
            let delivered = message.info().map_or(1, |info| info.delivered);
            let ticket = Ticket::read(&message.payload).filter(|ticket| ticket.run == self.broker.run());
            let Some(ticket) = ticket else {
                tracing::warn!("a message in the queue is none of ours: it is taken out");
                // if that is lost, it comes again
                let _ = message.ack_with(AckKind::Term).await;
                continue;
            };
            if self.hands.take(&ticket.case, message) == Taken::Known {
                continue;
            }
            let is_last = delivered > i64::from(self.conf.queue.max_deliver);
            if self.is_published(&ticket.case, delivered, is_last).await {
                tracing::debug!(case = %ticket.case, "its row is there already");
                self.hands.published(&[ticket.case]);
                continue;
            }
            let Some(outcome) = self.find(&ticket).await? else {
                tracing::warn!(case = %ticket.case, "the manifest does not know it: it is taken out of the queue");
                self.hands.refuse(&ticket.case);
                continue;
            };
            if delivered > 1 {
                tracing::info!(case = %ticket.case, delivered, "handed out before, without a row");
            }
            let outcome = if is_last {
                give_up(outcome, self.conf.queue.max_deliver)
            } else {
                outcome
            };
            return Ok(Some((ticket.case, outcome)));
        }
    }

    /// Waits for a message, however long; `None` if none is left and none is in anybody else's hands.
    async fn pull(&mut self) -> Option<Message> {
        loop {
            let batch = self.consumer.batch().max_messages(1).expires(EXPIRES);
            let found = match batch.messages().await {
                Ok(mut messages) => messages.next().await,
                Err(error) => Some(Err(error.into())),
            };
            match found {
                Some(Ok(message)) => {
                    self.hands.starve(false);
                    return Some(message);
                }
                Some(Err(error)) => {
                    tracing::warn!("the queue's server has no case for us: {error}");
                    tokio::time::sleep(AGAIN).await;
                    // a server that has lost its memory is told anew what it is to hold
                    if let Ok(consumer) = self.broker.ensure().await {
                        self.consumer = consumer;
                    }
                }
                None => {
                    self.hands.starve(true);
                    if self.until_empty && self.is_empty().await {
                        return None;
                    }
                }
            }
        }
    }

    /// Whether nobody has a case in hand but ourselves, and none waits.
    async fn is_empty(&self) -> bool {
        match self.broker.depth().await {
            Ok(Some(depth)) => depth.pending == 0 && depth.in_hand <= self.hands.len() as u64,
            Ok(None) => true,
            Err(error) => {
                tracing::warn!("{error}");
                false
            }
        }
    }

    /// Whether a case has a row. One that was handed out before may have got it since the last look.
    async fn is_published(&mut self, case: &str, delivered: i64, is_last: bool) -> bool {
        let fresh = match (is_last, delivered > 1) {
            (true, _) => Duration::ZERO,
            (false, true) => LOOK_AGAIN,
            (false, false) => Duration::MAX,
        };
        match self.published.has(case, fresh).await {
            Ok(has) => has,
            Err(error) => {
                // doing it again is no harm: the higher attempt counts
                tracing::warn!("what is published could not be looked at again: {error}");
                false
            }
        }
    }

    /// Returns what the manifest says of a case; one that it does not know may be of a later version of it.
    async fn find(&mut self, ticket: &Ticket) -> Result<Option<Outcome<Listed>>, RunEnd> {
        let found = find(&self.cases, &ticket.case).await.map_err(of_manifest)?;
        let is_other =
            ticket.manifest != self.cases.sha256() && self.unknown.as_ref() != Some(&ticket.manifest);
        if found.is_some() || !is_other {
            return Ok(found);
        }
        tracing::info!("the queue holds cases of another version of the manifest: it is read again");
        let (key, conf) = ("run.manifest", &self.conf);
        let manifest = manifest(key, &conf.run.manifest, conf.run.seed, conf, &self.stores).await?;
        let cases = blocking(move || manifest.by_id()).await.map_err(of_manifest)?;
        self.cases = Arc::new(cases);
        self.unknown = Some(ticket.manifest.clone());
        find(&self.cases, &ticket.case).await.map_err(of_manifest)
    }
}

async fn find(cases: &Arc<ById>, case: &str) -> Result<Option<Outcome<Listed>>, ManifestError> {
    let (cases, case) = (Arc::clone(cases), case.to_owned());
    blocking(move || cases.find(&case)).await
}

fn of_manifest(error: ManifestError) -> RunEnd {
    RunEnd::Manifest {
        key: "run.manifest",
        error,
    }
}

/// Returns the failure that stands for a case that has been handed out too often.
fn give_up(outcome: Outcome<Listed>, max_deliver: u32) -> Outcome<Listed> {
    // a row that is no case is a failure as it is
    let case = outcome?;
    let message = format!(
        "expected a row after {max_deliver} deliveries (queue.max_deliver), found none: each time its worker was killed, \
         for want of memory perhaps, or cut off"
    );
    Err(Failure {
        id: case.id,
        person: case.person,
        stage: NAME,
        fault: Fault::exhausted("gave_up", message),
        spent: Vec::new(),
    })
}
