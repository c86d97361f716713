//! Tables of the first schema, and of one that is to come, in the hands of this version.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use schemas::rows::{SCHEMA_KEY, SCHEMA_VERSION};
use spinestream::Exit;
use stages::results::Results;
use stages::tables::{RunTables, TablesError, compact, verify};

use crate::support::{Cohort, Row, block, rows_of, without_circumstances};

const CASES: &[u8] = include_bytes!("golden/schema-1/cases.parquet");
const VERTEBRAE: &[u8] = include_bytes!("golden/schema-1/vertebrae.parquet");

/// Ids of the golden's cases.
const IDS: [&str; 3] = ["gone", "phantom-0001", "phantom-0002"];

const FAST: [&str; 1] = ["model.chain=[\"identity\"]"];

/// A store with one part of run `test`, and a manifest of its cases and one more, which is to be done yet.
async fn cohort(cases: Bytes, vertebrae: Bytes) -> Cohort {
    let mut cohort = Cohort::new();
    for (table, bytes) in [("cases", cases), ("vertebrae", vertebrae)] {
        let place = cohort.place(&format!("out/tables/{table}/run=test/part-golden.parquet"));
        place.put(bytes).await.expect("put");
    }
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    for id in IDS.into_iter().chain(["added"]) {
        cohort.row(&format!("{id},mask.nii.gz,verse,,"));
    }
    cohort
}

async fn golden() -> Cohort {
    cohort(Bytes::from_static(CASES), Bytes::from_static(VERTEBRAE)).await
}

fn tables(cohort: &Cohort) -> RunTables {
    RunTables::new(cohort.place("out"), "test")
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn parts_of_the_first_schema_are_read_whole() {
    let tables = tables(&golden().await);
    let results = Results::read(&tables).await.expect("results");
    let ids: Vec<_> = results.cases.iter().map(|case| case.case_id.as_str()).collect();
    assert_eq!((ids.as_slice(), results.vertebrae.len()), (&IDS[..], 10));
    assert_eq!(results.versions, names(&["1"]));
    assert_eq!(results.missing, names(&["cases.finished_at"]));
    assert_eq!((&results.unknown, results.damaged.len()), (&BTreeSet::new(), 0));
    assert!(results.cases.iter().all(|case| case.finished_at.is_none()));
    assert_eq!(results.cases[0].reason.as_deref(), Some("object_not_found"));
    // as DuckDB reads the file
    let first = &results.vertebrae[0];
    assert_eq!((first.level.as_str(), first.label), ("L1", 20));
    assert_eq!(
        (first.input[0], first.recon[0]),
        (Some(0.7238331370482861), Some(0.9063079112530843))
    );

    let published = tables.published().await.expect("published");
    assert_eq!((published.cases(), published.highest_attempt()), (3, 1));
    let verified = verify(&tables, IDS.map(str::to_owned).into_iter(), false).await;
    let verified = verified.expect("verified");
    assert_eq!(verified.problems, []);
    assert_eq!((verified.rows, verified.vertebrae), (3, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_from_parts_of_the_first_schema_and_compacts_them_with_its_own() {
    let cohort = golden().await;
    let golden_rows = rows_of(Bytes::from_static(CASES));
    let begun = now_ms();
    assert_eq!(cohort.run("out", &FAST).await.expect("run"), Exit::SomeFailed);

    let done = compact(&tables(&cohort), 100).await.expect("compact");
    assert_eq!((done.before, done.after, done.superseded), (2, 1, 0));
    let rows = cohort.table("out", "cases").await;
    let (new, old): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row["case_id"] == "added");
    assert_eq!(without_circumstances(&old), without_circumstances(&golden_rows));
    assert!(old.iter().all(|row| row["finished_at"].is_empty()));
    assert_eq!((new.len(), new[0]["attempt"].as_str()), (1, "2"));
    let finished: u128 = new[0]["finished_at"].parse().expect("a number");
    assert!((begun..=now_ms()).contains(&finished), "{finished}");
    assert_eq!(cohort.table("out", "vertebrae").await.len(), 11);
}

fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("a clock of today").as_millis()
}

/// Returns the rows as a later version might write them: one more column, and another version in the metadata.
fn newer(part: &'static [u8]) -> Bytes {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from_static(part)).expect("parquet");
    let batches: Result<Vec<RecordBatch>, _> = reader.build().expect("reader").collect();
    let batches = batches.expect("batches");
    let [batch] = batches.as_slice() else {
        panic!("expected one batch, found {}", batches.len());
    };
    let colour: ArrayRef = Arc::new(StringArray::from(vec!["red"; batch.num_rows()]));
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| field.name().as_str());
    let columns = fields
        .zip(batch.columns().iter().cloned())
        .chain([("colour", colour)]);
    let wide = RecordBatch::try_from_iter(columns).expect("a batch");
    let version = KeyValue::new(SCHEMA_KEY.to_owned(), "2".to_owned());
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![version]))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), wide.schema(), Some(properties)).expect("writer");
    writer.write(&wide).expect("write");
    writer.into_inner().expect("close").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_read_as_far_as_it_is_known_gone_on_from_and_never_merged() {
    let cohort = cohort(newer(CASES), Bytes::from_static(VERTEBRAE)).await;
    let results = Results::read(&tables(&cohort)).await.expect("results");
    assert_eq!((results.cases.len(), results.vertebrae.len()), (3, 10));
    assert_eq!(results.versions, names(&["1", "2"]));
    assert_eq!(results.unknown, names(&["cases.colour"]));

    assert_eq!(cohort.run("out", &FAST).await.expect("run"), Exit::SomeFailed);
    assert_eq!(
        cohort.table("out", "cases").await.len(),
        4,
        "the one that was to be done"
    );
    let refused = compact(&tables(&cohort), 100)
        .await
        .expect_err("the column would be lost");
    assert!(
        matches!(&refused, TablesError::Newer(name) if name == "colour"),
        "{refused}"
    );
    let parts = cohort.place("out/tables/cases").list().await.expect("list");
    assert_eq!(parts.len(), 2, "both parts stay");
}

/// Holds a part's file against what readers are promised: version, statistics, page index, packing, bloom filter.
fn check(bytes: Bytes, case_id: &str) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("parquet");
    let metadata = builder.metadata();
    let pairs = metadata.file_metadata().key_value_metadata();
    let version = pairs
        .into_iter()
        .flatten()
        .find(|pair| pair.key == SCHEMA_KEY)
        .and_then(|pair| pair.value.as_deref());
    assert_eq!(version, Some(SCHEMA_VERSION));
    assert!(metadata.num_row_groups() > 0);
    for (index, group) in metadata.row_groups().iter().enumerate() {
        for column in group.columns() {
            let name = column.column_path().string();
            assert!(column.statistics().is_some(), "{name}");
            assert!(column.column_index_offset().is_some(), "{name}");
            assert!(column.offset_index_offset().is_some(), "{name}");
            assert!(matches!(column.compression(), Compression::ZSTD(_)), "{name}");
        }
        assert_eq!(group.column(0).column_path().string(), "case_id");
        let filter = builder
            .get_row_group_column_bloom_filter(index, 0)
            .expect("readable")
            .expect("a bloom filter");
        assert!(filter.check(case_id));
        let absent = (0..1000).map(|number| format!("absent-{number}"));
        let passed = absent.filter(|id| filter.check(id.as_str())).count();
        // by default one in twenty may pass
        assert!(passed < 100, "{passed} of 1000 absent ids pass");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_lets_readers_skip_what_they_do_not_want() {
    check(Bytes::from_static(CASES), "phantom-0001");
    check(Bytes::from_static(VERTEBRAE), "phantom-0001");

    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    cohort.row("c1,mask.nii.gz,verse,,");
    assert_eq!(cohort.run("out", &FAST).await.expect("run"), Exit::Done);
    for table in ["cases", "vertebrae"] {
        let folder = cohort.place(&format!("out/tables/{table}/run=test"));
        let parts = folder.list().await.expect("list");
        let [part] = parts.as_slice() else {
            panic!("expected one part, found {}", parts.len());
        };
        let name = part.location.filename().expect("a name");
        let bytes = folder.join(name).read(1 << 30).await.expect("read");
        check(bytes, "c1");
    }
}
