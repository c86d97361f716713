//! Puts reconstructions back onto the scan's grid, as one label map under the scan's own label numbers.

use ndarray::{Array3, ArrayView3, ShapeBuilder as _, Zip};
use rayon::prelude::*;
use schemas::volume::Grid;
use schemas::{Affine, LabelMap};

use crate::crop::linear::{CUT, Rows, Surroundings, linear};

/// Returns the label map of the pieces `(label, mask, affine of the mask)` on the scan's grid.
///
/// The centre of each scan voxel is looked up in every mask by linear interpolation, cut at one half. Where
/// two vertebrae claim a voxel the larger interpolated share wins, of equal shares the first. Voxels lie in
/// memory with the first axis fastest, as in NIfTI.
///
/// # Panics
/// If the affine of the grid or of a mask is singular, which crop refuses.
pub fn paste(grid: &Grid, pieces: &[(u16, &Array3<u8>, &Affine)]) -> LabelMap {
    let [size_i, size_j, size_k] = grid.shape;
    let pieces: Vec<Piece<'_>> = pieces
        .iter()
        .filter_map(|(label, mask, affine)| Piece::on(grid, *label, mask, affine))
        .collect();

    let mut labels = vec![0_u16; size_i * size_j * size_k];
    // an empty plane has no chunks to give
    labels
        .par_chunks_mut((size_i * size_j).max(1))
        .enumerate()
        .for_each_init(Vec::new, |shares, (k, plane)| {
            let mut reaching = pieces
                .iter()
                .filter(|piece| piece.reach[2].contains(&k))
                .peekable();
            if reaching.peek().is_some() {
                shares.clear();
                shares.resize(plane.len(), 0.0);
            }
            for piece in reaching {
                piece.paste(k, plane, shares, size_i);
            }
        });
    let data = Array3::from_shape_vec((size_i, size_j, size_k).f(), labels).expect("one label a voxel");
    LabelMap {
        data,
        affine: grid.affine,
    }
}

/// One mask as the scan's grid sees it.
struct Piece<'a> {
    label: u16,
    mask: ArrayView3<'a, u8>,
    /// The mask made ready for many points, where it is not too large for that.
    ready: Option<Surroundings>,
    /// Scan voxel → mask voxel.
    to_mask: Affine,
    /// Scan voxels that the mask may reach.
    reach: [std::ops::Range<usize>; 3],
}

impl<'a> Piece<'a> {
    /// Returns `None` for a mask that is empty.
    fn on(grid: &Grid, label: u16, mask: &'a Array3<u8>, affine: &Affine) -> Option<Self> {
        let to_mask = affine
            .inverse()
            .expect("a cube's affine is regular")
            .after(&grid.affine);
        let to_scan = grid
            .affine
            .inverse()
            .expect("crop refuses singular affines")
            .after(affine);
        let (min, max) = bounding_box(mask.view())?;

        // interpolation sees one mask voxel past the outermost set centres; a box's image is spanned by its
        // corners
        let sides = [0, 1, 2].map(|axis| [min[axis] as f64 - 1.0, max[axis] as f64 + 1.0]);
        let mut low = [f64::INFINITY; 3];
        let mut high = [f64::NEG_INFINITY; 3];
        for corner in 0..8 {
            let corner = to_scan.apply([0, 1, 2].map(|axis| sides[axis][(corner >> axis) & 1]));
            for axis in 0..3 {
                low[axis] = low[axis].min(corner[axis]);
                high[axis] = high[axis].max(corner[axis]);
            }
        }
        // `as` saturates: what lies off the grid gives an empty range
        let reach = [0, 1, 2].map(|axis| {
            let end = ((high[axis].floor() + 1.0) as usize).min(grid.shape[axis]);
            (low[axis].ceil() as usize).min(end)..end
        });
        let ready = Surroundings::of(&mask.view(), [min, max], to_mask.runs_most_along(0), is_set);
        Some(Self {
            label,
            mask: mask.view(),
            ready,
            to_mask,
            reach,
        })
    }

    /// Puts the label wherever the mask's share is the largest so far.
    fn paste(&self, k: usize, plane: &mut [u16], shares: &mut [f64], size_i: usize) {
        let [along_i, along_j, _] = &self.reach;
        let mut rows = self
            .ready
            .as_ref()
            .map(|ready| Rows::new(ready, &self.to_mask, 0, along_i.clone()));
        for j in along_j.clone() {
            let start = j * size_i + along_i.start;
            let mut claim = |position: usize, share: f64| {
                let voxel = start + position;
                if share >= CUT && share > shares[voxel] {
                    shares[voxel] = share;
                    plane[voxel] = self.label;
                }
            };
            match &mut rows {
                Some(rows) => rows.each([along_i.start, j, k], |position, _, share| {
                    claim(position, share());
                }),
                None => along_i.clone().enumerate().for_each(|(position, i)| {
                    let index = self.to_mask.apply([i, j, k].map(|index| index as f64));
                    claim(position, linear(&self.mask, index, is_set));
                }),
            }
        }
    }
}

fn is_set(voxel: u8) -> bool {
    voxel != 0
}

/// Returns the first and the last index of the set voxels along each axis.
fn bounding_box(mask: ArrayView3<'_, u8>) -> Option<([usize; 3], [usize; 3])> {
    let mut min = [usize::MAX; 3];
    let mut max = [0; 3];
    Zip::indexed(mask.rows()).for_each(|(i, j), row| {
        if row.fold(0, |any, voxel| any | voxel) == 0 {
            return;
        }
        let first = row.iter().position(|voxel| is_set(*voxel)).unwrap_or(0);
        let last = row.iter().rposition(|voxel| is_set(*voxel)).unwrap_or(0);
        for (axis, [low, high]) in [[i, i], [j, j], [first, last]].into_iter().enumerate() {
            min[axis] = min[axis].min(low);
            max[axis] = max[axis].max(high);
        }
    });
    (min[0] <= max[0]).then_some((min, max))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemas::payload::Labelled;
    use schemas::{Cropped, LabelScheme, LabelTable, Level};

    use super::*;
    use crate::crop::testing::{
        Numbers, Turned, case, dice, in_vertebra, label_map, labelled, painted, shared, turned,
    };
    use crate::crop::{CropConf, crop};

    fn pasted(cropped: &Cropped) -> LabelMap {
        let pieces: Vec<_> = cropped
            .vertebrae
            .iter()
            .map(|vertebra| (vertebra.label, &vertebra.input.mask, &vertebra.input.affine))
            .collect();
        paste(&cropped.grid, &pieces)
    }

    /// The same without anything made ready: voxel by voxel, piece by piece.
    fn pasted_slowly(grid: &Grid, pieces: &[(u16, &Array3<u8>, &Affine)]) -> Array3<u16> {
        let [size_i, size_j, size_k] = grid.shape;
        Array3::from_shape_fn((size_i, size_j, size_k), |(i, j, k)| {
            let (mut largest, mut label) = (0.0, 0);
            for (piece, mask, affine) in pieces {
                let to_mask = affine.inverse().expect("regular").after(&grid.affine);
                let index = to_mask.apply([i, j, k].map(|index| index as f64));
                let share = linear(&mask.view(), index, is_set);
                if share >= CUT && share > largest {
                    (largest, label) = (share, *piece);
                }
            }
            label
        })
    }

    #[test]
    fn what_is_pasted_in_rows_is_to_the_voxel_what_each_voxel_by_itself_gives() {
        let mut numbers = Numbers(23);
        let mut number = |low: f64, high: f64| low + numbers.next() * (high - low);
        for round in 0..12 {
            let axes = [[1, 2, 3], [-2, -3, 1], [3, -1, -2]][round % 3];
            let degrees = if round % 2 == 0 {
                [0.0; 3]
            } else {
                [0, 1, 2].map(|_| number(-20.0, 20.0))
            };
            let spacing_mm = if round < 4 {
                [1.0, 2.0, 1.0]
            } else {
                [0, 1, 2].map(|_| number(0.7, 4.0))
            };
            let shape = spacing_mm.map(|spacing: f64| (50.0 / spacing) as usize);
            let affine = turned((shape, spacing_mm, axes, degrees), [5.0, -3.0, 100.0]);
            let pieces: Vec<(Array3<u8>, Affine)> = (0..3)
                .map(|_| {
                    let centre: [f64; 3] = [0, 1, 2].map(|_| number(8.0, 22.0));
                    let mask = Array3::from_shape_fn((30, 30, 30), |(r, a, s)| {
                        let aside = [r, a, s]
                            .into_iter()
                            .zip(centre)
                            .map(|(index, centre)| (index as f64 - centre).powi(2));
                        u8::from(aside.sum::<f64>() < 90.0)
                    });
                    let origin = [number(-20.0, 5.0).round(), number(-25.0, 0.0), 85.0];
                    (mask, Affine::axis_aligned([1.0; 3], origin))
                })
                .collect();
            let grid = Grid { shape, affine };
            let pieces: Vec<_> = (7..)
                .zip(&pieces)
                .map(|(label, (mask, affine))| (label, mask, affine))
                .collect();
            let found = paste(&grid, &pieces).data;
            assert!(
                found == pasted_slowly(&grid, &pieces),
                "{spacing_mm:?} {axes:?} {degrees:?}"
            );
            assert!(found.iter().any(|label| *label == 7) && found.iter().any(|label| *label == 9));
        }
    }

    fn dice_of(label: u16, one: &LabelMap, other: &LabelMap) -> f64 {
        dice(
            one.data
                .iter()
                .zip(&other.data)
                .map(|(one, other)| (*one == label, *other == label)),
        )
    }

    #[test]
    fn cut_and_pasted_a_vertebra_is_what_it_was_on_every_grid() {
        const UNTURNED: [f64; 3] = [0.0; 3];
        let grids: [(Turned, f64); 8] = [
            (([100, 100, 100], [1.0, 1.0, 1.0], [1, 2, 3], UNTURNED), 1.0),
            (([100, 100, 34], [1.0, 1.0, 3.0], [-2, -3, 1], UNTURNED), 1.0),
            (([60, 60, 60], [2.0, 2.0, 2.0], [-1, -2, 3], UNTURNED), 1.0),
            (([70, 70, 70], [1.5, 1.5, 1.5], [-1, 2, 3], UNTURNED), 0.97),
            (([160, 160, 30], [0.6, 0.6, 3.3], [-2, -3, 1], UNTURNED), 0.97),
            (
                ([160, 160, 25], [0.6, 0.6, 4.0], [-2, -3, 1], [4.0, -6.0, 9.0]),
                0.97,
            ),
            (
                ([100, 100, 100], [1.0, 1.0, 1.0], [3, -1, -2], [25.0, 15.0, -35.0]),
                0.97,
            ),
            (
                ([100, 100, 34], [1.0, 1.0, 3.0], [-2, -3, 1], [5.0, 0.0, 3.0]),
                0.97,
            ),
        ];
        for (grid, least) in grids {
            let affine = turned(grid, [3.0, -20.0, 410.0]);
            let map = painted(grid.0, affine, |[right, anterior, superior]| {
                u16::from(in_vertebra([
                    right - 3.0,
                    anterior + 20.0 - 12.0,
                    superior - 410.0,
                ]))
            });
            let result = crop(
                &case(labelled("binary:L3", map.clone()), None),
                &CropConf::default(),
            );
            let back = pasted(&result.expect("cropped"));
            let alike = dice_of(1, &back, &map);
            println!("{grid:?}: dice {alike:.4}");
            assert!(alike >= least, "{grid:?}: {alike}");
            assert_eq!(back.affine, map.affine);
            assert_eq!(back.data.strides(), map.data.strides(), "first axis fastest");
        }
    }

    #[test]
    fn cut_and_pasted_a_real_map_is_what_it_was() {
        let Some(shared) = shared() else { return };
        let named = |name| LabelScheme::named(name, &BTreeMap::new()).expect("a scheme");
        let instances: LabelTable = (4..=8).zip(Level::ALL).collect();
        let own = LabelScheme::Table {
            name: "own".to_owned(),
            table: instances,
        };
        let maps = [
            (
                "verse-spinenav/sub-verse005_seg-vert_msk.nii.gz",
                named("verse"),
                0.97,
            ),
            (
                "verse-spinenav/sub-verse006_seg-vert_msk.nii.gz",
                named("verse"),
                0.97,
            ),
            (
                "verse-spinenav/sub-verse007_seg-vert_msk.nii.gz",
                named("verse"),
                0.97,
            ),
            (
                "verse-spinenav/sub-verse009_seg-vert_msk.nii.gz",
                named("verse"),
                0.97,
            ),
            (
                "verse-indvertseg/sub-verse010_seg-vert_msk.nii.gz",
                named("verse"),
                0.97,
            ),
            (
                "verse-anjany/sub-verse004_seg-vert_msk.nii.gz",
                named("verse"),
                0.97,
            ),
            ("totalseg-s0327/vertebrae_L3.nii.gz", named("binary:L3"), 0.97),
            ("panoptica-spine/matched_instance/ref.nii.gz", own, 0.97),
        ];
        for (path, scheme, least) in maps {
            let map = label_map(shared.join("data").join(path));
            let scan = case(Labelled { scheme, map }, None);
            let result = crop(&scan, &CropConf::default()).expect("cropped");
            let back = pasted(&result);
            for vertebra in &result.vertebrae {
                let alike = dice_of(vertebra.label, &back, &scan.mask.map);
                println!(
                    "{path} {} {:?}: dice {alike:.4}",
                    vertebra.label,
                    scan.mask.map.affine.spacing_mm()
                );
                assert!(alike >= least, "{path} {}: {alike}", vertebra.label);
            }
        }
    }

    #[test]
    fn where_two_vertebrae_meet_the_larger_share_wins_and_of_equal_ones_the_first() {
        let grid = Grid {
            shape: [6, 1, 1],
            affine: Affine::axis_aligned([1.0; 3], [0.0; 3]),
        };
        let one = Array3::<u8>::ones((4, 1, 1));
        let here = Affine::axis_aligned([1.0; 3], [0.0; 3]);
        // voxel centres of the second lie 0.25 to the right of the scan's: at 2 it has a share of 0.75, at 3
        // of 1
        let aside = Affine::axis_aligned([1.0; 3], [2.25, 0.0, 0.0]);
        let map = paste(&grid, &[(7, &one, &here), (9, &one, &aside)]);
        assert_eq!(map.data.iter().copied().collect::<Vec<_>>(), [7, 7, 7, 7, 9, 9]);
        let map = paste(&grid, &[(9, &one, &aside), (7, &one, &here)]);
        assert_eq!(map.data.iter().copied().collect::<Vec<_>>(), [7, 7, 7, 9, 9, 9]);
    }

    #[test]
    fn an_empty_mask_and_one_off_the_grid_leave_background() {
        let grid = Grid {
            shape: [5, 6, 7],
            affine: Affine::axis_aligned([1.0; 3], [0.0; 3]),
        };
        let far = Affine::axis_aligned([1.0; 3], [-500.0, 0.0, 0.0]);
        let map = paste(
            &grid,
            &[
                (1, &Array3::zeros((4, 4, 4)), &grid.affine),
                (2, &Array3::ones((4, 4, 4)), &far),
            ],
        );
        assert_eq!(map.shape(), grid.shape);
        assert!(map.data.iter().all(|label| *label == 0));
        assert_eq!(
            paste(
                &Grid {
                    shape: [0, 0, 3],
                    ..grid
                },
                &[]
            )
            .shape(),
            [0, 0, 3]
        );
    }
}
