//! Rows as they are read back: texts where the tables have words, so that words of other versions pass.

use schemas::rows::TIMED_STAGES;
use schemas::vertebra::{METRIC_NAMES, Scores};

/// A row of table `cases`. Columns are described in `schemas/tables/cases.txt`.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is a column, described with the table")]
pub struct CaseSeen {
    pub case_id: String,
    pub person: Option<String>,
    pub attempt: u32,
    pub status: String,
    pub stage: Option<String>,
    pub kind: Option<String>,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub vertebrae: u32,
    pub vertebrae_failed: u32,
    pub bytes_read: Option<u64>,
    /// Names of the files.
    pub files: Vec<String>,
    pub software_version: String,
    pub duration_ms: Option<f64>,
    /// In the order of [`TIMED_STAGES`].
    pub stage_ms: [Option<f64>; TIMED_STAGES.len()],
    pub worker: String,
    /// In ms since 1970, UTC.
    pub finished_at: Option<i64>,
}

impl CaseSeen {
    /// Returns the id as ids are compared.
    pub(super) fn folded(&self) -> String {
        self.case_id.to_ascii_lowercase()
    }
}

/// A row of table `vertebrae`. Columns are described in `schemas/tables/vertebrae.txt`.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is a column, described with the table")]
pub struct VertebraSeen {
    pub case_id: String,
    pub person: String,
    pub attempt: u32,
    pub level: String,
    pub label: u32,
    pub status: String,
    pub kind: Option<String>,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub chain: Vec<String>,
    pub model_version: String,
    pub weights_sha256: String,
    pub steps: Option<u32>,
    pub sampler: Option<String>,
    pub samples: Option<u32>,
    pub affine: Option<[f64; 16]>,
    pub centre_mm: [Option<f64>; 3],
    pub source_spacing_mm: Option<[f64; 3]>,
    pub source_volume_mm3: Option<f64>,
    pub input_volume_mm3: Option<f64>,
    pub recon_volume_mm3: Option<f64>,
    pub reference_volume_mm3: Option<f64>,
    pub flags: Vec<String>,
    /// In the order of [`METRIC_NAMES`].
    pub input: Scores,
    /// In the order of [`METRIC_NAMES`].
    pub recon: Scores,
    pub samples_agreement: Option<f64>,
    pub latent: Option<Vec<f32>>,
    pub reconstruct_ms: Option<f64>,
    pub batch: Option<u32>,
}

impl VertebraSeen {
    /// Returns the id of its case as ids are compared.
    pub(super) fn folded(&self) -> String {
        self.case_id.to_ascii_lowercase()
    }

    /// Returns what a metric gained from input to reconstruction, where both have it.
    pub fn gain(&self, metric: &str) -> Option<f64> {
        let index = METRIC_NAMES.iter().position(|name| *name == metric)?;
        Some(self.recon[index]? - self.input[index]?)
    }
}
