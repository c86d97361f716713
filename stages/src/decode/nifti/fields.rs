//! The fields of a header as they stand in the file, of either version and byte order.

use ::nifti::{DataElement, Endianness, NiftiHeader};
use schemas::Fault;

use crate::decode::format::Version;

/// The fields that matter, in the types of NIfTI-2, which hold those of NIfTI-1 exactly.
pub(super) struct Fields {
    pub(super) version: Version,
    pub(super) endianness: Endianness,
    pub(super) magic: [u8; 4],
    pub(super) dim: [i64; 8],
    pub(super) datatype: i16,
    pub(super) pixdim: [f64; 8],
    pub(super) vox_offset: f64,
    pub(super) scl_slope: f64,
    pub(super) scl_inter: f64,
    pub(super) qform_code: i32,
    pub(super) sform_code: i32,
    /// b, c, d.
    pub(super) quatern: [f64; 3],
    pub(super) qoffset: [f64; 3],
    pub(super) srow: [[f64; 4]; 3],
}

impl Fields {
    /// Parses 348 bytes of NIfTI-1; the byte order is the one in which `dim[0]` is at most 7.
    pub(super) fn nifti1(head: &[u8]) -> Result<Self, Fault> {
        let header = NiftiHeader::from_reader(head)
            .map_err(|_| Fault::unreadable("bad_header", "expected a NIfTI-1 header, found a damaged one"))?;
        Ok(Self {
            version: Version::One,
            endianness: header.endianness,
            magic: header.magic,
            // the crate reads `dim` unsigned; the format has it signed
            dim: header.dim.map(|count| i64::from(count.cast_signed())),
            datatype: header.datatype,
            pixdim: header.pixdim.map(f64::from),
            vox_offset: f64::from(header.vox_offset),
            scl_slope: f64::from(header.scl_slope),
            scl_inter: f64::from(header.scl_inter),
            qform_code: i32::from(header.qform_code),
            sform_code: i32::from(header.sform_code),
            quatern: [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from),
            qoffset: [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from),
            srow: [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from)),
        })
    }

    /// Parses 540 bytes of NIfTI-2; byte positions from the official `nifti2.h`.
    pub(super) fn nifti2(head: &[u8]) -> Result<Self, Fault> {
        let endianness = if head.starts_with(&540_u32.to_le_bytes()) {
            Endianness::Little
        } else {
            Endianness::Big
        };
        let head = Bytes { head, endianness };
        // written there so that a transfer in text mode shows; early writers left zeros
        let line_ends: [u8; 4] = head.array(8)?;
        if line_ends != *b"\r\n\x1a\n" && line_ends != [0; 4] {
            let message = "expected the bytes 13, 10, 26, 10 behind the magic, found others: sent as text?";
            return Err(Fault::unreadable("bad_header", message));
        }
        Ok(Self {
            version: Version::Two,
            endianness,
            magic: head.array(4)?,
            datatype: head.at(12)?,
            dim: head.array(16)?,
            pixdim: head.array(104)?,
            // exact up to 2⁵³, far beyond any file
            vox_offset: head.at::<i64>(168)? as f64,
            scl_slope: head.at(176)?,
            scl_inter: head.at(184)?,
            qform_code: head.at(344)?,
            sform_code: head.at(348)?,
            quatern: head.array(352)?,
            qoffset: head.array(376)?,
            srow: [head.array(400)?, head.array(432)?, head.array(464)?],
        })
    }
}

/// Header bytes with their order.
struct Bytes<'a> {
    head: &'a [u8],
    endianness: Endianness,
}

impl Bytes<'_> {
    /// Returns the number at byte `position`.
    fn at<T: DataElement>(&self, position: usize) -> Result<T, Fault> {
        let rest = self.head.get(position..).unwrap_or_default();
        T::from_raw(rest, self.endianness)
            .map_err(|_| Fault::unreadable("truncated", "expected a header of 540 bytes, found fewer"))
    }

    /// Returns the `N` numbers from byte `position` on.
    fn array<T: DataElement + Default, const N: usize>(&self, position: usize) -> Result<[T; N], Fault> {
        let mut values = [T::default(); N];
        for (index, value) in values.iter_mut().enumerate() {
            *value = self.at(position + index * size_of::<T>())?;
        }
        Ok(values)
    }
}
