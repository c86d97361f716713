//! Which mask a series has, and which CT it is paired with.

use bytes::Bytes;
use dicom_dictionary_std::tags;

use super::dumps::Dump;
use super::{LEVELS, ct, t2};
use crate::dicom::testing::Slices;

#[tokio::test]
async fn a_study_without_segmentation_is_no_case() {
    let mut dump = Dump::default();
    let (slices, mr, _) = t2("p", "1.2.3");
    let found = dump.series("series", &mr).index().await;
    assert!(found.rows.is_empty());
    assert_eq!(dump.fate(&found, "series/1"), "not_used no_segmentation");
    // segments that nobody can name are no levels, until somebody names them
    let numbered = Slices {
        series: 30,
        ..slices.clone()
    }
    .seg(Some(&slices.uid()), &LEVELS, false);
    let found = dump.put("seg", numbered.file()).index().await;
    assert_eq!(dump.fate(&found, "seg"), "not_used no_levels");
    dump.labels = Some("verse");
    let found = dump.index().await;
    assert_eq!(dump.fate(&found, "seg"), "used mask");
    assert_eq!(found.rows[0].labels.as_deref(), Some("verse"));
}

#[tokio::test]
async fn of_several_segmentations_the_one_with_most_levels_is_the_mask() {
    let mut dump = Dump::default();
    let (slices, mr, seg) = t2("p", "1.2.3");
    let one = Slices {
        series: 31,
        ..slices.clone()
    }
    .seg(Some(&slices.uid()), &LEVELS[..1], true);
    let nameless = Slices {
        series: 32,
        ..slices.clone()
    }
    .seg(None, &LEVELS, true);
    let foreign = Slices {
        series: 33,
        ..Slices::axial("p", "1.2.3", 33)
    }
    .seg(Some("9.9"), &LEVELS, true);
    dump.series("series", &mr)
        .put("seg", seg.file())
        .put("one", one.file())
        .put("nameless", nameless.file())
        .put("foreign", foreign.file());
    let found = dump.index().await;
    dump.assert_fates(
        &found,
        &[
            ("series/", "used image"),
            ("seg", "used mask"),
            ("one", "not_used another_segmentation"),
            ("nameless", "not_used another_segmentation"),
            ("foreign", "not_used no_series"),
        ],
    );
    // one that says nothing is taken by its frame of reference, if there is no better one
    let mut dump = Dump::default();
    dump.series("series", &mr).put("nameless", nameless.file());
    let found = dump.index().await;
    assert_eq!(dump.fate(&found, "nameless"), "used mask");
}

#[tokio::test]
async fn a_segmentation_decides_before_the_weighting() {
    let mut dump = Dump::default();
    let (slices, mr, _) = t2("p", "1.2.3");
    let other = Slices {
        series: 4,
        ..slices.clone()
    };
    let mut t1 = other.mr();
    for slice in &mut t1 {
        slice
            .reals(tags::ECHO_TIME, &[11.0])
            .reals(tags::REPETITION_TIME, &[560.0]);
    }
    let seg = Slices { series: 30, ..slices }.seg(Some(&other.uid()), &LEVELS, true);
    dump.series("t2", &mr).series("t1", &t1).put("seg", seg.file());
    let found = dump.index().await;
    dump.assert_fates(
        &found,
        &[
            ("t1/", "used image"),
            ("t2/", "not_used another_series"),
            ("seg", "used mask"),
        ],
    );
}

#[tokio::test]
async fn paired_ct_is_of_the_study_or_the_only_one_of_the_person() {
    let (_, mr, seg) = t2("p", "1.2.3");
    let with_case = || {
        let mut dump = Dump::default();
        dump.series("mr", &mr).put("seg", seg.file());
        dump
    };
    let mut same = with_case();
    let (slices, good) = ct("p", "1.2.3", &LEVELS);
    same.series("ct", &slices).put("ct seg", good.file());
    let found = same.index().await;
    assert_eq!(same.fate(&found, "ct seg"), "used reference");
    assert_eq!(
        found.rows[0].reference.as_deref(),
        Some("memory:///dump/ct%20seg")
    );
    assert_eq!(found.rows[0].reference_labels.as_deref(), Some("snomed"));
    assert_eq!(same.fate(&found, "seg"), "used mask");

    let mut other = with_case();
    let (slices, good) = ct("p", "4.5.6", &LEVELS);
    other.series("ct", &slices).put("ct seg", good.file());
    let found = other.index().await;
    assert_eq!(other.fate(&found, "ct seg"), "used reference");

    let (slices, good) = ct("p", "7.8.9", &LEVELS);
    other.series("ct2", &slices).put("ct2 seg", good.file());
    let found = other.index().await;
    assert_eq!(other.fate(&found, "ct seg"), "not_used several_references");
    assert_eq!(other.fate(&found, "ct2 seg"), "not_used several_references");
    assert_eq!(found.rows[0].reference, None, "not guessed");

    let mut stranger = with_case();
    let (slices, good) = ct("q", "4.5.6", &LEVELS);
    stranger.series("ct", &slices).put("ct seg", good.file());
    let found = stranger.index().await;
    assert_eq!(stranger.fate(&found, "ct seg"), "not_used no_case");
}

#[tokio::test]
async fn a_nifti_beside_the_slices_is_a_mask_by_its_name() {
    let (_, mr, _) = t2("p", "1.2.3");
    let nifti = Bytes::from_static(b"not read");
    let mut dump = Dump::default();
    dump.series("a/slices", &mr).put("a/x_dseg.nii.gz", nifti.clone());
    let found = dump.index().await;
    assert_eq!(dump.fate(&found, "a/x_dseg.nii.gz"), "not_used no_label_scheme");
    assert!(found.rows.is_empty());
    dump.labels = Some("verse");
    let found = dump.index().await;
    assert_eq!(dump.fate(&found, "a/x_dseg.nii.gz"), "used mask");
    assert_eq!(found.rows[0].labels.as_deref(), Some("verse"));
    let read: u64 = dump.row(&found, "a/x_dseg.nii.gz").bytes_read;
    assert_eq!(read, 0);
    let found = dump.put("a/y_dseg.nii.gz", nifti.clone()).index().await;
    assert_eq!(dump.fate(&found, "a/y_dseg.nii.gz"), "not_used several_masks");

    let mut folder = Dump::default();
    folder.series("b", &mr);
    for level in ["L3", "L4"] {
        folder.put(
            &format!("b/segmentations/vertebrae_{level}.nii.gz"),
            nifti.clone(),
        );
    }
    folder.put("elsewhere/z_dseg.nii.gz", nifti);
    folder.labels = Some("verse");
    let found = folder.index().await;
    assert_eq!(
        found.rows[0].mask.as_deref(),
        Some("memory:///dump/b/segmentations/")
    );
    assert_eq!(found.rows[0].labels.as_deref(), Some("classes"));
    assert_eq!(
        folder.fate(&found, "b/segmentations/vertebrae_L3.nii.gz"),
        "used mask"
    );
    assert_eq!(
        folder.fate(&found, "elsewhere/z_dseg.nii.gz"),
        "not_used no_series"
    );
}
