//! The Python that tests read our tables and files with (DuckDB, Polars, pydicom and so on), in an environment of its
//! own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cache::{Cache, Workbench};
use crate::programs::{Python, run_quietly};
use crate::report;

/// What is in it, pinned by version.
const REQUIREMENTS: &str = include_str!("../test-python.txt");

/// Name in the cache.
const ITEM: &str = "python";

/// Prints which interpreter this really is: an environment dies with the one that it was made of.
const WHICH: &str = "import os, sys; print(os.path.realpath(sys.executable), sys.version)";

/// Prints the folder of its packages.
const PACKAGES: &str = "import sysconfig; print(sysconfig.get_path('platlib'))";

/// Returns the interpreter of the environment, made if it is not there yet.
///
/// # Errors
/// No Python, no pip, no network: those tests cannot run then, all others can.
pub fn set_up(cache: &Cache) -> Result<PathBuf> {
    let which = Python::find()?.command().args(["-c", WHICH]).output()?;
    ensure!(which.status.success(), "python3 cannot say where it is");
    let recipe = format!("{REQUIREMENTS}{}", String::from_utf8_lossy(&which.stdout));
    let place = cache.item(ITEM, &recipe, lay_out)?;
    report::stage(&format!("the tests' Python is at {}", place.display()));
    Ok(place.join("bin").join("python"))
}

/// Makes the environment without a pip of its own, which Debian's Python cannot put in without another
/// package: the outer pip puts the packages there. Only `bin/python` is used, which finds its home wherever
/// it is moved.
fn lay_out(bench: &Workbench) -> Result<()> {
    let python = Python::with_pip()?;
    report::stage("making the tests' Python: DuckDB, Polars, nibabel, pydicom, dcmqi and others (220 MB) …");
    let mut environment = python.command();
    run_quietly(environment.args(["-m", "venv", "--without-pip"]).arg(&bench.item))?;
    let interpreter = bench.item.join("bin").join("python");
    let packages = Command::new(&interpreter).args(["-c", PACKAGES]).output()?;
    ensure!(
        packages.status.success(),
        "the tests' Python cannot say where its packages go"
    );

    let requirements = bench.scratch.join("test-python.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    let mut pip = python.pip("install");
    pip.arg("--no-compile").arg("--requirement").arg(&requirements);
    pip.arg("--target")
        .arg(String::from_utf8(packages.stdout)?.trim());
    pip.env("TMPDIR", &bench.scratch);
    run_quietly(&mut pip).context("cannot fetch the tests' Python packages")?;

    // what is imported here is compiled here, once: pydicom and highdicom would else take two seconds at each start
    let mut imports = Command::new(&interpreter);
    imports.env_remove("PYTHONDONTWRITEBYTECODE");
    run_quietly(imports.args([
        "-c",
        "import compose_spec, dcmqi, duckdb, highdicom, nibabel, polars, pyarrow, pydicom, trimesh, yaml",
    ]))
    .context("the tests' Python packages do not load")
}
