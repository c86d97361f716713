//! Voxel axes in the order and direction of the body, and the boxes in which labels lie.

use std::cmp::Reverse;
use std::ops::Range;

use ndarray::{ArrayView3, ArrayViewMut3, Axis};
use schemas::Affine;

/// Which voxel axis runs nearest to right, anterior and superior, and whether it runs against it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    axes: [usize; 3],
    reversed: [bool; 3],
    /// Step between voxels towards right, anterior and superior, in mm.
    pub(super) spacing_mm: [f64; 3],
}

impl Frame {
    /// Returns the frame of a grid: right takes the nearest axis, anterior the nearer of the other two.
    ///
    /// An axis without a usable length (the decoder lets none through) counts as 1 mm long.
    pub(super) fn of(affine: &Affine) -> Self {
        let lengths = affine
            .spacing_mm()
            .map(|mm| if mm.is_finite() && mm > 0.0 { mm } else { 1.0 });
        let cosine = |world: usize, axis: usize| affine.0[world][axis] / lengths[axis];
        let mut free = vec![0, 1, 2];
        let mut axes = [0; 3];
        for (world, slot) in axes.iter_mut().enumerate() {
            let mut nearest = 0;
            for candidate in 1..free.len() {
                if cosine(world, free[candidate]).abs() > cosine(world, free[nearest]).abs() {
                    nearest = candidate;
                }
            }
            *slot = free.remove(nearest);
        }
        let reversed = [0, 1, 2].map(|world| cosine(world, axes[world]) < 0.0);
        Self {
            axes,
            reversed,
            spacing_mm: axes.map(|axis| lengths[axis]),
        }
    }

    /// Returns the voxel axis nearest to left–right, and whether it runs to the left.
    pub(super) fn left_right(&self) -> (usize, bool) {
        (self.axes[0], self.reversed[0])
    }

    /// Returns the voxels with axes right, anterior, superior.
    pub(super) fn view<'a, T>(&self, voxels: ArrayView3<'a, T>) -> ArrayView3<'a, T> {
        let mut view = voxels.permuted_axes(self.axes);
        for (axis, reversed) in self.reversed.into_iter().enumerate() {
            if reversed {
                view.invert_axis(Axis(axis));
            }
        }
        view
    }

    /// Returns the voxels, to be written to, with axes right, anterior, superior.
    pub(super) fn view_mut<'a, T>(&self, voxels: ArrayViewMut3<'a, T>) -> ArrayViewMut3<'a, T> {
        let mut view = voxels.permuted_axes(self.axes);
        for (axis, reversed) in self.reversed.into_iter().enumerate() {
            if reversed {
                view.invert_axis(Axis(axis));
            }
        }
        view
    }
}

/// The voxels that a label spans along each axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent(pub(crate) [Range<usize>; 3]);

impl Extent {
    fn include(&mut self, voxel: [usize; 3]) {
        for (range, index) in self.0.iter_mut().zip(voxel) {
            range.start = range.start.min(index);
            range.end = range.end.max(index + 1);
        }
    }
}

/// Returns the extent of each of `classes` classes of voxels, `None` for one without a voxel.
///
/// Walks the voxels in the order in which they lie in memory, whatever the axes' order.
pub(crate) fn extents<T: Copy>(
    voxels: ArrayView3<'_, T>,
    classes: usize,
    class_of: impl Fn(T) -> Option<usize>,
) -> Vec<Option<Extent>> {
    let mut order = [0, 1, 2];
    order.sort_by_key(|axis| Reverse(voxels.stride_of(Axis(*axis)).unsigned_abs()));
    let mut found: Vec<Option<Extent>> = vec![None; classes];
    for (outer, plane) in voxels.permuted_axes(order).outer_iter().enumerate() {
        for (middle, row) in plane.outer_iter().enumerate() {
            for (inner, value) in row.iter().enumerate() {
                let Some(class) = class_of(*value) else { continue };
                let mut voxel = [0; 3];
                for (axis, index) in order.into_iter().zip([outer, middle, inner]) {
                    voxel[axis] = index;
                }
                let start = || Extent(voxel.map(|index| index..index + 1));
                if let Some(slot) = found.get_mut(class) {
                    slot.get_or_insert_with(start).include(voxel);
                }
            }
        }
    }
    found
}

/// Returns the number of pieces (26-connected) that the set voxels fall into.
#[cfg(test)]
pub(crate) fn pieces(mask: ArrayView3<'_, u8>) -> usize {
    let mut left = mask.to_owned();
    let mut pieces = 0;
    for ((i, j, k), value) in mask.indexed_iter() {
        if *value == 0 || left[[i, j, k]] == 0 {
            continue;
        }
        pieces += 1;
        left[[i, j, k]] = 0;
        let mut open = vec![[i, j, k]];
        while let Some([i, j, k]) = open.pop() {
            for step in 0..27 {
                let place = [i + step / 9, j + step / 3 % 3, k + step % 3].map(|index| index.wrapping_sub(1));
                if let Some(voxel) = left.get_mut(place).filter(|voxel| **voxel != 0) {
                    *voxel = 0;
                    open.push(place);
                }
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn an_oblique_sagittal_grid_finds_its_left_right_axis() {
        // columns: i runs to posterior and a little down, j to inferior, k to the right: a sagittal MRI
        let affine = Affine([
            [0.1, -0.02, 2.9, 0.0],
            [-0.5, 0.05, 0.4, 0.0],
            [-0.06, -0.6, 0.5, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        let frame = Frame::of(&affine);
        assert_eq!((frame.axes, frame.reversed), ([2, 0, 1], [false, true, true]));
        assert!(
            (frame.spacing_mm[0] - 2.970).abs() < 1e-3,
            "{:?}",
            frame.spacing_mm
        );
    }

    #[test]
    fn extents_do_not_depend_on_the_order_in_memory() {
        let mut voxels = Array3::<u16>::zeros((4, 5, 6));
        voxels[[1, 2, 5]] = 7;
        voxels[[3, 0, 4]] = 7;
        let class_of = |value: u16| (value == 7).then_some(1);
        let expected = vec![None, Some(Extent([1..4, 0..3, 4..6]))];
        assert_eq!(extents(voxels.view(), 2, class_of), expected);
        let mut other = Array3::<u16>::zeros(ndarray::ShapeBuilder::f((4, 5, 6)));
        other.assign(&voxels);
        assert_eq!(extents(other.view(), 2, class_of), expected);
    }
}
