//! Where the parts of a run lie, and which of them count.

use std::collections::BTreeSet;

use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use schemas::rows::{CaseRow, Row, VertebraRow};
use serde::{Deserialize, Serialize};

use super::TablesError;
use super::published::texts;
use crate::shard::{Shard, Share};
use crate::store::{Place, StoreError};

/// Most bytes of one published part that is read back; a part of a thousand cases has about two million.
pub(crate) const PART_MOST: u64 = 1 << 30;

/// Beginning of the names of markers that tell which parts a merged part takes the place of.
const MARKER: &str = "compact-";

/// The tables of one run, wherever its output lies.
#[derive(Debug, Clone)]
pub struct RunTables {
    output: Place,
    run: String,
}

/// Which parts there are.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Names of parts that count: published in both tables, and not merged into another.
    pub parts: BTreeSet<String>,
    /// Parts of table `vertebrae` alone: their cases were never committed.
    pub orphans: BTreeSet<String>,
    /// Parts of table `cases` alone: their vertebrae have gone, so their cases are done again. They are left where they
    /// are until the run is compacted: the rows of a later start count, and what somebody else deleted is not ours to
    /// tidy up behind.
    pub halves: BTreeSet<String>,
    /// Parts that a merged part has taken the place of, and that were not deleted yet.
    pub merged: BTreeSet<String>,
    /// Markers of merges that have come to their end.
    markers: Vec<Place>,
}

/// Which parts a merged part takes the place of: written before it, create-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The merged part.
    pub(super) part: String,
    /// Those that it holds the rows of.
    pub(super) replaces: BTreeSet<String>,
}

impl Listing {
    /// Returns a listing of these parts alone, which count.
    pub(super) fn of_parts(parts: BTreeSet<String>) -> Self {
        Self {
            parts,
            ..Self::default()
        }
    }
}

impl RunTables {
    /// Names the tables of run `run` below `output`.
    pub fn new(output: Place, run: &str) -> Self {
        Self {
            output,
            run: run.to_owned(),
        }
    }

    /// Returns the id of the run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Returns the folder of a table.
    pub fn folder<R: Row>(&self) -> Place {
        self.output.join(&format!("tables/{}/run={}", R::TABLE, self.run))
    }

    /// Returns the folder of the run's records.
    pub fn records(&self) -> Place {
        self.output.join(&format!("runs/{}", self.run))
    }

    /// Returns the folder of the records of every run with this output.
    pub fn runs(&self) -> Place {
        self.output.join("runs")
    }

    /// Returns the folder of the run's volumes.
    pub fn volumes(&self) -> Place {
        self.output.join(&format!("volumes/run={}", self.run))
    }

    /// Lists the run's parts and tells which count.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self) -> Result<Listing, TablesError> {
        // vertebrae first: a part that another process commits meanwhile is then no orphan
        let mut vertebrae = names(&self.folder::<VertebraRow>()).await?;
        let cases = names(&self.folder::<CaseRow>()).await?;
        for name in cases.difference(&vertebrae.clone()) {
            // and no half
            if exists(&self.folder::<VertebraRow>().join(name)).await? {
                vertebrae.insert(name.clone());
            }
        }
        let mut listing = Listing {
            parts: cases.intersection(&vertebrae).cloned().collect(),
            orphans: vertebrae.difference(&cases).cloned().collect(),
            halves: cases.difference(&vertebrae).cloned().collect(),
            ..Listing::default()
        };
        for (place, marker) in self.markers().await? {
            if listing.parts.contains(&marker.part) {
                let all = cases.union(&vertebrae);
                let replaced = all.filter(|name| marker.replaces.contains(*name));
                listing.merged.extend(replaced.cloned());
                listing.markers.push(place);
            }
        }
        let merged = &listing.merged;
        for set in [&mut listing.parts, &mut listing.orphans, &mut listing.halves] {
            set.retain(|name| !merged.contains(name));
        }
        Ok(listing)
    }

    /// Deletes what a killed process left half published or half merged.
    ///
    /// # Errors
    /// The store's.
    pub async fn clear(&self, listing: &Listing) -> Result<(), TablesError> {
        let (cases, vertebrae) = (self.folder::<CaseRow>(), self.folder::<VertebraRow>());
        // cases before vertebrae: what is left of a part half deleted is an orphan, and goes the next time
        for name in &listing.merged {
            cases.join(name).delete().await?;
        }
        for name in listing.merged.iter().chain(&listing.orphans) {
            vertebrae.join(name).delete().await?;
        }
        for marker in &listing.markers {
            marker.delete().await?;
        }
        Ok(())
    }

    /// The same, for a start of one shard, while those of the others may be at work. What is half published goes only if
    /// all its rows are of this shard's cases, which nobody else may be about to publish; what is half merged stays,
    /// since others may be reading it, and does no harm. Both wait for [`RunTables::clear`] by a start that does every
    /// case, or by a compaction.
    ///
    /// # Errors
    /// The store's.
    pub async fn clear_shard(&self, listing: &Listing, shard: Shard) -> Result<(), TablesError> {
        if shard.is_whole() {
            return self.clear(listing).await;
        }
        let share = Share::new(self.run(), shard);
        for name in &listing.orphans {
            match self.is_of(name, &share).await {
                Ok(true) => self.folder::<VertebraRow>().join(name).delete().await?,
                // its owner is clearing it, too
                Ok(false)
                | Err(TablesError::Store(StoreError::Store(object_store::Error::NotFound { .. }))) => {}
                Err(error @ TablesError::Store(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!("{name}: a half part that cannot be read is left for compact: {error}");
                }
            }
        }
        Ok(())
    }

    /// Returns whether a part of table vertebrae has rows, and all of them are of cases of that share.
    async fn is_of(&self, name: &str, share: &Share) -> Result<bool, TablesError> {
        let mut rows = 0;
        for batch in self.read::<VertebraRow>(name, Some(&["case_id"])).await? {
            let batch = batch?;
            for id in texts(&batch, "case_id")? {
                if !share.holds(&id.unwrap_or_default().to_ascii_lowercase()) {
                    return Ok(false);
                }
                rows += 1;
            }
        }
        Ok(rows > 0)
    }

    /// Returns the columns of a part, all or those named.
    ///
    /// # Errors
    /// The store's, or a file that is no Parquet.
    pub(super) async fn read<R: Row>(
        &self,
        name: &str,
        columns: Option<&'static [&'static str]>,
    ) -> Result<ParquetRecordBatchReader, TablesError> {
        let bytes = self.folder::<R>().join(name).read(PART_MOST).await?;
        reader(bytes, columns)
    }

    pub(super) fn marker(&self, key: &str) -> Place {
        self.records().join(&format!("{MARKER}{key}.json"))
    }

    async fn markers(&self) -> Result<Vec<(Place, Marker)>, TablesError> {
        let records = self.records();
        let mut markers = Vec::new();
        for object in records.list().await? {
            if object
                .location
                .filename()
                .is_some_and(|name| name.starts_with(MARKER))
            {
                let place = Place {
                    store: records.store.clone(),
                    path: object.location,
                };
                let marker = serde_json::from_slice(&place.read(PART_MOST).await?);
                markers.push((place, marker.map_err(|_| TablesError::Foreign)?));
            }
        }
        Ok(markers)
    }
}

fn reader(
    bytes: Bytes,
    columns: Option<&'static [&'static str]>,
) -> Result<ParquetRecordBatchReader, TablesError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let mask = match columns {
        Some(columns) => ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied()),
        None => ProjectionMask::all(),
    };
    Ok(builder.with_projection(mask).build()?)
}

async fn names(folder: &Place) -> Result<BTreeSet<String>, TablesError> {
    let listed = folder.list().await?;
    let names = listed.iter().filter_map(|object| object.location.filename());
    Ok(names
        .filter(|name| name.ends_with(".parquet"))
        .map(str::to_owned)
        .collect())
}

pub(super) async fn exists(place: &Place) -> Result<bool, TablesError> {
    match place.head().await {
        Ok(_) => Ok(true),
        Err(StoreError::Store(object_store::Error::NotFound { .. })) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
