//! Cohorts on the disk, run by the binary itself: processes that can be killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Cohort, Row};

/// A folder with a cohort of phantoms and the arguments that run it.
pub struct OnDisk {
    folder: tempfile::TempDir,
}

impl OnDisk {
    /// Makes a cohort of so many cases, all of one phantom.
    pub fn new(cases: usize) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let cohort = folder.path().join("cohort");
        let made = Command::new(env!("CARGO_BIN_EXE_spinestream"))
            .args(["phantom", "1"])
            .arg(&cohort)
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("runs").success());
        let row = |number| format!("c{number},phantom-0001_dseg.nii.gz,verse\n");
        let rows: String = (1..=cases).map(row).collect();
        std::fs::write(
            cohort.join("manifest.csv"),
            format!("case_id,mask,labels\n{rows}"),
        )
        .expect("write");
        Self { folder }
    }

    /// Returns the folder of an output.
    pub fn output(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a run of the binary, with that output.
    pub fn start(&self, output: &str) -> Child {
        self.start_with(output, &["model.chain=[\"interpolate\"]"])
    }

    /// The same, with settings of the caller's own.
    pub fn start_with(&self, output: &str, settings: &[&str]) -> Child {
        let mut command = self.command("run", output, settings);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("starts")
    }

    /// Returns the command of a verb on the run with that output.
    pub fn command(&self, verb: &str, output: &str, settings: &[&str]) -> Command {
        let manifest = self.folder.path().join("cohort/manifest.csv");
        let mut command = Command::new(env!("CARGO_BIN_EXE_spinestream"));
        command.args([verb, "--set", "run.id=test"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.args([
            "--set",
            "write.rows_per_part=4",
            "--set",
            "write.volumes=[\"patch\"]",
        ]);
        command.args(["--set", "crop.levels=[\"L3\"]"]);
        for (key, path) in [("run.manifest", manifest), ("run.output", self.output(output))] {
            command.arg("--set").arg(format!("{key}={}", path.display()));
        }
        command
    }

    /// Reads both tables back: cases, vertebrae.
    pub async fn rows(&self, output: &str) -> [Vec<Row>; 2] {
        let cohort = Cohort::new();
        let below = self.output(output).join("tables");
        let mut tables = [Vec::new(), Vec::new()];
        let names = ["cases", "vertebrae"];
        for (table, name) in tables.iter_mut().zip(names) {
            *table = cohort.rows_on_disk(&below.join(name).join("run=test")).await;
        }
        tables
    }
}

/// Waits for a file, a minute at most.
pub fn wait_for(path: &Path) {
    let until = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(
            Instant::now() < until,
            "expected {} within a minute",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns how many entries a folder has.
pub fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}
