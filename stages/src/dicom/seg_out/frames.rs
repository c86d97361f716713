//! Reconstructions on the source's slices, and their frames as an object stores them.

use ndarray::Array3;
use schemas::{Affine, Level, SourceSeries};

use crate::dicom::conf::SegForm;
use crate::paste::paste;

/// Segment numbers on the source's slices: columns first, then rows, then slices.
#[derive(Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Number of each voxel's segment, 0 for none.
    pub numbers: Vec<u16>,
    /// Voxels of a slice.
    pub plane: usize,
    /// Level of each segment that has voxels; segment 1 is the first.
    pub levels: Vec<Level>,
}

impl Drawn {
    /// Draws the pieces, from the head down. Where two claim a voxel the larger share wins: segments never overlap.
    pub fn of(source: &SourceSeries, pieces: &[(Level, &Array3<u8>, &Affine)]) -> Self {
        let numbered = (1_u16..).zip(pieces);
        let numbered: Vec<_> = numbered
            .map(|(number, (_, mask, affine))| (number, *mask, *affine))
            .collect();
        let on = |grid| paste(&grid, &numbered).data.into_raw_vec_and_offset().0;
        let mut numbers = if source.spacing.is_even() {
            on(source.grid)
        } else {
            let slices = source.slices.iter();
            slices.flat_map(|slice| on(source.slice_grid(slice))).collect()
        };

        // segments are numbered without gaps: what lies off the slices has no number
        let mut is_there = vec![false; pieces.len() + 1];
        for number in &numbers {
            is_there[usize::from(*number)] = true;
        }
        let mut levels = Vec::new();
        let mut renumbered = vec![0_u16; is_there.len()];
        for (number, (level, ..)) in (1..).zip(pieces) {
            if is_there[number] {
                levels.push(*level);
                renumbered[number] = levels.len() as u16;
            }
        }
        if levels.len() < pieces.len() {
            for number in &mut numbers {
                *number = renumbered[usize::from(*number)];
            }
        }
        let [columns, rows, _] = source.grid.shape;
        Self {
            numbers,
            plane: columns * rows,
            levels,
        }
    }
}

/// Where a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Index of its slice in the source.
    pub slice: usize,
    /// Its segment; `None` where the frame holds all of them.
    pub segment: Option<u16>,
}

/// Frames and their pixels.
#[derive(Debug, PartialEq, Eq)]
pub struct Frames {
    /// The frames in order.
    pub list: Vec<Frame>,
    /// Pixels of all of them, of even length.
    pub pixels: Vec<u8>,
}

impl Frames {
    /// Packs what is drawn.
    pub fn of(drawn: &Drawn, form: SegForm) -> Self {
        let mut frames = match form {
            SegForm::Binary => Self::binary(drawn),
            SegForm::LabelMap => Self::label_map(drawn),
        };
        if frames.pixels.len() % 2 == 1 {
            frames.pixels.push(0);
        }
        frames
    }

    /// A frame for each segment on each slice where it has voxels. Frames follow one another without a gap, the first
    /// pixel in the lowest bit (PS3.5 section 8.1.1): the next one may begin in the midst of a byte.
    fn binary(drawn: &Drawn) -> Self {
        let (mut list, mut pixels, mut used) = (Vec::new(), Vec::new(), 0_usize);
        for segment in 1..=drawn.levels.len() as u16 {
            for (slice, numbers) in drawn.numbers.chunks_exact(drawn.plane).enumerate() {
                if !numbers.contains(&segment) {
                    continue;
                }
                list.push(Frame {
                    slice,
                    segment: Some(segment),
                });
                pixels.resize((used + drawn.plane).div_ceil(8), 0);
                for (pixel, number) in (used..).zip(numbers) {
                    pixels[pixel / 8] |= u8::from(*number == segment) << (pixel % 8);
                }
                used += drawn.plane;
            }
        }
        Self { list, pixels }
    }

    /// A frame for each slice from the first with voxels to the last, so that nothing has to be guessed between them.
    fn label_map(drawn: &Drawn) -> Self {
        let planes: Vec<&[u16]> = drawn.numbers.chunks_exact(drawn.plane).collect();
        let has_voxels = |plane: &&[u16]| plane.iter().any(|number| *number != 0);
        let first = planes.iter().position(has_voxels).unwrap_or(0);
        let end = planes.iter().rposition(has_voxels).map_or(first, |last| last + 1);
        let list = (first..end).map(|slice| Frame { slice, segment: None });
        // at most six levels
        let pixels = planes[first..end].iter().copied().flatten();
        Self {
            list: list.collect(),
            pixels: pixels.map(|number| *number as u8).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_a_frame_begin_where_the_last_one_ends() {
        // 3 slices of 5 voxels
        let drawn = Drawn {
            numbers: vec![1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0],
            plane: 5,
            levels: vec![Level::L2, Level::L4],
        };
        let frames = Frames::of(&drawn, SegForm::Binary);
        let of = |segment, slice| Frame {
            slice,
            segment: Some(segment),
        };
        assert_eq!(
            frames.list,
            [of(1, 0), of(2, 0), of(2, 2)],
            "no frame without voxels"
        );
        // 10001 00010 01100, lowest bit first, and a bit that nobody reads
        assert_eq!(frames.pixels, [0b0001_0001, 0b0001_1001]);
        let frames = Frames::of(&drawn, SegForm::LabelMap);
        assert_eq!(frames.list.len(), 3, "the slice between is there");
        assert_eq!(frames.pixels.len(), 16, "of even length");
    }
}
