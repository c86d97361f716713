//! The segments: which vertebra each is, and which model made it (PS3.3 sections C.8.20.4, 10.16).

use dicom_core::PrimitiveValue;
use dicom_core::VR;
use dicom_dictionary_std::tags;
use schemas::labels::{SNOMED, SNOMED_VERTEBRA};
use schemas::{Level, ModelIdentity};

use super::Subject;
use crate::dicom::conf::SegForm;
use crate::dicom::elements::{Concept, Elements};

const ANATOMICAL_STRUCTURE: Concept<'_> = ("123037004", "SCT", "Anatomical Structure");
const ARTIFICIAL_INTELLIGENCE: Concept<'_> = ("123110", "DCM", "Artificial Intelligence");
const BACKGROUND: Concept<'_> = ("125040", "DCM", "Background");

/// Digits of the weights' SHA-256 that stand in an object.
const HASH_DIGITS: usize = 16;

/// A colour a level, from the head down, in CIELab as DICOM counts it (PS3.3 section C.10.7.1.1): the palette of Okabe
/// and Ito, which people without one of the cones tell apart too.
const COLOURS: [[u16; 3]; Level::ALL.len()] = [
    [46653, 38053, 52082],
    [45400, 28579, 23766],
    [37753, 21404, 36035],
    [58687, 30716, 52165],
    [29691, 30619, 22029],
    [35976, 44539, 49401],
];

/// Puts the sequence of segments.
pub(super) fn put(object: &mut Elements, subject: &Subject<'_>) {
    let model = &subject.case.model;
    let numbered = (1_u16..).zip(subject.levels);
    let mut segments: Vec<Elements> = numbered
        .map(|(number, level)| segment(number, *level, model))
        .collect();
    if subject.out.form == SegForm::LabelMap {
        segments.insert(0, background(model));
    }
    object.items(tags::SEGMENT_SEQUENCE, segments);
}

fn segment(number: u16, level: Level, model: &ModelIdentity) -> Elements {
    let mut segment = described(number, level.as_str(), model);
    segment.code(
        tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE,
        ANATOMICAL_STRUCTURE,
    );
    segment.code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, concept(level));
    let colour = PrimitiveValue::U16(COLOURS[level.index()].as_slice().into());
    segment.put(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, VR::US, colour);
    segment.item(
        tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE,
        |algorithm| {
            algorithm.code(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, ARTIFICIAL_INTELLIGENCE);
            algorithm.short(tags::ALGORITHM_NAME, &algorithm_name(model));
            algorithm.short(tags::ALGORITHM_VERSION, &model.model_version);
            algorithm.text(tags::ALGORITHM_PARAMETERS, parameters(model));
            algorithm.text(tags::ALGORITHM_SOURCE, "spinestream");
        },
    );
    segment
}

/// Segment 0 of a label map: what is no segment (PS3.3 section C.8.20.4).
fn background(model: &ModelIdentity) -> Elements {
    let mut segment = described(0, "Background", model);
    segment.code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, BACKGROUND);
    segment.code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, BACKGROUND);
    segment
}

fn described(number: u16, label: &str, model: &ModelIdentity) -> Elements {
    let mut segment = Elements::default();
    segment.number(tags::SEGMENT_NUMBER, number);
    segment.text(tags::SEGMENT_LABEL, label);
    segment.text(tags::SEGMENT_ALGORITHM_TYPE, "AUTOMATIC");
    segment.short(tags::SEGMENT_ALGORITHM_NAME, &algorithm_name(model));
    segment
}

fn concept(level: Level) -> Concept<'static> {
    let coded = SNOMED.iter().find(|(known, _)| *known == level);
    let (value, meaning) = coded.map_or(SNOMED_VERTEBRA, |(_, concept)| *concept);
    (value, "SCT", meaning)
}

fn algorithm_name(model: &ModelIdentity) -> String {
    format!("spinestream {}", model.chain.join(" "))
}

fn parameters(model: &ModelIdentity) -> String {
    let hashes = model.weights_sha256.split('+');
    let hashes: Vec<&str> = hashes
        .map(|hash| hash.get(..HASH_DIGITS).unwrap_or(hash))
        .collect();
    let mut parameters = format!(
        "steps={} samples={} mirror={}",
        model.steps, model.samples, model.mirror
    );
    if let Some(sampler) = model.sampler {
        parameters += &format!(" sampler={sampler}");
    }
    if let Some(precision) = model.precision {
        parameters += &format!(" precision={precision}");
    }
    if !model.weights_sha256.is_empty() {
        parameters += &format!(" weights_sha256={}", hashes.join("+"));
    }
    parameters
}
