//! A running NATS server that ends with us, however we end.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::programs::{Python, last_words};

/// Longest time until it answers; one that starts again reads what it holds first.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A server with JetStream, its store in a folder of the caller's.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    folder: PathBuf,
    address: String,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts a server on a free port of an address, with its store below `folder`, and waits until it answers.
    ///
    /// # Errors
    /// It ends or is not ready in time: its last words.
    pub fn start(program: &Path, folder: &Path, address: &str) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let free = TcpListener::bind((address, 0)).context("no free port")?;
        let mut server = Self {
            program: program.to_owned(),
            folder: std::path::absolute(folder)?,
            address: address.to_owned(),
            port: free.local_addr()?.port(),
            child: None,
        };
        drop(free);
        server.restart()?;
        Ok(server)
    }

    /// Starts it again on the same folder and port.
    ///
    /// # Errors
    /// See [`Server::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill9();
        let log = File::create(self.folder.join("log")).context("cannot write the server's log")?;
        let mut command = Python::find()?.ending_with_us(&self.program);
        command.args(["-js", "-a", &self.address, "-p", &self.port.to_string(), "-sd"]);
        command.arg(self.folder.join("store")).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("cannot start NATS")?);
        let until = Instant::now() + READY_WITHIN;
        while !self.is_ready() {
            let child = self.child.as_mut().context("the server was just started")?;
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            if let Some(status) = child.try_wait()? {
                bail!("NATS ended ({status}):\n{}", last_words(&log()));
            }
            if Instant::now() > until {
                bail!("NATS does not answer:\n{}", last_words(&log()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills it as a crash would; its store stays.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // it fails only for one that has ended already
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Returns its address as a configuration names it.
    pub fn url(&self) -> String {
        format!("nats://{}:{}", self.address, self.port)
    }

    /// Returns the process, if it was not killed.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Says whether it greets who comes: with that its store is read.
    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((self.address.as_str(), self.port)) else {
            return false;
        };
        let mut greeting = [0; 4];
        let patience = stream.set_read_timeout(Some(Duration::from_secs(2)));
        patience.is_ok() && stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO"
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
    }
}
