//! One part of both tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Fields, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::rows::{CaseRow, Row, SCHEMA_KEY, TIMED_STAGES, VertebraRow};
use schemas::vertebra::METRIC_NAMES;

use super::NO_VERSION;
use super::columns::Columns;
use super::rows::{CaseSeen, VertebraSeen};
use crate::stage::blocking;
use crate::tables::{PART_MOST, RunTables, TablesError};

/// What a part holds.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) cases: Vec<Arc<CaseSeen>>,
    pub(super) vertebrae: Vec<Arc<VertebraSeen>>,
    pub(super) versions: BTreeSet<String>,
    pub(super) unknown: BTreeSet<String>,
    pub(super) missing: BTreeSet<String>,
}

impl Part {
    /// Reads the part of that name from both tables.
    ///
    /// # Errors
    /// The store's; a file that is no Parquet, or has no cases.
    pub(super) async fn read(tables: &RunTables, name: &str) -> Result<Self, TablesError> {
        let cases = tables.folder::<CaseRow>().join(name).read(PART_MOST).await?;
        let vertebrae = tables.folder::<VertebraRow>().join(name).read(PART_MOST).await?;
        blocking(move || {
            let mut part = Self::default();
            for batch in part.batches::<CaseRow>(cases)? {
                part.add_cases(&batch)?;
            }
            for batch in part.batches::<VertebraRow>(vertebrae)? {
                part.add_vertebrae(&batch)?;
            }
            Ok(part)
        })
        .await
    }

    /// Returns the rows of one table, and notes how its schema differs from ours.
    fn batches<R: Row>(&mut self, bytes: bytes::Bytes) -> Result<Vec<RecordBatch>, TablesError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
        let metadata = builder.metadata().file_metadata().key_value_metadata();
        let version = metadata
            .into_iter()
            .flatten()
            .find(|entry| entry.key == SCHEMA_KEY)
            .and_then(|entry| entry.value.clone());
        self.versions
            .insert(version.unwrap_or_else(|| NO_VERSION.to_owned()));
        self.compare::<R>(builder.schema());
        Ok(builder.build()?.collect::<Result<_, _>>()?)
    }

    fn compare<R: Row>(&mut self, found: &SchemaRef) {
        let ours = R::schema();
        let differs = |name: &str| {
            let one = found.field_with_name(name).ok().map(Field::data_type);
            let other = ours.field_with_name(name).ok().map(Field::data_type);
            one != other
        };
        let named = |fields: &Fields| -> BTreeSet<String> {
            let names = fields.iter().map(|field| field.name());
            let other = names.filter(|name| differs(name));
            other.map(|name| format!("{}.{name}", R::TABLE)).collect()
        };
        self.unknown.extend(named(found.fields()));
        self.missing.extend(named(ours.fields()));
    }

    fn add_cases(&mut self, batch: &RecordBatch) -> Result<(), TablesError> {
        let columns = Columns(batch);
        for row in 0..batch.num_rows() {
            let text = |name: &str| columns.text(name, row);
            let case = CaseSeen {
                case_id: text("case_id").ok_or(TablesError::Foreign)?,
                person: text("person"),
                // of runs from before starts had numbers
                attempt: columns.count("attempt", row).unwrap_or(0),
                status: text("status").ok_or(TablesError::Foreign)?,
                stage: text("stage"),
                kind: text("kind"),
                reason: text("reason"),
                message: text("message"),
                vertebrae: columns.count("vertebrae", row).unwrap_or(0),
                vertebrae_failed: columns.count("vertebrae_failed", row).unwrap_or(0),
                bytes_read: columns.wide("bytes_read", row),
                files: columns.field_texts("files", "name", row),
                software_version: text("software_version").unwrap_or_default(),
                duration_ms: columns.real("duration_ms", row),
                stage_ms: TIMED_STAGES.map(|stage| columns.real(&format!("{stage}_ms"), row)),
                worker: text("worker").unwrap_or_default(),
                finished_at: columns.time("finished_at", row),
            };
            self.cases.push(Arc::new(case));
        }
        Ok(())
    }

    fn add_vertebrae(&mut self, batch: &RecordBatch) -> Result<(), TablesError> {
        let columns = Columns(batch);
        for row in 0..batch.num_rows() {
            let text = |name: &str| columns.text(name, row);
            let real = |name: &str| columns.real(name, row);
            let vertebra = VertebraSeen {
                case_id: text("case_id").ok_or(TablesError::Foreign)?,
                person: text("person").unwrap_or_default(),
                attempt: columns.count("attempt", row).unwrap_or(0),
                level: text("level").ok_or(TablesError::Foreign)?,
                label: columns.count("label", row).unwrap_or(0),
                status: text("status").ok_or(TablesError::Foreign)?,
                kind: text("kind"),
                reason: text("reason"),
                message: text("message"),
                chain: columns.texts("chain", row),
                model_version: text("model_version").unwrap_or_default(),
                weights_sha256: text("weights_sha256").unwrap_or_default(),
                steps: columns.count("steps", row),
                sampler: text("sampler"),
                samples: columns.count("samples", row),
                affine: columns.reals("affine", row),
                centre_mm: ["x", "y", "z"].map(|axis| real(&format!("centre_{axis}_mm"))),
                source_spacing_mm: columns.reals("source_spacing_mm", row),
                source_volume_mm3: real("source_volume_mm3"),
                input_volume_mm3: real("input_volume_mm3"),
                recon_volume_mm3: real("recon_volume_mm3"),
                reference_volume_mm3: real("reference_volume_mm3"),
                flags: columns.texts("flags", row),
                input: METRIC_NAMES.map(|metric| real(&format!("input_{metric}"))),
                recon: METRIC_NAMES.map(|metric| real(&format!("recon_{metric}"))),
                samples_agreement: real("samples_agreement"),
                latent: columns.singles("latent", row),
                reconstruct_ms: real("reconstruct_ms"),
                batch: columns.count("batch", row),
            };
            self.vertebrae.push(Arc::new(vertebra));
        }
        Ok(())
    }
}
