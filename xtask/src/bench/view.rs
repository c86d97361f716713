//! The viewer's page on a large run, in a browser: what it weighs, when its first picture stands, what the server needs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::watch::{Process, Usage};
use super::{Cohort, Common, Setting, mib, seconds};
use crate::browser;
use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::programs::last_words;
use crate::report;
use crate::webdriver::Session;

/// No network, all five levels, patches of their full size, and of files only what a run writes by itself.
const SETTINGS: [&str; 2] = ["model.chain=[\"interpolate\"]", "write.volumes=[\"patch\"]"];

/// Id of the run, and name of its output.
const RUN: &str = "viewed";

/// Vertebrae of a phantom.
const LEVELS: usize = 5;

/// Longest time until a picture stands.
const LONGEST: Duration = Duration::from_secs(120);

/// Time between two looks at the page.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the page knows of itself: everything it asked for until its first picture, with the bytes that came. A pixel is read
/// first, which waits until all that was asked of the graphics is done.
const MEASURE: &str = r"
const gl = document.querySelector('#canvas').getContext('webgl2');
gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
const readable_ms = performance.now();
const { rows, firstPictureMs } = document.body.dataset;
const asked = ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind));
const before = asked.filter((entry) => entry.startTime <= Number(firstPictureMs) && entry.encodedBodySize > 0);
return {
  rows: Number(rows),
  first_picture_ms: Number(firstPictureMs),
  readable_ms,
  bytes: Object.fromEntries(before.map((entry) => [new URL(entry.name).pathname, entry.encodedBodySize])),
};
";

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Cases of the run, of five vertebrae each.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    cases: u32,
    /// Times that the page is opened, each in a browser that has never seen it.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    loads: u32,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Numbers {
    cohort: Cohort,
    vertebrae: usize,
    /// Of the first load, by path: as they came over the wire, without headers.
    bytes: BTreeMap<String, u64>,
    bytes_in_all: u64,
    /// Of every load, from when the address was entered.
    first_picture_ms: Vec<f64>,
    first_picture_ms_median: f64,
    /// The same until its pixels could be read, as it was seen from outside at most [`LOOK_EVERY`] late.
    readable_ms: Vec<f64>,
    readable_ms_median: f64,
    server_peak_rss_bytes: u64,
    server_cpu_s: f64,
}

/// Makes the run, opens its page again and again, and keeps the numbers.
///
/// # Errors
/// Set-up failed, there is no browser, the run did not do all of its cases, or a page drew nothing.
pub fn view(arguments: &Arguments, checkout: &Checkout, cache: &Cache) -> Result<()> {
    // before the long run rather than after
    let driver = browser::find()?;
    let setting = Setting::new("view", &arguments.common, checkout, cache)?;
    let [cases, loads] = [arguments.cases, arguments.loads].map(|count| count as usize);
    let cohort = Cohort::make(&setting, &[cases])?;
    run(&setting, &cohort, cases)?;

    let mut server = Server::start(&setting)?;
    let mut loaded = Vec::new();
    for number in 0..loads {
        // another case each time: the server keeps the masks of the last ones
        let case = format!("case-{:06}", 1 + number * cases / loads);
        let load = Load::of(&driver, &server.url, &case)?;
        ensure!(
            load.rows == cases * LEVELS,
            "expected a table of {} vertebrae, found {}",
            cases * LEVELS,
            load.rows
        );
        report::stage(&format!(
            "{case}: first picture after {:.0} ms",
            load.first_picture_ms
        ));
        loaded.push(load);
    }
    let usage = server.usage()?;
    let first_picture_ms: Vec<f64> = loaded.iter().map(|load| load.first_picture_ms).collect();
    let readable_ms: Vec<f64> = loaded.iter().map(|load| load.readable_ms).collect();
    let bytes = loaded.into_iter().next().context("at least one load")?.bytes;
    let numbers = Numbers {
        cohort,
        vertebrae: cases * LEVELS,
        bytes_in_all: bytes.values().sum(),
        bytes,
        first_picture_ms_median: median(&first_picture_ms).context("at least one load")?,
        first_picture_ms,
        readable_ms_median: median(&readable_ms).context("at least one load")?,
        readable_ms,
        server_peak_rss_bytes: usage.peak_rss_bytes,
        server_cpu_s: seconds(usage.cpu),
    };
    print!("{}", numbers.table());
    setting.keep_with(&numbers, SETTINGS.to_vec())
}

fn run(setting: &Setting, cohort: &Cohort, cases: usize) -> Result<()> {
    report::stage(&format!("running {cases} cases …"));
    let mut command = setting.command(cohort, cases, RUN, &SETTINGS)?;
    let ended = Process::start(setting.store.lend(&mut command))?.wait(RUN)?;
    ensure!(
        ended.status.success(),
        "expected the run to do all of its {cases} cases, found {}:\n{}",
        ended.status,
        last_words(&ended.words)
    );
    Ok(())
}

/// The viewer at work; dropped, it is gone.
struct Server {
    child: Child,
    /// Held open: a viewer that cannot speak might end.
    words: BufReader<ChildStdout>,
    url: String,
}

impl Server {
    fn start(setting: &Setting) -> Result<Self> {
        let folder = setting.store.url(&format!("{RUN}/runs/{RUN}"));
        let mut command = setting
            .binary
            .mortal_verb(&["view", &folder, "--listen", "127.0.0.1:0"])?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = setting
            .store
            .lend(&mut command)
            .spawn()
            .context("cannot start the viewer")?;
        let words = child.stdout.take().context("stdout is piped")?;
        let mut server = Self {
            child,
            words: BufReader::new(words),
            url: String::new(),
        };
        server.words.read_line(&mut server.url)?;
        server.url.truncate(server.url.trim_end().len());
        ensure!(
            server.url.starts_with("http://127.0.0.1:"),
            "expected the viewer's address, found {:?}",
            server.url
        );
        Ok(server)
    }

    /// Returns what it has used until now.
    fn usage(&mut self) -> Result<Usage> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the viewer ended ({status})");
        }
        Usage::of(self.child.id()).context("cannot read /proc: benches run on Linux only")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // it fails only for one that has ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One look at a vertebra by somebody who comes from elsewhere.
#[derive(Debug, Deserialize)]
struct Load {
    rows: usize,
    first_picture_ms: f64,
    readable_ms: f64,
    bytes: BTreeMap<String, u64>,
}

impl Load {
    fn of(driver: &Path, url: &str, case: &str) -> Result<Self> {
        let page = Session::start(driver, true)?;
        page.open(&format!("{url}#case={case}&level=L3&show=input,recon,reference"))?;
        let until = Instant::now() + LONGEST;
        loop {
            let state = page.run("return document.body.dataset.state ?? ''")?;
            match state.as_str() {
                Some("drawn") => break,
                Some("failed") => {
                    let note = page.run("return document.querySelector('#stage-note')?.innerText ?? ''")?;
                    bail!("the page draws nothing: {note}");
                }
                _ => ensure!(
                    Instant::now() < until,
                    "expected a picture of {case} within {} s",
                    LONGEST.as_secs()
                ),
            }
            sleep(LOOK_EVERY);
        }
        serde_json::from_value(page.run(MEASURE)?).context("expected what the page has measured")
    }
}

/// Returns the middle value, or the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

impl Numbers {
    fn table(&self) -> String {
        let mut text = format!("\n{:<44} {:>12}\n", "page", "bytes");
        let mut shapes = 0;
        for (path, bytes) in &self.bytes {
            if path.starts_with("/api/mask/") || path.starts_with("/api/mesh/") {
                shapes += bytes;
            } else {
                text += &format!("{path:<44} {bytes:>12}\n");
            }
        }
        text += &format!("{:<44} {shapes:>12}\n", "masks and surfaces of one vertebra");
        text += &format!("{:<44} {:>12}\n", "in all", self.bytes_in_all);
        let least = self
            .first_picture_ms
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let most = self.first_picture_ms.iter().copied().fold(0.0, f64::max);
        text += &format!(
            "{} vertebrae: first picture after {:.0} ms (median of {}; {least:.0}–{most:.0} ms), its pixels read after \
             {:.0} ms\n",
            self.vertebrae,
            self.first_picture_ms_median,
            self.first_picture_ms.len(),
            self.readable_ms_median
        );
        text += &format!(
            "the server: peak RSS {}, {:.2} CPU-s\n",
            mib(self.server_peak_rss_bytes),
            self.server_cpu_s
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_of_values_lies_between_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
