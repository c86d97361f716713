//! The connection to the queue's server: the stream of all runs, and the consumer of one.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{
    ConsumerInfoErrorKind, ContextBuilder, GetStreamErrorKind, PublishErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};

use super::message::token;
use super::{QueueConf, QueueError, Storage, Ticket};

/// Time between two pings: a connection that is cut without a word is noticed after two of them.
const PING: Duration = Duration::from_secs(10);

/// Longest time for the server's answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Requests for a case that wait at the server at most: a worker has one at a time.
const WAITING_MOST: i64 = 8192;

/// Messages on their way to the server at most, not confirmed yet.
pub(super) const UNCONFIRMED_MOST: usize = 4096;

/// Times that a message is sent before it counts as refused; the server knows it again by its id.
const SENDS: usize = 5;

/// Time before a message is sent again.
const SEND_AGAIN: Duration = Duration::from_secs(2);

/// The queue of one run.
#[derive(Debug, Clone)]
pub struct Broker {
    conf: QueueConf,
    context: Context,
    run: String,
}

/// What the server knows of a run's cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Depth {
    /// Cases that nobody has been given yet.
    pub pending: u64,
    /// Cases that workers have in hand, or had when they died.
    pub in_hand: u64,
    /// How many of these have been handed out more than once.
    pub redelivered: u64,
}

impl Broker {
    /// Connects to the server; `run` is the id of the run.
    ///
    /// # Errors
    /// No server is configured; none answers, or none that lets us in.
    pub async fn connect(conf: &QueueConf, run: &str) -> Result<Self, QueueError> {
        let servers = servers(conf)?;
        let mut options = ConnectOptions::new()
            .name("spinestream")
            .ping_interval(PING)
            .request_timeout(Some(ANSWER))
            .event_callback(|event| async move { tell(&event) });
        if !conf.ca.is_empty() {
            options = options.add_root_certificates(PathBuf::from(&conf.ca));
        }
        if !conf.credentials.is_empty() {
            // what it holds is told nowhere
            let read = options.credentials_file(&conf.credentials).await;
            options = read.map_err(|error| QueueError::Conf {
                key: "credentials",
                message: format!(
                    "expected a file of NATS credentials, found none: {}",
                    error.kind()
                ),
            })?;
        }
        let connected = options.connect(servers).await;
        let client = connected.map_err(|error| QueueError::Away(error.to_string()))?;
        let context = ContextBuilder::new()
            .timeout(ANSWER)
            .max_ack_inflight(UNCONFIRMED_MOST)
            .build(client);
        Ok(Self {
            conf: conf.clone(),
            context,
            run: run.to_owned(),
        })
    }

    /// Returns the id of the run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Returns whether a server is there just now.
    pub fn is_connected(&self) -> bool {
        self.client().connection_state() == State::Connected
    }

    pub(super) fn client(&self) -> Client {
        self.context.client()
    }

    /// Returns the subject of the run's cases.
    fn subject(&self) -> String {
        format!("{}.{}.cases", self.conf.stream, token(&self.run))
    }

    /// Makes the stream, if it is not there, and the run's consumer.
    ///
    /// # Errors
    /// A stream of that name is none of ours; the server's.
    pub async fn ensure(&self) -> Result<PullConsumer, QueueError> {
        let subjects = format!("{}.*.cases", self.conf.stream);
        let config = Config {
            name: self.conf.stream.clone(),
            description: Some("cases of spinestream's runs".to_owned()),
            subjects: vec![subjects.clone()],
            retention: RetentionPolicy::WorkQueue,
            // a full stream refuses new cases instead of losing old ones
            discard: DiscardPolicy::New,
            storage: match self.conf.storage {
                Storage::File => StorageType::File,
                Storage::Memory => StorageType::Memory,
            },
            num_replicas: self.conf.replicas,
            duplicate_window: Duration::from_secs(self.conf.dedup_s),
            ..Config::default()
        };
        let stream = self.context.get_or_create_stream(config.clone()).await;
        let stream = stream.map_err(|error| server("make the stream", &error))?;
        let found = &stream.cached_info().config;
        if found.retention != RetentionPolicy::WorkQueue || !found.subjects.contains(&subjects) {
            return Err(QueueError::Foreign {
                subject: subjects,
                found: format!("{:?} and {}", found.retention, found.subjects.join(", ")),
            });
        }
        let kept = (found.duplicate_window, found.num_replicas, found.storage);
        if kept != (config.duplicate_window, config.num_replicas, config.storage) {
            tracing::warn!(
                "the stream keeps what it was made with: queue.dedup_s = {}, replicas = {}, storage {:?}",
                found.duplicate_window.as_secs(),
                found.num_replicas,
                found.storage
            );
        }
        self.consumer(&stream).await
    }

    /// Makes the run's consumer, if it is not there. It hands a message out as often as is needed: who gets it once too
    /// often writes the row that says so, which the server could not.
    async fn consumer(&self, stream: &Stream) -> Result<PullConsumer, QueueError> {
        let name = token(&self.run);
        let config = pull::Config {
            durable_name: Some(name.clone()),
            description: Some("one run's cases, for its workers".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.conf.ack_wait(),
            max_deliver: -1,
            filter_subject: self.subject(),
            max_waiting: WAITING_MOST,
            // each worker takes what it has places for: a limit would only let them starve (nats-server#7680)
            max_ack_pending: -1,
            ..pull::Config::default()
        };
        let made = stream.get_or_create_consumer(&name, config).await;
        let consumer = made.map_err(|error| server("make the run's consumer", &error))?;
        let ack_wait = consumer.cached_info().config.ack_wait;
        if ack_wait != self.conf.ack_wait() {
            tracing::warn!(
                "the run's queue keeps the ack_wait_s that it was made with: {}",
                ack_wait.as_secs()
            );
        }
        Ok(consumer)
    }

    /// Returns what waits and what is in hand; `None` if nothing of the run was ever enqueued.
    ///
    /// # Errors
    /// The server's.
    pub async fn depth(&self) -> Result<Option<Depth>, QueueError> {
        let stream = match self.context.get_stream(&self.conf.stream).await {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    GetStreamErrorKind::JetStream(answer) if answer.code() == 404 => Ok(None),
                    _ => Err(server("tell of the stream", &error)),
                };
            }
        };
        match stream.consumer_info(token(&self.run)).await {
            Ok(info) => Ok(Some(Depth {
                pending: info.num_pending,
                in_hand: info.num_ack_pending as u64,
                redelivered: info.num_redelivered as u64,
            })),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(None),
            Err(error) => Err(server("tell of the run's cases", &error)),
        }
    }

    /// Puts a case into the queue; returns whether it is new there.
    ///
    /// # Errors
    /// The server does not take it, tried again and again.
    pub async fn put(&self, ticket: &Ticket) -> Result<bool, QueueError> {
        let bytes = bytes::Bytes::from(ticket.to_bytes());
        let id = ticket.message_id();
        let mut sends = 1;
        loop {
            let message = PublishMessage::build().payload(bytes.clone()).message_id(&id);
            let sent = async { self.context.send_publish(self.subject(), message).await?.await };
            let error = match sent.await {
                Ok(answer) => return Ok(!answer.duplicate),
                Err(error) => error,
            };
            let may_pass = matches!(
                error.kind(),
                PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe | PublishErrorKind::StreamNotFound
            );
            if !may_pass || sends == SENDS {
                return Err(server("take a case", &error));
            }
            sends += 1;
            tokio::time::sleep(SEND_AGAIN).await;
        }
    }
}

/// Returns the servers that the configuration names.
fn servers(conf: &QueueConf) -> Result<Vec<ServerAddr>, QueueError> {
    let error = |message: &str| QueueError::Conf {
        key: "url",
        message: message.to_owned(),
    };
    let names = conf.url.split(',').map(str::trim).filter(|name| !name.is_empty());
    let servers: Result<Vec<ServerAddr>, _> = names.map(str::parse).collect();
    let servers =
        servers.map_err(|_| error("expected nats://host:port or tls://host:port, found another text"))?;
    if servers.is_empty() {
        return Err(error(
            "expected nats://host:port or tls://host:port, found nothing",
        ));
    }
    Ok(servers)
}

fn server(what: &'static str, error: &dyn std::error::Error) -> QueueError {
    QueueError::Server {
        what,
        error: error.to_string(),
    }
}

/// Says what becomes of the connection.
fn tell(event: &Event) {
    match event {
        Event::Connected => tracing::info!("the queue's server is there"),
        Event::Disconnected => {
            tracing::warn!(
                "the queue's server is away; cases in hand go on, and the connection is tried again"
            );
        }
        Event::ServerError(error) => tracing::warn!("the queue's server says: {error}"),
        Event::ClientError(error) => tracing::warn!("the connection to the queue's server: {error}"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(url: &str) -> QueueConf {
        QueueConf {
            url: url.to_owned(),
            ..QueueConf::default()
        }
    }

    #[test]
    fn several_servers_are_named_with_commas() {
        let found = servers(&conf("nats://a:4222, tls://b , c")).expect("three");
        let named: Vec<&str> = found.iter().map(ServerAddr::host).collect();
        assert_eq!(named, ["a", "b", "c"]);
        for none in ["", " , ", "http://a"] {
            assert!(servers(&conf(none)).is_err(), "{none:?}");
        }
    }

    #[tokio::test]
    async fn a_file_of_credentials_that_is_not_there_is_told_by_its_key() {
        let conf = QueueConf {
            credentials: "/nowhere/worker.creds".to_owned(),
            ..conf("tls://127.0.0.1:1")
        };
        let none = Broker::connect(&conf, "r1").await.expect_err("no such file");
        assert!(
            none.to_string().starts_with("queue.credentials: expected a file"),
            "{none}"
        );
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_by_the_key_and_what_to_start() {
        let away = Broker::connect(&conf("nats://127.0.0.1:1"), "r1").await;
        let said = away.expect_err("nobody listens there").to_string();
        assert!(
            said.starts_with("queue.url: expected a NATS server with JetStream"),
            "{said}"
        );
    }
}
