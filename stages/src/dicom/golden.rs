//! Every DICOM file of `golden/decode`, as pydicom read it: equal, refused with a reason, or wrong. None may be wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dicom_dictionary_std::tags;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::inspect::DicomInspection;
use super::object::Object;
use super::plane::{Groups, Plane};
use super::stack::{Stack, StackConf};
use crate::decode::nifti::Voxels;

/// Most bytes of anything here.
const MAX: u64 = 1 << 30;

/// Largest difference of a position that counts as none, in mm.
const NEAR_MM: f64 = 1e-3;

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Equal,
    Refused(String),
    Wrong(String),
}

pub(super) fn shared() -> Option<PathBuf> {
    let shared = std::env::var_os("SPINESTREAM_SHARED");
    if shared.is_none() {
        eprintln!("skipped: SPINESTREAM_SHARED is not set");
    }
    shared.map(PathBuf::from)
}

pub(super) fn golden(shared: &Path) -> Value {
    let text = std::fs::read(shared.join("golden/decode/decode.json")).expect("golden");
    serde_json::from_slice(&text).expect("JSON")
}

pub(super) fn is_dicom(row: &Value) -> bool {
    let path = row["path"].as_str().expect("path");
    let other = [".nii", ".nii.gz", ".nrrd"]
        .iter()
        .any(|ending| path.ends_with(ending));
    (path.starts_with("dicom/") || path.contains("example_ct_dicom/")) && !other
}

fn judge(row: &Value, bytes: &Bytes) -> Verdict {
    let object = match Object::read(bytes, MAX) {
        Ok(object) => object,
        Err(fault) => return Verdict::Refused(format!("{}: {}", fault.reason, fault.message)),
    };
    let seen = serde_json::to_value(DicomInspection::of(&object, None, MAX)).expect("JSON");
    if let Some(difference) = attributes_differ(row, &seen)
        .or_else(|| geometry_differs(row, &seen))
        .or_else(|| segments_differ(row, &seen))
    {
        return Verdict::Wrong(difference);
    }
    if !seen["pixels_refused"].is_null() {
        let refusal = &seen["pixels_refused"];
        return Verdict::Refused(format!("{}: {}", refusal["reason"], refusal["message"]));
    }
    if row["has_pixels"].as_bool() != seen["has_pixels"].as_bool() {
        return Verdict::Wrong(format!("has_pixels {} {}", row["has_pixels"], seen["has_pixels"]));
    }
    let expected = match &row["pixels"] {
        Value::Null => &row["decoded_by_hand"],
        pixels => pixels,
    };
    if expected.is_null() {
        return if row["has_pixels"].as_bool() == Some(true) {
            Verdict::Wrong("pixels where pydicom has none".to_owned())
        } else {
            Verdict::Equal
        };
    }
    for field in ["min", "max", "sum", "sha256_i32le", "dtype", "array_shape"] {
        // pydicom names the byte order of the file, too
        let expected_value = match expected[field].as_str() {
            Some(">i2") => Value::from("int16"),
            _ => expected[field].clone(),
        };
        if !expected_value.is_null() && expected_value != seen["pixels"][field] {
            return Verdict::Wrong(format!(
                "pixels.{field}: {} {}",
                expected[field], seen["pixels"][field]
            ));
        }
    }
    let rescaled = &expected["rescaled"];
    for field in ["min", "max", "sum_f64"] {
        let (Some(expected), Some(found)) = (
            rescaled[field].as_f64(),
            seen["pixels"]["rescaled"][field].as_f64(),
        ) else {
            continue;
        };
        if (expected - found).abs() > 1e-9 * expected.abs().max(1.0) {
            return Verdict::Wrong(format!("rescaled.{field}: {expected} {found}"));
        }
    }
    Verdict::Equal
}

fn attributes_differ(row: &Value, seen: &Value) -> Option<String> {
    let same = [
        "transfer_syntax",
        "sop_class",
        "Modality",
        "Rows",
        "Columns",
        "NumberOfFrames",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PixelPaddingValue",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "InstanceNumber",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "FrameOfReferenceUID",
    ];
    same.into_iter()
        .find(|name| !row[*name].is_null() && row[*name] != seen[*name])
        .map(|name| format!("{name}: {} {}", row[name], seen[name]))
}

fn geometry_differs(row: &Value, seen: &Value) -> Option<String> {
    let places = [
        "/affine_ras_ij",
        "/stack/affine_ras",
        "/stack/gap_along_normal_mm",
        "/dense_grid/affine_ras",
        "/PixelSpacing",
        "/ImageOrientationPatient",
        "/ImagePositionPatient",
    ];
    for place in places {
        // enhanced images have no grid of segments
        let only_seg = place.starts_with("/dense_grid") && row["seg"].is_null();
        let Some(expected) = row
            .pointer(place)
            .filter(|expected| !expected.is_null() && !only_seg)
        else {
            continue;
        };
        // one position has no step: the golden takes the normal for one, as `affine_ras_ij` does
        let is_one = place.starts_with("/stack") && row["stack"]["distinct_positions"] == 1;
        let place = if is_one { "/affine_ras_ij" } else { place };
        if is_one && expected.as_array().is_none_or(|rows| rows.len() != 4) {
            continue;
        }
        let found = seen.pointer(place).unwrap_or(&Value::Null);
        let (expected, found) = (numbers(expected), numbers(found));
        let far = expected.iter().zip(&found).any(|(a, b)| (a - b).abs() > NEAR_MM);
        if expected.len() != found.len() || far {
            return Some(format!("{place}: {expected:?} {found:?}"));
        }
    }
    if row["stack"]["distinct_positions"] == 1 {
        return None;
    }
    let expected = row.pointer("/stack/spacing_class").and_then(Value::as_str)?;
    let found = seen
        .pointer("/stack/spacing_class")
        .and_then(Value::as_str)
        .unwrap_or_default();
    (expected.replace(' ', "_") != found).then(|| format!("spacing_class: {expected} {found}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => value.as_f64().into_iter().collect(),
    }
}

/// Every series of slices: their order, gaps, affine and values.
#[test]
fn series_are_sorted_and_stacked_as_the_golden_says() {
    let Some(shared) = shared() else { return };
    let golden = golden(&shared);
    for series in golden["series"].as_array().expect("series") {
        let name = series["name"].as_str().expect("name");
        let read = |path: &Value| {
            let path = shared.join("data").join(path.as_str().expect("path"));
            Object::read(&std::fs::read(path).expect("file").into(), MAX).expect("sound")
        };
        let mut objects: Vec<Object> = series["files"]
            .as_array()
            .expect("files")
            .iter()
            .map(read)
            .collect();
        // in any order but theirs
        objects.reverse();
        let count = objects.len();
        let half = objects.split_off(count / 2);
        objects.splice(0..0, half);

        let planes: Vec<Plane> = objects
            .iter()
            .map(|object| Groups::of(&object.header, 0).plane().expect("plane"))
            .collect();
        let stack = Stack::with_holes(&planes, &StackConf::default()).expect("a stack");
        let numbers_of = |field: &str| numbers(&series[field]);
        let instance = |index: &usize| {
            objects[*index]
                .header
                .whole(tags::INSTANCE_NUMBER)
                .expect("a number") as f64
        };
        assert_eq!(
            stack.order.iter().map(instance).collect::<Vec<_>>(),
            numbers_of("instance_numbers_in_order"),
            "{name}"
        );
        let near = |found: &[f64], expected: &[f64]| {
            found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < NEAR_MM)
        };
        assert!(
            near(&stack.gaps_mm(), &numbers_of("gap_along_normal_mm")),
            "{name}: {:?}",
            stack.gaps_mm()
        );
        assert!(
            near(&stack.affine().to_rows(), &numbers_of("affine_ras")),
            "{name}: {:?}",
            stack.affine()
        );
        let tilt_deg = series["angle_between_stack_direction_and_normal_deg"]
            .as_f64()
            .expect("an angle");
        assert!(
            (stack.tilt_deg - tilt_deg).abs() < 1e-3,
            "{name}: {}",
            stack.tilt_deg
        );

        let is_regular = series["spacing_class"] == "regular";
        let volume = super::series::volume(&objects, &StackConf::default(), MAX);
        if !is_regular {
            assert_eq!(
                volume.expect_err("a hole of 48 mm").reason,
                "slices_too_far_apart",
                "{name}"
            );
            continue;
        }
        let volume = volume.expect("a volume");
        assert!(
            near(&volume.image.affine.to_rows(), &numbers_of("affine_ras")),
            "{name}"
        );
        let sum: f64 = volume.image.data.iter().map(|value| f64::from(*value)).sum();
        assert_eq!(
            sum,
            series["volume"]["sum_f64"].as_f64().expect("a sum"),
            "{name}"
        );
        // first axis fastest in memory is the golden's C order k, j, i
        let values = volume.image.data.as_slice_memory_order().expect("contiguous");
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| (*value as i32).to_le_bytes())
            .collect();
        let digest: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(digest, series["volume"]["sha256_i32le"], "{name}");
    }
}

/// Siemens' enhanced objects against what dcm2niix made of them: equal, rows flipped.
#[test]
fn enhanced_objects_are_the_volumes_that_dcm2niix_makes_of_them() {
    let Some(shared) = shared() else { return };
    let golden = golden(&shared);
    let expected = &golden["enhanced_vs_nifti"];
    let bytes =
        std::fs::read(shared.join("data/dicom/dcm_qa_enh/Siemens_REST1_w_SMS_PF7-8_6.nii")).expect("file");
    let nifti = crate::decode::nifti::read(&bytes, None, MAX).expect("NIfTI");
    let Voxels::I16(stored) = &nifti.voxels else {
        panic!("16 bits")
    };
    for volume in expected["volumes"].as_array().expect("volumes") {
        let path = shared.join("data").join(volume["file"].as_str().expect("path"));
        let object = Object::read(&std::fs::read(path).expect("file").into(), MAX).expect("sound");
        let found = super::series::volume(&[object], &StackConf::default(), MAX).expect("a volume");
        let [columns, rows, slices] = found.image.shape();
        let number = volume["matches"][0]["nifti_volume"].as_u64().expect("a number") as usize;
        for ((i, j, k), value) in found.image.data.indexed_iter() {
            let flipped = rows - 1 - j;
            let index = ((number * slices + k) * rows + flipped) * columns + i;
            assert_eq!(*value, f32::from(stored[index]), "{i} {j} {k}");
            let (here, there) = (
                found.image.affine.apply([i, j, k].map(|index| index as f64)),
                nifti
                    .header
                    .affine
                    .apply([i, flipped, k].map(|index| index as f64)),
            );
            assert!(
                here.iter().zip(there).all(|(a, b)| (a - b).abs() < NEAR_MM),
                "{here:?} {there:?}"
            );
        }
    }
}

fn segments_differ(row: &Value, seen: &Value) -> Option<String> {
    let expected = row.get("seg").filter(|seg| !seg.is_null())?;
    let found = &seen["seg"];
    for field in ["SegmentationType", "frame_segment_number"] {
        let is_empty = expected[field].is_null()
            || expected[field]
                .as_array()
                .is_some_and(|values| values.iter().all(Value::is_null));
        if !is_empty && expected[field] != found[field] {
            return Some(format!("seg.{field}: {} {}", expected[field], found[field]));
        }
    }
    let segments = |value: &Value| -> Vec<Value> {
        let list = value["segments"].as_array().cloned().unwrap_or_default();
        let keep = |segment: &Value| {
            serde_json::json!([
                segment["number"],
                segment["type"]["value"],
                segment["type"]["scheme"],
                segment["category"]["value"]
            ])
        };
        list.iter().map(keep).collect()
    };
    if segments(expected) != segments(found) {
        return Some(format!(
            "segments: {:?} {:?}",
            segments(expected),
            segments(found)
        ));
    }
    let counts = |value: &Value| -> BTreeMap<String, u64> {
        let counts = ["voxels_nonzero_per_segment", "voxels_per_value"]
            .into_iter()
            .find_map(|name| value[name].as_object());
        let counts = counts.into_iter().flatten();
        counts
            .filter(|(name, count)| *name != "0" && count.as_u64() != Some(0))
            .map(|(name, count)| (name.clone(), count.as_u64().unwrap_or(0)))
            .collect()
    };
    (counts(expected) != counts(found)).then(|| format!("voxels: {:?} {:?}", counts(expected), counts(found)))
}

#[test]
fn no_file_of_the_golden_is_read_wrong() {
    let Some(shared) = shared() else { return };
    let golden = golden(&shared);
    let mut table: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in golden["files"]
        .as_array()
        .expect("files")
        .iter()
        .filter(|row| is_dicom(row))
    {
        let path = row["path"].as_str().expect("path");
        let bytes = std::fs::read(shared.join("data").join(path)).expect("file");
        let verdict = judge(row, &bytes.into());
        let name = row["transfer_syntax_name"]
            .as_str()
            .filter(|name| !name.is_empty())
            .unwrap_or("none");
        let counts = table.entry(name.to_owned()).or_default();
        match verdict {
            Verdict::Equal => counts[0] += 1,
            Verdict::Refused(reason) => {
                counts[1] += 1;
                println!("refused {path} (golden ok: {}): {reason}", row["ok"]);
            }
            Verdict::Wrong(difference) => {
                counts[2] += 1;
                wrong.push(format!("{path}: {difference}"));
            }
        }
    }
    for (name, [equal, refused, wrong]) in &table {
        println!("{equal:>3} equal {refused:>3} refused {wrong:>3} wrong  {name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
