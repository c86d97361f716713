//! What whoever waits gets to see: one line a stage, with the seconds since the start.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Starts the clock; without it the clock starts with the first line.
pub fn start() {
    LazyLock::force(&START);
}

/// Prints one line to stderr, with the seconds since the start.
pub fn stage(text: &str) {
    eprintln!("[{:6.1} s] {text}", START.elapsed().as_secs_f64());
}

/// One line that grows old: rewritten in place on a terminal, printed anew every few seconds elsewhere.
pub struct Ticker {
    last: Instant,
    terminal: bool,
    drawn: bool,
}

impl Ticker {
    /// Returns a ticker that has just ticked.
    pub fn new() -> Self {
        Self {
            last: Instant::now(),
            terminal: stderr().is_terminal(),
            drawn: false,
        }
    }

    /// Prints `line()` if it is time again.
    pub fn tick(&mut self, line: impl FnOnce() -> String) {
        let every = if self.terminal {
            Duration::from_millis(500)
        } else {
            Duration::from_secs(5)
        };
        if self.last.elapsed() < every {
            return;
        }
        self.last = Instant::now();
        if self.terminal {
            // back to the line's start, and clear to its end
            eprint!("\r\x1b[K[{:6.1} s] {}", START.elapsed().as_secs_f64(), line());
            // a progress line that cannot be shown is no reason to stop
            let _ = stderr().flush();
            self.drawn = true;
        } else {
            stage(&line());
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if self.drawn {
            eprint!("\r\x1b[K");
        }
    }
}
