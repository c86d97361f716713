//! What a NIfTI header says, judged before a voxel is read.

use ::nifti::{Endianness, NiftiHeader, NiftiType};
use schemas::{Affine, Fault};

use super::affine::{self, AffineSource};
use super::fields::Fields;
use crate::decode::format::{self, Format, Version};

/// The facts of a header that has passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// NIfTI-1 or NIfTI-2.
    pub version: Version,
    /// Whether header and voxels stand in one file (`n+1`, `n+2`) or in a pair (`ni1`, `ni2`).
    pub single_file: bool,
    /// Byte order of header and voxels.
    pub endianness: Endianness,
    /// Voxels along each of one to seven axes, first axis fastest.
    pub shape: Vec<usize>,
    /// Type of the stored values: one of [`super::Voxels`]' variants.
    pub datatype: NiftiType,
    /// Bytes before the first voxel; extensions lie there and are skipped.
    pub offset: u64,
    /// How stored values become real ones; `None` for as they are.
    pub scaling: Option<Scaling>,
    /// Voxel index → RAS mm, finite and regular.
    pub affine: Affine,
    /// Where the affine comes from.
    pub affine_source: AffineSource,
    /// Largest distance between the corners of the volume by sform and by qform, in mm, where both are given.
    pub forms_apart_mm: Option<f64>,
}

/// Real value = slope × stored value + inter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// `scl_slope`, finite and not 0.
    pub slope: f64,
    /// `scl_inter`, finite.
    pub inter: f64,
}

impl Scaling {
    /// Returns the real value of a stored one.
    pub fn apply(self, stored: f64) -> f64 {
        stored * self.slope + self.inter
    }
}

impl Header {
    /// Reads and judges the header of a single file or of a pair.
    ///
    /// # Errors
    /// Bytes that are no NIfTI header, or a header that no volume can be read by.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let head = format::head(bytes)?;
        let fields = match Format::of(&head)? {
            Format::Nifti(Version::One) => Fields::nifti1(&head)?,
            Format::Nifti(Version::Two) => Fields::nifti2(&head)?,
            Format::Dicom => return Err(Fault::unreadable("not_nifti", "expected NIfTI, found DICOM")),
        };
        Self::judge(&fields)
    }

    fn judge(fields: &Fields) -> Result<Self, Fault> {
        let datatype = datatype(fields.datatype)?;
        let shape = shape(&fields.dim, datatype.size_of())?;
        let single_file = matches!(&fields.magic, b"n+1\0" | b"n+2\0");
        let offset = offset(fields, single_file)?;
        let scaling = scaling(fields.scl_slope, fields.scl_inter)?;
        let (affine, affine_source) = affine::best(fields)?;
        Ok(Self {
            version: fields.version,
            single_file,
            endianness: fields.endianness,
            forms_apart_mm: affine::forms_apart_mm(fields, &shape),
            shape,
            datatype,
            offset,
            scaling,
            affine,
            affine_source,
        })
    }

    /// Returns the number of voxels.
    pub fn voxels(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns the number of bytes of the stored voxels.
    pub fn voxel_bytes(&self) -> u64 {
        (self.voxels() * self.datatype.size_of()) as u64
    }

    /// Returns the most bytes that reading this as a label map holds: 16 bits for each voxel. Stored voxels become labels
    /// a few at a time.
    pub fn label_map_bytes(&self) -> u64 {
        (self.voxels() as u64).saturating_mul(size_of::<u16>() as u64)
    }

    /// Returns the voxels along three axes, if further axes have one voxel each.
    ///
    /// # Errors
    /// Fewer axes, or more that matter.
    pub fn shape_3d(&self) -> Result<[usize; 3], Fault> {
        match self.shape.as_slice() {
            [ni, nj, nk, rest @ ..] if rest.iter().all(|count| *count == 1) => Ok([*ni, *nj, *nk]),
            found => {
                let message = format!("expected a volume of three axes, found {} voxels", times(found));
                Err(Fault::unsuitable("not_3d", message))
            }
        }
    }

    /// Returns the datatype's name as NumPy has it.
    pub fn dtype(&self) -> &'static str {
        dtype(self.datatype)
    }
}

fn datatype(code: i16) -> Result<NiftiType, Fault> {
    let unsupported = |found: &str| {
        let message = format!("expected an integer or float datatype, found {found}");
        Err(Fault::unsuitable("unsupported_dtype", message))
    };
    // not in the crate's list: DT_UNKNOWN and DT_BINARY of nifti1.h
    match code {
        0 => return unsupported("none"),
        1 => return unsupported("single bits"),
        _ => {}
    }
    let datatype = NiftiHeader {
        datatype: code,
        ..NiftiHeader::default()
    }
    .data_type();
    match datatype {
        Ok(
            refused @ (NiftiType::Rgb24
            | NiftiType::Rgba32
            | NiftiType::Float128
            | NiftiType::Complex64
            | NiftiType::Complex128
            | NiftiType::Complex256),
        ) => unsupported(dtype(refused)),
        Ok(datatype) => Ok(datatype),
        Err(_) => {
            let message = format!("expected a datatype code of NIfTI, found {code}");
            Err(Fault::unreadable("bad_header", message))
        }
    }
}

fn dtype(datatype: NiftiType) -> &'static str {
    match datatype {
        NiftiType::Uint8 => "uint8",
        NiftiType::Int8 => "int8",
        NiftiType::Uint16 => "uint16",
        NiftiType::Int16 => "int16",
        NiftiType::Uint32 => "uint32",
        NiftiType::Int32 => "int32",
        NiftiType::Uint64 => "uint64",
        NiftiType::Int64 => "int64",
        NiftiType::Float32 => "float32",
        NiftiType::Float64 => "float64",
        NiftiType::Float128 => "float128",
        NiftiType::Complex64 => "complex64",
        NiftiType::Complex128 => "complex128",
        NiftiType::Complex256 => "complex256",
        NiftiType::Rgb24 => "RGB",
        NiftiType::Rgba32 => "RGBA",
    }
}

/// Returns the voxels along each axis, once their bytes are known to be countable.
fn shape(dim: &[i64; 8], voxel_bytes: usize) -> Result<Vec<usize>, Fault> {
    let [axes, counts @ ..] = dim;
    let counts = usize::try_from(*axes)
        .ok()
        .filter(|axes| *axes > 0)
        .and_then(|axes| counts.get(..axes));
    let Some(counts) = counts else {
        let message = format!("expected one to seven axes, found {axes}");
        return Err(Fault::unreadable("bad_header", message));
    };
    if counts.iter().any(|count| *count < 1) {
        let message = format!(
            "expected at least one voxel along each axis, found {}",
            times(counts)
        );
        return Err(Fault::unreadable("bad_header", message));
    }
    let sizes: Option<Vec<usize>> = counts.iter().map(|count| usize::try_from(*count).ok()).collect();
    let bytes = |sizes: &Vec<usize>| {
        sizes
            .iter()
            .try_fold(voxel_bytes, |bytes, n| bytes.checked_mul(*n))
    };
    match sizes {
        Some(sizes) if bytes(&sizes).is_some() => Ok(sizes),
        _ => {
            let message = format!(
                "expected a volume that memory can hold, found {} voxels",
                times(counts)
            );
            Err(Fault::unsuitable("too_large", message))
        }
    }
}

/// Returns the bytes before the first voxel, cut to a whole number as nibabel does.
fn offset(fields: &Fields, single_file: bool) -> Result<u64, Fault> {
    // header and the four bytes of the extension flag; 0 in a single file means 0, 348 or 352 to different
    // readers
    let least = match (single_file, fields.version) {
        (false, _) => 0.0,
        (true, Version::One) => 352.0,
        (true, Version::Two) => 544.0,
    };
    let found = fields.vox_offset;
    // up to 2⁵³ every whole number has its own f64
    if found >= least && found <= 2_f64.powi(53) {
        return Ok(found as u64);
    }
    let message = format!("expected voxels from byte {least} on, the header says byte {found}");
    Err(Fault::unreadable("bad_header", message))
}

/// Returns the scaling by nibabel's rules: a slope of 0, NaN or ±∞ means none.
fn scaling(slope: f64, inter: f64) -> Result<Option<Scaling>, Fault> {
    if slope == 0.0 || !slope.is_finite() {
        return Ok(None);
    }
    if !inter.is_finite() {
        let message = format!("expected a finite intercept beside the slope {slope}, found {inter}");
        return Err(Fault::unsuitable("bad_scaling", message));
    }
    let identity = slope == 1.0 && inter == 0.0;
    Ok((!identity).then_some(Scaling { slope, inter }))
}

/// Returns `2 × 3 × 4`.
pub(crate) fn times<N: ToString>(counts: &[N]) -> String {
    counts
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" × ")
}

#[cfg(test)]
mod tests {
    use schemas::FaultKind;

    use super::*;
    use crate::decode::testing::Sample;

    fn refused(sample: &Sample) -> Fault {
        Header::read(&sample.file()).expect_err("a header to refuse")
    }

    #[test]
    fn all_versions_and_byte_orders_say_the_same() {
        for version in [1, 2] {
            let mut little = Sample::new(version);
            little.scaling = (0.5, -3.0);
            let mut big = little.clone();
            big.big_endian = true;
            let (little, big) = (Header::read(&little.file()), Header::read(&big.file()));
            let (little, mut big) = (little.expect("little-endian"), big.expect("big-endian"));
            assert_eq!(
                (little.endianness, big.endianness),
                (Endianness::Little, Endianness::Big)
            );
            big.endianness = Endianness::Little;
            assert_eq!(little, big);
            assert_eq!(little.shape, [2, 3, 4]);
            assert_eq!(
                little.scaling,
                Some(Scaling {
                    slope: 0.5,
                    inter: -3.0
                })
            );
        }
    }

    #[test]
    fn a_slope_of_zero_nan_or_infinity_is_no_scaling_and_a_bad_intercept_is_refused() {
        let mut sample = Sample::new(1);
        for slope in [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for inter in [0.0, 7.0, f64::NAN] {
                sample.scaling = (slope, inter);
                assert_eq!(Header::read(&sample.file()).expect("sound").scaling, None);
            }
        }
        // nibabel: "Valid slope but invalid intercept"
        sample.scaling = (2.0, f64::NAN);
        assert_eq!(refused(&sample).reason, "bad_scaling");
    }

    #[test]
    fn what_is_no_number_per_voxel_is_refused_by_name() {
        let mut sample = Sample::new(2);
        for (code, name) in [
            (1, "single bits"),
            (32, "complex64"),
            (128, "RGB"),
            (1536, "float128"),
            (2304, "RGBA"),
        ] {
            sample.datatype = code;
            let fault = refused(&sample);
            assert_eq!(
                (fault.kind, fault.reason),
                (FaultKind::Unsuitable, "unsupported_dtype")
            );
            assert!(fault.message.ends_with(name), "{}", fault.message);
        }
        sample.datatype = -9510;
        assert_eq!(
            (refused(&sample).kind, refused(&sample).reason),
            (FaultKind::Unreadable, "bad_header")
        );
    }

    #[test]
    fn dimensions_that_overflow_or_make_no_sense_are_refused() {
        let mut sample = Sample::new(2);
        sample.dim = vec![3, i64::MAX, i64::MAX, 2];
        assert_eq!(
            (refused(&sample).kind, refused(&sample).reason),
            (FaultKind::Unsuitable, "too_large")
        );
        for dim in [
            vec![0, 2, 3, 4],
            vec![8, 2, 3, 4],
            vec![-1, 2, 3, 4],
            vec![3, 2, 0, 4],
            vec![3, 2, -3, 4],
        ] {
            for version in [1, 2] {
                let mut sample = Sample::new(version);
                sample.dim.clone_from(&dim);
                assert_eq!(refused(&sample).reason, "bad_header", "{dim:?}");
            }
        }
    }

    #[test]
    fn an_offset_inside_the_header_or_of_no_sense_is_refused() {
        for offset in [0.0, 351.0, -1.0, f64::NAN, f64::INFINITY, 1e30] {
            let mut sample = Sample::new(1);
            sample.offset = offset;
            assert_eq!(refused(&sample).reason, "bad_header", "{offset}");
        }
        let mut pair = Sample::new(1);
        (pair.single_file, pair.offset) = (false, 12.0);
        assert_eq!(Header::read(&pair.header()).expect("sound").offset, 12);
    }

    #[test]
    fn a_nifti_2_header_that_went_through_a_text_transfer_is_refused() {
        let mut bytes = Sample::new(2).file();
        bytes[8..12].copy_from_slice(&[0; 4]);
        assert!(Header::read(&bytes).is_ok(), "zeros, as early writers left");
        bytes[8..12].copy_from_slice(b"\n\n\x1a\n");
        assert_eq!(Header::read(&bytes).expect_err("damaged").reason, "bad_header");
    }
}
