//! DICOM objects for tests, written by dicom-rs: slices, segmentations and what else lies in a dump.

use bytes::Bytes;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use schemas::Level;
use schemas::labels::SNOMED;

/// An object that is being made.
#[derive(Clone)]
pub struct Made(pub InMemDicomObject);

/// Where slices lie and whose they are.
#[derive(Debug, Clone)]
pub struct Slices {
    /// Patient ID.
    pub patient: &'static str,
    /// Study, of which all UIDs begin so.
    pub study: String,
    /// Number of the series in the study.
    pub series: u32,
    /// How many.
    pub count: usize,
    /// First pixel of the first one.
    pub first: [f64; 3],
    /// Along rows, then along columns.
    pub directions: [f64; 6],
    /// From slice to slice.
    pub step: [f64; 3],
    /// Pixel spacing.
    pub pixel_mm: f64,
}

/// Edge of a slice, in pixels.
pub const EDGE: u16 = 8;

impl Slices {
    /// Returns sagittal slices, 4 mm apart, of 200 mm.
    pub fn sagittal(patient: &'static str, study: &str, series: u32) -> Self {
        Self {
            patient,
            study: study.to_owned(),
            series,
            count: 9,
            first: [16.0, -100.0, 100.0],
            directions: [0.0, 1.0, 0.0, 0.0, 0.0, -1.0],
            step: [-4.0, 0.0, 0.0],
            pixel_mm: 25.0,
        }
    }

    /// Returns axial slices, 2 mm apart.
    pub fn axial(patient: &'static str, study: &str, series: u32) -> Self {
        Self {
            directions: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            step: [0.0, 0.0, 2.0],
            ..Self::sagittal(patient, study, series)
        }
    }

    /// Returns the UID of the series.
    pub fn uid(&self) -> String {
        format!("{}.{}", self.study, self.series)
    }

    /// Returns MR slices, T2 weighted.
    pub fn mr(&self) -> Vec<Made> {
        (0..self.count)
            .map(|slice| self.slice(slice, uids::MR_IMAGE_STORAGE, "MR"))
            .collect()
    }

    /// Returns CT slices.
    pub fn ct(&self) -> Vec<Made> {
        (0..self.count)
            .map(|slice| self.slice(slice, uids::CT_IMAGE_STORAGE, "CT"))
            .collect()
    }

    fn slice(&self, slice: usize, class: &str, modality: &str) -> Made {
        let mut made = self.object(class, modality, slice);
        made.position(self.position(slice))
            .reals(tags::IMAGE_ORIENTATION_PATIENT, &self.directions)
            .reals(tags::PIXEL_SPACING, &[self.pixel_mm; 2])
            .reals(tags::SLICE_THICKNESS, &[3.5])
            .text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\M")
            .text(tags::SCANNING_SEQUENCE, VR::CS, "SE")
            .reals(tags::ECHO_TIME, &[100.0])
            .reals(tags::REPETITION_TIME, &[3000.0])
            .pixels(16, 1);
        made
    }

    fn position(&self, slice: usize) -> [f64; 3] {
        [0, 1, 2].map(|axis| self.first[axis] + self.step[axis] * slice as f64)
    }

    fn object(&self, class: &str, modality: &str, instance: usize) -> Made {
        let mut made = Made(InMemDicomObject::new_empty());
        made.text(tags::SOP_CLASS_UID, VR::UI, class)
            .text(
                tags::SOP_INSTANCE_UID,
                VR::UI,
                &format!("{}.{}", self.uid(), instance + 1),
            )
            .text(tags::STUDY_INSTANCE_UID, VR::UI, &self.study)
            .text(tags::SERIES_INSTANCE_UID, VR::UI, &self.uid())
            .text(
                tags::FRAME_OF_REFERENCE_UID,
                VR::UI,
                &format!("{}.9999", self.study),
            )
            .text(tags::MODALITY, VR::CS, modality)
            .text(tags::PATIENT_ID, VR::LO, self.patient)
            .text(tags::PATIENT_NAME, VR::PN, "DOE^JANE")
            .text(tags::SERIES_DESCRIPTION, VR::LO, "SAG DOE");
        made
    }

    /// Returns a segmentation with a frame of each level in each slice, drawn on the series `of`; without codes the
    /// segments have VerSe's numbers.
    pub fn seg(&self, of: Option<&str>, levels: &[Level], is_coded: bool) -> Made {
        let mut made = self.object(uids::SEGMENTATION_STORAGE, "SEG", 0);
        let number = |level: &Level| {
            let place = Level::ALL
                .iter()
                .position(|known| known == level)
                .unwrap_or_default();
            20 + place as u16
        };
        let segments = levels.iter().map(|level| {
            let (_, (code, _)) = SNOMED.iter().find(|(known, _)| known == level).expect("coded");
            let mut segment = Made(InMemDicomObject::new_empty());
            segment
                .number(tags::SEGMENT_NUMBER, number(level))
                .text(tags::SEGMENT_LABEL, VR::LO, "DOE");
            if is_coded {
                let mut coded = Made(InMemDicomObject::new_empty());
                coded.text(tags::CODE_VALUE, VR::SH, code).text(
                    tags::CODING_SCHEME_DESIGNATOR,
                    VR::SH,
                    "SCT",
                );
                segment.items(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, vec![coded]);
            }
            segment
        });
        let mut frames = Vec::new();
        for slice in 0..self.count {
            for level in levels {
                let mut position = Made(InMemDicomObject::new_empty());
                position.position(self.position(slice));
                let mut which = Made(InMemDicomObject::new_empty());
                which.number(tags::REFERENCED_SEGMENT_NUMBER, number(level));
                let mut frame = Made(InMemDicomObject::new_empty());
                frame
                    .items(tags::PLANE_POSITION_SEQUENCE, vec![position])
                    .items(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![which]);
                frames.push(frame);
            }
        }
        let mut orientation = Made(InMemDicomObject::new_empty());
        orientation.reals(tags::IMAGE_ORIENTATION_PATIENT, &self.directions);
        let mut measures = Made(InMemDicomObject::new_empty());
        measures
            .reals(tags::PIXEL_SPACING, &[self.pixel_mm; 2])
            .reals(tags::SLICE_THICKNESS, &[3.5]);
        let mut shared = Made(InMemDicomObject::new_empty());
        shared
            .items(tags::PLANE_ORIENTATION_SEQUENCE, vec![orientation])
            .items(tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
        if let Some(uid) = of {
            let mut series = Made(InMemDicomObject::new_empty());
            series.text(tags::SERIES_INSTANCE_UID, VR::UI, uid);
            made.items(tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
        }
        let count = frames.len();
        made.text(tags::SEGMENTATION_TYPE, VR::CS, "BINARY")
            .items(tags::SEGMENT_SEQUENCE, segments.collect())
            .items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared])
            .items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames)
            .pixels(1, count);
        made
    }
}

impl Made {
    /// Puts a text.
    pub fn text(&mut self, tag: Tag, vr: VR, value: &str) -> &mut Self {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
        self
    }

    /// Puts decimal numbers.
    pub fn reals(&mut self, tag: Tag, values: &[f64]) -> &mut Self {
        let texts: Vec<String> = values.iter().map(f64::to_string).collect();
        self.text(tag, VR::DS, &texts.join("\\"))
    }

    /// Puts a whole number.
    pub fn number(&mut self, tag: Tag, value: u16) -> &mut Self {
        self.0
            .put(DataElement::new(tag, VR::US, dicom_value!(U16, [value])));
        self
    }

    /// Puts a sequence.
    pub fn items(&mut self, tag: Tag, items: Vec<Self>) -> &mut Self {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.0).collect();
        self.0
            .put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    /// Puts Image Position (Patient).
    pub fn position(&mut self, position: [f64; 3]) -> &mut Self {
        self.reals(tags::IMAGE_POSITION_PATIENT, &position)
    }

    /// Puts pixels, all 0.
    pub fn pixels(&mut self, bits: u16, frames: usize) -> &mut Self {
        let samples = usize::from(EDGE) * usize::from(EDGE) * frames;
        self.number(tags::SAMPLES_PER_PIXEL, 1)
            .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
            .text(tags::NUMBER_OF_FRAMES, VR::IS, &frames.to_string())
            .number(tags::ROWS, EDGE)
            .number(tags::COLUMNS, EDGE)
            .number(tags::BITS_ALLOCATED, bits)
            .number(tags::BITS_STORED, bits)
            .number(tags::HIGH_BIT, bits - 1)
            .number(tags::PIXEL_REPRESENTATION, 0);
        let bytes = vec![0_u8; (samples * usize::from(bits)).div_ceil(16) * 2];
        let vr = if bits == 16 { VR::OW } else { VR::OB };
        self.0.put(DataElement::new(
            tags::PIXEL_DATA,
            vr,
            PrimitiveValue::from(bytes),
        ));
        self
    }

    /// Takes an element away.
    pub fn without(&mut self, tag: Tag) -> &mut Self {
        self.0.remove_element(tag);
        self
    }

    /// Returns the object as a file, explicit little endian.
    pub fn file(&self) -> Bytes {
        self.file_of(uids::MR_IMAGE_STORAGE)
    }

    /// Returns it with another class in its meta information, which only counts where the object itself has none.
    pub fn file_of(&self, class: &str) -> Bytes {
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid("1.2.3");
        let object = self.0.clone().with_exact_meta(meta.build().expect("meta"));
        let mut bytes = Vec::new();
        object.write_all(&mut bytes).expect("in memory");
        bytes.into()
    }
}
