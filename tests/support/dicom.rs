//! DICOM as others write and read it: `tests/dicom/study.py` (pydicom, highdicom, dcmqi) and dciodvfy.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use schemas::Affine;
use serde_json::Value;
use spinestream::verbs::phantom::pair;

/// Interpreter with the tools of others; `None` says that tests on them are skipped.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("SPINESTREAM_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!("skipped: SPINESTREAM_PYTHON is not set");
    }
    python
}

/// A DICOM study of a phantom, and the label maps that it was made of.
pub struct Study {
    /// The export's folder; the paths of `told` are below it.
    pub folder: PathBuf,
    /// Label map of the MR, thick slices.
    pub mask: PathBuf,
    /// Label map of the CT.
    pub reference: PathBuf,
    /// What study.py says that it wrote.
    pub told: Value,
}

/// Writes a study of phantom 1 below `folder`; the options are those of `study.py write`, and `--ct` alone brings the
/// paired CT. `None` without Python.
pub fn study(folder: &Path, options: &[&str]) -> Option<Study> {
    let pair = pair(1).expect("phantom");
    let put = |name: &str, bytes: Bytes| {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("write");
        path
    };
    let mask = put("mask.nii.gz", pair.mask);
    let reference = put("reference.nii.gz", pair.reference);
    let export = folder.join("export");
    let mut arguments: Vec<&OsStr> = vec!["write".as_ref(), export.as_ref(), mask.as_ref()];
    if options.contains(&"--ct") {
        arguments.push(reference.as_ref());
    }
    arguments.extend(options.iter().map(OsStr::new));
    let told = script(&arguments)?;
    Some(Study {
        folder: export,
        mask,
        reference,
        told,
    })
}

impl Study {
    /// Returns what was told of a series: `mr`, `mr_seg`, `ct`, `ct_seg` or a trap's name.
    pub fn series(&self, role: &str) -> &Value {
        let series = self.told["series"].as_array().expect("series");
        let found = series.iter().find(|entry| entry["role"] == role);
        found.unwrap_or_else(|| panic!("no series {role}"))
    }

    /// Returns the paths of its objects in positional order.
    pub fn files(&self, role: &str) -> Vec<PathBuf> {
        let files = self.series(role)["files"].as_array().expect("files");
        let names = files.iter().filter_map(Value::as_str);
        names.map(|name| self.folder.join(name)).collect()
    }
}

/// Returns what pydicom and highdicom read of a SEG, compared with a label map if one is given.
pub fn read_seg(path: &Path, against: Option<&Path>) -> Option<Value> {
    let mut arguments: Vec<&OsStr> = vec!["read".as_ref(), path.as_ref()];
    if let Some(map) = against {
        arguments.extend(["--against".as_ref(), map.as_os_str()]);
    }
    script(&arguments)
}

/// Returns what dcmqi reads of a SEG; its files go to `folder`.
pub fn dcmqi(path: &Path, folder: &Path) -> Option<Value> {
    script(&["dcmqi".as_ref(), path.as_os_str(), folder.as_os_str()])
}

/// Writes `count` small MR objects.
pub fn many(folder: &Path, count: usize) -> Option<Value> {
    let count = count.to_string();
    script(&["many".as_ref(), folder.as_os_str(), count.as_ref()])
}

/// Runs study.py and returns what it tells; `None` without Python.
fn script(arguments: &[&OsStr]) -> Option<Value> {
    let study = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dicom/study.py");
    let ran = Command::new(python()?)
        .arg(study)
        .args(arguments)
        .output()
        .expect("python runs");
    assert!(
        ran.status.success(),
        "study.py {arguments:?}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    Some(serde_json::from_slice(&ran.stdout).expect("json"))
}

/// Returns the lines of dciodvfy on an object that are errors; `None` says that tests on it are skipped.
pub fn dciodvfy(path: &Path) -> Option<Vec<String>> {
    let Some(program) = std::env::var_os("SPINESTREAM_DCIODVFY") else {
        eprintln!("skipped: SPINESTREAM_DCIODVFY is not set");
        return None;
    };
    let ran = Command::new(program).arg(path).output().expect("dciodvfy runs");
    let words = [ran.stdout, ran.stderr].concat();
    let words = String::from_utf8_lossy(&words);
    let errors = words.lines().filter(|line| line.starts_with("Error"));
    Some(errors.map(str::to_owned).collect())
}

/// Returns the affine that a value of the scripts holds.
pub fn affine(value: &Value) -> Affine {
    Affine(serde_json::from_value(value.clone()).expect("four rows of four"))
}
