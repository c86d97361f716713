//! A bench's cohort: a few phantoms, copied so that every case has objects of its own.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Setting;
use super::store::Copy;
use crate::manifest::{self, Row};
use crate::report;

/// Distinct phantoms.
const PHANTOMS: usize = 20;

/// The cohort's prefix in the store.
const PREFIX: &str = "cohort";

/// What was put.
#[derive(Debug, Clone, Serialize)]
pub struct Cohort {
    /// How many of the cases differ.
    phantoms: usize,
    /// Masks and references.
    objects: usize,
    /// Of these.
    bytes: u64,
}

impl Cohort {
    /// Puts masks and references of as many cases as the largest of `sizes`, and a manifest of each size.
    ///
    /// # Errors
    /// The program makes no phantoms, or the store takes no objects.
    pub fn make(setting: &Setting, sizes: &[usize]) -> Result<Self> {
        let folder = setting.desk.work.join("phantoms");
        report::stage(&format!("making {PHANTOMS} phantoms …"));
        setting.binary.must(&[
            "phantom",
            &PHANTOMS.to_string(),
            &folder.to_string_lossy(),
            "--seed",
            &setting.desk.seed.to_string(),
        ])?;
        let phantoms = manifest::read(&folder.join("manifest.csv"))?;

        let cases = sizes.iter().copied().max().unwrap_or_default();
        let mut rows = Vec::new();
        let mut copies = Vec::new();
        let mut bytes = 0;
        for (number, phantom) in (1..=cases).zip(phantoms.iter().cycle()) {
            let case_id = format!("case-{number:06}");
            let mask = format!("{case_id}_dseg.nii.gz");
            let reference = format!("{case_id}_ct_dseg.nii.gz");
            for (file, name) in [(&phantom.mask, &mask), (&phantom.reference, &reference)] {
                let file = folder.join(file);
                bytes += fs::metadata(&file).context("a phantom is not there")?.len();
                let key = format!("{PREFIX}/{name}");
                copies.push(Copy { file, key });
            }
            rows.push(Row {
                case_id: case_id.clone(),
                mask,
                reference,
                person: case_id,
                ..phantom.clone()
            });
        }
        let cohort = Self {
            phantoms: phantoms.len().min(cases),
            objects: copies.len(),
            bytes,
        };
        for size in sizes {
            let key = cohort.manifest(*size);
            let file = setting.desk.work.join(format!("manifest-{size}.csv"));
            let first: Vec<Row> = rows.iter().take(*size).cloned().collect();
            manifest::write(&file, &first)?;
            copies.push(Copy { file, key });
        }
        report::stage(&format!(
            "putting {} objects, {} …",
            cohort.objects,
            super::mib(bytes)
        ));
        setting.store.put(&copies)?;
        Ok(cohort)
    }

    /// Returns the key of the manifest of that size.
    pub fn manifest(&self, cases: usize) -> String {
        format!("{PREFIX}/manifest-{cases}.csv")
    }
}
