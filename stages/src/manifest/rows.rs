//! The three formats of a manifest, each to rows of text.

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::Fault;

use super::{COLUMNS, ManifestError, REQUIRED, Written};

/// Reads rows in the format that the object's name ends in.
pub(super) fn read(name: &str, bytes: &Bytes) -> Result<Vec<Result<Written, Fault>>, ManifestError> {
    let name = name.to_ascii_lowercase();
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv") => csv(bytes),
        Some("jsonl" | "ndjson") => Ok(json_lines(bytes)),
        Some("parquet") => parquet(bytes),
        Some(other) => Err(ManifestError::Format(format!(".{other}"))),
        None => Err(ManifestError::Format("a name without extension".to_owned())),
    }
}

fn malformed(message: impl Into<String>) -> Fault {
    Fault::unreadable("malformed_row", message)
}

fn check_columns<'a>(found: impl Iterator<Item = &'a str>) -> Result<(), ManifestError> {
    let found: Vec<&str> = found.collect();
    let missing: Vec<&str> = REQUIRED
        .into_iter()
        .filter(|name| !found.contains(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ManifestError::Columns {
        expected: REQUIRED.join(", "),
        // a manifest without a header has a patient's row in its place: it is not repeated
        found: format!("{} columns without {}", found.len(), missing.join(", ")),
    })
}

fn cell(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Puts a cell where its column's name says; other columns are the user's own.
fn set(row: &mut Written, column: &str, value: Option<String>) {
    let slot = match column {
        "case_id" => &mut row.case_id,
        "mask" => &mut row.mask,
        "labels" => &mut row.labels,
        "reference" => &mut row.reference,
        "reference_labels" => &mut row.reference_labels,
        "image" => &mut row.image,
        "person" => &mut row.person,
        _ => return,
    };
    *slot = value;
}

fn csv(bytes: &Bytes) -> Result<Vec<Result<Written, Fault>>, ManifestError> {
    // a spreadsheet's byte order mark is no part of the first column's name
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::Headers)
        .from_reader(text);
    let headers = reader
        .headers()
        .map_err(|error| ManifestError::Broken(csv_error(&error)))?
        .clone();
    check_columns(headers.iter())?;
    let mut rows = Vec::new();
    for record in reader.byte_records() {
        let Ok(record) = record else {
            rows.push(Err(malformed("expected a CSV record, found bytes that are none")));
            continue;
        };
        if record.len() != headers.len() {
            let message = format!("expected {} fields, found {}", headers.len(), record.len());
            rows.push(Err(malformed(message)));
            continue;
        }
        let Ok(record) = csv::StringRecord::from_byte_record(record) else {
            rows.push(Err(malformed("expected UTF-8 text, found other bytes")));
            continue;
        };
        let mut row = Written::default();
        for (column, value) in headers.iter().zip(record.iter()) {
            set(&mut row, column, cell(value));
        }
        rows.push(Ok(row));
    }
    Ok(rows)
}

/// The crate's own message can quote a cell.
fn csv_error(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "expected a header of UTF-8 text, found other bytes".to_owned(),
        _ => "expected a CSV header, found none".to_owned(),
    }
}

fn json_lines(bytes: &Bytes) -> Vec<Result<Written, Fault>> {
    let lines = bytes.split(|byte| *byte == b'\n');
    let full = lines.filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    full.map(|line| {
        let row: Written = serde_json::from_slice(line).map_err(|error| {
            malformed(format!(
                "expected a JSON object of texts, found an error at column {}",
                error.column()
            ))
        })?;
        let mut trimmed = Written::default();
        let cells = [
            row.case_id,
            row.mask,
            row.labels,
            row.reference,
            row.reference_labels,
            row.image,
            row.person,
        ];
        for (column, value) in COLUMNS.into_iter().zip(cells) {
            set(&mut trimmed, column, value.as_deref().and_then(cell));
        }
        Ok(trimmed)
    })
    .collect()
}

fn parquet(bytes: &Bytes) -> Result<Vec<Result<Written, Fault>>, ManifestError> {
    let broken = |error: &dyn std::fmt::Display| ManifestError::Broken(error.to_string());
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|error| broken(&error))?;
    check_columns(
        builder
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str()),
    )?;
    let reader = builder.build().map_err(|error| broken(&error))?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| broken(&error))?;
        batch_rows(&batch, &mut rows)?;
    }
    Ok(rows)
}

fn batch_rows(batch: &RecordBatch, rows: &mut Vec<Result<Written, Fault>>) -> Result<(), ManifestError> {
    let mut found = vec![Written::default(); batch.num_rows()];
    for column in COLUMNS {
        let Some(array) = batch.column_by_name(column) else {
            continue;
        };
        for (index, row) in found.iter_mut().enumerate() {
            set(row, column, text(column, array, index)?.as_deref().and_then(cell));
        }
    }
    rows.extend(found.into_iter().map(Ok));
    Ok(())
}

fn text(column: &str, array: &ArrayRef, index: usize) -> Result<Option<String>, ManifestError> {
    if array.is_null(index) || array.data_type() == &DataType::Null {
        return Ok(None);
    }
    match array.data_type() {
        DataType::Utf8 => Ok(Some(array.as_string::<i32>().value(index).to_owned())),
        DataType::LargeUtf8 => Ok(Some(array.as_string::<i64>().value(index).to_owned())),
        DataType::Utf8View => Ok(Some(array.as_string_view().value(index).to_owned())),
        other => Err(ManifestError::Columns {
            expected: format!("{column} as text"),
            found: format!("{other}"),
        }),
    }
}
