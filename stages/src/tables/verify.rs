//! Holds what a run has published against its manifest, against itself, and against the files it left.

use std::collections::{HashMap, HashSet};
use std::fmt;

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt64Type;
use arrow_array::{Array as _, RecordBatch, StructArray};
use futures::{StreamExt as _, TryStreamExt as _};
use schemas::CaseId;
use schemas::rows::{CaseRow, VertebraRow};
use sha2::{Digest as _, Sha256};

use super::published::{counts, texts};
use super::{Listing, Published, RunTables, TablesError, fingerprint};
use crate::compare::key::hex;
use crate::starts::at_work;
use crate::store::{Place, StoreError};

/// Files that are read at once.
const AT_ONCE: usize = 8;

/// Problems that are listed one by one; all are counted.
const LISTED_MOST: usize = 1000;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A case of the manifest without a row.
    NoRow(String),
    /// A row of a case that the manifest does not hold.
    NotInManifest(String),
    /// One attempt at a case has several rows.
    Repeated(String),
    /// A case's row counts other vertebrae than there are rows.
    Vertebrae {
        /// The case.
        case_id: String,
        /// What its row says.
        expected: usize,
        /// Rows of the table vertebrae.
        found: usize,
    },
    /// So many rows of the table vertebrae belong to no attempt at a case that table cases tells of.
    Strays(usize),
    /// A file that is not there.
    NoFile(String),
    /// A file with other bytes than were written.
    Changed(String),
    /// A part that was never committed; the next start clears it, of a run in shards compact does.
    Orphan(String),
    /// A part that is not committed, while a start is at work that may be about to.
    Unsettled(String),
    /// A part whose vertebrae have gone; the next start does its cases again.
    Half(String),
}

/// What was looked at and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Cases of the manifest.
    pub manifest: usize,
    /// Cases with a row.
    pub cases: usize,
    /// Rows `row-<n>` that the manifest has no need of any more: a row that was mended since.
    pub mended: usize,
    /// Rows of all attempts.
    pub rows: usize,
    /// Vertebrae of the last attempts.
    pub vertebrae: usize,
    /// Parts that count.
    pub parts: usize,
    /// Files whose bytes were held against their hash.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// How many problems there are.
    pub count: usize,
    /// Those that are listed.
    pub problems: Vec<Problem>,
}

impl Verified {
    fn tell(&mut self, problem: Problem) {
        self.count += 1;
        if self.problems.len() < LISTED_MOST {
            self.problems.push(problem);
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRow(id) => write!(f, "case {id}: expected a row, found none"),
            Self::NotInManifest(id) => {
                write!(
                    f,
                    "case {id}: expected this case in the manifest, found none of this id there"
                )
            }
            Self::Repeated(id) => write!(f, "case {id}: expected one row an attempt, found several"),
            Self::Vertebrae {
                case_id,
                expected,
                found,
            } => write!(
                f,
                "case {case_id}: expected {expected} rows in vertebrae, found {found}"
            ),
            Self::Strays(count) => {
                write!(
                    f,
                    "expected rows of vertebrae to belong to rows of cases, found {count} that do not"
                )
            }
            Self::NoFile(name) => write!(f, "{name}: expected this file, found none"),
            Self::Changed(name) => write!(
                f,
                "{name}: expected the bytes that the case's row tells of, found others (an attempt that was killed before its row? then --retry-failed, or delete the part)"
            ),
            Self::Orphan(name) => write!(
                f,
                "{name}: expected a part of both tables, found vertebrae alone; the next start clears it (of a run in shards: the next start of its shard, or compact)"
            ),
            Self::Unsettled(name) => write!(
                f,
                "{name}: expected a part of both tables, found vertebrae alone: being published? a start is at work, verify again when it has ended"
            ),
            Self::Half(name) => write!(
                f,
                "{name}: expected a part of both tables, found cases alone; the next start does them again, and then compact deletes it"
            ),
        }
    }
}

/// Verifies a run against the ids of its manifest's cases, in order; `files` says whether every file is read for its
/// hash. Problems come first those of the tables, then those of files.
///
/// # Errors
/// The store's, or a part that is none of ours.
pub async fn verify(
    tables: &RunTables,
    manifest: impl Iterator<Item = String> + Send,
    files: bool,
) -> Result<Verified, TablesError> {
    // before the parts: whoever has published a half by then is among them
    let is_at_work = !at_work(&tables.records()).await?.is_empty();
    let listing = tables.list().await?;
    let published = tables.published_in(&listing).await?;
    let mut verified = Verified {
        cases: published.cases(),
        parts: listing.parts.len(),
        ..Verified::default()
    };
    let mut expected = HashSet::new();
    for id in manifest {
        verified.manifest += 1;
        let case = fingerprint(&id.to_ascii_lowercase());
        expected.insert(case);
        if published.last(case).is_none() {
            verified.tell(Problem::NoRow(id));
        }
    }
    for name in &listing.orphans {
        let problem = if is_at_work {
            Problem::Unsettled
        } else {
            Problem::Orphan
        };
        verified.tell(problem(name.clone()));
    }
    for name in &listing.halves {
        verified.tell(Problem::Half(name.clone()));
    }
    count_rows(tables, &listing, &published, &expected, &mut verified).await?;
    if files {
        check_files(tables, &listing, &published, &mut verified).await?;
    }
    Ok(verified)
}

/// Rows of one case.
#[derive(Debug, Default)]
struct Rows {
    cases: usize,
    vertebrae: usize,
}

async fn count_rows(
    tables: &RunTables,
    listing: &Listing,
    published: &Published,
    expected: &HashSet<u128>,
    verified: &mut Verified,
) -> Result<(), TablesError> {
    let mut found: HashMap<(u128, u32), Rows> = HashMap::new();
    for name in &listing.parts {
        for batch in tables
            .read::<VertebraRow>(name, Some(&["case_id", "attempt"]))
            .await?
        {
            for row in attempts(&batch?)? {
                found.entry(row).or_default().vertebrae += 1;
            }
        }
    }
    let vertebrae_rows: usize = found.values().map(|rows| rows.vertebrae).sum();
    let mut told_of = 0;
    for name in &listing.parts {
        let columns: &[&str] = &["case_id", "attempt", "vertebrae"];
        for batch in tables.read::<CaseRow>(name, Some(columns)).await? {
            let batch = batch?;
            let (ids, counted) = (texts(&batch, "case_id")?, counts(&batch, "vertebrae")?);
            for (index, row) in attempts(&batch)?.into_iter().enumerate() {
                verified.rows += 1;
                let rows = found.entry(row).or_default();
                rows.cases += 1;
                if rows.cases == 1 {
                    told_of += rows.vertebrae;
                }
                let case_id = || ids.value(index).to_owned();
                if rows.cases == 2 {
                    verified.tell(Problem::Repeated(case_id()));
                }
                let (case, attempt) = row;
                if published.last(case).is_some_and(|last| last.attempt == attempt) {
                    verified.vertebrae += rows.vertebrae;
                    match CaseId::is_of_row(ids.value(index)) {
                        _ if expected.contains(&case) => {}
                        true => verified.mended += 1,
                        false => verified.tell(Problem::NotInManifest(case_id())),
                    }
                }
                let counted = counted.value(index) as usize;
                if rows.vertebrae != counted {
                    verified.tell(Problem::Vertebrae {
                        case_id: case_id(),
                        expected: counted,
                        found: rows.vertebrae,
                    });
                }
            }
        }
    }
    if told_of < vertebrae_rows {
        verified.tell(Problem::Strays(vertebrae_rows - told_of));
    }
    Ok(())
}

fn attempts(batch: &RecordBatch) -> Result<Vec<(u128, u32)>, TablesError> {
    let (ids, attempts) = (texts(batch, "case_id")?, counts(batch, "attempt")?);
    let rows = ids.iter().zip(attempts.values());
    Ok(rows
        .map(|(id, attempt)| {
            (
                fingerprint(&id.unwrap_or_default().to_ascii_lowercase()),
                *attempt,
            )
        })
        .collect())
}

/// A file as the tables tell of it.
struct Expected {
    place: Place,
    /// Case and file name: what a problem may name.
    name: String,
    bytes: u64,
    sha256: String,
}

async fn check_files(
    tables: &RunTables,
    listing: &Listing,
    published: &Published,
    verified: &mut Verified,
) -> Result<(), TablesError> {
    for name in &listing.parts {
        let columns: &[&str] = &["case_id", "attempt", "files"];
        for batch in tables.read::<CaseRow>(name, Some(columns)).await? {
            let expected = expected_files(tables, &batch?, published)?;
            let mut found = futures::stream::iter(expected)
                .map(check)
                .buffer_unordered(AT_ONCE);
            while let Some(checked) = found.next().await {
                let (bytes, problem) = checked?;
                verified.files += 1;
                verified.bytes += bytes;
                if let Some(problem) = problem {
                    verified.tell(problem);
                }
            }
        }
    }
    Ok(())
}

async fn check(expected: Expected) -> Result<(u64, Option<Problem>), TablesError> {
    let found = match expected.place.open().await {
        Ok(found) => found,
        Err(StoreError::Store(object_store::Error::NotFound { .. })) => {
            return Ok((0, Some(Problem::NoFile(expected.name))));
        }
        Err(error) => return Err(error.into()),
    };
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut body = found.into_stream();
    while let Some(piece) = body.try_next().await.map_err(StoreError::from)? {
        hasher.update(&piece);
        bytes += piece.len() as u64;
    }
    let is_same = bytes == expected.bytes && hex(&hasher.finalize()) == expected.sha256;
    Ok((bytes, (!is_same).then_some(Problem::Changed(expected.name))))
}

/// Returns the files of the cases whose last attempt these rows are; rows from before files had hashes have none.
fn expected_files(
    tables: &RunTables,
    batch: &RecordBatch,
    published: &Published,
) -> Result<Vec<Expected>, TablesError> {
    let Some(files) = batch.column_by_name("files") else {
        return Ok(Vec::new());
    };
    let files = files.as_list_opt::<i32>().ok_or(TablesError::Foreign)?;
    let ids = texts(batch, "case_id")?;
    let mut expected = Vec::new();
    for (index, (case, attempt)) in attempts(batch)?.into_iter().enumerate() {
        let is_last = published.last(case).is_some_and(|last| last.attempt == attempt);
        if !is_last || files.is_null(index) {
            continue;
        }
        let of_case = files.value(index);
        let of_case = of_case.as_struct_opt().ok_or(TablesError::Foreign)?;
        for (name, bytes, sha256) in rows_of(of_case)? {
            let id = ids.value(index);
            expected.push(Expected {
                place: tables.volumes().join(id).join(&name),
                name: format!("{id}/{name}"),
                bytes,
                sha256,
            });
        }
    }
    Ok(expected)
}

fn rows_of(files: &StructArray) -> Result<Vec<(String, u64, String)>, TablesError> {
    let text = |name: &str| {
        let column = files.column_by_name(name);
        column
            .and_then(|column| column.as_string_opt::<i32>())
            .ok_or(TablesError::Foreign)
    };
    let bytes = files.column_by_name("bytes");
    let bytes = bytes
        .and_then(|column| column.as_primitive_opt::<UInt64Type>())
        .ok_or(TablesError::Foreign)?;
    let (names, hashes) = (text("name")?, text("sha256")?);
    Ok((0..files.len())
        .map(|row| {
            (
                names.value(row).to_owned(),
                bytes.value(row),
                hashes.value(row).to_owned(),
            )
        })
        .collect())
}
