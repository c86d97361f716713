//! Past one machine: a queue of cases on NATS JetStream, and workers that take from it.
//!
//! ```text
//! enqueue   manifest ─ cases without a row ─▶ stream (work queue, one message a case)
//! work      ◀─ one message for each free place ─ flow ─▶ part with the row ─▶ ack
//! status    what waits, what is in hand, who is at work
//! ```
//! A message names a run and a case, nothing else: no object, no patient. Every worker reads the manifest itself and
//! publishes its own parts; the queue never sees a result. A message is acked once the part of table cases that holds its
//! case's row is published, so whatever dies whenever: the message comes to another worker, which does the case again or
//! finds its row. Two rows of a case are of two attempts, and readers take the higher.

mod broker;
mod enqueue;
mod fleet;
mod hands;
mod message;
mod sink;
mod source;
mod work;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use broker::{Broker, Depth};
pub use enqueue::{Enqueued, enqueue};
pub use fleet::{Fleet, Worker, fleet};
pub use message::Ticket;
pub use work::{work, work_with};

/// Section `[queue]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConf {
    /// NATS servers of one cluster, with commas: "nats://host:4222", or "tls://host:4222". Never with a password in it.
    pub url: String,
    /// File with credentials (.creds); empty for none.
    pub credentials: String,
    /// File with the certificates (PEM) that the servers' are checked against; empty for those of this machine.
    pub ca: String,
    /// Name of the stream, also the beginning of its subjects. One stream holds the cases of all runs.
    pub stream: String,
    /// Time without a sign of life of a case in hand, in s, after which it goes to another worker. A worker gives a sign
    /// three times as often.
    pub ack_wait_s: u64,
    /// Times that a case is handed out before it becomes a failed row.
    pub max_deliver: u32,
    /// Time in which a case that was enqueued is not taken again, in s. The server remembers every case for so long.
    pub dedup_s: u64,
    /// Servers of the cluster that keep each message.
    pub replicas: usize,
    /// Where the server keeps messages.
    pub storage: Storage,
}

/// Where a server keeps messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// In files: a server that starts again has them.
    File,
    /// In memory: gone with the server, after which the cases are enqueued again.
    Memory,
}

impl Default for QueueConf {
    fn default() -> Self {
        Self {
            url: String::new(),
            credentials: String::new(),
            ca: String::new(),
            stream: "SPINESTREAM".to_owned(),
            ack_wait_s: 60,
            max_deliver: 3,
            dedup_s: 24 * 3600,
            replicas: 1,
            storage: Storage::File,
        }
    }
}

impl QueueConf {
    /// Checks what can be checked without a server.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.url.contains('@') {
            // not repeated: it may be a password
            return Err(
                "queue.url: expected no user or password in it, found an @; name a file of credentials in \
                 queue.credentials"
                    .to_owned(),
            );
        }
        let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        if self.stream.is_empty() || !self.stream.chars().all(is_plain) {
            return Err(format!(
                "queue.stream: expected letters, digits, '_' and '-', found {:?}",
                self.stream
            ));
        }
        if self.ack_wait_s < 3 {
            return Err(format!(
                "queue.ack_wait_s: expected 3 s or more, found {}",
                self.ack_wait_s
            ));
        }
        if self.max_deliver == 0 {
            return Err("queue.max_deliver: expected 1 or more, found 0".to_owned());
        }
        if self.dedup_s == 0 {
            return Err("queue.dedup_s: expected 1 s or more, found 0".to_owned());
        }
        if !(1..=5).contains(&self.replicas) {
            return Err(format!(
                "queue.replicas: expected 1 to 5, found {}",
                self.replicas
            ));
        }
        Ok(())
    }

    fn ack_wait(&self) -> Duration {
        Duration::from_secs(self.ack_wait_s)
    }
}

/// Why the queue cannot be used: ends the verb.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The configuration names no server, or one that cannot be.
    #[error("queue.{key}: {message}")]
    Conf {
        /// Which key.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
    /// No server answers, or none that lets us in.
    #[error("queue.url: expected a NATS server with JetStream (nats-server -js), found: {0}")]
    Away(String),
    /// A stream of that name is none of ours.
    #[error(
        "queue.stream: expected a work queue with subject {subject}, found a stream of that name with {found}"
    )]
    Foreign {
        /// What its subject must be.
        subject: String,
        /// What it is.
        found: String,
    },
    /// The server does not do what it is asked.
    #[error("the queue's server could not {what}: {error}")]
    Server {
        /// What it was to do.
        what: &'static str,
        /// What it said.
        error: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        let conf = QueueConf {
            url: "nats://me:secret@host".to_owned(),
            ..QueueConf::default()
        };
        let said = conf.check().expect_err("refused");
        assert!(
            said.contains("queue.credentials") && !said.contains("secret"),
            "{said}"
        );
        QueueConf::default().check().expect("the default is sound");
    }

    #[test]
    fn values_that_no_server_takes_are_refused() {
        let refused = |conf: QueueConf, key: &str| {
            let said = conf.check().expect_err(key);
            assert!(said.starts_with(&format!("queue.{key}: expected")), "{said}");
        };
        let default = QueueConf::default;
        refused(
            QueueConf {
                stream: "a.b".to_owned(),
                ..default()
            },
            "stream",
        );
        refused(
            QueueConf {
                ack_wait_s: 2,
                ..default()
            },
            "ack_wait_s",
        );
        refused(
            QueueConf {
                max_deliver: 0,
                ..default()
            },
            "max_deliver",
        );
        refused(
            QueueConf {
                dedup_s: 0,
                ..default()
            },
            "dedup_s",
        );
        refused(
            QueueConf {
                replicas: 6,
                ..default()
            },
            "replicas",
        );
    }
}
