//! Real masks through the whole flow.

use std::path::{Path, PathBuf};

use crate::support::{Cohort, shared};
use spinestream::Exit;

/// Every file below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn real_masks_of_four_tools_become_vertebrae() {
    let Some(shared) = shared() else { return };
    let data = shared.join("data");
    let mut cohort = Cohort::new();
    let mut row = |id: &str, path: &str, labels: &str| {
        cohort.row(&format!("{id},file://{},{labels},,", data.join(path).display()));
    };
    row(
        "verse004",
        "verse-anjany/sub-verse004_seg-vert_msk.nii.gz",
        "verse",
    );
    row(
        "verse006",
        "verse-spinenav/sub-verse006_seg-vert_msk.nii.gz",
        "verse",
    );
    row("s0327", "totalseg-s0327/", "classes");
    row(
        "example",
        "totalsegmentator-tests/spine_report/totalseg.nii.gz",
        "totalsegmentator",
    );
    let exit = cohort
        .run("out", &["model.chain=[\"identity\"]"])
        .await
        .expect("run");
    let cases = cohort.table("out", "cases").await;
    let vertebrae: Vec<_> = cases
        .iter()
        .map(|row| (row["case_id"].as_str(), row["vertebrae"].as_str()))
        .collect();
    println!("{vertebrae:?}");
    assert_eq!(exit, Exit::Done, "{cases:?}");
    assert_eq!(
        vertebrae,
        [
            ("example", "5"),
            ("s0327", "5"),
            ("verse004", "5"),
            ("verse006", "2")
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_of_the_collection_makes_the_flow_stumble() {
    let Some(shared) = shared() else { return };
    let mut cohort = Cohort::new();
    let mut count = 0;
    for path in files(&shared.join("data")) {
        count += 1;
        cohort.row(&format!("f{count},file://{},verse,,", path.display()));
    }
    assert!(count > 150, "the collection is there");
    cohort
        .run("out", &["model.chain=[\"identity\"]", "write.volumes=[]"])
        .await
        .expect("run");
    let rows = cohort.table("out", "cases").await;
    assert_eq!(rows.len(), count, "one row a file");
    let bugs: Vec<_> = rows.iter().filter(|row| row["kind"] == "Bug").collect();
    assert!(bugs.is_empty(), "{bugs:?}");
    assert!(rows.iter().any(|row| row["status"] == "done"));
}
