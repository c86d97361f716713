//! Reconstructions as one DICOM segmentation beside the series that the mask was drawn on (PS3.3 sections A.51, A.90).
//!
//! Equal inputs give equal bytes: no clock, no random number. Every frame lies on a slice of the source, at that slice's
//! own position, so that stacks of a tilted gantry and of uneven steps are written as they are.

mod frames;
mod groups;
mod identity;
mod modules;
mod segments;

use ndarray::Array3;
use schemas::{Affine, Evaluated, Fault, Level, SourceSeries};
use sha2::{Digest as _, Sha256};

use super::conf::SegForm;
use super::elements::Elements;
use crate::compare::key::hex;
use frames::{Drawn, Frames};

pub use identity::Identity;

/// How segmentations are written, and for whom.
#[derive(Debug, Clone)]
pub struct SegOut {
    /// How segments are stored.
    pub form: SegForm,
    /// What is said of the person.
    pub identity: Identity,
}

/// A case as its segmentation sees it.
struct Subject<'a> {
    case: &'a Evaluated,
    source: &'a SourceSeries,
    out: &'a SegOut,
    /// Series Instance UID of the segmentation.
    series_uid: String,
    /// Levels that have voxels on the source's grid; segment 1 is the first.
    levels: &'a [Level],
    frames: &'a Frames,
}

/// Returns the object with all reconstructions of a case; `None` where its image is no DICOM, or nothing was
/// reconstructed.
///
/// # Errors
/// `image_elsewhere`: the reconstructions do not meet the image.
pub fn segmentation(case: &Evaluated, out: &SegOut) -> Result<Option<Vec<u8>>, Fault> {
    let Some(source) = case.origin.source.as_deref() else {
        return Ok(None);
    };
    let pieces = pieces(case);
    if pieces.is_empty() {
        return Ok(None);
    }
    let drawn = Drawn::of(source, &pieces);
    if drawn.levels.is_empty() {
        return Err(Fault::unsuitable(
            "image_elsewhere",
            "expected the image that the mask was drawn on, found one whose slices no vertebra meets",
        )
        .about("image"));
    }
    let frames = Frames::of(&drawn, out.form);
    let subject = Subject {
        case,
        source,
        out,
        series_uid: series_uid(case, source, out)?,
        levels: &drawn.levels,
        frames: &frames,
    };
    let mut object = Elements::default();
    modules::put(&mut object, &subject);
    segments::put(&mut object, &subject);
    groups::put(&mut object, &subject);
    modules::put_pixels(&mut object, &subject);
    // whatever differs in an object gives it another UID: no archive takes one for the other
    let content = hex(&Sha256::digest(object.encoded()?));
    let instance_uid = out.identity.own(&["segmentation", &subject.series_uid, &content]);
    object.file(out.form.class_uid(), &instance_uid).map(Some)
}

/// Returns what was reconstructed, from the head down.
fn pieces(case: &Evaluated) -> Vec<(Level, &Array3<u8>, &Affine)> {
    let mut pieces: Vec<_> = Vec::new();
    for vertebra in &case.vertebrae {
        let cropped = &vertebra.reconstructed.cropped;
        if let Ok(reconstruction) = &vertebra.reconstructed.reconstruction
            && reconstruction.mask.iter().any(|voxel| *voxel != 0)
        {
            pieces.push((cropped.level, &reconstruction.mask, &cropped.input.affine));
        }
    }
    pieces.sort_by_key(|(level, ..)| *level);
    pieces
}

/// One series for what a model, in one state and with one seed, makes of a case.
fn series_uid(case: &Evaluated, source: &SourceSeries, out: &SegOut) -> Result<String, Fault> {
    let model = serde_json::to_string(&*case.model).map_err(|error| Fault::bug("json", error.to_string()))?;
    let identity = &out.identity;
    Ok(identity.own(&[
        "segmentation series",
        &model,
        &case.origin.seed.to_string(),
        &case.origin.id.folded(),
        &identity.foreign(&source.series_uid),
    ]))
}

#[cfg(test)]
mod tests;
