//! A running S3 server on 127.0.0.1 that ends with us, however we end.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, process, thread};

use anyhow::{Context as _, Result, bail};

use super::folder::Folder;
use super::ports::Ports;
use crate::programs::{Python, last_words};
use crate::report::Ticker;

/// The bucket that a server starts with.
pub const BUCKET: &str = "spine";

/// Key that the server knows; made up, it guards nothing.
const KEY_ID: &str = "testkey";

/// The key's secret.
const SECRET_KEY: &str = "testsecret";

/// Longest time until it answers; it takes a second on an idle machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Times that other ports are tried after a clash.
const TRIES: usize = 5;

/// What the server says when a port was taken between our look and its own.
const CLASH: &str = "Port allocation failed";

/// Where the server makes its sockets, whatever it is told.
const SOCKETS: &str = "/tmp";

/// Object that is written to see that objects can be.
const PROBE: &str = ".ready";

static STARTED: AtomicU64 = AtomicU64::new(0);

/// A server with a folder of its own; dropped, both are gone.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    folder: Folder,
    ports: Ports,
    child: Option<Child>,
}

impl Server {
    /// Starts a server on free ports, with an empty bucket, and waits until it takes objects.
    ///
    /// # Errors
    /// It ends or is not ready in time: its last words.
    pub fn start(program: &Path) -> Result<Self> {
        let mut tries = 1..=TRIES;
        loop {
            let salt = salt();
            let mut server = Self {
                program: program.to_owned(),
                folder: Folder::make(salt)?,
                ports: Ports::free(salt)?,
                child: None,
            };
            match server.restart() {
                Ok(()) => return Ok(server),
                Err(_) if tries.next().is_some() && server.log().contains(CLASH) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts it again on the same folder and ports, and waits until it takes objects.
    ///
    /// # Errors
    /// See [`Server::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill9();
        let log = File::create(self.folder.path.join("log")).context("cannot write the server's log")?;
        let Ports {
            s3,
            filer,
            master,
            volume,
            admin,
        } = self.ports;
        let mut command = Python::find()?.ending_with_us(&self.program);
        command.arg("mini").arg(format!("-dir={}", self.data().display()));
        command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        command.arg(format!("-bucket={BUCKET}"));
        command.arg(format!("-s3.port={s3}"));
        command.arg(format!("-filer.port={filer}"));
        command.arg(format!("-master.port={master}"));
        command.arg(format!("-volume.port={volume}"));
        command.arg(format!("-admin.port={admin}"));
        command.args(["-admin.ui=false", "-webdav=false"]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        // it would tell its maker about each start
        command.arg("-master.telemetry=false");
        without_aws(&mut command);
        command.env("AWS_ACCESS_KEY_ID", KEY_ID);
        command.env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        // it looks for configuration files in the one, and puts logs into the other
        command
            .current_dir(&self.folder.path)
            .env("TMPDIR", &self.folder.path);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("cannot start SeaweedFS")?);
        self.wait_until_ready()
    }

    /// Kills it as a crash would; its folder stays.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // it fails only for one that has ended already
            let _ = child.kill();
            let _ = child.wait();
        }
        // named by ports that are ours alone
        for socket in self.ports.sockets() {
            let _ = fs::remove_file(Path::new(SOCKETS).join(socket));
        }
    }

    /// Returns where S3 is spoken.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.s3)
    }

    /// Returns where the bucket's objects can be put and had without a signature.
    pub fn plain(&self) -> String {
        format!("http://127.0.0.1:{}/buckets/{BUCKET}", self.ports.filer)
    }

    /// Returns the process, if it was not killed.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Returns what a program needs to use it under `s3://spine/`.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ]
    }

    /// Lends a program that environment, and nothing else of AWS that we may have been given ourselves.
    pub fn lend<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        without_aws(command);
        command.envs(self.environment())
    }

    fn data(&self) -> PathBuf {
        self.folder.path.join("data")
    }

    fn log(&self) -> String {
        let log = fs::read(self.folder.path.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut ticker = Ticker::new();
        while Instant::now() < deadline {
            let child = self.child.as_mut().context("the server was just started")?;
            if let Some(status) = child.try_wait()? {
                bail!("SeaweedFS ended ({status}):\n{}", last_words(&self.log()));
            }
            if self.is_ready() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
            ticker.tick(|| "waiting for SeaweedFS …".to_owned());
        }
        bail!(
            "SeaweedFS does not answer after {} s:\n{}",
            READY_WITHIN.as_secs(),
            last_words(&self.log())
        );
    }

    /// Says whether the bucket is there, S3 has its keys (it refuses who has none), and an object can be put.
    fn is_ready(&self) -> bool {
        let probe = format!("/buckets/{BUCKET}/{PROBE}");
        let steps = [
            (self.ports.filer, "GET", format!("/buckets/{BUCKET}/"), 200),
            (self.ports.s3, "GET", format!("/{BUCKET}/"), 403),
            (self.ports.filer, "PUT", probe.clone(), 201),
            (self.ports.filer, "DELETE", probe, 204),
        ];
        let mut answers = steps
            .iter()
            .map(|(port, method, path, expected)| status_of(*port, method, path) == Some(*expected));
        answers.all(|as_expected| as_expected)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // before its folder goes
        self.kill9();
    }
}

/// A number that other servers, of this process and of others, very likely do not have.
fn salt() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = STARTED.fetch_add(1, Ordering::Relaxed);
    let mixed = u64::from(now.subsec_nanos()) ^ (u64::from(process::id()) << 20);
    mixed.wrapping_add(count * 1_009)
}

fn without_aws(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
}

/// Returns the status code of one small request; none if nobody answers in time.
fn status_of(port: u16, method: &str, path: &str) -> Option<u16> {
    let patience = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.set_write_timeout(Some(patience)).ok()?;
    let body = if method == "PUT" { "ready" } else { "" };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut head = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut head).ok()?;
    let head = str::from_utf8(&head).ok()?;
    head.split(' ').next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program that `cargo xtask test` lends, or says that the test is skipped.
    fn weed() -> Option<PathBuf> {
        let weed = env::var_os("SPINESTREAM_WEED").map(PathBuf::from);
        if weed.is_none() {
            eprintln!("skipped: SPINESTREAM_WEED is not set");
        }
        weed
    }

    #[test]
    fn a_killed_server_starts_again_with_what_it_had_and_a_dropped_one_leaves_nothing() {
        let Some(weed) = weed() else { return };
        let mut server = Server::start(&weed).expect("started");
        let port = server.ports.filer;
        let object = format!("/buckets/{BUCKET}/some/object");
        assert_eq!(status_of(port, "PUT", &object), Some(201));
        server.kill9();
        assert_eq!(status_of(port, "GET", &object), None, "nobody is there");
        server.restart().expect("started again");
        assert_eq!(status_of(port, "GET", &object), Some(200));

        let folder = server.folder.path.clone();
        let sockets = server.ports.sockets();
        drop(server);
        assert!(!folder.exists() && !folder.with_extension("lock").exists());
        let left = sockets.iter().map(|name| Path::new(SOCKETS).join(name));
        assert_eq!(left.filter(|socket| socket.exists()).count(), 0);
    }

    #[test]
    fn two_servers_do_not_meet() {
        let Some(weed) = weed() else { return };
        let one = Server::start(&weed).expect("started");
        let other = Server::start(&weed).expect("started");
        let object = format!("/buckets/{BUCKET}/object");
        assert_eq!(status_of(one.ports.filer, "PUT", &object), Some(201));
        assert_eq!(status_of(other.ports.filer, "GET", &object), Some(404));
    }

    #[test]
    fn a_server_that_ends_at_once_leaves_its_last_words() {
        let error = Server::start(Path::new("/bin/ls")).expect_err("ls is no server");
        assert!(format!("{error:#}").contains("SeaweedFS ended"), "{error:#}");
    }
}
