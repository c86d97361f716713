//! Exact Euclidean distances to the nearest feature, or to a mask's border, on a grid with any spacing.
//!
//! A distance transform in three dimensions is one in each dimension after the other: Felzenszwalb and
//! Huttenlocher, "Distance transforms of sampled functions", Theory of Computing 8 (2012), 415–428. Along the
//! last axis two sweeps suffice, because features are there or not; along the middle one it is their lower
//! envelope of parabolas; along the first one a search outwards, because only the few voxels of a surface are
//! asked about.

mod search;

use ndarray::{Array3, ArrayViewMut1, Axis, Zip};

pub use search::distances_mm;

/// Returns each voxel's signed distance, in mm, to the border of the mask *within its own plane* (of one first index):
/// negative inside. A flat mask is a stack of one plane.
///
/// It is the distance to the nearest pixel centre across the border, less half the smaller spacing, so that on square
/// pixels the border runs along their edges and the distance passes through 0 there, steadily, at ±½ pixel on either
/// side. Where a plane is wholly outside every distance is infinite, where it is wholly inside, negative infinite.
pub fn signed_within_planes_mm(mask: &Array3<bool>, spacing_mm: [f64; 2]) -> Array3<f64> {
    let [row_mm, column_mm] = spacing_mm;
    let half_pixel = row_mm.min(column_mm) / 2.0;
    let to = |features: &Array3<bool>| Nearest::to(features, [1.0, row_mm, column_mm]).within_plane;
    let mut signed = to(mask);
    Zip::from(&mut signed)
        .and(mask)
        .and(&to(&mask.map(|inside| !inside)))
        .for_each(|distance, inside, squared_to_outside| {
            *distance = if *inside {
                half_pixel - squared_to_outside.sqrt()
            } else {
                distance.sqrt() - half_pixel
            };
        });
    signed
}

/// What is needed to tell the distance from any voxel to the nearest feature.
pub struct Nearest {
    /// Squared distance to the nearest feature of the same first index, in mm²; infinite without one.
    within_plane: Array3<f64>,
    /// Between voxels along the first axis.
    spacing_mm: f64,
}

impl Nearest {
    /// Prepares for distances to these features. Linear in the number of voxels.
    pub fn to(features: &Array3<bool>, spacing_mm: [f64; 3]) -> Self {
        let squared = features.map(|is_feature| if *is_feature { 0.0 } else { f64::INFINITY });
        Self::of(squared, spacing_mm)
    }

    /// Prepares where features are 0 and everything else is infinite.
    fn of(mut squared: Array3<f64>, spacing_mm: [f64; 3]) -> Self {
        for mut row in squared.lanes_mut(Axis(2)) {
            sweep(&mut row, spacing_mm[2]);
        }
        let mut envelope = Envelope::for_lines_of(squared.len_of(Axis(1)), spacing_mm[1]);
        for mut line in squared.lanes_mut(Axis(1)) {
            envelope.replace(&mut line);
        }
        Self {
            within_plane: squared,
            spacing_mm: spacing_mm[0],
        }
    }

    /// Returns the distance from a voxel's centre to that of the nearest feature, in mm; infinite without
    /// features.
    pub fn distance_mm(&self, (plane, row, column): (usize, usize, usize)) -> f64 {
        let line = self.within_plane.slice(ndarray::s![.., row, column]);
        let mut nearest = line[plane];
        for step in 1..line.len() {
            let aside = (step as f64 * self.spacing_mm).powi(2);
            if aside >= nearest {
                break;
            }
            if let Some(below) = plane.checked_sub(step) {
                nearest = nearest.min(line[below] + aside);
            }
            if let Some(above) = line.get(plane + step) {
                nearest = nearest.min(above + aside);
            }
        }
        nearest.sqrt()
    }
}

/// Puts the squared distance to the nearest 0 of the row in place of each value; the other values are
/// infinite.
fn sweep(row: &mut ArrayViewMut1<'_, f64>, spacing_mm: f64) {
    let mut voxels = f64::INFINITY;
    for value in row.iter_mut() {
        voxels = if *value == 0.0 { 0.0 } else { voxels + 1.0 };
        *value = voxels;
    }
    let mut voxels = f64::INFINITY;
    for value in row.iter_mut().rev() {
        voxels = value.min(voxels + 1.0);
        *value = (voxels * spacing_mm).powi(2);
    }
}

/// Lower envelope of the parabolas f(q) + (x − q)² along one line of voxels, with x and q in voxels.
struct Envelope {
    spacing_mm: f64,
    /// 1 / n for each n: divisions would take most of the time.
    inverse: Vec<f64>,
    /// The parabolas that are lowest somewhere, from left to right.
    parabolas: Vec<Parabola>,
}

#[derive(Clone, Copy)]
struct Parabola {
    vertex: usize,
    /// f(q), in squared voxels.
    height: f64,
    /// Where it becomes the lowest.
    from: f64,
}

impl Envelope {
    fn for_lines_of(length: usize, spacing_mm: f64) -> Self {
        let inverse = (0..length).map(|voxels| 1.0 / voxels as f64).collect();
        Self {
            spacing_mm,
            inverse,
            parabolas: Vec::with_capacity(length),
        }
    }

    /// Puts the envelope's height in place of each value. Infinite values have no parabola.
    fn replace(&mut self, line: &mut ArrayViewMut1<'_, f64>) {
        let squared_voxel = self.spacing_mm * self.spacing_mm;
        self.parabolas.clear();
        for (vertex, value) in line.iter().enumerate() {
            if value.is_finite() {
                self.add(vertex, value / squared_voxel);
            }
        }
        let Some(mut lowest) = self.parabolas.first() else {
            return;
        };
        let mut next = self.parabolas.iter().skip(1).peekable();
        for (voxel, value) in line.iter_mut().enumerate() {
            while let Some(parabola) = next.next_if(|parabola| parabola.from <= voxel as f64) {
                lowest = parabola;
            }
            let aside = voxel as f64 - lowest.vertex as f64;
            *value = (lowest.height + aside * aside) * squared_voxel;
        }
    }

    /// Adds a parabola to the right of all others.
    fn add(&mut self, vertex: usize, height: f64) {
        while let Some(last) = self.parabolas.last() {
            let rise = (height - last.height) * self.inverse[vertex - last.vertex];
            let from = (rise + (vertex + last.vertex) as f64) / 2.0;
            if from > last.from {
                self.parabolas.push(Parabola { vertex, height, from });
                return;
            }
            self.parabolas.pop();
        }
        self.parabolas.push(Parabola {
            vertex,
            height,
            from: f64::NEG_INFINITY,
        });
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;
    use crate::seed::generator;

    #[test]
    fn distances_equal_those_of_the_search_through_all_features() {
        let mut rng = generator(7);
        for (shape, spacing_mm, share) in [
            ((9, 11, 13), [1.0, 1.0, 1.0], 0.05),
            ((12, 7, 10), [0.586, 0.586, 3.3], 0.02),
            ((6, 14, 9), [5.5, 0.4, 1.0], 0.3),
            ((1, 17, 1), [1.0, 0.7, 1.0], 0.2),
            ((8, 8, 8), [1.0, 2.0, 3.0], 0.002),
        ] {
            for _ in 0..20 {
                let mut features = Array3::from_elem(shape, false);
                features.map_inplace(|feature| *feature = rng.random_bool(share));
                let nearest = Nearest::to(&features, spacing_mm);
                for (here, _) in features.indexed_iter() {
                    let there = features.indexed_iter().filter(|(_, is_feature)| **is_feature);
                    let expected = there
                        .map(|(there, _)| between_mm(here, there, spacing_mm))
                        .fold(f64::INFINITY, f64::min);
                    let found = nearest.distance_mm(here);
                    assert!(
                        found == expected || (found - expected).abs() < 1e-12,
                        "{here:?} {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn signed_distances_equal_those_of_the_search_through_the_other_side_of_each_plane() {
        let mut rng = generator(8);
        for (shape, spacing_mm) in [((3, 12, 9), [1.0, 1.0]), ((2, 7, 16), [0.6, 1.3])] {
            let mask = Array3::from_shape_simple_fn(shape, || rng.random_bool(0.4));
            let signed = signed_within_planes_mm(&mask, spacing_mm);
            for (here, inside) in mask.indexed_iter() {
                let across = mask
                    .indexed_iter()
                    .filter(|(there, other)| there.0 == here.0 && *other != inside);
                let nearest = across
                    .map(|(there, _)| between_mm(here, there, [1.0, spacing_mm[0], spacing_mm[1]]))
                    .fold(f64::INFINITY, f64::min);
                let expected =
                    (nearest - spacing_mm[0].min(spacing_mm[1]) / 2.0) * if *inside { -1.0 } else { 1.0 };
                assert!((signed[here] - expected).abs() < 1e-12, "{here:?}");
            }
        }
    }

    #[test]
    fn a_disc_has_the_distance_of_its_circle_and_an_empty_or_full_plane_an_infinite_one() {
        let mut mask = Array3::from_elem((3, 41, 41), false);
        let radius = |row: usize, column: usize| (row as f64 - 20.0).hypot(column as f64 - 20.0);
        for ((plane, row, column), inside) in mask.indexed_iter_mut() {
            *inside = plane == 0 && radius(row, column) < 12.0 || plane == 2;
        }
        let signed = signed_within_planes_mm(&mask, [1.0, 1.0]);
        for ((plane, row, column), distance) in signed.indexed_iter() {
            match plane {
                // pixels follow a circle to within half their diagonal
                0 => assert!(
                    (distance - (radius(row, column) - 12.0)).abs() < 0.75,
                    "{row} {column} {distance}"
                ),
                1 => assert_eq!(*distance, f64::INFINITY),
                _ => assert_eq!(*distance, f64::NEG_INFINITY),
            }
        }
    }

    fn between_mm(one: (usize, usize, usize), other: (usize, usize, usize), spacing_mm: [f64; 3]) -> f64 {
        let steps = [
            one.0.abs_diff(other.0),
            one.1.abs_diff(other.1),
            one.2.abs_diff(other.2),
        ];
        let squares = steps
            .iter()
            .zip(spacing_mm)
            .map(|(step, spacing)| (*step as f64 * spacing).powi(2));
        squares.sum::<f64>().sqrt()
    }
}
