//! The headers of an image become the series that a segmentation is put beside.

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use schemas::source::Attribute;
use schemas::volume::Grid;
use schemas::{Fault, SourceSeries, SourceSlice};

use super::data_set::DataSet;
use super::plane::{Groups, Plane, other_space};
use super::series::check_image;
use super::stack::{Stack, StackConf};

/// Most slices: two metres of a quarter of a millimetre.
const SLICES_MOST: usize = 8192;

/// Of the patient and study modules: what files an object with its person and study (PS3.3 sections C.7.1.1, C.7.2.1
/// and C.7.2.2), and whether somebody has removed the identity before us.
const PERSON: [Tag; 20] = [
    tags::STUDY_DATE,
    tags::CONTENT_DATE,
    tags::STUDY_TIME,
    tags::CONTENT_TIME,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::PATIENT_AGE,
    tags::PATIENT_SIZE,
    tags::PATIENT_WEIGHT,
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::STUDY_ID,
    tags::POSITION_REFERENCE_INDICATOR,
    tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
];

/// Whether pixels were ever compressed with loss, which follows an image into all that is derived from it.
const IMAGE: [Tag; 3] = [
    tags::LOSSY_IMAGE_COMPRESSION,
    tags::LOSSY_IMAGE_COMPRESSION_RATIO,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
];

/// Returns the series that an image's objects are, in whatever order they come.
///
/// # Errors
/// `several_patients`, `several_series`, `mixed_frame_of_reference`, `not_an_image`, `bad_uid`, `no_geometry`, `bad_geometry`, and those of
/// [`check_image`] and [`Stack::of`].
pub fn source_series(headers: &[DataSet], conf: &StackConf) -> Result<SourceSeries, Fault> {
    let Some(first) = headers.first() else {
        return Err(Fault::missing(
            "no_objects",
            "expected objects of a series, found none",
        ));
    };
    for header in headers {
        check_kind(header)?;
    }
    let patient = |header: &DataSet| header.text(tags::PATIENT_ID);
    if headers.iter().any(|header| patient(header) != patient(first)) {
        let message = "expected slices of one person, found several under one series UID";
        return Err(Fault::unsuitable("several_patients", message));
    }
    let series_uid = common(headers, tags::SERIES_INSTANCE_UID, "several_series", "series")?;
    let study_uid = common(headers, tags::STUDY_INSTANCE_UID, "several_series", "study")?;
    let space = "mixed_frame_of_reference";
    let frame_of_reference_uid = common(headers, tags::FRAME_OF_REFERENCE_UID, space, "frame of reference")?;
    let [columns, rows] = size(headers)?;

    let mut planes: Vec<Plane> = Vec::new();
    let mut slices = Vec::new();
    for header in headers {
        let class_uid = required(header, tags::SOP_CLASS_UID)?;
        let instance_uid = required(header, tags::SOP_INSTANCE_UID)?;
        let frames = header.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).len();
        for frame in 0..frames.max(1) {
            let plane = Groups::of(header, frame).plane()?;
            planes.push(plane);
            slices.push(SourceSlice {
                class_uid: class_uid.clone(),
                instance_uid: instance_uid.clone(),
                frame: (frames > 0).then_some(frame as u32 + 1),
                position_mm: other_space(plane.position),
            });
        }
        if planes.len() > SLICES_MOST {
            let message = format!("expected at most {SLICES_MOST} slices, found more");
            return Err(Fault::unsuitable("too_large", message));
        }
    }
    let stack = Stack::of(&planes, conf)?;
    let affine = stack.affine();
    if affine.inverse().is_none() {
        let message = "expected slices one above the other, found them side by side in one plane";
        return Err(Fault::unreadable("bad_geometry", message));
    }
    let [_, along_row, along_column] = stack.first.ras();
    let [between_rows, between_columns] = stack.first.spacing_mm;
    let steps = stack.order.len() - 1;
    let length_mm = stack.distances_mm.last().copied().unwrap_or_default();
    Ok(SourceSeries {
        grid: Grid {
            shape: [columns, rows, stack.order.len()],
            affine,
        },
        directions: [along_row, along_column],
        pixel_mm: [between_columns, between_rows],
        step_mm: length_mm / steps as f64,
        thickness_mm: Groups::of(first, 0).thickness_mm(),
        spacing: stack.spacing,
        deviation_mm: stack.deviation_mm,
        slices: stack.order.iter().map(|index| slices[*index].clone()).collect(),
        study_uid: study_uid.ok_or_else(bad_uid)?,
        series_uid: series_uid.ok_or_else(bad_uid)?,
        frame_of_reference_uid,
        person: texts(first, &PERSON),
        image: texts(first, &IMAGE),
    })
}

/// Refuses what a mask is not drawn on: screens and colours may show names and lie nowhere, and a segmentation is no
/// image.
fn check_kind(header: &DataSet) -> Result<(), Fault> {
    check_image(header)?;
    let class = header.text(tags::SOP_CLASS_UID).unwrap_or_default();
    let is_segmentation =
        [uids::SEGMENTATION_STORAGE, uids::LABEL_MAP_SEGMENTATION_STORAGE].contains(&&*class);
    if is_segmentation || header.whole(tags::ROWS).is_none() {
        let message = "expected the image that the mask was drawn on, found a DICOM object that is none";
        return Err(Fault::unsuitable("not_an_image", message));
    }
    Ok(())
}

/// Returns the UID that all objects share, `None` if none of them has one.
fn common(headers: &[DataSet], tag: Tag, reason: &'static str, what: &str) -> Result<Option<String>, Fault> {
    let mut found = headers.iter().map(|header| header.text(tag));
    let first = found.next().flatten();
    if found.any(|other| other != first) {
        let message = format!("expected objects of one {what}, found several");
        return Err(Fault::unsuitable(reason, message));
    }
    first.map(checked).transpose()
}

fn required(header: &DataSet, tag: Tag) -> Result<String, Fault> {
    header.text(tag).map_or_else(|| Err(bad_uid()), checked)
}

/// Passes what is a UID (PS3.5 section 9.1, but for leading zeros, which some writers have).
fn checked(uid: String) -> Result<String, Fault> {
    let is_uid =
        (1..=64).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_uid { Ok(uid) } else { Err(bad_uid()) }
}

fn bad_uid() -> Fault {
    Fault::unreadable(
        "bad_uid",
        "expected UIDs of study, series and object, found none, or text that is no UID",
    )
}

/// Returns columns and rows, which all objects share.
fn size(headers: &[DataSet]) -> Result<[usize; 2], Fault> {
    let of = |header: &DataSet| {
        [tags::COLUMNS, tags::ROWS].map(|tag| header.whole(tag).and_then(|size| u16::try_from(size).ok()))
    };
    let mut sizes = headers.iter().map(of);
    let first = sizes.next().unwrap_or([None; 2]);
    if sizes.any(|other| other != first) {
        let message = "expected slices of one size, found several";
        return Err(Fault::unsuitable("mixed_planes", message));
    }
    match first {
        [Some(columns), Some(rows)] if columns > 0 && rows > 0 => Ok([columns.into(), rows.into()]),
        _ => Err(Fault::unreadable(
            "bad_pixel_layout",
            "expected Rows and Columns from 1 to 65535, found others",
        )),
    }
}

fn texts(header: &DataSet, of: &[Tag]) -> Vec<Attribute> {
    let text = |tag: &Tag| Some(((tag.group(), tag.element()), header.text(*tag)?));
    of.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests;
