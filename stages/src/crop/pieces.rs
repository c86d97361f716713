//! Whether a mask hangs together.

use ndarray::{Array3, ArrayView3};

/// Returns whether the mask falls into more than one 26-connected piece.
pub fn is_in_pieces(mask: ArrayView3<'_, u8>) -> bool {
    let (size_i, size_j, size_k) = mask.dim();
    let mut left: Array3<bool> = mask.map(|value| *value != 0);
    let mut unseen = left.iter().filter(|set| **set).count();
    let Some((seed, _)) = left.indexed_iter().find(|(_, set)| **set) else {
        return false;
    };
    // flood fill of the first piece: whatever it does not reach is another one
    let mut open = vec![seed];
    left[seed] = false;
    unseen -= 1;
    while let Some((i, j, k)) = open.pop() {
        for i in i.saturating_sub(1)..(i + 2).min(size_i) {
            for j in j.saturating_sub(1)..(j + 2).min(size_j) {
                for k in k.saturating_sub(1)..(k + 2).min(size_k) {
                    if left[[i, j, k]] {
                        left[[i, j, k]] = false;
                        unseen -= 1;
                        open.push((i, j, k));
                    }
                }
            }
        }
    }
    unseen > 0
}

#[cfg(test)]
mod tests {
    use super::*;

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
