//! Runs that were written here, read back.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int8Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use schemas::payload::WrittenFile;
use schemas::rows::{CaseRow, Row, SCHEMA_KEY, VertebraRow};
use schemas::{ModelIdentity, ObjectUrl};

use super::*;
use crate::store::Stores;
use crate::tables::encode;

fn tables() -> RunTables {
    let stores = Stores::default();
    let output = stores.place(&ObjectUrl::new("memory:///out")).expect("place");
    RunTables::new(output, "r1")
}

fn case_row(case_id: &str, attempt: u32, vertebrae: u32) -> CaseRow {
    CaseRow {
        case_id: case_id.to_owned(),
        person: Some("somebody".to_owned()),
        attempt,
        status: "done",
        stage: None,
        kind: None,
        reason: None,
        message: None,
        vertebrae,
        vertebrae_failed: 0,
        bytes_read: Some(7),
        files: vec![WrittenFile {
            name: format!("{case_id}.nii.gz"),
            bytes: 3,
            sha256: "00".to_owned(),
        }],
        seed: Some(1),
        software_version: "0.1.0",
        duration_ms: 4.5,
        stage_ms: [Some(1.0), None, Some(3.5), None, None, None, None],
        worker: "w0001".to_owned(),
        finished_at: Some(1_764_000_000_123),
    }
}

fn vertebra_row(case_id: &str, attempt: u32, level: &'static str) -> VertebraRow {
    let scores = |dsc| {
        let mut scores = [None; 11];
        scores[0] = Some(dsc);
        scores
    };
    VertebraRow {
        case_id: case_id.to_owned(),
        person: "somebody".to_owned(),
        attempt,
        level,
        label: 22,
        status: "done",
        kind: None,
        reason: None,
        message: None,
        model: Arc::new(ModelIdentity {
            chain: vec!["reconnet".to_owned(), "lsd_ebm".to_owned()],
            model_version: "v1".to_owned(),
            weights_sha256: "ab".to_owned(),
            steps: 1,
            sampler: Some("trained"),
            samples: 2,
            mirror: false,
            precision: Some("f32"),
        }),
        seed: 9,
        centre_mm: [1.0, 2.0, 3.0],
        affine: std::array::from_fn(|index| index as f64),
        source_spacing_mm: [1.0, 1.0, 4.4],
        source_volume_mm3: 30.0,
        input_volume_mm3: 31.0,
        recon_volume_mm3: Some(32.0),
        reference_volume_mm3: Some(33.0),
        flags: vec!["touches_border"],
        input: Some(scores(0.5)),
        recon: Some(scores(0.75)),
        registered: None,
        spread: None,
        latent: Some(vec![0.25; 128]),
        reconstruct_ms: 8.0,
        batch: 1,
    }
}

async fn put<R: Row>(tables: &RunTables, name: &str, bytes: Bytes) {
    let place = tables.folder::<R>().join(name);
    place.put(bytes).await.expect("put");
}

async fn publish(tables: &RunTables, name: &str, cases: &[CaseRow], vertebrae: &[VertebraRow]) {
    put::<VertebraRow>(tables, name, encode(vertebrae).expect("encoded")).await;
    put::<CaseRow>(tables, name, encode(cases).expect("encoded")).await;
}

/// The rows as a version to come may write them: under its number, with one more column and without another.
fn of_another_version<R: Row>(rows: &[R], without: &str) -> Bytes {
    let batch = R::batch(rows).expect("a batch");
    let kept = batch.schema().fields().len();
    let kept = (0..kept).filter(|index| batch.schema().field(*index).name() != without);
    let batch = batch.project(&kept.collect::<Vec<_>>()).expect("projected");
    let more = Field::new("shoe_size", DataType::Int8, true);
    let known = batch.schema();
    let fields = known.fields().iter().cloned().chain([Arc::new(more)]);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let sizes: ArrayRef = Arc::new(Int8Array::from(vec![Some(43); rows.len()]));
    let columns = batch.columns().iter().cloned().chain([sizes]).collect();
    let batch = RecordBatch::try_new(schema, columns).expect("a batch");
    let version = KeyValue::new(SCHEMA_KEY.to_owned(), "2".to_owned());
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![version]))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("a file").into()
}

#[tokio::test]
async fn rows_read_back_are_those_of_each_cases_highest_attempt() {
    let tables = tables();
    let early = [case_row("B", 1, 1), case_row("a", 1, 2)];
    let vertebrae = [
        vertebra_row("B", 1, "L3"),
        vertebra_row("a", 1, "L4"),
        vertebra_row("a", 1, "L2"),
    ];
    publish(&tables, "part-1.parquet", &early, &vertebrae).await;
    publish(
        &tables,
        "part-2.parquet",
        &[case_row("B", 2, 1)],
        &[vertebra_row("B", 2, "L5")],
    )
    .await;

    let results = Results::read(&tables).await.expect("results");
    let cases: Vec<_> = results
        .cases
        .iter()
        .map(|case| (case.case_id.as_str(), case.attempt))
        .collect();
    assert_eq!(cases, [("B", 2), ("a", 1)]);
    let found: Vec<_> = results
        .vertebrae
        .iter()
        .map(|vertebra| (vertebra.case_id.as_str(), vertebra.level.as_str()))
        .collect();
    assert_eq!(found, [("B", "L5"), ("a", "L2"), ("a", "L4")]);
    assert_eq!(results.vertebrae_of("a").len(), 2);
    assert!(results.vertebrae_of("b").is_empty());
    assert_eq!(results.case("a").expect("a case").files, ["a.nii.gz"]);

    let vertebra = &results.vertebrae[0];
    assert_eq!(vertebra.chain, ["reconnet", "lsd_ebm"]);
    assert_eq!(vertebra.affine.expect("an affine")[7], 7.0);
    assert_eq!(vertebra.source_spacing_mm, Some([1.0, 1.0, 4.4]));
    assert_eq!(vertebra.centre_mm, [Some(1.0), Some(2.0), Some(3.0)]);
    assert_eq!(vertebra.flags, ["touches_border"]);
    assert_eq!(vertebra.latent.as_ref().map(Vec::len), Some(128));
    assert_eq!((vertebra.gain("dsc"), vertebra.gain("vs")), (Some(0.25), None));
    let case = &results.cases[0];
    assert_eq!(case.stage_ms[2], Some(3.5));
    assert_eq!((case.bytes_read, case.duration_ms), (Some(7), Some(4.5)));
    assert_eq!(case.finished_at, Some(1_764_000_000_123));
    assert_eq!(results.versions, BTreeSet::from(["1".to_owned()]));
    assert!(results.unknown.is_empty() && results.missing.is_empty());
    assert_eq!((results.parts, results.unpublished), (2, 0));
}

#[tokio::test]
async fn a_run_that_goes_on_is_read_part_by_part_and_one_that_stands_still_is_the_same() {
    let tables = tables();
    let mut reader = Reader::new(tables.clone());
    let nothing = reader.refresh().await.expect("results");
    assert!(nothing.is_nothing());
    publish(&tables, "part-1.parquet", &[case_row("a", 1, 0)], &[]).await;
    let one = reader.refresh().await.expect("results");
    assert_eq!((one.cases.len(), one.is_nothing()), (1, false));
    assert!(Arc::ptr_eq(&one, &reader.refresh().await.expect("results")));

    publish(&tables, "part-2.parquet", &[case_row("b", 1, 0)], &[]).await;
    // of a part that has been read nothing is asked again
    put::<CaseRow>(&tables, "part-1.parquet", Bytes::from_static(b"gone")).await;
    put::<VertebraRow>(&tables, "part-3.parquet", Bytes::from_static(b"not yet")).await;
    let both = reader.refresh().await.expect("results");
    assert_eq!((both.cases.len(), both.parts, both.unpublished), (2, 2, 1));
}

#[tokio::test]
async fn what_another_version_wrote_is_read_as_far_as_it_is_known_and_the_rest_is_named() {
    let tables = tables();
    let vertebrae = of_another_version(&[vertebra_row("a", 1, "L3")], "latent");
    put::<VertebraRow>(&tables, "part-1.parquet", vertebrae).await;
    let cases = of_another_version(&[case_row("a", 1, 1)], "person");
    put::<CaseRow>(&tables, "part-1.parquet", cases).await;
    let results = Results::read(&tables).await.expect("results");
    assert_eq!((results.cases.len(), results.vertebrae.len()), (1, 1));
    assert_eq!(results.vertebrae[0].latent, None);
    assert_eq!(results.cases[0].person, None);
    let names = |names: [&str; 2]| BTreeSet::from(names.map(str::to_owned));
    assert_eq!(results.unknown, names(["cases.shoe_size", "vertebrae.shoe_size"]));
    assert_eq!(results.missing, names(["cases.person", "vertebrae.latent"]));
    assert_eq!(results.versions, BTreeSet::from(["2".to_owned()]));
}

#[tokio::test]
async fn a_part_that_cannot_be_read_is_named_and_the_others_are_shown() {
    let tables = tables();
    publish(&tables, "part-1.parquet", &[case_row("a", 1, 0)], &[]).await;
    publish(&tables, "part-2.parquet", &[case_row("b", 1, 0)], &[]).await;
    put::<CaseRow>(&tables, "part-1.parquet", Bytes::from_static(b"no Parquet")).await;
    let results = Results::read(&tables).await.expect("results");
    assert_eq!(results.cases.len(), 1);
    assert_eq!(results.damaged.len(), 1);
    assert_eq!(results.damaged[0].0, "part-1.parquet");
}

#[tokio::test]
async fn records_are_those_of_starts_and_nothing_else_that_lies_there() {
    let tables = tables();
    let files = [
        ("w0002.json", "{\"state\": \"running\"}"),
        ("w0001.json", "{\"state\": \"ended\"}"),
        ("w0003.json", "{\"half"),
        ("report.html", "<html/>"),
        ("more/w0001.json", "{}"),
    ];
    for (name, text) in files {
        let place = tables.records().join(name);
        place.put(Bytes::from_static(text.as_bytes())).await.expect("put");
    }
    let mut reader = Reader::new(tables.clone());
    let names = |results: &Results| -> Vec<String> {
        let names = results.records.iter().map(|record| record.name.clone());
        names.collect()
    };
    let results = reader.refresh().await.expect("results");
    assert_eq!(names(&results), ["w0001.json", "w0002.json"]);
    let place = tables.records().join("w0002.json");
    let ended = Bytes::from_static(b"{\"state\": \"ended\", \"more\": 1}");
    place.put(ended).await.expect("put");
    let results = reader.refresh().await.expect("results");
    assert_eq!(results.records[1].json["state"], "ended");
}
