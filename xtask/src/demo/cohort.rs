//! The demo's cohort: real masks, phantoms, a damaged file and one that is not there.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::manifest::{self, Row};
use crate::sample;
use crate::spinestream::Binary;

/// Id of the case whose mask is cut short.
pub const CORRUPT: &str = "corrupt";

/// Id of the case whose mask is not there.
pub const MISSING: &str = "missing";

/// The demo's own label table: which level it takes the MRI patch's instance for.
pub const MRI_SCHEME: &str = "demo-mri";

/// Seed of the thick-slice degradation of the real CT mask.
const DEGRADE_SEED: &str = "0";

/// Number and seed of the phantoms.
const PHANTOMS: (&str, &str) = ("3", "7");

/// Makes the cohort in the folder, and returns how many cases its manifest lists.
///
/// # Errors
/// A verb of the program failed, or a file cannot be written.
pub fn make(binary: &Binary, sample: &Path, folder: &Path) -> Result<usize> {
    fs::create_dir_all(folder)?;
    for file in [
        sample::CT_IMAGE,
        sample::CT_LABELS,
        sample::MRI_IMAGE,
        sample::MRI_LABELS,
        "LICENSE",
        "NOTICE",
    ] {
        fs::copy(sample.join(file), folder.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();

    let degraded = "sub-ct_desc-thick_msk.nii.gz";
    binary.must(&[
        "degrade",
        &path(sample::CT_LABELS),
        &path(degraded),
        "--seed",
        DEGRADE_SEED,
    ])?;
    let (number, seed) = PHANTOMS;
    binary.must(&["phantom", number, &path("phantoms"), "--seed", seed])?;
    let damaged = "cut-short.nii.gz";
    cut_short(&folder.join(sample::MRI_LABELS), &folder.join(damaged))?;

    let mut rows = vec![
        Row {
            case_id: "ct-patch".to_owned(),
            mask: degraded.to_owned(),
            labels: "verse".to_owned(),
            reference: sample::CT_LABELS.to_owned(),
            reference_labels: "verse".to_owned(),
            image: sample::CT_IMAGE.to_owned(),
            person: "sample-ct".to_owned(),
        },
        Row {
            case_id: "mri-patch".to_owned(),
            mask: sample::MRI_LABELS.to_owned(),
            labels: MRI_SCHEME.to_owned(),
            image: sample::MRI_IMAGE.to_owned(),
            person: "sample-mri".to_owned(),
            ..Row::default()
        },
    ];
    let phantoms = manifest::read(&folder.join("phantoms/manifest.csv"))?;
    rows.extend(rows_below("phantoms", phantoms));
    for (case_id, mask) in [(CORRUPT, damaged), (MISSING, "not-there.nii.gz")] {
        rows.push(Row {
            case_id: case_id.to_owned(),
            mask: mask.to_owned(),
            labels: "verse".to_owned(),
            ..Row::default()
        });
    }

    manifest::write(&folder.join("manifest.csv"), &rows)?;
    Ok(rows.len())
}

/// Rows of a manifest that lies in a folder below ours: relative paths in it become relative to ours.
fn rows_below(folder: &str, mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        for path in [&mut row.mask, &mut row.reference, &mut row.image] {
            let relative = !path.is_empty() && !path.contains("://") && !path.starts_with('/');
            if relative {
                *path = format!("{folder}/{path}");
            }
        }
    }
    rows
}

/// Writes the first half of a gzip file: its header is sound, its end is not there.
fn cut_short(whole: &Path, half: &Path) -> Result<()> {
    let bytes = fs::read(whole)?;
    let (first, _) = bytes.split_at(bytes.len() / 2);
    Ok(fs::write(half, first)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_manifest_below_become_relative_to_ours() {
        let row = |mask: &str, reference: &str| Row {
            mask: mask.to_owned(),
            reference: reference.to_owned(),
            ..Row::default()
        };
        let rows = rows_below(
            "phantoms",
            vec![
                row("masks/1.nii.gz", "/far/1.nii.gz"),
                row("s3://bucket/2.nii.gz", ""),
            ],
        );
        let paths: Vec<_> = rows
            .iter()
            .map(|row| [&row.mask, &row.reference, &row.image])
            .collect();
        assert_eq!(
            paths,
            [
                ["phantoms/masks/1.nii.gz", "/far/1.nii.gz", ""],
                ["s3://bucket/2.nii.gz", "", ""]
            ]
        );
    }
}
