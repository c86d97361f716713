//! Writes a manifest by walking a bucket or folder of masks that carry the names of the field's tools.

use std::collections::{BTreeMap, BTreeSet};

use object_store::ObjectMeta;
use schemas::labels::{BINARY_PREFIX, CLASSES};
use schemas::{CaseId, Level};

use super::{COLUMNS, Written};

/// What a name says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A label map of a whole scan: `sub-…_seg-vert_msk.nii.gz` (VerSe, SPINEPS), `…_dseg.nii.gz` (BIDS).
    Map { case: String, person: String },
    /// One class of a TotalSegmentator folder: `vertebrae_L3.nii.gz`.
    Class { folder: String },
    /// One vertebra, the paper's way: `L1_verse033_seg.nii.gz`; or person first: `verse033_L1.nii.gz`.
    Vertebra { level: Level, person: String },
}

/// What a walk found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// Rows of the manifest, sorted by case id.
    pub rows: Vec<Written>,
    /// How many objects were left out, by reason.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// Returns whether the name of an object is one of a mask.
pub fn is_mask(key: &str) -> bool {
    meaning(key).is_some()
}

/// Where references of the same persons lie and how they are labelled.
#[derive(Debug, Clone)]
pub struct References<'a> {
    /// Objects below the prefix of the references, with URLs.
    pub objects: &'a [(String, ObjectMeta)],
    /// Their label scheme.
    pub labels: &'a str,
}

/// Makes manifest rows of `(URL, object)` pairs; `labels` is the scheme of label maps, which no name tells.
///
/// A reference belongs to the mask whose case it names too, or, where a person has one mask and one reference,
/// to that person's mask.
///
/// # Errors
/// There are label maps and `labels` is `None`: the scheme is never guessed.
pub fn walk(
    objects: &[(String, ObjectMeta)],
    labels: Option<&str>,
    references: Option<&References<'_>>,
) -> Result<Walk, String> {
    let mut left_out = BTreeMap::new();
    let masks = find(objects, labels, &mut left_out)?;
    let references = match references {
        Some(given) => find(given.objects, Some(given.labels), &mut left_out)?,
        None => Vec::new(),
    };
    let mut masks_of: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for mask in &masks {
        *masks_of.entry(mask.person.clone()).or_insert(0) += 1;
    }
    let mut rows: BTreeMap<String, Written> = BTreeMap::new();
    for mut row in masks {
        let Some(case_id) = row.case_id.clone() else {
            continue;
        };
        if case_id.parse::<CaseId>().is_err() {
            *left_out.entry("the name gives no usable case id").or_insert(0) += 1;
            continue;
        }
        if let Some(reference) = partner(&row, &references, masks_of.get(&row.person) == Some(&1)) {
            row.reference = reference.mask.clone();
            row.reference_labels = reference.labels.clone();
        }
        if rows.insert(case_id.to_ascii_lowercase(), row).is_some() {
            *left_out
                .entry("another object gives the same case id")
                .or_insert(0) += 1;
        }
    }
    Ok(Walk {
        rows: rows.into_values().collect(),
        left_out,
    })
}

fn partner<'a>(row: &Written, references: &'a [Written], only_mask: bool) -> Option<&'a Written> {
    if let Some(same) = references
        .iter()
        .find(|reference| reference.case_id == row.case_id)
    {
        return Some(same);
    }
    // masks of one vertebra pair by their case's name, which holds the level
    let one_vertebra = |row: &Written| {
        row.labels
            .as_deref()
            .is_some_and(|labels| labels.starts_with(BINARY_PREFIX))
    };
    if !only_mask || one_vertebra(row) {
        return None;
    }
    let mut of_person = references
        .iter()
        .filter(|reference| reference.person == row.person);
    let only = of_person.next()?;
    of_person.next().is_none().then_some(only)
}

fn find(
    objects: &[(String, ObjectMeta)],
    labels: Option<&str>,
    left_out: &mut BTreeMap<&'static str, usize>,
) -> Result<Vec<Written>, String> {
    let mut rows = Vec::new();
    let mut folders = BTreeSet::new();
    for (url, object) in objects {
        let key = object.location.as_ref();
        match meaning(key) {
            None => *left_out.entry("the name is not one of a mask").or_insert(0) += 1,
            Some(Meaning::Map { case, person }) => {
                let Some(labels) = labels else {
                    return Err("expected --labels SCHEME for label maps (verse, totalsegmentator, …): no name tells it"
                        .to_owned());
                };
                rows.push(row(case, url.clone(), labels.to_owned(), person));
            }
            Some(Meaning::Vertebra { level, person }) => {
                let case = format!("{person}_{level}");
                rows.push(row(case, url.clone(), format!("{BINARY_PREFIX}{level}"), person));
            }
            Some(Meaning::Class { folder }) => {
                // one case a folder, named by the folder above `segmentations`
                let parent = url.rsplit_once('/').map_or(url.as_str(), |(parent, _)| parent);
                if folders.insert(parent.to_owned()) {
                    rows.push(row(
                        folder.clone(),
                        format!("{parent}/"),
                        CLASSES.to_owned(),
                        folder,
                    ));
                }
            }
        }
    }
    Ok(rows)
}

fn row(case: String, mask: String, labels: String, person: String) -> Written {
    Written {
        case_id: Some(case),
        mask: Some(mask),
        labels: Some(labels),
        person: Some(person),
        ..Written::default()
    }
}

/// Returns what a name says; `None` where it is none of a mask.
pub(super) fn meaning(key: &str) -> Option<Meaning> {
    let (folders, name) = key.rsplit_once('/').unwrap_or(("", key));
    let stem = name
        .strip_suffix(".nii.gz")
        .or_else(|| name.strip_suffix(".nii"))?;
    if let Some(level) = stem.strip_prefix("vertebrae_") {
        let _: Level = level.parse().ok()?;
        let mut parents = folders.rsplit('/').filter(|part| *part != "segmentations");
        return Some(Meaning::Class {
            folder: parents.next().filter(|name| !name.is_empty())?.to_owned(),
        });
    }
    if let Some((level, rest)) = stem.split_once('_')
        && let Ok(level) = level.parse::<Level>()
        && let Some(person) = rest.strip_suffix("_seg")
    {
        return Some(Meaning::Vertebra {
            level,
            person: person.to_owned(),
        });
    }
    if let Some((person, level)) = stem.rsplit_once('_')
        && let Ok(level) = level.parse::<Level>()
    {
        return Some(Meaning::Vertebra {
            level,
            person: person.to_owned(),
        });
    }
    let case = stem
        .strip_suffix("_seg-vert_msk")
        .or_else(|| stem.strip_suffix("_dseg"))?;
    let person = case.split('_').next().unwrap_or(case);
    let person = person.strip_prefix("sub-").unwrap_or(person);
    Some(Meaning::Map {
        case: case.to_owned(),
        person: person.to_owned(),
    })
}

/// Returns the manifest as CSV.
///
/// # Errors
/// The CSV writer's.
pub fn to_csv(rows: &[Written]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for row in rows {
        let cells = [
            &row.case_id,
            &row.mask,
            &row.labels,
            &row.reference,
            &row.reference_labels,
            &row.image,
            &row.person,
        ];
        writer.write_record(cells.map(|cell| cell.as_deref().unwrap_or_default()))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::path::Path;

    fn objects(keys: &[&str]) -> Vec<(String, ObjectMeta)> {
        let object = |key: &&str| {
            let meta = ObjectMeta {
                location: Path::from(*key),
                last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
                size: 1,
                e_tag: None,
                version: None,
            };
            (format!("s3://bucket/{key}"), meta)
        };
        keys.iter().map(object).collect()
    }

    #[test]
    fn names_of_the_tools_become_cases() {
        let found = walk(
            &objects(&[
                "derivatives/sub-verse005/sub-verse005_dir-iso_seg-vert_msk.nii.gz",
                "bids/sub-01/anat/sub-01_ses-2_space-orig_dseg.nii.gz",
                "ts/s0327/segmentations/vertebrae_L3.nii.gz",
                "ts/s0327/segmentations/vertebrae_L4.nii.gz",
                "ts/s0327/segmentations/vertebrae_T12.nii.gz",
                "paper/L1_verse033_seg.nii.gz",
                "single/verse004_L5.nii.gz",
                "paper/notes.txt",
            ]),
            Some("verse"),
            None,
        )
        .expect("walk");
        let rows: Vec<_> = found
            .rows
            .iter()
            .map(|row| {
                let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
                (text(&row.case_id), text(&row.labels), text(&row.person))
            })
            .collect();
        let expected = [
            ("s0327", "classes", "s0327"),
            ("sub-01_ses-2_space-orig", "verse", "01"),
            ("sub-verse005_dir-iso", "verse", "verse005"),
            ("verse004_L5", "binary:L5", "verse004"),
            ("verse033_L1", "binary:L1", "verse033"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned()))
            .collect();
        assert_eq!(rows, expected);
        assert_eq!(
            found.rows[0].mask.as_deref(),
            Some("s3://bucket/ts/s0327/segmentations/")
        );
        assert_eq!(found.left_out.values().sum::<usize>(), 2);
    }

    #[test]
    fn label_maps_need_a_named_scheme() {
        assert!(walk(&objects(&["sub-1_dseg.nii.gz"]), None, None).is_err());
        assert!(walk(&objects(&["L2_verse001_seg.nii.gz"]), None, None).is_ok());
    }

    #[test]
    fn two_masks_of_a_person_share_no_reference() {
        let references = objects(&["ct/sub-7_ct_dseg.nii.gz"]);
        let masks = objects(&["mr/sub-7_ses-1_dseg.nii.gz", "mr/sub-7_ses-2_dseg.nii.gz"]);
        let given = References {
            objects: &references,
            labels: "totalsegmentator",
        };
        let found = walk(&masks, Some("verse"), Some(&given)).expect("walk");
        assert!(
            found.rows.iter().all(|row| row.reference.is_none()),
            "not guessed"
        );
    }

    #[test]
    fn references_find_their_masks_by_case_or_person() {
        let references = objects(&[
            "ct/sub-7_ct_dseg.nii.gz",
            "ct/sub-8_a_dseg.nii.gz",
            "ct/sub-8_b_dseg.nii.gz",
        ]);
        let masks = objects(&["mr/sub-7_T2w_dseg.nii.gz", "mr/sub-8_T2w_dseg.nii.gz"]);
        let given = References {
            objects: &references,
            labels: "totalsegmentator",
        };
        let found = walk(&masks, Some("verse"), Some(&given)).expect("walk");
        assert_eq!(
            found.rows[0].reference.as_deref(),
            Some("s3://bucket/ct/sub-7_ct_dseg.nii.gz")
        );
        assert_eq!(
            found.rows[0].reference_labels.as_deref(),
            Some("totalsegmentator")
        );
        assert_eq!(found.rows[1].reference, None, "two candidates: not guessed");
    }
}
