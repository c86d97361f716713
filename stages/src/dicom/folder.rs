//! What is seen in a folder of DICOM objects, series by series, for `spinestream inspect`.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use dicom_dictionary_std::tags;
use schemas::Fault;
use serde::Serialize;

use super::inspect::{StackSeen, attributes};
use super::object::Object;
use super::series::{self, SeriesVolume};
use super::stack::StackConf;
use crate::decode::Refusal;

/// The series of a folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FolderInspection {
    /// `DICOM folder`.
    pub format: &'static str,
    /// Objects in it.
    pub objects: usize,
    /// Objects that are no DICOM, or broken, by reason.
    pub left_out: BTreeMap<&'static str, usize>,
    /// Its series.
    pub series: Vec<SeriesSeen>,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesSeen {
    /// Objects of it.
    pub objects: usize,
    /// Attributes of its first object.
    #[serde(flatten)]
    pub attributes: BTreeMap<&'static str, serde_json::Value>,
    /// How its slices follow each other, and the volume of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeSeen>,
    /// Why no volume can be made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

/// A volume of slices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VolumeSeen {
    /// The slices as they were found.
    pub stack: StackSeen,
    /// Whether they were resampled onto equal steps at right angles.
    pub resampled: bool,
    /// Voxels along (column, row, slice).
    pub shape: [usize; 3],
    /// (column, row, slice) → RAS mm.
    pub affine_ras: [[f64; 4]; 4],
    /// Smallest real value.
    pub min: f32,
    /// Largest real value.
    pub max: f32,
    /// Sum of the real values.
    pub sum_f64: f64,
}

impl From<&SeriesVolume> for VolumeSeen {
    fn from(volume: &SeriesVolume) -> Self {
        let values = &volume.image.data;
        Self {
            stack: StackSeen::of(&volume.stack),
            resampled: volume.is_resampled,
            shape: volume.image.shape(),
            affine_ras: volume.image.affine.0,
            min: values.iter().copied().fold(f32::INFINITY, f32::min),
            max: values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            sum_f64: values.iter().map(|value| f64::from(*value)).sum(),
        }
    }
}

/// Looks at objects, in any order.
pub fn inspect(objects: &[Bytes], conf: &StackConf, max_bytes: u64) -> FolderInspection {
    let mut left_out = BTreeMap::new();
    let mut by_series: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    for bytes in objects {
        match Object::read(bytes, max_bytes) {
            Ok(object) => {
                let series = object.header.text(tags::SERIES_INSTANCE_UID).unwrap_or_default();
                by_series.entry(series).or_default().push(object);
            }
            Err(Fault { reason, .. }) => *left_out.entry(reason).or_insert(0) += 1,
        }
    }
    let seen = |objects: Vec<Object>| {
        let volume = series::volume(&objects, conf, max_bytes);
        let mut attributes = objects
            .first()
            .map(|object| attributes(&object.header))
            .unwrap_or_default();
        // of one slice among many
        for name in ["SOPInstanceUID", "InstanceNumber", "ImagePositionPatient"] {
            attributes.remove(name);
        }
        SeriesSeen {
            objects: objects.len(),
            attributes,
            volume: volume.as_ref().ok().map(VolumeSeen::from),
            refused: volume.err().map(Refusal::from),
        }
    };
    FolderInspection {
        format: "DICOM folder",
        objects: objects.len(),
        left_out,
        series: by_series.into_values().map(seen).collect(),
    }
}

impl fmt::Display for FolderInspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "format       DICOM folder, {} objects, {} series",
            self.objects,
            self.series.len()
        )?;
        for (reason, count) in &self.left_out {
            writeln!(f, "left out     {count}: {reason}")?;
        }
        for series in &self.series {
            writeln!(f)?;
            writeln!(f, "series       {} objects", series.objects)?;
            for (name, value) in &series.attributes {
                writeln!(f, "{name:<26} {value}")?;
            }
            if let Some(volume) = &series.volume {
                let [i, j, k] = volume.shape;
                let resampled = if volume.resampled { ", resampled" } else { "" };
                writeln!(f, "volume       {i} × {j} × {k}{resampled}, {}", volume.stack)?;
                for (line, [i, j, k, origin]) in volume.affine_ras.iter().take(3).enumerate() {
                    let title = if line == 0 { "affine (RAS)" } else { "" };
                    writeln!(f, "{title:<12} {i:>11.5} {j:>11.5} {k:>11.5} {origin:>12.4}")?;
                }
                writeln!(
                    f,
                    "values       min {}, max {}, sum {}",
                    volume.min, volume.max, volume.sum_f64
                )?;
            }
            if let Some(refusal) = &series.refused {
                writeln!(
                    f,
                    "no volume    {} ({}): {}",
                    refusal.kind, refusal.reason, refusal.message
                )?;
            }
        }
        Ok(())
    }
}
