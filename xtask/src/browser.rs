//! Chromium and its driver, which the distribution brings: tests and a bench look at our pages in it.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// The driver's program.
const DRIVER: &str = "chromedriver";

/// How Chromium is called where the driver looks for it.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Returns the path of the driver: `$SPINESTREAM_CHROMEDRIVER`, else the one in `$PATH`.
///
/// # Errors
/// There is no driver, or no browser: what to install.
pub fn find() -> Result<PathBuf> {
    let given = env::var_os("SPINESTREAM_CHROMEDRIVER").filter(|path| !path.is_empty());
    let path = env::var_os("PATH").unwrap_or_default();
    let driver = match given {
        Some(given) => Some(PathBuf::from(given)),
        None => BROWSERS
            .iter()
            .find_map(|browser| in_path(&path, browser))
            .and_then(|_| in_path(&path, DRIVER)),
    };
    driver
        .filter(|driver| answers(driver.as_os_str()))
        .context("no Chromium with chromedriver (Debian: apt-get install chromium chromium-driver)")
}

/// Returns the first file of that name in the folders of `path`.
fn in_path(path: &OsStr, name: &str) -> Option<PathBuf> {
    let mut files = env::split_paths(path).map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}

fn answers(program: &OsStr) -> bool {
    let said = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    said.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_found_in_the_first_folder_that_has_it() {
        let parent = tempfile::tempdir().expect("folder");
        let folders = ["none", "one", "two"].map(|name| parent.path().join(name));
        for folder in &folders[1..] {
            fs::create_dir(folder).expect("folder");
            fs::write(folder.join(DRIVER), "").expect("file");
        }
        let path = env::join_paths(&folders).expect("a path");
        assert_eq!(in_path(&path, DRIVER), Some(folders[1].join(DRIVER)));
        assert_eq!(in_path(&path, "chromium"), None);
    }
}
