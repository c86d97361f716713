//! A series of slices, or one object of many frames, as a volume of real values.

use dicom_dictionary_std::{tags, uids};
use ndarray::{Array3, ShapeBuilder as _};
use schemas::{Fault, Volume};

use super::data_set::DataSet;
use super::object::Object;
use super::pixels::{Frames, Layout, check_described};
use super::plane::{Groups, Plane};
use super::stack::{Spacing, Stack, StackConf};

mod resample;

/// A volume and how its slices lay.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesVolume {
    /// Real values, slope and intercept applied, on axes (column, row, slice).
    pub image: Volume<f32>,
    /// The slices as they were found.
    pub stack: Stack,
    /// Whether slices were resampled, because no affine says where they lay.
    pub is_resampled: bool,
}

/// Reads a series: objects of one slice each, in any order, or one multi-frame object.
///
/// # Errors
/// What no volume can be made of: see [`check_image`], [`Stack::of`], [`Frames::of`]; slices of unlike size; gaps wider
/// than `conf.max_gap_mm` (`slices_too_far_apart`); more than `max_bytes`.
pub fn volume(objects: &[Object], conf: &StackConf, max_bytes: u64) -> Result<SeriesVolume, Fault> {
    let slices = slices(objects, max_bytes)?;
    let planes: Vec<Plane> = slices
        .iter()
        .map(|slice| slice.groups().plane())
        .collect::<Result<_, _>>()?;
    let stack = Stack::of(&planes, conf)?;
    if stack.spacing != Spacing::Regular {
        let widest = stack.gaps_mm().into_iter().fold(0.0, f64::max);
        if widest > conf.max_gap_mm {
            let message = format!(
                "expected slices at most {} mm apart (dicom.stack.max_gap_mm) to interpolate between, found {widest:.2} mm",
                conf.max_gap_mm
            );
            return Err(Fault::unsuitable("slices_too_far_apart", message));
        }
    }
    let layout = Layout::of(&slices[stack.order[0]].object.header)?;
    let needed = (layout.frame_samples() as u64).saturating_mul(4 * slices.len() as u64);
    if needed > max_bytes {
        let message = format!("expected a volume of at most {max_bytes} bytes, the slices need {needed}");
        return Err(Fault::unsuitable("too_large", message));
    }
    let mut values = Vec::new();
    for index in &stack.order {
        let slice = &slices[*index];
        let frames = Frames::of(slice.object, max_bytes)?;
        if (frames.layout.rows, frames.layout.columns) != (layout.rows, layout.columns) {
            let message = format!(
                "expected slices of {} × {} as the first, found one of {} × {}",
                layout.rows, layout.columns, frames.layout.rows, frames.layout.columns
            );
            return Err(Fault::unsuitable("mixed_planes", message));
        }
        let (slope, intercept) = slice.groups().rescale()?;
        if slice.groups().is_rescaled() != slices[stack.order[0]].groups().is_rescaled() {
            let message = "expected slope and intercept for all slices or for none, found them for some";
            return Err(Fault::unreadable("bad_rescale", message));
        }
        let real = |stored: i32| (f64::from(stored) * slope + intercept) as f32;
        values.extend(frames.frame(slice.frame)?.into_iter().map(real));
    }
    let shape = (layout.columns, layout.rows, stack.order.len());
    let data = Array3::from_shape_vec(shape.f(), values)
        .map_err(|error| Fault::bug("voxel_count", error.to_string()))?;
    if stack.spacing == Spacing::Regular {
        let affine = stack.affine();
        return Ok(SeriesVolume {
            image: Volume { data, affine },
            stack,
            is_resampled: false,
        });
    }
    Ok(SeriesVolume {
        image: resample::upright(&data, &stack, max_bytes)?,
        stack,
        is_resampled: true,
    })
}

/// One slice: an object, or a frame of it.
#[derive(Debug, Clone, Copy)]
struct Slice<'a> {
    object: &'a Object,
    frame: usize,
}

impl<'a> Slice<'a> {
    fn groups(&self) -> Groups<'a> {
        Groups::of(&self.object.header, self.frame)
    }
}

fn slices(objects: &[Object], max_bytes: u64) -> Result<Vec<Slice<'_>>, Fault> {
    let mut slices = Vec::new();
    let first = objects
        .first()
        .and_then(|object| object.header.text(tags::SERIES_INSTANCE_UID));
    let space = |object: &Object| object.header.text(tags::FRAME_OF_REFERENCE_UID);
    if objects
        .iter()
        .any(|object| Some(space(object)) != objects.first().map(space))
    {
        let message = "expected slices of one frame of reference, found several";
        return Err(Fault::unsuitable("mixed_frame_of_reference", message));
    }
    for object in objects {
        check_image(&object.header)?;
        if object.header.text(tags::SERIES_INSTANCE_UID) != first {
            return Err(Fault::unsuitable(
                "several_series",
                "expected slices of one series, found several",
            ));
        }
        // as many as there are bytes for, not as the header says
        let layout = Frames::of(object, max_bytes)?.layout;
        check_described(&object.header, &layout)?;
        let frames = layout.frames;
        slices.extend((0..frames).map(|frame| Slice { object, frame }));
    }
    Ok(slices)
}

/// Checks that an object is a slice, or slices, of a scan.
///
/// # Errors
/// Secondary captures, burned-in annotation, mosaics, colours: `secondary_capture`, `burned_in_annotation`, `mosaic`,
/// `colour`.
pub fn check_image(header: &DataSet) -> Result<(), Fault> {
    let class = header.text(tags::SOP_CLASS_UID).unwrap_or_default();
    if class.starts_with(uids::SECONDARY_CAPTURE_IMAGE_STORAGE) {
        return Err(Fault::unsuitable(
            "secondary_capture",
            "expected a scanner's image, found a secondary capture",
        ));
    }
    if header.text(tags::BURNED_IN_ANNOTATION).as_deref() == Some("YES") {
        return Err(Fault::unsuitable(
            "burned_in_annotation",
            "expected an image without burned-in annotation, found one that says it has some",
        ));
    }
    if header.texts(tags::IMAGE_TYPE).iter().any(|word| word == "MOSAIC") {
        return Err(Fault::unsuitable(
            "mosaic",
            "expected slices, found a mosaic of them, whose geometry only private elements tell",
        ));
    }
    if header
        .whole(tags::SAMPLES_PER_PIXEL)
        .is_some_and(|samples| samples != 1)
    {
        return Err(Fault::unsuitable("colour", "expected grey levels, found colours"));
    }
    let photometric = header.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
    if !matches!(photometric.as_str(), "" | "MONOCHROME1" | "MONOCHROME2") {
        return Err(Fault::unsuitable(
            "colour",
            "expected grey levels, found another photometric interpretation",
        ));
    }
    Ok(())
}
