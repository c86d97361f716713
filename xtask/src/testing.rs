//! `cargo xtask test`: everything set up, then all tests; the runner has the last word.

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Result;

use crate::cache::Cache;
use crate::checkout::{Checkout, run};
use crate::libtorch::{self, Kind};
use crate::seaweed::{self, Server};
use crate::{browser, dicom3tools, nats, niivue, report, sample, test_python};

/// Sets up what tests need and runs them, with `arguments` handed to the runner.
///
/// # Errors
/// Set-up failed, or the runner cannot be started; a failing test is told by the status.
pub fn test(checkout: &Checkout, cache: &Cache, arguments: &[String]) -> Result<ExitStatus> {
    libtorch::set_up_unless_linked(&checkout.root, cache, Kind::Cpu)?;
    niivue::set_up_or_warn(&checkout.root, cache);
    let fixtures = Fixtures {
        sample: sample::set_up(cache)?,
        python: test_python::set_up(cache),
        dciodvfy: dicom3tools::set_up(cache),
        chromedriver: browser::find(),
        store: Store::start(cache),
        nats: nats::set_up(cache),
    };
    fixtures.warn();

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
    let verb: &[&str] = if nextest { &["nextest", "run"] } else { &["test"] };
    runner.args(verb);
    if !names_packages(arguments) {
        runner.arg("--workspace");
    }
    if arguments.is_empty() && !nextest {
        runner.args(["--lib", "--bins", "--tests"]);
    }
    runner.args(arguments);
    run(fixtures.lend(&mut runner))
}

/// Says whether the arguments choose packages themselves: `--workspace` beside them would overrule the choice.
fn names_packages(arguments: &[String]) -> bool {
    let ours = arguments.iter().take_while(|argument| *argument != "--");
    let mut chooses = ours.map(|argument| argument.starts_with("-p") || argument.starts_with("--package"));
    chooses.any(|chooses| chooses)
}

/// What tests find through the environment.
struct Fixtures {
    sample: PathBuf,
    python: Result<PathBuf>,
    dciodvfy: Result<PathBuf>,
    chromedriver: Result<PathBuf>,
    store: Result<Store>,
    nats: Result<PathBuf>,
}

/// The S3 server of the tests; it ends with the tests.
struct Store {
    program: PathBuf,
    server: Server,
}

impl Store {
    fn start(cache: &Cache) -> Result<Self> {
        let program = seaweed::set_up(cache)?;
        let server = Server::start(&program)?;
        report::stage(&format!("the tests' S3 server is at {}", server.endpoint()));
        Ok(Self { program, server })
    }
}

impl Fixtures {
    /// Says what could not be set up: no reason not to run the other tests.
    fn warn(&self) {
        let errors = [
            ("Python", self.python.as_ref().err()),
            ("the DICOM validator", self.dciodvfy.as_ref().err()),
            ("a browser", self.chromedriver.as_ref().err()),
            ("an S3 server", self.store.as_ref().err()),
            ("a queue", self.nats.as_ref().err()),
        ];
        for (what, error) in errors {
            let Some(error) = error else { continue };
            report::stage(&format!(
                "warning: tests that need {what} will say that they are skipped: {error:#}"
            ));
        }
    }

    fn lend<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("SPINESTREAM_SAMPLE", &self.sample);
        if let Ok(python) = &self.python {
            command.env("SPINESTREAM_PYTHON", python);
        }
        if let Ok(dciodvfy) = &self.dciodvfy {
            command.env("SPINESTREAM_DCIODVFY", dciodvfy);
        }
        if let Ok(chromedriver) = &self.chromedriver {
            command.env("SPINESTREAM_CHROMEDRIVER", chromedriver);
        }
        // no AWS_… here: a test that wants the server says so itself
        if let Ok(store) = &self.store {
            command.env("SPINESTREAM_S3_ENDPOINT", store.server.endpoint());
            command.env("SPINESTREAM_WEED", &store.program);
        }
        // a program, no server: a test starts one of its own, and may kill it
        if let Ok(nats) = &self.nats {
            command.env("SPINESTREAM_NATS", nats);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_packages_are_tested_unless_the_arguments_name_some() {
        let named =
            |line: &str| names_packages(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert!(named("-p schemas") && named("-pschemas") && named("gzip --package=stages"));
        assert!(!named("") && !named("truncated_gzip") && !named("gzip -- -p"));
    }
}
