//! Where each frame lies and what it was made of: functional groups, dimensions, references (PS3.3 sections C.7.6.16,
//! C.7.6.17, C.12.2).

use std::collections::BTreeSet;

use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use schemas::{SourceSlice, Spacing};

use super::Subject;
use super::frames::Frame;
use crate::dicom::conf::SegForm;
use crate::dicom::elements::{Concept, Elements};
use crate::dicom::plane::other_space;

const SEGMENTATION: Concept<'_> = ("113076", "DCM", "Segmentation");
const SOURCE_IMAGE: Concept<'_> = ("121322", "DCM", "Source image for image processing operation");

/// Puts the groups of all frames and of each, the dimensions that order them, and the source's objects.
pub(super) fn put(object: &mut Elements, subject: &Subject<'_>) {
    object.item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, |shared| {
        put_shared(shared, subject);
    });
    // positions are counted among those that frames lie at
    let list = &subject.frames.list;
    let slices: BTreeSet<usize> = list.iter().map(|frame| frame.slice).collect();
    let slices: Vec<usize> = slices.into_iter().collect();
    let group = |frame: &Frame| {
        let position = slices.partition_point(|slice| *slice < frame.slice) + 1;
        of_frame(*frame, position as u32, subject)
    };
    object.items(
        tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
        list.iter().map(group).collect(),
    );
    put_dimensions(object, subject);
    put_references(object, subject);
}

fn put_shared(shared: &mut Elements, subject: &Subject<'_>) {
    let source = subject.source;
    shared.item(tags::PIXEL_MEASURES_SEQUENCE, |measures| {
        let [between_columns, between_rows] = source.pixel_mm;
        measures.decimals(tags::PIXEL_SPACING, &[between_rows, between_columns]);
        let thickness = source.thickness_mm.unwrap_or(source.step_mm);
        measures.decimals(tags::SLICE_THICKNESS, &[thickness]);
        // of unequal steps none is the step
        if source.spacing.is_even() {
            measures.decimals(tags::SPACING_BETWEEN_SLICES, &[source.step_mm]);
        }
    });
    shared.item(tags::PLANE_ORIENTATION_SEQUENCE, |orientation| {
        let directions = source.directions.map(other_space);
        orientation.decimals(tags::IMAGE_ORIENTATION_PATIENT, directions.as_flattened());
    });
}

fn of_frame(frame: Frame, position: u32, subject: &Subject<'_>) -> Elements {
    // frames lie on slices of the source
    let slice = &subject.source.slices[frame.slice];
    let mut groups = Elements::default();
    groups.item(tags::FRAME_CONTENT_SEQUENCE, |content| {
        let segment = frame.segment.map(u32::from);
        let indices: Vec<u32> = segment.into_iter().chain([position]).collect();
        content.put(
            tags::DIMENSION_INDEX_VALUES,
            VR::UL,
            PrimitiveValue::U32(indices.into()),
        );
    });
    groups.item(tags::PLANE_POSITION_SEQUENCE, |plane| {
        plane.decimals(tags::IMAGE_POSITION_PATIENT, &other_space(slice.position_mm));
    });
    groups.item(tags::DERIVATION_IMAGE_SEQUENCE, |derivation| {
        derivation.code(tags::DERIVATION_CODE_SEQUENCE, SEGMENTATION);
        derivation.item(tags::SOURCE_IMAGE_SEQUENCE, |image| {
            put_reference(image, slice, subject);
            if let Some(frame) = slice.frame {
                image.text(tags::REFERENCED_FRAME_NUMBER, frame.to_string());
            }
            image.text(tags::SPATIAL_LOCATIONS_PRESERVED, "YES");
            image.code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, SOURCE_IMAGE);
        });
    });
    if let Some(segment) = frame.segment {
        groups.item(tags::SEGMENT_IDENTIFICATION_SEQUENCE, |identification| {
            identification.number(tags::REFERENCED_SEGMENT_NUMBER, segment);
        });
    }
    groups
}

fn put_reference(item: &mut Elements, slice: &SourceSlice, subject: &Subject<'_>) {
    let instance = subject.out.identity.foreign(&slice.instance_uid);
    item.text(tags::REFERENCED_SOP_CLASS_UID, slice.class_uid.as_str());
    item.text(tags::REFERENCED_SOP_INSTANCE_UID, instance);
}

fn put_dimensions(object: &mut Elements, subject: &Subject<'_>) {
    let identity = &subject.out.identity;
    let organization = identity.own(&["dimensions", &subject.series_uid]);
    let segment = (
        tags::REFERENCED_SEGMENT_NUMBER,
        tags::SEGMENT_IDENTIFICATION_SEQUENCE,
        "Segment",
    );
    let position = (
        tags::IMAGE_POSITION_PATIENT,
        tags::PLANE_POSITION_SEQUENCE,
        "Position",
    );
    let indices = match subject.out.form {
        SegForm::Binary => vec![segment, position],
        SegForm::LabelMap => vec![position],
    };
    object.item(tags::DIMENSION_ORGANIZATION_SEQUENCE, |item| {
        item.text(tags::DIMENSION_ORGANIZATION_UID, organization.as_str());
    });
    let index = |(pointer, group, label): (Tag, Tag, &str)| {
        let mut item = Elements::default();
        item.text(tags::DIMENSION_ORGANIZATION_UID, organization.as_str());
        item.put(tags::DIMENSION_INDEX_POINTER, VR::AT, pointer);
        item.put(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, group);
        item.text(tags::DIMENSION_DESCRIPTION_LABEL, label);
        item
    };
    object.items(
        tags::DIMENSION_INDEX_SEQUENCE,
        indices.into_iter().map(index).collect(),
    );
    // one frame a slice, none left out, equal steps along the normal: a volume
    if subject.out.form == SegForm::LabelMap && subject.source.spacing == Spacing::Regular {
        object.text(tags::DIMENSION_ORGANIZATION_TYPE, "3D");
    }
}

/// Names every object of the source, so that a viewer finds the images that belong to the segmentation.
fn put_references(object: &mut Elements, subject: &Subject<'_>) {
    let mut seen = BTreeSet::new();
    let slices = subject.source.slices.iter();
    let different = slices.filter(|slice| seen.insert(&slice.instance_uid));
    let instances = different.map(|slice| {
        let mut item = Elements::default();
        put_reference(&mut item, slice, subject);
        item
    });
    let instances = instances.collect();
    let series = subject.out.identity.foreign(&subject.source.series_uid);
    object.item(tags::REFERENCED_SERIES_SEQUENCE, |item| {
        item.text(tags::SERIES_INSTANCE_UID, series);
        item.items(tags::REFERENCED_INSTANCE_SEQUENCE, instances);
    });
}
