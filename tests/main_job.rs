//! The main job on phantoms, end to end, with the shipped model.

use crate::support::{Cohort, block};
use spinestream::Exit;

#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_becomes_rows_and_volumes() {
    let cohort = Cohort::of_phantoms(2).await;
    assert_eq!(cohort.run("out", &[]).await.expect("run"), Exit::Done);

    let cases = cohort.table("out", "cases").await;
    assert_eq!(cases.len(), 2);
    assert!(
        cases
            .iter()
            .all(|row| row["status"] == "done" && row["vertebrae"] == "5")
    );

    let vertebrae = cohort.table("out", "vertebrae").await;
    let levels: Vec<_> = vertebrae.iter().map(|row| row["level"].as_str()).collect();
    assert_eq!(
        levels,
        ["L1", "L2", "L3", "L4", "L5", "L1", "L2", "L3", "L4", "L5"]
    );
    for row in &vertebrae {
        let number = |name: &str| row[name].parse::<f64>().expect("a number");
        assert!(
            number("recon_dsc") > number("input_dsc"),
            "the model helps on {} {}",
            row["case_id"],
            row["level"]
        );
        assert_eq!(row["weights_sha256"].len(), 64);
    }

    let volumes = cohort.place("out/volumes").list().await.expect("list");
    let names: Vec<_> = volumes
        .iter()
        .filter_map(|object| object.location.filename())
        .collect();
    assert_eq!(names.len(), 12, "five patches and a scan a case");
    assert!(names.contains(&"p1_label-L3_desc-recon_mask.nii.gz"));
    assert!(names.contains(&"p2_space-scan_desc-recon_dseg.nii.gz"));
    assert_eq!(cohort.place("out/runs/test").list().await.expect("list").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_of_another_session_is_registered_on_request() {
    let mut cohort = Cohort::new();
    cohort.put("mri.nii.gz", block(22, 0.0)).await;
    cohort.put("ct.nii.gz", block(22, 6.0)).await;
    cohort.row("moved,mri.nii.gz,verse,ct.nii.gz,verse");
    let settings = ["model.chain=[\"identity\"]", "evaluate.register=rigid"];
    assert_eq!(
        cohort.run("plain", &settings[..1]).await.expect("run"),
        Exit::Done
    );
    assert_eq!(cohort.run("rigid", &settings).await.expect("run"), Exit::Done);

    let plain = cohort.table("plain", "vertebrae").await.remove(0);
    let rigid = cohort.table("rigid", "vertebrae").await.remove(0);
    for column in [
        "registered_dsc",
        "register_rotation_degrees_x",
        "register_shift_mm_z",
    ] {
        assert_eq!(plain[column], "", "{column}");
    }
    // of 20 voxels along each axis, 14 meet
    let number = |column: &str| rigid[column].parse::<f64>().expect("a number");
    assert_eq!(
        (plain["recon_dsc"].as_str(), number("recon_dsc")),
        ("0.343", 0.343)
    );
    assert_eq!(
        (number("registered_dsc"), number("registered_assd_mm")),
        (1.0, 0.0)
    );
    for axis in ["x", "y", "z"] {
        assert_eq!(number(&format!("register_shift_mm_{axis}")), 6.0);
        assert_eq!(number(&format!("register_rotation_degrees_{axis}")), 0.0);
    }
}
