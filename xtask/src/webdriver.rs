//! Chromium, driven through chromedriver as W3C WebDriver has it. Tests of pages take this file too
//! (`tests/support/browser.rs`): it leans on nothing of ours.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

/// WebGL without a graphics card, no sandbox (it refuses root), and nothing that asks the network by itself.
const ARGUMENTS: [&str; 13] = [
    "--headless=new",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-proxy-server",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
    "--window-size=1280,860",
];

/// What the driver says, before its port, once it listens.
const LISTENS: &str = "started successfully on port ";

/// Longest time that the driver may take for one answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest time that a script of ours may take, in ms: it waits for the page's own, and those for the picture.
const SCRIPT_MS: u32 = 100_000;

/// A browser of its own profile with one page; dropped, it is gone.
#[derive(Debug)]
pub struct Session {
    driver: Child,
    /// Held open: a driver that cannot speak would end.
    words: BufReader<ChildStdout>,
    port: u16,
    /// Empty until there is a browser.
    id: String,
    /// The browser's process.
    browser: Option<u64>,
}

impl Session {
    /// Starts a browser; without `has_scripts` no script of a page is run.
    ///
    /// # Errors
    /// The driver or its browser cannot be started.
    pub fn start(driver: &Path, has_scripts: bool) -> Result<Self> {
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", driver.display()))?;
        let words = driver.stdout.take().context("stdout is piped")?;
        let mut session = Self {
            driver,
            words: BufReader::new(words),
            port: 0,
            id: String::new(),
            browser: None,
        };
        session.port = port_in(&mut session.words)?;
        // 1 allows, 2 blocks
        let scripts = if has_scripts { 1 } else { 2 };
        let wanted = json!({
            "browserName": "chrome",
            "timeouts": { "script": SCRIPT_MS },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": {
                "args": ARGUMENTS,
                "prefs": { "profile.managed_default_content_settings.javascript": scripts },
            },
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": wanted } });
        let started = ask(session.port, "POST", "/session", &wanted).context("no browser")?;
        let id = started["sessionId"]
            .as_str()
            .context("expected a session of the driver")?;
        session.id = id.to_owned();
        session.browser = started["capabilities"]["goog:processID"].as_u64();
        Ok(session)
    }

    /// Sends a command; `path` is what stands behind the session.
    ///
    /// # Errors
    /// The driver's own, as it words them.
    pub fn send(&self, path: &str, body: &Value) -> Result<Value> {
        ask(self.port, "POST", &format!("/session/{}{path}", self.id), body)
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// Nobody is there.
    pub fn open(&self, url: &str) -> Result<()> {
        self.send("/url", &json!({ "url": url })).map(drop)
    }

    /// Runs the body of a function in the page and returns what it returns.
    ///
    /// # Errors
    /// It throws.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.send("/execute/sync", &json!({ "script": script, "args": [] }))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let session = format!("/session/{}", self.id);
        let is_ended = self.id.is_empty() || ask(self.port, "DELETE", &session, &Value::Null).is_ok();
        // a driver that is killed leaves its browser behind
        if let Some(browser) = self.browser.filter(|_| !is_ended) {
            let _ = Command::new("kill")
                .args(["-KILL", &browser.to_string()])
                .status();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Reads what the driver says up to its port.
fn port_in(words: &mut impl BufRead) -> Result<u16> {
    let mut line = String::new();
    while words.read_line(&mut line)? > 0 {
        if let Some((_, port)) = line.split_once(LISTENS) {
            let port = port.trim().trim_end_matches('.');
            return port
                .parse()
                .with_context(|| format!("expected a port, found {port}"));
        }
        line.clear();
    }
    bail!("the driver ended before it listened")
}

/// Sends one request and returns the value that comes back.
fn ask(port: u16, method: &str, path: &str, body: &Value) -> Result<Value> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("the driver is not there")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;

    let mut answer = BufReader::new(stream);
    let mut status = String::new();
    answer
        .read_line(&mut status)
        .context("the driver does not answer")?;
    let mut length: usize = 0;
    loop {
        let mut line = String::new();
        ensure!(
            answer.read_line(&mut line)? > 0,
            "the driver's answer is cut short"
        );
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().context("expected a length")?;
        }
    }
    let mut bytes = vec![0; length];
    answer.read_exact(&mut bytes)?;
    let mut answer: Value = serde_json::from_slice(&bytes).context("expected JSON of the driver")?;
    let value = answer["value"].take();
    if !status.contains(" 200 ") {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        bail!("{}: {}", text("error"), text("message"));
    }
    Ok(value)
}
