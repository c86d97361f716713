//! Turns fetched bytes into label maps that know where in the body they lie.
//!
//! Formats are told apart by their first bytes in [`Format::of`]; names and endings do not count.

mod format;
mod inspect;
mod intensity;
mod labels;
pub mod nifti;
mod orientation;
mod source;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
#[cfg(test)]
pub(crate) mod testing;

use bytes::Bytes;
use schemas::payload::{FetchedMask, FetchedObject, Labelled};
use schemas::{Decoded, Fault, Fetched, LabelMap, LabelScheme, LabelTable, Level};
use serde::{Deserialize, Serialize};

use crate::dicom::object::{MAGIC, PREAMBLE};
use crate::dicom::pixels::Layout;
use crate::dicom::{Head, Object, seg};
use crate::stage::{Stage, blocking};

pub use format::Format;
pub use inspect::{Inspected, Inspection, LabelCount, Refusal, inspect};
pub use intensity::{Moments, under_labels};

/// What a volume may cost; comes from `run.memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecodeConf {
    /// Most bytes that the voxels of one volume may take while it is read. A header that announces more is
    /// refused before anything is allocated.
    pub max_bytes: u64,
}

impl Default for DecodeConf {
    fn default() -> Self {
        Self { max_bytes: 8 << 30 }
    }
}

/// The stage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decode {
    /// What a volume may cost.
    pub conf: DecodeConf,
}

impl Stage for Decode {
    type In = Fetched;
    type Out = Decoded;
    const NAME: &'static str = "decode";

    async fn run(&self, fetched: Fetched) -> Result<Decoded, Fault> {
        let conf = self.conf;
        blocking(move || decode(&fetched, &conf)).await
    }
}

/// Decodes the mask of a case and, where there is one, its reference.
///
/// # Errors
/// The first fault, with the manifest column that it is about before its message.
pub fn decode(fetched: &Fetched, conf: &DecodeConf) -> Result<Decoded, Fault> {
    let mask = labelled(&fetched.mask, conf).map_err(|fault| fault.about("mask"))?;
    let reference = fetched
        .reference
        .as_ref()
        .map(|reference| labelled(reference, conf))
        .transpose();
    Ok(Decoded {
        origin: fetched.origin.clone(),
        mask,
        reference: reference.map_err(|fault| fault.about("reference"))?,
    })
}

/// Reads a label map from an object of any format that is read, `pair` being the image of a `.hdr`/`.img`
/// pair.
///
/// # Errors
/// Another format, broken bytes, too large a volume, a volume that has not three axes, values that are no
/// labels.
pub fn label_map(bytes: &[u8], pair: Option<&[u8]>, max_bytes: u64) -> Result<LabelMap, Fault> {
    read_label_map(&Bytes::copy_from_slice(bytes), pair, None, max_bytes)
}

/// Reads a label map; segments of a DICOM object that `scheme` names by code get the labels of their levels.
fn read_label_map(
    bytes: &Bytes,
    pair: Option<&[u8]>,
    scheme: Option<&LabelScheme>,
    max_bytes: u64,
) -> Result<LabelMap, Fault> {
    match Format::of(&format::head(bytes)?)? {
        Format::Nifti(_) if scheme == Some(&LabelScheme::Snomed) => Err(Fault::unsuitable(
            "no_codes",
            "expected a DICOM SEG for label scheme snomed, found NIfTI, which has no codes",
        )),
        Format::Nifti(_) => labels::from_nifti(bytes, pair, max_bytes),
        Format::Dicom => seg::label_map(&dicom_object(bytes, max_bytes)?, scheme, max_bytes),
    }
}

fn dicom_object(bytes: &Bytes, max_bytes: u64) -> Result<Object, Fault> {
    if source::is_gzip(bytes) {
        let message = "expected a DICOM object as it is, found one packed with gzip";
        return Err(Fault::unsuitable("unsupported_format", message));
    }
    Object::read(bytes, max_bytes)
}

/// Returns the most bytes that decoding a label map holds at once, by the beginning of its header; `voxels` begins the
/// object of `size` bytes that the voxels lie in. What is no header will hold nothing; what may yet become one, behind
/// many empty gzip members, may hold all that there can be.
pub fn bytes_to_decode(header: &[u8], voxels: &[u8], size: u64) -> u64 {
    if header
        .get(..PREAMBLE)
        .is_some_and(|preamble| preamble.ends_with(MAGIC))
    {
        return dicom_bytes(header, size);
    }
    // at most two bytes of labels for one that is stored: a header may promise more than there can be
    let most = source::most_bytes_of(voxels, size).saturating_mul(2);
    match nifti::Header::read(header) {
        Ok(found) => found.label_map_bytes().min(most),
        Err(_) if format::is_cut(header) => most,
        Err(_) => 0,
    }
}

/// Returns the most bytes that the label map of a segmentation takes, with a frame at a time beside it. Where the header
/// goes on behind the beginning that is there, a bit of the object may be a voxel; slices that were left out are not
/// known then.
fn dicom_bytes(beginning: &[u8], size: u64) -> u64 {
    const VOXELS_A_BYTE: u64 = 8;
    let is_all = beginning.len() as u64 >= size;
    let unknown = if is_all {
        0
    } else {
        size.saturating_mul(VOXELS_A_BYTE * size_of::<u16>() as u64)
    };
    let Ok(head) = Head::read(&Bytes::copy_from_slice(beginning), size) else {
        return unknown;
    };
    let inflated = if head.is_deflated() {
        source::most_bytes_of(&source::GZIP_MAGIC, size)
    } else {
        0
    };
    let Ok(layout) = Layout::of(&head.header) else {
        return unknown.saturating_add(inflated);
    };
    let frame = layout.frame_samples() as u64;
    let slices = match seg::Header::of(&head.header) {
        Ok(header) => header.grid.slices,
        Err(_) if head.is_whole => return inflated,
        Err(_) => layout.frames,
    };
    let labels = frame
        .saturating_mul(slices as u64)
        .saturating_mul(size_of::<u16>() as u64);
    labels
        .saturating_add(frame.saturating_mul(8))
        .saturating_add(inflated)
}

fn labelled(mask: &FetchedMask, conf: &DecodeConf) -> Result<Labelled, Fault> {
    let map = match &mask.scheme {
        LabelScheme::Table { .. } | LabelScheme::Snomed => whole(mask, conf)?,
        LabelScheme::Binary(_) => {
            let mut map = whole(mask, conf)?;
            labels::binarise(&mut map, 1);
            map
        }
        LabelScheme::Classes => classes(&mask.objects, &mask.scheme.table(), conf)?,
    };
    Ok(Labelled {
        scheme: mask.scheme.clone(),
        map,
    })
}

fn whole(mask: &FetchedMask, conf: &DecodeConf) -> Result<LabelMap, Fault> {
    let [object] = mask.objects.as_slice() else {
        let message = format!("expected one object for a label map, got {}", mask.objects.len());
        return Err(Fault::bug("objects", message));
    };
    of_object(object, Some(&mask.scheme), conf)
}

/// Merges masks of one level each, from the head down, whatever the order they were fetched in.
fn classes(objects: &[FetchedObject], table: &LabelTable, conf: &DecodeConf) -> Result<LabelMap, Fault> {
    let mut by_level: Vec<(Level, &FetchedObject)> = Vec::with_capacity(objects.len());
    for object in objects {
        let level = object.level.ok_or_else(|| {
            Fault::bug(
                "objects",
                "expected the level of a mask of one class, got a mask without",
            )
        })?;
        if by_level.iter().any(|(known, _)| *known == level) {
            let message = format!("expected one mask of {level}, found a second");
            return Err(Fault::unsuitable("repeated_level", message));
        }
        by_level.push((level, object));
    }
    by_level.sort_by_key(|(level, _)| *level);

    let mut merged = labels::Merged::default();
    for (level, object) in by_level {
        let added = of_object(object, None, conf).and_then(|mask| merged.add(level, mask, table));
        added.map_err(|fault| fault.about(level.as_str()))?;
    }
    let nothing = || {
        Fault::missing(
            "no_masks",
            "expected masks of lumbar levels below the prefix, found none",
        )
    };
    merged.finish().ok_or_else(nothing)
}

fn of_object(
    object: &FetchedObject,
    scheme: Option<&LabelScheme>,
    conf: &DecodeConf,
) -> Result<LabelMap, Fault> {
    read_label_map(&object.bytes, object.pair.as_deref(), scheme, conf.max_bytes)
}

#[cfg(test)]
mod tests {
    use schemas::payload::Origin;
    use schemas::{Affine, FaultKind};

    use super::testing::{Sample, gzip};
    use super::*;

    fn object(level: Option<Level>, bytes: Vec<u8>) -> FetchedObject {
        FetchedObject {
            level,
            bytes: bytes.into(),
            pair: None,
        }
    }

    fn fetched(mask: FetchedMask, reference: Option<FetchedMask>) -> Fetched {
        let origin = Origin {
            id: "case".parse().expect("id"),
            person: "person".to_owned(),
            seed: 7,
            bytes_read: 11,
            source: None,
        };
        Fetched {
            origin,
            mask,
            reference,
        }
    }

    fn whole_map(bytes: Vec<u8>) -> FetchedMask {
        let scheme = LabelScheme::Table {
            name: "verse".to_owned(),
            table: LabelScheme::Classes.table(),
        };
        FetchedMask {
            scheme,
            objects: vec![object(None, bytes)],
        }
    }

    /// Returns a mask of one level that covers the voxels `from` to `to` in file order.
    fn class(level: Level, from: usize, to: usize) -> FetchedObject {
        let mut sample = Sample::new(1);
        sample.voxels = (0..24)
            .map(|index| u8::from((from..to).contains(&index)))
            .collect();
        object(Some(level), sample.file())
    }

    fn classes_of(objects: Vec<FetchedObject>) -> Result<Labelled, Fault> {
        labelled(
            &FetchedMask {
                scheme: LabelScheme::Classes,
                objects,
            },
            &DecodeConf::default(),
        )
    }

    #[tokio::test]
    async fn the_stage_decodes_mask_and_reference_the_same_way_twice() {
        let input = fetched(
            whole_map(Sample::new(1).file()),
            Some(whole_map(gzip(&Sample::new(2).file()))),
        );
        let bytes = input.mask.objects[0].bytes.clone();
        let stage = Decode::default();
        let first = stage.run(input.clone()).await.expect("sound input");
        let second = stage.run(input.clone()).await.expect("sound input");
        assert_eq!(first.mask, second.mask);
        assert_eq!(first.reference, second.reference);
        assert_eq!(input.mask.objects[0].bytes, bytes, "no input is changed");
        assert_eq!((first.origin.seed, first.origin.bytes_read), (7, 11));
        assert_eq!(
            first.mask.map.data,
            first.reference.expect("a reference").map.data
        );
    }

    #[tokio::test]
    async fn a_damaged_object_is_a_fault_about_its_column() {
        let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 1].to_vec();
        let (sound, damaged) = (
            whole_map(Sample::new(1).file()),
            whole_map(cut(gzip(&Sample::new(1).file()))),
        );
        let fault = Decode::default()
            .run(fetched(damaged.clone(), None))
            .await
            .expect_err("cut mask");
        assert_eq!((fault.kind, fault.reason), (FaultKind::Unreadable, "truncated"));
        assert!(fault.message.starts_with("mask: "), "{}", fault.message);
        let fault = Decode::default()
            .run(fetched(sound, Some(damaged)))
            .await
            .expect_err("cut reference");
        assert!(fault.message.starts_with("reference: "), "{}", fault.message);
    }

    #[test]
    fn a_binary_mask_becomes_ones_whatever_its_number() {
        let mut sample = Sample::new(1);
        sample.voxels = [vec![0; 20], vec![255, 22, 1, 0]].concat();
        let mask = FetchedMask {
            scheme: LabelScheme::Binary(Level::L3),
            objects: vec![object(None, sample.file())],
        };
        let labelled = labelled(&mask, &DecodeConf::default()).expect("sound");
        let expected = [vec![0; 20], vec![1, 1, 1, 0]].concat();
        assert_eq!(
            labelled.map.data.t().iter().copied().collect::<Vec<u16>>(),
            expected
        );
    }

    #[test]
    fn masks_of_one_class_become_one_map_and_the_upper_level_keeps_what_both_claim() {
        let (upper, lower) = (class(Level::L1, 0, 8), class(Level::L2, 6, 10));
        let forth = classes_of(vec![upper.clone(), lower.clone()]).expect("sound");
        let back = classes_of(vec![lower, upper]).expect("sound");
        assert_eq!(forth, back, "the order of fetching does not count");
        let expected = [vec![20; 8], vec![21; 2], vec![0; 14]].concat();
        assert_eq!(forth.map.data.t().iter().copied().collect::<Vec<u16>>(), expected);
    }

    #[test]
    fn masks_of_one_class_must_share_their_grid() {
        let mut moved = Sample::new(1);
        moved.srow[2][3] += 0.01;
        let mut larger = Sample::new(1);
        (larger.dim, larger.voxels) = (vec![3, 2, 3, 5], vec![1; 30]);
        for other in [moved, larger] {
            let objects = vec![class(Level::L1, 0, 8), object(Some(Level::L2), other.file())];
            let fault = classes_of(objects).expect_err("another grid");
            assert_eq!(
                (fault.kind, fault.reason),
                (FaultKind::Unsuitable, "grids_differ")
            );
            assert!(fault.message.starts_with("L2: "), "{}", fault.message);
        }
        let mut rounded = Sample::new(2);
        rounded.srow[2][3] += 0.0005;
        let objects = vec![class(Level::L1, 0, 8), object(Some(Level::L2), rounded.file())];
        let map = classes_of(objects).expect("rounding").map;
        assert_eq!(
            map.affine,
            Affine::axis_aligned([1.0, 1.0, 3.0], [-5.0, 6.0, 7.5]),
            "of the first level"
        );
    }

    #[test]
    fn no_mask_and_a_repeated_level_are_faults() {
        assert_eq!(classes_of(Vec::new()).expect_err("none").kind, FaultKind::Missing);
        let twice = vec![class(Level::L1, 0, 8), class(Level::L1, 0, 8)];
        assert_eq!(classes_of(twice).expect_err("twice").reason, "repeated_level");
    }
}
