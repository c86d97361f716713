//! Section `[dicom]`.

use serde::{Deserialize, Serialize};

use crate::manifest::index::SeriesConf;

/// What rules the border to DICOM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DicomConf {
    /// Which series of a study is the image of a case, when a manifest is made of a dump.
    pub series: SeriesConf,
}
