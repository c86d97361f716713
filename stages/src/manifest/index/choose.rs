//! One case a study: its image, its mask, its paired CT; and why everything else is in none.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::Fault;

use super::bonds::{Bond, bond, homes, merit, passed_over};
use super::fates::{Fate, Fates};
use super::masks::{Mask, Volume, segmentations, segments, volumes};
use super::pairs::{Made, pair};
use super::series::{Facts, Orientation, Series, Study, studies};
use super::{Looked, Options, Written};

/// Longest cell of an image: a record of a manifest is read up to a mebibyte, and one that is longer is no case.
const CELL_MOST: usize = 900 << 10;

/// What was chosen.
#[derive(Debug)]
pub(super) struct Chosen {
    pub rows: Vec<Written>,
    /// One an object.
    pub fates: Vec<Fate>,
    /// What the series of an object is like.
    pub facts: Vec<Option<Facts>>,
}

/// Chooses.
pub(super) fn choose(looked: &[Looked], options: &Options<'_>) -> Chosen {
    let mut fates = Fates::new(looked.len());
    for (index, object) in looked.iter().enumerate() {
        if let Some(Err(fault)) = &object.seen {
            fates.refuse(index, fault.clone());
        }
    }
    let refuse = &mut |index, fault| fates.refuse(index, fault);
    let studies = studies(looked, options.series, options.stack, refuse);
    let volumes = volumes(looked, options.labels.as_ref());
    let homes = homes(&studies, &volumes, looked, &mut fates);

    let is_ct = is_ct(&studies, looked, options);
    let mut made = Vec::new();
    let mut references: BTreeMap<&Arc<str>, Vec<Mask<'_>>> = BTreeMap::new();
    for (uid, study) in &studies {
        let (masks, of_ct) = segmentations(study, looked, &is_ct, options, &mut fates);
        if !of_ct.is_empty() {
            references.insert(uid, of_ct);
        }
        let beside: Vec<usize> = homes
            .iter()
            .enumerate()
            .filter(|(_, home)| **home == Some(uid))
            .map(|(volume, _)| volume)
            .collect();
        let case = case(
            uid,
            study,
            &masks,
            (&volumes, &beside),
            looked,
            options,
            &mut fates,
        );
        made.extend(case);
    }
    pair(&mut made, &references, looked, &mut fates);

    let mut rows: Vec<Written> = made.into_iter().map(|made| made.row).collect();
    rows.sort_by(|a, b| a.case_id.cmp(&b.case_id));
    Chosen {
        rows,
        fates: fates.finish(),
        facts: facts(&studies, looked, options),
    }
}

/// Returns for each series whether it is CT that a mask of MR is paired with.
fn is_ct<'a>(
    studies: &'a BTreeMap<Arc<str>, Study>,
    looked: &[Looked],
    options: &Options<'_>,
) -> BTreeMap<&'a Arc<str>, bool> {
    let is_image = options.series.modality.iter().any(|modality| modality == "CT");
    let all = studies.values().flat_map(|study| &study.series);
    let modality = |series: &Series| looked[series.objects[0]].record().map(|record| record.modality);
    all.map(|series| (&series.uid, !is_image && modality(series) == Some("CT")))
        .collect()
}

/// Settles a study's image and mask.
fn case<'a>(
    uid: &'a Arc<str>,
    study: &Study,
    masks: &[Mask<'_>],
    (volumes, beside): (&[Volume], &[usize]),
    looked: &'a [Looked],
    options: &Options<'_>,
    fates: &mut Fates,
) -> Option<Made<'a>> {
    let bond = |series: &Series| bond(series, masks, volumes, beside, looked);
    let mut candidates: Vec<(&Series, Option<Bond>)> = study
        .series
        .iter()
        .filter(|series| series.is_candidate())
        .map(|series| (series, bond(series)))
        .collect();
    candidates.sort_by_key(|(series, bond)| merit(series, *bond));
    for series in &study.series {
        if let Some(fault) = &series.refused {
            refuse_series(series, fault, None, fates);
        }
    }
    let chosen = candidates
        .first()
        .and_then(|(series, bond)| Some((*series, (*bond)?)));
    let Some((series, bond)) = chosen else {
        let no_mask = Fault::unsuitable(
            "no_segmentation",
            "expected a segmentation of lumbar levels in the study, found none for this series",
        );
        for (series, _) in candidates {
            refuse_series(series, series.unsound.as_ref().unwrap_or(&no_mask), None, fates);
        }
        refuse_masks(masks, None, fates);
        refuse_volumes(volumes, beside, false, fates);
        return None;
    };

    let case_id = options.key.case_id(uid, &series.uid);
    for (other, other_bond) in &candidates[1..] {
        let passed_over = passed_over(series, bond, other, *other_bond);
        refuse_series(other, other.unsound.as_ref().unwrap_or(&passed_over), None, fates);
    }
    let cell = image(series, looked);
    match &cell {
        Ok(_) => {
            for index in &series.objects {
                fates.employ(*index, "image", &case_id);
            }
        }
        Err(fault) => refuse_series(series, fault, Some(&case_id), fates),
    }
    let (mask, labels) = match bond {
        Bond::Reference(mask) | Bond::Frame(mask) => {
            let Mask { index, levels, .. } = &masks[mask];
            fates.employ(*index, "mask", &case_id);
            (looked[*index].url.clone(), levels.scheme.clone())
        }
        Bond::Beside(volume) => {
            let volume = &volumes[volume];
            for index in &volume.objects {
                fates.employ(*index, "mask", &case_id);
            }
            (volume.url.clone(), volume.scheme.clone()?)
        }
    };
    refuse_masks(masks, Some(series), fates);
    refuse_volumes(volumes, beside, true, fates);

    let patient = looked[series.objects[0]]
        .record()
        .and_then(|record| record.patient.as_deref());
    let person = match patient {
        Some(patient) => options.key.person(patient),
        None => options.key.person_of_study(uid),
    };
    let row = Written {
        case_id: Some(case_id),
        mask: Some(mask),
        labels: Some(labels),
        image: cell.ok(),
        person: Some(person),
        ..Written::default()
    };
    Some(Made {
        study: uid,
        patient,
        row,
    })
}

/// Returns the manifest's cell of an image: the URLs of its objects in the order of their slices.
fn image(series: &Series, looked: &[Looked]) -> Result<String, Fault> {
    if let Some(fault) = &series.unsound {
        return Err(fault.clone());
    }
    let urls = series.objects.iter().map(|index| looked[*index].url.as_str());
    let cell = urls.collect::<Vec<_>>().join(" ");
    if cell.len() > CELL_MOST {
        let message = format!(
            "expected the URLs of slices in at most {CELL_MOST} bytes of the manifest, found {} slices in {} bytes",
            series.objects.len(),
            cell.len()
        );
        return Err(Fault::unsuitable("too_many_slices", message));
    }
    Ok(cell)
}

fn refuse_series(series: &Series, fault: &Fault, case_id: Option<&str>, fates: &mut Fates) {
    for index in &series.objects {
        let (fault, case_id) = (fault.clone(), case_id.map(str::to_owned));
        fates.settle(*index, Fate::Not { fault, case_id });
    }
}

/// Refuses the segmentations of a study that no case has taken; `chosen` is its image.
fn refuse_masks(masks: &[Mask<'_>], chosen: Option<&Series>, fates: &mut Fates) {
    let left: Vec<&Mask<'_>> = masks
        .iter()
        .filter(|mask| !fates.is_settled(mask.index))
        .collect();
    for mask in left {
        let is_of_chosen = chosen.is_some_and(|series| mask.of.is_empty() || mask.of.contains(&&series.uid));
        let fault = if is_of_chosen {
            Fault::unsuitable(
                "another_segmentation",
                "expected the one mask of the image, found another that is more certainly its own, has as many levels or more",
            )
        } else {
            Fault::unsuitable(
                "series_not_used",
                "expected a segmentation of the study's image, found one of another series",
            )
        };
        fates.refuse(mask.index, fault);
    }
}

/// Refuses the NIfTI masks beside a study's slices that no case has taken.
fn refuse_volumes(volumes: &[Volume], beside: &[usize], has_case: bool, fates: &mut Fates) {
    let (reason, message) = if has_case {
        (
            "another_segmentation",
            "expected the one mask of the image, found another that is more certainly its own",
        )
    } else {
        (
            "several_masks",
            "expected one mask beside the slices of an image, found several",
        )
    };
    for index in beside.iter().flat_map(|volume| &volumes[*volume].objects) {
        if !fates.is_settled(*index) {
            fates.refuse(*index, Fault::unsuitable(reason, message));
        }
    }
}

fn facts(
    studies: &BTreeMap<Arc<str>, Study>,
    looked: &[Looked],
    options: &Options<'_>,
) -> Vec<Option<Facts>> {
    let mut facts = vec![None; looked.len()];
    for study in studies.values() {
        for series in &study.series {
            for index in &series.objects {
                facts[*index] = Some(series.facts);
            }
        }
        for index in &study.segmentations {
            let record = looked[*index].record();
            facts[*index] = record
                .and_then(|record| Some((record, segments(record).ok()?)))
                .map(|(record, segments)| Facts {
                    slices: segments.slices,
                    spacing_mm: Some(segments.step_mm),
                    thickness_mm: record.thickness_mm,
                    orientation: Orientation::of(&segments.plane, options.series.angle_deg),
                    spacing: None,
                    deviation_mm: None,
                    field_of_view_mm: 0.0,
                    pixel_mm: 0.0,
                });
        }
    }
    facts
}
