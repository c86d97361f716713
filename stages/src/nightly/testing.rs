//! What the tests of a night share: phantoms of several persons, cut and measured, and their rows.

use std::sync::LazyLock;

use models::distance::Nearest;
use models::phantom::vertebra;
use ndarray::Array3;
use rayon::prelude::*;
use schemas::rows::{LineageRow, Split, Verdict};
use schemas::vertebra::Flags;
use schemas::{LabelMap, Level};

use super::gate::GatedCase;
use super::measure::{Measured, Teaching, measure};
use crate::crop::testing::{case, labelled};
use crate::crop::{CropConf, crop};

/// Persons of [`PERSONS`].
pub const COUNT: u64 = 44;

/// L2 and L3 of many persons, by their seeds, measured once for all tests.
pub static PERSONS: LazyLock<Vec<Vec<(Level, Measured)>>> = LazyLock::new(|| {
    let seeds = (0..COUNT).into_par_iter();
    seeds
        .map(|seed| of_masks(&[Level::L2, Level::L3].map(|level| (level, phantom(level, seed)))))
        .collect()
});

/// Returns one vertebra of a made-up person in its cube.
pub fn phantom(level: Level, seed: u64) -> Array3<u8> {
    vertebra(level, seed)
}

/// Measures a mask without a scan.
pub fn measured(mask: &Array3<u8>, centre_mm: [f64; 3]) -> Measured {
    measure(&Teaching {
        mask: mask.view(),
        centre_mm,
        volume_mm3: mask.iter().filter(|voxel| **voxel != 0).count() as f64,
        flags: &Flags::new(),
    })
}

/// Measures masks without a scan as if they lay one below the other.
pub fn of_masks(masks: &[(Level, Array3<u8>)]) -> Vec<(Level, Measured)> {
    let of_mask = |(level, mask): &(Level, Array3<u8>)| (*level, measured(mask, middle_mm(*level)));
    masks.iter().map(of_mask).collect()
}

/// Returns where the vertebra of a level lies in a spine as straight as none is.
pub fn middle_mm(level: Level) -> [f64; 3] {
    [0.0, 0.0, -35.0 * level.index() as f64]
}

/// Cuts and measures the vertebrae of a label map of scheme `verse`.
pub fn of_map(map: LabelMap) -> Vec<(Level, Measured)> {
    let cropped = crop(&case(labelled("verse", map), None), &CropConf::default()).expect("cropped");
    let vertebrae = cropped.vertebrae.iter();
    vertebrae
        .map(|vertebra| (vertebra.level, measure(&Teaching::from(vertebra))))
        .collect()
}

/// Returns the mask without the voxels within that many voxels of its background.
pub fn eroded(mask: &Array3<u8>, voxels: f64) -> Array3<u8> {
    let to_background = Nearest::to(&mask.map(|voxel| *voxel == 0), [1.0; 3]);
    Array3::from_shape_fn(mask.dim(), |index| {
        u8::from(mask[index] != 0 && to_background.distance_mm(index) > voxels)
    })
}

/// Returns the mask moved by whole voxels; what leaves the cube is lost.
pub fn moved(mask: &Array3<u8>, by: [isize; 3]) -> Array3<u8> {
    Array3::from_shape_fn(mask.dim(), |(i, j, k)| {
        let from = |index: usize, by: isize| index.checked_add_signed(-by);
        let voxel = || mask.get([from(i, by[0])?, from(j, by[1])?, from(k, by[2])?]);
        voxel().copied().unwrap_or(0)
    })
}

/// Returns a case that asks to be let in.
pub fn asking(case_id: &str, person: &str, vertebrae: Vec<(Level, Measured)>) -> GatedCase {
    GatedCase {
        case_id: case_id.to_owned(),
        person: person.to_owned(),
        vertebrae,
    }
}

/// Returns the rows of a case that was accepted, each vertebra.
pub fn accepted(case_id: &str, person: &str, vertebrae: &[(Level, Measured)]) -> Vec<LineageRow> {
    let row = |(level, measured): &(Level, Measured)| {
        let mut row = LineageRow {
            person: Some(person.to_owned()),
            level: Some(*level),
            split: Some(Split::Train),
            ..LineageRow::new(case_id, Verdict::Accepted, 1)
        };
        measured.put(&mut row);
        row
    };
    vertebrae.iter().map(row).collect()
}

/// Returns an accepted mask of a person of its own, on the side that is trained on.
pub fn row(case: &str, level: Level) -> LineageRow {
    LineageRow {
        person: Some(format!("person of {case}")),
        level: Some(level),
        split: Some(Split::Train),
        source: Some(format!("source of {case}")),
        stamp: Some("stamp".to_owned()),
        patches: Some(format!("patches/{case}.nii.gz")),
        ..LineageRow::new(case, Verdict::Accepted, 1)
    }
}
