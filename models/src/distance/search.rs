//! Distances between two sets of voxels that lie close to each other, as surfaces do: a search outwards from row to row.

use ndarray::Array3;

use super::Nearest;

/// Rows that are looked at for each voxel of the volume before a transform of the whole is the shorter way.
const ROWS_A_VOXEL: usize = 3;

/// Returns the distance from each of the voxels `from` to the nearest of the voxels `to`, in mm between centres: infinite
/// without any. The voxels lie in a volume of this shape, those of `to` in its order, the last axis fastest.
///
/// Between two surfaces that lie close to each other few voxels are looked at.
pub fn distances_mm(
    from: &[[usize; 3]],
    to: &[[usize; 3]],
    shape: [usize; 3],
    spacing_mm: [f64; 3],
) -> Vec<f64> {
    let rows = Rows::of(to, shape, spacing_mm);
    let mut left = ROWS_A_VOXEL * shape.iter().product::<usize>();
    let mut distances = Vec::with_capacity(from.len());
    // what is nearest to one voxel is near to the next
    let mut nearest_row = [0, 0];
    for here in from {
        let Some((distance, row)) = rows.search(*here, nearest_row, &mut left) else {
            return distances_by_transform_mm(from, to, shape, spacing_mm);
        };
        distances.push(distance);
        nearest_row = row;
    }
    distances
}

fn distances_by_transform_mm(
    from: &[[usize; 3]],
    to: &[[usize; 3]],
    shape: [usize; 3],
    spacing_mm: [f64; 3],
) -> Vec<f64> {
    let mut squared = Array3::from_elem(shape, f64::INFINITY);
    for voxel in to {
        squared[*voxel] = 0.0;
    }
    let nearest = Nearest::of(squared, spacing_mm);
    from.iter()
        .map(|[i, j, k]| nearest.distance_mm((*i, *j, *k)))
        .collect()
}

/// Features in rows along the last axis, for a search outwards from row to row.
struct Rows {
    shape: [usize; 3],
    /// Squared distance between voxels that lie 0, 1, … apart along each axis, in mm²; in the end an infinite one.
    squared: [Vec<f64>; 3],
    /// Voxels to the nearest feature of the same row: of a row without any, as many as it is long.
    steps: Vec<u32>,
}

impl Rows {
    fn of(features: &[[usize; 3]], shape: [usize; 3], spacing_mm: [f64; 3]) -> Self {
        let [planes, lines, length] = shape;
        let squared = [0, 1, 2].map(|axis| {
            let steps = (0..shape[axis]).map(|step| (step as f64 * spacing_mm[axis]).powi(2));
            steps.chain([f64::INFINITY]).collect()
        });
        let mut steps = vec![length as u32; planes * lines * length];
        for in_row in features.chunk_by(|one, other| one[..2] == other[..2]) {
            let [i, j, _] = in_row[0];
            let row = &mut steps[(i * lines + j) * length..][..length];
            let mut start = 0;
            for (number, [_, _, feature]) in in_row.iter().enumerate() {
                // up to half-way to the next
                let end = in_row
                    .get(number + 1)
                    .map_or(length, |[_, _, next]| (feature + next) / 2 + 1);
                for (offset, steps) in row[start..end].iter_mut().enumerate() {
                    *steps = feature.abs_diff(start + offset) as u32;
                }
                start = end;
            }
        }
        Self {
            shape,
            squared,
            steps,
        }
    }

    /// Returns the distance to the nearest feature and the plane and line of its row, beginning with the row that is `likely`
    /// it. Returns `None` where that takes looking at more rows than are `left`.
    fn search(
        &self,
        [i, j, k]: [usize; 3],
        likely: [usize; 2],
        left: &mut usize,
    ) -> Option<(f64, [usize; 2])> {
        let [planes, lines, length] = self.shape;
        let along = |plane: usize, line: usize| {
            let steps = self.steps[(plane * lines + line) * length + k];
            self.squared[2][steps as usize]
        };
        let aside_squared = self.squared[0][i.abs_diff(likely[0])] + self.squared[1][j.abs_diff(likely[1])];
        let mut nearest = aside_squared + along(likely[0], likely[1]);
        let mut row = likely;
        for (step_i, squared_i) in self.squared[0].iter().enumerate() {
            if *squared_i >= nearest {
                break;
            }
            for plane in aside(i, step_i, planes) {
                let mut looked_at = 0;
                for (step_j, squared_j) in self.squared[1].iter().enumerate() {
                    let aside_squared = squared_i + squared_j;
                    if aside_squared >= nearest {
                        break;
                    }
                    for line in aside(j, step_j, lines) {
                        let squared = aside_squared + along(plane, line);
                        if squared < nearest {
                            nearest = squared;
                            row = [plane, line];
                        }
                        looked_at += 1;
                    }
                }
                *left = left.checked_sub(looked_at)?;
            }
        }
        Some((nearest.sqrt(), row))
    }
}

/// Returns the positions `step` below and above `position` that are less than `end`.
fn aside(position: usize, step: usize, end: usize) -> impl Iterator<Item = usize> {
    let below = position.checked_sub(step);
    let above = Some(position + step).filter(|above| *above < end && step > 0);
    [below, above].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;
    use crate::seed::generator;

    #[test]
    fn searched_from_row_to_row_distances_are_those_of_the_transform() {
        let mut rng = generator(9);
        let mut searched = 0;
        for round in 0..200 {
            let shape = [[7, 11, 13], [12, 5, 30], [1, 17, 4], [20, 20, 20]][round % 4];
            let spacing_mm = [[1.0, 1.0, 1.0], [0.586, 0.6, 3.3], [5.5, 0.4, 1.0]][round % 3];
            let mut voxels = |share: f64| -> Vec<[usize; 3]> {
                let all = Array3::<u8>::zeros(shape);
                let indices = all.indexed_iter().map(|((i, j, k), _)| [i, j, k]);
                indices.filter(|_| rng.random_bool(share)).collect()
            };
            let (from, to) = (voxels(0.1), voxels([0.3, 0.05, 0.003][round % 3]));
            let expected = distances_by_transform_mm(&from, &to, shape, spacing_mm);
            let rows = Rows::of(&to, shape, spacing_mm);
            let found = distances_mm(&from, &to, shape, spacing_mm);
            assert_eq!(found.len(), from.len());
            for ((here, found), expected) in from.iter().zip(found).zip(expected) {
                let alone = rows
                    .search(*here, [0, 0], &mut { usize::MAX })
                    .map(|(distance, _)| distance);
                for found in [found, alone.expect("no limit")] {
                    assert!(
                        found == expected || (found - expected).abs() < 1e-12,
                        "{found} {expected}"
                    );
                }
                searched += usize::from(rows.search(*here, [0, 0], &mut 20).is_some());
            }
        }
        assert!(searched > 1000, "{searched}");
    }
}
