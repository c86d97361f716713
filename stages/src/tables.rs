//! The sink: gathers rows and publishes them as Parquet parts, the `cases` part last, as the commit.
//!
//! A part's name is the hash of run, attempt and its sorted case ids, the same for both tables. A case is done if
//! and only if its row is in a published `cases` part.

mod compact;
mod parts;
mod published;
mod verify;
pub mod views;
mod watched;

use std::time::{Duration, Instant, SystemTime};

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use schemas::rows::{CaseRow, Row, SCHEMA_KEY, SCHEMA_VERSION, TIMED_STAGES, VertebraRow};
use schemas::{Case, Failure, Outcome, Spent, Written};
use sha2::{Digest as _, Sha256};

use crate::stage::{Sink, blocking};
use crate::store::StoreError;
use crate::write::WriteConf;

pub use compact::{Compacted, compact};
pub(crate) use parts::PART_MOST;
use parts::exists;
pub use parts::{Listing, RunTables};
pub use published::{Last, Published, fingerprint};
pub use verify::{Problem, Verified, verify};
pub use watched::Watched;

/// Version of the software, as every row names it.
pub const SOFTWARE_VERSION: &str = env!("CARGO_PKG_VERSION");

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
    /// A part of this attempt and these cases is there already.
    #[error(
        "expected a name of its own for a part, found it taken: another process writes rows of the same attempt"
    )]
    Taken,
    /// A merged part would be larger than what is read back.
    #[error(
        "expected merged parts of less than 1 GiB, found a larger one of table {0}: merge fewer rows at once"
    )]
    TooLarge(&'static str),
    /// A part has columns that this version does not know, or knows otherwise.
    #[error(
        "expected parts of schema version {SCHEMA_VERSION} or earlier, found a column {0} that this version does not know"
    )]
    Newer(String),
    /// A published part lacks the columns that say which cases are done.
    #[error(
        "expected a part of table cases with columns case_id, status and vertebrae_failed, found another file below tables/cases"
    )]
    Foreign,
}

/// The tables of one run.
#[derive(Debug)]
pub struct Tables {
    place: RunTables,
    worker: String,
    attempt: u32,
    conf: WriteConf,
    pending: Vec<(CaseRow, Vec<VertebraRow>)>,
    oldest: Option<Instant>,
    parts: usize,
    /// Folded ids of the cases that have been published since somebody asked; `None` if nobody ever asks.
    committed: Option<Vec<String>>,
}

impl Tables {
    /// Opens the tables of a run for the process `worker`, the `attempt`-th start of it.
    pub fn new(place: RunTables, worker: &str, attempt: u32, conf: WriteConf) -> Self {
        Self {
            place,
            worker: worker.to_owned(),
            attempt,
            conf,
            pending: Vec::new(),
            oldest: None,
            parts: 0,
            committed: None,
        }
    }

    /// Remembers from now on which cases have been published, for [`Tables::take_committed`].
    #[must_use]
    pub fn telling(mut self) -> Self {
        self.committed = Some(Vec::new());
        self
    }

    /// Returns the folded ids of the cases whose rows have been published since this was called last: the part of table
    /// cases that holds them is there.
    pub fn take_committed(&mut self) -> Vec<String> {
        self.committed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Returns how many cases have rows that are held and not published yet.
    pub fn held(&self) -> usize {
        self.pending.len()
    }

    /// Returns how many parts have been published by this process.
    pub fn parts(&self) -> usize {
        self.parts
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

    /// Publishes what is held.
    ///
    /// # Errors
    /// The part could not be published.
    pub async fn publish(&mut self) -> Result<(), TablesError> {
        self.oldest = None;
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.pending);
        let ids: Vec<String> = match self.committed {
            Some(_) => held
                .iter()
                .map(|(row, _)| row.case_id.to_ascii_lowercase())
                .collect(),
            None => Vec::new(),
        };
        held.sort_by(|(a, _), (b, _)| a.case_id.cmp(&b.case_id));
        let name = format!(
            "part-{}.parquet",
            part_key(self.place.run(), self.attempt, held.iter().map(|(row, _)| row))
        );
        let (vertebrae, cases) = blocking(move || {
            let (cases, vertebrae): (Vec<CaseRow>, Vec<Vec<VertebraRow>>) = held.into_iter().unzip();
            let vertebrae = vertebrae.concat();
            Ok::<_, TablesError>((encode(&vertebrae)?, encode(&cases)?))
        })
        .await?;
        let (vertebrae_place, cases_place) = (
            self.place.folder::<VertebraRow>().join(&name),
            self.place.folder::<CaseRow>().join(&name),
        );
        // in this order: a cases part without its vertebrae would be a lie, the other way round is an orphan
        for (place, bytes) in [(&vertebrae_place, &vertebrae), (&cases_place, &cases)] {
            if !place.create(bytes.clone()).await? {
                return Err(TablesError::Taken);
            }
        }
        // a later start that took this process for dead, while the store was away, has cleared the orphan
        if !exists(&vertebrae_place).await? {
            vertebrae_place.create(vertebrae).await?;
        }
        self.parts += 1;
        if let Some(committed) = &mut self.committed {
            committed.extend(ids);
        }
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
            files: case.body.files.clone(),
            seed: Some(case.body.origin.seed),
            software_version: SOFTWARE_VERSION,
            duration_ms: total_ms(&case.spent),
            stage_ms: stage_ms(&case.spent),
            worker: self.worker.clone(),
            finished_at: now_ms(),
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
            files: Vec::new(),
            seed: None,
            software_version: SOFTWARE_VERSION,
            duration_ms: total_ms(&failure.spent),
            stage_ms: stage_ms(&failure.spent),
            worker: self.worker.clone(),
            finished_at: now_ms(),
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

/// Returns the milliseconds since the beginning of 1970; `None` by a clock that stands before it.
fn now_ms() -> Option<i64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.ok()?.as_millis()).ok()
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
    encode_batch(&R::batch(rows)?)
}

fn encode_batch(batch: &RecordBatch) -> Result<Bytes, TablesError> {
    let ndv = batch.num_rows().max(16) as u64;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(10_000))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_bloom_filter_enabled(ColumnPath::from("case_id"), true)
        .set_column_bloom_filter_max_ndv(ColumnPath::from("case_id"), ndv)
        .set_created_by(format!("spinestream {SOFTWARE_VERSION}"))
        .set_key_value_metadata(Some(vec![KeyValue::new(
            SCHEMA_KEY.to_owned(),
            SCHEMA_VERSION.to_owned(),
        )]))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(batch)?;
    Ok(writer.into_inner()?.into())
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

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

    fn place(stores: &Stores) -> RunTables {
        let output = stores.place(&ObjectUrl::new("memory:///out")).expect("place");
        RunTables::new(output, "r1")
    }

    fn tables(stores: &Stores, rows_per_part: usize) -> Tables {
        let conf = WriteConf {
            rows_per_part,
            ..WriteConf::default()
        };
        Tables::new(place(stores), "w1", 1, conf)
    }

    #[tokio::test]
    async fn a_part_is_published_when_it_is_full_and_the_last_at_the_end() {
        let stores = Stores::default();
        let mut sink = tables(&stores, 2);
        for id in ["b", "A", "c"] {
            sink.accept(failure(id)).await.expect("accept");
        }
        assert_eq!(sink.parts(), 1, "the third case waits");
        sink.close().await.expect("close");
        let published = place(&stores).published().await.expect("published");
        assert_eq!(published.cases(), 3);
    }

    #[tokio::test]
    async fn a_case_is_told_as_committed_once_its_part_is_there_and_not_before() {
        let stores = Stores::default();
        let mut sink = tables(&stores, 2).telling();
        sink.accept(failure("b")).await.expect("accept");
        assert_eq!((sink.held(), sink.take_committed().len()), (1, 0));
        sink.accept(failure("A")).await.expect("accept");
        let mut committed = sink.take_committed();
        committed.sort();
        assert_eq!(committed, ["a", "b"]);
        assert_eq!(
            (sink.held(), sink.take_committed().len()),
            (0, 0),
            "each is told once"
        );
        let mut silent = tables(&Stores::default(), 1);
        silent.accept(failure("a")).await.expect("accept");
        assert!(silent.take_committed().is_empty(), "nobody asked");
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
