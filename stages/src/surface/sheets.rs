//! The pieces of surface within one cell: the cube between eight neighbouring voxel centres.
//!
//! Marching cubes (Lorensen and Cline, SIGGRAPH 1987) cuts a cell by closed loops over its crossed edges, one loop a
//! sheet. Loops are followed here from the signs of the faces alone, so that both cells of a face agree on it.

use std::sync::LazyLock;

/// Corner n of a cell lies at n's bits: bit 0 along the first axis, bit 1 along the second, bit 2 along the third.
pub(super) type Corner = usize;

/// Edges of a cell.
pub(super) const EDGES: usize = 12;

/// How many sheets a cell can hold: four corners of which no two share an edge.
pub(super) const MOST_SHEETS: usize = 4;

/// Which sheet passes through each edge of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sheets {
    /// Number of sheets.
    pub(super) count: u8,
    /// The sheet of each edge; `None` where both ends lie on one side.
    pub(super) of_edge: [Option<u8>; EDGES],
}

/// Returns the edge along `axis` that lies at `u` along the next axis and at `v` along the one after (in turn: 0, 1, 2,
/// 0, …).
pub(super) fn edge(axis: usize, u: usize, v: usize) -> usize {
    4 * axis + u + 2 * v
}

/// Returns the two ends of an edge, the lower one first.
pub(super) fn ends(edge: usize) -> [Corner; 2] {
    let (axis, u, v) = (edge / 4, edge % 2, edge / 2 % 2);
    let lower = u << ((axis + 1) % 3) | v << ((axis + 2) % 3);
    [lower, lower | 1 << axis]
}

/// Returns the edge between two corners that are neighbours.
fn between(one: Corner, other: Corner) -> usize {
    let axis = (one ^ other).trailing_zeros() as usize;
    let lower = one & other;
    edge(axis, lower >> ((axis + 1) % 3) & 1, lower >> ((axis + 2) % 3) & 1)
}

/// Face 2·axis + side of a cell; the neighbour there sees it as its face `face ^ 1`.
pub(super) type Face = usize;

/// Returns the corners of a face, one after the other around it.
fn corners_around(face: Face) -> [Corner; 4] {
    let (axis, side) = (face / 2, face % 2);
    let (u, v) = (1 << ((axis + 1) % 3), 1 << ((axis + 2) % 3));
    [0, u, u | v, v].map(|corner| corner | side << axis)
}

fn is_inside(config: u8, corner: Corner) -> bool {
    config >> corner & 1 == 1
}

/// Returns whether the inside holds two corners of a face that lie across from each other, and no more: whether they
/// are joined through the face is a choice.
fn is_ambiguous(config: u8, face: Face) -> bool {
    let inside = corners_around(face).map(|corner| is_inside(config, corner));
    inside[0] == inside[2] && inside[1] == inside[3] && inside[0] != inside[1]
}

/// Returns the sheets of a cell whose corners inside are the bits of `config`.
///
/// An ambiguous face joins what is inside: bone that is one voxel thick and runs aslant stays whole. Where `is_pinched`
/// it parts it.
fn trace(config: u8, is_pinched: bool) -> Sheets {
    // each edge names its sheet after one of the sheet's edges
    let mut names: [usize; EDGES] = std::array::from_fn(|edge| edge);
    let mut join = |one: usize, other: usize| {
        let (from, to) = (names[one], names[other]);
        for name in &mut names {
            if *name == from {
                *name = to;
            }
        }
    };
    for face in 0..6 {
        let corners = corners_around(face);
        let sides = [0, 1, 2, 3].map(|n| between(corners[n], corners[(n + 1) % 4]));
        if is_ambiguous(config, face) {
            // the corners that are cut off, each by a line over the two sides that meet there
            let cut = (0..4).filter(|n| is_inside(config, corners[*n]) == is_pinched);
            for n in cut {
                join(sides[n], sides[(n + 3) % 4]);
            }
        } else {
            let crossed: Vec<usize> = (sides.into_iter())
                .filter(|side| is_crossed(config, *side))
                .collect();
            if let [one, other] = crossed[..] {
                join(one, other);
            }
        }
    }

    let mut sheets = Sheets {
        count: 0,
        of_edge: [None; EDGES],
    };
    for edge in (0..EDGES).filter(|edge| is_crossed(config, *edge)) {
        let known = (0..edge).find(|earlier| names[*earlier] == names[edge]);
        sheets.of_edge[edge] = known.and_then(|earlier| sheets.of_edge[earlier]).or_else(|| {
            sheets.count += 1;
            Some(sheets.count - 1)
        });
    }
    sheets
}

fn is_crossed(config: u8, edge: usize) -> bool {
    let [lower, upper] = ends(edge);
    is_inside(config, lower) != is_inside(config, upper)
}

/// What is known of every cell beforehand.
pub(super) struct Table {
    joined: Vec<Sheets>,
    pinched: Vec<Sheets>,
    waist: Vec<Option<Face>>,
}

/// The table of all 256 cells.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    joined: (0..=u8::MAX).map(|config| trace(config, false)).collect(),
    pinched: (0..=u8::MAX).map(|config| trace(config, true)).collect(),
    waist: (0..=u8::MAX).map(waist).collect(),
});

impl Table {
    /// Returns the sheets of a cell, where `config_across` tells the cell behind a face.
    ///
    /// Two cells that share a waist have one sheet each there, which meet along *two* lines: a tube with a girth of two
    /// vertices, whose one edge would belong to four triangles. Both cells then part what the face would join. Other
    /// faces do not notice: a cell with a waist has no other ambiguous face. (The same remedy for dual marching cubes:
    /// Wenger, Isosurfaces: Geometry, Topology, and Algorithms, 2013.)
    pub(super) fn sheets(&self, config: u8, config_across: impl FnOnce(Face) -> u8) -> &Sheets {
        let is_pinched = self.waist[usize::from(config)]
            .is_some_and(|face| self.waist[usize::from(config_across(face))] == Some(face ^ 1));
        let known = if is_pinched { &self.pinched } else { &self.joined };
        &known[usize::from(config)]
    }
}

/// Returns the ambiguous face whose two lines belong to one sheet, where there is one.
fn waist(config: u8) -> Option<Face> {
    let sheets = trace(config, false);
    (0..6).find(|face| is_ambiguous(config, *face) && meets_twice(&sheets, *face))
}

/// Returns whether one sheet passes through all four edges of a face.
fn meets_twice(sheets: &Sheets, face: Face) -> bool {
    let corners = corners_around(face);
    let sheet = |n: usize| sheets.of_edge[between(corners[n], corners[(n + 1) % 4])];
    (0..4).all(|n| sheet(n) == sheet(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sheet_is_one_loop_of_three_to_twelve_edges() {
        for config in 0..=u8::MAX {
            for is_pinched in [false, true] {
                let sheets = trace(config, is_pinched);
                assert!(usize::from(sheets.count) <= MOST_SHEETS);
                for edge in 0..EDGES {
                    assert_eq!(sheets.of_edge[edge].is_some(), is_crossed(config, edge));
                }
                for sheet in 0..sheets.count {
                    let length = sheets.of_edge.iter().filter(|of| **of == Some(sheet)).count();
                    assert!(length >= 3, "{config:08b}: {sheets:?}");
                }
            }
        }
        // no corner, all, and every second one: four corners are cut off, of whichever side
        assert_eq!((trace(0, false).count, trace(255, false).count), (0, 0));
        let every_second = 0b0110_1001;
        assert_eq!(trace(every_second, true).count, 4);
        assert_eq!(trace(every_second, false).count, 4);
    }

    #[test]
    fn a_cell_with_a_waist_has_no_other_ambiguous_face_and_parting_it_leaves_two_sheets_there() {
        let mut found = 0;
        for config in 0..=u8::MAX {
            let Some(face) = waist(config) else { continue };
            found += 1;
            assert_eq!((0..6).filter(|face| is_ambiguous(config, *face)).count(), 1);
            assert!(!meets_twice(&trace(config, true), face));
        }
        assert!(found > 0);
    }

    /// Both cells of a face, each with the corners of the other that it shares: whatever lies around, no two sheets
    /// share two lines.
    #[test]
    fn two_sheets_of_neighbouring_cells_share_at_most_one_line() {
        for axis in 0..3 {
            let (low, high) = (2 * axis + 1, 2 * axis);
            for lower in 0..=u8::MAX {
                for upper in 0..=u8::MAX {
                    let shared = corners_around(low).into_iter().zip(corners_around(high));
                    let mut agree =
                        shared.map(|(one, other)| is_inside(lower, one) == is_inside(upper, other));
                    if !agree.all(|agrees| agrees) || !is_ambiguous(lower, low) {
                        continue;
                    }
                    // a waist elsewhere has no ambiguous face here: only the other cell can be asked for
                    let ours = TABLE.sheets(lower, |face| {
                        assert_eq!(face, low);
                        upper
                    });
                    let theirs = TABLE.sheets(upper, |face| {
                        assert_eq!(face, high);
                        lower
                    });
                    assert!(!(meets_twice(ours, low) && meets_twice(theirs, high)));
                }
            }
        }
    }
}
