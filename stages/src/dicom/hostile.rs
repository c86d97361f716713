//! Damage to real objects: never a panic, never a name in a message, and what is accepted though it is another volume is
//! counted.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use dicom_dictionary_std::tags;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::golden::shared;
use super::inspect::DicomInspection;
use super::object::{Head, Object};
use super::plane::Groups;
use super::series;
use super::stack::StackConf;
use crate::fuzz::{harmed, harms};

const MAX: u64 = 64 << 20;

/// What a reading comes to: geometry and pixels, or a refusal.
fn seen(bytes: &Bytes) -> Result<(String, String), &'static str> {
    let object = Object::read(bytes, MAX).map_err(|fault| fault.reason)?;
    let inspection = DicomInspection::of(&object, None, MAX);
    let pixels = inspection.pixels.as_ref().ok_or("pixels")?;
    let values = format!("{:?} {}", pixels.array_shape, pixels.sha256_i32le);
    // without the counts of voxels, which are values
    let segments = inspection
        .seg
        .as_ref()
        .map(|seg| (seg.kind, &seg.segments, &seg.frame_segment_number));
    let geometry = format!(
        "{:?} {:?} {:?} {segments:?}",
        inspection.affine_ras_ij, inspection.stack, inspection.dense_grid
    );
    // what the run would make of it
    let _ = series::volume(std::slice::from_ref(&object), &StackConf::default(), MAX);
    Ok((geometry, values))
}

#[test]
fn ten_thousand_mutations_of_real_objects_cause_no_panic() {
    let Some(shared) = shared() else { return };
    let golden = super::golden::golden(&shared);
    let mut samples = Vec::new();
    for row in golden["files"]
        .as_array()
        .expect("files")
        .iter()
        .filter(|row| super::golden::is_dicom(row))
    {
        let bytes =
            std::fs::read(shared.join("data").join(row["path"].as_str().expect("path"))).expect("file");
        if bytes.len() < 45_000 {
            samples.push(Bytes::from(bytes));
        }
    }
    let sound: Vec<_> = samples.iter().map(seen).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for number in 0..10_000 {
        let index = number % samples.len();
        let harms = harms().new_tree(&mut runner).expect("harms").current();
        let bytes = Bytes::from(harmed(&samples[index], &harms));
        let found = catch_unwind(AssertUnwindSafe(|| {
            let _ = Head::read(&bytes.slice(..bytes.len().min(4096)), bytes.len() as u64);
            seen(&bytes)
        }));
        let found = found.unwrap_or_else(|_| panic!("a panic on sample {index} with {harms:?}"));
        let verdict = match (&sound[index], &found) {
            (_, Err(_)) => "refused",
            (Ok(sound), Ok(found)) if sound == found => "accepted, the same volume",
            (Ok((geometry, _)), Ok((found, _))) if geometry == found => {
                "accepted, other values: DICOM has no checksum over pixels"
            }
            (Ok((_, values)), Ok((_, found))) if values == found => {
                "accepted, another geometry or coding: a header's number is another sound one"
            }
            (Ok(_), Ok(_)) => "accepted, other values and another geometry: harm to both",
            (Err(_), Ok(_)) => "accepted, of a sample that is refused as it stands",
        };
        *counts.entry(verdict).or_insert(0) += 1;
    }
    for (verdict, count) in &counts {
        println!("{count:>6} {verdict}");
    }
    assert_eq!(counts.values().sum::<usize>(), 10_000);
}

/// Returns an element in explicit VR little endian.
fn element(group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = [group.to_le_bytes(), element.to_le_bytes(), *vr].concat();
    if matches!(vr, b"UN" | b"OW" | b"OB") {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend_from_slice(value);
    bytes
}

/// Returns an object in explicit VR little endian whose data set is these bytes.
fn object(data_set: &[u8]) -> Bytes {
    let syntax = b"1.2.840.10008.1.2.1\0";
    let meta = [
        element(2, 2, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0"),
        element(2, 3, b"UI", b"2.25.1"),
        element(2, 0x10, b"UI", syntax),
        element(2, 0x12, b"UI", b"2.25.2"),
    ]
    .concat();
    let length = element(2, 0, b"UL", &(meta.len() as u32).to_le_bytes());
    [vec![0; 128], b"DICM".to_vec(), length, meta, data_set.to_vec()]
        .concat()
        .into()
}

#[test]
fn sequences_nested_without_end_cost_a_fault_and_not_the_process() {
    let sequence = [0x08, 0x00, 0x40, 0x11, b'S', b'Q', 0, 0, 0xff, 0xff, 0xff, 0xff];
    let item = [0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0xff, 0xff];
    let nested: Vec<u8> = [sequence.as_slice(), &item].concat().repeat(200_000);
    let bytes = object(&nested);
    assert_eq!(
        Object::read(&bytes, MAX).expect_err("nested").reason,
        "too_nested"
    );
    assert_eq!(
        Head::read(&bytes, bytes.len() as u64).expect_err("nested").reason,
        "too_nested"
    );
}

#[test]
fn lengths_that_lie_take_no_memory() {
    // a value of 4 GiB less two bytes in an object of a few
    let lying = [
        0x10, 0x00, 0x10, 0x40, b'U', b'T', 0, 0, 0xfe, 0xff, 0xff, 0xff, b'D', b'O', b'E',
    ];
    let fault = Object::read(&object(&lying), MAX).expect_err("a lie");
    assert_eq!(fault.reason, "truncated", "{fault}");
    assert!(!fault.message.contains("DOE"));
    let bytes = object(&lying);
    assert!(!Head::read(&bytes, 1 << 20).expect("a beginning").is_whole);
}

#[test]
fn a_data_set_cut_within_a_tag_is_cut_and_one_cut_between_elements_is_whole() {
    let element = [0x08, 0x00, 0x60, 0x00, b'C', b'S', 2, 0, b'M', b'R'];
    let whole = object(&element);
    assert!(Object::read(&whole, MAX).is_ok());
    for part in 1..element.len() {
        let cut = object(&[element.as_slice(), &element[..part]].concat());
        assert_eq!(
            Object::read(&cut, MAX).expect_err("cut").reason,
            "truncated",
            "{part} bytes"
        );
    }
}

#[test]
fn a_number_of_frames_that_lies_costs_no_memory() {
    let us = |element_number: u16, value: u16| element(0x28, element_number, b"US", &value.to_le_bytes());
    let slice = [
        element(0x20, 0x32, b"DS", b"0\\0\\0 "),
        element(0x20, 0x37, b"DS", b"1\\0\\0\\0\\1\\0 "),
        us(2, 1),
        element(0x28, 8, b"IS", b"2147483647"),
        us(0x10, 2),
        us(0x11, 2),
        element(0x28, 0x30, b"DS", b"1\\1 "),
        us(0x100, 16),
        us(0x101, 16),
        us(0x102, 15),
        us(0x103, 0),
        element(0x7fe0, 0x10, b"OW", &[0; 8]),
    ];
    let read = Object::read(&object(&slice.concat()), MAX).expect("an object");
    let seen = DicomInspection::of(&read, None, MAX);
    assert_eq!(seen.pixels_refused.expect("refused").reason, "truncated");
    assert!(series::volume(&[read], &StackConf::default(), MAX).is_err());
}

#[test]
fn numbers_in_elements_that_a_writer_did_not_know_are_read_as_the_standard_has_them() {
    let unknown = [
        element(0x28, 8, b"UN", b"20"),
        element(0x28, 0x1052, b"UN", b"-1024 "),
        element(0x28, 0x1053, b"UN", b"1 "),
    ];
    let read = Object::read(&object(&unknown.concat()), MAX).expect("an object");
    assert_eq!(read.header.whole(tags::NUMBER_OF_FRAMES), Some(20));
    assert_eq!(Groups::of(&read.header, 0).rescale(), Ok((1.0, -1024.0)));

    // one without the other would shift every value
    let read = Object::read(&object(&unknown[1]), MAX).expect("an object");
    assert_eq!(
        Groups::of(&read.header, 0)
            .rescale()
            .expect_err("no slope")
            .reason,
        "bad_rescale"
    );
}
