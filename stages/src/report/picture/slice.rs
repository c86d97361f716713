//! One slice of a mask, coloured by where it agrees with the reference.

use ndarray::ArrayView3;

use super::raster::{Pixels, Raster};

/// Pixels a voxel: enough for hatching and for an outline thinner than a voxel.
pub(super) const ZOOM: usize = 6;

/// Width of the reference's outline and, across the page, of the hatching's lines, in pixels.
const LINE: usize = 2;

/// From one line of the hatching to the next, across the page, in pixels.
const HATCH: usize = 10;

/// Entries of [`PALETTE`].
const PAPER: u8 = 0;
pub(super) const MASK: u8 = 1;
pub(super) const EXTRA: u8 = 2;
pub(super) const MISSING: u8 = 3;
pub(super) const OUTLINE: u8 = 4;

/// Light grey, Okabe and Ito's vermillion and blue: told apart by colour-blind eyes, and in a grey print by lightness
/// (the mask light, what is extra dark) and by hatching (what is missing).
pub(super) const PALETTE: &[[u8; 3]] = &[
    [0xff, 0xff, 0xff],
    [0xc8, 0xc8, 0xc8],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x72, 0xb2],
    [0x00, 0x00, 0x00],
];

/// A plane through the body, shown as radiologists do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plane {
    Axial,
    Coronal,
    Sagittal,
}

impl Plane {
    pub(super) const ALL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];

    /// Returns the axes (0 right, 1 anterior, 2 superior) across the page, down the page and through it. Both on the
    /// page run against the voxel index: the patient's right, front and head come first.
    fn axes(self) -> [usize; 3] {
        match self {
            Self::Axial => [0, 1, 2],
            Self::Coronal => [0, 2, 1],
            Self::Sagittal => [1, 2, 0],
        }
    }

    /// Returns the sides of the body at the left, right, upper and lower edge.
    pub(super) fn edges(self) -> [&'static str; 4] {
        match self {
            Self::Axial => ["R", "L", "A", "P"],
            Self::Coronal => ["R", "L", "S", "I"],
            Self::Sagittal => ["A", "P", "S", "I"],
        }
    }

    /// Returns width and height of the slice of a volume with these numbers of voxels of 1 mm.
    pub(super) fn size_mm(self, shape: [usize; 3]) -> (f64, f64) {
        let [across, down, _] = self.axes();
        (shape[across] as f64, shape[down] as f64)
    }
}

/// Returns the middle slice of the mask: filled where it agrees with the reference, dark where it has too much, hatched
/// where it lacks something, the reference's outline in black just inside the reference. Both have one shape.
pub(super) fn draw(plane: Plane, mask: ArrayView3<'_, u8>, reference: Option<ArrayView3<'_, u8>>) -> Raster {
    let (i, j, k) = mask.dim();
    let shape = [i, j, k];
    let [across, down, through] = plane.axes();
    let (columns, rows) = (shape[across], shape[down]);
    let middle = shape[through].saturating_sub(1) / 2;
    let is_set = |volume: ArrayView3<'_, u8>, column: usize, row: usize| {
        let mut index = [0; 3];
        index[across] = columns - 1 - column;
        index[down] = rows - 1 - row;
        index[through] = middle;
        volume.get(index).is_some_and(|value| *value != 0)
    };
    let in_reference = |column: usize, row: usize| {
        let inside = column < columns && row < rows;
        inside && reference.is_some_and(|reference| is_set(reference, column, row))
    };

    let width = columns * ZOOM;
    let mut indices = vec![PAPER; width * rows * ZOOM];
    for row in 0..rows {
        for column in 0..columns {
            let (found, expected) = (is_set(mask, column, row), in_reference(column, row));
            if !found && !expected {
                continue;
            }
            // wrapping below 0 is outside, too
            let borders = [
                !in_reference(column.wrapping_sub(1), row),
                !in_reference(column + 1, row),
                !in_reference(column, row.wrapping_sub(1)),
                !in_reference(column, row + 1),
            ];
            for y in 0..ZOOM {
                for x in 0..ZOOM {
                    let at_edge = [x < LINE, x >= ZOOM - LINE, y < LINE, y >= ZOOM - LINE];
                    let outline =
                        expected && borders.iter().zip(at_edge).any(|(border, edge)| *border && edge);
                    let hatching = (column * ZOOM + x + row * ZOOM + y) % HATCH < LINE;
                    let colour = match (found, expected) {
                        _ if outline => OUTLINE,
                        (true, true) => MASK,
                        (true, false) if reference.is_none() => MASK,
                        (true, false) => EXTRA,
                        (false, _) if hatching => MISSING,
                        (false, _) => PAPER,
                    };
                    indices[(row * ZOOM + y) * width + column * ZOOM + x] = colour;
                }
            }
        }
    }
    Raster {
        width,
        height: rows * ZOOM,
        pixels: Pixels::Indexed {
            indices,
            palette: PALETTE,
        },
    }
}
