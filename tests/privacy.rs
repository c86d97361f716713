//! Nothing of a patient leaves through logs, errors, file names or tables.

use std::process::Command;

use ndarray::{Array3, ShapeBuilder as _};
use schemas::Affine;
use stages::decode::nifti::write_mask;

/// Made-up name and record number: they stand in object keys and in a header's free text.
const NAME: &str = "DOE-JANE-MRN7766554433";

#[test]
fn names_in_keys_and_headers_go_nowhere() {
    let folder = tempfile::tempdir().expect("folder");
    let cohort = folder.path().join("cohort");
    std::fs::create_dir(&cohort).expect("folder");
    let mut data = Array3::<u8>::zeros((30, 30, 30).f());
    data.slice_mut(ndarray::s![5..25, 5..25, 5..25]).fill(22);
    let mask = write_mask(data.view(), &Affine::axis_aligned([1.0; 3], [0.0; 3])).expect("nifti");
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&mask[..]), &mut plain).expect("gzip");
    plain[148..148 + NAME.len()].copy_from_slice(NAME.as_bytes());
    std::fs::write(cohort.join(format!("{NAME}.nii")), &plain).expect("write");
    std::fs::write(cohort.join(format!("{NAME}_broken.nii")), &plain[..400]).expect("write");
    let manifest = format!(
        "case_id,mask,labels\ngood,{NAME}.nii,verse\nbroken,{NAME}_broken.nii,verse\ngone,{NAME}/none.nii,verse\n{NAME}!,x.nii,verse\nscheme,{NAME}.nii,{NAME}\n"
    );
    std::fs::write(cohort.join("manifest.csv"), manifest).expect("write");

    let out = folder.path().join("out");
    let ran = Command::new(env!("CARGO_BIN_EXE_spinestream"))
        .args(["run", "-vv", "--set", "model.chain=[\"identity\"]"])
        .arg("--set")
        .arg(format!("run.manifest={}", cohort.join("manifest.csv").display()))
        .arg("--set")
        .arg(format!("run.output={}", out.display()))
        .output()
        .expect("runs");
    assert_eq!(
        ran.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(
        !holds_name(&ran.stdout) && !holds_name(&ran.stderr),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );

    let mut files = 0;
    let mut folders = vec![out];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            assert!(!holds_name(path.to_string_lossy().as_bytes()));
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).expect("file");
            assert!(!holds_name(&bytes), "{}", path.display());
            if path.extension().is_some_and(|extension| extension == "gz") {
                let mut plain = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut plain)
                    .expect("gzip");
                assert!(!holds_name(&plain));
            }
            if path.extension().is_some_and(|extension| extension == "parquet") {
                for row in crate::support::rows_of(bytes.into()) {
                    assert!(row.values().all(|cell| !holds_name(cell.as_bytes())), "{row:?}");
                }
            }
        }
    }
    assert_eq!(files, 5, "two tables, two volumes, one record");
}

fn holds_name(bytes: &[u8]) -> bool {
    bytes
        .windows(10)
        .any(|window| window.eq_ignore_ascii_case(b"7766554433"))
}
