//! Table `vertebrae`: one row a vertebra found.

use std::sync::Arc;

use super::Row;
use super::column::{Column, count, descriptor, real, reals, text, texts, wide};
use super::metrics::metrics;
use super::model::{agreement, model};
use super::registered::registered;
use crate::vertebra::{LATENT_LENGTH, ModelIdentity, Registered, SampleSpread, Scores};

/// One vertebra of one case.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is described once, in the list of columns below"
)]
pub struct VertebraRow {
    pub case_id: String,
    pub person: String,
    pub attempt: u32,
    pub level: &'static str,
    pub label: u32,
    pub status: &'static str,
    pub kind: Option<&'static str>,
    pub reason: Option<&'static str>,
    pub message: Option<String>,
    pub model: Arc<ModelIdentity>,
    pub seed: u64,
    pub centre_mm: [f64; 3],
    pub affine: [f64; 16],
    pub source_spacing_mm: [f64; 3],
    pub source_volume_mm3: f64,
    pub input_volume_mm3: f64,
    pub recon_volume_mm3: Option<f64>,
    pub reference_volume_mm3: Option<f64>,
    pub flags: Vec<&'static str>,
    pub input: Option<Scores>,
    pub recon: Option<Scores>,
    pub registered: Option<Registered>,
    pub spread: Option<SampleSpread>,
    pub latent: Option<Vec<f32>>,
    pub reconstruct_ms: f64,
    pub batch: u32,
}

impl Row for VertebraRow {
    const TABLE: &'static str = "vertebrae";
    const ABOUT: &'static str = "A row a vertebra found and attempt";
    const PLACE: &'static str = "<output>/tables/vertebrae/run=<id>/part-<key>.parquet";

    fn case_id(&self) -> &str {
        &self.case_id
    }

    fn columns() -> Vec<Column<Self>> {
        let mut columns = vec![
            text("case_id", "pseudonym of the case", |row: &Self| {
                Some(&row.case_id)
            })
            .required(),
            text("person", "pseudonym of the person, for splits", |row: &Self| {
                Some(&row.person)
            })
            .required(),
            count(
                "attempt",
                "number of the start of the run that made the row; readers take a case's highest",
                |row: &Self| Some(row.attempt),
            )
            .required(),
            text("level", "L1 to L6", |row: &Self| Some(row.level)).required(),
            count("label", "number in the input's label map", |row: &Self| {
                Some(row.label)
            })
            .required(),
            text(
                "status",
                "done or failed; a vertebra can fail alone",
                |row: &Self| Some(row.status),
            )
            .required(),
            text("kind", "whose matter the fault is", |row: &Self| row.kind),
            text("reason", "stable code of the fault", |row: &Self| row.reason),
            text("message", "what was expected and what was found", |row: &Self| {
                row.message.as_deref()
            }),
        ];
        columns.extend(model(|row: &Self| &row.model));
        columns.extend([wide(
            "seed",
            "seed of its chain: from the run's seed, case and level",
            |row: &Self| Some(row.seed),
        )
        .required()]);
        for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
            let description = format!("centre of the label's bounding box along {letter}, RAS mm");
            let name = format!("centre_{letter}_mm");
            columns.push(real(name, description, move |row: &Self| Some(row.centre_mm[axis])).required());
        }
        columns.extend([
            reals(
                "affine",
                "patch voxel index to RAS mm, 4 × 4 row by row",
                |row: &Self| row.affine,
            )
            .required(),
            reals(
                "source_spacing_mm",
                "voxel spacing of the scan along its own axes",
                |row: &Self| row.source_spacing_mm,
            )
            .required(),
            real(
                "source_volume_mm3",
                "volume of the label on the scan's own grid",
                |row: &Self| Some(row.source_volume_mm3),
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
                "volume of the reconstruction",
                |row: &Self| row.recon_volume_mm3,
            ),
            real(
                "reference_volume_mm3",
                "volume of the reference in the patch",
                |row: &Self| row.reference_volume_mm3,
            ),
            texts(
                "flags",
                "touches_border, touches_cube, fragments, reference_elsewhere, …",
                |row: &Self| row.flags.clone(),
            )
            .required(),
        ]);
        columns.extend(metrics("input", "input against reference", |row: &Self| {
            row.input
        }));
        columns.extend(metrics(
            "recon",
            "reconstruction against reference",
            |row: &Self| row.recon,
        ));
        columns.extend(registered(|row: &Self| row.registered));
        columns.extend(agreement(|row: &Self| row.spread.as_ref()));
        columns.extend([
            descriptor(
                "latent",
                "pooled descriptor of the latent, the same length for every method",
                LATENT_LENGTH,
                |row: &Self| row.latent.as_deref(),
            ),
            real(
                "reconstruct_ms",
                "circumstance: time in the model, waiting included",
                |row: &Self| Some(row.reconstruct_ms),
            )
            .required(),
            count(
                "batch",
                "circumstance: patches in its micro-batch",
                |row: &Self| Some(row.batch),
            )
            .required(),
        ]);
        columns
    }
}
