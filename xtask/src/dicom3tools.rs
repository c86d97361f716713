//! `dciodvfy` of Debian's dicom3tools: holds DICOM objects against the standard, in tests on what we write.
//!
//! No package index of a language has it, so apt fetches it and dpkg-deb unpacks it into the cache: nothing is
//! installed, and neither needs to be root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cache::{Cache, Workbench};
use crate::programs::run_quietly;
use crate::report;
use crate::wheels::sha256_of;

/// The package and its version: that of Debian 12.
const PACKAGE: &str = "dicom3tools=1.00~20220618093127-2";
/// The file that apt makes of it.
const FILE: &str = "dicom3tools_1.00~20220618093127-2_amd64.deb";
/// Its hash.
const SHA256: &str = "8a6eb42a0ecbfc39905c0f7aac89114a4249cc8e67df526d1737640bf2dd71bf";

/// Name in the cache.
const ITEM: &str = "dicom3tools-20220618093127";

/// Name of the program.
const PROGRAM: &str = "dciodvfy";

/// Which members of the package are kept, and under which names. The other programs take 60 MB.
const MEMBERS: [(&str, &str); 2] = [
    ("usr/bin/dciodvfy", PROGRAM),
    ("usr/share/doc/dicom3tools/copyright", "copyright"),
];

/// Lays the program out in the cache and returns its path.
///
/// # Errors
/// No apt, no network, another release of Debian, or what went wrong: tests that need it cannot run then, all others can.
pub fn set_up(cache: &Cache) -> Result<PathBuf> {
    let recipe = format!("{PACKAGE} {SHA256}\n{MEMBERS:?}\n");
    let program = cache.item(ITEM, &recipe, lay_out)?.join(PROGRAM);
    report::stage(&format!("dciodvfy is at {}", program.display()));
    Ok(program)
}

fn lay_out(bench: &Workbench) -> Result<()> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "the pinned package is for x86-64 Debian"
    );
    let package = fetch(bench)?;
    let unpacked = bench.scratch.join("unpacked");
    run_quietly(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked))
        .with_context(|| format!("cannot unpack {FILE}"))?;
    for (member, name) in MEMBERS {
        fs::rename(unpacked.join(member), bench.item.join(name))
            .with_context(|| format!("{FILE} has no {member}"))?;
    }
    // it leans on the system's C++ library alone, which may be older here
    run_quietly(Command::new(bench.item.join(PROGRAM)).arg("-version"))
        .context("the fetched dciodvfy does not run here")
}

/// Returns the verified package, from an earlier run's downloads if it is there.
fn fetch(bench: &Workbench) -> Result<PathBuf> {
    let package = bench.downloads.join(FILE);
    if is_pinned(&package)? {
        report::stage(&format!("{PACKAGE} is here from an earlier run"));
        return Ok(package);
    }
    report::stage(&format!("fetching {PACKAGE} (8 MB) …"));
    // a machine that was never updated has no lists, and only root may write them: lists of our own do as well
    if run_quietly(&mut apt("download", bench)).is_err() {
        let lists = own_lists(bench)?;
        run_quietly(apt("update", bench).args(&lists)).context("apt-get cannot fetch its lists")?;
        run_quietly(apt("download", bench).args(&lists))
            .with_context(|| format!("apt-get cannot fetch {PACKAGE}, which is Debian 12's"))?;
    }
    ensure!(
        is_pinned(&package)?,
        "apt-get brought no {FILE} with the pinned hash"
    );
    Ok(package)
}

/// Returns a command that runs a verb of apt-get on the package; what it fetches lies among the downloads.
fn apt(verb: &str, bench: &Workbench) -> Command {
    let mut apt = Command::new("apt-get");
    apt.current_dir(&bench.downloads).env("LC_ALL", "C");
    // as root it would fetch as a user who may not write here
    apt.args(["-qq", "-o", "APT::Sandbox::User=root", verb]);
    if verb == "download" {
        apt.arg(PACKAGE);
    }
    apt
}

/// Returns the options by which apt keeps its lists in our folder.
fn own_lists(bench: &Workbench) -> Result<[String; 4]> {
    let [state, cache] = ["apt-state", "apt-cache"].map(|name| bench.scratch.join(name));
    fs::create_dir_all(state.join("lists").join("partial"))?;
    fs::create_dir_all(cache.join("archives").join("partial"))?;
    let option = |name: &str, folder: &Path| format!("{name}={}", folder.display());
    Ok([
        "-o".to_owned(),
        option("Dir::State", &state),
        "-o".to_owned(),
        option("Dir::Cache", &cache),
    ])
}

/// Says whether the package is there whole; one with another hash is removed.
fn is_pinned(package: &Path) -> Result<bool> {
    if !package.exists() {
        return Ok(false);
    }
    let whole = sha256_of(package)? == SHA256;
    if !whole {
        fs::remove_file(package)?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_another_hash_is_not_taken() {
        let folder = tempfile::tempdir().expect("folder");
        let package = folder.path().join(FILE);
        fs::write(&package, "cut short").expect("file");
        assert!(!is_pinned(&package).expect("readable"));
        assert!(!package.exists(), "it is out of the way");
    }

    #[test]
    fn the_file_is_that_of_the_package() {
        assert_eq!(FILE.replacen('_', "=", 1), format!("{PACKAGE}_amd64.deb"));
    }
}
