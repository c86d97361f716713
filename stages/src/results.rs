//! A run read back from its tables, for those who look at it: reports and viewers.
//!
//! Whatever version wrote a part, what this one knows of it is read, and what it does not know is named. A part that cannot
//! be read is named too, and the others are shown.

mod columns;
mod part;
mod rows;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use object_store::ObjectMeta;
use serde_json::Value;

use crate::store::{Place, StoreError};
use crate::tables::{Listing, RunTables, TablesError};
use part::Part;

pub use rows::{CaseSeen, VertebraSeen};

/// Most bytes of a record.
const RECORD_MOST: u64 = 16 << 20;

/// Times that the parts are listed anew when one has gone before it was read: `compact` merges them.
const LIST_TRIES: usize = 4;

/// What stands for the schema's version where a part names none.
pub const NO_VERSION: &str = "none";

/// A run as its tables tell it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// Id of the run.
    pub run: String,
    /// The highest attempt of each case, by id.
    pub cases: Vec<Arc<CaseSeen>>,
    /// The vertebrae of these attempts, by case and level.
    pub vertebrae: Vec<Arc<VertebraSeen>>,
    /// Parts that were read.
    pub parts: usize,
    /// Versions of the schema that these parts were written under; [`NO_VERSION`] where one names none.
    pub versions: BTreeSet<String>,
    /// Columns that this version does not know or that are of another type, with their table: `cases.shoe_size`.
    pub unknown: BTreeSet<String>,
    /// Columns that this version knows and that a part lacks.
    pub missing: BTreeSet<String>,
    /// Parts that could not be read, and why.
    pub damaged: Vec<(String, String)>,
    /// Parts of one table alone, which do not count: of a start that was killed, or that is about to publish the other.
    pub unpublished: usize,
    /// The records of the starts, by their names.
    pub records: Vec<Record>,
}

/// What a start of the run tells of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Name of its file.
    pub name: String,
    /// Its text; the keys vary with the version that wrote it.
    pub json: Value,
}

impl Results {
    /// Reads a run once.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(tables: &RunTables) -> Result<Self, TablesError> {
        let results = Reader::new(tables.clone()).refresh().await?;
        Ok(Arc::unwrap_or_clone(results))
    }

    /// Returns whether there is no sign of the run at all.
    pub fn is_nothing(&self) -> bool {
        self.parts == 0 && self.damaged.is_empty() && self.unpublished == 0 && self.records.is_empty()
    }

    /// Returns the case of that id.
    pub fn case(&self, case_id: &str) -> Option<&Arc<CaseSeen>> {
        let found = self
            .cases
            .binary_search_by(|case| case.case_id.as_str().cmp(case_id));
        found.ok().map(|index| &self.cases[index])
    }

    /// Returns the vertebrae of a case, from the head down.
    pub fn vertebrae_of(&self, case_id: &str) -> &[Arc<VertebraSeen>] {
        let of = |vertebra: &Arc<VertebraSeen>| vertebra.case_id.as_str() < case_id;
        let first = self.vertebrae.partition_point(of);
        let rest = &self.vertebrae[first..];
        let count = rest.partition_point(|vertebra| vertebra.case_id == case_id);
        &rest[..count]
    }
}

/// Reads a run again and again, each part once: for a run in progress.
#[derive(Debug)]
pub struct Reader {
    tables: RunTables,
    parts: BTreeMap<String, Part>,
    damaged: BTreeMap<String, String>,
    records: HashMap<String, (Stamp, Option<Record>)>,
    last: Arc<Results>,
}

/// What the store says of a record: when it changes, the record has.
type Stamp = (u64, i64, Option<String>);

impl Reader {
    /// Will read these tables.
    pub fn new(tables: RunTables) -> Self {
        Self {
            tables,
            parts: BTreeMap::new(),
            damaged: BTreeMap::new(),
            records: HashMap::new(),
            last: Arc::default(),
        }
    }

    /// Returns the run as it stands: what was returned last, the very same, if nothing is new.
    ///
    /// # Errors
    /// The store's.
    pub async fn refresh(&mut self) -> Result<Arc<Results>, TablesError> {
        let mut tries = 1;
        let listing = loop {
            let listing = self.tables.list().await?;
            match self.read_parts(&listing).await {
                Ok(()) => break listing,
                Err(TablesError::Store(StoreError::Store(object_store::Error::NotFound { .. })))
                    if tries < LIST_TRIES =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        };
        self.read_records().await?;
        let results = self.results(&listing);
        if *self.last != results {
            self.last = Arc::new(results);
        }
        Ok(Arc::clone(&self.last))
    }

    async fn read_parts(&mut self, listing: &Listing) -> Result<(), TablesError> {
        self.parts.retain(|name, _| listing.parts.contains(name));
        self.damaged.retain(|name, _| listing.parts.contains(name));
        for name in &listing.parts {
            if self.parts.contains_key(name) || self.damaged.contains_key(name) {
                continue;
            }
            match Part::read(&self.tables, name).await {
                Ok(part) => {
                    self.parts.insert(name.clone(), part);
                }
                Err(error @ TablesError::Store(StoreError::Store(_))) => return Err(error),
                Err(error) => {
                    self.damaged.insert(name.clone(), error.to_string());
                }
            }
        }
        Ok(())
    }

    async fn read_records(&mut self) -> Result<(), TablesError> {
        let folder = self.tables.records();
        let listed = folder.list().await?;
        let mut kept = HashMap::new();
        for object in listed {
            let Some(name) = record_name(&folder, &object) else {
                continue;
            };
            let stamp = (
                object.size,
                object.last_modified.timestamp_millis(),
                object.e_tag.clone(),
            );
            let known = self.records.remove(&name).filter(|(known, _)| *known == stamp);
            let record = match known {
                Some((_, record)) => record,
                None => read_record(&folder, &object, &name).await?,
            };
            kept.insert(name, (stamp, record));
        }
        self.records = kept;
        Ok(())
    }

    /// Puts together what was read.
    fn results(&self, listing: &Listing) -> Results {
        let mut last: HashMap<String, &Arc<CaseSeen>> = HashMap::new();
        for case in self.parts.values().flat_map(|part| &part.cases) {
            let known = last.entry(case.folded()).or_insert(case);
            if known.attempt < case.attempt {
                *known = case;
            }
        }
        let is_last = |vertebra: &&Arc<VertebraSeen>| {
            let case = last.get(&vertebra.folded());
            case.is_some_and(|case| case.attempt == vertebra.attempt)
        };
        let all = self.parts.values().flat_map(|part| &part.vertebrae);
        let mut vertebrae: Vec<_> = all.filter(is_last).cloned().collect();
        vertebrae.sort_by(|a, b| (&a.case_id, &a.level, a.label).cmp(&(&b.case_id, &b.level, b.label)));
        let mut cases: Vec<_> = last.into_values().cloned().collect();
        cases.sort_by(|a, b| a.case_id.cmp(&b.case_id));
        let mut records: Vec<Record> = self
            .records
            .values()
            .filter_map(|(_, record)| record.clone())
            .collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        let gather = |of: fn(&Part) -> &BTreeSet<String>| -> BTreeSet<String> {
            self.parts.values().flat_map(of).cloned().collect()
        };
        Results {
            run: self.tables.run().to_owned(),
            cases,
            vertebrae,
            parts: self.parts.len(),
            versions: gather(|part| &part.versions),
            unknown: gather(|part| &part.unknown),
            missing: gather(|part| &part.missing),
            damaged: self
                .damaged
                .iter()
                .map(|(name, why)| (name.clone(), why.clone()))
                .collect(),
            unpublished: listing.orphans.len() + listing.halves.len(),
            records,
        }
    }
}

/// Returns the name of a start's record; markers of merges and whatever else lies there are none.
fn record_name(folder: &Place, object: &ObjectMeta) -> Option<String> {
    let below = object.location.prefix_match(&folder.path)?;
    let below: Vec<_> = below.collect();
    let [name] = below.as_slice() else { return None };
    let name = name.as_ref();
    let digits = name.strip_prefix('w')?.strip_suffix(".json")?;
    // of runs from before starts had numbers the name is a hash
    let is_name = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_name.then(|| name.to_owned())
}

/// Reads a record; one that is no JSON is left out: it is put anew every few seconds.
async fn read_record(folder: &Place, object: &ObjectMeta, name: &str) -> Result<Option<Record>, TablesError> {
    let place = Place {
        store: folder.store.clone(),
        path: object.location.clone(),
    };
    match place.read(RECORD_MOST).await {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok().map(|json| Record {
            name: name.to_owned(),
            json,
        })),
        Err(StoreError::Store(object_store::Error::NotFound { .. }) | StoreError::TooLarge { .. }) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
