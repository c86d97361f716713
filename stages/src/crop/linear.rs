//! Trilinear interpolation of a binary mask: what share of a point's surroundings is set.

use std::ops::Range;

use ndarray::{ArrayView3, s};
use schemas::Affine;

/// Share of the interpolation weight from which on a point belongs to the mask.
pub const CUT: f64 = 0.5;

/// Returns the interpolation weight of the voxels around `index` that are `set`; voxels outside count as not
/// set.
///
/// Background outside means that a mask which fills the volume ends half a voxel past its outermost centres:
/// at the volume's edge, as everywhere else.
pub fn linear<T: Copy>(volume: &ArrayView3<'_, T>, index: [f64; 3], set: impl Fn(T) -> bool) -> f64 {
    let corner = index.map(f64::floor);
    // a negative corner wraps round to an index that no volume has, its neighbour 0 included
    let first = corner.map(|value| value as i64 as usize);
    share(index, corner, |[i, j, k]| {
        let voxel = [i, j, k].map(usize::from);
        let [i, j, k] = [0, 1, 2].map(|axis| first[axis].wrapping_add(voxel[axis]));
        volume.get((i, j, k)).is_some_and(|value| set(*value))
    })
}

/// Returns the weight of the eight voxels from `corner` on that are `set`, each told by whether it is the upper one along
/// each axis.
fn share(index: [f64; 3], corner: [f64; 3], set: impl Fn([bool; 3]) -> bool) -> f64 {
    let sides = [0, 1, 2].map(|axis| {
        let upper = index[axis] - corner[axis];
        [(false, 1.0 - upper), (true, upper)]
    });
    let mut sum = 0.0;
    for (i, weight_i) in sides[0] {
        for (j, weight_j) in sides[1] {
            for (k, weight_k) in sides[2] {
                if set([i, j, k]) {
                    sum += weight_i * weight_j * weight_k;
                }
            }
        }
    }
    sum
}

/// Most voxels of a box that is made ready, which takes three times as many bytes for a moment. A vertebra has as many on a
/// scan with voxels of 0.35 mm, whose labels alone are larger by far.
const LARGEST: usize = 1 << 24;

/// A mask that is made ready to be interpolated at many points: most of them lie where all of the eight voxels around are
/// set, or none.
pub struct Surroundings {
    /// Lowest and highest index that a point is looked up at: one past the box on either side, where nothing is set.
    reach: [[f64; 2]; 3],
    /// From one voxel to the next along each axis.
    step: [usize; 3],
    /// 1 for each voxel of the box that is set; around the box lies background.
    set: Vec<u8>,
    /// How many of the eight voxels are set that begin here and reach one further along each axis.
    around: Vec<u8>,
}

impl Surroundings {
    /// Takes what is `set` from the box `first` to `last`, laid out with axis `fastest` running fastest. Returns `None` for a
    /// box that is too large.
    pub fn of<T: Copy>(
        volume: &ArrayView3<'_, T>,
        [first, last]: [[usize; 3]; 2],
        fastest: usize,
        set: impl Fn(T) -> bool,
    ) -> Option<Self> {
        // a layer below, and two above: eight voxels that begin in the upper one end in the other
        let size = [0, 1, 2].map(|axis| last[axis] - first[axis] + 4);
        let voxels = size
            .iter()
            .try_fold(1_usize, |voxels, size| voxels.checked_mul(*size));
        let voxels = voxels.filter(|voxels| *voxels <= LARGEST)?;
        let (middle, slowest) = ((fastest + 1) % 3, (fastest + 2) % 3);
        let mut step = [1; 3];
        step[middle] = size[fastest];
        step[slowest] = size[fastest] * size[middle];

        // read in the order of memory: of a file's volume the first axis runs fastest, of a patch the last
        let inner = volume.slice(s![first[0]..=last[0], first[1]..=last[1], first[2]..=last[2]]);
        let (rows, row_step) = if inner.strides()[0] == 1 {
            (inner.reversed_axes(), [step[2], step[1], step[0]])
        } else {
            (inner, step)
        };
        let mut ones = vec![0; voxels];
        for (slow, plane) in rows.outer_iter().enumerate() {
            for (middle, row) in plane.outer_iter().enumerate() {
                let start = (slow + 1) * row_step[0] + (middle + 1) * row_step[1] + row_step[2];
                let slots = &mut ones[start..];
                if row_step[2] == 1 {
                    slots
                        .iter_mut()
                        .zip(row)
                        .for_each(|(slot, value)| *slot = u8::from(set(*value)));
                } else {
                    let slots = slots.iter_mut().step_by(row_step[2]);
                    slots
                        .zip(row)
                        .filter(|(_, value)| set(**value))
                        .for_each(|(slot, _)| *slot = 1);
                }
            }
        }
        let pairs = sums(&ones, step[fastest]);
        let fours = sums(&pairs, step[middle]);
        Some(Self {
            reach: [0, 1, 2].map(|axis| [first[axis] as f64 - 1.0, last[axis] as f64 + 1.0]),
            around: sums(&fours, step[slowest]),
            step,
            set: ones,
        })
    }

    /// Returns what [`linear`] does.
    pub fn share(&self, index: [f64; 3]) -> f64 {
        // what is too large for it is not near either
        let corner = index.map(floor);
        let is_near = (0..3).all(|axis| {
            let [low, high] = self.reach[axis];
            (low..high).contains(&corner[axis])
        });
        if !is_near {
            return 0.0;
        }
        let first: usize = (0..3)
            .map(|axis| (corner[axis] - self.reach[axis][0]) as usize * self.step[axis])
            .sum();
        share(index, corner, |upper| {
            let aside: usize = (0..3)
                .map(|axis| usize::from(upper[axis]) * self.step[axis])
                .sum();
            self.set[first + aside] != 0
        })
    }

    /// Returns what an index along one axis adds to the position of the lowest of the eight voxels.
    #[inline]
    fn part(&self, axis: usize, index: f64) -> f64 {
        let [low, high] = self.reach[axis];
        // a point further out sees no more than one in the layer around; so does one that is no number
        let index = if index > low { index } else { low };
        let index = if index < high { index } else { high };
        (floor(index) - low) * self.step[axis] as f64
    }
}

/// Points in rows, one voxel of another grid after the other, as they lie in what surrounds a mask.
pub struct Rows<'a> {
    ready: &'a Surroundings,
    /// Voxel of the other grid → index of the mask's.
    index_of: &'a Affine,
    /// Axis of the other grid that rows run along.
    along: usize,
    /// First voxel of a row along that axis.
    start: usize,
    /// For each axis of the mask, what each voxel of a row adds to its index.
    terms: [Vec<f64>; 3],
    /// The position of the lowest of the eight voxels around each voxel of a row, apart from what is the same for the row.
    cells: Vec<f64>,
    /// Axis of the mask that alone changes along a row and changes with nothing else; `None` on grids that are turned
    /// against each other.
    alone: Option<usize>,
}

impl<'a> Rows<'a> {
    /// Prepares for rows of the voxels `range` along the axis `along` of the other grid.
    pub fn new(ready: &'a Surroundings, index_of: &'a Affine, along: usize, range: Range<usize>) -> Self {
        let is_alone = |axis: &usize| {
            let changes = |row: usize, column: usize| index_of.0[row][column] != 0.0;
            (0..3).all(|row| changes(row, along) == (row == *axis))
                && (0..3).all(|column| changes(*axis, column) == (column == along))
        };
        let terms = [0, 1, 2].map(|axis| {
            let voxels = range.clone().map(|voxel| index_of.0[axis][along] * voxel as f64);
            voxels.collect()
        });
        let mut rows = Self {
            ready,
            index_of,
            along,
            start: range.start,
            terms,
            cells: vec![0.0; range.len()],
            alone: None,
        };
        if let Some(axis) = (0..3).find(is_alone) {
            rows.add_to_cells(axis, [0.0; 3]);
            rows.alone = Some(axis);
        }
        rows
    }

    /// Calls `found` for each voxel of the row through `voxel` around which anything is set: with its position in the row,
    /// whether all of the eight voxels are, and what tells the share of them.
    pub fn each(&mut self, voxel: [usize; 3], mut found: impl FnMut(usize, bool, &dyn Fn() -> f64)) {
        let mut point = voxel.map(|index| index as f64);
        let mut rest = 0.0;
        if let Some(alone) = self.alone {
            let index = self.index_of.apply(point);
            let others = (0..3).filter(|axis| *axis != alone);
            rest = others.map(|axis| self.ready.part(axis, index[axis])).sum();
        } else {
            self.cells.fill(0.0);
            (0..3).for_each(|axis| self.add_to_cells(axis, point));
        }
        for (position, cell) in self.cells.iter().enumerate() {
            let set = self.ready.around[whole(rest + cell) as usize];
            if set > 0 {
                point[self.along] = (self.start + position) as f64;
                found(position, set == 8, &|| {
                    self.ready.share(self.index_of.apply(point))
                });
            }
        }
    }

    /// Adds what the index along one axis of the mask does to the position of each voxel of the row through `point`.
    fn add_to_cells(&mut self, axis: usize, point: [f64; 3]) {
        // the sum of `Affine::apply`, in its order, with the row's own term wherever that stands
        let [x, y, z, shift] = self.index_of.0[axis];
        let [x, y, z] = [x * point[0], y * point[1], z * point[2]];
        let (before, [next, last]) = match self.along {
            0 => (0.0, [y, z]),
            1 => (x, [z, 0.0]),
            _ => (x + y, [0.0, 0.0]),
        };
        for (cell, term) in self.cells.iter_mut().zip(&self.terms[axis]) {
            *cell += self.ready.part(axis, before + term + next + last + shift);
        }
    }
}

/// From here on a f64 holds whole numbers only: adding it rounds, and the lower bits of the sum are the number.
const WHOLE: f64 = 1.5 * (1_u64 << 52) as f64;

/// Returns a whole number as one; `as` would ask first whether it fits.
#[inline]
fn whole(value: f64) -> u32 {
    (value + WHOLE).to_bits() as u32
}

/// [`f64::floor`] of a number below 2⁵¹, without a call where processors need not have the instruction.
#[inline]
fn floor(value: f64) -> f64 {
    let nearest = (value + WHOLE) - WHOLE;
    nearest - f64::from(u8::from(nearest > value))
}

/// Returns the sum of each value and the one that is `step` further.
fn sums(values: &[u8], step: usize) -> Vec<u8> {
    let mut sums = values.to_vec();
    for (sum, further) in sums.iter_mut().zip(&values[step..]) {
        *sum += further;
    }
    sums
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, ShapeBuilder as _};

    use super::*;
    use crate::crop::testing::Numbers;

    #[test]
    fn a_point_sees_its_eight_neighbours_by_distance_and_nothing_outside() {
        let mut volume = Array3::<u8>::zeros((2, 2, 2));
        volume[[0, 0, 0]] = 1;
        let at = |index| linear(&volume.view(), index, |value| value != 0);
        assert_eq!(at([0.0, 0.0, 0.0]), 1.0);
        assert_eq!(at([0.25, 0.5, 0.5]), 0.75 * 0.5 * 0.5);
        assert_eq!(at([-0.25, 0.0, 0.0]), 0.75);
        assert_eq!(at([-1.0, 0.0, 0.0]), 0.0);
        assert_eq!(at([1.0, 0.0, 0.0]), 0.0);
        assert_eq!(at([-1e300, 1e300, f64::NAN]), 0.0);
    }

    #[test]
    fn what_is_made_ready_gives_the_same_to_the_last_bit_anywhere() {
        let mut numbers = Numbers(11);
        for fortran in [false, true] {
            let mut volume = Array3::<u16>::zeros((9, 11, 7).set_f(fortran));
            let (first, last) = ([2, 3, 1], [7, 10, 5]);
            let mut inner = volume.slice_mut(s![2..=7, 3..=10, 1..=5]);
            inner.map_inplace(|value| *value = if numbers.next() < 0.6 { 3 } else { 4 });
            let volume = volume.view();
            let made_ready = [0, 1, 2].map(|fastest| {
                let ready = Surroundings::of(&volume, [first, last], fastest, |value| value == 3);
                ready.expect("a small box")
            });
            for round in 0..20_000 {
                let ready = &made_ready[round % 3];
                // whole and half indices are where rounding would show
                let steps = [1.0, 2.0, 64.0, 1e9][round % 4];
                let mut index = [9.0, 11.0, 7.0]
                    .map(|size: f64| ((numbers.next() * (size + 6.0) - 3.0) * steps).round() / steps);
                if round % 100 == 0 {
                    let odd = [f64::NAN, 1e300, -1e300, f64::INFINITY, -0.0, -1e-17, 1e16, -1e16];
                    index[round / 100 % 3] = odd[round / 100 % 8];
                }
                let expected = linear(&volume, index, |value| value == 3);
                // a share that is no number reaches no cut, as none does
                let expected = if expected.is_nan() { 0.0 } else { expected };
                assert_eq!(ready.share(index).to_bits(), expected.to_bits(), "{index:?}");
                let cell: f64 = (0..3).map(|axis| ready.part(axis, index[axis])).sum();
                match ready.around[whole(cell) as usize] {
                    0 => assert_eq!(expected, 0.0, "{index:?}"),
                    8 => assert!((expected - 1.0).abs() < 1e-12, "{index:?}"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_box_that_is_too_large_is_not_made_ready() {
        let volume = Array3::<u8>::zeros((1, 1, 1));
        let volume = volume.broadcast((4000, 4000, 4000)).expect("a view");
        assert!(Surroundings::of(&volume, [[0; 3], [3999; 3]], 0, |value| value != 0).is_none());
    }
}
