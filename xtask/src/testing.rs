//! `cargo xtask test`: everything set up, then all tests; the runner has the last word.

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Result;

use crate::cache::Cache;
use crate::checkout::{Checkout, run};
use crate::libtorch::{self, Kind};
use crate::{report, sample, test_python};

/// Sets up what tests need and runs them, with `arguments` handed to the runner.
///
/// # Errors
/// Set-up failed, or the runner cannot be started; a failing test is told by the status.
pub fn test(checkout: &Checkout, cache: &Cache, arguments: &[String]) -> Result<ExitStatus> {
    libtorch::set_up_unless_linked(&checkout.root, cache, Kind::Cpu)?;
    let fixtures = Fixtures {
        sample: sample::set_up(cache)?,
        python: test_python::set_up(cache),
    };
    if let Err(error) = &fixtures.python {
        report::stage(&format!(
            "warning: tests that need Python will say that they are skipped: {error:#}"
        ));
    }

    let nextest = checkout
        .cargo()
        .args(["nextest", "--version"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let nextest = nextest.is_ok_and(|status| status.success());
    // The examples in the documentation come first (nextest does not know them, and plain `cargo test` would
    // put them last), so that the closing summary is that of the tests proper.
    if arguments.is_empty() {
        let status = run(fixtures.lend(checkout.cargo().args(["test", "--quiet", "--workspace", "--doc"])))?;
        if !status.success() {
            return Ok(status);
        }
    }
    let mut runner = checkout.cargo();
    if nextest {
        runner.args(["nextest", "run", "--workspace"]).args(arguments);
    } else if arguments.is_empty() {
        runner.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
    } else {
        runner.args(["test", "--workspace"]).args(arguments);
    }
    run(fixtures.lend(&mut runner))
}

/// What tests find through the environment.
struct Fixtures {
    sample: PathBuf,
    python: Result<PathBuf>,
}

impl Fixtures {
    fn lend<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("SPINESTREAM_SAMPLE", &self.sample);
        if let Ok(python) = &self.python {
            command.env("SPINESTREAM_PYTHON", python);
        }
        command
    }
}
