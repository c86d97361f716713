use std::collections::BTreeMap;

use bytes::Bytes;
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use object_store::ObjectMeta;
use proptest::prelude::*;
use schemas::{Level, ObjectUrl};

use super::*;
use crate::dicom::testing::{Made, Slices};
use crate::store::Stores;

mod dumps;
mod masks;
mod rules;

use dumps::{Dump, key};

const LEVELS: [Level; 3] = [Level::L2, Level::L3, Level::L4];

/// A T2 series of a study, with its segmentation.
fn t2(patient: &'static str, study: &str) -> (Slices, Vec<Made>, Made) {
    let slices = Slices::sagittal(patient, study, 3);
    let seg = Slices {
        series: 30,
        ..slices.clone()
    };
    let seg = seg.seg(Some(&slices.uid()), &LEVELS, true);
    (slices.clone(), slices.mr(), seg)
}

/// A CT series with its segmentation.
fn ct(patient: &'static str, study: &str, levels: &[Level]) -> (Vec<Made>, Made) {
    let slices = Slices::axial(patient, study, 6);
    let seg = Slices {
        series: 60,
        ..slices.clone()
    };
    (slices.ct(), seg.seg(Some(&slices.uid()), levels, true))
}

#[tokio::test]
async fn a_study_becomes_a_case_and_everything_else_says_why_not() {
    let mut dump = Dump::default();
    let (slices, mr, seg) = t2("MRN-7654321", "1.2.3");
    dump.series("t2", &mr).put("seg", seg.file());
    let mut t1 = Slices {
        series: 4,
        ..slices.clone()
    }
    .mr();
    for slice in &mut t1 {
        slice
            .reals(tags::ECHO_TIME, &[11.0])
            .reals(tags::REPETITION_TIME, &[560.0]);
    }
    dump.series("t1", &t1);
    dump.series("axial", &Slices::axial("MRN-7654321", "1.2.3", 5).mr());
    dump.series("ct", &Slices::axial("MRN-7654321", "1.2.3", 6).ct());
    let with = |tag, vr, text: &str| mr[0].clone().text(tag, vr, text).clone();
    let localizer = with(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER");
    dump.put("localizer", localizer.file());
    dump.put(
        "derived",
        with(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY\\MPR").file(),
    );
    dump.put(
        "mosaic",
        with(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\M\\MOSAIC").file(),
    );
    dump.put("burned", with(tags::BURNED_IN_ANNOTATION, VR::CS, "YES").file());
    let class = |uid: &str| with(tags::SOP_CLASS_UID, VR::UI, uid).file();
    dump.put("capture", class(uids::SECONDARY_CAPTURE_IMAGE_STORAGE));
    dump.put("rtstruct", class(uids::RT_STRUCTURE_SET_STORAGE));
    dump.put("report", class(uids::BASIC_TEXT_SR_STORAGE));
    let contents = with(tags::FILE_SET_ID, VR::CS, "DOE")
        .without(tags::SOP_CLASS_UID)
        .clone();
    dump.put(
        "DICOMDIR",
        contents.file_of(uids::MEDIA_STORAGE_DIRECTORY_STORAGE),
    );
    dump.put("no pixels", mr[0].clone().without(tags::PIXEL_DATA).file());
    dump.put(
        "no place",
        mr[0].clone().without(tags::IMAGE_POSITION_PATIENT).file(),
    );
    dump.put("no study", mr[0].clone().without(tags::STUDY_INSTANCE_UID).file());
    let whole = mr[2].file();
    dump.put("cut in its pixels", whole.slice(..whole.len() - 7));
    let name = whole
        .windows(3)
        .position(|bytes| bytes == b"DOE")
        .expect("a name");
    dump.put("cut in its header", whole.slice(..name + 1));
    dump.put("README.TXT", Bytes::from_static(b"Images of Jane Doe.\n"));
    dump.put("scan.nii.gz", Bytes::from_static(&[0x1f, 0x8b, 0, 0]));
    dump.put("empty", Bytes::new());

    let found = dump.index().await;
    let expected = [
        ("t2/", "used image"),
        ("seg", "used mask"),
        ("t1/", "not_used another_series"),
        ("axial/", "not_used orientation"),
        ("ct/", "not_used modality"),
        ("localizer", "not_used localizer"),
        ("derived", "not_used derived"),
        ("mosaic", "not_used mosaic"),
        ("burned", "not_used burned_in"),
        ("capture", "not_used secondary_capture"),
        ("rtstruct", "not_used contours"),
        ("report", "not_used sop_class"),
        ("DICOMDIR", "not_used dicomdir"),
        ("no pixels", "not_used no_pixels"),
        ("no place", "not_used no_geometry"),
        ("no study", "not_used no_identity"),
        ("cut in its pixels", "unreadable truncated"),
        ("cut in its header", "unreadable truncated"),
        ("README.TXT", "unreadable not_dicom"),
        ("scan.nii.gz", "unreadable not_dicom"),
        ("empty", "unreadable empty"),
    ];
    dump.assert_fates(&found, &expected);
    let [row] = found.rows.as_slice() else {
        panic!("one case, found {:?}", found.rows);
    };
    assert_eq!(row.case_id, Some(key().case_id("1.2.3", "1.2.3.3")));
    assert_eq!(row.person, Some(key().person("MRN-7654321")));
    assert_eq!(row.labels.as_deref(), Some("snomed"));
    assert_eq!(row.mask.as_deref(), Some("memory:///dump/seg"));
    // along the normal, which points to the patient's right
    let expected: Vec<String> = (0..9).map(|slice| format!("memory:///dump/t2/{slice}")).collect();
    assert_eq!(row.image, Some(expected.join(" ")));

    let row = dump.row(&found, "t2/4");
    assert_eq!(
        (row.sop_class, row.modality),
        (Some("MRImageStorage"), Some("MR"))
    );
    assert_eq!((row.slices, row.spacing_mm), (Some(9), Some(4.0)));
    assert_eq!((row.thickness_mm, row.orientation), (Some(3.5), Some("sagittal")));
    assert_eq!(
        (row.spacing_class, row.deviation_mm),
        (Some("regular"), Some(0.0))
    );
    assert_eq!((row.rows, row.columns, row.frames), (Some(8), Some(8), Some(1)));
}

#[tokio::test]
async fn nothing_that_identifies_is_in_the_table() {
    let mut dump = Dump::default();
    let (_, mr, seg) = t2("MRN-7654321", "1.2.3");
    let mut other = mr[0].clone();
    other
        .text(tags::MODALITY, VR::CS, "DOE")
        .text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\DOE");
    dump.put("7654321", other.file());
    dump.series("MRN-7654321/DOE", &mr).put("JANE", seg.file());
    let whole = mr[1].file();
    dump.put("DOE-cut", whole.slice(..301));
    let found = dump.index().await;
    let told = format!("{:?}", found.objects);
    for name in ["DOE", "JANE", "MRN", "7654321", "1.2.3", "memory:", "SAG"] {
        assert!(!told.contains(name), "{name} is in {told}");
    }
    assert!(!format!("{:?}", found.rows[0].case_id).contains("1.2.3"));
}

#[tokio::test]
async fn a_header_is_read_as_far_as_it_goes_and_no_farther() {
    let (slices, mut mr, _) = t2("p", "1.2.3");
    // pixels are left where they are
    let pixels = vec![0_u8; 1 << 20];
    mr[0].0.put(dicom_core::DataElement::new(
        tags::PIXEL_DATA,
        VR::OW,
        dicom_core::PrimitiveValue::from(pixels),
    ));
    let many = Slices {
        series: 30,
        count: 200,
        step: [-0.2, 0.0, 0.0],
        ..slices.clone()
    };
    let seg = many.seg(Some(&slices.uid()), &LEVELS, true);
    let mut dump = Dump::default();
    dump.put("slice", mr[0].file()).put("seg", seg.file());
    let found = dump.index().await;
    assert_eq!(dump.row(&found, "slice").bytes_read, 16 << 10);
    let row = dump.row(&found, "seg");
    assert!(row.bytes > 64 << 10, "functional groups of 600 frames");
    assert_eq!((row.slices, row.frames), (Some(200), Some(600)));
}

#[tokio::test]
async fn a_beginning_that_ends_between_two_elements_is_not_taken_for_the_whole() {
    let (_, mr, _) = t2("p", "1.2.3");
    let short = mr[1].file();
    let pixels = short.windows(4).position(|tag| tag == [0xe0, 0x7f, 0x10, 0]);
    let header = pixels.expect("pixel data");
    let mut dump = Dump::default();
    // the first beginning ends behind every byte of what stands before the pixels
    for beyond in (0..200).step_by(2) {
        let mut long = mr[1].clone();
        let comment = "x".repeat((16 << 10) - header - 12 + beyond);
        long.text(tags::IMAGE_COMMENTS, VR::UT, &comment);
        dump.put(&format!("{beyond:03}"), long.file());
    }
    let found = dump.index().await;
    assert_eq!(found.reasons(), BTreeMap::from([("duplicate_slices", 100)]));
}

/// The dump that random subsets are of.
fn mixed() -> Vec<Bytes> {
    let (slices, mr, seg) = t2("p", "1.2.3");
    let numbered = Slices { series: 31, ..slices }.seg(None, &LEVELS[..2], true);
    let (of_ct, ct_seg) = ct("p", "4.5.6", &LEVELS);
    let (_, second, second_seg) = t2("p", "7.7.7");
    let cut = mr[0].file();
    let mut files: Vec<Bytes> = [mr, of_ct, second].concat().iter().map(Made::file).collect();
    files.extend([seg, numbered, ct_seg, second_seg].iter().map(Made::file));
    files.extend([
        cut.slice(..cut.len() - 1),
        Bytes::from_static(b"text"),
        Bytes::new(),
    ]);
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_object_ends_in_one_place_wherever_it_lies(
        kept in proptest::collection::vec(proptest::bool::weighted(0.8), 41),
        shuffled in Just((0..41_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let files = mixed();
        let kept: Vec<usize> = (0..files.len()).filter(|index| kept.get(*index) != Some(&false)).collect();
        let (mut one, mut two) = (Dump::default(), Dump::default());
        for index in &kept {
            one.put(&format!("a/{index:03}"), files[*index].clone());
            let place = shuffled.get(*index).copied().unwrap_or(*index);
            two.put(&format!("{}/IM{place:04}", place % 3), files[*index].clone());
        }
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let (one, two) = (runtime.block_on(one.index()), runtime.block_on(two.index()));
        for found in [&one, &two] {
            prop_assert_eq!(found.objects.len(), kept.len());
            let outcomes = ["used", "not_used", "unreadable"].map(|outcome| found.count(outcome));
            prop_assert_eq!(outcomes.iter().sum::<usize>(), kept.len());
            prop_assert!(!found.reasons().contains_key("no_fate"));
            let (used, with_reason) = (found.count("used"), found.reasons().values().sum::<usize>());
            prop_assert_eq!(used + with_reason, kept.len());
        }
        let without_urls = |found: &Indexed| -> Vec<_> {
            let rows = found.rows.iter();
            rows.map(|row| {
                let slices = row.image.as_ref().map(|image| image.split(' ').count());
                (row.case_id.clone(), row.person.clone(), row.labels.clone(), row.reference.is_some(), slices)
            })
            .collect()
        };
        prop_assert_eq!(without_urls(&one), without_urls(&two));
        prop_assert_eq!(one.reasons(), two.reasons());
    }
}

#[tokio::test]
async fn real_objects_end_in_one_place_each() {
    let Some(shared) = crate::crop::testing::shared() else {
        return;
    };
    for folder in ["data/dicom", "data/totalsegmentator-tests/example_ct_dicom"] {
        let url = url::Url::from_directory_path(shared.join(folder)).expect("a folder");
        let stores = Stores::default();
        let place = stores.place(&ObjectUrl::new(url)).expect("place");
        let found = dumps::index_of(&place, &Dump::default()).await;
        assert_eq!(found.objects.len(), place.list().await.expect("list").len());
        assert!(!found.reasons().contains_key("no_fate"));
        assert!(!found.reasons().contains_key("panic"));
        let told: BTreeMap<_, _> = found.reasons();
        eprintln!("{folder}: {} used, {told:?}", found.count("used"));
    }
}

/// What is read while objects change under us, or the store says no.
#[tokio::test]
async fn an_object_that_is_gone_is_a_row() {
    let dump = Dump::default();
    let place = dump.place();
    let gone = ObjectMeta {
        location: place.path.clone().join("gone"),
        last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
        size: 7,
        e_tag: None,
        version: None,
    };
    let objects = vec![("memory:///dump/gone".to_owned(), gone)];
    let looked = look_at(&place, objects, 4.try_into().expect("four"), &Progress::default()).await;
    let found = dump.of(&looked);
    assert_eq!(found.reasons(), BTreeMap::from([("object_not_found", 1)]));
    assert_eq!(found.count("unreadable"), 1);
}
