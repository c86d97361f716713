//! A real S3 server: the one that `cargo xtask test` lends, or one of a test's own that it may kill; and a proxy that
//! makes trouble on the way.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use stages::store::Stores;
use url::Url;

/// Keys that the servers of the tests know.
const KEYS: [&str; 2] = ["testkey", "testsecret"];

/// The bucket that every server of the tests has.
pub const BUCKET: &str = "spine";

/// Returns the address of the server that is lent; `None` says that tests on it are skipped.
pub fn lent() -> Option<String> {
    let endpoint = std::env::var("SPINESTREAM_S3_ENDPOINT").ok();
    if endpoint.is_none() {
        eprintln!("skipped: SPINESTREAM_S3_ENDPOINT is not set");
    }
    endpoint
}

/// Sets for a child what the server at `endpoint` needs, in the standard variables.
pub fn lend<'a>(command: &'a mut Command, endpoint: &str) -> &'a mut Command {
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", KEYS[0])
        .env("AWS_SECRET_ACCESS_KEY", KEYS[1])
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ALLOW_HTTP", "true")
}

/// Returns stores in which `s3://spine` is the bucket at `endpoint`, for looking at it from the test itself.
pub fn stores(endpoint: &str) -> Arc<Stores> {
    let stores = Stores::default();
    let bucket = bucket(endpoint, RetryConfig::default());
    stores.register(&Url::parse("s3://spine/").expect("url"), bucket);
    Arc::new(stores)
}

fn bucket(endpoint: &str, retry: RetryConfig) -> Arc<dyn ObjectStore> {
    let builder = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_bucket_name(BUCKET)
        .with_region("us-east-1")
        .with_access_key_id(KEYS[0])
        .with_secret_access_key(KEYS[1])
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_retry(retry);
    Arc::new(builder.build().expect("a bucket"))
}

/// A server of a test's own.
pub struct Weed {
    program: PathBuf,
    folder: tempfile::TempDir,
    ports: [u16; 6],
    child: Option<Child>,
}

impl Weed {
    /// Starts a server; `None` says that tests on it are skipped.
    pub async fn start() -> Option<Self> {
        let Some(program) = std::env::var_os("SPINESTREAM_WEED") else {
            eprintln!("skipped: SPINESTREAM_WEED is not set");
            return None;
        };
        let mut weed = Self {
            program: program.into(),
            folder: tempfile::tempdir().expect("folder"),
            ports: ports(),
            child: None,
        };
        weed.start_again().await;
        Some(weed)
    }

    /// Returns its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// Kills it as the kernel would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().and_then(|()| child.wait()).expect("killed");
        }
    }

    /// Starts it on the same folder and ports.
    pub async fn start_again(&mut self) {
        let [s3, master, volume, filer, admin, lance] = self.ports;
        let data = self.folder.path().join("data");
        std::fs::create_dir_all(&data).expect("folder");
        let log = std::fs::File::create(self.folder.path().join("log")).expect("log");
        let child = Command::new(&self.program)
            .arg(format!("-logdir={}", self.folder.path().display()))
            .arg("mini")
            .arg(format!("-dir={}", data.display()))
            .args([
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-admin.ui=false",
                "-webdav=false",
            ])
            .args(["-master.telemetry=false", "-s3.port.iceberg=0"])
            .arg(format!("-bucket={BUCKET}"))
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-master.port={master}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-admin.port={admin}"))
            .arg(format!("-s3.port.lance={lance}"))
            .env("AWS_ACCESS_KEY_ID", KEYS[0])
            .env("AWS_SECRET_ACCESS_KEY", KEYS[1])
            .current_dir(self.folder.path())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
        self.wait().await;
    }

    /// Waits until an object can be put.
    async fn wait(&self) {
        use object_store::ObjectStoreExt as _;
        let retry = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let bucket = bucket(&self.endpoint(), retry);
        let until = Instant::now() + Duration::from_secs(60);
        let probe = object_store::path::Path::from("probe");
        while bucket.put(&probe, "probe".into()).await.is_err() {
            assert!(Instant::now() < until, "expected a server within a minute");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns ports that are free, each with the one 10 000 above it, where the server talks to itself.
fn ports() -> [u16; 6] {
    let mut found = Vec::new();
    let mut port = 10_300 + (std::process::id() % 900) as u16 * 12;
    while found.len() < 6 {
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 10_000) {
            found.push(port);
        }
        port = if port > 21_900 { 10_300 } else { port + 1 };
    }
    found.try_into().expect("six ports")
}

/// What the proxy does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Hands it on.
    None,
    /// Answers 503, as a store does that has too much to do.
    Throttled,
    /// Hands it on, and cuts the answer in the middle of its body.
    Cut,
    /// Hangs up.
    HungUp,
}

/// Hands requests on to a server, and makes trouble with some of them.
pub struct Proxy {
    port: u16,
    troubles: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens before the server at `endpoint`; `trouble` says what is done to which request, counted from 0.
    pub fn before(endpoint: &str, trouble: impl Fn(usize) -> Trouble + Send + Sync + 'static) -> Self {
        let server = endpoint.strip_prefix("http://").expect("plain http").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("address").port();
        let (troubles, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&troubles), Arc::clone(&stop));
        let trouble = Arc::new(trouble);
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let server = server.clone();
                let (trouble, counted) = (Arc::clone(&trouble), Arc::clone(&counted));
                std::thread::spawn(move || {
                    let trouble = trouble(number);
                    if trouble != Trouble::None {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    // a client that hung up, or a server that is down: nothing to hand on
                    let _ = hand_on(client, &server, trouble);
                });
            }
        });
        Self { port, troubles, stop }
    }

    /// Returns its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns with how many requests it made trouble.
    pub fn troubles(&self) -> usize {
        self.troubles.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Hands one request on; the connection is closed after it, so that every request is one connection.
fn hand_on(mut client: TcpStream, server: &str, trouble: Trouble) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 16 << 10];
    let end = loop {
        let count = client.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(&piece[..count]);
        if let Some(end) = find(&request, b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap_or(0));
    while request.len() < end + 4 + length {
        let count = client.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(&piece[..count]);
    }
    match trouble {
        Trouble::HungUp => return client.shutdown(Shutdown::Both),
        Trouble::Throttled => {
            let answer = "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return client.write_all(answer.as_bytes());
        }
        Trouble::None | Trouble::Cut => {}
    }
    let mut server = TcpStream::connect(server)?;
    server.write_all(&request[..end])?;
    server.write_all(b"\r\nConnection: close")?;
    server.write_all(&request[end..])?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if trouble == Trouble::Cut {
        let body = find(&answer, b"\r\n\r\n").map_or(0, |end| end + 4);
        answer.truncate(body + (answer.len() - body) / 2);
    }
    client.write_all(&answer)
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
