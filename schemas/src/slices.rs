//! How a scan was sliced: thick parallel slices, whose planes the scanner saw and between which it saw nothing.

use crate::volume::Affine;

/// A stack of parallel slices, evenly spaced, in world space (RAS, mm).
///
/// A mask that was resampled to a finer grid repeats each slice over several voxels; its affine no longer says where
/// the slices lay. This does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slices {
    /// Unit normal of the slices. Its sign means nothing; ours point right, anterior or superior, whichever is
    /// nearest.
    pub normal: [f64; 3],
    /// A point on the centre plane of one of the slices.
    pub point_mm: [f64; 3],
    /// From one slice's centre plane to the next one's, along the normal: thickness and gap together.
    pub spacing_mm: f64,
}

/// How many times as long as each of the other two a voxel's thick axis is, at least.
///
/// Sagittal spine MRI has 4 to 10, CT of 1 × 1 × 2 mm has 2: both leave something between their slices to interpolate.
/// Below 1.5 a voxel is near enough to a cube that no direction is the one with the slices.
const THICK: f64 = 1.5;

/// Spacings are stored as single precision and come out of square roots: what is 1.5 on paper counts as 1.5.
const ROUNDING: f64 = 1e-3;

impl Slices {
    /// Returns the slices of a grid: across its thick axis, the voxel axis along which the step is at least 1.5 times
    /// as long as along each of the other two. `None` where there is no such axis, or the affine is singular.
    pub fn of(affine: &Affine) -> Option<Self> {
        let spacing_mm = affine.spacing_mm();
        let is_thick = |axis: &usize| {
            let mut others = (0..3).filter(|other| other != axis);
            others.all(|other| spacing_mm[*axis] >= THICK * (1.0 - ROUNDING) * spacing_mm[other])
        };
        Self::across(affine, (0..3).find(is_thick)?)
    }

    /// Returns a grid's planes of voxels across `axis` (0 to 2) as slices; `None` for a singular affine.
    ///
    /// A plane is spanned by the other two axes. On a sheared grid, such as CT with a tilted gantry gives, `axis` itself
    /// is not normal to it, and the planes are closer together than the step along `axis` is long.
    pub fn across(affine: &Affine, axis: usize) -> Option<Self> {
        affine.inverse().filter(Affine::is_finite)?;
        let column = |axis: usize| [0, 1, 2].map(|row| affine.0[row][axis % 3]);
        let across = cross(column(axis + 1), column(axis + 2));
        let length = dot(across, across).sqrt();
        let largest = across.into_iter().fold(0.0, |largest: f64, entry| {
            if entry.abs() > largest.abs() {
                entry
            } else {
                largest
            }
        });
        let normal = across.map(|entry| entry / length * largest.signum());
        Some(Self {
            normal,
            point_mm: affine.apply([0.0; 3]),
            spacing_mm: dot(normal, column(axis)).abs(),
        })
    }

    /// Returns the signed distance from the centre plane at `point_mm`, in slices: whole numbers are on a slice's centre
    /// plane, halves at the border between two.
    pub fn position(&self, point_mm: [f64; 3]) -> f64 {
        let from = [0, 1, 2].map(|axis| point_mm[axis] - self.point_mm[axis]);
        dot(self.normal, from) / self.spacing_mm
    }
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that every voxel centre of a plane lies on its slice, and neighbouring planes one slice apart.
    fn assert_planes_are_slices(slices: &Slices, affine: &Affine, axis: usize) {
        assert!((dot(slices.normal, slices.normal) - 1.0).abs() < 1e-12);
        let start = slices.position(affine.apply([0.0; 3]));
        let mut next = [0.0; 3];
        next[axis] = 1.0;
        let way = slices.position(affine.apply(next)) - start;
        assert!((way.abs() - 1.0).abs() < 1e-12 && start.fract().abs() < 1e-12);
        for index in [[3.0, 5.0, -7.0], [40.0, -2.0, 9.0], [0.0, 11.0, 30.0]] {
            let found = slices.position(affine.apply(index)) - start;
            assert!((found - way * index[axis]).abs() < 1e-9, "{index:?} {found}");
        }
    }

    #[test]
    fn the_thick_axis_is_one_and_a_half_times_each_of_the_others() {
        let thick = |spacing_mm: [f64; 3]| {
            Slices::of(&Affine::axis_aligned(spacing_mm, [0.0; 3]))
                .map(|slices| (slices.normal, slices.spacing_mm))
        };
        assert_eq!(thick([3.3, 0.59, 0.59]), Some(([1.0, 0.0, 0.0], 3.3)));
        assert_eq!(thick([1.0, 1.0, 2.0]), Some(([0.0, 0.0, 1.0], 2.0)));
        assert_eq!(thick([0.8, 1.5, 1.0]), Some(([0.0, 1.0, 0.0], 1.5)));
        assert_eq!(thick([1.0, 1.0, 1.0]), None);
        assert_eq!(thick([1.0, 1.25, 1.0]), None);
        // two long axes: threads, not slices
        assert_eq!(thick([3.0, 3.0, 1.0]), None);
        assert!(thick([2.0, 2.0, f64::from(3.0_f32 - 1e-6)]).is_some());
        assert_eq!(thick([4.0, 0.0, 1.0]), None);
        assert_eq!(thick([f64::NAN, 1.0, 1.0]), None);
    }

    #[test]
    fn slices_of_an_oblique_grid_are_its_planes() {
        // i runs to posterior and a little down, j to inferior, k to the right: a sagittal MRI
        let affine = Affine([
            [0.1, -0.02, 2.9, -40.0],
            [-0.5, 0.05, 0.4, 20.0],
            [-0.06, -0.6, 0.5, 900.0],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        let slices = Slices::of(&affine).expect("thick");
        assert_planes_are_slices(&slices, &affine, 2);
        assert!(slices.normal[0] > 0.9, "{:?}", slices.normal);
    }

    #[test]
    fn a_tilted_gantry_gives_the_normal_of_the_slices_not_of_the_table() {
        // axial slices of 3 mm, 20 degrees of tilt: the table moves along z, the slices are turned about x
        let (sine, cosine) = 20_f64.to_radians().sin_cos();
        let affine = Affine([
            [0.8, 0.0, 0.0, 5.0],
            [0.0, 0.8 * cosine, 0.0, 6.0],
            [0.0, 0.8 * sine, 3.0, 7.0],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        let slices = Slices::of(&affine).expect("thick");
        assert_planes_are_slices(&slices, &affine, 2);
        assert!((slices.spacing_mm - 3.0 * cosine).abs() < 1e-12);
        for (found, expected) in slices.normal.into_iter().zip([0.0, -sine, cosine]) {
            assert!((found - expected).abs() < 1e-12, "{:?}", slices.normal);
        }
        // a file that runs the other way has the same slices
        let mut reversed = affine;
        for row in &mut reversed.0[..3] {
            row[2] = -row[2];
        }
        let again = Slices::of(&reversed).expect("thick");
        assert_eq!(
            (again.normal, again.spacing_mm),
            (slices.normal, slices.spacing_mm)
        );
    }
}
