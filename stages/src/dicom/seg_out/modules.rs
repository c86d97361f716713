//! The modules that say what kind of object it is: series, equipment, image (PS3.3 annex C).

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};

use super::Subject;
use crate::dicom::conf::SegForm;
use crate::dicom::elements::Elements;
use crate::tables::SOFTWARE_VERSION;

/// Our name wherever an object asks for one. Serial Number may not be empty, and a program has none.
const NAME: &str = "spinestream";

/// Number of our series in its study: such as scanners do not give.
const SERIES_NUMBER: &str = "9101";

/// Content Date and Time may not be empty, and equal inputs give equal bytes: a day on which nobody has made anything
/// stands for one that is not told.
const NO_DATE: &str = "19000101";
const NO_TIME: &str = "000000";

impl SegForm {
    /// Returns the UID of the SOP class.
    pub fn class_uid(self) -> &'static str {
        match self {
            Self::Binary => uids::SEGMENTATION_STORAGE,
            Self::LabelMap => uids::LABEL_MAP_SEGMENTATION_STORAGE,
        }
    }

    fn bits(self) -> u16 {
        match self {
            Self::Binary => 1,
            Self::LabelMap => 8,
        }
    }
}

/// Puts everything but segments, functional groups and pixels.
pub(super) fn put(object: &mut Elements, subject: &Subject<'_>) {
    let Subject {
        case, source, out, ..
    } = subject;
    // SOP Common
    object.text(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192");
    // Patient, General Study, Patient Study; dates of the content among them, where they are told
    object.text(tags::CONTENT_DATE, NO_DATE);
    object.text(tags::CONTENT_TIME, NO_TIME);
    out.identity.put(object, &case.origin, source);

    // General Series, Segmentation Series
    object.text(tags::MODALITY, "SEG");
    object.text(tags::SERIES_INSTANCE_UID, subject.series_uid.as_str());
    object.text(tags::SERIES_NUMBER, SERIES_NUMBER);
    let chain = case.model.chain.join(" ");
    object.short(tags::SERIES_DESCRIPTION, &format!("Vertebrae, {NAME} {chain}"));
    object.text(tags::BODY_PART_EXAMINED, "LSPINE");
    // Frame of Reference
    let space = out.identity.frame_of_reference(source);
    object.text(tags::FRAME_OF_REFERENCE_UID, space);
    // General Equipment, Enhanced General Equipment
    object.text(tags::MANUFACTURER, NAME);
    object.text(tags::MANUFACTURER_MODEL_NAME, NAME);
    object.text(tags::DEVICE_SERIAL_NUMBER, NAME);
    object.text(tags::SOFTWARE_VERSIONS, SOFTWARE_VERSION);

    // General Image, Segmentation Image, Content Identification
    object.text(tags::IMAGE_TYPE, "DERIVED\\PRIMARY");
    object.text(tags::INSTANCE_NUMBER, "1");
    object.text(tags::CONTENT_LABEL, "VERTEBRAE");
    object.text(tags::CONTENT_DESCRIPTION, "Vertebrae restored from thick slices");
    object.text(tags::CONTENT_CREATOR_NAME, "");
    object.text(tags::BURNED_IN_ANNOTATION, "NO");
    object.text(tags::LOSSY_IMAGE_COMPRESSION, "00");
    // terms and numbers, not whatever a writer has put there
    let is_plain = |text: &str| {
        text.len() <= 64
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.\\ +-".contains(&byte))
    };
    for ((group, element), text) in source.image.iter().filter(|(_, text)| is_plain(text)) {
        object.text(Tag(*group, *element), text.as_str());
    }
    object.text(
        tags::SEGMENTATION_TYPE,
        match out.form {
            SegForm::Binary => "BINARY",
            SegForm::LabelMap => "LABELMAP",
        },
    );
    object.text(tags::SEGMENTS_OVERLAP, "NO");
}

/// Puts the pixels, and how they lie (Image Pixel, Multi-frame Functional Groups).
pub(super) fn put_pixels(object: &mut Elements, subject: &Subject<'_>) {
    let Subject {
        source, out, frames, ..
    } = subject;
    let [columns, rows, _] = source.grid.shape;
    let bits = out.form.bits();
    object.number(tags::SAMPLES_PER_PIXEL, 1);
    object.text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2");
    object.text(tags::NUMBER_OF_FRAMES, frames.list.len().to_string());
    // both were read from numbers of two bytes
    object.number(tags::ROWS, rows as u16);
    object.number(tags::COLUMNS, columns as u16);
    object.number(tags::BITS_ALLOCATED, bits);
    object.number(tags::BITS_STORED, bits);
    object.number(tags::HIGH_BIT, bits - 1);
    object.number(tags::PIXEL_REPRESENTATION, 0);
    if out.form == SegForm::LabelMap {
        object.number(tags::PIXEL_PADDING_VALUE, 0);
    }
    object.put(tags::PIXEL_DATA, VR::OB, frames.pixels.clone());
}
