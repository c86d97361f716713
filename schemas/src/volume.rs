//! A volume of voxels and where it lies in the body.

use ndarray::{Array3, ArrayView3};

/// Map from voxel index (i, j, k) to world position in mm, RAS (right, anterior, superior positive).
///
/// Index (0, 0, 0) is the *centre* of the first voxel, as in NIfTI and in DICOM's ImagePositionPatient
/// (whose x and y are negated on the way in: LPS → RAS).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine(pub [[f64; 4]; 4]);

impl Affine {
    /// Returns the affine of an axis-aligned grid with voxel (0, 0, 0) at `origin_mm`.
    pub fn axis_aligned(spacing_mm: [f64; 3], origin_mm: [f64; 3]) -> Self {
        let mut matrix = [[0.0; 4]; 4];
        for axis in 0..3 {
            matrix[axis][axis] = spacing_mm[axis];
            matrix[axis][3] = origin_mm[axis];
        }
        matrix[3][3] = 1.0;
        Self(matrix)
    }

    /// Returns the world position of a (fractional) voxel index, or the index of a position for an inverse.
    pub fn apply(&self, point: [f64; 3]) -> [f64; 3] {
        let row = |r: usize| {
            self.0[r][0] * point[0] + self.0[r][1] * point[1] + self.0[r][2] * point[2] + self.0[r][3]
        };
        [row(0), row(1), row(2)]
    }

    /// Returns `self ∘ inner`: first `inner`, then `self`.
    #[must_use]
    pub fn after(&self, inner: &Self) -> Self {
        let mut product = [[0.0; 4]; 4];
        for (row, line) in product.iter_mut().enumerate() {
            for (column, value) in line.iter_mut().enumerate() {
                *value = (0..4).map(|k| self.0[row][k] * inner.0[k][column]).sum();
            }
        }
        Self(product)
    }

    /// Returns the determinant of the 3×3 part: signed mm³ of one voxel.
    pub fn determinant(&self) -> f64 {
        let m = &self.0;
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    }

    /// Returns the mm³ of one voxel.
    pub fn voxel_volume_mm3(&self) -> f64 {
        self.determinant().abs()
    }

    /// Returns the step between voxels along each index axis, in mm.
    pub fn spacing_mm(&self) -> [f64; 3] {
        let column = |c: usize| (0..3).map(|r| self.0[r][c] * self.0[r][c]).sum::<f64>().sqrt();
        [column(0), column(1), column(2)]
    }

    /// Returns the axis of the result that changes most along an axis of the argument.
    pub fn runs_most_along(&self, axis: usize) -> usize {
        let change = |row: &usize| self.0[*row][axis].abs();
        (0..3)
            .max_by(|one, other| change(one).total_cmp(&change(other)))
            .unwrap_or(axis)
    }

    /// Returns whether every entry is a finite number.
    pub fn is_finite(&self) -> bool {
        self.0.iter().flatten().all(|value| value.is_finite())
    }

    /// Returns the map from world position to voxel index, or `None` for a singular or non-finite matrix.
    pub fn inverse(&self) -> Option<Self> {
        let determinant = self.determinant();
        let scale: f64 = self.spacing_mm().iter().product();
        // relative to the box that the columns span: an affine in metres or micrometres is as good as one in mm
        if !self.is_finite() || scale <= 0.0 || (determinant / scale).abs() < 1e-6 {
            return None;
        }
        let m = &self.0;
        let minor =
            |r0: usize, c0: usize, r1: usize, c1: usize| m[r0][c0] * m[r1][c1] - m[r0][c1] * m[r1][c0];
        let adjugate = [
            [minor(1, 1, 2, 2), -minor(0, 1, 2, 2), minor(0, 1, 1, 2)],
            [-minor(1, 0, 2, 2), minor(0, 0, 2, 2), -minor(0, 0, 1, 2)],
            [minor(1, 0, 2, 1), -minor(0, 0, 2, 1), minor(0, 0, 1, 1)],
        ];
        let mut inverse = [[0.0; 4]; 4];
        for row in 0..3 {
            for column in 0..3 {
                inverse[row][column] = adjugate[row][column] / determinant;
            }
            inverse[row][3] = -(0..3).map(|k| inverse[row][k] * m[k][3]).sum::<f64>();
        }
        inverse[3][3] = 1.0;
        Some(Self(inverse))
    }

    /// Returns the sixteen entries row by row, as the tables store them.
    pub fn to_rows(&self) -> [f64; 16] {
        let mut rows = [0.0; 16];
        for (slot, value) in rows.iter_mut().zip(self.0.iter().flatten()) {
            *slot = *value;
        }
        rows
    }
}

/// Voxels `data[[i, j, k]]` with the map from (i, j, k) to RAS mm.
///
/// The three axes are those of the file (NIfTI's i, j, k); which of them runs left to right only the affine says.
/// Decoded volumes keep the file's memory order (first axis fastest); patches are C-contiguous with axes R, A, S.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume<T> {
    /// Voxel values.
    pub data: Array3<T>,
    /// Voxel index → RAS mm.
    pub affine: Affine,
}

/// A label per voxel, 0 for background.
pub type LabelMap = Volume<u16>;

impl<T> Volume<T> {
    /// Returns the number of voxels along each axis.
    pub fn shape(&self) -> [usize; 3] {
        let (i, j, k) = self.data.dim();
        [i, j, k]
    }

    /// Returns the voxels without the affine.
    pub fn view(&self) -> ArrayView3<'_, T> {
        self.data.view()
    }
}

/// The grid of a scan: what is needed to put a result back onto it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Voxels along each axis.
    pub shape: [usize; 3],
    /// Voxel index → RAS mm.
    pub affine: Affine,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inverse_undoes_an_oblique_affine() {
        let affine = Affine([
            [0.1, -0.02, 2.9, -186.0],
            [-0.99, 0.05, 0.1, 315.0],
            [0.03, -1.01, 0.2, 1158.0],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        let inverse = affine.inverse().expect("regular");
        let back = inverse.apply(affine.apply([3.0, 40.5, 7.25]));
        for (found, expected) in back.iter().zip([3.0, 40.5, 7.25]) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        let unit = inverse.after(&affine);
        for row in 0..4 {
            for column in 0..4 {
                let expected = f64::from(u8::from(row == column));
                assert!((unit.0[row][column] - expected).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn singular_and_non_finite_affines_have_no_inverse() {
        assert_eq!(Affine::axis_aligned([1.0, 0.0, 1.0], [0.0; 3]).inverse(), None);
        assert_eq!(
            Affine::axis_aligned([1.0, f64::NAN, 1.0], [0.0; 3]).inverse(),
            None
        );
        assert!(
            Affine::axis_aligned([1e-3, 1e-3, 1e-3], [0.0; 3])
                .inverse()
                .is_some()
        );
    }
}
