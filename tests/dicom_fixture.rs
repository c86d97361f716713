//! The DICOM that tests lean on is sound: what highdicom wrote is the phantom, by three readers of others and a
//! validator, before anything of ours reads it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use schemas::Affine;
use serde_json::{Value, json};
use stages::decode::label_map;

use crate::support::dicom::{affine, dciodvfy, dcmqi, many, read_seg, study};

/// DICOM's decimal strings hold more; NIfTI's single precision does not.
const CLOSE_MM: f64 = 1e-4;

/// Returns the affine of a label map.
fn affine_of(map: &Path) -> Affine {
    let bytes = fs::read(map).expect("read");
    label_map(&bytes, None, u64::MAX).expect("label map").affine
}

fn assert_close(found: &Affine, expected: &Affine) {
    let pairs = found.0.as_flattened().iter().zip(expected.0.as_flattened());
    let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < CLOSE_MM, "{found:?} is {apart} from {expected:?}");
}

/// Holds a SEG against the label map that it was made of, and against what was told when it was written.
fn assert_is_map(seg: &Path, told: &Value, map: &Path) {
    let Some(read) = read_seg(seg, Some(map)) else {
        return;
    };
    assert_eq!(read["type"], told["type"]);
    assert_eq!(read["agree"], json!(true), "pydicom and highdicom read the same");
    let labels = read["against"]["labels"].as_object().expect("labels");
    assert_eq!(labels.len(), 5);
    for (label, differing) in labels {
        assert_eq!(*differing, json!({"lacking": 0, "only": 0}), "label {label}");
    }
    for reader in ["pydicom", "highdicom"] {
        let found = affine(&read[reader]["affine"]);
        let expected = affine(&told["affine"]);
        // empty slices before the first segment are left out: the grid may begin later
        let begun = expected.inverse().expect("a grid").apply(found.apply([0.0; 3]));
        let whole = begun.map(f64::round);
        let mut shifted = expected;
        for (row, value) in shifted.0.iter_mut().zip(expected.apply(whole)) {
            row[3] = value;
        }
        assert_eq!((whole[0], whole[1]), (0.0, 0.0), "slices are whole");
        assert_close(&found, &shifted);
    }
}

#[test]
fn the_segmentations_of_mr_and_ct_are_the_label_maps() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(study) = study(folder.path(), &["--ct", "same-study", "--traps", "all"]) else {
        return;
    };
    // a sagittal mask is on the grid of its slices already
    assert_close(&affine(&study.series("mr")["affine"]), &affine_of(&study.mask));
    for (role, map) in [("mr_seg", &study.mask), ("ct_seg", &study.reference)] {
        assert_is_map(&study.files(role)[0], study.series(role), map);
    }
    for role in ["mr", "ct", "mr_seg", "ct_seg"] {
        let Some(errors) = dciodvfy(&study.files(role)[0]) else {
            return;
        };
        assert_eq!(errors, [""; 0], "{role}");
    }
}

#[test]
fn a_label_map_and_fractions_are_the_label_map_too() {
    for kind in ["labelmap", "fractional"] {
        let folder = tempfile::tempdir().expect("folder");
        let Some(study) = study(folder.path(), &["--seg", kind]) else {
            return;
        };
        assert_is_map(&study.files("mr_seg")[0], study.series("mr_seg"), &study.mask);
    }
}

#[test]
fn segments_that_overlap_keep_their_voxels_in_three_readers() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(study) = study(folder.path(), &["--overlap"]) else {
        return;
    };
    let (seg, told) = (&study.files("mr_seg")[0], study.series("mr_seg"));
    assert!(told["overlapping_voxels"].as_u64() > Some(1000));
    let read = read_seg(seg, None).expect("Python is there");
    assert_eq!(read["overlapping_voxels"], told["overlapping_voxels"]);
    let by_dcmqi = dcmqi(seg, &folder.path().join("dcmqi")).expect("Python is there");
    let segments = told["segments"].as_array().expect("segments");
    for (index, segment) in segments.iter().enumerate() {
        let voxels = &segment["voxels"];
        let number = segment["number"].to_string();
        assert_eq!(read["segments"][index]["voxels"], *voxels, "pydicom");
        assert_eq!(read["segments"][index]["voxels_highdicom"], *voxels, "highdicom");
        assert_eq!(by_dcmqi["files"][index]["voxels"][&number], *voxels, "dcmqi");
    }
}

#[test]
fn many_objects_are_as_many_instances() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(told) = many(folder.path(), 50) else {
        return;
    };
    let series = told["series"].as_array().expect("series");
    let counts: Vec<_> = series.iter().map(|entry| entry["objects"].as_u64()).collect();
    assert_eq!(counts, [Some(20), Some(20), Some(10)]);
    let objects = fs::read_dir(folder.path().join("DICOM/0001")).expect("folder");
    let different: BTreeSet<Vec<u8>> = objects
        .map(|entry| fs::read(entry.expect("entry").path()).expect("read"))
        .collect();
    assert_eq!(different.len(), 50);
}
