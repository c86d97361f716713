//! What the published parts say of a run: which cases have a row, and how the last one ended.

use std::collections::HashMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt32Type;
use arrow_array::{Array as _, RecordBatch, StringArray, UInt32Array};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use schemas::FaultKind;
use schemas::rows::{CaseRow, Row, VertebraRow};
use sha2::{Digest as _, Sha256};

use super::{Listing, RunTables, TablesError};
use crate::shard::{Shard, Share};

/// Parts that are read at once, whole: those of cases are small, those of vertebrae are not.
const CASES_AT_ONCE: usize = 16;
const VERTEBRAE_AT_ONCE: usize = 2;

/// How the last attempt at a case ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Last {
    /// Its number.
    pub attempt: u32,
    /// Whose matter it is that the case failed, in a word of the tables that this version knows.
    pub kind: Option<FaultKind>,
    /// Whether the case failed.
    pub failed: bool,
    /// Whether a vertebra of it failed.
    pub vertebra_failed: bool,
}

/// Which cases of a run have a row: some fifty bytes a case, whatever the rows hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    last: HashMap<u128, Last>,
    highest: u32,
}

/// Returns what a case is known by where every case of a run is remembered: 128 bits of a hash of its folded id.
pub fn fingerprint(folded: &str) -> u128 {
    let digest = Sha256::digest(folded.as_bytes());
    digest
        .iter()
        .take(16)
        .fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

impl Published {
    /// Returns how many cases have a row.
    pub fn cases(&self) -> usize {
        self.last.len()
    }

    /// Returns how the last attempt at a case ended, if there was one.
    pub fn last(&self, fingerprint: u128) -> Option<Last> {
        self.last.get(&fingerprint).copied()
    }

    /// Returns how many cases have a last attempt that failed, or a vertebra of it that did.
    pub fn failed(&self) -> usize {
        let last = self.last.values();
        last.filter(|last| last.failed || last.vertebra_failed).count()
    }

    /// Adds what other parts say.
    pub(super) fn merge(&mut self, other: Self) {
        self.highest = self.highest.max(other.highest);
        for (case, last) in other.last {
            self.see(case, last);
        }
    }

    /// Returns the highest attempt of any row, of cases forgotten since too; 0 if there is none.
    pub fn highest_attempt(&self) -> u32 {
        self.highest
    }

    /// Forgets the cases whose last attempt failed in one of `kinds` (any, if empty), or has a vertebra that did, by
    /// [`RunTables::failed_vertebrae`]: they are to be done again. Returns them.
    pub fn forget_failed(
        &mut self,
        kinds: &[FaultKind],
        vertebrae: &HashMap<u128, Vec<FaultKind>>,
    ) -> HashMap<u128, Last> {
        let is_asked =
            |kind: Option<FaultKind>| kinds.is_empty() || kind.is_some_and(|kind| kinds.contains(&kind));
        let is_meant = |case: &u128, last: &mut Last| {
            let alone = vertebrae.get(case).map_or(&[][..], Vec::as_slice);
            let vertebra =
                last.vertebra_failed && (kinds.is_empty() || alone.iter().any(|kind| is_asked(Some(*kind))));
            last.failed && is_asked(last.kind) || vertebra
        };
        self.last.extract_if(is_meant).collect()
    }

    /// Forgets cases whose last attempt is one of these rows, which have lost their vertebrae: they are done again.
    fn forget_earlier(&mut self, batch: &RecordBatch, share: &Share) -> Result<(), TablesError> {
        let (ids, attempts) = (texts(batch, "case_id")?, counts(batch, "attempt")?);
        for (id, attempt) in ids.iter().zip(attempts.values()) {
            let folded = id.unwrap_or_default().to_ascii_lowercase();
            if !share.holds(&folded) {
                continue;
            }
            let case = fingerprint(&folded);
            self.highest = self.highest.max(*attempt);
            if self.last(case).is_some_and(|last| last.attempt < *attempt) {
                self.last.remove(&case);
            }
        }
        Ok(())
    }

    fn see(&mut self, case: u128, last: Last) {
        self.highest = self.highest.max(last.attempt);
        let known = self.last.entry(case).or_insert(last);
        if known.attempt < last.attempt {
            *known = last;
        }
    }

    fn add(&mut self, batch: &RecordBatch, share: &Share) -> Result<(), TablesError> {
        let (ids, statuses) = (texts(batch, "case_id")?, texts(batch, "status")?);
        let kinds = texts(batch, "kind")?;
        let (attempts, failed) = (counts(batch, "attempt")?, counts(batch, "vertebrae_failed")?);
        for row in 0..batch.num_rows() {
            let folded = ids.value(row).to_ascii_lowercase();
            if !share.holds(&folded) {
                continue;
            }
            let last = Last {
                attempt: attempts.value(row),
                kind: kinds
                    .is_valid(row)
                    .then(|| kinds.value(row).parse().ok())
                    .flatten(),
                failed: statuses.value(row) != "done",
                vertebra_failed: failed.value(row) > 0,
            };
            self.see(fingerprint(&folded), last);
        }
        Ok(())
    }
}

/// Returns a column of texts.
pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, TablesError> {
    let column = batch.column_by_name(name);
    column
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or(TablesError::Foreign)
}

/// Returns a column of counts.
pub(super) fn counts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a UInt32Array, TablesError> {
    let column = batch.column_by_name(name);
    column
        .and_then(|column| column.as_primitive_opt::<UInt32Type>())
        .ok_or(TablesError::Foreign)
}

impl RunTables {
    /// Returns which cases have a row.
    ///
    /// # Errors
    /// The store's, or a part that is none of ours.
    pub async fn published(&self) -> Result<Published, TablesError> {
        let listing = self.list().await?;
        self.published_in(&listing).await
    }

    /// The same, of parts that have been listed.
    ///
    /// # Errors
    /// As [`RunTables::published`].
    pub async fn published_in(&self, listing: &Listing) -> Result<Published, TablesError> {
        self.published_of(listing, Shard::WHOLE).await
    }

    /// The same, of the cases of one shard alone: of a row of another one nothing is kept, its attempt neither.
    ///
    /// # Errors
    /// As [`RunTables::published`].
    pub async fn published_of(&self, listing: &Listing, shard: Shard) -> Result<Published, TablesError> {
        const COLUMNS: &[&str] = &["case_id", "attempt", "status", "kind", "vertebrae_failed"];
        let share = Share::new(self.run(), shard);
        let mut readers = self.readers::<CaseRow>(listing, COLUMNS, CASES_AT_ONCE);
        let mut published = Published::default();
        while let Some(reader) = readers.try_next().await? {
            for batch in reader {
                published.add(&batch?, &share)?;
            }
        }
        for name in &listing.halves {
            for batch in self.read::<CaseRow>(name, Some(COLUMNS)).await? {
                published.forget_earlier(&batch?, &share)?;
            }
        }
        Ok(published)
    }

    /// Opens every part that counts, some at once, in the order of their names.
    fn readers<R: Row>(
        &self,
        listing: &Listing,
        columns: &'static [&'static str],
        at_once: usize,
    ) -> impl Stream<Item = Result<ParquetRecordBatchReader, TablesError>> + Unpin {
        let read = {
            let tables = self.clone();
            move |name: String| {
                let tables = tables.clone();
                async move { tables.read::<R>(&name, Some(columns)).await }
            }
        };
        let names: Vec<String> = listing.parts.iter().cloned().collect();
        Box::pin(futures::stream::iter(names).map(read).buffered(at_once))
    }

    /// Returns the kinds of the vertebrae that failed alone, by the case they belong to, of each case's last attempt.
    ///
    /// # Errors
    /// As [`RunTables::published`].
    pub async fn failed_vertebrae(
        &self,
        listing: &Listing,
        published: &Published,
    ) -> Result<HashMap<u128, Vec<FaultKind>>, TablesError> {
        const COLUMNS: &[&str] = &["case_id", "attempt", "kind"];
        let mut readers = self.readers::<VertebraRow>(listing, COLUMNS, VERTEBRAE_AT_ONCE);
        let mut failed: HashMap<u128, Vec<FaultKind>> = HashMap::new();
        while let Some(reader) = readers.try_next().await? {
            for batch in reader {
                let batch = batch?;
                let (ids, kinds) = (texts(&batch, "case_id")?, texts(&batch, "kind")?);
                let attempts = counts(&batch, "attempt")?;
                for ((id, kind), attempt) in ids.iter().zip(kinds).zip(attempts.values()) {
                    let case = fingerprint(&id.unwrap_or_default().to_ascii_lowercase());
                    let is_last = published.last(case).is_some_and(|last| last.attempt == *attempt);
                    if let Some(kind) = kind.and_then(|kind| kind.parse().ok()).filter(|_| is_last) {
                        failed.entry(case).or_default().push(kind);
                    }
                }
            }
        }
        Ok(failed)
    }
}
