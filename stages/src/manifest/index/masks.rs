//! Segmentations of levels: DICOM objects that name them, and NIfTI files beside the slices.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::Fault;
use schemas::labels::{BINARY_PREFIX, CLASSES, SNOMED_CODES};

use super::fates::Fates;
use super::record::{Record, Segments};
use super::rules::{SeriesConf, Wanted};
use super::series::{Orientation, Study, lot};
use super::{Labels, Looked, Options};
use crate::manifest::walk::{Meaning, meaning};

/// How many levels a segmentation has, and by which scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Levels {
    pub count: usize,
    pub scheme: String,
}

/// Returns the segments of an object.
///
/// # Errors
/// Why it could be no mask.
pub(super) fn segments(record: &Record) -> Result<&Segments, Fault> {
    if !record.has_pixels {
        return Err(Fault::unreadable("no_pixels", "expected pixel data, found none"));
    }
    match &record.segments {
        Some(Ok(segments)) => Ok(segments),
        Some(Err(fault)) => Err(fault.clone()),
        None => Err(Fault::unsuitable(
            "not_a_segmentation",
            "expected segments, found none",
        )),
    }
}

impl Segments {
    /// Returns the lumbar levels among the segments: by code, or else by number in the scheme that was named.
    ///
    /// # Errors
    /// There are none.
    pub fn levels(&self, labels: Option<&Labels>) -> Result<Levels, Fault> {
        if !self.coded.is_empty() {
            return Ok(Levels {
                count: self.coded.len(),
                scheme: SNOMED_CODES.to_owned(),
            });
        }
        let levels = |labels: &Labels| Levels {
            count: self
                .numbers
                .iter()
                .filter(|number| labels.table.contains_key(number))
                .count(),
            scheme: labels.name.clone(),
        };
        labels.map(levels).filter(|levels| levels.count > 0).ok_or_else(|| {
            Fault::unsuitable(
                "no_levels",
                "expected a segment of a lumbar level by SNOMED code, or by number with --labels, found none",
            )
        })
    }

    /// Whether the grid is one that the image could have: for a segmentation that does not say what it was drawn on.
    pub fn is_like(&self, conf: &SeriesConf) -> bool {
        let orientation = Orientation::of(&self.plane, conf.angle_deg);
        let is_wanted = match conf.orientation {
            Wanted::Sagittal => orientation == Orientation::Sagittal,
            Wanted::Coronal => orientation == Orientation::Coronal,
            Wanted::Axial => orientation == Orientation::Axial,
            Wanted::Any => true,
        };
        // steps, not thicknesses: a gap of a third is usual
        let [least, most] = conf.thickness_mm;
        is_wanted && (least..=2.0 * most).contains(&self.step_mm)
    }
}

/// A segmentation that has levels.
#[derive(Debug)]
pub(super) struct Mask<'a> {
    pub index: usize,
    pub levels: Levels,
    /// Series that are there and that it says it was drawn on.
    pub of: Vec<&'a Arc<str>>,
}

/// Returns the segmentations of a study that have levels: of what could be images, and of CT.
pub(super) fn segmentations<'a>(
    study: &Study,
    looked: &[Looked],
    is_ct: &BTreeMap<&'a Arc<str>, bool>,
    options: &Options<'_>,
    fates: &mut Fates,
) -> (Vec<Mask<'a>>, Vec<Mask<'a>>) {
    let (mut masks, mut of_ct) = (Vec::new(), Vec::new());
    for index in &study.segmentations {
        let Some(record) = looked[*index].record() else {
            continue;
        };
        let found = segments(record).and_then(|segments| {
            let known = segments.references.iter().filter_map(|uid| is_ct.get_key_value(uid));
            let is_reference = known.clone().any(|(_, is_ct)| *is_ct);
            let labels = if is_reference {
                &options.reference_labels
            } else {
                &options.labels
            };
            let mask = Mask {
                index: *index,
                levels: segments.levels(labels.as_ref())?,
                of: known.map(|(uid, _)| *uid).collect(),
            };
            if mask.of.is_empty() && !segments.is_like(options.series) {
                return Err(Fault::unsuitable(
                    "no_series",
                    "expected a segmentation of a series that is there, or on a grid like an image's, found neither",
                ));
            }
            Ok((is_reference, mask))
        });
        match found {
            Ok((true, mask)) => of_ct.push(mask),
            Ok((false, mask)) => masks.push(mask),
            Err(fault) => fates.refuse(*index, fault),
        }
    }
    // best first: most levels, then by lot
    let order = |mask: &Mask<'_>| {
        let object = &looked[mask.index];
        (
            Reverse(mask.levels.count),
            lot(object.instance()),
            object.bytes,
            &object.key,
        )
    };
    masks.sort_by(|a, b| order(a).cmp(&order(b)));
    of_ct.sort_by(|a, b| order(a).cmp(&order(b)));
    (masks, of_ct)
}

/// A NIfTI whose name says that it is a mask, or a folder of one mask a class.
#[derive(Debug)]
pub(super) struct Volume {
    /// Its objects.
    pub objects: Vec<usize>,
    /// Folder that it lies in; for masks of one class the one above `segmentations`.
    pub folder: String,
    /// What the manifest calls it.
    pub url: String,
    /// Its label scheme, unless it needs one that nobody has named.
    pub scheme: Option<String>,
}

/// Returns the masks that names tell, in order of their keys.
pub(super) fn volumes(looked: &[Looked], labels: Option<&Labels>) -> Vec<Volume> {
    let mut classes: BTreeMap<&str, Volume> = BTreeMap::new();
    let mut found = Vec::new();
    for (index, object) in looked
        .iter()
        .enumerate()
        .filter(|(_, object)| object.seen.is_none())
    {
        let key = object.key.as_ref();
        let folder = folder_of(key);
        let scheme = match meaning(key) {
            Some(Meaning::Map { .. }) => labels.map(|labels| labels.name.clone()),
            Some(Meaning::Vertebra { level, .. }) => Some(format!("{BINARY_PREFIX}{level}")),
            Some(Meaning::Class { .. }) => {
                let (parent, _) = object.url.rsplit_once('/').unwrap_or_default();
                let outer = match folder.rsplit_once('/').unwrap_or(("", folder)) {
                    (outer, "segmentations") => outer,
                    _ => folder,
                };
                let volume = classes.entry(folder).or_insert_with(|| Volume {
                    objects: Vec::new(),
                    folder: outer.to_owned(),
                    url: format!("{parent}/"),
                    scheme: Some(CLASSES.to_owned()),
                });
                volume.objects.push(index);
                continue;
            }
            None => continue,
        };
        found.push(Volume {
            objects: vec![index],
            folder: folder.to_owned(),
            url: object.url.clone(),
            scheme,
        });
    }
    found.extend(classes.into_values());
    found
}

/// Returns the folders in which a mask of these objects may lie: theirs, and those above.
pub(super) fn folders<'a>(objects: &[usize], looked: &'a [Looked]) -> BTreeSet<&'a str> {
    let own = objects.iter().map(|index| folder_of(looked[*index].key.as_ref()));
    own.flat_map(|folder| [folder, folder_of(folder)]).collect()
}

pub(super) fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}
