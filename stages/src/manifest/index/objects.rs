//! Rows of the table `objects`: pseudonyms, what an object is, and what became of it.

use schemas::FaultKind;
use schemas::rows::ObjectRow;

use super::Looked;
use super::choose::Chosen;
use super::fates::Fate;
use super::series::Facts;
use crate::dicom::pseudonym::SiteKey;
use crate::dicom::stack::Spacing;

/// Returns one row an object, sorted by pseudonym: the order of keys tells record numbers.
pub(super) fn rows(looked: &[Looked], chosen: &Chosen, key: &SiteKey) -> Vec<ObjectRow> {
    let mut rows: Vec<ObjectRow> = looked
        .iter()
        .zip(&chosen.fates)
        .zip(&chosen.facts)
        .map(|((object, fate), facts)| row(object, fate, facts.as_ref(), key))
        .collect();
    rows.sort_by(|a, b| a.object.cmp(&b.object));
    rows
}

fn row(object: &Looked, fate: &Fate, facts: Option<&Facts>, key: &SiteKey) -> ObjectRow {
    let record = object.record();
    let number = |get: fn(&super::Record) -> u32| record.map(get).filter(|number| *number > 0);
    let mut row = ObjectRow {
        object: key.object(object.key.as_ref()),
        outcome: "used",
        role: None,
        reason: None,
        message: None,
        case_id: None,
        study: record
            .and_then(|record| record.study.as_deref())
            .map(|uid| key.study(uid)),
        series: record
            .and_then(|record| record.series.as_deref())
            .map(|uid| key.series(uid)),
        sop_class: record.and_then(|record| record.sop_class),
        modality: record.map(|record| record.modality),
        transfer_syntax: record.map(|record| record.transfer_syntax),
        rows: number(|record| record.rows),
        columns: number(|record| record.columns),
        frames: number(|record| record.frames),
        bytes: object.bytes,
        bytes_read: object.bytes_read,
        slices: facts.and_then(|facts| u32::try_from(facts.slices).ok()),
        spacing_mm: facts.and_then(|facts| facts.spacing_mm),
        thickness_mm: facts.and_then(|facts| facts.thickness_mm),
        orientation: facts.map(|facts| facts.orientation.as_str()),
        spacing_class: facts.and_then(|facts| facts.spacing).map(Spacing::as_str),
        deviation_mm: facts.and_then(|facts| facts.deviation_mm),
    };
    match fate {
        Fate::Used { role, case_id } => {
            row.role = Some(role);
            row.case_id = Some(case_id.clone());
        }
        Fate::Not { fault, case_id } => {
            row.outcome = match fault.kind {
                FaultKind::Unsuitable => "not_used",
                _ => "unreadable",
            };
            row.reason = Some(fault.reason);
            row.message = Some(fault.message.clone());
            row.case_id = case_id.clone();
        }
    }
    row
}
