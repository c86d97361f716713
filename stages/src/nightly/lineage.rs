//! Reads a night's lineage back, and writes the next one.

use std::str::FromStr;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, UInt8Type, UInt32Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::rows::{LineageRow, SCHEMA_KEY, SCHEMA_VERSION, Split, Verdict};
use schemas::{FaultKind, Level};

use crate::tables::{TablesError, encode};

/// Why a lineage cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// The bytes are no Parquet file.
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Its columns cannot be unpacked.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// Rows could not be encoded.
    #[error(transparent)]
    Encode(#[from] TablesError),
    /// A later version of the software has written it.
    #[error(
        "expected a lineage of schema version {SCHEMA_VERSION} or earlier, found {0}: a newer spinestream wrote it, run that one"
    )]
    Newer(String),
    /// It is another table, or none of ours.
    #[error("expected table lineage with its column {0} filled in, found none, or one of another type")]
    Column(&'static str),
    /// A word that no column of this version holds.
    #[error("column {column} of table lineage: {message}")]
    Word {
        /// Which column.
        column: &'static str,
        /// What was expected.
        message: String,
    },
}

/// Returns the rows as one Parquet file.
///
/// # Errors
/// Arrow's or Parquet's.
pub fn write(rows: &[LineageRow]) -> Result<Bytes, LineageError> {
    Ok(encode(rows)?)
}

/// Reads the rows of a file that [`write`] made, in this version or an earlier one: columns that it did not have yet are
/// empty, columns that are not known are passed over.
///
/// # Errors
/// A file of a newer schema, of another table, or damaged.
pub fn read(bytes: Bytes) -> Result<Vec<LineageRow>, LineageError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let metadata = builder.metadata().file_metadata().key_value_metadata();
    let version = metadata.into_iter().flatten().find(|pair| pair.key == SCHEMA_KEY);
    let version = version.and_then(|pair| pair.value.clone());
    check_version(&version.ok_or(LineageError::Column(SCHEMA_KEY))?)?;
    for name in REQUIRED {
        if builder.schema().column_with_name(name).is_none() {
            return Err(LineageError::Column(name));
        }
    }
    let mut rows = Vec::new();
    for batch in builder.build()? {
        add(&batch?, &mut rows)?;
    }
    Ok(rows)
}

/// Columns without which a table is none of ours.
const REQUIRED: [&str; 5] = ["case_id", "verdict", "night", "taught", "learnt"];

fn check_version(found: &str) -> Result<(), LineageError> {
    let number = |text: &str| text.parse::<u32>().ok();
    if number(found).is_none_or(|found| Some(found) > number(SCHEMA_VERSION)) {
        return Err(LineageError::Newer(found.to_owned()));
    }
    Ok(())
}

fn add(batch: &RecordBatch, rows: &mut Vec<LineageRow>) -> Result<(), LineageError> {
    let case_ids = required("case_id", texts(batch, "case_id")?)?;
    let verdicts = required("verdict", words::<Verdict>(batch, "verdict")?)?;
    let nights = required("night", counts(batch, "night")?)?;
    let taught = required("taught", flags(batch, "taught")?)?;
    let learnt = required("learnt", flags(batch, "learnt")?)?;
    let persons = texts(batch, "person")?;
    let levels = words::<Level>(batch, "level")?;
    let splits = words::<Split>(batch, "split")?;
    let mut reasons = lists(batch, "reasons")?;
    let kinds = words::<FaultKind>(batch, "kind")?;
    let sources = texts(batch, "source")?;
    let stamps = texts(batch, "stamp")?;
    let patches = texts(batch, "patches")?;
    let volumes = reals(batch, "volume_mm3")?;
    let extents = triples(batch, ["extent_x_mm", "extent_y_mm", "extent_z_mm"])?;
    let largest_pieces = reals(batch, "largest_piece")?;
    let cavities = reals(batch, "cavities")?;
    let centres = triples(batch, ["centre_x_mm", "centre_y_mm", "centre_z_mm"])?;
    let spacings = triples(batch, ["spacing_x_mm", "spacing_y_mm", "spacing_z_mm"])?;
    let thicknesses = reals(batch, "thickness_mm")?;
    let intensity_means = reals(batch, "intensity_mean")?;
    let intensity_sds = reals(batch, "intensity_sd")?;
    let mut shapes = octets(batch, "shape")?;
    for row in 0..batch.num_rows() {
        rows.push(LineageRow {
            case_id: case_ids[row].to_owned(),
            person: persons[row].map(str::to_owned),
            level: levels[row],
            split: splits[row],
            verdict: verdicts[row],
            reasons: std::mem::take(&mut reasons[row]),
            kind: kinds[row],
            source: sources[row].map(str::to_owned),
            stamp: stamps[row].map(str::to_owned),
            patches: patches[row].map(str::to_owned),
            night: nights[row],
            taught: taught[row],
            learnt: learnt[row],
            volume_mm3: volumes[row],
            extent_mm: extents[row],
            largest_piece: largest_pieces[row],
            cavities: cavities[row],
            centre_mm: centres[row],
            spacing_mm: spacings[row],
            thickness_mm: thicknesses[row],
            intensity_mean: intensity_means[row],
            intensity_sd: intensity_sds[row],
            shape: shapes[row].take(),
        });
    }
    Ok(())
}

/// A value a row; none where the column is null, and none at all where there is no such column.
type Cells<T> = Result<Vec<Option<T>>, LineageError>;

/// Takes the cells of a column out as `take` does, which gives `None` for one of another type.
fn cells<'a, T: Clone>(
    batch: &'a RecordBatch,
    name: &'static str,
    take: impl FnOnce(&'a ArrayRef) -> Option<Vec<Option<T>>>,
) -> Cells<T> {
    match batch.column_by_name(name) {
        Some(column) => take(column).ok_or(LineageError::Column(name)),
        None => Ok(vec![None; batch.num_rows()]),
    }
}

fn texts<'a>(batch: &'a RecordBatch, name: &'static str) -> Cells<&'a str> {
    cells(batch, name, |column| {
        Some(column.as_string_opt::<i32>()?.iter().collect())
    })
}

fn flags(batch: &RecordBatch, name: &'static str) -> Cells<bool> {
    cells(batch, name, |column| {
        Some(column.as_boolean_opt()?.iter().collect())
    })
}

fn counts(batch: &RecordBatch, name: &'static str) -> Cells<u32> {
    cells(batch, name, |column| {
        Some(column.as_primitive_opt::<UInt32Type>()?.iter().collect())
    })
}

fn reals(batch: &RecordBatch, name: &'static str) -> Cells<f64> {
    cells(batch, name, |column| {
        Some(column.as_primitive_opt::<Float64Type>()?.iter().collect())
    })
}

/// Columns that only together say something.
fn triples(batch: &RecordBatch, [x, y, z]: [&'static str; 3]) -> Cells<[f64; 3]> {
    let rows = reals(batch, x)?
        .into_iter()
        .zip(reals(batch, y)?)
        .zip(reals(batch, z)?);
    Ok(rows.map(|((x, y), z)| Some([x?, y?, z?])).collect())
}

/// Texts of which only some are known.
fn words<T: FromStr<Err = String>>(batch: &RecordBatch, name: &'static str) -> Cells<T> {
    let texts = texts(batch, name)?.into_iter();
    let read = |text: &str| {
        text.parse::<T>().map_err(|message| LineageError::Word {
            column: name,
            message,
        })
    };
    texts.map(|text| text.map(read).transpose()).collect()
}

fn lists(batch: &RecordBatch, name: &'static str) -> Result<Vec<Vec<String>>, LineageError> {
    let lists = cells(batch, name, |column| {
        let lists = column.as_list_opt::<i32>()?;
        let mut found = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            let texts = lists.value(row);
            let texts = texts.as_string_opt::<i32>()?;
            found.push(lists.is_valid(row).then(|| {
                let texts = texts.iter().flatten();
                texts.map(str::to_owned).collect::<Vec<String>>()
            }));
        }
        Some(found)
    })?;
    Ok(lists.into_iter().map(Option::unwrap_or_default).collect())
}

fn octets(batch: &RecordBatch, name: &'static str) -> Cells<Vec<u8>> {
    cells(batch, name, |column| {
        let lists = column.as_fixed_size_list_opt()?;
        let mut found = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            let octets = lists.value(row);
            let octets = octets.as_primitive_opt::<UInt8Type>()?;
            found.push(lists.is_valid(row).then(|| octets.values().to_vec()));
        }
        Some(found)
    })
}

fn required<T>(name: &'static str, cells: Vec<Option<T>>) -> Result<Vec<T>, LineageError> {
    let cells: Option<Vec<T>> = cells.into_iter().collect();
    cells.ok_or(LineageError::Column(name))
}

#[cfg(test)]
mod tests;
