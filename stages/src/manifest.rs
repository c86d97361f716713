//! Reads a cohort manifest: every row becomes a listed case, or a failure with a name.

mod by_id;
pub mod index;
mod records;
mod rows;
pub mod walk;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod million;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::sync::Arc;

use futures::TryStreamExt as _;
use models::seed::derive;
use schemas::labels::LabelTable;
use schemas::payload::{Image, Named};
use schemas::{Case, CaseId, Failure, Fault, Held, LabelScheme, Listed, ObjectUrl, Origin, Outcome};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::compare::key::hex;
use crate::stage::blocking;
use crate::store::{Place, StoreError, absolute};
use crate::tables::fingerprint;

pub use by_id::ById;

/// Name of this stage in rows.
pub const NAME: &str = "list";

/// One row as written: CSV, JSON Lines and Parquet all come to this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// Pseudonym of the case.
    pub case_id: Option<String>,
    /// The mask to restore: an object, or a prefix with one mask a class.
    pub mask: Option<String>,
    /// Label scheme of the mask.
    pub labels: Option<String>,
    /// The paired CT mask.
    pub reference: Option<String>,
    /// Label scheme of the reference.
    pub reference_labels: Option<String>,
    /// The image the mask was drawn on.
    pub image: Option<String>,
    /// Pseudonym of the person.
    pub person: Option<String>,
}

/// Names of the manifest's columns.
pub const COLUMNS: [&str; 7] = [
    "case_id",
    "mask",
    "labels",
    "reference",
    "reference_labels",
    "image",
    "person",
];

/// Columns that a manifest must have.
pub const REQUIRED: [&str; 3] = ["case_id", "mask", "labels"];

/// Why a manifest as a whole cannot be read: one of the few things that end a run.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not one of the formats.
    #[error("expected a manifest in CSV, JSON Lines (.jsonl, .ndjson) or Parquet, found {0}")]
    Format(String),
    /// A column is not there.
    #[error("expected the columns {expected}, found {found}")]
    Columns {
        /// What must be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The bytes are broken.
    #[error("cannot read the manifest: {0}")]
    Broken(String),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This machine's disk, on which a copy is kept.
    #[error("expected room for a copy of the manifest in the folder for temporary files: {0}")]
    Disk(std::io::Error),
}

/// What is needed to make cases of rows.
#[derive(Debug, Clone)]
pub struct Context {
    /// Folder of the manifest, for relative paths.
    pub base: Url,
    /// A site's own label tables.
    pub labels: BTreeMap<String, LabelTable>,
    /// Seed of the run.
    pub seed: u64,
}

/// A manifest on this machine's disk, read row by row and never whole.
///
/// It is copied there first: a run lasts for hours, and no store keeps a download open that long.
#[derive(Debug)]
pub struct Manifest {
    file: File,
    name: String,
    sha256: String,
    context: Arc<Context>,
}

impl Manifest {
    /// Copies a manifest of at most `limit` bytes to a file without a name, which goes with this.
    ///
    /// # Errors
    /// The store's; no room for the file.
    pub async fn copy(place: &Place, limit: u64, context: Context) -> Result<Self, ManifestError> {
        let (file, sha256) = spool(place, limit).await?;
        Ok(Self {
            file,
            name: place.path.to_string(),
            sha256,
            context: Arc::new(context),
        })
    }

    /// Returns a manifest of these bytes, in the format that `name` ends in.
    #[cfg(test)]
    pub(crate) fn of_bytes(name: &str, bytes: &[u8], context: Context) -> Self {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(bytes).expect("write");
        Self {
            file,
            name: name.to_owned(),
            sha256: String::new(),
            context: Arc::new(context),
        }
    }

    /// Returns the SHA-256 of the manifest's bytes, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Reads the manifest from its beginning: one outcome a row, in order. A bad row is an outcome; an error ends the
    /// manifest. May be called several times, but not while an earlier reading goes on.
    ///
    /// # Errors
    /// No row can be read.
    pub fn read(&self) -> Result<Cases, ManifestError> {
        let mut file = self.file.try_clone().map_err(ManifestError::Disk)?;
        file.rewind().map_err(ManifestError::Disk)?;
        Ok(Cases {
            rows: rows::read(&self.name, file)?,
            number: 0,
            seen: HashSet::new(),
            context: Arc::clone(&self.context),
        })
    }
}

/// Copies an object into a file without a name, and hashes it on the way.
async fn spool(place: &Place, limit: u64) -> Result<(File, String), ManifestError> {
    let mut file = tempfile::tempfile().map_err(ManifestError::Disk)?;
    let found = place.open().await?;
    if found.meta.size > limit {
        let found = found.meta.size;
        return Err(StoreError::TooLarge { limit, found }.into());
    }
    let mut hasher = Sha256::new();
    let mut stream = found.into_stream();
    while let Some(piece) = stream.try_next().await.map_err(StoreError::from)? {
        hasher.update(&piece);
        file = blocking(move || file.write_all(&piece).map(|()| file))
            .await
            .map_err(ManifestError::Disk)?;
    }
    Ok((file, hex(&hasher.finalize())))
}

/// The cases of a manifest, one after another.
pub struct Cases {
    rows: rows::Rows,
    number: usize,
    seen: HashSet<u128>,
    context: Arc<Context>,
}

impl Iterator for Cases {
    type Item = Result<Outcome<Listed>, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        self.number += 1;
        Some(row.map(|row| outcome(self.number, row, &self.context, &mut self.seen)))
    }
}

fn outcome(
    number: usize,
    row: Result<Written, Fault>,
    context: &Context,
    seen: &mut HashSet<u128>,
) -> Outcome<Listed> {
    let fail = |id: CaseId, person: Option<String>, fault: Fault| {
        Err(Failure {
            id,
            person,
            stage: NAME,
            fault,
            spent: Vec::new(),
        })
    };
    let row = match row {
        Ok(row) => row,
        Err(fault) => return fail(CaseId::of_row(number), None, fault),
    };
    let id: CaseId = match row.case_id.as_deref().unwrap_or_default().parse() {
        Ok(id) => id,
        Err(error) => {
            let fault = Fault::unsuitable("bad_case_id", format!("case_id: {error}"));
            return fail(CaseId::of_row(number), None, fault);
        }
    };
    if !seen.insert(fingerprint(&id.folded())) {
        let message = "case_id: expected an id not used by an earlier row (compared without case), found a repeated one";
        return fail(
            CaseId::of_row(number),
            None,
            Fault::unsuitable("repeated_case_id", message),
        );
    }
    let person = match person(&row, &id) {
        Ok(person) => person,
        Err(fault) => return fail(id, None, fault),
    };
    match listed(&row, &id, person.clone(), context) {
        Ok(body) => Ok(Case {
            id,
            person: Some(person),
            body,
            spent: Vec::new(),
            held: Held::default(),
        }),
        Err(fault) => fail(id, Some(person), fault),
    }
}

/// A person's pseudonym keeps to the alphabet of case ids: it goes into the tables.
fn person(row: &Written, id: &CaseId) -> Result<String, Fault> {
    let Some(person) = &row.person else {
        return Ok(id.to_string());
    };
    match person.parse::<CaseId>() {
        Ok(person) => Ok(person.to_string()),
        Err(error) => {
            let message = error.to_string().replace("a case id", "a pseudonym");
            Err(Fault::unsuitable("bad_person", format!("person: {message}")))
        }
    }
}

fn listed(row: &Written, id: &CaseId, person: String, context: &Context) -> Result<Listed, Fault> {
    let mask = named(
        "mask",
        row.mask.as_deref(),
        "labels",
        row.labels.as_deref(),
        context,
    )?
    .ok_or_else(|| Fault::unsuitable("no_mask", "mask: expected an object's URL, found nothing"))?;
    let reference = named(
        "reference",
        row.reference.as_deref(),
        "reference_labels",
        row.reference_labels.as_deref(),
        context,
    )?;
    let image = row
        .image
        .as_deref()
        .map(|text| image(text, context))
        .transpose()?;
    let seed = derive(context.seed, &id.folded());
    Ok(Listed {
        origin: Origin {
            id: id.clone(),
            person,
            seed,
            bytes_read: 0,
            source: None,
        },
        mask,
        reference,
        image,
    })
}

fn named(
    column: &str,
    object: Option<&str>,
    scheme_column: &str,
    scheme: Option<&str>,
    context: &Context,
) -> Result<Option<Named>, Fault> {
    let Some(object) = object else {
        return Ok(None);
    };
    let Some(scheme) = scheme else {
        let message = format!(
            "{scheme_column}: expected the label scheme of {column}, found nothing; it is never guessed"
        );
        return Err(Fault::unsuitable("no_label_scheme", message));
    };
    let scheme = LabelScheme::named(scheme, &context.labels).map_err(|message| {
        Fault::unsuitable("unknown_label_scheme", format!("{scheme_column}: {message}"))
    })?;
    Ok(Some(Named {
        url: url(column, object, context)?,
        scheme,
    }))
}

/// Reads a cell `image`: an object, the objects of a series with white space between (URLs all of them, since a path may
/// hold a blank), or a prefix that ends in `/`.
fn image(text: &str, context: &Context) -> Result<Image, Fault> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    if parts.len() > 1 && parts.iter().all(|part| part.contains("://")) {
        let objects = parts.into_iter().map(|part| url("image", part, context));
        return Ok(Image::Objects(objects.collect::<Result<_, _>>()?));
    }
    let one = url("image", text, context)?;
    Ok(if text.ends_with('/') {
        Image::Folder(one)
    } else {
        Image::Objects(vec![one])
    })
}

fn url(column: &str, text: &str, context: &Context) -> Result<ObjectUrl, Fault> {
    absolute(&context.base, text).map_err(|error| error.into_fault().about(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<Outcome<Listed>>, ManifestError> {
        let context = Context {
            base: Url::parse("s3://cohort/2026/").expect("url"),
            labels: BTreeMap::new(),
            seed: 7,
        };
        let manifest = Manifest::of_bytes(name, text.as_bytes(), context);
        let again: Vec<_> = manifest.read()?.collect();
        let cases: Vec<_> = manifest.read()?.collect();
        assert_eq!(again.len(), cases.len(), "read twice");
        cases.into_iter().collect()
    }

    fn reasons(outcomes: &[Outcome<Listed>]) -> Vec<(String, &'static str)> {
        let reason = |outcome: &Outcome<Listed>| match outcome {
            Ok(case) => (case.id.to_string(), "ok"),
            Err(failure) => (failure.id.to_string(), failure.fault.reason),
        };
        outcomes.iter().map(reason).collect()
    }

    #[test]
    fn every_row_has_its_outcome_in_order() {
        let text = "case_id,mask,labels,reference,reference_labels,note\n\
            a,a.nii.gz,verse,ct/a.nii.gz,totalsegmentator,x\n\
            A,b.nii.gz,verse,,,\n\
            b c,b.nii.gz,verse,,,\n\
            d,,verse,,,\n\
            e,e.nii.gz,,,,\n\
            f,f.nii.gz,vrese,,,\n\
            g,g.nii.gz,verse,ct/g.nii.gz,,\n\
            h,too,few\n\
            i,i.nii.gz,binary:L3,,,\n";
        let outcomes = read("manifest.csv", text).expect("readable");
        let expected = [
            ("a", "ok"),
            ("row-2", "repeated_case_id"),
            ("row-3", "bad_case_id"),
            ("d", "no_mask"),
            ("e", "no_label_scheme"),
            ("f", "unknown_label_scheme"),
            ("g", "no_label_scheme"),
            ("row-8", "malformed_row"),
            ("i", "ok"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, reason)| ((*id).to_owned(), *reason))
            .collect();
        assert_eq!(reasons(&outcomes), expected);
        let first = outcomes[0].as_ref().expect("sound");
        assert_eq!(first.body.mask.url.expose(), "s3://cohort/2026/a.nii.gz");
        assert_eq!(first.body.origin.person, "a");
    }

    #[test]
    fn an_image_is_an_object_several_urls_or_a_folder() {
        let image = |cell: &str| {
            let line = serde_json::json!({"case_id": "a", "mask": "a.nii", "labels": "verse", "image": cell});
            let outcomes = read("m.jsonl", &line.to_string()).expect("read");
            let case = outcomes.into_iter().next().expect("a row");
            case.map_err(|failure| failure.fault.reason).map(|case| {
                match case.body.image.expect("an image") {
                    Image::Folder(url) => vec!["folder".to_owned(), url.expose().to_owned()],
                    Image::Objects(urls) => urls.iter().map(|url| url.expose().to_owned()).collect(),
                }
            })
        };
        let urls = |urls: &[&str]| Ok(urls.iter().map(|url| (*url).to_owned()).collect());
        assert_eq!(image("t2.nii"), urls(&["s3://cohort/2026/t2.nii"]));
        assert_eq!(image("a b.dcm"), urls(&["s3://cohort/2026/a%20b.dcm"]));
        assert_eq!(image("mr/1/"), urls(&["folder", "s3://cohort/2026/mr/1"]));
        assert_eq!(
            image("s3://b/2.dcm\n s3://b/1.dcm"),
            urls(&["s3://b/2.dcm", "s3://b/1.dcm"])
        );
        assert_eq!(
            image("s3://b/2.dcm ftp://b/1.dcm"),
            urls(&["s3://b/2.dcm", "ftp://b/1.dcm"])
        );
        assert_eq!(image("s3://b/2.dcm http://[b/1.dcm"), Err("bad_url"));
    }

    #[test]
    fn csv_json_lines_and_case_folding_give_the_same_seeds() {
        let csv = read("m.csv", "case_id,mask,labels\nA1,x.nii,verse\n").expect("csv");
        let json = read(
            "m.jsonl",
            "{\"case_id\":\"a1\",\"mask\":\"x.nii\",\"labels\":\"verse\"}\n\n",
        )
        .expect("jsonl");
        let seed = |outcomes: &[Outcome<Listed>]| outcomes[0].as_ref().expect("sound").body.origin.seed;
        assert_eq!(seed(&csv), seed(&json));
    }

    #[test]
    fn a_manifest_without_a_column_it_needs_ends_the_run() {
        let error = read("m.csv", "case_id,mask\na,x\n").expect_err("no labels");
        assert!(matches!(error, ManifestError::Columns { .. }), "{error}");
        assert!(matches!(read("m.xlsx", "x"), Err(ManifestError::Format(_))));
    }

    #[test]
    fn a_broken_json_line_is_one_row() {
        let outcomes = read(
            "m.jsonl",
            "{\"case_id\":\"a\",\"mask\":\"x\",\"labels\":\"verse\"}\n{\"case\n",
        )
        .expect("read");
        assert_eq!(reasons(&outcomes)[1], ("row-2".to_owned(), "malformed_row"));
    }

    #[test]
    fn a_quote_that_is_not_closed_does_not_swallow_the_cohort() {
        let row = "b,b.nii.gz,verse\n";
        let text = format!(
            "case_id,mask,labels\n{row}c,\"c.nii.gz,verse\n{}",
            row.repeat(100_000)
        );
        let error = read("m.csv", &text).expect_err("no row");
        assert!(error.to_string().contains("one in row 2 that is not"), "{error}");
    }

    #[test]
    fn a_line_without_end_is_one_row_too() {
        let long = format!("{{\"case_id\":\"{}\"}}\n", "x".repeat(3 << 20));
        let text = format!("{long}{{\"case_id\":\"b\",\"mask\":\"x\",\"labels\":\"verse\"}}\n");
        let outcomes = read("m.ndjson", &text).expect("read");
        let expected = [("row-1".to_owned(), "malformed_row"), ("b".to_owned(), "ok")];
        assert_eq!(reasons(&outcomes), expected);
    }
}
