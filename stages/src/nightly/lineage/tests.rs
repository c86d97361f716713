use std::sync::Arc;

use arrow_array::Int32Array;
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use schemas::rows::{CaseRow, Row as _, SHAPE_LENGTH};

use super::*;

fn full(case_id: &str, level: Level) -> LineageRow {
    LineageRow {
        person: Some("p1".to_owned()),
        level: Some(level),
        split: Some(Split::HeldOut),
        reasons: vec!["in_pieces".to_owned(), "cavities".to_owned()],
        source: Some("ab12".to_owned()),
        stamp: Some("cd34".to_owned()),
        patches: Some("patches/ef56.nii.gz".to_owned()),
        learnt: true,
        volume_mm3: Some(60_123.5),
        extent_mm: Some([95.0, 91.0, 50.0]),
        largest_piece: Some(0.75),
        cavities: Some(0.125),
        centre_mm: Some([-3.5, 8.25, 1033.0]),
        spacing_mm: Some([3.3, 0.6, 0.6]),
        thickness_mm: Some(3.3),
        intensity_mean: Some(231.5),
        intensity_sd: Some(77.0),
        shape: Some((0..SHAPE_LENGTH).map(|block| block as u8).collect()),
        ..LineageRow::new(case_id, Verdict::Rejected, 3)
    }
}

fn rows() -> Vec<LineageRow> {
    let failed = LineageRow {
        reasons: vec!["truncated".to_owned()],
        kind: Some(FaultKind::Unreadable),
        ..LineageRow::new("broken", Verdict::Failed, 4)
    };
    let mut taught = full("a", Level::L6);
    (taught.verdict, taught.reasons, taught.taught) = (Verdict::Accepted, Vec::new(), true);
    vec![full("a", Level::L1), failed, taught]
}

/// Writes a batch with the version that it is said to be of.
fn file(batch: &RecordBatch, version: &str) -> Bytes {
    let version = KeyValue::new(SCHEMA_KEY.to_owned(), version.to_owned());
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![version]))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("written");
    writer.into_inner().expect("closed").into()
}

/// Leaves out columns, and adds one.
fn changed(batch: &RecordBatch, without: &[&str], with: Option<(&str, ArrayRef)>) -> RecordBatch {
    let schema = batch.schema();
    let kept = schema.fields().iter().zip(batch.columns());
    let mut columns: Vec<(Field, ArrayRef)> = kept
        .filter(|(field, _)| !without.contains(&field.name().as_str()))
        .map(|(field, column)| (field.as_ref().clone(), Arc::clone(column)))
        .collect();
    columns.extend(with.map(|(name, column)| (Field::new(name, column.data_type().clone(), true), column)));
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")
}

#[test]
fn rows_come_back_as_they_were_written() {
    assert_eq!(read(write(&rows()).expect("written")).expect("read"), rows());
    assert!(read(write(&[]).expect("written")).expect("read").is_empty());
    // more than one batch of the reader
    let many: Vec<LineageRow> = (0..3000)
        .map(|case| full(&format!("c{case}"), Level::L3))
        .collect();
    assert_eq!(read(write(&many).expect("written")).expect("read"), many);
}

#[test]
fn columns_of_another_version_are_empty_or_passed_over() {
    let batch = LineageRow::batch(&rows()).expect("a batch");
    let more: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let earlier = changed(
        &batch,
        &["shape", "centre_y_mm", "patches"],
        Some(("tomorrow", more)),
    );
    let mut expected = rows();
    for row in &mut expected {
        (row.shape, row.centre_mm, row.patches) = (None, None, None);
    }
    assert_eq!(read(file(&earlier, SCHEMA_VERSION)).expect("read"), expected);
}

#[test]
fn a_newer_schema_another_table_and_no_table_are_told_apart() {
    let batch = LineageRow::batch(&rows()).expect("a batch");
    for version in ["2", "77", "next"] {
        let error = read(file(&batch, version)).expect_err("newer");
        assert!(
            matches!(&error, LineageError::Newer(found) if found == version),
            "{error}"
        );
        assert!(error.to_string().contains("newer spinestream"), "{error}");
    }
    let cases = encode::<CaseRow>(&[]).expect("encoded");
    let error = read(cases).expect_err("table cases");
    assert!(matches!(error, LineageError::Column("verdict")), "{error}");
    let other = changed(&batch, &["verdict"], None);
    let error = read(file(&other, SCHEMA_VERSION)).expect_err("no verdict");
    assert!(matches!(error, LineageError::Column("verdict")), "{error}");
    let number: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let other = changed(&batch, &["volume_mm3"], Some(("volume_mm3", number)));
    let error = read(file(&other, SCHEMA_VERSION)).expect_err("whole numbers");
    assert!(matches!(error, LineageError::Column("volume_mm3")), "{error}");
    assert!(matches!(
        read(Bytes::from_static(b"no table")),
        Err(LineageError::Parquet(_))
    ));
}
