//! Whatever is wrong with a case becomes its row, and the other cases finish.

use crate::support::{Cohort, block, packed, patched, unpacked};
use spinestream::{Exit, RunEnd};
use stages::manifest::ManifestError;

const FAST: [&str; 1] = ["model.chain=[\"identity\"]"];

/// A float volume whose only value besides 0 is `value`.
fn float_volume(value: f32) -> Vec<u8> {
    let plain = unpacked(&block(1, 0.0));
    let mut header = plain[..352].to_vec();
    header[70..72].copy_from_slice(&16_i16.to_le_bytes());
    header[72..74].copy_from_slice(&32_i16.to_le_bytes());
    let voxels = 40 * 40 * 40;
    for index in 0..voxels {
        header.extend((if index == voxels / 2 { value } else { 0.0 }).to_le_bytes());
    }
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_case_is_one_row_with_its_reason() {
    let good = block(22, 0.0);
    let srow = |value: f32| [value.to_le_bytes(); 3].concat();
    let dims: Vec<u8> = [3_i16, 32767, 32767, 32767]
        .iter()
        .flat_map(|dim| dim.to_le_bytes())
        .collect();
    let four: Vec<u8> = [4_i16, 40, 40, 20, 2]
        .iter()
        .flat_map(|dim| dim.to_le_bytes())
        .collect();
    let objects: Vec<(&str, Vec<u8>)> = vec![
        ("good.nii.gz", good.clone()),
        ("elsewhere.nii.gz", block(22, 500.0)),
        ("truncated.nii.gz", good[..good.len() / 2].to_vec()),
        (
            "text.nii.gz",
            b"this is no volume at all, just text that goes on for a while".repeat(20),
        ),
        ("huge.nii", patched(40, &dims)),
        ("nan.nii", patched(280, &srow(f32::NAN))),
        ("singular.nii", patched(280, &srow(0.0))),
        ("four.nii", patched(40, &four)),
        ("thoracic.nii.gz", block(12, 0.0)),
        ("fraction.nii.gz", packed(&float_volume(1.5))),
        ("empty.nii.gz", Vec::new()),
    ];
    let cases: &[(&str, &str, &str)] = &[
        ("ok,good.nii.gz,verse,,", "", "done"),
        ("missing,none.nii.gz,verse,,", "weigh", "Missing object_not_found"),
        (
            "truncated,truncated.nii.gz,verse,,",
            "decode",
            "Unreadable truncated",
        ),
        ("text,text.nii.gz,verse,,", "decode", "Unreadable not_nifti"),
        ("empty,empty.nii.gz,verse,,", "decode", "Unreadable truncated"),
        ("huge,huge.nii,verse,,", "decode", "Unsuitable too_large"),
        ("nan,nan.nii,verse,,", "decode", "Unsuitable bad_affine"),
        ("singular,singular.nii,verse,,", "decode", "Unsuitable bad_affine"),
        ("four,four.nii,verse,,", "decode", "Unsuitable not_3d"),
        (
            "thoracic,thoracic.nii.gz,verse,,",
            "crop",
            "Unsuitable no_lumbar_labels",
        ),
        (
            "fraction,fraction.nii.gz,verse,,",
            "decode",
            "Unsuitable non_integer_labels",
        ),
        (
            "scheme,good.nii.gz,vrese,,",
            "list",
            "Unsuitable unknown_label_scheme",
        ),
        ("noscheme,good.nii.gz,,,", "list", "Unsuitable no_label_scheme"),
        ("OK,good.nii.gz,verse,,", "list", "Unsuitable repeated_case_id"),
        ("a/b,good.nii.gz,verse,,", "list", "Unsuitable bad_case_id"),
        (
            "refgone,good.nii.gz,verse,none.nii.gz,verse",
            "weigh",
            "Missing object_not_found",
        ),
        ("refaway,good.nii.gz,verse,elsewhere.nii.gz,verse", "", "done"),
        ("reflevel,good.nii.gz,verse,thoracic.nii.gz,verse", "", "done"),
    ];
    let mut cohort = Cohort::new();
    for (name, bytes) in objects {
        cohort.put(name, bytes).await;
    }
    for (row, ..) in cases {
        cohort.row(row);
    }
    assert_eq!(cohort.run("out", &FAST).await.expect("run"), Exit::SomeFailed);

    let rows = cohort.table("out", "cases").await;
    assert_eq!(rows.len(), cases.len(), "one row a case");
    for (number, (line, stage, fate)) in cases.iter().enumerate() {
        let id = line.split(',').next().expect("id");
        let id = if ["repeated_case_id", "bad_case_id"]
            .iter()
            .any(|reason| fate.ends_with(reason))
        {
            format!("row-{}", number + 1)
        } else {
            id.to_owned()
        };
        let row = rows
            .iter()
            .find(|row| row["case_id"] == id)
            .unwrap_or_else(|| panic!("no row {id}"));
        let found = if row["status"] == "done" {
            "done".to_owned()
        } else {
            format!("{} {}", row["kind"], row["reason"])
        };
        assert_eq!(
            (row["stage"].as_str(), found.as_str()),
            (*stage, *fate),
            "{id}: {}",
            row["message"]
        );
        if row["status"] == "failed" {
            assert!(row["message"].contains("expected"), "{id}: {}", row["message"]);
        }
    }
    let vertebrae = cohort.table("out", "vertebrae").await;
    let flags = |case: &str| {
        let row = vertebrae
            .iter()
            .find(|row| row["case_id"] == case)
            .expect("vertebra");
        assert_eq!(
            (
                row["input_dsc"].as_str(),
                row["recon_dsc"].as_str(),
                row["status"].as_str()
            ),
            ("", "", "done")
        );
        row["flags"].clone()
    };
    assert!(flags("refaway").contains("reference_elsewhere"));
    assert!(flags("reflevel").contains("reference_without_level"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_that_fails_too_often_is_given_up() {
    let mut cohort = Cohort::new();
    for number in 0..200 {
        cohort.row(&format!("c{number},none{number}.nii.gz,verse,,"));
    }
    let end = cohort
        .run("out", &["model.chain=[\"identity\"]", "run.max_failed=0.5"])
        .await
        .expect_err("given up");
    assert!(matches!(end, RunEnd::TooManyFailed { ended: 50, .. }), "{end}");
    assert_eq!(
        cohort.table("out", "cases").await.len(),
        50,
        "what was known is written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_or_model_that_is_not_there_ends_the_run() {
    let cohort = Cohort::new();
    let settings = ["run.manifest=memory:///cohort/none.csv"];
    assert!(matches!(
        cohort.run("out", &settings).await,
        Err(RunEnd::Manifest {
            error: ManifestError::Store(_),
            ..
        })
    ));
    let mut cohort = Cohort::new();
    cohort.row("a,b.nii.gz,verse,,");
    assert!(matches!(
        cohort.run("out", &["model.chain=[\"gan\"]"]).await,
        Err(RunEnd::Conf(_))
    ));
    assert!(matches!(
        cohort.run("out", &["pool.devices=[\"cuda:77\"]"]).await,
        Err(RunEnd::Conf(_))
    ));
    assert!(matches!(
        cohort
            .run("out", &["model.weights=memory:///none.safetensors"])
            .await,
        Err(RunEnd::Conf(_))
    ));
}
