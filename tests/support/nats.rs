//! A NATS server of a test's own, which it may kill.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::Stream;
use spinestream::queue::{Broker, Depth, QueueConf};

/// A server with JetStream, its store in a folder of its own; dropped, both are gone.
pub struct Nats {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Nats {
    /// Starts a server; `None` says that tests on it are skipped.
    pub async fn start() -> Option<Self> {
        let Some(program) = std::env::var_os("SPINESTREAM_NATS") else {
            eprintln!("skipped: SPINESTREAM_NATS is not set");
            return None;
        };
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("address").port()
        };
        let mut nats = Self {
            program: program.into(),
            folder: tempfile::tempdir().expect("folder"),
            port,
            child: None,
        };
        nats.start_again().await;
        Some(nats)
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns the settings of a run whose queue it holds; a silent worker keeps a case for `ack_wait_s`.
    pub fn settings(&self, ack_wait_s: u64) -> Vec<String> {
        vec![
            format!("queue.url={}", self.url()),
            format!("queue.ack_wait_s={ack_wait_s}"),
        ]
    }

    /// Kills it as the kernel would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().and_then(|()| child.wait()).expect("killed");
        }
    }

    /// Starts it on the same folder and port, and waits until it answers.
    pub async fn start_again(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).expect("log");
        let child = Command::new(&self.program)
            .args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"])
            .arg(self.folder.path().join("store"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let depth = match Broker::connect(&self.conf(), "probe").await {
                Ok(broker) => broker.depth().await.is_ok(),
                Err(_) => false,
            };
            if depth {
                return;
            }
            assert!(Instant::now() < until, "expected a server within a minute");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn conf(&self) -> QueueConf {
        QueueConf {
            url: self.url(),
            ..QueueConf::default()
        }
    }

    /// Returns what the server knows of run `test`.
    pub async fn depth(&self) -> Depth {
        let broker = Broker::connect(&self.conf(), "test").await.expect("connected");
        broker.depth().await.expect("told").unwrap_or_default()
    }

    /// Returns the stream, to look into it from the test itself.
    pub async fn stream(&self) -> Stream {
        let client = async_nats::connect(self.url()).await.expect("connected");
        let context = async_nats::jetstream::new(client);
        context.get_stream("SPINESTREAM").await.expect("a stream")
    }

    /// Returns the consumer of run `test`.
    pub async fn consumer(&self) -> PullConsumer {
        self.stream()
            .await
            .get_consumer("test")
            .await
            .expect("a consumer")
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}
