//! Segmentations of others against the same as NRRD, voxel by voxel in the patient's coordinates.

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use flate2::read::GzDecoder;
use schemas::{LabelMap, LabelScheme, Level};

use super::*;
use crate::dicom::golden::shared;

const MAX: u64 = 1 << 30;

/// What dcmqi and Slicer wrote: shorts, gzip, first axis fastest, LPS.
struct Nrrd {
    sizes: Vec<usize>,
    directions: Vec<f64>,
    origin: Vec<f64>,
    values: Vec<i16>,
}

fn nrrd(path: &Path) -> Nrrd {
    let bytes = std::fs::read(path).expect("file");
    let end = bytes
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .expect("a header");
    let header = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let field = |name: &str| {
        header
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("a field")
            .to_owned()
    };
    let numbers = |text: String| -> Vec<f64> {
        let parts = text
            .split(|character: char| "(), ".contains(character))
            .filter(|part| !part.is_empty());
        parts.map(|part| part.parse().expect("a number")).collect()
    };
    let mut plain = Vec::new();
    GzDecoder::new(&bytes[end + 2..])
        .read_to_end(&mut plain)
        .expect("gzip");
    Nrrd {
        sizes: numbers(field("sizes: "))
            .into_iter()
            .map(|size| size as usize)
            .collect(),
        directions: numbers(field("space directions: ")),
        origin: numbers(field("space origin: ")),
        values: plain
            .chunks_exact(2)
            .map(|two| i16::from_le_bytes([two[0], two[1]]))
            .collect(),
    }
}

fn seg(path: &Path) -> Object {
    let bytes: Bytes = std::fs::read(path).expect("file").into();
    Object::read(&bytes, MAX).expect("sound")
}

/// Counts the voxels of both that stand for something, and holds each of the NRRD's against ours at its place.
fn compare(map: &LabelMap, nrrd: &Nrrd, background: i16) -> usize {
    let to_index = map.affine.inverse().expect("regular");
    let mut count = 0;
    for (position, value) in nrrd
        .values
        .iter()
        .enumerate()
        .filter(|(_, value)| **value != 0 && **value != background)
    {
        let [i, j, _] = [nrrd.sizes[0], nrrd.sizes[1], nrrd.sizes[2]];
        let index = [position % i, position / i % j, position / i / j];
        let lps = [0, 1, 2].map(|axis| {
            nrrd.origin[axis]
                + (0..3)
                    .map(|step| index[step] as f64 * nrrd.directions[3 * step + axis])
                    .sum::<f64>()
        });
        let found = to_index.apply([-lps[0], -lps[1], lps[2]]);
        let voxel = found.map(|part| part.round());
        assert!(
            found.iter().zip(voxel).all(|(a, b)| (a - b).abs() < 1e-3),
            "{found:?} is no voxel's centre"
        );
        assert_eq!(
            i64::from(map.data[voxel.map(|part| part as usize)]),
            i64::from(*value),
            "{index:?}"
        );
        count += 1;
    }
    assert_eq!(map.data.iter().filter(|label| **label != 0).count(), count);
    count
}

#[test]
fn a_binary_segmentation_is_its_nrrd_at_its_place() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/dicom/dcmqi");
    let map = label_map(&seg(&folder.join("liver.dcm")), None, MAX).expect("a label map");
    assert_eq!(compare(&map, &nrrd(&folder.join("liver_seg.nrrd")), 0), 107_098);
}

#[test]
fn a_label_map_with_a_slice_left_out_has_it_as_background() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/dicom/dcmqi");
    let map = label_map(&seg(&folder.join("sparse-labelmap-ppv5.dcm")), None, MAX).expect("a label map");
    assert_eq!(map.shape(), [24, 38, 3]);
    // 5 is its padding, which dcmqi fills the missing slice with
    assert!(compare(&map, &nrrd(&folder.join("sparse_labelmap_ppv5_seg.nrrd")), 5) > 0);
}

#[test]
fn deflated_frames_and_bits_over_byte_borders_are_the_same_liver() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/dicom");
    let plain = label_map(&seg(&folder.join("dcmqi/liver.dcm")), None, MAX).expect("a label map");
    let deflated =
        label_map(&seg(&folder.join("pydicom-data/liver_deflate.dcm")), None, MAX).expect("a label map");
    assert_eq!(plain, deflated);
    // two rows and columns less, so that a frame is no whole number of bytes
    let cropped = label_map(
        &seg(&folder.join("pydicom-data/liver_nonbyte_aligned.dcm")),
        None,
        MAX,
    )
    .expect("a label map");
    assert_eq!(cropped.shape(), [510, 510, 3]);
    assert_eq!(cropped.data.iter().filter(|label| **label != 0).count(), 107_098);
}

#[test]
fn of_overlapping_segments_the_lower_number_keeps_the_voxel_and_far_planes_share_a_grid() {
    let Some(shared) = shared() else { return };
    let object = seg(&shared.join("data/dicom/highdicom/seg_image_ct_binary_overlap.dcm"));
    let map = label_map(&object, None, MAX).expect("a label map");
    assert_eq!(map.shape(), [16, 16, 165], "202.5 mm and two gaps of 1.25");
    let frames = Frames::of(&object, MAX).expect("frames");
    let header = Header::of(&object.header).expect("segments");
    let mut both = 0;
    for (frame, slice) in header.grid.slice_of.iter().enumerate() {
        let number = header.segment_of[frame];
        for (pixel, value) in frames.frame(frame).expect("a frame").into_iter().enumerate() {
            let found = map.data[[pixel % 16, pixel / 16, *slice]];
            if value != 0 && number == 1 {
                assert_eq!(found, 1);
            } else if value != 0 {
                both += usize::from(found == 1);
                assert!(found == 1 || found == number);
            }
        }
    }
    assert!(both > 0, "they do overlap");
}

#[test]
fn codes_name_levels_and_what_is_no_vertebra_has_none() {
    let coded = |value: &str, scheme: &str, label: &str| {
        let property = Code {
            value: value.to_owned(),
            scheme: scheme.to_owned(),
            meaning: String::new(),
        };
        Segment {
            number: 1,
            label: label.to_owned(),
            category: None,
            property: Some(property),
            algorithm_type: None,
        }
        .level()
    };
    assert_eq!(coded("36470004", "SCT", "anything"), Some(Level::L3));
    assert_eq!(coded("36470004", "99SITE", "L3"), None, "another scheme's number");
    assert_eq!(coded("51282000", "SCT", "L6"), Some(Level::L6));
    assert_eq!(
        coded("10200004", "SCT", "L3"),
        None,
        "a liver, whatever its label"
    );
    assert_eq!(LabelScheme::Snomed.table().len(), 6);
}

#[test]
fn contours_and_images_are_refused_by_name() {
    let of = |class: &str| {
        let mut header = DataSet::default();
        header.put_text(tags::SOP_CLASS_UID, class);
        header.put_text(tags::MODALITY, "MR");
        Header::of(&header).expect_err("no segmentation")
    };
    let contours = of(uids::RT_STRUCTURE_SET_STORAGE);
    assert_eq!(contours.reason, "contours");
    assert!(contours.message.contains("RTSTRUCT"), "{contours}");
    let image = of(uids::MR_IMAGE_STORAGE);
    assert_eq!(image.reason, "not_a_segmentation");
    assert!(image.message.contains("modality MR"), "{image}");
}
