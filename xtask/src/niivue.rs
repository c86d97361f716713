//! NiiVue: draws volumes and surfaces in the viewer's page. One script out of its npm package, verified and laid into the
//! cache, and linked into `.niivue`, from where `build.rs` takes it into the program.
//!
//! npm knows the way to its registry (proxies, mirrors, certificates), as pip does. Without npm everything else can be
//! built: the viewer then shows tables only, and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha512};

use crate::cache::{Cache, Workbench};
use crate::checkout::link;
use crate::programs::run_quietly;
use crate::report;
use crate::wheels::sha256_of;

/// The pinned package.
const PIN: &str = include_str!("../niivue.txt");

/// Its licence and those of what it holds: the package brings none along.
const LICENSE_TEXT: &str = include_str!("../niivue-LICENSE.txt");

/// The script within the package.
const MEMBER: &str = "package/dist/niivue.umd.js";

/// Names in the cache and in [`FOLDER`].
const SCRIPT: &str = "niivue.umd.js";
const LICENSE: &str = "LICENSE";

/// Folder of the checkout that `build.rs` looks into; it is in git, what is linked there is not.
const FOLDER: &str = ".niivue";

/// What `niivue.txt` says.
#[derive(Debug, PartialEq, Eq)]
struct Pin<'a> {
    package: &'a str,
    version: &'a str,
    /// Of the package's file, as npm writes it: `sha512-` and base64.
    integrity: &'a str,
    /// Of the script, in hex.
    sha256: &'a str,
}

impl<'a> Pin<'a> {
    fn read(text: &'a str) -> Result<Self> {
        let value = |name: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
            let (_, value) = pairs
                .find(|(found, _)| *found == name)
                .with_context(|| format!("expected a line `{name} …` in niivue.txt"))?;
            Ok::<_, anyhow::Error>(value.trim())
        };
        let pin = Self {
            package: value("package")?,
            version: value("version")?,
            integrity: value("integrity")?,
            sha256: value("sha256")?,
        };
        ensure!(
            pin.integrity.starts_with("sha512-") && pin.sha256.len() == 64,
            "expected an integrity of SHA-512 and a hash of SHA-256 in niivue.txt"
        );
        Ok(pin)
    }
}

/// Lays the script out in the cache and links it into the checkout, or says why the viewer goes without.
pub fn set_up_or_warn(checkout: &Path, cache: &Cache) {
    if let Err(error) = set_up(checkout, cache) {
        report::stage(&format!(
            "warning: the viewer will be built without 3D, with tables only: {error:#}"
        ));
    }
}

/// Lays the script out in the cache and links it into the checkout.
///
/// # Errors
/// No npm, no network, or another file than the pinned one.
fn set_up(checkout: &Path, cache: &Cache) -> Result<()> {
    let pin = Pin::read(PIN)?;
    let item = format!("niivue-{}", pin.version);
    let recipe = format!("{PIN}{MEMBER}\n{LICENSE_TEXT}");
    let place = cache.item(&item, &recipe, |bench| lay_out(&pin, bench))?;
    let folder = checkout.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in [SCRIPT, LICENSE] {
        link(&folder.join(name), &place.join(name))?;
    }
    report::stage(&format!("NiiVue {} is at {}", pin.version, place.display()));
    Ok(())
}

fn lay_out(pin: &Pin, bench: &Workbench) -> Result<()> {
    let package = fetch(pin, bench)?;
    // --touch: the package's files are of 1985, and cargo looks for files that are new
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--gzip", "--touch", "--file"])
        .arg(&package);
    tar.arg("--directory").arg(&bench.scratch).arg(MEMBER);
    run_quietly(&mut tar).with_context(|| format!("cannot unpack {}", pin.package))?;
    let script = bench.scratch.join(MEMBER);
    let found = sha256_of(&script)?;
    ensure!(
        found == pin.sha256,
        "expected {MEMBER} with SHA-256 {}, found {found}",
        pin.sha256
    );
    fs::rename(&script, bench.item.join(SCRIPT))?;
    Ok(fs::write(bench.item.join(LICENSE), LICENSE_TEXT)?)
}

/// Returns the verified package, from an earlier run's downloads if it is there.
fn fetch(pin: &Pin, bench: &Workbench) -> Result<PathBuf> {
    if let Some(package) = find(pin, &bench.downloads)? {
        return Ok(package);
    }
    let answers = Command::new("npm").arg("--version").stdin(Stdio::null()).output();
    ensure!(
        answers.is_ok_and(|output| output.status.success()),
        "npm not found, which fetches NiiVue: install it (Debian, Ubuntu: apt-get install npm)"
    );
    let what = format!("{}@{}", pin.package, pin.version);
    report::stage(&format!("fetching {what} (7 MB) …"));
    let mut npm = Command::new("npm");
    // not in the checkout, where npm would look for a project
    npm.current_dir(&bench.scratch).args(["pack", &what]);
    npm.args([
        "--loglevel=error",
        "--ignore-scripts",
        "--no-update-notifier",
        "--pack-destination",
    ]);
    run_quietly(npm.arg(&bench.downloads)).with_context(|| format!("cannot fetch {what}"))?;
    find(pin, &bench.downloads)?
        .with_context(|| format!("npm brought no package {what} with the pinned integrity"))
}

/// Returns the package with the pinned integrity in the folder, and removes files that are not it.
fn find(pin: &Pin, folder: &Path) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "tgz") {
            continue;
        }
        if integrity_of(&fs::read(&path)?) == pin.integrity {
            return Ok(Some(path));
        }
        fs::remove_file(&path)?;
    }
    Ok(None)
}

/// Returns the hash of a file's bytes as npm writes it.
fn integrity_of(bytes: &[u8]) -> String {
    format!("sha512-{}", STANDARD.encode(Sha512::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_whole_and_one_without_its_hash_is_refused() {
        let pin = Pin::read(PIN).expect("a pin");
        assert_eq!(pin.package, "@niivue/niivue");
        let without: String = PIN
            .lines()
            .filter(|line| !line.starts_with("integrity"))
            .map(|line| format!("{line}\n"))
            .collect();
        let error = Pin::read(&without).expect_err("refused");
        assert!(error.to_string().contains("`integrity …`"), "{error}");
    }

    #[test]
    fn integrity_is_written_as_npm_writes_it() {
        // of nothing, by `openssl dgst -sha512 -binary </dev/null | base64 -w0`
        let nothing =
            "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==";
        assert_eq!(integrity_of(b""), nothing);
    }

    #[test]
    fn a_package_from_an_earlier_run_is_taken_only_if_it_is_the_pinned_one() {
        let folder = tempfile::tempdir().expect("folder");
        let integrity = integrity_of(b"whole");
        let pin = Pin {
            package: "a",
            version: "1",
            integrity: &integrity,
            sha256: "",
        };
        let path = folder.path().join("a-1.tgz");
        fs::write(&path, "cut short").expect("file");
        assert_eq!(find(&pin, folder.path()).expect("readable"), None);
        assert!(!path.exists(), "the damaged one is out of the way");
        fs::write(&path, "whole").expect("file");
        assert_eq!(find(&pin, folder.path()).expect("readable"), Some(path));
    }
}
