//! Cuts one cube per lumbar level around the label's bounding box, from the scan and from its paired
//! reference.
//!
//! World axes are RAS in mm throughout; `cube` says where a cube lies, `linear` how a label is sampled there.

mod cube;
mod extent;
pub(crate) mod linear;
pub(crate) mod pieces;

use std::collections::BTreeMap;

use ndarray::Zip;
use rayon::prelude::*;
use schemas::payload::{CroppedVertebra, Labelled};
use schemas::vertebra::Flags;
use schemas::volume::Grid;
use schemas::{Affine, Cropped, Decoded, Fault, Flag, LabelMap, Level, Patch, Slices};
use serde::{Deserialize, Serialize};

use self::cube::Cube;
use self::extent::Extent;
use crate::stage::{Stage, blocking};

/// Which cubes are cut: section `[crop]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CropConf {
    /// Voxels along each edge of the cube.
    pub size: usize,
    /// Edge of one voxel of the cube, in mm.
    pub spacing_mm: f64,
    /// Levels to look for; labels of other levels count as not there.
    pub levels: Vec<Level>,
}

impl Default for CropConf {
    fn default() -> Self {
        Self {
            size: 128,
            spacing_mm: 1.0,
            levels: Level::ALL.to_vec(),
        }
    }
}

/// Largest cube, in voxels along an edge: 1 GiB of mask.
const LARGEST_SIZE: usize = 1024;

impl CropConf {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// A message that names the key, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=LARGEST_SIZE).contains(&self.size) {
            return Err(format!(
                "crop.size: expected 1 to {LARGEST_SIZE} voxels, found {}",
                self.size
            ));
        }
        if !self.spacing_mm.is_finite() || self.spacing_mm <= 0.0 {
            return Err(format!(
                "crop.spacing_mm: expected a positive length, found {}",
                self.spacing_mm
            ));
        }
        if self.levels.is_empty() {
            return Err("crop.levels: expected at least one level, found none".to_owned());
        }
        Ok(())
    }
}

/// Cuts one cube per lumbar level.
#[derive(Debug, Clone, Default)]
pub struct Crop {
    /// Which cubes.
    pub conf: CropConf,
}

impl Stage for Crop {
    type In = Decoded;
    type Out = Cropped;
    const NAME: &'static str = "crop";

    async fn run(&self, scan: Decoded) -> Result<Cropped, Fault> {
        let conf = self.conf.clone();
        blocking(move || crop(&scan, &conf)).await
    }
}

/// Returns the scan's lumbar vertebrae, each in its own cube, from the head down.
///
/// A reference that lies elsewhere, or lacks a level, flags the vertebra and costs nothing else.
/// A vertebra's `reference` is `None` where the reference has no voxel of its level in the cube.
///
/// # Errors
/// `no_lumbar_labels`, `repeated_level` or `singular_affine`, all of kind Unsuitable.
pub fn crop(scan: &Decoded, conf: &CropConf) -> Result<Cropped, Fault> {
    let input = Source::survey(&scan.mask, conf).map_err(|fault| fault.about("mask"))?;
    if input.levels.is_empty() {
        return Err(no_lumbar_labels(&scan.mask, conf).about("mask"));
    }
    let reference = scan
        .reference
        .as_ref()
        .map(|reference| Source::survey(reference, conf));
    let reference = reference.transpose().map_err(|fault| fault.about("reference"))?;

    let levels: Vec<(&Level, &Found)> = input.levels.iter().collect();
    let vertebrae = levels
        .into_par_iter()
        .map(|(level, found)| cut_vertebra(*level, found, &input, reference.as_ref(), conf))
        .collect();
    Ok(Cropped {
        origin: scan.origin.clone(),
        grid: Grid {
            shape: scan.mask.map.shape(),
            affine: scan.mask.map.affine,
        },
        vertebrae,
    })
}

/// A label of one level and where it lies.
struct Found {
    label: u16,
    extent: Extent,
}

/// A label map with the levels that were found in it.
struct Source<'a> {
    map: &'a LabelMap,
    /// RAS mm → voxel index.
    to_index: Affine,
    /// Of the map, before the cube's grid hides them.
    slices: Option<Slices>,
    levels: BTreeMap<Level, Found>,
}

impl<'a> Source<'a> {
    /// Finds every wanted level in one pass over the voxels.
    fn survey(labelled: &'a Labelled, conf: &CropConf) -> Result<Self, Fault> {
        let map = &labelled.map;
        let Some(to_index) = map.affine.inverse().filter(Affine::is_finite) else {
            let message = "expected an affine that can be inverted, found a singular or non-finite one";
            return Err(Fault::unsuitable("singular_affine", message));
        };
        let mut table = labelled.scheme.table();
        table.retain(|_, level| conf.levels.contains(level));

        let mut levels: BTreeMap<Level, Found> = BTreeMap::new();
        for (label, extent) in extent::survey(map, table.keys().copied()) {
            let level = table[&label];
            if let Some(other) = levels.insert(level, Found { label, extent }) {
                let message = format!(
                    "expected one label a level, found {} and {label} for {level}",
                    other.label
                );
                return Err(Fault::unsuitable("repeated_level", message));
            }
        }
        Ok(Self {
            map,
            to_index,
            slices: Slices::of(&map.affine),
            levels,
        })
    }

    /// Returns the label's mask on the cube's grid.
    fn cut(&self, found: &Found, cube: &Cube) -> Patch {
        let mask = cube.cut(self.map, &self.to_index, found.label, &found.extent);
        Patch {
            mask,
            affine: cube.affine(),
            slices: self.slices,
        }
    }
}

fn cut_vertebra(
    level: Level,
    found: &Found,
    input: &Source<'_>,
    reference: Option<&Source<'_>>,
    conf: &CropConf,
) -> CroppedVertebra {
    let bounds = found.extent.edges_mm(&input.map.affine);
    let cube = Cube::around(&bounds, conf.size, conf.spacing_mm);
    let patch = input.cut(found, &cube);

    let mut flags = Flags::new();
    if found.extent.touches_border(input.map.shape()) {
        flags.insert(Flag::TouchesBorder);
    }
    if cube.is_touched_by(&bounds) {
        flags.insert(Flag::TouchesCube);
    }
    if pieces::is_in_pieces(patch.mask.view()) {
        flags.insert(Flag::Fragments);
    }
    let reference = reference.and_then(|source| {
        let Some(found) = source.levels.get(&level) else {
            flags.insert(Flag::ReferenceWithoutLevel);
            return None;
        };
        if cube.is_left_by(&found.extent.edges_mm(&source.map.affine)) {
            flags.insert(Flag::ReferenceLeavesCube);
        }
        let reference = source.cut(found, &cube);
        let both = Zip::from(&reference.mask)
            .and(&patch.mask)
            .fold(0, |any, one, other| any | (one & other));
        if both == 0 {
            flags.insert(Flag::ReferenceElsewhere);
        }
        (reference.voxels() > 0).then_some(reference)
    });
    CroppedVertebra {
        level,
        label: found.label,
        input: patch,
        reference,
        centre_mm: bounds.centre(),
        source_volume_mm3: found.extent.voxels as f64 * input.map.affine.voxel_volume_mm3(),
        flags,
    }
}

/// Most label numbers that a message lists.
const LABELS_LISTED: usize = 40;

fn no_lumbar_labels(labelled: &Labelled, conf: &CropConf) -> Fault {
    let table = labelled.scheme.table();
    let wanted = table.iter().filter(|(_, level)| conf.levels.contains(level));
    let wanted: Vec<String> = wanted
        .map(|(label, level)| format!("{label} ({level})"))
        .collect();
    let found = extent::labels(&labelled.map);
    let mut listed: Vec<String> = found.iter().take(LABELS_LISTED).map(u16::to_string).collect();
    if found.len() > LABELS_LISTED {
        listed.push(format!("and {} more", found.len() - LABELS_LISTED));
    }
    let found = if listed.is_empty() {
        "none".to_owned()
    } else {
        listed.join(", ")
    };
    let message = format!(
        "expected a lumbar label of scheme {}: {}; found labels: {found}",
        labelled.scheme,
        wanted.join(", ")
    );
    Fault::unsuitable("no_lumbar_labels", message)
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod sliced;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
