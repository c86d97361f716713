//! The demo's cohort: real masks, phantoms, a damaged file and one that is not there.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Binary;
use crate::sample;

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

/// One row of a cohort manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Row {
    case_id: String,
    mask: String,
    labels: String,
    reference: String,
    reference_labels: String,
    image: String,
    person: String,
}

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
    let phantoms =
        File::open(folder.join("phantoms/manifest.csv")).context("the phantoms have no manifest")?;
    rows.extend(rows_below("phantoms", phantoms)?);
    for (case_id, mask) in [(CORRUPT, damaged), (MISSING, "not-there.nii.gz")] {
        rows.push(Row {
            case_id: case_id.to_owned(),
            mask: mask.to_owned(),
            labels: "verse".to_owned(),
            ..Row::default()
        });
    }

    let mut manifest = csv::Writer::from_path(folder.join("manifest.csv"))?;
    for row in &rows {
        manifest.serialize(row)?;
    }
    manifest.flush()?;
    Ok(rows.len())
}

/// Reads a manifest that lies in a folder below ours: relative paths in it become relative to ours.
fn rows_below(folder: &str, manifest: impl std::io::Read) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for row in csv::Reader::from_reader(manifest).deserialize() {
        let mut row: Row = row?;
        for path in [&mut row.mask, &mut row.reference, &mut row.image] {
            let relative = !path.is_empty() && !path.contains("://") && !path.starts_with('/');
            if relative {
                *path = format!("{folder}/{path}");
            }
        }
        rows.push(row);
    }
    ensure!(!rows.is_empty(), "the manifest of {folder} has no row");
    Ok(rows)
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
        let manifest = "\
case_id,mask,labels,reference,reference_labels,person
phantom-1,masks/1.nii.gz,verse,/far/1.nii.gz,verse,phantom-1
phantom-2,s3://bucket/2.nii.gz,verse,,,phantom-2
";
        let rows = rows_below("phantoms", manifest.as_bytes()).expect("a manifest");
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
        assert!(
            rows_below("phantoms", "case_id,mask\n".as_bytes()).is_err(),
            "a manifest without rows"
        );
    }
}
