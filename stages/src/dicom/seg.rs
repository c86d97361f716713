//! DICOM segmentations (PS3.3 sections A.51 and A.90) as label maps: binary, fractional and label map storage.

use std::collections::{BTreeMap, BTreeSet};

use dicom_dictionary_std::{tags, uids};
use ndarray::{Array3, ShapeBuilder as _};
use schemas::labels::{SNOMED, SNOMED_VERTEBRA};
use schemas::{Fault, LabelMap, LabelScheme, Level, Volume};

use super::data_set::{Code, DataSet};
use super::object::Object;
use super::pixels::{Frames, Layout, check_described};
use super::plane::{Groups, Plane};

#[cfg(test)]
mod golden;
mod grid;

pub use grid::SegGrid;

/// SNOMED CT's designator.
const SCT: &str = "SCT";

/// How a segmentation stores its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bit a voxel, each segment in frames of its own.
    Binary,
    /// A share a voxel, each segment in frames of its own.
    Fractional,
    /// The segment's number a voxel.
    LabelMap,
}

impl Kind {
    /// Returns the value of Segmentation Type (0062,0001).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "BINARY",
            Self::Fractional => "FRACTIONAL",
            Self::LabelMap => "LABELMAP",
        }
    }
}

/// A segment as its object describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Segment Number.
    pub number: u16,
    /// Segment Label: free text.
    pub label: String,
    /// Segmented Property Category.
    pub category: Option<Code>,
    /// Segmented Property Type.
    pub property: Option<Code>,
    /// Segment Algorithm Type.
    pub algorithm_type: Option<String>,
}

impl Segment {
    /// Returns the lumbar level that the segment's code stands for.
    pub fn level(&self) -> Option<Level> {
        let code = self.property.as_ref().filter(|code| code.scheme == SCT)?;
        let coded = SNOMED.iter().find(|(_, (known, _))| *known == code.value);
        match coded {
            Some((level, _)) => Some(*level),
            None if code.value == SNOMED_VERTEBRA.0 => self.label.parse().ok(),
            None => None,
        }
    }
}

/// What a segmentation says of itself, before its pixels are looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// How segments are stored.
    pub kind: Kind,
    /// Segments by number.
    pub segments: BTreeMap<u16, Segment>,
    /// Rows, columns, frames, bits.
    pub layout: Layout,
    /// Segment of each frame; none for label maps.
    pub segment_of: Vec<u16>,
    /// Plane of each frame.
    pub planes: Vec<Plane>,
    /// The grid that they lie on.
    pub grid: SegGrid,
}

impl Header {
    /// Reads what an object says of its segments.
    ///
    /// # Errors
    /// Another kind of object; contours; attributes that are missing or contradict each other; frames that lie on no
    /// grid.
    pub fn of(header: &DataSet) -> Result<Self, Fault> {
        let kind = kind(header)?;
        let layout = Layout::of(header)?;
        if layout.is_signed {
            return Err(Fault::unreadable(
                "bad_segments",
                "expected unsigned pixels of segments, found a Pixel Representation of signed ones",
            ));
        }
        let segments = segments(header)?;
        // a number that is not true costs neither time nor memory
        let described = header.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).len();
        if layout.frames > described.max(1) {
            let message = format!(
                "expected functional groups of {} frames, found those of {described}",
                layout.frames
            );
            return Err(Fault::unreadable("bad_segments", message));
        }
        let frames = 0..layout.frames;
        let groups = frames.map(|frame| Groups::of(header, frame));
        let planes: Vec<Plane> = groups
            .clone()
            .map(|groups| groups.plane())
            .collect::<Result<_, _>>()?;
        let segment_of = match kind {
            Kind::LabelMap => Vec::new(),
            Kind::Binary | Kind::Fractional => {
                let number = |groups: Groups<'_>| {
                    let number = groups
                        .group(tags::SEGMENT_IDENTIFICATION_SEQUENCE)
                        .whole(tags::REFERENCED_SEGMENT_NUMBER);
                    let number = number.and_then(|number| u16::try_from(number).ok());
                    number.filter(|number| segments.contains_key(number))
                };
                let numbers: Option<Vec<u16>> = groups.clone().map(number).collect();
                numbers.ok_or_else(|| {
                    Fault::unreadable(
                        "bad_segments",
                        "expected a described segment for each frame, found none for one",
                    )
                })?
            }
        };
        let promised = groups.map(|groups| groups.between_slices_mm()).next().flatten();
        let thickness = Groups::of(header, 0).thickness_mm();
        let grid = SegGrid::of(&planes, promised, thickness)?;
        let mut seen = BTreeSet::new();
        for (frame, slice) in grid.slice_of.iter().enumerate() {
            if !seen.insert((segment_of.get(frame), slice)) {
                return Err(Fault::unsuitable(
                    "duplicate_frames",
                    "expected one frame for each segment at a position, found a second",
                ));
            }
        }
        Ok(Self {
            kind,
            segments,
            layout,
            segment_of,
            planes,
            grid,
        })
    }

    /// Returns the bytes of the label map that becomes of it.
    pub fn label_map_bytes(&self) -> u64 {
        let plane = (self.layout.rows * self.layout.columns) as u64;
        plane
            .saturating_mul(self.grid.slices as u64)
            .saturating_mul(size_of::<u16>() as u64)
    }

    /// Returns the label of each segment in the map that `scheme` names the levels of; without one, its number.
    ///
    /// Segments are in the order in which they claim voxels: by level from the head down, then by number.
    fn labels(&self, scheme: Option<&LabelScheme>) -> Vec<(u16, u16)> {
        let table = scheme.map(LabelScheme::table).unwrap_or_default();
        let is_coded = scheme == Some(&LabelScheme::Snomed);
        let label_of = |segment: &Segment| -> Option<(Option<Level>, u16, u16)> {
            if !is_coded {
                return Some((
                    table.get(&segment.number).copied(),
                    segment.number,
                    segment.number,
                ));
            }
            let level = segment.level()?;
            let (label, _) = table.iter().find(|(_, known)| **known == level)?;
            Some((Some(level), segment.number, *label))
        };
        let mut labels: Vec<_> = self.segments.values().filter_map(label_of).collect();
        labels.sort_by_key(|(level, number, _)| (level.is_none(), *level, *number));
        labels
            .into_iter()
            .map(|(_, number, label)| (number, label))
            .collect()
    }
}

fn kind(header: &DataSet) -> Result<Kind, Fault> {
    let class = header.text(tags::SOP_CLASS_UID).unwrap_or_default();
    let found = |what: &str| {
        Fault::unsuitable(
            "not_a_segmentation",
            format!("expected a label map as NIfTI or DICOM SEG, found {what}"),
        )
    };
    match class.as_str() {
        uids::SEGMENTATION_STORAGE | uids::LABEL_MAP_SEGMENTATION_STORAGE => {}
        uids::RT_STRUCTURE_SET_STORAGE => {
            return Err(Fault::unsuitable(
                "contours",
                "expected a label map as NIfTI or DICOM SEG, found contours (RTSTRUCT): convert them to a SEG first",
            ));
        }
        uids::SURFACE_SEGMENTATION_STORAGE => return Err(found("a surface segmentation")),
        _ => {
            let modality = header.text(tags::MODALITY).filter(|text| is_word(text));
            return Err(found(&format!(
                "a DICOM object of modality {}",
                modality.as_deref().unwrap_or("unknown")
            )));
        }
    }
    match header.text(tags::SEGMENTATION_TYPE).as_deref() {
        Some("BINARY") => Ok(Kind::Binary),
        Some("FRACTIONAL") => Ok(Kind::Fractional),
        Some("LABELMAP") => Ok(Kind::LabelMap),
        _ => Err(Fault::unreadable(
            "bad_segments",
            "expected Segmentation Type BINARY, FRACTIONAL or LABELMAP, found another",
        )),
    }
}

/// Whether a text is a defined term, which may be shown, and not somebody's name.
pub(in crate::dicom) fn is_word(text: &str) -> bool {
    text.len() <= 16
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn segments(header: &DataSet) -> Result<BTreeMap<u16, Segment>, Fault> {
    let mut segments = BTreeMap::new();
    for item in header.items(tags::SEGMENT_SEQUENCE) {
        let number = item
            .whole(tags::SEGMENT_NUMBER)
            .and_then(|number| u16::try_from(number).ok());
        let number = number.ok_or_else(|| {
            Fault::unreadable(
                "bad_segments",
                "expected a number for each segment, found none for one",
            )
        })?;
        let segment = Segment {
            number,
            label: item.text(tags::SEGMENT_LABEL).unwrap_or_default(),
            category: item.code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE),
            property: item.code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE),
            algorithm_type: item.text(tags::SEGMENT_ALGORITHM_TYPE),
        };
        if segments.insert(number, segment).is_some() {
            let message = format!("expected a number of its own for each segment, found {number} twice");
            return Err(Fault::unreadable("bad_segments", message));
        }
    }
    if segments.is_empty() {
        return Err(Fault::unreadable(
            "bad_segments",
            "expected a Segment Sequence, found none",
        ));
    }
    Ok(segments)
}

/// Reads a segmentation as a label map: of the levels that `scheme` names by code, or else of segment numbers.
///
/// Where two segments claim a voxel the level nearer to the head keeps it, as with masks of one class a file; of
/// segments that are no level, the lower number. Half of the largest share is enough (PS3.3 section C.8.20.2.3).
/// Positions without a frame are background, and so is Pixel Padding Value.
///
/// # Errors
/// See [`Header::of`] and [`Frames::of`]; too large a grid; a value of no segment.
pub fn label_map(object: &Object, scheme: Option<&LabelScheme>, max_bytes: u64) -> Result<LabelMap, Fault> {
    let header = Header::of(&object.header)?;
    check_described(&object.header, &header.layout)?;
    let needed = header.label_map_bytes();
    if needed > max_bytes {
        let message =
            format!("expected a label map of at most {max_bytes} bytes, the frames' positions span {needed}");
        return Err(Fault::unsuitable("too_large", message));
    }
    let frames = Frames::of(object, max_bytes)?;
    if frames.layout.samples != 1 {
        return Err(Fault::unreadable(
            "bad_segments",
            "expected one sample a pixel, found colours",
        ));
    }
    let (rows, columns) = (header.layout.rows, header.layout.columns);
    let plane = rows * columns;
    let mut labels: Vec<u16> = Vec::new();
    let voxels = plane * header.grid.slices;
    labels.try_reserve_exact(voxels).map_err(|_| {
        Fault::exhausted(
            "out_of_memory",
            format!("expected memory for {voxels} labels, got none"),
        )
    })?;
    labels.resize(voxels, 0);
    match header.kind {
        Kind::LabelMap => fill_numbers(&mut labels, &header, &frames, &object.header, scheme)?,
        Kind::Binary | Kind::Fractional => {
            fill_shares(&mut labels, &header, &frames, &object.header, scheme)?;
        }
    }
    let data = Array3::from_shape_vec((columns, rows, header.grid.slices).f(), labels)
        .map_err(|error| Fault::bug("voxel_count", error.to_string()))?;
    Ok(Volume {
        data,
        affine: header.grid.affine,
    })
}

fn fill_numbers(
    labels: &mut [u16],
    header: &Header,
    frames: &Frames<'_>,
    attributes: &DataSet,
    scheme: Option<&LabelScheme>,
) -> Result<(), Fault> {
    let padding = attributes.whole(tags::PIXEL_PADDING_VALUE);
    let label_of: BTreeMap<u16, u16> = header.labels(scheme).into_iter().collect();
    let plane = header.layout.rows * header.layout.columns;
    for (frame, slice) in header.grid.slice_of.iter().enumerate() {
        let target = &mut labels[slice * plane..(slice + 1) * plane];
        for (label, value) in target.iter_mut().zip(frames.frame(frame)?) {
            if value == 0 || Some(i64::from(value)) == padding {
                continue;
            }
            let number = u16::try_from(value)
                .ok()
                .filter(|number| header.segments.contains_key(number));
            let Some(number) = number else {
                let message = format!(
                    "expected numbers of described segments, found {value} in frame {}",
                    frame + 1
                );
                return Err(Fault::unreadable("bad_segments", message));
            };
            *label = label_of.get(&number).copied().unwrap_or(0);
        }
    }
    Ok(())
}

fn fill_shares(
    labels: &mut [u16],
    header: &Header,
    frames: &Frames<'_>,
    attributes: &DataSet,
    scheme: Option<&LabelScheme>,
) -> Result<(), Fault> {
    let most = match header.kind {
        Kind::Fractional => attributes
            .whole(tags::MAXIMUM_FRACTIONAL_VALUE)
            .unwrap_or(255)
            .max(1),
        Kind::Binary | Kind::LabelMap => 1,
    };
    let plane = header.layout.rows * header.layout.columns;
    for (number, label) in header.labels(scheme) {
        for (frame, slice) in header.grid.slice_of.iter().enumerate() {
            if header.segment_of.get(frame) != Some(&number) {
                continue;
            }
            let target = &mut labels[slice * plane..(slice + 1) * plane];
            for (known, value) in target.iter_mut().zip(frames.frame(frame)?) {
                let value = i64::from(value);
                if !(0..=most).contains(&value) {
                    let message = format!(
                        "expected shares of at most {most}, found {value} in frame {}",
                        frame + 1
                    );
                    return Err(Fault::unreadable("bad_segments", message));
                }
                if *known == 0 && 2 * value >= most && value > 0 {
                    *known = label;
                }
            }
        }
    }
    Ok(())
}
