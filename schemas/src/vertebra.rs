//! One vertebra: its level, its cube of voxels, what the model made of it and how well.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::slices::Slices;
use crate::volume::Affine;

/// A lumbar level. L6 is the surplus vertebra that some people have; it is data, never inferred from order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the levels themselves")]
pub enum Level {
    L1,
    L2,
    L3,
    L4,
    L5,
    L6,
}

impl Level {
    /// Every level, from the head down.
    pub const ALL: [Self; 6] = [Self::L1, Self::L2, Self::L3, Self::L4, Self::L5, Self::L6];

    /// Returns the name in tables and file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
            Self::L4 => "L4",
            Self::L5 => "L5",
            Self::L6 => "L6",
        }
    }

    /// Returns the position from the head, L1 = 0.
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("expected a level L1 to L6, found {text:?}"))
    }
}

/// What is worth knowing of a vertebra besides its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flag {
    /// The label touches the border of the scan: part of the vertebra may lie outside.
    TouchesBorder,
    /// The label reaches the border of the cube, or past it.
    TouchesCube,
    /// The label falls into more than one piece (26-connected).
    Fragments,
    /// There is a reference, but not of this level.
    ReferenceWithoutLevel,
    /// The reference's label of this level does not meet the cube, or meets the input nowhere.
    ReferenceElsewhere,
    /// The reference's label reaches out of the cube, so that metrics see only a part of it.
    ReferenceLeavesCube,
    /// The reconstruction has no voxel.
    ReconstructionEmpty,
    /// The motion that brings the reconstruction onto the reference ends at the limit of the search.
    RegistrationAtLimit,
}

impl Flag {
    /// Returns the name in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TouchesBorder => "touches_border",
            Self::TouchesCube => "touches_cube",
            Self::Fragments => "fragments",
            Self::ReferenceWithoutLevel => "reference_without_level",
            Self::ReferenceElsewhere => "reference_elsewhere",
            Self::ReferenceLeavesCube => "reference_leaves_cube",
            Self::ReconstructionEmpty => "reconstruction_empty",
            Self::RegistrationAtLimit => "registration_at_limit",
        }
    }
}

/// The flags of one vertebra, in a fixed order.
pub type Flags = BTreeSet<Flag>;

/// A cube of a binary mask: axes right, anterior, superior; C-contiguous; 1 = vertebra.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// 0 or 1 per voxel.
    pub mask: Array3<u8>,
    /// Voxel index → RAS mm.
    pub affine: Affine,
    /// How the scan that the mask comes from was sliced; `None` without thick slices, or where nobody knows.
    pub slices: Option<Slices>,
}

impl Patch {
    /// Returns the patch of a mask without thick slices.
    pub fn new(mask: Array3<u8>, affine: Affine) -> Self {
        Self {
            mask,
            affine,
            slices: None,
        }
    }

    /// Returns the number of voxels set.
    pub fn voxels(&self) -> usize {
        let set = |voxels: &[u8]| voxels.iter().map(|voxel| u8::from(*voxel != 0)).sum::<u8>();
        match self.mask.as_slice_memory_order() {
            // so few that their number is a byte: many are counted at a time
            Some(voxels) => voxels.chunks(255).map(|voxels| usize::from(set(voxels))).sum(),
            None => self.mask.iter().filter(|value| **value != 0).count(),
        }
    }

    /// Returns the volume set, in mm³.
    pub fn volume_mm3(&self) -> f64 {
        self.voxels() as f64 * self.affine.voxel_volume_mm3()
    }
}

/// Length of the pooled latent descriptor that every method gives.
pub const LATENT_LENGTH: usize = 128;

/// How far several samples of one vertebra agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleSpread {
    /// Mean share of samples on the winning side, over the voxels that any sample claims: 0.5 to 1.
    pub agreement: f64,
    /// Standard deviation of the samples' volumes, in mm³.
    pub volume_sd_mm3: f64,
    /// Mean Dice coefficient over all pairs of samples.
    pub pairwise_dsc: f64,
}

/// What a chain of models made of one patch.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconstruction {
    /// 0 or 1 per voxel, on the patch's own grid.
    pub mask: Array3<u8>,
    /// Pooled latent of [`LATENT_LENGTH`] entries; `None` for methods without a latent.
    pub latent: Option<Vec<f32>>,
    /// How far the samples agree, where the model drew several.
    pub spread: Option<SampleSpread>,
    /// Number of samples that claim each voxel, of [`ModelIdentity::samples`], where the model drew several.
    pub votes: Option<Array3<u8>>,
}

impl Reconstruction {
    /// Returns what a method without a latent made: a mask and nothing more.
    pub fn of_mask(mask: Array3<u8>) -> Self {
        Self {
            mask,
            latent: None,
            spread: None,
            votes: None,
        }
    }
}

/// Which models, in which state, made a reconstruction: equal for all rows of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelIdentity {
    /// Names of the chain's models, in order.
    pub chain: Vec<String>,
    /// Version from the weights' metadata, of the last model.
    pub model_version: String,
    /// SHA-256 of the weights of the chain in hex; empty for methods without weights.
    pub weights_sha256: String,
    /// Diffusion levels walked; 0 for a chain that has none.
    pub steps: u32,
    /// How a level is walked, by its name in the configuration; `None` for a chain that has none.
    pub sampler: Option<&'static str>,
    /// Samples drawn per vertebra.
    pub samples: u32,
    /// Each sample is the mean of what is made of the mask and of its mirror image.
    pub mirror: bool,
    /// Numbers that the networks compute in, by their name in the configuration; `None` for a chain without networks.
    pub precision: Option<&'static str>,
}

/// Names of the metrics, in the order of the tables' columns; units of length are in the name.
pub const METRIC_NAMES: [&str; 11] = [
    "dsc", "vs", "sen", "spec", "ppv", "npv", "nmi", "ck", "jaccard", "hd95_mm", "assd_mm",
];

/// One mask's metrics against the reference, in the order of [`METRIC_NAMES`]; `None` where undefined.
pub type Scores = [Option<f64>; METRIC_NAMES.len()];

/// A reconstruction that was moved rigidly onto its reference, and how well it fits there.
///
/// It is turned about its own centroid, about the patch's right, anterior and superior axis in this order and
/// right-handed, and then shifted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Registered {
    /// Metrics after the motion. They are optimistic: the motion is fitted to the reference.
    pub scores: Scores,
    /// Turns about the three axes, in degrees.
    pub rotation_degrees: [f64; 3],
    /// Way of the centroid, in mm.
    pub shift_mm: [f64; 3],
}
