//! Bars of progress: on a terminal only, all of one look.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Returns a bar, and after it what `template` says in indicatif's words; hidden where stderr is no terminal.
pub fn bar(length: u64, template: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    if let Ok(style) = ProgressStyle::with_template(&format!("{{bar:30}} {template}")) {
        bar.set_style(style);
    }
    bar
}
