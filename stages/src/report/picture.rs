//! The picture of one vertebra as SVG: a column a method; three slices against the reference, and the surface.

mod raster;
mod slice;
mod surface;

use ndarray::{Array3, ArrayView3};

use super::svg::{Anchor, number, open, shorten, text, width_of};
use raster::Raster;
use slice::Plane;
use surface::View;

/// One method's mask of the vertebra.
#[derive(Debug, Clone)]
pub struct Column<'a> {
    /// What stands above it.
    pub title: String,
    /// The mask; every value but 0 is set. Axes right, anterior, superior; 1 mm a voxel, as in a patch.
    pub mask: ArrayView3<'a, u8>,
}

/// Lengths on the page are in CSS px; this many are one mm of the vertebra.
const PX_PER_MM: f64 = 3.0;

/// Voxels shown around the masks' common bounding box: room for the letters.
const MARGIN: usize = 4;

const GAP: f64 = 18.0;
const LEFT: f64 = 62.0;
const TOP: f64 = 66.0;
const LEGEND_LINE: f64 = 24.0;
const NARROWEST: f64 = 560.0;

/// Ink of what explains the pictures without being one.
const QUIET: &str = "fill=\"#555555\"";

/// Returns one picture of the columns, left to right, and of the reference as the last column.
///
/// All columns show the common bounding box of all masks at one scale, so that they can be laid side by side by eye.
/// The slices run through the middle of that box, in radiological orientation: axial as seen from the feet and coronal
/// from the front, the patient's right on the left; sagittal from the patient's left, anterior on the left. Where there
/// is a reference, its outline is drawn over each mask; what a mask has too much is dark, what it lacks is hatched.
/// The surface is seen from behind, above and the right. Masks lie on one grid; a voxel that one lacks counts as 0.
pub fn panel(title: &str, columns: &[Column<'_>], reference: Option<ArrayView3<'_, u8>>) -> String {
    let shown = columns
        .iter()
        .map(|column| (column.title.as_str(), column.mask))
        .chain(reference.map(|mask| ("reference", mask)));
    let shown: Vec<(&str, ArrayView3<'_, u8>)> = shown.collect();
    let Some(window) = Window::around(shown.iter().map(|(_, mask)| *mask)) else {
        let svg = open(NARROWEST, 90.0, title, "No mask has a voxel.");
        return svg
            + &heading(title, NARROWEST)
            + &text(16.0, 62.0, Anchor::Start, QUIET, "no voxel in any mask")
            + "</svg>\n";
    };
    let reference = reference.map(|mask| window.cut(mask));
    let shown: Vec<(&str, Array3<u8>)> = shown
        .into_iter()
        .map(|(name, mask)| (name, window.cut(mask)))
        .collect();
    let view = View::over(shown.iter().map(|(_, mask)| mask.view()));

    let sizes: Vec<(f64, f64)> = Plane::ALL
        .iter()
        .map(|plane| plane.size_mm(window.shape))
        .chain([view.size_mm()])
        .map(|(width, height)| (width * PX_PER_MM, height * PX_PER_MM))
        .collect();
    let column_width = sizes.iter().map(|size| size.0).fold(0.0, f64::max);
    let content = LEFT + shown.len() as f64 * (column_width + GAP);
    let width = content.max(NARROWEST);
    let below = TOP + sizes.iter().map(|size| size.1 + GAP).sum::<f64>();
    let (legend, legend_height) = legend(below, width, reference.is_some());
    let names: Vec<&str> = shown.iter().map(|(title, _)| *title).collect();
    let description = format!(
        "Axial, coronal and sagittal slice and surface of one vertebra, one column each: {}.",
        names.join(", ")
    );
    let mut svg = open(width, below + legend_height, title, &description);
    svg += &heading(title, width);

    for (index, (name, mask)) in shown.iter().enumerate() {
        let left = LEFT + index as f64 * (column_width + GAP);
        let middle = left + column_width / 2.0;
        let words = shorten(name, 13.0, column_width);
        svg += &text(
            middle,
            TOP - 12.0,
            Anchor::Middle,
            "font-size=\"13\" font-weight=\"600\"",
            &words,
        );
        let slices = Plane::ALL
            .map(|plane| slice::draw(plane, mask.view(), reference.as_ref().map(|mask| mask.view())));
        let surface = view.render(mask.view());
        let mut top = TOP;
        for (row, (raster, size)) in slices.iter().chain([&surface]).zip(&sizes).enumerate() {
            let frame = [middle - size.0 / 2.0, top, size.0, size.1];
            svg += &image(raster, frame);
            if let Some(plane) = Plane::ALL.get(row) {
                svg += &letters(*plane, frame);
            }
            top += size.1 + GAP;
        }
    }
    let mut top = TOP;
    for (name, size) in ["axial", "coronal", "sagittal", "surface"].iter().zip(&sizes) {
        let middle = top + size.1 / 2.0;
        let turned = format!("{QUIET} transform=\"rotate(-90 18 {})\"", number(middle));
        svg += &text(18.0, middle, Anchor::Middle, &turned, name);
        top += size.1 + GAP;
    }
    svg += &compass(&view, (26.0, below - GAP - 16.0));
    svg + &legend + "</svg>\n"
}

fn heading(title: &str, width: f64) -> String {
    let words = shorten(title, 16.0, width - 32.0);
    text(
        16.0,
        28.0,
        Anchor::Start,
        "font-size=\"16\" font-weight=\"600\"",
        &words,
    )
}

/// A part of the patches' grid, [`MARGIN`] voxels wider on each side than what it is around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// First voxel shown plus [`MARGIN`]: the first one set.
    first: [usize; 3],
    /// Voxels shown along each axis.
    shape: [usize; 3],
}

impl Window {
    /// Returns the window around all voxels set, or `None` if none is.
    fn around<'a>(masks: impl Iterator<Item = ArrayView3<'a, u8>>) -> Option<Self> {
        let (mut first, mut last) = ([usize::MAX; 3], [0; 3]);
        for mask in masks {
            for ((i, j, k), value) in mask.indexed_iter() {
                if *value != 0 {
                    for (axis, index) in [i, j, k].into_iter().enumerate() {
                        first[axis] = first[axis].min(index);
                        last[axis] = last[axis].max(index);
                    }
                }
            }
        }
        let shape = [0, 1, 2].map(|axis: usize| (last[axis] + 1).checked_sub(first[axis]));
        let [Some(i), Some(j), Some(k)] = shape else {
            return None;
        };
        Some(Self {
            first,
            shape: [i, j, k].map(|count| count + 2 * MARGIN),
        })
    }

    /// Returns the mask's voxels in the window as 0 and 1; 0 where the mask ends.
    fn cut(&self, mask: ArrayView3<'_, u8>) -> Array3<u8> {
        let [i0, j0, k0] = self.first;
        Array3::from_shape_fn(self.shape, |(i, j, k)| {
            let index = [i0 + i, j0 + j, k0 + k].map(|index| index.checked_sub(MARGIN));
            let [Some(i), Some(j), Some(k)] = index else {
                return 0;
            };
            mask.get([i, j, k]).map_or(0, |value| u8::from(*value != 0))
        })
    }
}

/// A raster at `[left, top, width, height]`.
fn image(raster: &Raster, [left, top, width, height]: [f64; 4]) -> String {
    format!(
        "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" href=\"{}\"/>\n",
        number(left),
        number(top),
        number(width),
        number(height),
        raster.data_url()
    )
}

/// A frame around a slice, and at each edge the side of the body that lies there.
fn letters(plane: Plane, [left, top, width, height]: [f64; 4]) -> String {
    let [at_left, at_right, above, below] = plane.edges();
    let (right, bottom) = (left + width, top + height);
    let (across, down) = (left + width / 2.0, top + height / 2.0);
    let quiet = format!("{QUIET} font-size=\"10\"");
    format!(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#cccccc\"/>\n",
        number(left),
        number(top),
        number(width),
        number(height)
    ) + &text(left + 3.0, down + 4.0, Anchor::Start, &quiet, at_left)
        + &text(right - 3.0, down + 4.0, Anchor::End, &quiet, at_right)
        + &text(across, top + 10.0, Anchor::Middle, &quiet, above)
        + &text(across, bottom - 3.0, Anchor::Middle, &quiet, below)
}

/// Arrows to the patient's right, back and head, about that point of the page.
fn compass(view: &View, (x, y): (f64, f64)) -> String {
    const ARROW: f64 = 20.0;
    let mut svg = String::new();
    for (letter, direction) in [
        ("R", [1.0, 0.0, 0.0]),
        ("P", [0.0, -1.0, 0.0]),
        ("S", [0.0, 0.0, 1.0]),
    ] {
        let (dx, dy) = view.on_page(direction);
        let tip = |length: f64| (x + length * dx, y - length * dy);
        let (end, label) = (tip(ARROW), tip(ARROW + 9.0));
        svg += &format!(
            "<path d=\"M{} {}L{} {}\" stroke=\"#555555\" stroke-width=\"1.5\"/>\n",
            number(x),
            number(y),
            number(end.0),
            number(end.1)
        );
        let quiet = format!("{QUIET} font-size=\"10\"");
        svg += &text(label.0, label.1 + 3.5, Anchor::Middle, &quiet, letter);
    }
    svg
}

/// Returns what the colours mean, a scale and how the pictures are turned, from `top` on, and its height.
fn legend(top: f64, width: f64, against_reference: bool) -> (String, f64) {
    const SWATCH: f64 = 26.0;
    let colour = |index: u8| {
        let [red, green, blue] = slice::PALETTE[usize::from(index)];
        format!("#{red:02x}{green:02x}{blue:02x}")
    };
    let filled = |index: u8| {
        format!(
            "<rect width=\"{SWATCH}\" height=\"13\" fill=\"{}\"/>",
            colour(index)
        )
    };
    let hatch: String = (0..6).map(|line| format!("M{} 13l6.5 -13", 4 * line)).collect();
    let hatched = format!(
        "<rect width=\"{SWATCH}\" height=\"13\" fill=\"none\" stroke=\"#cccccc\"/>\
         <path d=\"{hatch}\" stroke=\"{}\" stroke-width=\"1.3\"/>",
        colour(slice::MISSING)
    );
    let outline = format!(
        "<rect x=\"1\" y=\"1\" width=\"{}\" height=\"11\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>",
        SWATCH - 2.0,
        colour(slice::OUTLINE)
    );
    let bar = format!(
        "<path d=\"M0.5 2v9M0.5 6.5h{0}M{1} 2v9\" stroke=\"#222222\" fill=\"none\"/>",
        20.0 * PX_PER_MM,
        20.0 * PX_PER_MM + 0.5
    );

    let mut items: Vec<(String, f64, &str)> = Vec::new();
    if against_reference {
        items.push((filled(slice::MASK), SWATCH, "mask, in the reference"));
        items.push((
            filled(slice::EXTRA),
            SWATCH,
            "mask, not in the reference (false positive)",
        ));
        items.push((hatched, SWATCH, "reference, not in the mask (false negative)"));
        items.push((outline, SWATCH, "outline of the reference"));
    } else {
        items.push((filled(slice::MASK), SWATCH, "mask"));
    }
    items.push((bar, 20.0 * PX_PER_MM, "20 mm"));
    let notes = [
        "Slices through the middle of the common bounding box, in radiological orientation.",
        "R right, L left, A anterior, P posterior, S superior, I inferior of the patient.",
        "Surface from behind, above and the right.",
    ];

    let mut svg = String::new();
    let (mut x, mut y) = (LEFT, top + 10.0);
    for (drawing, wide, words) in items {
        let needed = wide + 8.0 + width_of(words, 12.0) + 20.0;
        if x > LEFT && x + needed > width {
            (x, y) = (LEFT, y + LEGEND_LINE);
        }
        svg += &format!(
            "<g transform=\"translate({} {})\">{drawing}</g>\n",
            number(x),
            number(y)
        );
        svg += &text(x + wide + 8.0, y + 11.0, Anchor::Start, "", words);
        x += needed;
    }
    y += LEGEND_LINE;
    for words in notes {
        svg += &text(LEFT, y + 11.0, Anchor::Start, QUIET, words);
        y += 17.0;
    }
    (svg, y + 8.0 - top)
}

#[cfg(test)]
mod tests;
