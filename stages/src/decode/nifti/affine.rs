//! Where a NIfTI volume lies: sform, else qform, else the voxel sizes, by nibabel's rules.
//!
//! The `nifti` crate's `NiftiHeader::affine` follows the same order, but panics on a negative voxel size and
//! on quaternions longer than 1, and keeps a rotation that nibabel (5.x) takes for rounding: with b² + c² +
//! d² within 3 ε of 1, nibabel sets a = 0. It also knows NIfTI-1's f32 only. The tests compare the two where
//! both hold.

use schemas::{Affine, Fault};

use super::fields::Fields;
use crate::decode::format::Version;

/// Which fields of the header an affine comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AffineSource {
    /// `srow_x`, `srow_y`, `srow_z`.
    Sform,
    /// The quaternion.
    Qform,
    /// Voxel sizes alone: x runs to the left and the volume's middle is the origin.
    Pixdim,
}

impl AffineSource {
    /// Returns the name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sform => "sform",
            Self::Qform => "qform",
            Self::Pixdim => "pixdim",
        }
    }
}

/// Returns the affine that nibabel decides for.
pub(super) fn best(fields: &Fields) -> Result<(Affine, AffineSource), Fault> {
    let (affine, source) = if is_coded(fields.sform_code) {
        (sform(fields), AffineSource::Sform)
    } else if is_coded(fields.qform_code) {
        (qform(fields)?, AffineSource::Qform)
    } else {
        (base(fields), AffineSource::Pixdim)
    };
    if affine.inverse().is_some() {
        return Ok((affine, source));
    }
    let found = if affine.is_finite() {
        "a singular one"
    } else {
        "NaN or infinity"
    };
    let message = format!(
        "expected a regular affine in the header's {}, found {found}",
        source.as_str()
    );
    Err(Fault::unsuitable("bad_affine", message))
}

/// Returns how far the volume's corners lie apart by sform and by qform, where both are given and usable.
pub(super) fn forms_apart_mm(fields: &Fields, shape: &[usize]) -> Option<f64> {
    if !is_coded(fields.sform_code) || !is_coded(fields.qform_code) {
        return None;
    }
    let (sform, qform) = (sform(fields), qform(fields).ok()?);
    let last = |axis: usize| shape.get(axis).map_or(0.0, |count| (count - 1) as f64);
    let mut apart_mm = 0.0_f64;
    for corner in 0..8 {
        let index = [0, 1, 2].map(|axis| if corner >> axis & 1 == 1 { last(axis) } else { 0.0 });
        let (here, there) = (sform.apply(index), qform.apply(index));
        let distance = here
            .iter()
            .zip(there)
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f64>()
            .sqrt();
        // `max` would lose a NaN
        if distance.is_nan() {
            return None;
        }
        apart_mm = apart_mm.max(distance);
    }
    Some(apart_mm)
}

/// Returns whether a form is given: nibabel sets codes that it does not know (5 is the last) to 0.
fn is_coded(code: i32) -> bool {
    (1..=5).contains(&code)
}

fn sform(fields: &Fields) -> Affine {
    let [x, y, z] = fields.srow;
    Affine([x, y, z, [0.0, 0.0, 0.0, 1.0]])
}

/// Returns rotation × voxel sizes; `nifti1.h`, "method 2", with nibabel's repairs of sizes and qfac.
fn qform(fields: &Fields) -> Result<Affine, Fault> {
    let [b, c, d] = fields.quatern;
    let rest = 1.0 - (b * b + c * c + d * d);
    let rounding = match fields.version {
        Version::One => f64::from(f32::EPSILON) * 3.0,
        Version::Two => f64::EPSILON * 3.0,
    };
    if rest <= -rounding {
        let message = format!(
            "expected a quaternion with b² + c² + d² of at most 1, found {}",
            b * b + c * c + d * d
        );
        return Err(Fault::unsuitable("bad_affine", message));
    }
    let a = if rest.abs() < rounding { 0.0 } else { rest.sqrt() };

    // a² + b² + c² + d² is 1 but for the rounding above, which the factor takes out
    let factor = 2.0 / (a * a + b * b + c * c + d * d);
    let rotation = [
        [
            1.0 - factor * (c * c + d * d),
            factor * (b * c - a * d),
            factor * (b * d + a * c),
        ],
        [
            factor * (b * c + a * d),
            1.0 - factor * (b * b + d * d),
            factor * (c * d - a * b),
        ],
        [
            factor * (b * d - a * c),
            factor * (c * d + a * b),
            1.0 - factor * (b * b + c * c),
        ],
    ];
    let [qfac, i, j, k, ..] = fields.pixdim;
    let qfac = if qfac == -1.0 { -1.0 } else { 1.0 };
    let [i, j, k] = [i, j, k].map(repaired);
    let steps = [i, j, k * qfac];

    let mut matrix = [[0.0; 4]; 4];
    for (row, line) in matrix.iter_mut().take(3).enumerate() {
        for column in 0..3 {
            line[column] = rotation[row][column] * steps[column];
        }
        line[3] = fields.qoffset[row];
    }
    matrix[3][3] = 1.0;
    Ok(Affine(matrix))
}

fn base(fields: &Fields) -> Affine {
    let [axes, ..] = fields.dim;
    let mut spacing_mm = [1.0; 3];
    let mut origin_mm = [0.0; 3];
    for axis in 0..3 {
        // an axis that the volume lacks has one voxel of 1 mm
        if (axis as i64) < axes {
            spacing_mm[axis] = repaired(fields.pixdim[axis + 1]);
        }
        if axis == 0 {
            spacing_mm[axis] = -spacing_mm[axis];
        }
        let count = if (axis as i64) < axes {
            fields.dim[axis + 1]
        } else {
            1
        };
        origin_mm[axis] = -((count - 1) as f64 / 2.0) * spacing_mm[axis];
    }
    Affine::axis_aligned(spacing_mm, origin_mm)
}

/// Returns a voxel size as nibabel repairs it: 0 becomes 1, negative becomes positive.
fn repaired(size_mm: f64) -> f64 {
    if size_mm == 0.0 { 1.0 } else { size_mm.abs() }
}

#[cfg(test)]
mod tests {
    use ::nifti::NiftiHeader;

    use super::*;
    use crate::decode::nifti::Header;
    use crate::decode::testing::{Random, Sample};

    fn header_of(sample: &Sample) -> Header {
        Header::read(&sample.file()).expect("sound header")
    }

    fn assert_close(found: &Affine, expected: [[f64; 4]; 3], tolerance: f64) {
        for (found, expected) in found.to_rows().iter().zip(expected.as_flattened()) {
            assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
        }
    }

    fn with_qform(version: u8) -> Sample {
        let mut sample = Sample::new(version);
        sample.sform_code = 0;
        sample.qform_code = 1;
        sample.quatern = [0.1, 0.2, 0.3];
        sample.qoffset = [1.5, 2.5, -3.5];
        sample
    }

    #[test]
    fn a_quaternion_gives_the_affine_that_nibabel_gives() {
        // nibabel 5.4.2: Nifti1Header and Nifti2Header, check_fix, get_best_affine
        let mut first = with_qform(1);
        first.pixdim = [-1.0, 0.5, 0.75, 3.0];
        let expected = [
            [0.3699999916553496, -0.3873128458888412, -1.2928342402849922, 1.5],
            [0.29820856511798705, 0.5999999888241289, 0.19641709555557982, 2.5],
            [
                -0.15547237010257653,
                0.22910428372366146,
                -2.699999991059303,
                -3.5,
            ],
        ];
        assert_close(&header_of(&first).affine, expected, 1e-12);

        let mut second = with_qform(2);
        second.pixdim = [1.0, 0.5, 0.75, 3.0];
        let expected = [
            [0.37, -0.3873128322973067, 1.2928342194594846, 1.5],
            [0.2982085548648711, 0.6, -0.19641710972974225, 2.5],
            [-0.1554723699099141, 0.22910427743243555, 2.7, -3.5],
        ];
        assert_close(&header_of(&second).affine, expected, 1e-12);
    }

    #[test]
    fn voxel_sizes_and_qfac_are_repaired_and_a_turn_of_almost_half_a_circle_counts_as_half() {
        let mut sample = with_qform(1);
        sample.pixdim = [0.0, -2.0, 0.0, 3.0];
        sample.quatern = [1e-4, 0.9999999, 0.0];
        sample.qoffset = [0.0; 3];
        // nibabel 5.4.2; the nifti crate panics here, and without the negative size would turn by 1e-3 rad
        let expected = [
            [-1.999999959999993, 0.00020000001678943465, 0.0, 0.0],
            [0.0004000000335788693, 0.9999999799999965, 0.0, 0.0],
            [0.0, 0.0, -3.0, 0.0],
        ];
        assert_close(&header_of(&sample).affine, expected, 1e-12);
    }

    #[test]
    fn without_forms_x_runs_left_and_the_middle_is_the_origin() {
        // the example in nibabel's documentation of get_base_affine; unknown codes count as none
        let mut sample = Sample::new(1);
        (sample.sform_code, sample.qform_code) = (6, -1);
        sample.dim = vec![3, 3, 5, 7];
        sample.pixdim = [1.0, 3.0, 2.0, 1.0];
        let header = header_of(&sample);
        assert_eq!(header.affine_source, AffineSource::Pixdim);
        let expected = [
            [-3.0, 0.0, 0.0, 3.0],
            [0.0, 2.0, 0.0, -4.0],
            [0.0, 0.0, 1.0, -3.0],
        ];
        assert_close(&header.affine, expected, 0.0);
        sample.dim = vec![2, 3, 5];
        let expected = [[-3.0, 0.0, 0.0, 3.0], [0.0, 2.0, 0.0, -4.0], [0.0, 0.0, 1.0, 0.0]];
        assert_close(&header_of(&sample).affine, expected, 0.0);
    }

    #[test]
    fn the_sform_comes_first_and_tells_how_far_off_the_qform_is() {
        let mut sample = Sample::new(1);
        sample.qform_code = 1;
        sample.qoffset = [-5.0, 6.0, 7.5];
        let header = header_of(&sample);
        assert_eq!(header.affine_source, AffineSource::Sform);
        assert_close(&header.affine, sample.srow, 0.0);
        assert!(header.forms_apart_mm.expect("both given") < 1e-6);
        sample.qoffset = [-5.0, 6.0, 9.5];
        assert!((header_of(&sample).forms_apart_mm.expect("both given") - 2.0).abs() < 1e-6);
        sample.qform_code = 0;
        assert_eq!(header_of(&sample).forms_apart_mm, None);
    }

    #[test]
    fn quaternions_longer_than_one_and_singular_or_nan_affines_are_refused() {
        let mut long = with_qform(1);
        long.quatern = [0.01, 0.9999999, 0.0];
        let mut nan = with_qform(2);
        nan.quatern = [f64::NAN, 0.0, 0.0];
        let mut singular = Sample::new(1);
        singular.srow[1] = singular.srow[0];
        let mut infinite = Sample::new(2);
        infinite.srow[0][3] = f64::INFINITY;
        for sample in [long, nan, singular, infinite] {
            let fault = Header::read(&sample.file()).expect_err("no affine");
            assert_eq!(fault.reason, "bad_affine", "{}", fault.message);
        }
    }

    #[test]
    fn where_the_nifti_crate_gives_an_affine_ours_is_the_same() {
        let mut random = Random(11);
        for _ in 0..500 {
            let mut sample = with_qform(1);
            let [a, b, c, d] = [0; 4].map(|_| random.unit() - 0.5);
            let norm = (a * a + b * b + c * c + d * d).sqrt();
            sample.quatern = [b, c, d].map(|part| part / norm * 0.999);
            sample.pixdim = [if random.unit() < 0.5 { 1.0 } else { -1.0 }, 0.4, 0.8, 3.3];
            if random.unit() < 0.3 {
                sample.qform_code = 0;
            }
            let bytes = sample.file();
            let theirs = NiftiHeader::from_reader(bytes.as_slice())
                .expect("NIfTI-1")
                .affine::<f64>();
            let rows = [0, 1, 2].map(|row| [0, 1, 2, 3].map(|column| theirs[(row, column)]));
            assert_close(&header_of(&sample).affine, rows, 1e-12);
        }
    }
}
