//! Which mask is whose: how certainly a series has one, and which series of a study is its image.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::Fault;

use super::Looked;
use super::fates::Fates;
use super::masks::{Mask, Volume, folders};
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
    let mut by_folder: BTreeMap<&str, BTreeSet<&Arc<str>>> = BTreeMap::new();
    for series in studies.values().flat_map(|study| &study.series) {
        for folder in folders(&series.objects, looked) {
            if series.is_candidate() {
                by_folder.entry(folder).or_default().insert(&series.study);
            }
        }
    }
    let home = |volume: &Volume| {
        let near = by_folder.get(volume.folder.as_str());
        let near: Vec<&Arc<str>> = near.into_iter().flatten().copied().collect();
        let fault = match (near.as_slice(), &volume.scheme) {
            ([only], Some(_)) => return Some(*only),
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

/// Returns the mask of a series that is most certainly its own.
pub(super) fn bond(
    series: &Series,
    masks: &[Mask<'_>],
    volumes: &[Volume],
    beside: &[usize],
    looked: &[Looked],
) -> Option<Bond> {
    // best first already
    if let Some(mask) = masks.iter().position(|mask| mask.of.contains(&&series.uid)) {
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
    let same = |mask: &Mask<'_>| mask.of.is_empty() && frame(mask.index) == Some(own);
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
