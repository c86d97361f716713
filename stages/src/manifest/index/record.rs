//! What is kept of an object's header: little, and the texts that a series shares only once.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use dicom_core::Tag;
use dicom_core::dictionary::UidDictionary as _;
use dicom_dictionary_std::{StandardSopClassDictionary, tags, uids};
use dicom_encoding::transfer_syntax::TransferSyntaxIndex as _;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use schemas::{Fault, Level};

use crate::dicom::data_set::DataSet;
use crate::dicom::plane::{Groups, Plane};
use crate::dicom::{Head, seg};

/// Modalities that are shown; any other text may be somebody's name (PS3.3 section C.7.3.1.1.1).
const MODALITIES: [&str; 36] = [
    "MR", "CT", "SEG", "OT", "SR", "PR", "KO", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE", "RTRECORD", "REG",
    "FID", "PT", "NM", "US", "CR", "DX", "DR", "MG", "XA", "RF", "ES", "XC", "GM", "SM", "OP", "OPT", "ECG",
    "DOC", "M3D", "BMD", "PX", "IO", "RWV",
];

/// Kind of an object, by its SOP class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Of a scanner that makes slices.
    Image,
    /// Segments in frames.
    Segmentation,
    /// A picture of something.
    SecondaryCapture,
    /// RTSTRUCT.
    Contours,
    /// DICOMDIR.
    Directory,
    /// Reports, presentation states, radiographs, …
    Other,
}

impl Class {
    /// Whether an object of the kind is in no case, whatever else its header says.
    pub fn is_never_used(self) -> bool {
        matches!(self, Self::Contours | Self::Directory | Self::Other)
    }
}

/// What makes the contrast of an MR image, in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Times {
    pub echo_ms: Option<f64>,
    pub repetition_ms: Option<f64>,
    pub inversion_ms: Option<f64>,
}

/// What is kept of an object. UIDs and Patient ID stay in memory.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub class: Class,
    /// Keyword of the SOP class, if the standard knows it.
    pub sop_class: Option<&'static str>,
    pub modality: &'static str,
    /// Name of the transfer syntax.
    pub transfer_syntax: &'static str,
    pub study: Option<Arc<str>>,
    pub series: Option<Arc<str>>,
    pub instance: Box<str>,
    pub frame_of_reference: Option<Arc<str>>,
    pub patient: Option<Arc<str>>,
    pub rows: u32,
    pub columns: u32,
    pub frames: u32,
    /// One a frame.
    pub planes: Result<Box<[Plane]>, Fault>,
    pub thickness_mm: Option<f64>,
    pub times: Times,
    pub is_gradient_echo: bool,
    /// Values with `\` between.
    pub image_type: Arc<str>,
    pub is_burned_in: bool,
    pub has_pixels: bool,
    /// Whether the object is smaller than its header promises.
    pub is_cut: bool,
    pub segments: Option<Result<Box<Segments>, Fault>>,
}

/// What is kept of a segmentation.
#[derive(Debug, Clone)]
pub(super) struct Segments {
    /// Series that it was drawn on, as it says.
    pub references: Vec<Arc<str>>,
    /// Levels that codes name.
    pub coded: BTreeSet<Level>,
    /// Segment numbers.
    pub numbers: BTreeSet<u16>,
    /// Plane of its first frame.
    pub plane: Plane,
    pub slices: usize,
    pub step_mm: f64,
}

impl Record {
    /// Takes what is kept out of the whole header of an object of `bytes` bytes.
    pub fn of(head: &Head, bytes: u64) -> Self {
        let header = &head.header;
        let class = class(&head.sop_class);
        let groups = Groups::of(header, 0);
        let count = |tag| {
            header
                .whole(tag)
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or(0)
        };
        let frames = count(tags::NUMBER_OF_FRAMES).max(1);
        let planes = match class {
            Class::Image => planes(header, frames),
            _ => Err(Fault::unsuitable("no_geometry", "expected an image, found none")),
        };
        let segments = (class == Class::Segmentation).then(|| Segments::of(header).map(Box::new));
        Self {
            class,
            sop_class: StandardSopClassDictionary
                .by_uid(&head.sop_class)
                .map(|entry| entry.alias),
            modality: modality(header),
            transfer_syntax: transfer_syntax(&head.transfer_syntax),
            study: shared(header, tags::STUDY_INSTANCE_UID),
            series: shared(header, tags::SERIES_INSTANCE_UID),
            instance: header
                .text(tags::SOP_INSTANCE_UID)
                .unwrap_or_default()
                .into_boxed_str(),
            frame_of_reference: shared(header, tags::FRAME_OF_REFERENCE_UID),
            patient: shared(header, tags::PATIENT_ID),
            rows: count(tags::ROWS),
            columns: count(tags::COLUMNS),
            frames,
            planes,
            thickness_mm: groups.thickness_mm(),
            times: times(groups),
            is_gradient_echo: is_gradient_echo(header),
            image_type: header.texts(tags::IMAGE_TYPE).join("\\").into(),
            is_burned_in: header.text(tags::BURNED_IN_ANNOTATION).as_deref() == Some("YES"),
            has_pixels: head.has_pixels,
            is_cut: head.promised_bytes.is_some_and(|promised| promised > bytes),
            segments,
        }
    }

    /// Lets texts that other records have too be the same ones.
    pub fn share(&mut self, texts: &mut Texts) {
        let mut shared = [
            &mut self.study,
            &mut self.series,
            &mut self.frame_of_reference,
            &mut self.patient,
        ];
        for text in shared.iter_mut().filter_map(|text| text.as_mut()) {
            texts.share(text);
        }
        texts.share(&mut self.image_type);
        if let Some(Ok(segments)) = &mut self.segments {
            for reference in &mut segments.references {
                texts.share(reference);
            }
        }
    }
}

impl Segments {
    fn of(header: &DataSet) -> Result<Self, Fault> {
        let described = seg::Header::of(header)?;
        let plane = described
            .planes
            .first()
            .copied()
            .ok_or_else(|| Fault::unreadable("bad_segments", "expected frames, found none"))?;
        let elsewhere = header.items(tags::STUDIES_CONTAINING_OTHER_REFERENCED_INSTANCES_SEQUENCE);
        let sequences = std::iter::once(header).chain(elsewhere);
        let items = sequences.flat_map(|place| place.items(tags::REFERENCED_SERIES_SEQUENCE));
        Ok(Self {
            references: items
                .filter_map(|item| shared(item, tags::SERIES_INSTANCE_UID))
                .collect(),
            coded: described
                .segments
                .values()
                .filter_map(seg::Segment::level)
                .collect(),
            numbers: described.segments.keys().copied().collect(),
            plane,
            slices: described.grid.slices,
            step_mm: described.grid.step_mm,
        })
    }
}

/// Texts that several records have.
#[derive(Debug, Default)]
pub(super) struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn share(&mut self, text: &mut Arc<str>) {
        match self.0.get(text) {
            Some(known) => *text = Arc::clone(known),
            None => {
                self.0.insert(Arc::clone(text));
            }
        }
    }
}

fn shared(header: &DataSet, tag: Tag) -> Option<Arc<str>> {
    header.text(tag).map(Arc::from)
}

pub(super) fn class(sop_class: &str) -> Class {
    match sop_class {
        uids::MR_IMAGE_STORAGE
        | uids::ENHANCED_MR_IMAGE_STORAGE
        | uids::LEGACY_CONVERTED_ENHANCED_MR_IMAGE_STORAGE
        | uids::CT_IMAGE_STORAGE
        | uids::ENHANCED_CT_IMAGE_STORAGE
        | uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE => Class::Image,
        uids::SEGMENTATION_STORAGE | uids::LABEL_MAP_SEGMENTATION_STORAGE => Class::Segmentation,
        uids::SECONDARY_CAPTURE_IMAGE_STORAGE
        | uids::MULTI_FRAME_SINGLE_BIT_SECONDARY_CAPTURE_IMAGE_STORAGE
        | uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE
        | uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE
        | uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE => Class::SecondaryCapture,
        uids::RT_STRUCTURE_SET_STORAGE => Class::Contours,
        uids::MEDIA_STORAGE_DIRECTORY_STORAGE => Class::Directory,
        _ => Class::Other,
    }
}

fn modality(header: &DataSet) -> &'static str {
    let found = header.text(tags::MODALITY).unwrap_or_default();
    let known = MODALITIES.iter().find(|known| **known == found);
    known.copied().unwrap_or("other")
}

fn transfer_syntax(uid: &str) -> &'static str {
    match TransferSyntaxRegistry.get(uid) {
        Some(syntax) => syntax.name(),
        None if uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => "Deflated Explicit VR Little Endian",
        None => "other",
    }
}

/// Returns the plane of each frame; a number of frames that is not true costs neither time nor memory.
fn planes(header: &DataSet, frames: u32) -> Result<Box<[Plane]>, Fault> {
    let frames = frames as usize;
    let described = header.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).len();
    if frames > described.max(1) {
        let message = format!("expected functional groups of {frames} frames, found those of {described}");
        return Err(Fault::unsuitable("no_geometry", message));
    }
    (0..frames)
        .map(|frame| Groups::of(header, frame).plane())
        .collect()
}

fn times(groups: Groups<'_>) -> Times {
    let echo = groups.group(tags::MR_ECHO_SEQUENCE);
    let timing = groups.group(tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE);
    let modifier = groups.group(tags::MR_MODIFIER_SEQUENCE);
    Times {
        echo_ms: echo
            .number(tags::EFFECTIVE_ECHO_TIME)
            .or_else(|| echo.number(tags::ECHO_TIME)),
        repetition_ms: timing.number(tags::REPETITION_TIME),
        inversion_ms: modifier
            .number(tags::INVERSION_TIMES)
            .or_else(|| modifier.number(tags::INVERSION_TIME)),
    }
}

/// Whether echoes are made by gradients alone.
fn is_gradient_echo(header: &DataSet) -> bool {
    let sequence = header.texts(tags::SCANNING_SEQUENCE);
    let has = |word: &str| sequence.iter().any(|known| known == word);
    (has("GR") && !has("SE")) || header.text(tags::ECHO_PULSE_SEQUENCE).as_deref() == Some("GRADIENT")
}
