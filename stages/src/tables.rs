//! The sink: gathers rows and publishes them as Parquet parts, the `cases` part last, as the commit.
//!
//! A part's name is the hash of run, attempt and its sorted case ids, the same for both tables. A case is done if
//! and only if its row is in a published `cases` part.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt32Type;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use schemas::rows::{CaseRow, Row, SCHEMA_KEY, SCHEMA_VERSION, TIMED_STAGES, VertebraRow};
use schemas::{Case, Failure, Outcome, Spent, Written};
use sha2::{Digest as _, Sha256};

use crate::stage::{Sink, blocking};
use crate::store::{Place, StoreError};
use crate::write::WriteConf;

/// Version of the software, as every row names it.
pub const SOFTWARE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Most bytes of one published part that is read back; a part of a thousand cases has about two million.
const PART_MOST: u64 = 1 << 30;

/// Why the tables cannot be written or read back: ends the run.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows could not be encoded.
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Rows make no batch.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A published part lacks the columns that say which cases are done.
    #[error(
        "expected a part of table cases with columns case_id, status and vertebrae_failed, found another file below tables/cases"
    )]
    Foreign,
}

/// The tables of one run.
#[derive(Debug)]
pub struct Tables {
    output: Place,
    run: String,
    worker: String,
    attempt: u32,
    conf: WriteConf,
    pending: Vec<(CaseRow, Vec<VertebraRow>)>,
    oldest: Option<Instant>,
    parts: usize,
}

impl Tables {
    /// Opens the tables of run `run` below `output`.
    pub fn new(output: Place, run: &str, worker: &str, conf: WriteConf) -> Self {
        Self {
            output,
            run: run.to_owned(),
            worker: worker.to_owned(),
            attempt: 0,
            conf,
            pending: Vec::new(),
            oldest: None,
            parts: 0,
        }
    }

    /// Returns how many parts have been published by this process.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Returns which cases earlier starts of this run have done, and clears parts that a killed run left half published.
    ///
    /// # Errors
    /// The store's, or a part that is none of ours.
    pub async fn published(&self) -> Result<Published, TablesError> {
        let mut published = Published::default();
        // vertebrae first: a part that another process commits meanwhile is then no orphan
        let vertebrae = self.folder::<VertebraRow>();
        let vertebrae_parts = vertebrae.list().await?;
        let cases = self.folder::<CaseRow>();
        let mut names = HashSet::new();
        for part in cases.list().await? {
            names.extend(part.location.filename().map(str::to_owned));
            let place = Place {
                store: cases.store.clone(),
                path: part.location,
            };
            published.add_part(place.read(PART_MOST).await?)?;
        }
        for part in vertebrae_parts {
            if !part.location.filename().is_some_and(|name| names.contains(name)) {
                let orphan = Place {
                    store: vertebrae.store.clone(),
                    path: part.location,
                };
                orphan.delete().await?;
            }
        }
        Ok(published)
    }

    /// Publishes what is held if it has been held long enough; called now and then while no outcome comes.
    ///
    /// # Errors
    /// The part could not be published.
    pub async fn tick(&mut self) -> Result<(), TablesError> {
        let longest = Duration::from_secs(self.conf.seconds_per_part);
        if self.oldest.is_some_and(|oldest| oldest.elapsed() >= longest) {
            self.publish().await?;
        }
        Ok(())
    }

    fn folder<R: Row>(&self) -> Place {
        self.output.join(&format!("tables/{}/run={}", R::TABLE, self.run))
    }

    async fn publish(&mut self) -> Result<(), TablesError> {
        self.oldest = None;
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.pending);
        held.sort_by(|(a, _), (b, _)| a.case_id.cmp(&b.case_id));
        let name = format!(
            "part-{}.parquet",
            part_key(&self.run, self.attempt, held.iter().map(|(row, _)| row))
        );
        let (vertebrae, cases) = blocking(move || {
            let (cases, vertebrae): (Vec<CaseRow>, Vec<Vec<VertebraRow>>) = held.into_iter().unzip();
            let vertebrae = vertebrae.concat();
            Ok::<_, TablesError>((encode(&vertebrae)?, encode(&cases)?))
        })
        .await?;
        // in this order: a cases part without its vertebrae would be a lie, the other way round is an orphan
        self.folder::<VertebraRow>().join(&name).put(vertebrae).await?;
        if !self.folder::<CaseRow>().join(&name).create(cases).await? {
            tracing::warn!("a part of the same cases was there already: another process did them too");
        }
        self.parts += 1;
        Ok(())
    }

    fn row_of_case(&self, case: &Case<Written>) -> CaseRow {
        let vertebrae = &case.body.vertebrae;
        let failed = vertebrae.iter().filter(|row| row.status != "done").count();
        CaseRow {
            case_id: case.id.to_string(),
            person: case.person.clone(),
            attempt: self.attempt,
            status: "done",
            stage: None,
            kind: None,
            reason: None,
            message: None,
            vertebrae: vertebrae.len() as u32,
            vertebrae_failed: failed as u32,
            bytes_read: Some(case.body.origin.bytes_read),
            seed: Some(case.body.origin.seed),
            software_version: SOFTWARE_VERSION,
            duration_ms: total_ms(&case.spent),
            stage_ms: stage_ms(&case.spent),
            worker: self.worker.clone(),
        }
    }

    fn row_of_failure(&self, failure: &Failure) -> CaseRow {
        CaseRow {
            case_id: failure.id.to_string(),
            person: failure.person.clone(),
            attempt: self.attempt,
            status: "failed",
            stage: Some(failure.stage),
            kind: Some(failure.fault.kind.as_str()),
            reason: Some(failure.fault.reason),
            message: Some(failure.fault.message.clone()),
            vertebrae: 0,
            vertebrae_failed: 0,
            bytes_read: None,
            seed: None,
            software_version: SOFTWARE_VERSION,
            duration_ms: total_ms(&failure.spent),
            stage_ms: stage_ms(&failure.spent),
            worker: self.worker.clone(),
        }
    }
}

impl Sink<Written> for Tables {
    type Error = TablesError;

    async fn accept(&mut self, outcome: Outcome<Written>) -> Result<(), TablesError> {
        let rows = match outcome {
            Ok(mut case) => {
                let row = self.row_of_case(&case);
                for vertebra in &mut case.body.vertebrae {
                    vertebra.attempt = self.attempt;
                }
                (row, case.body.vertebrae)
            }
            Err(failure) => (self.row_of_failure(&failure), Vec::new()),
        };
        self.pending.push(rows);
        self.oldest.get_or_insert_with(Instant::now);
        if self.pending.len() >= self.conf.rows_per_part {
            return self.publish().await;
        }
        self.tick().await
    }

    async fn close(mut self) -> Result<(), TablesError> {
        self.publish().await
    }
}

fn total_ms(spent: &Spent) -> f64 {
    spent.iter().map(|(_, time)| time.as_secs_f64() * 1e3).sum()
}

fn stage_ms(spent: &Spent) -> [Option<f64>; TIMED_STAGES.len()] {
    TIMED_STAGES.map(|stage| {
        let found = spent.iter().find(|(name, _)| *name == stage);
        found.map(|(_, time)| time.as_secs_f64() * 1e3)
    })
}

/// Returns the name of a part: the same cases of the same attempt always come to the same name.
fn part_key<'a>(run: &str, attempt: u32, sorted: impl Iterator<Item = &'a CaseRow>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(run.as_bytes());
    hasher.update([0]);
    hasher.update(attempt.to_le_bytes());
    for row in sorted {
        hasher.update(row.case_id.as_bytes());
        hasher.update([0]);
    }
    hasher
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Returns the rows as one Parquet file: ZSTD, statistics, a bloom filter on `case_id`, the schema's version.
///
/// # Errors
/// Arrow's or Parquet's.
pub fn encode<R: Row>(rows: &[R]) -> Result<Bytes, TablesError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(10_000))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_bloom_filter_enabled(ColumnPath::from("case_id"), true)
        .set_column_bloom_filter_max_ndv(ColumnPath::from("case_id"), rows.len().max(16) as u64)
        .set_created_by(format!("spinestream {SOFTWARE_VERSION}"))
        .set_key_value_metadata(Some(vec![KeyValue::new(
            SCHEMA_KEY.to_owned(),
            SCHEMA_VERSION.to_owned(),
        )]))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), R::schema(), Some(properties))?;
    writer.write(&R::batch(rows)?)?;
    Ok(writer.into_inner()?.into())
}

/// What the published parts say of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// Ids of the cases that have a row, folded.
    pub ids: HashSet<String>,
    /// Those among them that failed, or of which a vertebra did.
    pub failed: HashSet<String>,
}

impl Published {
    fn add_part(&mut self, part: Bytes) -> Result<(), TablesError> {
        const COLUMNS: [&str; 3] = ["case_id", "status", "vertebrae_failed"];
        let builder = ParquetRecordBatchReaderBuilder::try_new(part)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
        for batch in builder.with_projection(mask).build()? {
            let batch = batch?;
            let column = |name: &str| batch.column_by_name(name).ok_or(TablesError::Foreign);
            let texts = |name: &str| column(name)?.as_string_opt::<i32>().ok_or(TablesError::Foreign);
            let vertebrae = column("vertebrae_failed")?;
            let vertebrae = vertebrae
                .as_primitive_opt::<UInt32Type>()
                .ok_or(TablesError::Foreign)?;
            let rows = texts("case_id")?.iter().zip(texts("status")?).zip(vertebrae);
            for ((id, status), vertebrae_failed) in rows {
                let id = id.unwrap_or_default().to_ascii_lowercase();
                if status != Some("done") || vertebrae_failed.unwrap_or_default() > 0 {
                    self.failed.insert(id.clone());
                }
                self.ids.insert(id);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Stores;
    use schemas::{CaseId, Fault, ObjectUrl};

    fn failure(id: &str) -> Outcome<Written> {
        let fault = Fault::missing("object_not_found", "mask: expected an object, found none there");
        let id: CaseId = id.parse().expect("id");
        Err(Failure {
            id,
            person: None,
            stage: "fetch",
            fault,
            spent: vec![("fetch", Duration::from_millis(2))],
        })
    }

    fn tables(stores: &Stores, rows_per_part: usize) -> Tables {
        let output = stores.place(&ObjectUrl::new("memory:///out")).expect("place");
        Tables::new(
            output,
            "r1",
            "w1",
            WriteConf {
                rows_per_part,
                ..WriteConf::default()
            },
        )
    }

    #[tokio::test]
    async fn published_cases_are_known_and_orphans_go() {
        let stores = Stores::default();
        let mut sink = tables(&stores, 2);
        for id in ["b", "A", "c"] {
            sink.accept(failure(id)).await.expect("accept");
        }
        assert_eq!(sink.parts(), 1, "the third case waits");
        let orphan = stores.place(&ObjectUrl::new(
            "memory:///out/tables/vertebrae/run=r1/part-x.parquet",
        ));
        orphan
            .expect("place")
            .put(Bytes::from_static(b"half"))
            .await
            .expect("put");
        let done = tables(&stores, 2).published().await.expect("published");
        assert_eq!(done.ids, HashSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(done.failed.len(), 2);
        let left = stores
            .place(&ObjectUrl::new("memory:///out/tables/vertebrae"))
            .expect("place")
            .list()
            .await;
        assert_eq!(left.expect("list").len(), 1, "the orphan has gone");
        sink.close().await.expect("close");
        assert_eq!(
            tables(&stores, 2).published().await.expect("published").ids.len(),
            3
        );
    }

    #[test]
    fn a_part_is_named_by_its_cases_alone() {
        let stores = Stores::default();
        let tables = tables(&stores, 2);
        let rows: Vec<CaseRow> = ["a", "b"]
            .iter()
            .map(|id| tables.row_of_failure(&failure(id).expect_err("failure")))
            .collect();
        assert_eq!(part_key("r", 0, rows.iter()), part_key("r", 0, rows.iter()));
        assert_ne!(part_key("r", 0, rows.iter()), part_key("r", 1, rows.iter()));
        assert_ne!(
            part_key("r", 0, rows.iter()),
            part_key("r", 0, rows.iter().take(1))
        );
    }

    #[test]
    fn a_part_says_its_schema_version() {
        let bytes = encode::<CaseRow>(&[]).expect("encode");
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("readable");
        let metadata = builder
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .expect("metadata")
            .clone();
        assert!(
            metadata
                .iter()
                .any(|pair| pair.key == SCHEMA_KEY && pair.value.as_deref() == Some(SCHEMA_VERSION))
        );
    }
}
