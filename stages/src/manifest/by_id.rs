//! Finds single cases of a manifest by their id: for who is told which case comes next.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use schemas::{Failure, Listed, Outcome};

use super::{Context, Manifest, ManifestError, Written, outcome, rows};
use crate::tables::fingerprint;

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// Half a hash of the folded id: two cases may share it, and are told apart when they are read.
    key: u64,
    /// Its first byte.
    offset: u64,
}

/// The cases of a manifest by their folded ids: 16 bytes of memory a case, their rows in a file without a name, which
/// goes with this. Rows that are no case stand in memory.
#[derive(Debug)]
pub struct ById {
    file: File,
    end: u64,
    rows: Vec<Row>,
    failures: HashMap<String, Failure>,
    sha256: String,
    context: Arc<Context>,
}

impl Manifest {
    /// Reads the manifest once and notes where each case lies. Blocks.
    ///
    /// # Errors
    /// It cannot be read to its end; no room for the file.
    pub fn by_id(&self) -> Result<ById, ManifestError> {
        let mut file = BufWriter::new(tempfile::tempfile().map_err(ManifestError::Disk)?);
        let mut manifest = self.file.try_clone().map_err(ManifestError::Disk)?;
        manifest.rewind().map_err(ManifestError::Disk)?;
        let (mut places, mut failures) = (Vec::new(), HashMap::new());
        let (mut seen, mut end) = (HashSet::new(), 0);
        for (index, row) in rows::read(&self.name, manifest)?.enumerate() {
            let row = row?;
            let text = row.as_ref().ok().and_then(|row| serde_json::to_vec(row).ok());
            match outcome(index + 1, row, &self.context, &mut seen) {
                Ok(case) => {
                    let text = text.unwrap_or_default();
                    file.write_all(&text).map_err(ManifestError::Disk)?;
                    places.push(Row {
                        key: key(&case.id.folded()),
                        offset: end,
                    });
                    end += text.len() as u64;
                }
                Err(failure) => {
                    failures.insert(failure.id.folded(), failure);
                }
            }
        }
        places.sort_unstable_by_key(|row| (row.key, row.offset));
        let file = file
            .into_inner()
            .map_err(|error| ManifestError::Disk(error.into_error()))?;
        Ok(ById {
            file,
            end,
            rows: places,
            failures,
            sha256: self.sha256.clone(),
            context: Arc::clone(&self.context),
        })
    }
}

impl ById {
    /// Returns how many rows the manifest has, those that are no case included.
    pub fn len(&self) -> usize {
        self.rows.len() + self.failures.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the SHA-256 of the manifest's bytes, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns what the manifest says of the case with that folded id, if it knows it: the same as reading it from its
    /// beginning. Blocks for as long as it takes to read a row of the file.
    ///
    /// # Errors
    /// This machine's disk.
    pub fn find(&self, folded: &str) -> Result<Option<Outcome<Listed>>, ManifestError> {
        if let Some(failure) = self.failures.get(folded) {
            return Ok(Some(Err(failure.clone())));
        }
        let key = key(folded);
        let first = self.rows.partition_point(|row| row.key < key);
        let same = self.rows.iter().skip(first).take_while(|row| row.key == key);
        for row in same {
            let written = self.read(row.offset)?;
            // its number is of no use to a row that is sound: only stand-ins are named by it
            let found = outcome(0, Ok(written), &self.context, &mut HashSet::new());
            if found.as_ref().is_ok_and(|case| case.id.folded() == folded) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Reads the row that begins there: one JSON object, which says itself where it ends.
    fn read(&self, offset: u64) -> Result<Written, ManifestError> {
        let broken =
            || ManifestError::Broken("expected a row in the copy of the manifest, found none".to_owned());
        let mut most = 512;
        loop {
            let length = usize::try_from(self.end.saturating_sub(offset))
                .unwrap_or(usize::MAX)
                .min(most);
            let mut bytes = vec![0; length];
            self.file
                .read_exact_at(&mut bytes, offset)
                .map_err(ManifestError::Disk)?;
            match serde_json::Deserializer::from_slice(&bytes).into_iter().next() {
                Some(Ok(written)) => return Ok(written),
                Some(Err(error)) if error.is_eof() && length == most => most = most.saturating_mul(8),
                _ => return Err(broken()),
            }
        }
    }
}

fn key(folded: &str) -> u64 {
    // the upper half
    (fingerprint(folded) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use url::Url;

    use super::*;

    fn manifest(name: &str, text: &str) -> Manifest {
        let context = Context {
            base: Url::parse("s3://bucket/cohort/").expect("url"),
            labels: BTreeMap::new(),
            seed: 7,
        };
        Manifest::of_bytes(name, text.as_bytes(), context)
    }

    #[test]
    fn every_row_is_found_by_its_id_as_it_is_read_from_the_beginning() {
        let long = "x".repeat(5000);
        let text = format!(
            "case_id,mask,labels,reference,reference_labels\nB1,b.nii.gz,verse,,\na,{long}.nii.gz,verse,r.nii,verse\n\
             b1,again.nii.gz,verse,,\n!,bad.nii.gz,verse,,\nc,,verse,,\n"
        );
        let manifest = manifest("m.csv", &text);
        let found = manifest.by_id().expect("read");
        assert_eq!(found.len(), 5);
        let all: Vec<Outcome<Listed>> = manifest
            .read()
            .expect("read")
            .map(|case| case.expect("row"))
            .collect();
        for case in &all {
            let id = match case {
                Ok(case) => case.id.folded(),
                Err(failure) => failure.id.folded(),
            };
            let found = found.find(&id).expect("read").expect("there");
            assert_eq!(format!("{found:?}"), format!("{case:?}"), "{id}");
            if let (Ok(found), Ok(case)) = (&found, case) {
                assert_eq!(found.body, case.body);
            }
        }
        for unknown in ["row-1", "d", "B1"] {
            assert!(found.find(unknown).expect("read").is_none(), "{unknown}");
        }
    }

    #[test]
    fn json_lines_are_found_too_and_an_empty_manifest_holds_nothing() {
        let text = "{\"case_id\":\"a\",\"mask\":\"a.nii\",\"labels\":\"verse\"}\n";
        let found = manifest("m.jsonl", text).by_id().expect("read");
        assert!(found.find("a").expect("read").expect("there").is_ok());
        let none = manifest("m.csv", "case_id,mask,labels\n").by_id().expect("read");
        assert!(none.is_empty() && none.find("a").expect("read").is_none());
    }
}
