//! Writes a mask, a label map or shares as NIfTI-1 to bytes: the `nifti` crate's writer knows only paths.

use std::io::{self, Write as _};

use ::nifti::{DataElement, NiftiHeader, NiftiType, Unit, XForm};
use flate2::{Compression, GzBuilder};
use ndarray::{ArrayView1, ArrayView3, Axis, Zip};
use schemas::{Affine, Fault, LabelMap};

use super::header::Header;

/// Header, and the four bytes that say "no extension".
const VOX_OFFSET: u16 = 352;

/// Farthest that the qform may put a corner of the volume from where the sform has it. A quaternion holds no
/// shear, and close to half a turn its three f32 say little of the fourth part: a qform that is off is worse
/// than none.
const FORMS_APART_MOST_MM: f64 = 0.05;

/// Slices that are put into the file's order together: of a mask whose last axis runs fastest, each touch of memory brings
/// the voxels of this many slices.
const SLICES: usize = 32;

/// What is written: `u8` for the mask of one vertebra, `u16` for a label map, `f32` for shares of samples.
pub trait MaskVoxel: DataElement {
    /// The value, little-endian.
    type Bytes: AsRef<[u8]>;

    /// Returns the value, little-endian.
    fn bytes(self) -> Self::Bytes;
}

macro_rules! mask_voxel {
    ($($number:ty),*) => {$(
        impl MaskVoxel for $number {
            type Bytes = [u8; size_of::<$number>()];

            fn bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }
        }
    )*};
}
mask_voxel!(u8, u16, f32);

/// Returns a gzip-packed single NIfTI-1 file (`.nii.gz`), the same bytes for the same mask.
///
/// The affine is written as sform and, where a quaternion can hold it, as qform, both with code 2 ("aligned":
/// the world of the volume that the mask was made from), in f32 as the format wants. No free text is written.
///
/// # Errors
/// An axis without voxels or longer than the format can say, or a singular affine.
pub fn write_mask<T: MaskVoxel>(mask: ArrayView3<'_, T>, affine: &Affine) -> Result<Vec<u8>, Fault> {
    let header = header(mask.dim(), affine, T::DATA_TYPE)?;
    packed(&header, mask, T::bytes)
}

/// Returns a label map as [`write_mask`] does, in the smaller type if that holds every label.
///
/// # Errors
/// See [`write_mask`].
pub fn write_label_map(map: &LabelMap) -> Result<Vec<u8>, Fault> {
    let bits_in_use = map.data.fold(0, |any, label| any | label);
    if bits_in_use <= u16::from(u8::MAX) {
        let header = header(map.data.dim(), &map.affine, u8::DATA_TYPE)?;
        return packed(&header, map.view(), |label| [label as u8]);
    }
    write_mask(map.view(), &map.affine)
}

/// Packs a file whose voxels are stored as `bytes` gives them.
fn packed<T: Copy, B: AsRef<[u8]>>(
    header: &NiftiHeader,
    mask: ArrayView3<'_, T>,
    bytes: impl Fn(T) -> B,
) -> Result<Vec<u8>, Fault> {
    let pack = || -> io::Result<Vec<u8>> {
        // time 0 and system 255 ("unknown"): equal masks give equal bytes, whenever and wherever
        let mut encoder = GzBuilder::new()
            .mtime(0)
            .operating_system(255)
            .write(Vec::new(), Compression::default());
        encoder.write_all(&to_bytes(header))?;
        encoder.write_all(&[0; 4])?;
        for slices in mask.axis_chunks_iter(Axis(2), SLICES) {
            encoder.write_all(&first_axis_fastest(slices, &bytes))?;
        }
        encoder.finish()
    };
    pack().map_err(|error| Fault::bug("gzip", format!("expected to pack in memory, found: {error}")))
}

/// Returns the voxels' bytes in the order of the file. They are looked through in memory's order, and rows of zeros, as most
/// are, left at that.
fn first_axis_fastest<T: Copy, B: AsRef<[u8]>>(slices: ArrayView3<'_, T>, bytes: impl Fn(T) -> B) -> Vec<u8> {
    let (ni, nj, nk) = slices.dim();
    let [i_bytes, j_bytes, k_bytes] = [1, ni, ni * nj].map(|voxels| voxels * size_of::<B>());
    let mut stored = vec![0; nk * k_bytes];
    let mut put = |row: ArrayView1<'_, T>, first: usize, step: usize| {
        let any = row.fold(0, |any, voxel| {
            bytes(*voxel).as_ref().iter().fold(any, |any, byte| any | byte)
        });
        if any == 0 {
            return;
        }
        for (slot, voxel) in stored[first..].chunks_mut(step).zip(row) {
            slot[..size_of::<B>()].copy_from_slice(bytes(*voxel).as_ref());
        }
    };
    if slices.strides()[0] == 1 {
        let rows = Zip::indexed(slices.lanes(Axis(0)));
        rows.for_each(|(j, k), row| put(row, j * j_bytes + k * k_bytes, i_bytes));
    } else {
        let rows = Zip::indexed(slices.lanes(Axis(2)));
        rows.for_each(|(i, j), row| put(row, i * i_bytes + j * j_bytes, k_bytes));
    }
    stored
}

fn header(
    (ni, nj, nk): (usize, usize, usize),
    affine: &Affine,
    datatype: NiftiType,
) -> Result<NiftiHeader, Fault> {
    let mut dim = [1_u16; 8];
    for (slot, count) in dim.iter_mut().zip([3, ni, nj, nk]) {
        *slot = u16::try_from(count)
            .ok()
            .filter(|count| (1..=i16::MAX.unsigned_abs()).contains(count))
            .ok_or_else(|| {
                let message = format!("expected 1 to 32767 voxels along an axis of NIfTI-1, found {count}");
                Fault::unsuitable("too_large", message)
            })?;
    }
    if affine.inverse().is_none() {
        return Err(Fault::unsuitable(
            "bad_affine",
            "expected a regular affine to write, found another",
        ));
    }
    let row = |row: usize| affine.0[row].map(|value| value as f32);
    let mut header = NiftiHeader {
        dim,
        datatype: datatype as i16,
        bitpix: (8 * datatype.size_of()) as i16,
        pixdim: [1.0; 8],
        vox_offset: f32::from(VOX_OFFSET),
        scl_slope: 1.0,
        scl_inter: 0.0,
        xyzt_units: Unit::Mm as u8,
        sform_code: XForm::AlignedAnat as i16,
        srow_x: row(0),
        srow_y: row(1),
        srow_z: row(2),
        magic: *b"n+1\0",
        ..NiftiHeader::default()
    };
    // fills the quaternion, the offsets and the voxel sizes, from the sform as rounded to f32
    let rounded = header.sform_affine::<f64>();
    header.set_qform(&rounded, XForm::AlignedAnat);
    let apart_mm = Header::read(&to_bytes(&header))?.forms_apart_mm;
    if apart_mm.is_none_or(|apart_mm| apart_mm > FORMS_APART_MOST_MM) {
        header.qform_code = XForm::Unknown as i16;
    }
    Ok(header)
}

/// Returns the 348 bytes of a header, little-endian, in the order of `nifti1.h`.
fn to_bytes(header: &NiftiHeader) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(usize::from(VOX_OFFSET));
    bytes.extend(header.sizeof_hdr.to_le_bytes());
    // data_type, db_name, extents, session_error, regular, dim_info: remains of Analyze, unused
    bytes.extend([0; 36]);
    bytes.extend(header.dim.iter().flat_map(|count| count.to_le_bytes()));
    let floats = |bytes: &mut Vec<u8>, values: &[f32]| {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    let shorts = |bytes: &mut Vec<u8>, values: &[i16]| {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    floats(
        &mut bytes,
        &[header.intent_p1, header.intent_p2, header.intent_p3],
    );
    shorts(
        &mut bytes,
        &[
            header.intent_code,
            header.datatype,
            header.bitpix,
            header.slice_start,
        ],
    );
    floats(&mut bytes, &header.pixdim);
    floats(
        &mut bytes,
        &[header.vox_offset, header.scl_slope, header.scl_inter],
    );
    shorts(&mut bytes, &[header.slice_end]);
    bytes.extend([header.slice_code, header.xyzt_units]);
    floats(
        &mut bytes,
        &[
            header.cal_max,
            header.cal_min,
            header.slice_duration,
            header.toffset,
        ],
    );
    bytes.extend([0; 8]); // glmax, glmin: unused
    bytes.extend([0; 80 + 24]); // descrip, aux_file: free text, never written
    shorts(&mut bytes, &[header.qform_code, header.sform_code]);
    floats(
        &mut bytes,
        &[header.quatern_b, header.quatern_c, header.quatern_d],
    );
    floats(
        &mut bytes,
        &[header.quatern_x, header.quatern_y, header.quatern_z],
    );
    floats(&mut bytes, &header.srow_x);
    floats(&mut bytes, &header.srow_y);
    floats(&mut bytes, &header.srow_z);
    bytes.extend(header.intent_name);
    bytes.extend(header.magic);
    debug_assert_eq!(bytes.len(), 348);
    bytes
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, ShapeBuilder as _};

    use super::*;
    use crate::decode::nifti::{AffineSource, Voxels, read};
    use crate::decode::source::Source;
    use crate::decode::testing::Random;

    const MAX: u64 = 1 << 20;

    fn numbered() -> Array3<u16> {
        Array3::from_shape_fn((3, 4, 5), |(i, j, k)| (i + 10 * j + 1000 * k) as u16)
    }

    /// Returns a random rotation with voxel sizes, flipped half of the time.
    fn random_affine(random: &mut Random) -> Affine {
        let [a, b, c, d] = [0; 4].map(|_| random.unit() - 0.5);
        let s = 2.0 / (a * a + b * b + c * c + d * d);
        let rotation = [
            [
                1.0 - s * (c * c + d * d),
                s * (b * c - a * d),
                s * (b * d + a * c),
            ],
            [
                s * (b * c + a * d),
                1.0 - s * (b * b + d * d),
                s * (c * d - a * b),
            ],
            [
                s * (b * d - a * c),
                s * (c * d + a * b),
                1.0 - s * (b * b + c * c),
            ],
        ];
        let steps = [
            0.5 + random.unit(),
            0.5 + random.unit(),
            if random.unit() < 0.5 { 3.3 } else { -3.3 },
        ];
        let mut affine = Affine::axis_aligned([1.0; 3], [0.0; 3]);
        for (line, rotation) in affine.0.iter_mut().zip(rotation) {
            let [i, j, k] = rotation;
            *line = [
                i * steps[0],
                j * steps[1],
                k * steps[2],
                400.0 * (random.unit() - 0.5),
            ];
        }
        affine
    }

    #[test]
    fn what_is_written_reads_back_whatever_the_memory_order() {
        let c_order = numbered();
        let mut f_order = Array3::zeros((3, 4, 5).f());
        f_order.assign(&c_order);
        let affine = Affine::axis_aligned([1.0, 0.75, -3.5], [-10.0, 20.0, 30.0]);
        let bytes = write_mask(c_order.view(), &affine).expect("written");
        assert_eq!(
            write_mask(f_order.view(), &affine),
            Ok(bytes.clone()),
            "the same bytes"
        );

        let file = read(&bytes, None, MAX).expect("read back");
        assert_eq!(file.header.affine, affine);
        assert_eq!(file.header.scaling, None);
        let first_axis_fastest: Vec<u16> = c_order.t().iter().copied().collect();
        assert_eq!(file.voxels, Voxels::U16(first_axis_fastest));

        let mask = c_order.mapv(|voxel| u8::from(voxel % 2 == 1));
        let file = read(&write_mask(mask.view(), &affine).expect("written"), None, MAX).expect("read back");
        assert_eq!(file.voxels, Voxels::U8(mask.t().iter().copied().collect()));
    }

    #[test]
    fn qform_and_sform_agree_for_any_rotation_and_flip() {
        let mut random = Random(5);
        let mut exact = 0;
        for _ in 0..300 {
            let affine = random_affine(&mut random);
            let bytes = write_mask(numbered().view(), &affine).expect("written");
            let header = Header::read(&bytes).expect("read back");
            for (found, expected) in header.affine.to_rows().iter().zip(affine.to_rows()) {
                // f32: 24 bits of up to 200 mm
                assert!((found - expected).abs() < 2e-5, "{found} is not {expected}");
            }
            // in f32, 3 ε of a² pass for 0: a turn by up to 2 √(3 ε) = 1.2e-3 rad on a diagonal of 15 mm
            let apart_mm = header.forms_apart_mm.expect("both written");
            assert!(apart_mm < 0.02, "{apart_mm} mm");
            exact += u32::from(apart_mm < 1e-4);
        }
        assert!(exact > 270, "{exact} of 300 to rounding");
    }

    #[test]
    fn an_affine_that_shears_is_written_as_sform_alone() {
        let mut affine = Affine::axis_aligned([1.0, 1.0, 2.0], [0.0; 3]);
        affine.0[0][2] = 0.3;
        let header =
            Header::read(&write_mask(numbered().view(), &affine).expect("written")).expect("read back");
        assert_eq!(header.affine_source, AffineSource::Sform);
        assert_eq!(header.forms_apart_mm, None);
    }

    #[test]
    fn no_time_and_no_free_text_is_written() {
        let bytes =
            write_mask(numbered().view(), &Affine::axis_aligned([1.0; 3], [0.0; 3])).expect("written");
        assert_eq!(&bytes[4..8], &[0; 4], "gzip's modification time");
        assert_eq!(bytes[3], 0, "gzip's flags: no name, no comment");
        let mut header = [0; 348];
        Source::open(&bytes).fill(&mut header).expect("unpacked");
        assert!(
            header[148..252].iter().all(|byte| *byte == 0),
            "descrip and aux_file"
        );
    }

    #[test]
    fn what_nifti_1_cannot_hold_is_refused() {
        let affine = Affine::axis_aligned([1.0; 3], [0.0; 3]);
        let long = Array3::<u8>::zeros((32768, 1, 1));
        assert_eq!(
            write_mask(long.view(), &affine).expect_err("too long").reason,
            "too_large"
        );
        let empty = Array3::<u8>::zeros((0, 1, 1));
        assert_eq!(
            write_mask(empty.view(), &affine).expect_err("empty").reason,
            "too_large"
        );
        let singular = Affine::axis_aligned([1.0, 0.0, 1.0], [0.0; 3]);
        assert_eq!(
            write_mask(numbered().view(), &singular)
                .expect_err("singular")
                .reason,
            "bad_affine"
        );
    }
}
