//! A closed net of quadrilaterals around what lies inside a field: one vertex a sheet, one quadrilateral a crossed edge.
//!
//! This is dual marching cubes (Nielson, IEEE Visualization 2004). It has a third of the triangles of marching
//! tetrahedra, of even size, and each vertex has a cell of its own to move in.

use ndarray::{Array3, ArrayView3};

use super::Point;
use super::sheets::{EDGES, MOST_SHEETS, TABLE, edge, ends};

/// A vertex index for each corner.
pub(super) type Triangle = [u32; 3];

/// A closed net.
///
/// Every side of a quadrilateral belongs to exactly one other, which runs through it the other way, and no diagonal is a
/// side or another's diagonal: each may be split either way. For a side stands for a line on the face between two cells,
/// in which a sheet of each ends. Two sheets share at most one line (`Table::sheets`), and a line joins two crossed
/// edges: two quadrilaterals. A diagonal joins cells that share no face and only one edge. The quadrilaterals around a
/// vertex are one ring, since a sheet's loop is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Net {
    /// Vertices in voxel indices of the field.
    pub(super) vertices: Vec<Point>,
    /// The lowest corner of each vertex's cell, in the same indices.
    pub(super) cells: Vec<Point>,
    /// The quadrilaterals.
    pub(super) quads: Vec<Quad>,
}

/// Four vertices around a crossed edge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quad {
    /// Counter-clockwise as seen from outside.
    pub(super) corners: [u32; 4],
    /// The axis of the crossed edge.
    pub(super) axis: usize,
}

impl Net {
    /// Returns the net between the voxels at or above `level` and those below; without any of the former it is empty.
    pub(super) fn around(field: ArrayView3<'_, f32>, level: f32) -> Self {
        let Some(block) = Block::of(field, level) else {
            return Self::default();
        };
        let mut net = Self::default();
        let first = net.put_vertices(&block);
        net.put_quads(&block, &first);
        net
    }

    /// Puts the vertex of each sheet at the mean of its crossings, and returns the index of each cell's first one.
    fn put_vertices(&mut self, block: &Block) -> Array3<u32> {
        let mut first = Array3::zeros(block.configs.dim());
        for ((i, j, k), &config) in block.configs.indexed_iter() {
            if matches!(config, 0 | u8::MAX) {
                continue;
            }
            first[(i, j, k)] = u32::try_from(self.vertices.len()).expect("a field of less than 2³² cells");
            let cell = [i, j, k];
            let sheets = TABLE.sheets(config, |face| block.config_across(cell, face));
            let mut sums = [([0.0; 3], 0.0); MOST_SHEETS];
            for edge in 0..EDGES {
                let Some(sheet) = sheets.of_edge[edge] else {
                    continue;
                };
                let (sum, count) = &mut sums[usize::from(sheet)];
                let crossing = block.crossing(cell, edge);
                for axis in 0..3 {
                    sum[axis] += crossing[axis];
                }
                *count += 1.0;
            }
            for (sum, count) in &sums[..usize::from(sheets.count)] {
                self.vertices.push(block.in_field(sum.map(|sum| sum / count)));
                self.cells.push(block.in_field(cell.map(|index| index as f64)));
            }
        }
        first
    }

    fn put_quads(&mut self, block: &Block, first: &Array3<u32>) {
        let is_inside = |[i, j, k]: [usize; 3]| block.values[(i, j, k)] >= block.level;
        for (i, j, k) in ndarray::indices(first.dim()) {
            let lower = [i, j, k];
            for axis in 0..3 {
                let upper = moved(lower, axis);
                if is_inside(lower) == is_inside(upper) {
                    continue;
                }
                // counter-clockwise around the axis; a crossed edge never lies in the block's hull, which is outside
                let around = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(u, v)| {
                    let mut cell = lower;
                    cell[(axis + 1) % 3] -= u;
                    cell[(axis + 2) % 3] -= v;
                    let config = block.configs[cell];
                    let sheets = TABLE.sheets(config, |face| block.config_across(cell, face));
                    let sheet = sheets.of_edge[edge(axis, u, v)].expect("a crossed edge has a sheet");
                    first[cell] + u32::from(sheet)
                });
                let [a, b, c, d] = around;
                let corners = if is_inside(lower) {
                    [a, b, c, d]
                } else {
                    [d, c, b, a]
                };
                self.quads.push(Quad { corners, axis });
            }
        }
    }

    /// Returns the triangles, two a quadrilateral, none without area.
    ///
    /// The shorter diagonal splits it, if both halves then turn the same way around the crossed edge. Seen along that
    /// edge the corners lie in four different quadrants, each within its cell, so that of the two diagonals one always
    /// gives halves that do.
    pub(super) fn triangles(&self) -> Vec<Triangle> {
        let split = |quad: &Quad| {
            let [a, b, c, d] = quad.corners;
            let one = [[a, b, c], [a, c, d]];
            let other = [[a, b, d], [b, c, d]];
            let [narrower_of_one, narrower_of_other] = [one, other].map(|halves| {
                let [half, rest] = halves.map(|half| self.turn(half, quad.axis));
                // positive where both turn as the whole does
                let whole = (half + rest).signum();
                (half * whole).min(rest * whole)
            });
            let are_both_sound = narrower_of_one.min(narrower_of_other) > SOUND;
            let takes_one = if are_both_sound {
                self.length(a, c) <= self.length(b, d)
            } else {
                narrower_of_one > narrower_of_other
            };
            if takes_one { one } else { other }
        };
        self.quads.iter().flat_map(split).collect()
    }

    /// Returns twice the signed area of a triangle as seen along an axis, in square voxels.
    fn turn(&self, corners: Triangle, axis: usize) -> f64 {
        let (u, v) = ((axis + 1) % 3, (axis + 2) % 3);
        let [a, b, c] = corners.map(|corner| self.vertices[corner as usize]);
        (b[u] - a[u]) * (c[v] - a[v]) - (b[v] - a[v]) * (c[u] - a[u])
    }

    /// Returns the squared distance between two vertices.
    fn length(&self, one: u32, other: u32) -> f64 {
        let (one, other) = (self.vertices[one as usize], self.vertices[other as usize]);
        (0..3).map(|axis| (one[axis] - other[axis]).powi(2)).sum()
    }
}

/// Twice the area, in square voxels, below which half a quadrilateral counts as too narrow.
const SOUND: f64 = 1e-2;

/// The part of a field that holds everything inside, and one voxel more on each side, which is outside.
struct Block {
    values: Array3<f32>,
    level: f32,
    /// The corners inside of each cell, a bit each.
    configs: Array3<u8>,
    /// The field's index of the block's first voxel.
    origin: [f64; 3],
}

impl Block {
    /// Returns `None` where nothing lies inside.
    fn of(field: ArrayView3<'_, f32>, level: f32) -> Option<Self> {
        let mut min = [usize::MAX; 3];
        let mut max = [0; 3];
        for ((i, j, k), _) in field.indexed_iter().filter(|(_, value)| **value >= level) {
            for (axis, index) in [i, j, k].into_iter().enumerate() {
                min[axis] = min[axis].min(index);
                max[axis] = max[axis].max(index);
            }
        }
        if min[0] > max[0] {
            return None;
        }
        let shape = [0, 1, 2].map(|axis| max[axis] - min[axis] + 3);
        let values = Array3::from_shape_fn(shape, |(i, j, k)| {
            // below index 0 wraps round to an index that no field has: outside the field is background
            let at = |index: usize, axis: usize| (index + min[axis]).wrapping_sub(1);
            let value = field.get((at(i, 0), at(j, 1), at(k, 2)));
            value.copied().unwrap_or(0.0)
        });
        let configs = Array3::from_shape_fn(shape.map(|size| size - 1), |(i, j, k)| {
            (0..8).fold(0, |config, corner| {
                let at = (i + (corner & 1), j + (corner >> 1 & 1), k + (corner >> 2));
                config | u8::from(values[at] >= level) << corner
            })
        });
        Some(Self {
            values,
            level,
            configs,
            origin: min.map(|index| index as f64 - 1.0),
        })
    }

    /// Returns the cell behind a face that is crossed: there is one, since the block's hull is outside.
    fn config_across(&self, mut cell: [usize; 3], face: usize) -> u8 {
        let axis = face / 2;
        if face % 2 == 1 {
            cell[axis] += 1;
        } else {
            cell[axis] -= 1;
        }
        self.configs[cell]
    }

    /// Returns where the field, linear along an edge of a cell, meets the level.
    fn crossing(&self, cell: [usize; 3], edge: usize) -> Point {
        let [lower, upper] = ends(edge).map(|corner| [0, 1, 2].map(|axis| cell[axis] + (corner >> axis & 1)));
        let (low, high) = (self.values[lower], self.values[upper]);
        let mut crossing = lower.map(|index| index as f64);
        crossing[edge / 4] += f64::from((self.level - low) / (high - low));
        crossing
    }

    fn in_field(&self, point: Point) -> Point {
        [0, 1, 2].map(|axis| point[axis] + self.origin[axis])
    }
}

fn moved(mut voxel: [usize; 3], axis: usize) -> [usize; 3] {
    voxel[axis] += 1;
    voxel
}
