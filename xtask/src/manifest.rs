//! Cohort manifests, as README.md tells users of them.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Pseudonym.
    pub case_id: String,
    /// Label map, as a URL or relative to the manifest.
    pub mask: String,
    /// Its label scheme.
    pub labels: String,
    /// Label map to compare with.
    pub reference: String,
    /// Its label scheme.
    pub reference_labels: String,
    /// The image that the mask was drawn on.
    pub image: String,
    /// Pseudonym of the person.
    pub person: String,
}

/// Reads a manifest of at least one row.
///
/// # Errors
/// It cannot be read, or has no row.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let read = || -> Result<Vec<Row>> {
        let rows: Vec<Row> = csv::Reader::from_path(path)?
            .deserialize()
            .collect::<Result<_, _>>()?;
        ensure!(!rows.is_empty(), "it has no row");
        Ok(rows)
    };
    read().with_context(|| format!("cannot read the manifest {}", path.display()))
}

/// Writes a manifest.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let mut manifest = csv::Writer::from_path(path)?;
    for row in rows {
        manifest.serialize(row)?;
    }
    Ok(manifest.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_without_rows_is_refused_and_written_rows_come_back() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("manifest.csv");
        std::fs::write(&path, "case_id,mask\n").expect("file");
        assert!(read(&path).is_err());
        let rows = [Row {
            case_id: "phantom-1".to_owned(),
            mask: "s3://bucket/1.nii.gz".to_owned(),
            ..Row::default()
        }];
        write(&path, &rows).expect("written");
        assert_eq!(read(&path).expect("read"), rows);
    }
}
