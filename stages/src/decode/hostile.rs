//! Bytes that mean us no good: each ends in a volume or a fault, never in a panic, and never past the limit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use schemas::FaultKind;

use super::testing::{Random, Sample, gzip, shared};
use super::{DecodeConf, Inspected, bytes_to_decode, inspect, label_map, nifti};

const MAX: u64 = 1 << 20;

/// Does everything that the decoder does with bytes, and checks that nothing beyond the limit came of it.
fn try_everything(bytes: &[u8], pair: Option<&[u8]>, max_bytes: u64) -> Result<(), schemas::Fault> {
    let conf = DecodeConf { max_bytes };
    let seen = inspect(&Bytes::copy_from_slice(bytes), pair, None, &conf);
    let map = label_map(bytes, pair, max_bytes);
    if let Ok(seen) = &seen {
        assert!(!seen.to_string().is_empty());
        if let Inspected::Nifti(seen) = seen {
            assert!(seen.shape.iter().product::<usize>() as u64 <= max_bytes);
        }
    }
    if let Ok(map) = &map {
        assert!(2 * map.data.len() as u64 <= max_bytes);
        assert!(map.affine.inverse().is_some());
        let refused = match seen.as_ref().expect("what is a mask can be inspected") {
            Inspected::Nifti(seen) => &seen.refused_as_mask,
            Inspected::Dicom(seen) => &seen.refused_as_mask,
        };
        assert_eq!(*refused, None);
    }
    for fault in [seen.err(), map.as_ref().err().cloned()].into_iter().flatten() {
        assert!(
            !matches!(fault.kind, FaultKind::Bug | FaultKind::Unavailable),
            "{fault}"
        );
    }
    map.map(|_| ())
}

fn small_files() -> Vec<(&'static str, Vec<u8>)> {
    let (first, second) = (Sample::new(1).file(), Sample::new(2).file());
    let (front, back) = second.split_at(500);
    vec![
        ("NIfTI-1", first.clone()),
        ("NIfTI-1, gzip", gzip(&first)),
        ("NIfTI-2", second.clone()),
        ("NIfTI-2, two gzip members", [gzip(front), gzip(back)].concat()),
    ]
}

#[test]
fn a_file_cut_anywhere_is_unreadable() {
    for (name, bytes) in small_files() {
        assert_eq!(try_everything(&bytes, None, MAX), Ok(()), "{name}");
        for length in 0..bytes.len() {
            let fault = try_everything(&bytes[..length], None, MAX).expect_err("cut");
            assert_eq!(
                fault.kind,
                FaultKind::Unreadable,
                "{name} cut to {length} bytes: {fault}"
            );
            // with fewer than five bytes nothing says yet what it would have become
            if length > 4 {
                assert_eq!(fault.reason, "truncated", "{name} cut to {length} bytes");
            }
        }
    }
}

#[test]
fn a_pair_cut_anywhere_is_a_fault() {
    let mut sample = Sample::new(1);
    (sample.single_file, sample.offset) = (false, 0.0);
    let (header, image) = (sample.header(), sample.voxels);
    for (header, image) in [(header.clone(), image.clone()), (gzip(&header), gzip(&image))] {
        assert_eq!(try_everything(&header, Some(&image), MAX), Ok(()));
        for length in 0..image.len() {
            assert!(
                try_everything(&header, Some(&image[..length]), MAX).is_err(),
                "image of {length} bytes"
            );
        }
    }
}

#[test]
fn a_header_with_one_wrong_byte_is_read_or_refused() {
    let mut random = Random(3);
    for version in [1, 2] {
        for big_endian in [false, true] {
            let mut sample = Sample::new(version);
            sample.big_endian = big_endian;
            (sample.qform_code, sample.quatern) = (1, [0.1, 0.2, 0.3]);
            let sound = sample.file();
            for position in 0..sound.len() {
                for _ in 0..8 {
                    let mut damaged = sound.clone();
                    damaged[position] = random.next() as u8;
                    let _ = try_everything(&damaged, None, MAX);
                    let _ = try_everything(&gzip(&damaged), Some(&sound), MAX);
                }
            }
        }
    }
}

#[test]
fn a_gzip_stream_with_one_wrong_byte_is_refused_or_gives_the_same_volume() {
    let mut random = Random(4);
    for (_, sound) in small_files()
        .into_iter()
        .filter(|(name, _)| name.contains("gzip"))
    {
        let expected = label_map(&sound, None, MAX);
        for position in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[position] ^= 1 << random.below(8);
            // gzip's own header has bytes that say nothing of the data; elsewhere the checksum tells
            if let Ok(map) = label_map(&damaged, None, MAX) {
                assert_eq!(Ok(map), expected, "byte {position}");
            }
        }
    }
}

#[test]
fn headers_of_noise_are_read_or_refused() {
    let mut random = Random(5);
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..20_000 {
        let version = 1 + round % 2;
        let mut bytes = Sample::new(version as u8).file();
        let end = if version == 1 { 344 } else { 540 };
        // keep the magic; leave most rounds a header that gets past the first checks
        let wrong = 1 + random.below(if round % 3 == 0 { 200 } else { 6 });
        for _ in 0..wrong {
            let position = 12 + random.below(end - 12);
            bytes[position] = random.next() as u8;
        }
        let reason = match try_everything(&bytes, None, MAX) {
            Ok(()) => "read",
            Err(fault) => fault.reason,
        };
        *kinds.entry(reason).or_insert(0) += 1;
    }
    println!("20000 damaged headers: {kinds:?}");
    assert!(kinds.len() > 6, "{kinds:?}");
}

#[test]
fn a_gzip_bomb_is_not_unpacked() {
    let sample = Sample::new(1);
    let bomb = gzip(&[sample.header(), vec![7; 64 << 20]].concat());
    assert_eq!(
        try_everything(&bomb, None, MAX),
        Ok(()),
        "24 voxels are asked for, and 24 are read"
    );
    let mut sample = Sample::new(1);
    sample.dim = vec![3, 512, 512, 256];
    let bomb = gzip(&[sample.header(), vec![7; 64 << 20]].concat());
    let fault = try_everything(&bomb, None, MAX).expect_err("64 MiB of voxels");
    assert_eq!((fault.kind, fault.reason), (FaultKind::Unsuitable, "too_large"));
}

#[test]
fn no_file_of_the_shared_data_makes_the_decoder_panic() {
    let Some(shared) = shared() else { return };
    let mut files = Vec::new();
    list(&shared.join("data"), &mut files);
    files.sort();
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    let pair_header = std::fs::read(shared.join("data/nifti-odd/nifti-rs/minimal.hdr")).expect("header");
    for file in &files {
        let bytes = std::fs::read(file).expect("file");
        let outcome = match try_everything(&bytes, None, 1 << 30) {
            Ok(()) => "label map".to_owned(),
            Err(fault) => format!("{} ({})", fault.kind, fault.reason),
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
        let _ = try_everything(&pair_header, Some(&bytes), MAX);
        assert_eq!(std::fs::read(file).expect("file"), bytes, "no input is changed");
    }
    println!("{} files of shared/data: {outcomes:#?}", files.len());
    assert!(files.len() > 100);
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn a_header_alone_tells_what_its_label_map_will_take() {
    let header = nifti::Header::read(&Sample::new(1).header()).expect("header");
    assert_eq!(header.label_map_bytes(), 2 * 24);
}

#[test]
fn a_header_that_hides_behind_empty_gzip_members_weighs_all_that_there_can_be() {
    let file = Sample::new(1).file();
    let packed = gzip(&file);
    let empty = gzip(b"").repeat(20_000);
    let many = [empty.clone(), packed].concat();
    let (front, back) = file.split_at(3);
    let parted = [gzip(front), empty, gzip(back)].concat();
    for bytes in [many, parted] {
        assert_eq!(try_everything(&bytes, None, MAX), Ok(()));
        let head = &bytes[..256 << 10];
        let weighed = bytes_to_decode(head, head, bytes.len() as u64);
        assert_eq!(weighed, 2 * 1032 * bytes.len() as u64);
    }
}
