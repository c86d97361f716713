//! Objects by study and series: what a series is like, and whether its slices are sound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::Fault;
use sha2::{Digest as _, Sha256};

use super::Looked;
use super::record::{Class, Record};
use super::rules::{SeriesConf, Weighting};
use crate::dicom::plane::Plane;
use crate::dicom::stack::{Spacing, Stack, StackConf};

/// How slices lie, by their normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orientation {
    Sagittal,
    Coronal,
    Axial,
    /// Between these.
    Oblique,
    /// Not all alike.
    Mixed,
}

impl Orientation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sagittal => "sagittal",
            Self::Coronal => "coronal",
            Self::Axial => "axial",
            Self::Oblique => "oblique",
            Self::Mixed => "mixed",
        }
    }

    /// Returns how a plane lies: whose normal is within `angle_deg` of an axis.
    pub fn of(plane: &Plane, angle_deg: f64) -> Self {
        let normal = plane.normal().map(f64::abs);
        let names = [Self::Sagittal, Self::Coronal, Self::Axial];
        let least = angle_deg.to_radians().cos();
        let near = normal.iter().zip(names).find(|(part, _)| **part >= least);
        near.map_or(Self::Oblique, |(_, name)| name)
    }
}

/// What a series, or a segmentation, is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Facts {
    pub slices: usize,
    pub spacing_mm: Option<f64>,
    pub thickness_mm: Option<f64>,
    pub orientation: Orientation,
    pub spacing: Option<Spacing>,
    pub deviation_mm: Option<f64>,
    pub field_of_view_mm: f64,
    /// Step within a slice, the larger one.
    pub pixel_mm: f64,
}

/// The slices of one series that could be an image.
#[derive(Debug)]
pub(super) struct Series {
    pub uid: Arc<str>,
    /// Its objects, in the order of their slices where these are sound.
    pub objects: Vec<usize>,
    pub facts: Facts,
    pub weighting: Weighting,
    /// Why it is not wanted.
    pub refused: Option<Fault>,
    /// Why no volume can be made of it.
    pub unsound: Option<Fault>,
}

/// What there is, by study.
#[derive(Debug, Default)]
pub(super) struct Study {
    /// By UID.
    pub series: Vec<Series>,
    /// Segmentations.
    pub segmentations: Vec<usize>,
}

/// Objects by study, and why others are in none.
pub(super) fn studies(
    looked: &[Looked],
    conf: &SeriesConf,
    stack: &StackConf,
    refuse: &mut impl FnMut(usize, Fault),
) -> BTreeMap<Arc<str>, Study> {
    let mut studies: BTreeMap<Arc<str>, Study> = BTreeMap::new();
    let mut slices: BTreeMap<(Arc<str>, Arc<str>), Vec<usize>> = BTreeMap::new();
    let mut cut: Vec<usize> = Vec::new();
    for (index, object) in looked.iter().enumerate() {
        let Some(Ok(record)) = &object.seen else {
            continue;
        };
        if record.is_cut {
            let message = "expected an object as long as its header says, found one that is cut short";
            refuse(index, Fault::unreadable("truncated", message));
            cut.push(index);
            continue;
        }
        if let Some(fault) = conf.refuse_object(record) {
            // a segmentation says itself what is wrong with it
            if record.class != Class::Segmentation {
                refuse(index, fault);
                continue;
            }
        }
        let (Some(study), Some(series)) = (&record.study, &record.series) else {
            let message = "expected the UIDs of study and series, found none";
            refuse(index, Fault::unsuitable("no_identity", message));
            continue;
        };
        if record.class == Class::Segmentation {
            let study = studies.entry(Arc::clone(study)).or_default();
            study.segmentations.push(index);
        } else {
            let key = (Arc::clone(study), Arc::clone(series));
            slices.entry(key).or_default().push(index);
        }
    }
    let lost = lost(looked, &cut);
    for ((study, uid), objects) in slices {
        let lost = lost.get(&uid).map_or(0, BTreeSet::len);
        let series = Series::of(uid, objects, looked, (conf, stack), lost);
        studies.entry(study).or_default().series.push(series);
    }
    studies
}

/// Returns the instances of each series of which there are only objects that are cut short.
fn lost(looked: &[Looked], cut: &[usize]) -> BTreeMap<Arc<str>, BTreeSet<Box<str>>> {
    let mut lost: BTreeMap<Arc<str>, BTreeSet<Box<str>>> = BTreeMap::new();
    for record in cut.iter().filter_map(|index| looked[*index].record()) {
        if let Some(series) = &record.series {
            let instances = lost.entry(Arc::clone(series)).or_default();
            instances.insert(record.instance.clone());
        }
    }
    if lost.is_empty() {
        return lost;
    }
    for record in looked
        .iter()
        .filter_map(Looked::record)
        .filter(|record| !record.is_cut)
    {
        if let Some(series) = &record.series
            && let Some(instances) = lost.get_mut(series)
        {
            instances.remove(&record.instance);
        }
    }
    lost
}

impl Series {
    fn of(
        uid: Arc<str>,
        mut objects: Vec<usize>,
        looked: &[Looked],
        (conf, stack): (&SeriesConf, &StackConf),
        lost: usize,
    ) -> Self {
        // the order of the listing decides nothing
        objects.sort_by(|a, b| looked[*a].instance().cmp(looked[*b].instance()));
        let records: Vec<&Record> = objects
            .iter()
            .filter_map(|index| looked[*index].record())
            .collect();
        let first = records[0];
        let planes: Vec<Plane> = records
            .iter()
            .flat_map(|record| record.planes.as_deref().unwrap_or_default())
            .copied()
            .collect();
        let sorted = Stack::with_holes(&planes, stack);
        let facts = facts(first, &planes, sorted.as_ref().ok(), conf);
        let unsound = if records.len() > 1 && records.iter().any(|record| record.frames > 1) {
            let message = "expected one object of several frames or several of one, found several of several";
            Some(Fault::unsuitable("mixed_frames", message))
        } else if records.iter().any(|record| record.patient != first.patient) {
            let message = "expected slices of one person, found several under one series UID";
            Some(Fault::unsuitable("several_patients", message))
        } else if lost > 0 {
            let message = format!("expected whole slices, found {lost} of which every object is cut short");
            Some(Fault::unsuitable("truncated_slices", message))
        } else if records
            .iter()
            .any(|record| (record.rows, record.columns) != (first.rows, first.columns))
        {
            let message = "expected slices of one size, found several";
            Some(Fault::unsuitable("mixed_sizes", message))
        } else {
            Stack::of(&planes, stack).err()
        };
        let refused = conf.refuse_series(first, &facts);
        let weighting = conf.weighting(first);
        if let (Ok(sorted), true) = (&sorted, planes.len() == objects.len()) {
            objects = sorted.order.iter().map(|slice| objects[*slice]).collect();
        }
        Self {
            uid,
            objects,
            facts,
            weighting,
            refused,
            unsound,
        }
    }

    /// Whether it is an image that could be a case's, sound or not.
    pub fn is_candidate(&self) -> bool {
        self.refused.is_none()
    }
}

fn facts(first: &Record, planes: &[Plane], stack: Option<&Stack>, conf: &SeriesConf) -> Facts {
    let orientations = planes.iter().map(|plane| Orientation::of(plane, conf.angle_deg));
    let orientation = orientations
        .reduce(|all, one| if all == one { all } else { Orientation::Mixed })
        .unwrap_or(Orientation::Mixed);
    let [rows_mm, columns_mm] = planes.first().map_or([0.0, 0.0], |plane| plane.spacing_mm);
    Facts {
        slices: planes.len(),
        spacing_mm: stack.map(|stack| stack.step.iter().map(|part| part * part).sum::<f64>().sqrt()),
        thickness_mm: first.thickness_mm,
        orientation,
        spacing: stack.map(|stack| stack.spacing),
        deviation_mm: stack.map(|stack| stack.deviation_mm),
        field_of_view_mm: (rows_mm * f64::from(first.rows)).max(columns_mm * f64::from(first.columns)),
        pixel_mm: rows_mm.max(columns_mm),
    }
}

/// Returns what decides between equals: a hash, so that no manufacturer's numbering does.
pub(super) fn lot(uid: &str) -> [u8; 32] {
    Sha256::digest(uid.as_bytes()).into()
}
