//! Every NIfTI file of `golden/decode`, read by nibabel 5.4.2, against our reader.
//!
//! Tolerances: stored values exactly (by SHA-256), min and max exactly, sums 1e-9 relative (exactly for
//! integers), affines 1e-9 mm an entry, everything else exactly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::nifti::{self, NiftiFile, Voxel, Voxels, each};
use super::testing::inspect;
use super::testing::shared;
use super::{DecodeConf, label_map};

const MAX: u64 = 1 << 30;
const AFFINE_TOLERANCE_MM: f64 = 1e-9;
const SUM_TOLERANCE: f64 = 1e-9;

/// What nibabel refuses, and what we call it.
const REFUSED_BY_BOTH: [(&str, &str); 6] = [
    ("nifti-odd/nibabel/analyze.hdr", "unsupported_format"),
    ("nifti-odd/nibabel/nifti1.hdr", "missing_pair"),
    ("nifti-odd/nibabel/nifti2.hdr", "missing_pair"),
    ("nifti-odd/nifti-rs/fuzz_artifacts/crash-1.nii", "bad_header"),
    ("nifti-odd/nifti-rs/minimal2.hdr", "missing_pair"),
    ("nifti-odd/nifti-rs/minimal2.img.gz", "not_nifti"),
];

/// What nibabel reads and we refuse on purpose: three numbers a voxel.
const REFUSED_BY_US: [(&str, &str); 2] = [
    ("nifti-odd/nifti-rs/rgb/3D.nii", "unsupported_dtype"),
    (
        "totalsegmentator-tests/spine_report/spine_report.nii.gz",
        "unsupported_dtype",
    ),
];

#[test]
fn every_nifti_file_of_the_golden_agrees_or_is_refused_as_stated() {
    let Some(shared) = shared() else { return };
    let golden = std::fs::read(shared.join("golden/decode/decode.json")).expect("golden");
    let golden: Value = serde_json::from_slice(&golden).expect("JSON");
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for row in golden["files"].as_array().expect("rows") {
        if row["reader"] != "nibabel" {
            continue;
        }
        let path = text(row, "path");
        let (header, pair) = objects(&shared.join("data").join(path));
        let stated = REFUSED_BY_BOTH
            .iter()
            .chain(&REFUSED_BY_US)
            .find(|(refused, _)| *refused == path);
        let outcome = match (nifti::read(&header, pair.as_deref(), MAX), stated) {
            (Ok(file), None) => {
                assert_eq!(row["ok"], true, "{path}: nibabel refuses it");
                let values = values(&file);
                compare(row, &file, &values);
                compare_inspection(row, &header, pair.as_deref());
                compare_labels(row, &file, &values, label_map(&header, pair.as_deref(), MAX))
            }
            (Err(fault), Some((_, reason))) => {
                assert_eq!(fault.reason, *reason, "{path}: {fault}");
                let whom = if row["ok"] == true {
                    "by us"
                } else {
                    "by nibabel and by us"
                };
                format!("refused {whom}: {reason}")
            }
            (Ok(_), Some(_)) => panic!("{path}: expected a refusal"),
            (Err(fault), None) => panic!("{path}: {fault}"),
        };
        *counts.entry(outcome).or_insert(0) += 1;
    }
    println!("golden/decode, NIfTI: {counts:#?}");
    assert_eq!(counts.values().sum::<u32>(), 110, "rows of nibabel");
}

/// Returns the bytes of a file, and of its image where it is one half of a pair.
fn objects(path: &Path) -> (Vec<u8>, Option<Vec<u8>>) {
    let read = |path: PathBuf| std::fs::read(path).ok();
    let text = path.to_str().expect("UTF-8");
    let header = if text.contains(".img") {
        read(text.replace(".img", ".hdr").into())
    } else {
        None
    };
    let image = if text.contains(".hdr") {
        text.replace(".hdr", ".img")
    } else {
        text.to_owned()
    };
    let pair = if text.contains(".hdr") || header.is_some() {
        read(image.into())
    } else {
        None
    };
    (header.or_else(|| read(path.into())).expect("file"), pair)
}

fn compare(row: &Value, file: &NiftiFile, values: &[f64]) {
    let path = text(row, "path");
    let header = &file.header;
    let shape: Vec<u64> = header.shape.iter().map(|count| *count as u64).collect();
    assert_eq!(row["shape"], Value::from(shape), "{path}");
    assert_eq!(text(row, "dtype_on_disk"), numpy_code(header), "{path}");
    for (line, expected) in row["affine_ras"].as_array().expect("affine").iter().enumerate() {
        for (column, expected) in expected.as_array().expect("row").iter().enumerate() {
            let (found, expected) = (header.affine.0[line][column], expected.as_f64().expect("number"));
            assert!(
                (found - expected).abs() <= AFFINE_TOLERANCE_MM,
                "{path}: {found} is not {expected}"
            );
        }
    }
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let fold = |start: f64, pick: fn(f64, f64) -> f64| finite.iter().copied().fold(start, pick);
    assert_eq!(row["min"].as_f64(), Some(fold(f64::INFINITY, f64::min)), "{path}");
    assert_eq!(
        row["max"].as_f64(),
        Some(fold(f64::NEG_INFINITY, f64::max)),
        "{path}"
    );
    let non_finite = (values.len() - finite.len()) as u64;
    assert_eq!(row["non_finite"].as_u64().unwrap_or(0), non_finite, "{path}");

    if let Some(expected) = row["sha256_i32le"].as_str() {
        let found = sha256(values.iter().map(|value| (*value as i32).to_le_bytes()));
        assert_eq!(expected, found, "{path}: stored values");
    }
    if let Some(expected) = row["sha256_native_le"].as_str() {
        let found = match &file.voxels {
            Voxels::F32(values) => sha256(values.iter().map(|value| value.to_le_bytes())),
            Voxels::F64(values) => sha256(values.iter().map(|value| value.to_le_bytes())),
            _ => panic!("{path}: expected floats"),
        };
        assert_eq!(expected, found, "{path}: stored floats");
    }
}

/// Compares what `inspect` says: none of these files has a scaling, so stored values are real ones.
fn compare_inspection(row: &Value, header: &[u8], pair: Option<&[u8]>) {
    let path = text(row, "path");
    let seen = inspect(header, pair, None, &DecodeConf::default()).expect("readable");
    assert_eq!(text(row, "orientation"), seen.orientation, "{path}");
    assert_eq!(seen.scl_slope, None, "{path}");
    let coded = |form: &str| row[form].as_u64().is_some_and(|code| code > 0);
    let source = match (coded("sform_code"), coded("qform_code")) {
        (true, _) => "sform",
        (false, true) => "qform",
        (false, false) => "pixdim",
    };
    assert_eq!(seen.affine_source, source, "{path}");
    for (found, expected) in seen
        .spacing_mm
        .iter()
        .zip(row["voxel_size_from_affine"].as_array().expect("sizes"))
    {
        assert!(
            (found - expected.as_f64().expect("number")).abs() <= AFFINE_TOLERANCE_MM,
            "{path}"
        );
    }
    let expected = row["sum"].as_f64().expect("sum");
    let exact = row["sum"].is_i64();
    let tolerance = if exact {
        0.0
    } else {
        SUM_TOLERANCE * expected.abs()
    };
    assert!(
        (seen.sum - expected).abs() <= tolerance,
        "{path}: {} is not {expected}",
        seen.sum
    );
    if let Some(labels) = row["labels"].as_object() {
        let found: BTreeMap<String, u64> = seen
            .labels
            .iter()
            .flatten()
            .map(|count| (count.label.to_string(), count.voxels))
            .collect();
        let expected: BTreeMap<String, u64> = labels
            .iter()
            .map(|(label, voxels)| (label.clone(), voxels.as_u64().expect("count")))
            .collect();
        assert_eq!(found, expected, "{path}: labels");
    }
}

/// Returns what became of a file as a label map, after comparing it with the values read.
fn compare_labels(
    row: &Value,
    file: &NiftiFile,
    values: &[f64],
    map: Result<schemas::LabelMap, schemas::Fault>,
) -> String {
    let path = text(row, "path");
    let map = match map {
        Ok(map) => map,
        Err(fault) => return format!("agrees; as a label map refused: {}", fault.reason),
    };
    assert_eq!(map.affine, file.header.affine, "{path}");
    let labels = map.data.as_slice_memory_order().expect("all of the array");
    assert_eq!(labels.len(), values.len(), "{path}");
    let same = labels
        .iter()
        .zip(values)
        .all(|(label, value)| f64::from(*label) == *value);
    assert!(same, "{path}: labels");
    "agrees, also as a label map".to_owned()
}

fn values(file: &NiftiFile) -> Vec<f64> {
    each!(&file.voxels, values => values.iter().map(|value| value.value()).collect())
}

/// Returns the datatype as NumPy writes it: `<i2`, `>f4`, `|u1`.
fn numpy_code(header: &nifti::Header) -> String {
    let size = header.datatype.size_of();
    let order = match (size, header.endianness) {
        (1, _) => '|',
        (_, ::nifti::Endianness::Little) => '<',
        (_, ::nifti::Endianness::Big) => '>',
    };
    let kind = header.dtype().chars().next().unwrap_or('?');
    format!("{order}{kind}{size}")
}

fn sha256<const N: usize>(numbers: impl Iterator<Item = [u8; N]>) -> String {
    let mut hasher = Sha256::new();
    let mut chunk = Vec::with_capacity(1 << 16);
    for number in numbers {
        chunk.extend_from_slice(&number);
        if chunk.len() >= 1 << 16 {
            hasher.update(&chunk);
            chunk.clear();
        }
    }
    hasher.update(&chunk);
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().expect("text")
}
