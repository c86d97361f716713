//! What is seen of a segmentation's segments.

use std::collections::BTreeMap;

use schemas::{Fault, LabelScheme, Level};
use serde::Serialize;

use crate::dicom::data_set::Code;
use crate::dicom::object::Object;
use crate::dicom::pixels::Frames;
use crate::dicom::seg::{self, is_word};

/// The segments of a segmentation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegSeen {
    /// `BINARY`, `FRACTIONAL` or `LABELMAP`.
    #[serde(rename = "SegmentationType")]
    pub kind: &'static str,
    /// Segments by number.
    pub segments: Vec<SegmentSeen>,
    /// Segment of each frame; none for label maps.
    pub frame_segment_number: Vec<u16>,
    /// Voxels of each segment that are not 0.
    pub voxels_nonzero_per_segment: BTreeMap<u16, u64>,
}

/// One segment. Its label is free text, and not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentSeen {
    /// Its number.
    pub number: u16,
    /// What it is, category and type.
    pub category: Option<CodeSeen>,
    /// Property type.
    #[serde(rename = "type")]
    pub property: Option<CodeSeen>,
    /// MANUAL, SEMIAUTOMATIC or AUTOMATIC.
    pub algorithm_type: Option<String>,
    /// The level that it stands for: by its code, or in the scheme that was asked about.
    pub level: Option<Level>,
}

/// A code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CodeSeen {
    /// Code value.
    pub value: String,
    /// Coding scheme.
    pub scheme: String,
    /// What it means.
    pub meaning: String,
}

impl From<&Code> for CodeSeen {
    fn from(code: &Code) -> Self {
        Self {
            value: code.value.clone(),
            scheme: code.scheme.clone(),
            meaning: code.meaning.clone(),
        }
    }
}

impl SegSeen {
    pub(super) fn of(
        header: &seg::Header,
        object: &Object,
        scheme: Option<&LabelScheme>,
        max_bytes: u64,
    ) -> Self {
        let table = scheme.map(LabelScheme::table).unwrap_or_default();
        let is_coded = scheme.is_none_or(|scheme| *scheme == LabelScheme::Snomed);
        let seen = |segment: &seg::Segment| SegmentSeen {
            number: segment.number,
            category: segment.category.as_ref().map(CodeSeen::from),
            property: segment.property.as_ref().map(CodeSeen::from),
            algorithm_type: segment.algorithm_type.clone().filter(|text| is_word(text)),
            level: if is_coded {
                segment.level()
            } else {
                table.get(&segment.number).copied()
            },
        };
        Self {
            kind: header.kind.as_str(),
            segments: header.segments.values().map(seen).collect(),
            frame_segment_number: header.segment_of.clone(),
            voxels_nonzero_per_segment: voxels(header, object, max_bytes).unwrap_or_default(),
        }
    }
}

fn voxels(header: &seg::Header, object: &Object, max_bytes: u64) -> Result<BTreeMap<u16, u64>, Fault> {
    let frames = Frames::of(object, max_bytes)?;
    let mut counts = BTreeMap::new();
    for frame in 0..header.layout.frames {
        for value in frames.frame(frame)?.into_iter().filter(|value| *value != 0) {
            let number = header.segment_of.get(frame).copied();
            let number = number.unwrap_or_else(|| u16::try_from(value).unwrap_or(u16::MAX));
            *counts.entry(number).or_insert(0) += 1;
        }
    }
    Ok(counts)
}
