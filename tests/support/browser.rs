//! A browser for tests of pages. Everything blocks: a test's own thread waits while those of its runtime serve.

#[path = "../../xtask/src/webdriver.rs"]
mod webdriver;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use webdriver::Session;

/// Longest time that a page may take for anything; several browsers draw without a graphics card at once.
const PATIENCE: Duration = Duration::from_secs(120);

/// How WebDriver calls an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys without a character, as WebDriver writes them.
pub const DOWN: &str = "\u{E015}";
pub const ENTER: &str = "\u{E007}";
pub const ESCAPE: &str = "\u{E00C}";

/// One browser at a time draws in a process: without a graphics card it takes every core. (nextest gives each test a process
/// of its own and has its own rule, `.config/nextest.toml`.)
static TURN: Mutex<()> = Mutex::new(());

/// A browser with one page.
pub struct Browser {
    // ends before its turn does
    session: Session,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts one; `None` says that the test is skipped. Without `has_scripts` no script of a page is run.
    pub fn start(has_scripts: bool) -> Option<Self> {
        let Some(driver) = std::env::var_os("SPINESTREAM_CHROMEDRIVER") else {
            eprintln!("skipped: SPINESTREAM_CHROMEDRIVER is not set");
            return None;
        };
        // a test that failed has left nothing behind
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Self {
            session: Session::start(Path::new(&driver), has_scripts).expect("a browser"),
            _turn: turn,
        })
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.session.open(url).expect("a page");
    }

    /// Runs the body of a function in the page.
    pub fn run(&self, script: &str) -> Value {
        self.session
            .run(script)
            .unwrap_or_else(|error| panic!("{script}: {error:#}"))
    }

    /// Waits until an expression is neither null nor false, and returns what it is then.
    pub fn wait(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        let until = Instant::now() + PATIENCE;
        loop {
            let value = self.run(&script);
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if Instant::now() > until {
                self.picture("waited-in-vain");
                let state = self.run("return JSON.stringify(document.body.dataset)");
                panic!("{expression} is still {value}; {state}; {:?}", self.errors());
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Returns the text of an element, as it is seen.
    pub fn text(&self, selector: &str) -> String {
        let text = self.run(&format!(
            "return document.querySelector({})?.innerText ?? null",
            json!(selector)
        ));
        let text = text.as_str().unwrap_or_else(|| panic!("no {selector}"));
        text.trim().to_owned()
    }

    /// Clicks an element where a hand would.
    pub fn click(&self, selector: &str) {
        self.on(selector, "click", &json!({}));
    }

    /// Types into an element.
    pub fn keys(&self, selector: &str, keys: &str) {
        self.on(selector, "value", &json!({ "text": keys }));
    }

    /// Presses a key, whatever has the focus.
    pub fn press(&self, key: &str) {
        let strokes = ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key }));
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        let pressed = self.session.send("/actions", &json!({ "actions": [keyboard] }));
        pressed.unwrap_or_else(|error| panic!("{key}: {error:#}"));
    }

    fn on(&self, selector: &str, deed: &str, body: &Value) {
        let wanted = json!({ "using": "css selector", "value": selector });
        let done = self.session.send("/element", &wanted).and_then(|element| {
            let id = element[ELEMENT].as_str().unwrap_or_default().to_owned();
            self.session.send(&format!("/element/{id}/{deed}"), body)
        });
        done.unwrap_or_else(|error| panic!("{selector}: {error:#}"));
    }

    /// Returns the errors that the page has logged since this was last asked.
    pub fn errors(&self) -> Vec<String> {
        let log = self.log("browser");
        let errors = log.iter().filter(|entry| entry["level"] == "SEVERE");
        errors.map(|entry| entry["message"].to_string()).collect()
    }

    /// Returns the URLs that the page has asked for since this was last asked, but for those that hold their data.
    pub fn requests(&self) -> Vec<String> {
        let mut urls = Vec::new();
        for entry in self.log("performance") {
            let text = entry["message"].as_str().unwrap_or_default();
            let event: Value = serde_json::from_str(text).unwrap_or_default();
            let event = &event["message"];
            if event["method"] != "Network.requestWillBeSent" {
                continue;
            }
            let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
            if !url.starts_with("data:") && !url.starts_with("blob:") {
                urls.push(url.to_owned());
            }
        }
        urls
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self
            .session
            .send("/se/log", &json!({ "type": kind }))
            .expect("a log");
        log.as_array().cloned().unwrap_or_default()
    }

    /// Keeps a picture of the whole page, however long, in `$SPINESTREAM_SCREENSHOTS`, if that is set.
    pub fn picture(&self, name: &str) {
        let Some(path) = kept(name, "png") else { return };
        let command = json!({
            "cmd": "Page.captureScreenshot",
            "params": { "captureBeyondViewport": true },
        });
        let picture = self
            .session
            .send("/goog/cdp/execute", &command)
            .expect("a picture");
        write(&path, &picture["data"]);
    }

    /// Returns how many bytes the page has as it is printed, and keeps it as [`Browser::picture`] does.
    pub fn printed(&self, name: &str) -> usize {
        let printed = self.session.send("/print", &json!({})).expect("printed");
        if let Some(path) = kept(name, "pdf") {
            write(&path, &printed);
        }
        bytes(&printed).len()
    }
}

/// Returns where a picture is kept.
fn kept(name: &str, ending: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("SPINESTREAM_SCREENSHOTS")?);
    std::fs::create_dir_all(&folder).expect("a folder");
    Some(folder.join(format!("{name}.{ending}")))
}

fn write(path: &Path, base64: &Value) {
    std::fs::write(path, bytes(base64)).expect("write");
}

fn bytes(base64: &Value) -> Vec<u8> {
    let base64 = base64.as_str().expect("base64");
    STANDARD.decode(base64).expect("base64")
}
