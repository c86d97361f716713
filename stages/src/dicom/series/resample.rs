//! Slices that no affine places, put onto a grid that one does: at right angles, with equal steps.

use ndarray::{Array3, ShapeBuilder as _};
use rayon::prelude::*;
use schemas::{Fault, Volume};

use crate::dicom::plane::{Plane, dot};
use crate::dicom::stack::Stack;

/// Most slices that one slice may become: a short step among long ones is no reason for a thousand.
const FINER_MOST: usize = 4;

/// Returns the values on an upright grid: the slices' own pixels and spacing, the step that of their smallest gap.
///
/// A voxel's centre is projected along the normal onto the slice before it and the one behind it, wherever these lie in
/// their planes; each is read bilinearly, and the two are weighed by their distance. Where one slice is missing there
/// the other counts alone; where both are, the volume's smallest value stands.
pub(super) fn upright(slices: &Array3<f32>, stack: &Stack, max_bytes: u64) -> Result<Volume<f32>, Fault> {
    let (columns, rows, count) = slices.dim();
    let length = stack.distances_mm[count - 1];
    let smallest = stack.gaps_mm().into_iter().fold(f64::INFINITY, f64::min);
    let steps = ((length / smallest).round() as usize).clamp(count - 1, FINER_MOST * (count - 1));
    let step_mm = length / steps as f64;

    // shifts of the slices within their planes, in pixels: the grid reaches as far as any of them
    let [between_rows, between_columns] = stack.first.spacing_mm;
    let shifts: Vec<[f64; 2]> = stack
        .shifts
        .iter()
        .map(|shift| {
            [
                dot(*shift, stack.first.along_row) / between_columns,
                dot(*shift, stack.first.along_column) / between_rows,
            ]
        })
        .collect();
    let least = |axis: usize| shifts.iter().map(|shift| shift[axis]).fold(0.0, f64::min).floor();
    let most = |axis: usize| shifts.iter().map(|shift| shift[axis]).fold(0.0, f64::max).ceil();
    let corner = [least(0), least(1)];
    let shape = [
        columns + (most(0) - corner[0]) as usize,
        rows + (most(1) - corner[1]) as usize,
        steps + 1,
    ];
    let needed = shape
        .iter()
        .fold(4_u64, |product, size| product.saturating_mul(*size as u64));
    if needed > max_bytes {
        let message = format!("expected a volume of at most {max_bytes} bytes, upright it needs {needed}");
        return Err(Fault::unsuitable("too_large", message));
    }

    let outside = slices.iter().copied().fold(f32::INFINITY, f32::min);
    let mut values = vec![outside; shape[0] * shape[1] * shape[2]];
    values
        .par_chunks_mut(shape[0] * shape[1])
        .enumerate()
        .for_each(|(k, plane)| {
            let distance = k as f64 * step_mm;
            // the slice at or before, and the one behind it
            let behind = stack
                .distances_mm
                .partition_point(|slice| *slice <= distance)
                .clamp(1, count - 1);
            let before = behind - 1;
            let gap = stack.distances_mm[behind] - stack.distances_mm[before];
            let share = ((distance - stack.distances_mm[before]) / gap).clamp(0.0, 1.0);
            for (index, value) in plane.iter_mut().enumerate() {
                let pixel = [
                    (index % shape[0]) as f64 + corner[0],
                    (index / shape[0]) as f64 + corner[1],
                ];
                let of = |slice: usize| {
                    bilinear(
                        slices,
                        slice,
                        [pixel[0] - shifts[slice][0], pixel[1] - shifts[slice][1]],
                    )
                };
                *value = match (of(before), of(behind)) {
                    (Some(one), Some(other)) => (one * (1.0 - share) + other * share) as f32,
                    (Some(one), None) => one as f32,
                    (None, Some(other)) => other as f32,
                    (None, None) => continue,
                };
            }
        });
    let data = Array3::from_shape_vec((shape[0], shape[1], shape[2]).f(), values)
        .map_err(|error| Fault::bug("voxel_count", error.to_string()))?;
    let normal = stack.first.normal();
    let position = [0, 1, 2].map(|axis| {
        stack.first.position[axis]
            + corner[0] * between_columns * stack.first.along_row[axis]
            + corner[1] * between_rows * stack.first.along_column[axis]
    });
    let first = Plane {
        position,
        ..stack.first
    };
    Ok(Volume {
        data,
        affine: first.affine(normal.map(|part| part * step_mm)),
    })
}

/// Returns the value between four pixels of a slice, `None` outside of it.
fn bilinear(slices: &Array3<f32>, slice: usize, [column, row]: [f64; 2]) -> Option<f64> {
    // rounding of positions puts centres of border pixels outside by nothing
    const EDGE: f64 = 1e-6;
    let (columns, rows, _) = slices.dim();
    let within = |at: f64, size: usize| (-EDGE..=(size - 1) as f64 + EDGE).contains(&at);
    if !within(column, columns) || !within(row, rows) {
        return None;
    }
    let split = |at: f64, size: usize| {
        let at = at.clamp(0.0, (size - 1) as f64);
        let low = (at.floor() as usize).min(size.saturating_sub(2));
        (low, (low + 1).min(size - 1), at - low as f64)
    };
    let (left, right, across) = split(column, columns);
    let (top, bottom, down) = split(row, rows);
    let at = |column: usize, row: usize| slices.get((column, row, slice)).map(|value| f64::from(*value));
    let upper = at(left, top)? * (1.0 - across) + at(right, top)? * across;
    let lower = at(left, bottom)? * (1.0 - across) + at(right, bottom)? * across;
    Some(upper * (1.0 - down) + lower * down)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::stack::{Spacing, StackConf};

    /// A stack of slices at these distances along z, each shifted along y by `shear` of its distance, of a function that
    /// is linear in the patient's coordinates.
    fn linear(distances: &[f64], shear: f64) -> (Array3<f32>, Stack) {
        let plane = |distance: &f64| Plane {
            position: [-20.0, 10.0 + shear * distance, 100.0 + distance],
            along_row: [1.0, 0.0, 0.0],
            along_column: [0.0, 1.0, 0.0],
            spacing_mm: [0.8, 0.5],
        };
        let planes: Vec<Plane> = distances.iter().map(plane).collect();
        let stack = Stack::of(&planes, &StackConf::default()).expect("a stack");
        let values = Array3::from_shape_fn((30, 25, distances.len()).f(), |(i, j, k)| {
            let [x, y, z] = planes[stack.order[k]].position;
            value([x + 0.5 * i as f64, y + 0.8 * j as f64, z]) as f32
        });
        (values, stack)
    }

    fn value([x, y, z]: [f64; 3]) -> f64 {
        300.0 + 2.0 * x - 3.0 * y + 5.0 * z
    }

    /// Interpolation of a linear function is exact: the closed form that the resampled values are held against.
    #[test]
    fn a_linear_function_stays_itself_through_tilt_and_uneven_steps() {
        let cases: [(&[f64], f64, Spacing); 3] = [
            (&[0.0, 4.0, 8.0, 12.0], 0.3346, Spacing::Tilted),
            (&[0.0, 4.0, 11.0, 13.5], 0.0, Spacing::Uneven),
            (&[0.0, 4.0, 11.0, 13.5], -0.2, Spacing::UnevenTilted),
        ];
        for (distances, shear, spacing) in cases {
            let (slices, stack) = linear(distances, shear);
            assert_eq!(stack.spacing, spacing);
            let upright = upright(&slices, &stack, 1 << 30).expect("a volume");
            let outside = slices.iter().copied().fold(f32::INFINITY, f32::min);
            let mut held = 0;
            for ((i, j, k), found) in upright.data.indexed_iter() {
                let [right, anterior, superior] = upright.affine.apply([i, j, k].map(|index| index as f64));
                let at = [-right, -anterior, superior];
                // where only one of two slices is, its value stands for both; where none is, the smallest
                let both = |distance: &f64| {
                    let row = (at[1] - 10.0 - shear * distance) / 0.8;
                    (0.0..=24.0).contains(&row)
                };
                let behind = distances
                    .partition_point(|slice| *slice <= at[2] - 100.0)
                    .clamp(1, distances.len() - 1);
                if both(&distances[behind - 1]) && both(&distances[behind]) {
                    held += 1;
                    assert!(
                        (f64::from(*found) - value(at)).abs() < 1e-3,
                        "{at:?}: {found} {}",
                        value(at)
                    );
                } else {
                    assert!(*found >= outside);
                }
            }
            assert!(
                held * 10 > upright.data.len() * 7,
                "{held} of {}",
                upright.data.len()
            );
            let off = [0, 1, 2].map(|axis| upright.affine.0[axis][2]);
            assert_eq!((off[0], off[1]), (0.0, 0.0), "steps run along the normal");
        }
    }
}
