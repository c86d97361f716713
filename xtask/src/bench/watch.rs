//! One process of the program under watch: what it uses, how far it is, how it ends.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::machine::field;
use super::seconds;
use crate::programs::last_words;
use crate::report::Ticker;

/// Processor time in `/proc` is counted in these, on every Linux of today (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

/// Time between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Time between two samples that are kept.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Longest time without any progress.
const STALLED_AFTER: Duration = Duration::from_secs(600);

/// The signal that nobody can catch.
const SIGKILL: i32 = 9;

/// Other lines of the program that are kept.
const LINES: usize = 20;

/// What a process uses now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Resident memory.
    pub rss_bytes: u64,
    /// The most that it ever was.
    pub peak_rss_bytes: u64,
    /// Open files and sockets.
    pub open_files: usize,
    /// Processor time of all threads, user and system.
    pub cpu: Duration,
    /// It has ended, and nobody has asked how yet.
    pub ended: bool,
}

impl Usage {
    /// Reads what `/proc` tells; none for a process that is not there.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, cpu) = state_and_cpu(&stat)?;
        // a process that has ended has neither memory nor files
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let bytes = |name: &str| {
            let kibibytes = field(&status, name)?;
            let kibibytes: u64 = kibibytes.trim_end_matches(" kB").parse().ok()?;
            Some(kibibytes * 1024)
        };
        Some(Self {
            rss_bytes: bytes("VmRSS").unwrap_or_default(),
            peak_rss_bytes: bytes("VmHWM").unwrap_or_default(),
            open_files: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
            cpu,
            ended: matches!(state, 'Z' | 'X'),
        })
    }
}

/// Reads the state and the processor time (fields 3, 14 and 15 of proc(5)); the name before may hold anything.
fn state_and_cpu(stat: &str) -> Option<(char, Duration)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
    Some((state, TICK * ticks(11)?.checked_add(ticks(12)?)?))
}

/// How far a run was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Since its start.
    pub at: Duration,
    /// Cases that had an outcome.
    pub cases: usize,
}

/// What a run used at one moment.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    /// Since its start.
    pub at_s: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Open files and sockets.
    pub open_files: usize,
    /// Processor time until then.
    pub cpu_s: f64,
}

/// What the program says on stderr.
#[derive(Debug, Default)]
struct Said {
    progress: Vec<Progress>,
    /// Cases that were done, whether or not their rows came to be published.
    done: usize,
    /// The last of the other lines.
    others: VecDeque<String>,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// That was our doing.
    pub killed: bool,
    /// How long it was there.
    pub elapsed: Duration,
    /// Processor time.
    pub cpu: Duration,
    /// Most resident memory.
    pub peak_rss_bytes: u64,
    /// One a second.
    pub samples: Vec<Sample>,
    /// Every progress line.
    pub progress: Vec<Progress>,
    /// Cases that it did, whether or not their rows came to be published.
    pub done: usize,
    /// The last other lines on stderr.
    pub words: String,
}

/// A run of the program.
pub struct Process {
    child: Child,
    start: Instant,
    said: Arc<Mutex<Said>>,
    listener: JoinHandle<()>,
    samples: Vec<Sample>,
    sample_at: Duration,
    last: Usage,
}

impl Process {
    /// Starts it; its closing table is not shown.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start spinestream")?;
        let start = Instant::now();
        let stderr = child.stderr.take().context("stderr is piped")?;
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        let listener = thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let at = start.elapsed();
                let mut said = lock(&heard);
                if let Some(cases) = cases_of(&line) {
                    said.progress.push(Progress { at, cases });
                } else if line.contains("case done") {
                    said.done += 1;
                } else {
                    said.others.push_back(line);
                    if said.others.len() > LINES {
                        said.others.pop_front();
                    }
                }
            }
        });
        Ok(Self {
            child,
            start,
            said,
            listener,
            samples: Vec::new(),
            sample_at: SAMPLE_EVERY,
            last: Usage::default(),
        })
    }

    /// Returns its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Watches it until it ends, with a line every few seconds.
    ///
    /// # Errors
    /// It makes no progress any more.
    pub fn wait(self, what: &str) -> Result<Ended> {
        self.watch(what, None)
    }

    /// Watches it until it has used that much processor time, then kills it; or until it ends.
    ///
    /// # Errors
    /// It makes no progress any more.
    pub fn kill_after(self, cpu: Duration, what: &str) -> Result<Ended> {
        self.watch(what, Some(cpu))
    }

    fn watch(mut self, what: &str, kill_after: Option<Duration>) -> Result<Ended> {
        let mut ticker = Ticker::new();
        let mut alive = Instant::now();
        let mut cpu_then = Duration::ZERO;
        while !self.look()? {
            if kill_after.is_some_and(|cpu| self.last.cpu >= cpu) {
                self.child.kill()?;
                // it may have ended by itself since we looked
                let mut ended = self.end()?;
                ended.killed = ended.status.signal() == Some(SIGKILL);
                return Ok(ended);
            }
            if self.last.cpu > cpu_then + Duration::from_millis(500) {
                (alive, cpu_then) = (Instant::now(), self.last.cpu);
            }
            if alive.elapsed() > STALLED_AFTER {
                self.child.kill()?;
                let words = last_words(&self.end()?.words);
                bail!(
                    "{what} has done nothing for {} s:\n{words}",
                    STALLED_AFTER.as_secs()
                );
            }
            thread::sleep(LOOK_EVERY);
            ticker.tick(|| {
                let cases = lock(&self.said).progress.last().map_or(0, |last| last.cases);
                let (rss, files) = (super::mib(self.last.rss_bytes), self.last.open_files);
                format!("{what}: {cases} cases, {rss}, {files} open files")
            });
        }
        self.end()
    }

    /// Takes a sample if it is time again, and says whether the process has ended.
    fn look(&mut self) -> Result<bool> {
        let usage = Usage::of(self.child.id()).context("cannot read /proc: benches run on Linux only")?;
        if usage.ended {
            self.last.cpu = usage.cpu;
            return Ok(true);
        }
        let peak_rss_bytes = usage.peak_rss_bytes.max(self.last.peak_rss_bytes);
        self.last = Usage {
            peak_rss_bytes,
            ..usage
        };
        let at = self.start.elapsed();
        if at >= self.sample_at {
            self.sample_at = at + SAMPLE_EVERY;
            self.samples.push(Sample {
                at_s: seconds(at),
                rss_bytes: usage.rss_bytes,
                open_files: usage.open_files,
                cpu_s: seconds(usage.cpu),
            });
        }
        Ok(false)
    }

    fn end(mut self) -> Result<Ended> {
        let status = self.child.wait()?;
        let elapsed = self.start.elapsed();
        // its end of the pipe is closed
        let _ = self.listener.join();
        let mut said = lock(&self.said);
        Ok(Ended {
            status,
            killed: false,
            elapsed,
            cpu: self.last.cpu,
            peak_rss_bytes: self.last.peak_rss_bytes,
            samples: self.samples,
            progress: std::mem::take(&mut said.progress),
            done: said.done,
            words: Vec::from(std::mem::take(&mut said.others)).join("\n"),
        })
    }
}

/// A thread that panicked with the lock leaves whole lines.
fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the cases that a progress line (`120 of 400 cases, …`) tells of.
fn cases_of(line: &str) -> Option<usize> {
    let (done, rest) = line.split_once(" of ")?;
    let (all, _) = rest.split_once(" cases, ")?;
    all.parse::<usize>().ok()?;
    // before it stand the time and the level of the log line
    done.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_lines_are_told_from_others() {
        let line = "2026-11-26T08:19:00.1Z  INFO 120 of 400 cases, 3 failed, 1.5/s; memory 1 of 8192 MiB";
        assert_eq!(cases_of(line), Some(120));
        for other in ["WARN 1 of many cases, or so", "120 of 400 objects", ""] {
            assert_eq!(cases_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_process_whose_name_looks_like_fields_is_read_all_the_same() {
        let stat = "12 (a) Z 1 (b) S 1 12 12 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0";
        assert_eq!(state_and_cpu(stat), Some(('S', Duration::from_secs(3))));
        assert_eq!(state_and_cpu("12 (a) S 1 2"), None);
    }

    #[test]
    fn we_use_memory_and_files_ourselves() {
        let usage = Usage::of(std::process::id()).expect("we are there");
        assert!(
            usage.rss_bytes > 0 && usage.peak_rss_bytes >= usage.rss_bytes,
            "{usage:?}"
        );
        assert!(usage.open_files > 0 && !usage.ended, "{usage:?}");
    }

    #[test]
    fn an_end_and_a_kill_are_told_apart() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo '3 of 4 cases, 0 failed, 1 s' >&2; echo other >&2; exit 1",
        ]);
        let ended = Process::start(&mut command)
            .and_then(|process| process.wait("sh"))
            .expect("watched");
        assert_eq!((ended.status.code(), ended.killed), (Some(1), false));
        assert_eq!(ended.words, "other");
        assert_eq!(ended.progress.last().expect("a line").cases, 3);

        let mut command = Command::new("sleep");
        let ended = Process::start(command.arg("60"))
            .and_then(|process| process.kill_after(Duration::ZERO, "sleep"))
            .expect("watched");
        assert!(ended.killed, "{}", ended.status);

        let mut command = Command::new("sh");
        let ended = Process::start(command.args(["-c", "kill -9 $$"]))
            .and_then(|process| process.kill_after(Duration::MAX, "sh"))
            .expect("watched");
        assert!(!ended.killed, "that was not us");
    }
}
