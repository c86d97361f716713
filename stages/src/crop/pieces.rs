//! Whether a mask hangs together, and how large its pieces are.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{ArrayView1, ArrayView3};

/// Returns whether the mask falls into more than one 26-connected piece.
pub fn is_in_pieces(mask: ArrayView3<'_, u8>) -> bool {
    Runs::joined(mask).pieces > 1
}

/// Returns how many voxels each 26-connected piece of the mask has, the largest first.
#[cfg_attr(
    not(any(feature = "torch", test)),
    expect(dead_code, reason = "only nights ask for it, which need networks")
)]
pub fn sizes(mask: ArrayView3<'_, u8>) -> Vec<usize> {
    let mut runs = Runs::joined(mask);
    let mut by_root: BTreeMap<usize, usize> = BTreeMap::new();
    for run in 0..runs.ends.len() {
        let (first, last) = runs.ends[run];
        *by_root.entry(runs.root(run)).or_default() += last - first + 1;
    }
    let mut sizes: Vec<usize> = by_root.into_values().collect();
    sizes.sort_unstable_by_key(|size| Reverse(*size));
    sizes
}

/// Runs of set voxels, and which of them hang together.
#[derive(Default)]
struct Runs {
    /// First and last voxel of each.
    ends: Vec<(usize, usize)>,
    /// Another run of the same piece, or the run itself: all ways end at one of them.
    same_as: Vec<usize>,
    pieces: usize,
}

impl Runs {
    /// Returns the runs of set voxels along the last axis, joined where they touch, row by row; each joining makes two
    /// pieces one.
    fn joined(mask: ArrayView3<'_, u8>) -> Self {
        let (_, size_j, _) = mask.dim();
        let mut runs = Self::default();
        // the runs of each row so far
        let mut rows: Vec<Range<usize>> = Vec::new();
        for (i, plane) in mask.outer_iter().enumerate() {
            for (j, row) in plane.outer_iter().enumerate() {
                let here = runs.add(row);
                let before = (j > 0).then(|| i * size_j + j - 1);
                let above =
                    (j.saturating_sub(1)..(j + 2).min(size_j)).map(|j| (i * size_j + j).checked_sub(size_j));
                for row in above.flatten().chain(before) {
                    runs.join(here.clone(), rows[row].clone());
                }
                rows.push(here);
            }
        }
        runs
    }

    /// Adds the runs of a row, each a piece of its own as yet.
    fn add(&mut self, row: ArrayView1<'_, u8>) -> Range<usize> {
        let start = self.ends.len();
        if row.iter().fold(0, |all, voxel| all | voxel) != 0 {
            let mut first = None;
            for (position, voxel) in row.iter().enumerate() {
                match first {
                    None if *voxel != 0 => first = Some(position),
                    Some(begin) if *voxel == 0 => {
                        self.ends.push((begin, position - 1));
                        first = None;
                    }
                    _ => {}
                }
            }
            self.ends.extend(first.map(|begin| (begin, row.len() - 1)));
        }
        let added = start..self.ends.len();
        self.same_as.extend(added.clone());
        self.pieces += added.len();
        added
    }

    /// Makes one piece of those runs of two neighbouring rows that share a face, an edge or a corner.
    fn join(&mut self, mut one: Range<usize>, mut other: Range<usize>) {
        while let (Some(a), Some(b)) = (one.clone().next(), other.clone().next()) {
            let ((a_first, a_last), (b_first, b_last)) = (self.ends[a], self.ends[b]);
            if a_first <= b_last + 1 && b_first <= a_last + 1 {
                let (a, b) = (self.root(a), self.root(b));
                self.pieces -= usize::from(a != b);
                self.same_as[a] = b;
            }
            // what ends first touches nothing further on
            if a_last < b_last {
                one.next();
            } else {
                other.next();
            }
        }
    }

    fn root(&mut self, mut run: usize) -> usize {
        while self.same_as[run] != run {
            // halves the way for the next time
            self.same_as[run] = self.same_as[self.same_as[run]];
            run = self.same_as[run];
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::crop::testing::Numbers;

    /// Flood fills, one a piece, each from the first voxel that those before have not reached.
    fn sizes_by_filling(mask: &Array3<u8>) -> Vec<usize> {
        let (size_i, size_j, size_k) = mask.dim();
        let mut left = mask.clone();
        let mut sizes = Vec::new();
        for (first, _) in mask.indexed_iter() {
            let mut open = vec![first];
            let mut size = 0;
            while let Some((i, j, k)) = open.pop() {
                if left[[i, j, k]] == 0 {
                    continue;
                }
                left[[i, j, k]] = 0;
                size += 1;
                for i in i.saturating_sub(1)..(i + 2).min(size_i) {
                    for j in j.saturating_sub(1)..(j + 2).min(size_j) {
                        for k in k.saturating_sub(1)..(k + 2).min(size_k) {
                            open.push((i, j, k));
                        }
                    }
                }
            }
            sizes.extend((size > 0).then_some(size));
        }
        sizes.sort_unstable_by_key(|size: &usize| Reverse(*size));
        sizes
    }

    #[test]
    fn random_masks_have_the_pieces_that_flood_fills_reach() {
        let mut numbers = Numbers(5);
        let mut seen = [0; 2];
        for round in 0..4000 {
            let shape = [(4, 5, 6), (1, 9, 7), (6, 1, 1), (2, 2, 12)][round % 4];
            let share = 0.08 + 0.3 * numbers.next();
            let mask = Array3::from_shape_simple_fn(shape, || u8::from(numbers.next() < share));
            let expected = sizes_by_filling(&mask);
            let in_pieces = expected.len() > 1;
            assert_eq!(is_in_pieces(mask.view()), in_pieces, "{mask}");
            assert_eq!(is_in_pieces(mask.t()), in_pieces, "{mask} turned");
            assert_eq!(sizes(mask.view()), expected, "{mask}");
            assert_eq!(sizes(mask.t()), expected, "{mask} turned");
            seen[usize::from(in_pieces)] += 1;
        }
        assert!(seen[0] > 500 && seen[1] > 500, "{seen:?}");
    }

    #[test]
    fn voxels_that_share_a_corner_are_one_piece_and_voxels_with_a_gap_are_two() {
        let mut mask = Array3::<u8>::zeros((4, 4, 4));
        assert!(!is_in_pieces(mask.view()), "nothing is not in pieces");
        mask[[0, 0, 0]] = 1;
        mask[[1, 1, 1]] = 1;
        assert!(!is_in_pieces(mask.view()));
        mask[[3, 3, 3]] = 1;
        assert!(is_in_pieces(mask.view()));
    }

    #[test]
    fn a_winding_strand_is_one_piece() {
        let mut mask = Array3::<u8>::zeros((9, 9, 3));
        for row in (0..9).step_by(2) {
            for column in 0..9 {
                mask[[row, column, 1]] = 1;
            }
            let turn = if row % 4 == 0 { 8 } else { 0 };
            if row + 1 < 9 {
                mask[[row + 1, turn, 1]] = 1;
            }
        }
        assert!(!is_in_pieces(mask.view()));
        mask[[3, 0, 1]] = 0;
        assert!(is_in_pieces(mask.view()));
    }
}
