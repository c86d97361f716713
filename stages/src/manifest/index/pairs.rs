//! Paired CT: which segmentation of CT is a case's reference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::Fault;

use super::fates::Fates;
use super::masks::Mask;
use super::{Looked, Written};

/// A case before its reference is known.
pub(super) struct Made<'a> {
    pub study: &'a Arc<str>,
    pub patient: Option<&'a str>,
    pub row: Written,
}

/// Gives cases their paired CT: of their study, or else the only one of the person's other studies, if the person has no
/// other case either. A patient id that several persons share (a placeholder, two hospitals' numbers) has many.
pub(super) fn pair(
    made: &mut [Made<'_>],
    references: &BTreeMap<&Arc<str>, Vec<Mask<'_>>>,
    looked: &[Looked],
    fates: &mut Fates,
) {
    let mut of_person: BTreeMap<&str, Vec<&Mask<'_>>> = BTreeMap::new();
    for mask in references.values().flatten() {
        if let Some(patient) = patient(mask, looked) {
            of_person.entry(patient).or_default().push(mask);
        }
    }
    // the case of a reference that two cases share is the one that comes first
    made.sort_by(|a, b| a.row.case_id.cmp(&b.row.case_id));
    let mut cases_of: BTreeMap<&str, usize> = BTreeMap::new();
    for patient in made.iter().filter_map(|case| case.patient) {
        *cases_of.entry(patient).or_insert(0) += 1;
    }
    for case in made.iter_mut() {
        let own = references.get(case.study).and_then(|masks| masks.first());
        let others = case.patient.and_then(|patient| of_person.get(patient));
        let is_only_case = case
            .patient
            .is_some_and(|patient| cases_of.get(patient) == Some(&1));
        let only = match others.map(Vec::as_slice) {
            Some([only]) if is_only_case => Some(*only),
            _ => None,
        };
        let Some(mask) = own.or(only) else {
            continue;
        };
        case.row.reference = Some(looked[mask.index].url.clone());
        case.row.reference_labels = Some(mask.levels.scheme.clone());
        if !fates.is_settled(mask.index) {
            fates.employ(
                mask.index,
                "reference",
                case.row.case_id.as_deref().unwrap_or_default(),
            );
        }
    }
    let studies: BTreeSet<&Arc<str>> = made.iter().map(|case| case.study).collect();
    let persons: BTreeSet<&str> = made.iter().filter_map(|case| case.patient).collect();
    for (study, masks) in references {
        for mask in masks {
            if fates.is_settled(mask.index) {
                continue;
            }
            let is_of_case = patient(mask, looked).is_some_and(|patient| persons.contains(patient));
            let (reason, message) = if studies.contains(*study) {
                (
                    "another_segmentation",
                    "expected one paired CT mask of a case, found another with as many levels or more",
                )
            } else if is_of_case {
                (
                    "several_references",
                    "expected one paired CT mask and one case of the person, found several, or one in the study itself",
                )
            } else {
                (
                    "no_case",
                    "expected a case of the person to pair a CT mask with, found none",
                )
            };
            fates.refuse(mask.index, Fault::unsuitable(reason, message));
        }
    }
}

fn patient<'a>(mask: &Mask<'_>, looked: &'a [Looked]) -> Option<&'a str> {
    looked[mask.index].record()?.patient.as_deref()
}
