//! Segmentations that a run leaves beside a DICOM image, as pydicom, highdicom, dcmqi and dciodvfy see them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use schemas::Affine;
use serde_json::{Value, json};

use crate::support::dicom::{Study, affine, dciodvfy, dcmqi, read_seg, study};
use crate::support::rows_of;

/// A key that a test of ours may tell.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Two readers agree to what NIfTI's single precision holds.
const CLOSE_MM: f64 = 1e-4;

/// A run on the MR of a study, with the mask that it was made of.
struct Ran<'a> {
    study: &'a Study,
    out: PathBuf,
}

impl<'a> Ran<'a> {
    /// Runs with those settings into `out`, and finds that nobody is named in what it says.
    fn new(study: &'a Study, out: PathBuf, settings: &[&str]) -> Self {
        let ran = run(study, &out, Some(KEY), settings);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(0), "{said}");
        let ran = Self { study, out };
        let known = identifying(study).into_iter().chain(ran.uids());
        for text in known {
            assert!(!said.contains(&text), "{text}: {said}");
            assert!(!is_in_tables(&ran.out, &text), "{text}");
        }
        ran
    }

    fn file(&self, name: &str) -> PathBuf {
        self.out.join("volumes/run=test/case-1").join(name)
    }

    fn seg(&self) -> PathBuf {
        self.file("case-1_desc-recon_seg.dcm")
    }

    /// What pydicom and highdicom read, compared with what the run put onto the mask's own grid.
    fn read(&self) -> Value {
        let scan = self.file("case-1_space-scan_desc-recon_dseg.nii.gz");
        read_seg(&self.seg(), Some(&scan)).expect("Python is there")
    }

    /// The UIDs of the source: study, series, space, objects.
    fn uids(&self) -> BTreeSet<String> {
        let told = self.study.series("mr");
        let own = ["study", "series", "frame_of_reference"].map(|name| &told[name]);
        let instances = told["instances"].as_array().expect("instances");
        own.into_iter().chain(instances).map(text).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// What stands in the study's headers and names Jane Doe.
fn identifying(study: &Study) -> Vec<String> {
    let told = study.told["identifying"].as_array().expect("texts");
    told.iter().map(text).collect()
}

fn run(study: &Study, out: &Path, key: Option<&str>, settings: &[&str]) -> Output {
    let images = study.files("mr").into_iter();
    let urls = images.map(|path| url::Url::from_file_path(path).expect("absolute").to_string());
    // as a folder lists them, not in the order of positions
    let mut urls: Vec<String> = urls.collect();
    urls.sort();
    let row = format!(
        "case-1,{},verse,\"{}\",person-1",
        study.mask.display(),
        urls.join(" ")
    );
    let manifest = study.folder.with_extension("csv");
    fs::write(&manifest, format!("case_id,mask,labels,image,person\n{row}\n")).expect("write");
    let mut command = Command::new(env!("CARGO_BIN_EXE_spinestream"));
    command
        .args([
            "run",
            "-vv",
            "--set",
            "model.chain=[\"identity\"]",
            "--set",
            "run.id=test",
        ])
        .args(["--set", "write.volumes=[\"scan\", \"seg\"]"])
        .args(["--set", &format!("run.manifest={}", manifest.display())])
        .args(["--set", &format!("run.output={}", out.display())])
        .env_remove("SPINESTREAM_SITE_KEY");
    for setting in settings {
        command.args(["--set", setting]);
    }
    if let Some(key) = key {
        command.env("SPINESTREAM_SITE_KEY", key);
    }
    command.output().expect("runs")
}

/// Whether a text stands in a cell of the tables, or in the record.
fn is_in_tables(out: &Path, text: &str) -> bool {
    let parts = ["tables/cases/run=test", "tables/vertebrae/run=test", "runs/test"];
    let files = parts
        .into_iter()
        .flat_map(|part| fs::read_dir(out.join(part)).expect("folder"));
    let mut files = files.map(|entry| entry.expect("entry").path());
    files.any(|path| {
        let bytes = fs::read(&path).expect("read");
        if path.extension().is_some_and(|extension| extension == "parquet") {
            let rows = rows_of(bytes.into());
            return rows
                .iter()
                .flat_map(|row| row.values())
                .any(|cell| cell.contains(text));
        }
        holds(&bytes, text)
    })
}

/// Asserts that slices of a grid are some of another's.
fn assert_within(found: &Affine, grid: &Affine) {
    let begin = grid.inverse().expect("a grid").apply(found.apply([0.0; 3]));
    for (axis, index) in begin.into_iter().enumerate() {
        assert!(
            (index - index.round()).abs() < CLOSE_MM && (axis == 2 || index.round() == 0.0),
            "{begin:?}"
        );
    }
    for (row, other) in found.0.iter().zip(&grid.0) {
        for (a, b) in row.iter().zip(other).take(3) {
            assert!((a - b).abs() < CLOSE_MM, "{found:?} {grid:?}");
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn both_types_are_the_reconstruction_on_the_image_of_the_mask() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(study) = study(folder.path(), &["--seg", "none"]) else {
        return;
    };
    for (form, name) in [("binary", "BINARY"), ("labelmap", "LABELMAP")] {
        let out = folder.path().join(form);
        let ran = Ran::new(&study, out, &[&format!("dicom.seg={form}")]);
        let read = ran.read();
        assert_eq!(
            (&read["type"], &read["agree"]),
            (&json!(name), &json!(true)),
            "two readers"
        );
        let labels = read["against"]["labels"].as_object().expect("labels");
        assert_eq!(labels.len(), 5, "every level by its code");
        for (label, differing) in labels {
            assert_eq!(*differing, json!({"lacking": 0, "only": 0}), "label {label}");
        }
        let grid = affine(&study.series("mr")["affine"]);
        for reader in ["pydicom", "highdicom"] {
            assert_within(&affine(&read[reader]["affine"]), &grid);
        }
        let segments = read["segments"].as_array().expect("segments");
        let own = segments.iter().filter(|segment| segment["number"] != 0);
        let levels: Vec<String> = own.clone().map(|segment| text(&segment["label"])).collect();
        assert_eq!(levels, ["L1", "L2", "L3", "L4", "L5"]);

        let by_dcmqi = dcmqi(&ran.seg(), &folder.path().join(format!("dcmqi-{form}"))).expect("Python");
        assert_eq!(by_dcmqi["rc"], json!(0), "{by_dcmqi}");
        let mut counted: Vec<Value> = Vec::new();
        for file in by_dcmqi["files"].as_array().expect("files") {
            counted.extend(file["voxels"].as_object().expect("voxels").values().cloned());
        }
        let expected: Vec<Value> = own.map(|segment| segment["voxels"].clone()).collect();
        assert_eq!(counted, expected, "dcmqi");
        if form == "binary"
            && let Some(errors) = dciodvfy(&ran.seg())
        {
            assert_eq!(errors, [""; 0]);
        }
    }
}

#[test]
fn an_object_names_nobody_unless_it_stays_in_the_hospital() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(study) = study(folder.path(), &["--seg", "none"]) else {
        return;
    };
    let hidden = Ran::new(&study, folder.path().join("hidden"), &[]);
    let bytes = fs::read(hidden.seg()).expect("read");
    let uids = hidden.uids();
    for text in identifying(&study).iter().chain(&uids) {
        assert!(!holds(&bytes, text), "{text}");
    }
    let read = hidden.read();
    let attributes = &read["attributes"];
    assert_eq!(attributes["PatientID"], "person-1");
    assert_eq!(attributes["PatientIdentityRemoved"], "YES");
    assert_eq!(attributes["StudyDate"], Value::Null);

    let again = Ran::new(&study, folder.path().join("again"), &[]);
    assert_eq!(
        fs::read(again.seg()).expect("read"),
        bytes,
        "the same run, the same bytes"
    );

    let kept = Ran::new(&study, folder.path().join("kept"), &["dicom.deidentify=false"]);
    let read = kept.read();
    let told = study.series("mr");
    assert_eq!(read["attributes"]["StudyInstanceUID"], told["study"]);
    assert_eq!(
        read["attributes"]["FrameOfReferenceUID"],
        told["frame_of_reference"]
    );
    assert_eq!(read["attributes"]["PatientName"], study.told["patient"]["name"]);
    assert_eq!(read["attributes"]["PatientID"], study.told["patient"]["id"]);
    let referenced = &read["referenced_series"][0];
    assert_eq!(referenced["series"], told["series"]);
    let found: BTreeSet<String> = referenced["instances"]
        .as_array()
        .expect("instances")
        .iter()
        .map(text)
        .collect();
    assert!(found.is_subset(&uids) && found.len() == told["instances"].as_array().expect("instances").len());
    let bytes = fs::read(kept.seg()).expect("read");
    for text in ["Seeded Lane", "called twice", "Seeded Scanners", "LWS DOE"] {
        assert!(!holds(&bytes, text), "{text} is no part of patient or study");
    }
    if let Some(errors) = dciodvfy(&kept.seg()) {
        assert_eq!(errors, [""; 0]);
    }
}

#[test]
fn without_a_key_nothing_is_written_that_would_need_one() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(study) = study(folder.path(), &["--seg", "none"]) else {
        return;
    };
    let out = folder.path().join("out");
    let ran = run(&study, &out, None, &[]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(
        said.contains("SPINESTREAM_SITE_KEY") && said.contains("dicom.deidentify"),
        "{said}"
    );
    assert!(!out.exists());
    let short = run(&study, &out, Some("short"), &[]);
    assert_eq!(short.status.code(), Some(2));
    let kept = run(&study, &out, None, &["dicom.deidentify=false"]);
    assert_eq!(kept.status.code(), Some(0));
}

#[test]
fn a_wrong_image_is_a_row_that_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(study) = study(folder.path(), &["--seg", "none", "--traps", "missing"]) else {
        return;
    };
    let ran = run(
        &study,
        &folder.path().join("out"),
        Some(KEY),
        &["run.max_failed=1"],
    );
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(
        told.contains("missing_slices") || said.contains("missing_slices"),
        "{told} {said}"
    );
    for text in identifying(&study) {
        assert!(!said.contains(&text) && !told.contains(&text), "{text}");
    }
}
