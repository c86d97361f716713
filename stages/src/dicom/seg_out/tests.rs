use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dicom_dictionary_std::tags;
use schemas::payload::{CroppedVertebra, EvaluatedVertebra, Origin, ReconstructedVertebra};
use schemas::vertebra::Flags;
use schemas::volume::Grid;
use schemas::{LabelMap, LabelScheme, ModelIdentity, Patch, Reconstruction, Spacing};

use super::*;
use crate::dicom::Object;
use crate::dicom::pseudonym::SiteKey;
use crate::dicom::sample::{IDENTIFYING, Series, oblique};
use crate::dicom::seg;
use crate::dicom::source::source_series;
use crate::dicom::stack::StackConf;
use crate::paste::paste;

const FORMS: [SegForm; 2] = [SegForm::Binary, SegForm::LabelMap];
const VOXELS_MOST: u64 = 1 << 24;

/// A mask of 24³ voxels of 1 mm with a ball in it that has lost a corner, and its place.
fn ball(centre: [f64; 3]) -> (Array3<u8>, Affine) {
    let mask = Array3::from_shape_fn((24, 24, 24), |(i, j, k)| {
        let off = [i, j, k].map(|index| index as f64 - 11.5);
        let is_in = off.iter().map(|part| part * part).sum::<f64>() < 100.0;
        u8::from(is_in && !off.iter().all(|part| *part > 2.0))
    });
    (
        mask,
        Affine::axis_aligned([1.0; 3], centre.map(|part| part - 11.5)),
    )
}

fn vertebra(level: Level, (mask, affine): (Array3<u8>, Affine)) -> EvaluatedVertebra {
    let cropped = CroppedVertebra {
        level,
        label: 20 + level.index() as u16,
        input: Patch::new(mask.clone(), affine),
        reference: None,
        centre_mm: [0.0; 3],
        source_volume_mm3: 1.0,
        flags: Flags::new(),
    };
    EvaluatedVertebra {
        reconstructed: ReconstructedVertebra {
            cropped,
            seed: 1,
            reconstruction: Ok(Reconstruction::of_mask(mask)),
            elapsed: Duration::ZERO,
            batch: 1,
        },
        input: None,
        reconstruction: None,
        registered: None,
        flags: Flags::new(),
    }
}

fn slices() -> Series {
    let first = oblique([16.0, -30.0, 40.0]);
    let step = first.normal().map(|part| part * 3.3);
    Series::new(first, step, 11, [77, 53])
}

/// The same, each slice farther down than the last.
fn tilted() -> Series {
    let mut series = slices();
    for (number, plane) in series.planes.iter_mut().enumerate() {
        plane.position[2] -= 0.7 * number as f64;
    }
    series
}

fn case(series: &Series) -> Evaluated {
    let source = source_series(&series.headers(), &StackConf::default()).expect("a series");
    Evaluated {
        origin: Origin {
            id: "case-1".parse().expect("an id"),
            person: "person-1".to_owned(),
            seed: 1,
            bytes_read: 0,
            source: Some(Arc::new(source)),
        },
        grid: Grid {
            shape: [4, 3, 2],
            affine: Affine::axis_aligned([1.0; 3], [0.0; 3]),
        },
        // not in order: segments are
        vertebrae: vec![
            vertebra(Level::L6, ball([0.0, 2.0, -10.0])),
            vertebra(Level::L2, ball([4.0, 8.0, 22.0])),
            vertebra(Level::L3, ball([2.0, 5.0, 6.0])),
        ],
        model: Arc::new(ModelIdentity {
            chain: vec!["reconnet".to_owned(), "lsd_ebm".to_owned()],
            model_version: "v7".to_owned(),
            weights_sha256: "0123456789abcdef0123+fedcba9876543210fedc".to_owned(),
            steps: 1,
            sampler: None,
            samples: 1,
            mirror: false,
            precision: None,
        }),
    }
}

fn out(form: SegForm, is_hidden: bool) -> SegOut {
    let key = || SiteKey::new(b"0123456789abcdef").expect("key");
    SegOut {
        form,
        identity: if is_hidden {
            Identity::Hidden(key())
        } else {
            Identity::Kept
        },
    }
}

fn written(case: &Evaluated, form: SegForm, is_hidden: bool) -> Vec<u8> {
    let written = segmentation(case, &out(form, is_hidden)).expect("written");
    written.expect("a DICOM image")
}

fn object(bytes: &[u8]) -> Object {
    Object::read(&Bytes::copy_from_slice(bytes), VOXELS_MOST).expect("an object")
}

/// What stands on a grid, under the numbers of segments.
fn pasted(case: &Evaluated, grid: &Grid) -> LabelMap {
    let pieces = pieces(case);
    let numbered: Vec<_> = (1..)
        .zip(&pieces)
        .map(|(number, (_, mask, affine))| (number, *mask, *affine))
        .collect();
    paste(grid, &numbered)
}

/// Asserts that each voxel of `map` has in `other` the label of the same place; what lies outside is 0.
fn assert_same_places(map: &LabelMap, other: &LabelMap) {
    let to_other = other.affine.inverse().expect("regular").after(&map.affine);
    let mut set = 0;
    for ((i, j, k), label) in map.data.indexed_iter() {
        let index = to_other.apply([i, j, k].map(|index| index as f64));
        assert!(
            index.iter().all(|index| (index - index.round()).abs() < 1e-3),
            "{index:?}"
        );
        let [i, j, k] = index.map(|index| index.round() as i64 as usize);
        assert_eq!(other.data.get((i, j, k)).copied().unwrap_or(0), *label);
        set += usize::from(*label != 0);
    }
    assert!(set > 1000, "{set}");
}

#[test]
fn what_is_written_reads_back_on_the_slices_of_the_source() {
    for series in [slices(), tilted()] {
        let case = case(&series);
        let source = case.origin.source.clone().expect("a series");
        let expected = pasted(&case, &source.grid);
        for form in FORMS {
            let object = object(&written(&case, form, true));
            let found = seg::label_map(&object, None, VOXELS_MOST).expect("a label map");
            assert_same_places(&expected, &found);
            let levels = seg::label_map(&object, Some(&LabelScheme::Snomed), VOXELS_MOST).expect("levels");
            // VerSe's numbers of L2, L3, L6
            let number = |label: &u16| [0, 21, 22, 25].iter().position(|known| known == label);
            let numbers = levels.data.mapv(|label| number(&label).expect("a level") as u16);
            assert_eq!(numbers, found.data);
        }
    }
}

#[test]
fn a_mask_on_another_grid_of_the_same_voxels_says_the_same() {
    let case = case(&slices());
    let source = case.origin.source.clone().expect("a series");
    // axes in another order, two of them backwards, as NIfTI converters leave them
    let [columns, rows, slices] = source.grid.shape;
    let last = [columns, rows].map(|size| size as f64 - 1.0);
    let to_source = Affine([
        [0.0, -1.0, 0.0, last[0]],
        [0.0, 0.0, -1.0, last[1]],
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let grid = Grid {
        shape: [slices, columns, rows],
        affine: source.grid.affine.after(&to_source),
    };
    let nifti = pasted(&case, &grid);
    for form in FORMS {
        let object = object(&written(&case, form, true));
        assert_same_places(
            &nifti,
            &seg::label_map(&object, None, VOXELS_MOST).expect("a label map"),
        );
    }
}

#[test]
fn slices_of_unequal_steps_keep_their_own_places() {
    let mut series = slices();
    let normal = series.planes[0].normal();
    series.planes[4].position = [0, 1, 2].map(|axis| series.planes[4].position[axis] + normal[axis]);
    let case = case(&series);
    let source = case.origin.source.clone().expect("a series");
    assert_eq!(source.spacing, Spacing::Uneven);
    let object = object(&written(&case, SegForm::LabelMap, true));
    let frames = crate::dicom::pixels::Frames::of(&object, VOXELS_MOST).expect("frames");
    let drawn = source
        .slices
        .iter()
        .map(|slice| (slice, pasted(&case, &source.slice_grid(slice))));
    let drawn: Vec<_> = drawn
        .skip_while(|(_, map)| map.data.iter().all(|label| *label == 0))
        .collect();
    assert!(frames.layout.frames > 5);
    for (number, (slice, map)) in drawn.into_iter().take(frames.layout.frames).enumerate() {
        let groups = crate::dicom::plane::Groups::of(&object.header, number);
        assert_eq!(groups.between_slices_mm(), None, "none is the step");
        let [position, ..] = groups.plane().expect("a plane").ras();
        for (found, expected) in position.into_iter().zip(slice.position_mm) {
            assert!((found - expected).abs() < 1e-9);
        }
        let values = frames.frame(number).expect("a frame");
        let values: Vec<u16> = values.into_iter().map(|value| value as u16).collect();
        assert_eq!(values, map.data.into_raw_vec_and_offset().0, "slice {number}");
    }
}

#[test]
fn equal_inputs_give_equal_bytes_and_other_models_other_uids() {
    let case = case(&slices());
    let uid = |bytes: &[u8], tag| object(bytes).header.text(tag).expect("a UID");
    for form in FORMS {
        let first = written(&case, form, true);
        assert_eq!(first, written(&case.clone(), form, true));
        let mut other = case.clone();
        Arc::make_mut(&mut other.model).model_version = "v8".to_owned();
        let mut moved = case.clone();
        moved.vertebrae.remove(0);
        let (other, moved) = (written(&other, form, true), written(&moved, form, true));
        for (tag, same) in [(tags::SOP_INSTANCE_UID, false), (tags::SERIES_INSTANCE_UID, true)] {
            assert_ne!(uid(&first, tag), uid(&other, tag), "another model");
            assert_eq!(uid(&first, tag) == uid(&moved, tag), same, "other content");
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn without_identity_nothing_of_the_source_is_in_the_bytes() {
    let case = case(&slices());
    for form in FORMS {
        let bytes = written(&case, form, true);
        for text in IDENTIFYING {
            assert!(!holds(&bytes, text), "{text}");
        }
        let header = object(&bytes).header;
        assert_eq!(header.text(tags::PATIENT_ID).as_deref(), Some("person-1"));
        assert_eq!(
            header.text(tags::PATIENT_IDENTITY_REMOVED).as_deref(),
            Some("YES")
        );
        let key = SiteKey::new(b"0123456789abcdef").expect("key");
        let study = header.text(tags::STUDY_INSTANCE_UID);
        assert_eq!(
            study,
            Some(key.uid(&["1.2.3.4711"])),
            "linked to what else is hashed under the key"
        );
    }
}

#[test]
fn with_identity_the_object_belongs_to_the_study_and_names_its_images() {
    let series = slices();
    let case = case(&series);
    for form in FORMS {
        let bytes = written(&case, form, false);
        let header = object(&bytes).header;
        let texts = [
            (tags::PATIENT_NAME, "DOE^JÄNE^JANE"),
            (tags::PATIENT_ID, "MRN-7654321"),
            (tags::STUDY_INSTANCE_UID, "1.2.3.4711"),
            (tags::FRAME_OF_REFERENCE_UID, "1.2.3.4711.9"),
            (tags::CONTENT_TIME, "101530.5"),
        ];
        for (tag, text) in texts {
            assert_eq!(header.text(tag).as_deref(), Some(text));
        }
        let referenced = header.item(tags::REFERENCED_SERIES_SEQUENCE).expect("a series");
        assert_eq!(
            referenced.text(tags::SERIES_INSTANCE_UID).as_deref(),
            Some("1.2.3.4712")
        );
        let instances = referenced.items(tags::REFERENCED_INSTANCE_SEQUENCE);
        let instances: Vec<_> = instances
            .iter()
            .filter_map(|item| item.text(tags::REFERENCED_SOP_INSTANCE_UID))
            .collect();
        assert_eq!(
            instances,
            (0..11).map(|slice| series.instance(slice)).collect::<Vec<_>>()
        );
        for text in ["Lane", "called", "T2 SAG"] {
            assert!(!holds(&bytes, text), "{text} is no part of what is copied");
        }
    }
}

#[test]
fn what_lies_off_the_slices_has_no_segment_and_all_of_it_is_a_wrong_pair() {
    let mut case = case(&slices());
    case.vertebrae.push(vertebra(Level::L1, ball([0.0, 0.0, 900.0])));
    let header = object(&written(&case, SegForm::Binary, true)).header;
    let labels: Vec<_> = header
        .items(tags::SEGMENT_SEQUENCE)
        .iter()
        .map(|item| item.text(tags::SEGMENT_LABEL))
        .collect();
    assert_eq!(labels, ["L2", "L3", "L6"].map(|level| Some(level.to_owned())));
    case.vertebrae.drain(..3);
    let fault = segmentation(&case, &out(SegForm::Binary, true)).expect_err("elsewhere");
    assert_eq!(
        (fault.reason, fault.message.starts_with("image: ")),
        ("image_elsewhere", true)
    );
    // nothing was made: its rows say why
    case.vertebrae[0].reconstructed.reconstruction = Err(Fault::bug("panic", "expected none"));
    assert_eq!(segmentation(&case, &out(SegForm::Binary, true)), Ok(None));
    case.origin.source = None;
    assert_eq!(segmentation(&case, &out(SegForm::Binary, true)), Ok(None));
}
