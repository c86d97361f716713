//! The three formats of a manifest, each to rows of text.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::Fault;

use super::records::{Record, Records};
use super::{COLUMNS, ManifestError, REQUIRED, Written};

/// One row, or what is wrong with it; the outer error ends the manifest.
type Found = Result<Result<Written, Fault>, ManifestError>;

/// The rows of a manifest, one after another.
pub(super) type Rows = Box<dyn Iterator<Item = Found> + Send>;

/// What spreadsheets write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Longest line of JSON, in bytes: a row of URLs, not a volume by mistake.
const LINE_MOST: u64 = 1 << 20;

/// Reads rows in the format that the object's name ends in.
///
/// # Errors
/// Another format, or a beginning that no row can be read by.
pub(super) fn read(name: &str, file: File) -> Result<Rows, ManifestError> {
    let name = name.to_ascii_lowercase();
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv") => csv(file),
        Some("jsonl" | "ndjson") => Ok(Box::new(json_lines(BufReader::new(file)))),
        Some("parquet") => parquet(file),
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

fn csv(file: File) -> Result<Rows, ManifestError> {
    let mut text = BufReader::new(file);
    let start = text.fill_buf().map_err(|_| cut_off())?;
    // a spreadsheet's byte order mark is no part of the first column's name
    if start.starts_with(BYTE_ORDER_MARK) {
        text.consume(BYTE_ORDER_MARK.len());
    }
    let mut records = Records::new(text);
    let columns = match records.next() {
        Ok(Some(Record::Fields(fields))) => texts(&fields).ok_or_else(|| {
            ManifestError::Broken("expected a header of UTF-8 text, found other bytes".to_owned())
        })?,
        Ok(None) => Vec::new(),
        Ok(Some(Record::TooLong | Record::Unclosed)) => {
            let message = "expected a CSV header in the first line, found a line far too long or a quote that is not closed";
            return Err(ManifestError::Broken(message.to_owned()));
        }
        Err(_) => return Err(cut_off()),
    };
    let columns: Vec<String> = columns.into_iter().map(|name| name.trim().to_owned()).collect();
    check_columns(columns.iter().map(String::as_str))?;
    let mut number = 0;
    Ok(Box::new(std::iter::from_fn(move || match records.next() {
        Ok(record) => {
            number += 1;
            Some(csv_row(&record?, number, &columns))
        }
        // the file itself, and not this row of it
        Err(_) => Some(Err(cut_off())),
    })))
}

fn cut_off() -> ManifestError {
    ManifestError::Broken("expected a file that can be read to its end".to_owned())
}

fn csv_row(record: &Record<'_>, number: usize, columns: &[String]) -> Found {
    let fields = match record {
        Record::Fields(fields) => fields,
        Record::TooLong => {
            let message = "expected a record of at most 1 MiB and 4096 fields, found a longer one";
            return Ok(Err(malformed(message)));
        }
        // the rows behind it cannot be told apart: to go on would lose them
        Record::Unclosed => {
            let message = format!("expected every quote to be closed, found one in row {number} that is not");
            return Err(ManifestError::Broken(message));
        }
    };
    if fields.len() != columns.len() {
        let message = format!("expected {} fields, found {}", columns.len(), fields.len());
        return Ok(Err(malformed(message)));
    }
    let Some(texts) = texts(fields) else {
        return Ok(Err(malformed("expected UTF-8 text, found other bytes")));
    };
    let mut row = Written::default();
    for (column, value) in columns.iter().zip(texts) {
        set(&mut row, column, cell(value));
    }
    Ok(Ok(row))
}

fn texts<'a>(fields: &[&'a [u8]]) -> Option<Vec<&'a str>> {
    fields
        .iter()
        .map(|field| std::str::from_utf8(field).ok())
        .collect()
}

fn json_lines(mut text: impl BufRead) -> impl Iterator<Item = Found> {
    std::iter::from_fn(move || {
        loop {
            let line = match next_line(&mut text) {
                Ok(line) => line?,
                Err(_) => return Some(Err(cut_off())),
            };
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(Ok(json_row(&line)));
            }
        }
    })
}

/// Returns the next line, of a longer one its beginning, or `None` at the end.
fn next_line(text: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if text.by_ref().take(LINE_MOST).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == LINE_MOST && line.last() != Some(&b'\n') {
        text.skip_until(b'\n')?;
    }
    Ok(Some(line))
}

fn json_row(line: &[u8]) -> Result<Written, Fault> {
    if line.len() as u64 == LINE_MOST {
        return Err(malformed(format!(
            "expected a line of less than {LINE_MOST} bytes, found a longer one"
        )));
    }
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
}

fn parquet(file: File) -> Result<Rows, ManifestError> {
    let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new(file))?;
    check_columns(
        builder
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str()),
    )?;
    // the user's own columns may be of any kind and size: they are not even unpacked
    let fields = builder.schema().fields().iter().enumerate();
    let ours = fields.filter(|(_, field)| COLUMNS.contains(&field.name().as_str()));
    let ours = ProjectionMask::roots(builder.parquet_schema(), ours.map(|(index, _)| index));
    let mut reader = guarded(|| builder.with_projection(ours).build())?;
    let mut is_broken = false;
    let batches = std::iter::from_fn(move || {
        if is_broken {
            return None;
        }
        let batch = guarded(|| reader.next().transpose()).transpose()?;
        let rows = batch.and_then(|batch| batch_rows(&batch));
        is_broken = rows.is_err();
        Some(rows)
    });
    Ok(Box::new(batches.flat_map(|rows| match rows {
        Ok(rows) => rows.into_iter().map(|row| Ok(Ok(row))).collect(),
        Err(error) => vec![Err(error)],
    })))
}

/// Does a piece of work of the parquet crate, which panics on some damaged files: that is no mistake of ours.
fn guarded<T, E: Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, ManifestError> {
    // what was at work is not used again
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| ManifestError::Broken(error.to_string())),
        Err(_) => Err(ManifestError::Broken(
            "expected sound Parquet, found damage".to_owned(),
        )),
    }
}

fn batch_rows(batch: &RecordBatch) -> Result<Vec<Written>, ManifestError> {
    let mut found = vec![Written::default(); batch.num_rows()];
    for column in COLUMNS {
        let Some(array) = batch.column_by_name(column) else {
            continue;
        };
        for (index, row) in found.iter_mut().enumerate() {
            set(row, column, text(column, array, index)?.as_deref().and_then(cell));
        }
    }
    Ok(found)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_parquet_crate_ends_the_manifest_and_repeats_nothing() {
        let end = guarded(|| -> Result<(), String> { panic!("DOE-JANE") });
        let message = end.expect_err("a panic").to_string();
        assert_eq!(
            message,
            "cannot read the manifest: expected sound Parquet, found damage"
        );
    }
}
