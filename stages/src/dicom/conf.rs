//! Section `[dicom]` of the configuration.

use serde::{Deserialize, Serialize};

use super::stack::StackConf;
use crate::manifest::index::SeriesConf;

/// Section `[dicom]`: the border to DICOM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DicomConf {
    /// Whether objects are for outside the hospital: no name, date or description of the source, and keyed hashes for
    /// its UIDs, which takes the site's key. `false` copies patient and study, so that a PACS files them by the source.
    pub deidentify: bool,
    /// How a segmentation stores its segments.
    pub seg: SegForm,
    /// What the slices of an image may be like.
    pub stack: StackConf,
    /// Which series of a study is the image of a case, when a manifest is made of a dump.
    pub series: SeriesConf,
}

impl Default for DicomConf {
    fn default() -> Self {
        Self {
            deidentify: true,
            seg: SegForm::Binary,
            stack: StackConf::default(),
            series: SeriesConf::default(),
        }
    }
}

/// How a segmentation stores its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SegForm {
    /// A bit a voxel, each segment in frames of its own: what viewers and archives have read since 2009.
    Binary,
    /// A byte a voxel with the segment's number: in the standard since 2024, and not yet read by most.
    LabelMap,
}
