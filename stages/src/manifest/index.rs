//! Makes a manifest of a DICOM dump in any layout: headers are read, grouped by study and series, and what is not used
//! says why.
//!
//! Record numbers, UIDs and keys stay in memory; what leaves are pseudonyms, and the URLs in the manifest itself.

mod bonds;
mod choose;
mod fates;
mod look;
mod masks;
mod objects;
mod pairs;
mod record;
mod rules;
mod series;

use std::collections::BTreeMap;

use object_store::path::Path;
use schemas::labels::LabelTable;
use schemas::rows::ObjectRow;
use schemas::{Fault, FaultKind, LabelScheme};

use super::Written;
use crate::dicom::pseudonym::SiteKey;
use crate::dicom::stack::StackConf;
use record::Record;

pub use look::{Progress, look_at};
pub use rules::{SeriesConf, Wanted, WantedWeighting};

/// An object that has been looked at.
#[derive(Debug)]
pub struct Looked {
    url: String,
    key: Path,
    bytes: u64,
    bytes_read: u64,
    /// `None` for a NIfTI whose name is one of a mask: nothing of it is read.
    seen: Option<Result<Box<Record>, Fault>>,
}

impl Looked {
    fn record(&self) -> Option<&Record> {
        self.seen.as_ref()?.as_deref().ok()
    }

    fn instance(&self) -> &str {
        self.record().map_or("", |record| &record.instance)
    }
}

/// A scheme that somebody has named, for masks that do not say what their numbers mean.
#[derive(Debug, Clone)]
pub struct Labels {
    name: String,
    table: LabelTable,
}

impl Labels {
    /// Takes a scheme with the name it goes by.
    pub fn of(name: &str, scheme: &LabelScheme) -> Self {
        let table = match scheme {
            LabelScheme::Table { .. } | LabelScheme::Binary(_) => scheme.table(),
            // these name no numbers
            LabelScheme::Classes | LabelScheme::Snomed => LabelTable::new(),
        };
        Self {
            name: name.to_owned(),
            table,
        }
    }
}

/// What rules a walk.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Which series is the image.
    pub series: &'a SeriesConf,
    /// What its slices may be like.
    pub stack: &'a StackConf,
    /// Makes the pseudonyms.
    pub key: &'a SiteKey,
    /// Scheme of masks without codes.
    pub labels: Option<Labels>,
    /// Scheme of paired CT masks without codes.
    pub reference_labels: Option<Labels>,
}

/// What a walk has made.
#[derive(Debug, Clone, PartialEq)]
pub struct Indexed {
    /// Rows of the manifest, sorted by case id.
    pub rows: Vec<Written>,
    /// One row an object, sorted by pseudonym.
    pub objects: Vec<ObjectRow>,
    /// How many objects the store did not give.
    pub unreached: usize,
}

/// Makes manifest and table of the objects of a dump. Neither their order nor their layout changes what is chosen.
pub fn index(looked: &[Looked], options: &Options<'_>) -> Indexed {
    let chosen = choose::choose(looked, options);
    let is_unreached = |object: &&Looked| match &object.seen {
        Some(Err(fault)) => fault.kind == FaultKind::Unavailable,
        _ => false,
    };
    Indexed {
        unreached: looked.iter().filter(is_unreached).count(),
        objects: objects::rows(looked, &chosen, options.key),
        rows: chosen.rows,
    }
}

impl Indexed {
    /// Returns how many objects there are of an outcome.
    pub fn count(&self, outcome: &str) -> usize {
        self.objects.iter().filter(|row| row.outcome == outcome).count()
    }

    /// Returns how many objects were left out, by reason.
    pub fn reasons(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for reason in self.objects.iter().filter_map(|row| row.reason) {
            *counts.entry(reason).or_insert(0) += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests;
