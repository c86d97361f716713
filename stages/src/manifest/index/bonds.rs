//! Which mask is whose: how certainly a series has one, and which series of a study is its image.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::Fault;

use super::Looked;
use super::fates::Fates;
use super::masks::{Mask, Volume, folder_of, folders};
use super::rules::Weighting;
use super::series::{Series, Study, lot};

/// The mask that a series has, and how it is known to be the series'; in the order of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bond {
    /// A segmentation says so.
    Reference(usize),
    /// It lies beside the slices.
    Beside(usize),
    /// A segmentation of the same frame of reference, on a grid that the series could have.
    Frame(usize),
}

impl Bond {
    /// The trust alone.
    fn trust(self) -> u8 {
        match self {
            Self::Reference(_) => 0,
            Self::Beside(_) => 1,
            Self::Frame(_) => 2,
        }
    }
}

/// Returns the study in whose folders each NIfTI mask lies, and refuses those that lie in none, or in several.
pub(super) fn homes<'a>(
    studies: &'a BTreeMap<Arc<str>, Study>,
    volumes: &[Volume],
    looked: &[Looked],
    fates: &mut Fates,
) -> Vec<Option<&'a Arc<str>>> {
    // every study that lies there, whatever its series are good for
    let mut by_folder: BTreeMap<&str, BTreeSet<&Arc<str>>> = BTreeMap::new();
    for (index, object) in looked.iter().enumerate() {
        let Some(study) = object.record().and_then(|record| record.study.as_ref()) else {
            continue;
        };
        for folder in folders(&[index], looked) {
            by_folder.entry(folder).or_default().insert(study);
        }
    }
    let is_candidate = |uid: &Arc<str>| {
        let (uid, study) = studies.get_key_value(uid)?;
        study.series.iter().any(Series::is_candidate).then_some(uid)
    };
    let home = |volume: &Volume| {
        let near = by_folder.get(volume.folder.as_str());
        let near: Vec<&Arc<str>> = near.into_iter().flatten().copied().collect();
        let fault = match (near.as_slice(), &volume.scheme) {
            ([only], Some(_)) if is_candidate(only).is_some() && is_unmixed(volume, only, looked) => {
                return is_candidate(only);
            }
            ([only], _) if is_candidate(only).is_none() => Fault::unsuitable(
                "no_series",
                "expected a mask in the folder of an image's slices or above it, found it elsewhere",
            ),
            ([_], None) => Fault::unsuitable(
                "no_label_scheme",
                "expected --labels SCHEME for a label map (verse, totalsegmentator, …), found none: no name tells it",
            ),
            ([], _) => Fault::unsuitable(
                "no_series",
                "expected a mask in the folder of an image's slices or above it, found it elsewhere",
            ),
            _ => Fault::unsuitable(
                "several_studies",
                "expected a mask in the folder of one study, found several studies there",
            ),
        };
        for index in &volume.objects {
            fates.refuse(*index, fault.clone());
        }
        None
    };
    volumes.iter().map(home).collect()
}

/// Whether nothing near a mask could be of a study that is not known: an object that could not be read is most likely a
/// slice where it lies beside slices of the study, and another study's elsewhere.
fn is_unmixed(volume: &Volume, study: &Arc<str>, looked: &[Looked]) -> bool {
    let is_unread = |object: &Looked| matches!(&object.seen, Some(Err(fault)) if fault.reason != "not_dicom");
    let is_of_study = |object: &Looked| {
        object
            .record()
            .is_some_and(|record| record.study.as_ref() == Some(study))
    };
    let slices = looked.iter().filter(|object| is_of_study(object));
    let slices: BTreeSet<&str> = slices.map(|object| folder_of(object.key.as_ref())).collect();
    let is_stranger = |(index, object): (usize, &Looked)| {
        is_unread(object)
            && folders(&[index], looked).contains(volume.folder.as_str())
            && !slices.contains(folder_of(object.key.as_ref()))
    };
    !looked.iter().enumerate().any(is_stranger)
}

/// Returns the mask of a series that is most certainly its own.
pub(super) fn bond(
    series: &Series,
    masks: &[Mask<'_>],
    volumes: &[Volume],
    beside: &[usize],
    looked: &[Looked],
) -> Option<Bond> {
    // anonymisers have given one UID to the studies of several persons
    let patient = |index: usize| {
        looked[index]
            .record()
            .and_then(|record| record.patient.as_deref())
    };
    let own_patient = patient(series.objects[0]);
    let is_theirs = |mask: &Mask<'_>| patient(mask.index) == own_patient;
    // best first already
    let says_so = |mask: &Mask<'_>| mask.of.contains(&&series.uid) && is_theirs(mask);
    if let Some(mask) = masks.iter().position(says_so) {
        return Some(Bond::Reference(mask));
    }
    let folders = folders(&series.objects, looked);
    let mut near = beside
        .iter()
        .filter(|volume| folders.contains(volumes[**volume].folder.as_str()));
    // of several, none is certain
    if let (Some(volume), None) = (near.next(), near.next()) {
        return Some(Bond::Beside(*volume));
    }
    let frame = |index: usize| looked[index].record()?.frame_of_reference.as_deref();
    let own = frame(series.objects[0])?;
    let same = |mask: &Mask<'_>| mask.of.is_empty() && frame(mask.index) == Some(own) && is_theirs(mask);
    masks.iter().position(same).map(Bond::Frame)
}

/// What decides between the images of a study; the least is the best.
pub(super) fn merit(
    series: &Series,
    bond: Option<Bond>,
) -> (u8, bool, Weighting, u64, Reverse<usize>, [u8; 32]) {
    (
        bond.map_or(u8::MAX, Bond::trust),
        series.unsound.is_some(),
        series.weighting,
        (series.facts.pixel_mm * 1e3).round() as u64,
        Reverse(series.facts.slices),
        lot(&series.uid),
    )
}

/// Says why another series was chosen.
pub(super) fn passed_over(chosen: &Series, bond: Bond, other: &Series, other_bond: Option<Bond>) -> Fault {
    let (best, worse) = (merit(chosen, Some(bond)), merit(other, other_bond));
    let why = if best.0 != worse.0 {
        "has a segmentation that is more certainly its own".to_owned()
    } else if best.2 != worse.2 {
        format!(
            "has {} weighting, this one {}",
            chosen.weighting.as_str(),
            other.weighting.as_str()
        )
    } else if best.3 != worse.3 {
        "has finer pixels".to_owned()
    } else if best.4 != worse.4 {
        "has more slices".to_owned()
    } else {
        "is its equal, and was drawn by lot".to_owned()
    };
    Fault::unsuitable(
        "another_series",
        format!("expected the one image of the study, found another series that {why}"),
    )
}
