//! Bars of progress: on a terminal only, all of one look, and log lines that stay clear of them.

use std::io::{self, IsTerminal as _, Write};
use std::sync::OnceLock;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Every bar of this process: what is logged while they stand is written above them.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

fn bars() -> &'static MultiProgress {
    BARS.get_or_init(|| {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        MultiProgress::with_draw_target(target)
    })
}

/// Returns a bar, and after it what `template` says in indicatif's words; hidden where stderr is no terminal.
pub fn bar(length: u64, template: &str) -> ProgressBar {
    styled(length, &format!("{{bar:30}} {template}"))
}

/// Returns a line that looks as `template` says; hidden where stderr is no terminal.
pub fn styled(length: u64, template: &str) -> ProgressBar {
    let bar = bars().add(ProgressBar::new(length));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Where the log goes: stderr, above the bars if there are any.
#[derive(Debug, Clone, Copy)]
pub struct AboveTheBars;

impl Write for AboveTheBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
