//! Merges small parts into large ones: fewer requests for whoever reads the tables.
//!
//! A marker (create-only) names the merged part and the parts that it takes the place of; then the merged part is
//! published, vertebrae before cases as ever; then the old parts go. Killed at any moment, the next start of the run or
//! the next compaction finishes the deed or forgets it: see [`RunTables::list`].

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take_record_batch;
use bytes::Bytes;
use schemas::rows::{CaseRow, Row, VertebraRow};
use sha2::{Digest as _, Sha256};

use super::parts::{Marker, PART_MOST, exists};
use super::published::{counts, texts};
use super::{Published, RunTables, TablesError, encode_batch, fingerprint};
use crate::compare::key::hex;
use crate::stage::blocking;

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Parts that counted before.
    pub before: usize,
    /// Parts that count now.
    pub after: usize,
    /// Rows of cases whose later attempt counts, left out of the merged parts.
    pub superseded: usize,
    /// Parts of table cases alone, left where they are: their cases are to be done again.
    pub halves: usize,
}

/// Merges the parts of a run until each holds about `rows` cases; of several attempts at a case the last is kept.
/// Nobody else may be at work on the run.
///
/// # Errors
/// The store's, or a part that is none of ours. What is published stays whole.
pub async fn compact(tables: &RunTables, rows: usize) -> Result<Compacted, TablesError> {
    let listing = tables.list().await?;
    tables.clear(&listing).await?;
    let published = tables.published_in(&listing).await?;
    let mut sizes = BTreeMap::new();
    for name in &listing.parts {
        let mut found = Size::default();
        for batch in tables
            .read::<CaseRow>(name, Some(&["case_id", "attempt"]))
            .await?
        {
            let batch = batch?;
            found.rows += batch.num_rows();
            found.superseded += batch.num_rows() - lasting(&batch, &published)?.true_count();
        }
        sizes.insert(name.clone(), found);
    }
    let mut compacted = Compacted {
        before: sizes.len(),
        after: sizes.len(),
        superseded: 0,
        halves: 0,
    };
    for name in &listing.halves {
        if is_superseded(tables, name, &published).await? {
            tables.folder::<CaseRow>().join(name).delete().await?;
        } else {
            compacted.halves += 1;
        }
    }
    for group in groups(&sizes, rows) {
        compacted.after -= group.len();
        compacted.superseded += group.iter().map(|name| sizes[name].superseded).sum::<usize>();
        merge(tables, &group, &published).await?;
        compacted.after += 1;
    }
    Ok(compacted)
}

/// Whether every case of a part has rows of the same attempt, or of a later one, in parts that count.
async fn is_superseded(tables: &RunTables, name: &str, published: &Published) -> Result<bool, TablesError> {
    for batch in tables
        .read::<CaseRow>(name, Some(&["case_id", "attempt"]))
        .await?
    {
        let batch = batch?;
        let (ids, attempts) = (texts(&batch, "case_id")?, counts(&batch, "attempt")?);
        let mut rows = ids.iter().zip(attempts.values());
        let is_later = |(id, attempt): (Option<&str>, &u32)| {
            let last = published.last(fingerprint(&id.unwrap_or_default().to_ascii_lowercase()));
            last.is_some_and(|last| last.attempt >= *attempt)
        };
        if !rows.all(is_later) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    rows: usize,
    superseded: usize,
}

/// Puts parts into groups of about `rows` rows. A part that is large enough and all of whose rows count stays alone.
fn groups(sizes: &BTreeMap<String, Size>, rows: usize) -> Vec<BTreeSet<String>> {
    let mut groups = Vec::new();
    let mut group = BTreeSet::new();
    let mut held = 0;
    for (name, size) in sizes {
        if size.superseded == 0 && size.rows * 2 > rows {
            continue;
        }
        group.insert(name.clone());
        held += size.rows - size.superseded;
        if held >= rows {
            groups.push(std::mem::take(&mut group));
            held = 0;
        }
    }
    groups.push(group);
    let is_worth_it =
        |group: &BTreeSet<String>| group.len() > 1 || group.iter().any(|name| sizes[name].superseded > 0);
    groups.retain(is_worth_it);
    groups
}

async fn merge(
    tables: &RunTables,
    names: &BTreeSet<String>,
    published: &Published,
) -> Result<(), TablesError> {
    let cases = merged::<CaseRow>(tables, names, published).await?;
    let vertebrae = merged::<VertebraRow>(tables, names, published).await?;
    for (bytes, table) in [(&cases, CaseRow::TABLE), (&vertebrae, VertebraRow::TABLE)] {
        if bytes.len() as u64 > PART_MOST {
            return Err(TablesError::TooLarge(table));
        }
    }
    let key = key(tables.run(), names);
    let part = format!("part-{key}.parquet");
    let marker = Marker {
        part: part.clone(),
        replaces: names.clone(),
    };
    let text = serde_json::to_vec(&marker).map_err(|_| TablesError::Foreign)?;
    tables.marker(&key).create(Bytes::from(text)).await?;
    let (vertebrae_place, cases_place) = (
        tables.folder::<VertebraRow>().join(&part),
        tables.folder::<CaseRow>().join(&part),
    );
    if !(vertebrae_place.create(vertebrae).await? && cases_place.create(cases).await?) {
        return Err(TablesError::Taken);
    }
    // before anything goes: a start that took this process for dead may have cleared what it held for an orphan
    if !exists(&vertebrae_place).await? {
        return Err(TablesError::Taken);
    }
    for name in names {
        tables.folder::<CaseRow>().join(name).delete().await?;
    }
    for name in names {
        tables.folder::<VertebraRow>().join(name).delete().await?;
    }
    Ok(tables.marker(&key).delete().await?)
}

/// Returns one file of the rows that count, sorted by case, and by level.
async fn merged<R: Row>(
    tables: &RunTables,
    names: &BTreeSet<String>,
    published: &Published,
) -> Result<Bytes, TablesError> {
    let mut batches = Vec::new();
    for name in names {
        for batch in tables.read::<R>(name, None).await? {
            let batch = conform::<R>(&batch?)?;
            let counting = lasting(&batch, published)?;
            batches.push(filter_record_batch(&batch, &counting)?);
        }
    }
    blocking(move || {
        let all = concat_batches(&R::schema(), &batches)?;
        encode_batch(&sorted(&all)?)
    })
    .await
}

/// Brings the rows of an earlier version into today's columns: what it did not know yet is null.
///
/// # Errors
/// A column that this version does not know, or knows as another type: it would be lost.
fn conform<R: Row>(batch: &RecordBatch) -> Result<RecordBatch, TablesError> {
    let schema = R::schema();
    for field in batch.schema().fields() {
        let known = schema.field_with_name(field.name());
        if !known.is_ok_and(|known| known.data_type() == field.data_type()) {
            return Err(TablesError::Newer(field.name().clone()));
        }
    }
    let column = |field: &arrow_schema::FieldRef| -> ArrayRef {
        let found = batch.column_by_name(field.name()).cloned();
        found.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
    };
    let columns = schema.fields().iter().map(column).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Tells which rows are of their case's last attempt.
fn lasting(batch: &RecordBatch, published: &Published) -> Result<BooleanArray, TablesError> {
    let (ids, attempts) = (texts(batch, "case_id")?, counts(batch, "attempt")?);
    let rows = ids.iter().zip(attempts.values());
    let lasting = rows.map(|(id, attempt)| {
        let case = fingerprint(&id.unwrap_or_default().to_ascii_lowercase());
        Some(published.last(case).is_none_or(|last| last.attempt == *attempt))
    });
    Ok(lasting.collect())
}

fn sorted(batch: &RecordBatch) -> Result<RecordBatch, TablesError> {
    let ids = texts(batch, "case_id")?;
    // table cases has no levels
    let levels = texts(batch, "level").ok();
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    order.sort_by_key(|row| {
        let row = *row as usize;
        (ids.value(row), levels.map(|levels| levels.value(row)))
    });
    Ok(take_record_batch(batch, &UInt32Array::from(order))?)
}

fn key(run: &str, names: &BTreeSet<String>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(run.as_bytes());
    for name in names {
        hasher.update([0]);
        hasher.update(name.as_bytes());
    }
    hex(&hasher.finalize()[..8])
}

#[cfg(test)]
mod tests;
