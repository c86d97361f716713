//! Table `objects`: one row an object that a walk of a DICOM dump has found, whatever became of it.

use super::Row;
use super::column::{Column, count, real, text, wide};

/// Fate of one object.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is described once, in the list of columns below"
)]
pub struct ObjectRow {
    pub object: String,
    pub outcome: &'static str,
    pub role: Option<&'static str>,
    pub reason: Option<&'static str>,
    pub message: Option<String>,
    pub case_id: Option<String>,
    pub study: Option<String>,
    pub series: Option<String>,
    pub sop_class: Option<&'static str>,
    pub modality: Option<&'static str>,
    pub transfer_syntax: Option<&'static str>,
    pub rows: Option<u32>,
    pub columns: Option<u32>,
    pub frames: Option<u32>,
    pub bytes: u64,
    pub bytes_read: u64,
    pub slices: Option<u32>,
    pub spacing_mm: Option<f64>,
    pub thickness_mm: Option<f64>,
    pub orientation: Option<&'static str>,
    pub spacing_class: Option<&'static str>,
    pub deviation_mm: Option<f64>,
}

impl Row for ObjectRow {
    const TABLE: &'static str = "objects";
    const ABOUT: &'static str =
        "A row an object that a walk of a DICOM dump has found, whatever became of it";
    const PLACE: &'static str = "<manifest>.objects.parquet";

    /// Empty for an object of no case.
    fn case_id(&self) -> &str {
        self.case_id.as_deref().unwrap_or_default()
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            text("object", "keyed hash of the object's key", |row: &Self| {
                Some(&row.object)
            })
            .required(),
            text("outcome", "used, not_used or unreadable", |row: &Self| {
                Some(row.outcome)
            })
            .required(),
            text(
                "role",
                "what a used object is in its case: image, mask or reference",
                |row: &Self| row.role,
            ),
            text(
                "reason",
                "stable code of why it is not used; null for used ones",
                |row: &Self| row.reason,
            ),
            text("message", "what was expected and what was found", |row: &Self| {
                row.message.as_deref()
            }),
            text(
                "case_id",
                "case that it belongs to; a series that is not sound belongs to the case of its segmentation",
                |row: &Self| row.case_id.as_deref(),
            ),
            text("study", "pseudonym of the study", |row: &Self| {
                row.study.as_deref()
            }),
            text("series", "pseudonym of the series", |row: &Self| {
                row.series.as_deref()
            }),
            text("sop_class", "the standard's keyword of its kind", |row: &Self| {
                row.sop_class
            }),
            text(
                "modality",
                "modality; other for one that is not shown",
                |row: &Self| row.modality,
            ),
            text(
                "transfer_syntax",
                "the standard's name of its encoding",
                |row: &Self| row.transfer_syntax,
            ),
            count("rows", "rows of a frame", |row: &Self| row.rows),
            count("columns", "columns of a frame", |row: &Self| row.columns),
            count("frames", "frames of the object", |row: &Self| row.frames),
            wide("bytes", "bytes of the object", |row: &Self| Some(row.bytes)).required(),
            wide(
                "bytes_read",
                "circumstance: bytes of it that were read",
                |row: &Self| Some(row.bytes_read),
            )
            .required(),
            count("slices", "series: its slices", |row: &Self| row.slices),
            real(
                "spacing_mm",
                "series: mean step from slice to slice by their positions",
                |row: &Self| row.spacing_mm,
            ),
            real(
                "thickness_mm",
                "series: slice thickness as its objects state it",
                |row: &Self| row.thickness_mm,
            ),
            text(
                "orientation",
                "series: sagittal, coronal, axial, oblique or mixed",
                |row: &Self| row.orientation,
            ),
            text(
                "spacing_class",
                "series: regular, tilted, uneven or uneven_tilted",
                |row: &Self| row.spacing_class,
            ),
            real(
                "deviation_mm",
                "series: farthest that a slice lies from where equal steps would have it",
                |row: &Self| row.deviation_mm,
            ),
        ]
    }
}
