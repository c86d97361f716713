//! What the decoder sees in a DICOM object, for `spinestream inspect`. Names, dates and free text are not shown; UIDs
//! are, to who has named the object.

mod segments;

use std::collections::BTreeMap;
use std::fmt;

use dicom_core::dictionary::UidDictionary as _;
use dicom_dictionary_std::{StandardSopClassDictionary, tags};
use dicom_encoding::transfer_syntax::TransferSyntaxIndex as _;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use schemas::{Fault, LabelScheme, Level};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::data_set::DataSet;
use super::object::{Object, PixelBytes};
use super::pixels::Frames;
use super::plane::{Groups, Plane};
use super::seg::{self, is_word};
use super::stack::{Spacing, Stack, StackConf};
use crate::decode::Refusal;

pub use segments::{CodeSeen, SegSeen, SegmentSeen};

/// The facts of a DICOM object. Names of attributes are the standard's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DicomInspection {
    /// `DICOM`.
    pub format: &'static str,
    /// UID of the transfer syntax.
    pub transfer_syntax: String,
    /// Its name.
    pub transfer_syntax_name: Option<String>,
    /// UID of the SOP class.
    pub sop_class: String,
    /// Its name.
    pub sop_class_name: Option<String>,
    /// Attributes of image, series and frame of reference, those that are there.
    #[serde(flatten)]
    pub attributes: BTreeMap<&'static str, serde_json::Value>,
    /// (column, row) → RAS mm of a single slice; its third column is the unit normal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine_ras_ij: Option<[[f64; 4]; 4]>,
    /// How the distinct positions of several frames follow each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackSeen>,
    /// The grid of a segmentation, with the slices that were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dense_grid: Option<GridSeen>,
    /// The segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seg: Option<SegSeen>,
    /// Whether there is pixel data.
    pub has_pixels: bool,
    /// Its stored values, or why they cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<PixelsSeen>,
    /// Why pixels cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels_refused: Option<Refusal>,
    /// Why the object could not be a case's mask, if it could not.
    pub refused_as_mask: Option<Refusal>,
}

/// Slices in order along their normal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StackSeen {
    /// Slices.
    pub distinct_positions: usize,
    /// Gaps between them along the normal, in mm.
    pub gap_along_normal_mm: Vec<f64>,
    /// How they follow each other.
    pub spacing_class: Spacing,
    /// How far a slice lies from where equal steps would have it, in mm.
    pub deviation_mm: f64,
    /// Angle between the step and the normal, in degrees.
    pub angle_between_stack_direction_and_normal_deg: f64,
    /// (column, row, slice) → RAS mm with equal steps.
    pub affine_ras: [[f64; 4]; 4],
}

impl StackSeen {
    /// Returns what is seen of a stack.
    pub fn of(stack: &Stack) -> Self {
        Self {
            distinct_positions: stack.order.len(),
            gap_along_normal_mm: stack.gaps_mm(),
            spacing_class: stack.spacing,
            deviation_mm: stack.deviation_mm,
            angle_between_stack_direction_and_normal_deg: stack.tilt_deg,
            affine_ras: stack.affine().0,
        }
    }
}

impl fmt::Display for StackSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} slices, {}, at most {:.4} mm off equal steps, {:.3}° from the normal",
            self.distinct_positions,
            self.spacing_class.as_str(),
            self.deviation_mm,
            self.angle_between_stack_direction_and_normal_deg
        )
    }
}

/// The grid of a segmentation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GridSeen {
    /// Step between slices, in mm.
    pub slice_step_mm: f64,
    /// Slices, those without a frame included.
    pub n_slices: usize,
    /// Slice of each frame.
    pub frame_slice_index: Vec<usize>,
    /// (column, row, slice) → RAS mm.
    pub affine_ras: [[f64; 4]; 4],
}

/// The stored values of all frames.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PixelsSeen {
    /// Their type, as NumPy names it.
    pub dtype: &'static str,
    /// [frames,] rows, columns [, samples].
    pub array_shape: Vec<usize>,
    /// Smallest.
    pub min: i32,
    /// Largest.
    pub max: i32,
    /// Sum.
    pub sum: i64,
    /// SHA-256 of the values as little-endian 32-bit numbers, in that order.
    pub sha256_i32le: String,
    /// The values after slope and intercept, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescaled: Option<RescaledSeen>,
}

/// Values after slope and intercept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RescaledSeen {
    /// Slope of the first frame.
    pub slope: f64,
    /// Intercept of the first frame.
    pub intercept: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Sum.
    pub sum_f64: f64,
}

impl DicomInspection {
    /// Looks at an object; levels are named by `scheme`, and by code.
    pub fn of(object: &Object, scheme: Option<&LabelScheme>, max_bytes: u64) -> Self {
        let header = &object.header;
        let sop_class = header.text(tags::SOP_CLASS_UID).unwrap_or_default();
        let syntax = TransferSyntaxRegistry.get(&object.transfer_syntax);
        // as many as are described, or as there are bytes for: not as the header says
        let described = header.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).len();
        let counted = Frames::of(object, max_bytes).map_or(1, |frames| frames.layout.frames);
        let frames = header
            .whole(tags::NUMBER_OF_FRAMES)
            .map(|_| if described > 0 { described } else { counted });
        let planes: Option<Vec<Plane>> = match frames {
            Some(frames) => (0..frames)
                .map(|frame| Groups::of(header, frame).plane().ok())
                .collect(),
            None => Groups::of(header, 0).plane().ok().map(|plane| vec![plane]),
        };
        let planes = planes.unwrap_or_default();
        let has_pixels = object.pixels != PixelBytes::None;
        let (pixels, pixels_refused) = match has_pixels.then(|| PixelsSeen::of(object, max_bytes)) {
            Some(Ok(pixels)) => (Some(pixels), None),
            Some(Err(fault)) => (None, Some(Refusal::from(fault))),
            None => (None, None),
        };
        let described = seg::Header::of(header);
        let map = seg::label_map(object, scheme, max_bytes);
        Self {
            format: "DICOM",
            transfer_syntax: object.transfer_syntax.clone(),
            transfer_syntax_name: syntax.map(|syntax| syntax.name().to_owned()),
            sop_class_name: StandardSopClassDictionary
                .by_uid(&sop_class)
                .map(|entry| entry.name.to_owned()),
            sop_class,
            attributes: attributes(header),
            affine_ras_ij: match planes.as_slice() {
                [plane] => Some(plane.affine(plane.normal()).0),
                _ => None,
            },
            stack: distinct(&planes),
            dense_grid: described.as_ref().ok().map(|described| GridSeen {
                slice_step_mm: described.grid.step_mm,
                n_slices: described.grid.slices,
                frame_slice_index: described.grid.slice_of.clone(),
                affine_ras: described.grid.affine.0,
            }),
            seg: described
                .ok()
                .map(|described| SegSeen::of(&described, object, scheme, max_bytes)),
            has_pixels,
            pixels,
            pixels_refused,
            refused_as_mask: map.err().map(Refusal::from),
        }
    }
}

/// Returns how distinct positions follow each other; several frames may share one.
fn distinct(planes: &[Plane]) -> Option<StackSeen> {
    let mut planes = planes.to_vec();
    planes.sort_by(|a, b| a.distance_mm().total_cmp(&b.distance_mm()));
    planes.dedup_by(|a, b| (a.distance_mm() - b.distance_mm()).abs() < 0.01);
    let conf = StackConf::default();
    // a hole is not a fault here: it shows in the gaps
    Stack::with_holes(&planes, &conf)
        .ok()
        .map(|stack| StackSeen::of(&stack))
}

pub(super) fn attributes(header: &DataSet) -> BTreeMap<&'static str, serde_json::Value> {
    let mut found = BTreeMap::new();
    let groups = Groups::of(header, 0);
    let words = [
        ("Modality", tags::MODALITY),
        ("PhotometricInterpretation", tags::PHOTOMETRIC_INTERPRETATION),
    ];
    for (name, tag) in words {
        if let Some(text) = header.text(tag).filter(|text| is_word(text)) {
            found.insert(name, text.into());
        }
    }
    let uids = [
        ("SeriesInstanceUID", tags::SERIES_INSTANCE_UID),
        ("SOPInstanceUID", tags::SOP_INSTANCE_UID),
        ("FrameOfReferenceUID", tags::FRAME_OF_REFERENCE_UID),
    ];
    for (name, tag) in uids {
        if let Some(text) = header.text(tag) {
            found.insert(name, text.into());
        }
    }
    let wholes = [
        ("Rows", tags::ROWS),
        ("Columns", tags::COLUMNS),
        ("NumberOfFrames", tags::NUMBER_OF_FRAMES),
        ("SamplesPerPixel", tags::SAMPLES_PER_PIXEL),
        ("PixelPaddingValue", tags::PIXEL_PADDING_VALUE),
        ("BitsAllocated", tags::BITS_ALLOCATED),
        ("BitsStored", tags::BITS_STORED),
        ("HighBit", tags::HIGH_BIT),
        ("PixelRepresentation", tags::PIXEL_REPRESENTATION),
        ("InstanceNumber", tags::INSTANCE_NUMBER),
    ];
    for (name, tag) in wholes {
        if let Some(number) = header.whole(tag) {
            found.insert(name, number.into());
        }
    }
    if let Some(thickness) = groups.thickness_mm() {
        found.insert("SliceThickness", thickness.into());
    }
    if let Some(step) = groups.between_slices_mm() {
        found.insert("SpacingBetweenSlices", step.into());
    }
    if let Some(spacing) = groups
        .group(tags::PIXEL_MEASURES_SEQUENCE)
        .numbers(tags::PIXEL_SPACING)
    {
        found.insert("PixelSpacing", spacing.into());
    }
    if let Ok(plane) = groups.plane() {
        let [a, b, c] = plane.along_row;
        let [x, y, z] = plane.along_column;
        found.insert("ImageOrientationPatient", vec![a, b, c, x, y, z].into());
        found.insert("ImagePositionPatient", plane.position.to_vec().into());
    }
    found
}

impl PixelsSeen {
    fn of(object: &Object, max_bytes: u64) -> Result<Self, Fault> {
        let frames = Frames::of(object, max_bytes)?;
        let layout = &frames.layout;
        let (mut min, mut max, mut sum) = (i32::MAX, i32::MIN, 0_i64);
        let mut real = RescaledSeen {
            slope: 1.0,
            intercept: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum_f64: 0.0,
        };
        let mut digest = Sha256::new();
        for frame in 0..layout.frames {
            let values = frames.frame(frame)?;
            let groups = Groups::of(&object.header, frame);
            let (slope, intercept) = groups.rescale()?;
            if frame == 0 {
                (real.slope, real.intercept) = (slope, intercept);
            }
            for value in &values {
                (min, max, sum) = (min.min(*value), max.max(*value), sum + i64::from(*value));
                let value = f64::from(*value) * slope + intercept;
                real.min = real.min.min(value);
                real.max = real.max.max(value);
                real.sum_f64 += value;
            }
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            digest.update(&bytes);
        }
        let mut array_shape = vec![layout.rows, layout.columns];
        if object
            .header
            .whole(tags::NUMBER_OF_FRAMES)
            .is_some_and(|frames| frames > 1)
        {
            array_shape.insert(0, layout.frames);
        }
        if layout.samples > 1 {
            array_shape.push(layout.samples);
        }
        let is_rescaled = Groups::of(&object.header, 0).is_rescaled();
        Ok(Self {
            dtype: layout.dtype(),
            array_shape,
            min,
            max,
            sum,
            sha256_i32le: digest
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            rescaled: is_rescaled.then_some(real),
        })
    }
}

impl fmt::Display for DicomInspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |name: &Option<String>, uid: &str| match name {
            Some(name) => format!("{name} ({uid})"),
            None => uid.to_owned(),
        };
        writeln!(
            f,
            "format       DICOM, {}",
            name(&self.transfer_syntax_name, &self.transfer_syntax)
        )?;
        writeln!(f, "SOP class    {}", name(&self.sop_class_name, &self.sop_class))?;
        for (name, value) in &self.attributes {
            writeln!(f, "{name:<26} {value}")?;
        }
        if let Some(stack) = &self.stack {
            writeln!(f, "stack        {stack}")?;
        }
        let grid = self.dense_grid.as_ref().map(|grid| &grid.affine_ras);
        let stack = self.stack.as_ref().map(|stack| &stack.affine_ras);
        for (line, row) in grid
            .or(stack)
            .or(self.affine_ras_ij.as_ref())
            .into_iter()
            .flatten()
            .take(3)
            .enumerate()
        {
            let title = if line == 0 { "affine (RAS)" } else { "" };
            let [i, j, k, origin] = row;
            writeln!(f, "{title:<12} {i:>11.5} {j:>11.5} {k:>11.5} {origin:>12.4}")?;
        }
        if let Some(grid) = &self.dense_grid {
            writeln!(
                f,
                "grid         {} slices of {:.4} mm",
                grid.n_slices, grid.slice_step_mm
            )?;
        }
        if let Some(seg) = &self.seg {
            writeln!(f, "segments     {}", seg.kind)?;
            for segment in &seg.segments {
                let code = segment.property.as_ref();
                writeln!(
                    f,
                    "{:<12} {:>6} {:<3} {:>10} voxels  {} {} {}",
                    "",
                    segment.number,
                    segment.level.map(Level::as_str).unwrap_or_default(),
                    seg.voxels_nonzero_per_segment
                        .get(&segment.number)
                        .copied()
                        .unwrap_or(0),
                    code.map_or("", |code| &code.scheme),
                    code.map_or("", |code| &code.value),
                    code.map_or("", |code| &code.meaning),
                )?;
            }
        }
        if let Some(pixels) = &self.pixels {
            writeln!(
                f,
                "values       {}, min {}, max {}, sum {}",
                pixels.dtype, pixels.min, pixels.max, pixels.sum
            )?;
        }
        let refusals = [
            ("pixels", &self.pixels_refused),
            ("as a mask", &self.refused_as_mask),
        ];
        for (what, refusal) in refusals {
            if let Some(refusal) = refusal {
                writeln!(
                    f,
                    "{what:<12} {} ({}): {}",
                    refusal.kind, refusal.reason, refusal.message
                )?;
            }
        }
        Ok(())
    }
}
