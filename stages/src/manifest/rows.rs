//! The three formats of a manifest, each to rows of text.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::Fault;

use super::{COLUMNS, ManifestError, REQUIRED, Written};

/// One row, or what is wrong with it; the outer error ends the manifest.
type Found = Result<Result<Written, Fault>, ManifestError>;

/// The rows of a manifest, one after another.
pub(super) type Rows = Box<dyn Iterator<Item = Found> + Send>;

/// Longest row, in bytes: URLs, not a volume by mistake.
const LINE_MOST: u64 = 1 << 20;

/// Counts what is read for one row, and ends a row that is too long: a quote that is not closed would make one row of
/// all that follows.
struct Metered<R> {
    text: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(buffer)?;
        if self.count.fetch_add(count as u64, Ordering::Relaxed) > LINE_MOST {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(count)
    }
}

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
    let start = text
        .fill_buf()
        .map_err(|error| ManifestError::Broken(error.to_string()))?;
    // a spreadsheet's byte order mark is no part of the first column's name
    if start.starts_with(b"\xef\xbb\xbf") {
        text.consume(3);
    }
    let count = Arc::new(AtomicU64::new(0));
    let metered = Metered {
        text,
        count: Arc::clone(&count),
    };
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::Headers)
        .from_reader(metered);
    let headers = reader
        .headers()
        .map_err(|error| ManifestError::Broken(csv_error(&error)))?
        .clone();
    check_columns(headers.iter())?;
    Ok(Box::new(reader.into_byte_records().enumerate().map(
        move |(index, record)| {
            count.store(0, Ordering::Relaxed);
            csv_row(index + 1, record, &headers)
        },
    )))
}

fn csv_row(number: usize, record: csv::Result<csv::ByteRecord>, headers: &csv::StringRecord) -> Found {
    let record = match record {
        Ok(record) => record,
        Err(error) => match error.kind() {
            csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let message = format!(
                    "expected rows of at most {LINE_MOST} bytes, found a longer one, row {number}: a quote that is not closed?"
                );
                return Err(ManifestError::Broken(message));
            }
            // the file itself, and not this row of it
            csv::ErrorKind::Io(_) => {
                let message = "expected a file that can be read to its end".to_owned();
                return Err(ManifestError::Broken(message));
            }
            _ => return Ok(Err(malformed("expected a CSV record, found bytes that are none"))),
        },
    };
    if record.len() != headers.len() {
        let message = format!("expected {} fields, found {}", headers.len(), record.len());
        return Ok(Err(malformed(message)));
    }
    let Ok(record) = csv::StringRecord::from_byte_record(record) else {
        return Ok(Err(malformed("expected UTF-8 text, found other bytes")));
    };
    let mut row = Written::default();
    for (column, value) in headers.iter().zip(record.iter()) {
        set(&mut row, column, cell(value));
    }
    Ok(Ok(row))
}

/// The crate's own message can quote a cell.
fn csv_error(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "expected a header of UTF-8 text, found other bytes".to_owned(),
        _ => "expected a CSV header, found none".to_owned(),
    }
}

fn json_lines(mut text: impl BufRead) -> impl Iterator<Item = Found> {
    std::iter::from_fn(move || {
        loop {
            let line = match next_line(&mut text) {
                Ok(line) => line?,
                Err(_) => {
                    let message = "expected a file that can be read to its end".to_owned();
                    return Some(Err(ManifestError::Broken(message)));
                }
            };
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(Ok(json_row(&line)));
            }
        }
    })
}

/// Returns the next line, of a longer one its beginning, or `None` at the end.
fn next_line(text: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
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
    let broken = |error: &dyn std::fmt::Display| ManifestError::Broken(error.to_string());
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| broken(&error))?;
    check_columns(
        builder
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str()),
    )?;
    let reader = builder.build().map_err(|error| broken(&error))?;
    Ok(Box::new(reader.flat_map(|batch| {
        let rows = batch
            .map_err(|error| ManifestError::Broken(error.to_string()))
            .and_then(|batch| batch_rows(&batch));
        match rows {
            Ok(rows) => rows.into_iter().map(|row| Ok(Ok(row))).collect(),
            Err(error) => vec![Err(error)],
        }
    })))
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
