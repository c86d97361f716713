//! Table `comparison`: one row a method and vertebra.

use std::sync::Arc;

use super::Row;
use super::column::{Column, real, text, texts, wide};
use super::metrics::metrics;
use super::model::{agreement, model};
use super::registered::registered;
use crate::vertebra::{ModelIdentity, Registered, SampleSpread, Scores};

/// What one method made of one vertebra, against its reference.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is described once, in the list of columns below"
)]
pub struct ComparisonRow {
    pub comparison: String,
    pub method: String,
    pub model: Arc<ModelIdentity>,
    pub case_id: String,
    pub person: String,
    pub level: &'static str,
    pub origin: &'static str,
    pub seed: u64,
    pub status: &'static str,
    pub kind: Option<&'static str>,
    pub reason: Option<&'static str>,
    pub message: Option<String>,
    pub flags: Vec<&'static str>,
    pub input_volume_mm3: f64,
    pub recon_volume_mm3: Option<f64>,
    pub reference_volume_mm3: f64,
    pub input: Scores,
    pub recon: Option<Scores>,
    pub registered: Option<Registered>,
    pub spread: Option<SampleSpread>,
    pub seconds: f64,
    pub cpu_seconds: f64,
}

impl Row for ComparisonRow {
    const TABLE: &'static str = "comparison";
    const ABOUT: &'static str = "A row a method and vertebra of a comparison";
    const PLACE: &'static str = "<output>/tables/comparison/part-<key>.parquet";

    fn case_id(&self) -> &str {
        &self.case_id
    }

    fn columns() -> Vec<Column<Self>> {
        let mut columns = vec![
            text(
                "comparison",
                "key of the comparison: hash of what decides its results",
                |row: &Self| Some(&row.comparison),
            )
            .required(),
            text(
                "method",
                "name of the method in the configuration",
                |row: &Self| Some(&row.method),
            )
            .required(),
        ];
        columns.extend(model(|row: &Self| &row.model));
        columns.extend([
            text("case_id", "pseudonym of the case", |row: &Self| {
                Some(&row.case_id)
            })
            .required(),
            text("person", "pseudonym of the person", |row: &Self| {
                Some(&row.person)
            })
            .required(),
            text("level", "L1 to L6", |row: &Self| Some(row.level)).required(),
            text(
                "origin",
                "of the input: paired (a mask of its own) or degraded (standard degradation of the reference)",
                |row: &Self| Some(row.origin),
            )
            .required(),
            wide(
                "seed",
                "seed of degradation and samples: from the comparison's seed, person and level",
                |row: &Self| Some(row.seed),
            )
            .required(),
            text(
                "status",
                "done or failed: whether the method gave a reconstruction",
                |row: &Self| Some(row.status),
            )
            .required(),
            text("kind", "whose matter the fault is", |row: &Self| row.kind),
            text("reason", "stable code of the fault", |row: &Self| row.reason),
            text("message", "what was expected and what was found", |row: &Self| {
                row.message.as_deref()
            }),
            texts(
                "flags",
                "touches_border, touches_cube, fragments, reconstruction_empty, registration_at_limit, …",
                |row: &Self| row.flags.clone(),
            )
            .required(),
            real(
                "input_volume_mm3",
                "volume of the input in the patch",
                |row: &Self| Some(row.input_volume_mm3),
            )
            .required(),
            real(
                "recon_volume_mm3",
                "volume of the reconstruction as it lies, never of the registered one",
                |row: &Self| row.recon_volume_mm3,
            ),
            real(
                "reference_volume_mm3",
                "volume of the reference in the patch",
                |row: &Self| Some(row.reference_volume_mm3),
            )
            .required(),
        ]);
        columns.extend(metrics("input", "input against reference", |row: &Self| {
            Some(row.input)
        }));
        columns.extend(metrics(
            "recon",
            "reconstruction against reference",
            |row: &Self| row.recon,
        ));
        columns.extend(registered(|row: &Self| row.registered));
        columns.extend(agreement(|row: &Self| row.spread.as_ref()));
        columns.extend([
            real(
                "seconds",
                "circumstance: wall time of the reconstruction, one vertebra alone",
                |row: &Self| Some(row.seconds),
            )
            .required(),
            real(
                "cpu_seconds",
                "circumstance: processor time of the reconstruction, all threads, user and system",
                |row: &Self| Some(row.cpu_seconds),
            )
            .required(),
        ]);
        columns
    }
}
