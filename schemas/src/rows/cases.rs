//! Table `cases`: one row a manifest case, whatever happened to it.

use super::Row;
use super::column::{Column, count, files, moment, real, text, wide};
use crate::payload::WrittenFile;

/// Stages whose milliseconds have a column of their own, in the order of the flow.
pub const TIMED_STAGES: [&str; 7] = [
    "weigh",
    "fetch",
    "decode",
    "crop",
    "reconstruct",
    "evaluate",
    "write",
];

/// Fate of one case of the manifest.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is described once, in the list of columns below"
)]
pub struct CaseRow {
    pub case_id: String,
    pub person: Option<String>,
    pub attempt: u32,
    pub status: &'static str,
    pub stage: Option<&'static str>,
    pub kind: Option<&'static str>,
    pub reason: Option<&'static str>,
    pub message: Option<String>,
    pub vertebrae: u32,
    pub vertebrae_failed: u32,
    pub bytes_read: Option<u64>,
    pub files: Vec<WrittenFile>,
    pub seed: Option<u64>,
    pub software_version: &'static str,
    pub duration_ms: f64,
    /// In the order of [`TIMED_STAGES`].
    pub stage_ms: [Option<f64>; TIMED_STAGES.len()],
    pub worker: String,
    /// Milliseconds since the beginning of 1970, UTC.
    pub finished_at: Option<i64>,
}

impl Row for CaseRow {
    const TABLE: &'static str = "cases";
    const ABOUT: &'static str = "A row a case of the manifest and attempt, whatever happened to it";
    const PLACE: &'static str = "<output>/tables/cases/run=<id>/part-<key>.parquet";

    fn case_id(&self) -> &str {
        &self.case_id
    }

    fn columns() -> Vec<Column<Self>> {
        let mut columns = vec![
            text(
                "case_id",
                "pseudonym from the manifest; row-<n> for a row without a usable one",
                |row: &Self| Some(&row.case_id),
            )
            .required(),
            text("person", "pseudonym of the person, for splits", |row: &Self| {
                row.person.as_deref()
            }),
            count(
                "attempt",
                "number of the start of the run that made the row; readers take a case's highest",
                |row: &Self| Some(row.attempt),
            )
            .required(),
            text("status", "done or failed", |row: &Self| Some(row.status)).required(),
            text("stage", "stage in which the case failed", |row: &Self| row.stage),
            text(
                "kind",
                "whose matter the fault is: Missing, Unreadable, Unsuitable, …",
                |row: &Self| row.kind,
            ),
            text("reason", "stable code of the fault", |row: &Self| row.reason),
            text("message", "what was expected and what was found", |row: &Self| {
                row.message.as_deref()
            }),
            count(
                "vertebrae",
                "vertebrae found: as many rows as the table vertebrae has",
                |row: &Self| Some(row.vertebrae),
            )
            .required(),
            count(
                "vertebrae_failed",
                "how many of these failed alone",
                |row: &Self| Some(row.vertebrae_failed),
            )
            .required(),
            wide("bytes_read", "bytes fetched from the store", |row: &Self| {
                row.bytes_read
            }),
            files(
                "files",
                "files below the case's folder in volumes/run=<id>/, with size and SHA-256; the hash of a reconstruction may vary with the batch",
                |row: &Self| &row.files,
            ),
            wide(
                "seed",
                "seed of the case: from the run's seed and the case's id",
                |row: &Self| row.seed,
            ),
            text("software_version", "version of spinestream", |row: &Self| {
                Some(row.software_version)
            })
            .required(),
            real("duration_ms", "circumstance: time in all stages", |row: &Self| {
                Some(row.duration_ms)
            })
            .required(),
        ];
        for (index, stage) in TIMED_STAGES.into_iter().enumerate() {
            let description = format!("circumstance: time in stage {stage}");
            columns.push(real(format!("{stage}_ms"), description, move |row: &Self| {
                row.stage_ms[index]
            }));
        }
        columns.push(
            text(
                "worker",
                "circumstance: process that did it; runs/<id>/<worker>.json tells more",
                |row: &Self| Some(&row.worker),
            )
            .required(),
        );
        columns.push(moment(
            "finished_at",
            "circumstance: when the case's row was made, by the clock of its machine; null in files from before this column",
            |row: &Self| row.finished_at,
        ));
        columns
    }
}
