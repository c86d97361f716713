//! Reads a cohort manifest: every row becomes a listed case, or a failure with a name.

mod rows;
pub mod walk;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use models::seed::derive;
use schemas::labels::LabelTable;
use schemas::payload::Named;
use schemas::{Case, CaseId, Failure, Fault, LabelScheme, Listed, ObjectUrl, Origin, Outcome};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::store::absolute;

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
}

/// What is needed to make cases of rows.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Folder of the manifest, for relative paths.
    pub base: Url,
    /// A site's own label tables.
    pub labels: &'a BTreeMap<String, LabelTable>,
    /// Seed of the run.
    pub seed: u64,
}

/// Reads a manifest into one outcome a row, in order.
///
/// # Errors
/// The manifest as a whole cannot be read; a bad row is an outcome, not an error.
pub fn list(name: &str, bytes: &Bytes, context: &Context<'_>) -> Result<Vec<Outcome<Listed>>, ManifestError> {
    let rows = rows::read(name, bytes)?;
    let mut seen = HashSet::new();
    let outcomes = rows.into_iter().enumerate();
    Ok(outcomes
        .map(|(index, row)| outcome(index + 1, row, context, &mut seen))
        .collect())
}

fn outcome(
    number: usize,
    row: Result<Written, Fault>,
    context: &Context<'_>,
    seen: &mut HashSet<String>,
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
    if !seen.insert(id.folded()) {
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

fn listed(row: &Written, id: &CaseId, person: String, context: &Context<'_>) -> Result<Listed, Fault> {
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
        .map(|text| url("image", text, context))
        .transpose()?;
    let seed = derive(context.seed, &id.folded());
    Ok(Listed {
        origin: Origin {
            id: id.clone(),
            person,
            seed,
            bytes_read: 0,
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
    context: &Context<'_>,
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
    let scheme = LabelScheme::named(scheme, context.labels).map_err(|message| {
        Fault::unsuitable("unknown_label_scheme", format!("{scheme_column}: {message}"))
    })?;
    Ok(Some(Named {
        url: url(column, object, context)?,
        scheme,
    }))
}

fn url(column: &str, text: &str, context: &Context<'_>) -> Result<ObjectUrl, Fault> {
    absolute(&context.base, text).map_err(|error| error.into_fault().about(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<Outcome<Listed>>, ManifestError> {
        let labels = BTreeMap::new();
        let context = Context {
            base: Url::parse("s3://cohort/2026/").expect("url"),
            labels: &labels,
            seed: 7,
        };
        list(name, &Bytes::from(text.to_owned()), &context)
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
}
