//! NIfTI-1 and NIfTI-2, single file and pair, plain and gzip, as nibabel reads them.
//!
//! The `nifti` crate parses NIfTI-1 headers, names the datatypes and turns bytes of either order into
//! numbers. What it lacks stands here: NIfTI-2, gzip of many members, hostile headers, affines by nibabel's
//! rules, and writing to bytes.

mod affine;
mod fields;
mod header;
mod voxels;
mod write;

use schemas::Fault;

use super::source::{self, Source};

pub use affine::AffineSource;
pub(super) use header::times;
pub use header::{Header, Scaling};
pub use voxels::{Voxel, Voxels};
pub use write::{MaskVoxel, write_label_map, write_mask};

pub(super) use voxels::{each, each_chunk, no_number, of_type};

/// A file that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct NiftiFile {
    /// What its header says.
    pub header: Header,
    /// Its voxels as stored, before scaling, first axis fastest.
    pub voxels: Voxels,
}

/// Reads a NIfTI file: `bytes` is a single file or the header of a pair, `pair` the image of a pair.
///
/// The header is judged first: nothing is allocated for voxels that exceed `max_bytes` or that `bytes` cannot
/// hold.
///
/// # Errors
/// `Unreadable` for broken bytes, `Unsuitable` for sound data that is not for us, `Missing` for half a pair,
/// `Exhausted` if memory gives out all the same.
pub fn read(bytes: &[u8], pair: Option<&[u8]>, max_bytes: u64) -> Result<NiftiFile, Fault> {
    let header = Header::read(bytes)?;
    let mut source = open_voxels(&header, bytes, pair, max_bytes)?;
    let voxels = Voxels::read(&mut source, &header)?;
    source.check_end()?;
    Ok(NiftiFile { header, voxels })
}

/// Returns where the voxels begin that `header`, the header of `bytes`, announces; see [`read`].
pub(super) fn open_voxels<'a>(
    header: &Header,
    bytes: &'a [u8],
    pair: Option<&'a [u8]>,
    max_bytes: u64,
) -> Result<Source<'a>, Fault> {
    let image = match pair {
        _ if header.single_file => bytes,
        Some(pair) => pair,
        None => {
            let message = "expected the image beside the header of a .hdr/.img pair, found no second object";
            return Err(Fault::missing("missing_pair", message));
        }
    };
    let end = header.offset.saturating_add(header.voxel_bytes());
    if end > max_bytes {
        let message =
            format!("expected at most {max_bytes} bytes up to the last voxel, the header announces {end}");
        return Err(Fault::unsuitable("too_large", message));
    }
    let most = source::most_bytes(image);
    if end > most {
        let message = format!("expected {end} bytes up to the last voxel, found at most {most}");
        return Err(Fault::unreadable("truncated", message));
    }

    let mut source = Source::open(image);
    source.skip(header.offset)?;
    Ok(source)
}

#[cfg(test)]
mod tests {
    use schemas::FaultKind;

    use super::*;
    use crate::decode::testing::{Sample, gzip};

    const MAX: u64 = 1 << 20;

    #[test]
    fn plain_gzip_multi_member_and_pair_give_the_same_voxels() {
        for version in [1, 2] {
            let sample = Sample::new(version);
            let bytes = sample.file();
            let whole = read(&bytes, None, MAX).expect("plain");
            assert_eq!(whole.voxels, Voxels::U8((0..24).collect()));
            assert_eq!(read(&gzip(&bytes), None, MAX), Ok(whole.clone()));
            for cut in [3, 360, bytes.len() - 1] {
                let (first, second) = bytes.split_at(cut);
                let members = [gzip(first), gzip(second)].concat();
                assert_eq!(read(&members, None, MAX), Ok(whole.clone()), "cut at {cut}");
            }

            let mut pair = sample.clone();
            (pair.single_file, pair.offset) = (false, 0.0);
            let (header, image) = (pair.header(), pair.voxels.clone());
            for (header, image) in [
                (header.clone(), image.clone()),
                (gzip(&header), image.clone()),
                (header, gzip(&image)),
            ] {
                assert_eq!(
                    read(&header, Some(&image), MAX).expect("pair").voxels,
                    whole.voxels
                );
                let fault = read(&header, None, MAX).expect_err("half a pair");
                assert_eq!((fault.kind, fault.reason), (FaultKind::Missing, "missing_pair"));
            }
        }
    }

    #[test]
    fn every_type_keeps_its_extremes_in_either_byte_order() {
        macro_rules! check {
            ($code:literal, $variant:ident, $values:expr) => {
                let values = $values;
                for big_endian in [false, true] {
                    for version in [1, 2] {
                        let mut sample = Sample::new(version);
                        (sample.big_endian, sample.datatype) = (big_endian, $code);
                        sample.dim = vec![3, values.len() as i64, 1, 1];
                        let bytes = |value: &_| {
                            if big_endian {
                                to_be(*value)
                            } else {
                                to_le(*value)
                            }
                        };
                        sample.voxels = values.iter().flat_map(bytes).collect();
                        let file = read(&sample.file(), None, MAX).expect("sound");
                        assert_eq!(file.voxels, Voxels::$variant(values.to_vec()));
                    }
                }
            };
        }
        macro_rules! check_all {
            ($($code:literal $variant:ident $number:ident),*) => {$({
                fn to_be(value: $number) -> Vec<u8> { value.to_be_bytes().to_vec() }
                fn to_le(value: $number) -> Vec<u8> { value.to_le_bytes().to_vec() }
                check!($code, $variant, [$number::MIN, $number::MAX, 1 as $number, 0 as $number]);
            })*};
        }
        check_all!(2 U8 u8, 256 I8 i8, 512 U16 u16, 4 I16 i16, 768 U32 u32, 8 I32 i32);
        check_all!(1280 U64 u64, 1024 I64 i64);
        check_all!(16 F32 f32, 64 F64 f64);
    }

    #[test]
    fn extensions_before_and_bytes_behind_the_voxels_are_passed_over() {
        let mut sample = Sample::new(1);
        sample.offset = 384.0;
        let mut bytes = sample.file();
        bytes[348] = 1;
        bytes[352..356].copy_from_slice(&32_i32.to_le_bytes());
        bytes.extend(b"trailing");
        for bytes in [bytes.clone(), gzip(&bytes), [gzip(&bytes), vec![0; 100]].concat()] {
            assert_eq!(
                read(&bytes, None, MAX).expect("sound").voxels,
                Voxels::U8((0..24).collect())
            );
        }
    }

    #[test]
    fn what_the_header_announces_is_judged_before_it_is_read() {
        let mut sample = Sample::new(1);
        sample.dim = vec![3, 32000, 32000, 32000];
        let fault = read(&gzip(&sample.file()), None, MAX).expect_err("32 TB");
        assert_eq!((fault.kind, fault.reason), (FaultKind::Unsuitable, "too_large"));
        // within the limit, but not in bytes that unpack to at most 1032 times their length
        let fault = read(&gzip(&sample.file()), None, u64::MAX).expect_err("32 TB");
        assert_eq!((fault.kind, fault.reason), (FaultKind::Unreadable, "truncated"));
        // an offset is bytes to unpack as well
        let mut sample = Sample::new(2);
        sample.offset = 1e15;
        assert_eq!(
            read(&sample.file(), None, MAX).expect_err("offset").reason,
            "too_large"
        );
    }
}
