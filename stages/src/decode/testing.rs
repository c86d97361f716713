//! What the decoder's tests share: small NIfTI files of every kind, made here byte by byte.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

/// A NIfTI file to be: an identity-like volume of 2 × 3 × 4 voxels unless told otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) version: u8,
    pub(crate) big_endian: bool,
    pub(crate) single_file: bool,
    pub(crate) dim: Vec<i64>,
    pub(crate) datatype: i16,
    pub(crate) pixdim: [f64; 4],
    pub(crate) offset: f64,
    pub(crate) scaling: (f64, f64),
    pub(crate) qform_code: i16,
    pub(crate) sform_code: i16,
    pub(crate) quatern: [f64; 3],
    pub(crate) qoffset: [f64; 3],
    pub(crate) srow: [[f64; 4]; 3],
    /// Stored voxels, each already in the sample's byte order.
    pub(crate) voxels: Vec<u8>,
}

impl Sample {
    /// Returns a sample of NIfTI-1 or NIfTI-2 with the 24 bytes 0 to 23 as voxels.
    pub(crate) fn new(version: u8) -> Self {
        Self {
            version,
            big_endian: false,
            single_file: true,
            dim: vec![3, 2, 3, 4],
            datatype: 2,
            pixdim: [1.0, 1.0, 1.0, 3.0],
            offset: if version == 1 { 352.0 } else { 544.0 },
            scaling: (1.0, 0.0),
            qform_code: 0,
            sform_code: 1,
            quatern: [0.0; 3],
            qoffset: [0.0; 3],
            srow: [[1.0, 0.0, 0.0, -5.0], [0.0, 1.0, 0.0, 6.0], [0.0, 0.0, 3.0, 7.5]],
            voxels: (0..24).collect(),
        }
    }

    /// Returns the header, four bytes of extension flag included.
    pub(crate) fn header(&self) -> Vec<u8> {
        let length = if self.version == 1 { 352 } else { 544 };
        let mut writer = Writer {
            bytes: vec![0; length],
            big: self.big_endian,
        };
        let mark = if self.single_file { b'+' } else { b'i' };
        let magic = [b'n', mark, b'0' + self.version, 0];
        if self.version == 1 {
            writer.put(0, 348_i32.to_be_bytes());
            for (index, count) in self.dim.iter().enumerate() {
                writer.put(40 + 2 * index, (*count as i16).to_be_bytes());
            }
            writer.put(70, self.datatype.to_be_bytes());
            for (index, size) in self.pixdim.iter().enumerate() {
                writer.put(76 + 4 * index, (*size as f32).to_be_bytes());
            }
            writer.put(108, (self.offset as f32).to_be_bytes());
            writer.put(112, (self.scaling.0 as f32).to_be_bytes());
            writer.put(116, (self.scaling.1 as f32).to_be_bytes());
            writer.put(252, self.qform_code.to_be_bytes());
            writer.put(254, self.sform_code.to_be_bytes());
            let floats = self
                .quatern
                .iter()
                .chain(&self.qoffset)
                .chain(self.srow.iter().flatten());
            for (index, value) in floats.enumerate() {
                writer.put(256 + 4 * index, (*value as f32).to_be_bytes());
            }
            writer.bytes[344..348].copy_from_slice(&magic);
        } else {
            writer.put(0, 540_i32.to_be_bytes());
            writer.bytes[4..8].copy_from_slice(&magic);
            writer.bytes[8..12].copy_from_slice(b"\r\n\x1a\n");
            writer.put(12, self.datatype.to_be_bytes());
            for (index, count) in self.dim.iter().enumerate() {
                writer.put(16 + 8 * index, count.to_be_bytes());
            }
            for (index, size) in self.pixdim.iter().enumerate() {
                writer.put(104 + 8 * index, size.to_be_bytes());
            }
            writer.put(168, (self.offset as i64).to_be_bytes());
            writer.put(176, self.scaling.0.to_be_bytes());
            writer.put(184, self.scaling.1.to_be_bytes());
            writer.put(344, i32::from(self.qform_code).to_be_bytes());
            writer.put(348, i32::from(self.sform_code).to_be_bytes());
            let floats = self
                .quatern
                .iter()
                .chain(&self.qoffset)
                .chain(self.srow.iter().flatten());
            for (index, value) in floats.enumerate() {
                writer.put(352 + 8 * index, value.to_be_bytes());
            }
        }
        writer.bytes
    }

    /// Returns the whole single file, with padding up to the offset.
    pub(crate) fn file(&self) -> Vec<u8> {
        let mut bytes = self.header();
        let offset = (self.offset.clamp(0.0, 4096.0) as usize).max(bytes.len());
        bytes.resize(offset, 0);
        bytes.extend(&self.voxels);
        bytes
    }
}

/// Header bytes with their order.
struct Writer {
    bytes: Vec<u8>,
    big: bool,
}

impl Writer {
    /// Puts a number, given big-endian, at a byte position.
    fn put<const N: usize>(&mut self, position: usize, mut number: [u8; N]) {
        if !self.big {
            number.reverse();
        }
        self.bytes[position..position + N].copy_from_slice(&number);
    }
}

/// Returns `bytes` as one gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// Returns the folder of shared data and goldens, or says that the test is skipped.
pub(crate) fn shared() -> Option<std::path::PathBuf> {
    let shared = std::env::var_os("SPINESTREAM_SHARED");
    if shared.is_none() {
        eprintln!("skipped: SPINESTREAM_SHARED is not set");
    }
    shared.map(Into::into)
}

/// A small generator of numbers (SplitMix64): the same sequence for the same seed.
pub(crate) struct Random(pub(super) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns an index below `count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }
}

/// What is seen in a NIfTI file; one of another format is none.
pub(crate) fn inspect(
    bytes: &[u8],
    pair: Option<&[u8]>,
    scheme: Option<&schemas::LabelScheme>,
    conf: &super::DecodeConf,
) -> Result<super::Inspection, schemas::Fault> {
    match super::inspect(&bytes::Bytes::copy_from_slice(bytes), pair, scheme, conf)? {
        super::Inspected::Nifti(seen) => Ok(*seen),
        super::Inspected::Dicom(_) => Err(schemas::Fault::unreadable(
            "not_nifti",
            "expected NIfTI, found DICOM",
        )),
    }
}
