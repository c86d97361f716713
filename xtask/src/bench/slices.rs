//! DICOM slices, written byte by byte: the headers that a scanner writes, in as many objects as are wanted.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::store::Copy;

/// Slices of a series.
const SLICES: usize = 20;

/// Series of a study: T2 and T1 in sagittal slices, axial ones, coronal ones.
const SERIES: usize = 4;

/// Rows and columns of a slice.
const EDGE: u16 = 96;

/// Bytes of private elements: what makes headers of scanners as long as they are.
const PRIVATE: usize = 4096;

/// Class, root of our UIDs and transfer syntax.
const MR_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.4";
const ROOT: &str = "1.2.826.0.1.3680043.8.498";
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct Dump {
    /// DICOM objects.
    pub slices: usize,
    /// Studies, each with one mask that is told by its name.
    pub studies: usize,
    /// All bytes.
    pub bytes: u64,
}

/// Writes that many slices into a folder, with a mask's name beside each study's; returns what is to be put where.
///
/// # Errors
/// A file cannot be written.
pub fn write(folder: &Path, slices: usize, seed: u64) -> Result<(Dump, Vec<Copy>)> {
    fs::create_dir_all(folder)?;
    let mask = folder.join("mask.nii.gz");
    // only its name is looked at
    fs::write(&mask, b"mask")?;
    let mut copies = Vec::new();
    let mut dump = Dump {
        slices,
        studies: 0,
        bytes: 0,
    };
    for number in 0..slices {
        let (series, slice) = (number / SLICES, number % SLICES);
        let study = series / SERIES;
        if number % (SLICES * SERIES) == 0 {
            dump.studies += 1;
            copies.push(Copy {
                file: mask.clone(),
                key: format!("dump/{study:06}/vertebrae_L3.nii.gz"),
            });
        }
        let bytes = object(seed, study, series % SERIES, slice);
        dump.bytes += bytes.len() as u64;
        let file = folder.join(format!("{number:07}"));
        fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        let key = format!("dump/{study:06}/DICOM/IM{number:07}");
        copies.push(Copy { file, key });
    }
    Ok((dump, copies))
}

fn object(seed: u64, study: usize, series: usize, slice: usize) -> Vec<u8> {
    let study_uid = format!("{ROOT}.{seed}.{study}");
    let series_uid = format!("{study_uid}.{series}");
    let uid = format!("{series_uid}.{slice}");
    let across = 4.4 * slice as f64;
    let (directions, position) = match series {
        2 => ("1\\0\\0\\0\\1\\0", format!("-150\\-150\\{across:.3}")),
        3 => ("1\\0\\0\\0\\0\\-1", format!("-150\\{across:.3}\\150")),
        _ => ("0\\1\\0\\0\\0\\-1", format!("{across:.3}\\-150\\150")),
    };
    let (echo, repetition) = if series == 1 {
        ("11", "560")
    } else {
        ("102", "3200")
    };

    let mut meta = Elements::default();
    meta.bytes(0x0002, 0x0001, b"OB", &[0, 1]);
    meta.text(0x0002, 0x0002, b"UI", MR_IMAGE);
    meta.text(0x0002, 0x0003, b"UI", &uid);
    meta.text(0x0002, 0x0010, b"UI", EXPLICIT_LITTLE_ENDIAN);
    meta.text(0x0002, 0x0012, b"UI", ROOT);
    let mut all = Elements(vec![0; 128]);
    all.0.extend_from_slice(b"DICM");
    let length = u32::try_from(meta.0.len()).unwrap_or_default();
    all.short(0x0002, 0x0000, b"UL", &length.to_le_bytes());
    all.0.extend(meta.0);

    all.text(0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\M\\NORM");
    all.text(0x0008, 0x0016, b"UI", MR_IMAGE);
    all.text(0x0008, 0x0018, b"UI", &uid);
    all.text(0x0008, 0x0020, b"DA", "20240313");
    all.text(0x0008, 0x0060, b"CS", "MR");
    all.text(0x0008, 0x0070, b"LO", "Seeded Scanners");
    all.text(0x0008, 0x103e, b"LO", "a series");
    all.text(0x0010, 0x0010, b"PN", "DOE^JANE");
    all.text(0x0010, 0x0020, b"LO", &format!("MRN-{study:07}"));
    all.text(0x0018, 0x0020, b"CS", "SE");
    all.text(0x0018, 0x0050, b"DS", "4");
    all.text(0x0018, 0x0080, b"DS", repetition);
    all.text(0x0018, 0x0081, b"DS", echo);
    all.text(0x0019, 0x0010, b"LO", "SEEDED SCANNERS");
    let mut private = String::new();
    while private.len() < PRIVATE {
        let _ = write!(private, "{}\\", slice + private.len());
    }
    all.bytes(0x0019, 0x1001, b"UN", private.as_bytes());
    all.text(0x0020, 0x000d, b"UI", &study_uid);
    all.text(0x0020, 0x000e, b"UI", &series_uid);
    all.text(0x0020, 0x0013, b"IS", &(SLICES - slice).to_string());
    all.text(0x0020, 0x0032, b"DS", &position);
    all.text(0x0020, 0x0037, b"DS", directions);
    all.text(0x0020, 0x0052, b"UI", &format!("{study_uid}.99"));
    all.word(0x0028, 0x0002, 1);
    all.text(0x0028, 0x0004, b"CS", "MONOCHROME2");
    all.word(0x0028, 0x0010, EDGE);
    all.word(0x0028, 0x0011, EDGE);
    all.text(0x0028, 0x0030, b"DS", "3.125\\3.125");
    for (element, value) in [(0x0100, 16), (0x0101, 12), (0x0102, 11), (0x0103, 0)] {
        all.word(0x0028, element, value);
    }
    let pixels = vec![0x5a; usize::from(EDGE) * usize::from(EDGE) * 2];
    all.bytes(0x7fe0, 0x0010, b"OW", &pixels);
    all.0
}

/// Elements in explicit VR little endian (PS3.5 section 7.1.2).
#[derive(Default)]
struct Elements(Vec<u8>);

impl Elements {
    fn tag(&mut self, group: u16, element: u16, vr: &[u8; 2]) {
        self.0.extend(group.to_le_bytes());
        self.0.extend(element.to_le_bytes());
        self.0.extend(vr);
    }

    /// A value of a VR with two bytes of length.
    fn short(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) {
        self.tag(group, element, vr);
        let length = u16::try_from(value.len()).expect("our texts are short");
        self.0.extend(length.to_le_bytes());
        self.0.extend(value);
    }

    /// A value of a VR with four.
    fn bytes(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) {
        self.tag(group, element, vr);
        let padding = value.len() % 2;
        let length = u32::try_from(value.len() + padding).expect("our slices are small");
        self.0.extend([0, 0]);
        self.0.extend(length.to_le_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len() + padding, 0);
    }

    fn text(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &str) {
        let mut padded = value.as_bytes().to_vec();
        if padded.len() % 2 == 1 {
            padded.push(if vr == b"UI" { 0 } else { b' ' });
        }
        self.short(group, element, vr, &padded);
    }

    fn word(&mut self, group: u16, element: u16, value: u16) {
        self.short(group, element, b"US", &value.to_le_bytes());
    }
}
