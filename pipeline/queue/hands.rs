//! The cases that this process has in hand: kept alive at the queue, and acked once their rows are published.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt as _;
use stages::tables::fingerprint;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::Broker;

/// Acks on their way at once.
const ACKS: usize = 64;

/// Times that an ack is sent to a server that is there and does not confirm it: then the case comes again and its row is
/// found.
const ACK_TRIES: usize = 4;

/// Time between two tries.
const ACK_AGAIN: Duration = Duration::from_secs(1);

/// Longest time for one sign of life to be handed to the connection.
const SIGN_MOST: Duration = Duration::from_secs(2);

/// Time before somebody else gets a case that is given back.
const NAK_DELAY: Duration = Duration::from_secs(1);

/// Time between two looks whether all is settled.
const LOOK: Duration = Duration::from_millis(20);

/// How far a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a stage, or on its way to one.
    Flow,
    /// Its row is held by the sink.
    Sink,
    /// Its row is published: to be acked.
    Published,
    /// Not done: to be given back.
    Left,
    /// No case of ours: never to be handed out again.
    Refused,
}

impl At {
    /// Whether the server is to hear of it.
    fn is_due(self) -> bool {
        matches!(self, Self::Published | Self::Left | Self::Refused)
    }
}

/// One case.
#[derive(Debug, Clone)]
struct Hand {
    /// Its message as it was handed out last.
    message: Message,
    at: At,
    tries: usize,
}

/// What becomes of a message that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Its case is to be done.
    New,
    /// Its case is being done, or has been by this process.
    Known,
}

/// The cases in hand.
#[derive(Debug, Clone, Default)]
pub(super) struct Hands {
    held: Arc<Mutex<Held>>,
    due: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Held {
    cases: HashMap<String, Hand>,
    /// Cases whose rows this process has published, and those it has found published: a second row of its own would be
    /// of the same attempt.
    done: HashSet<u128>,
    is_starved: bool,
}

impl Hands {
    /// Takes a message of a case, by its folded id. One of a case that this process has in hand or has done takes the
    /// place of the one before: it came again because an ack or a sign of life was late.
    pub(super) fn take(&self, case: &str, message: Message) -> Taken {
        let mut held = self.held();
        if let Some(hand) = held.cases.get_mut(case) {
            hand.message = message;
            hand.tries = 0;
            if hand.at.is_due() {
                self.due.notify_one();
            }
            return Taken::Known;
        }
        let is_done = held.done.contains(&fingerprint(case));
        let hand = Hand {
            message,
            at: if is_done { At::Published } else { At::Flow },
            tries: 0,
        };
        held.cases.insert(case.to_owned(), hand);
        if is_done {
            self.due.notify_one();
            return Taken::Known;
        }
        Taken::New
    }

    /// Notes that the sink holds a case's row.
    pub(super) fn sunk(&self, case: &str) {
        if let Some(hand) = self.held().cases.get_mut(case) {
            hand.at = At::Sink;
        }
    }

    /// Notes that cases' rows are published, by whomever.
    pub(super) fn published(&self, cases: &[String]) {
        let mut held = self.held();
        for case in cases {
            held.done.insert(fingerprint(case));
        }
        drop(held);
        self.set(cases, At::Published);
    }

    /// Gives a case back, for somebody else to do.
    pub(super) fn leave(&self, case: &str) {
        self.set(&[case.to_owned()], At::Left);
    }

    /// Gives every case back that is not published.
    pub(super) fn leave_all(&self) {
        let held = self.held();
        let open = held.cases.iter().filter(|(_, hand)| !hand.at.is_due());
        let open: Vec<String> = open.map(|(case, _)| case.clone()).collect();
        drop(held);
        self.set(&open, At::Left);
    }

    /// Refuses a case for good.
    pub(super) fn refuse(&self, case: &str) {
        self.set(&[case.to_owned()], At::Refused);
    }

    fn set(&self, cases: &[String], at: At) {
        let mut held = self.held();
        for case in cases {
            if let Some(hand) = held.cases.get_mut(case) {
                hand.at = at;
                hand.tries = 0;
            }
        }
        drop(held);
        self.due.notify_one();
    }

    /// Notes whether the queue has just had nothing for us.
    pub(super) fn starve(&self, is_starved: bool) {
        self.held().is_starved = is_starved;
    }

    /// Returns whether rows should not be held any longer: nothing more comes, and every case in hand waits for its part.
    pub(super) fn wait_for_the_sink(&self) -> bool {
        let held = self.held();
        let mut at = held.cases.values().map(|hand| hand.at);
        held.is_starved && at.clone().any(|at| at == At::Sink) && at.all(|at| at != At::Flow)
    }

    /// Returns how many cases are in hand, acks on their way included.
    pub(super) fn len(&self) -> usize {
        self.held().cases.len()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to give signs of life and to ack; `every` is the time between two signs.
    pub(super) fn keep(&self, broker: &Broker, every: Duration) -> Keeper {
        let alive = tokio::spawn(self.clone().stay_alive(every));
        let settle = tokio::spawn(self.clone().settle(broker.clone()));
        Keeper {
            hands: self.clone(),
            broker: broker.clone(),
            tasks: [alive, settle],
        }
    }

    async fn stay_alive(self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let messages: Vec<Message> = {
                let held = self.held();
                // one that is given back would stay with us for another while
                let ours = held
                    .cases
                    .values()
                    .filter(|hand| !matches!(hand.at, At::Left | At::Refused));
                ours.map(|hand| hand.message.clone()).collect()
            };
            for message in messages {
                // it is handed to the connection, which sends it once it can; one that is lost is no harm but a second try
                let sign = timeout(SIGN_MOST, message.ack_with(AckKind::Progress)).await;
                if !matches!(sign, Ok(Ok(()))) {
                    tracing::debug!("a sign of life could not be sent to the queue");
                    break;
                }
            }
        }
    }

    async fn settle(self, broker: Broker) {
        loop {
            let due: Vec<(String, Hand)> = {
                let held = self.held();
                let due = held.cases.iter().filter(|(_, hand)| hand.at.is_due());
                due.map(|(case, hand)| (case.clone(), hand.clone())).collect()
            };
            if due.is_empty() {
                self.due.notified().await;
                continue;
            }
            let mut told = futures::stream::iter(due)
                .map(|(case, hand)| async move {
                    let is_told = tell(&hand).await;
                    (case, hand, is_told)
                })
                .buffer_unordered(ACKS);
            let mut all = true;
            while let Some((case, hand, is_told)) = told.next().await {
                let is_there = broker.is_connected();
                all &= self.told(&case, &hand, is_told, is_there);
            }
            if !all {
                tokio::time::sleep(ACK_AGAIN).await;
            }
        }
    }

    /// Notes that the server has been told of a case, or not; returns whether that is all there is to do.
    fn told(&self, case: &str, told: &Hand, is_told: bool, is_there: bool) -> bool {
        let mut held = self.held();
        let Some(hand) = held.cases.get_mut(case) else {
            return true;
        };
        if hand.message.reply != told.message.reply || hand.at != told.at {
            // handed out once more meanwhile
            return false;
        }
        hand.tries += usize::from(!is_told && is_there);
        if is_told || hand.tries >= ACK_TRIES {
            held.cases.remove(case);
            if !is_told {
                tracing::warn!(%case, "the queue's server did not confirm an ack: the case will come again, and its row be found");
            }
            return true;
        }
        false
    }
}

/// Tells the server what has become of a case; returns whether it has confirmed that.
async fn tell(hand: &Hand) -> bool {
    let kind = match hand.at {
        At::Published => AckKind::Ack,
        At::Left => AckKind::Nak(Some(NAK_DELAY)),
        At::Refused => AckKind::Term,
        At::Flow | At::Sink => return true,
    };
    hand.message.double_ack_with(kind).await.is_ok()
}

/// The tasks that keep cases alive and ack them.
#[derive(Debug)]
pub(super) struct Keeper {
    hands: Hands,
    broker: Broker,
    tasks: [JoinHandle<()>; 2],
}

impl Keeper {
    /// Gives back what is not published, and waits until the server has been told of every case, `most` at the longest.
    /// What it was not told comes to another worker, which finds the row.
    pub(super) async fn end(self, most: Duration) {
        self.hands.leave_all();
        let until = Instant::now() + most;
        while self.hands.len() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        let left = self.hands.len();
        if left > 0 {
            tracing::warn!(
                "the queue's server was not told of {left} cases: they will come again to other workers"
            );
        }
        if timeout(SIGN_MOST, self.broker.client().flush()).await.is_err() {
            tracing::warn!("the queue's server does not answer");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
