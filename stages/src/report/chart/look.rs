//! How a line is told apart from the others: colour, dash and marker.

use super::is_drawn;
use crate::report::svg::number;

/// Okabe and Ito, "Color Universal Design" (2008): told apart with every common colour blindness. Without their
/// yellow, which white paper swallows; in an order in which neighbours differ in lightness too.
pub(super) const COLOURS: [&str; 7] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9",
];

/// Dashes in px; as many as are coprime to the colours, so that 28 lines differ in colour or dash.
const DASHES: [&str; 4] = ["", "7 3", "2 3", "9 3 2 3"];

/// Most points of a line that all have a marker; of more, about [`MARKERS`] have one.
const MARKED_MOST: usize = 25;
const MARKERS: usize = 10;

/// How a family is drawn.
#[derive(Clone, Copy)]
pub(super) struct Look {
    index: usize,
    width: f64,
}

impl Look {
    pub(super) fn of(index: usize, members: usize) -> Self {
        let width = if members > 1 { 1.2 } else { 2.0 };
        Self { index, width }
    }

    fn colour(self) -> &'static str {
        COLOURS[self.index % COLOURS.len()]
    }

    pub(super) fn line(self, points: &[(f64, f64)], place: impl Fn((f64, f64)) -> (f64, f64)) -> String {
        let mut path = String::new();
        let mut pen_down = false;
        for point in points {
            if !is_drawn(*point) {
                pen_down = false;
                continue;
            }
            let (x, y) = place(*point);
            let step = if pen_down { 'L' } else { 'M' };
            path += &format!("{step}{} {}", number(x), number(y));
            pen_down = true;
        }
        if path.is_empty() {
            return path;
        }
        let mut svg = self.stroke(&path);
        let every = if points.len() <= MARKED_MOST {
            1
        } else {
            points.len().div_ceil(MARKERS)
        };
        // long lines that run together show their markers at different places
        let first = 3 * self.index % every;
        for point in points.iter().skip(first).step_by(every) {
            if is_drawn(*point) {
                let (x, y) = place(*point);
                svg += &self.marker(x, y);
            }
        }
        svg
    }

    pub(super) fn stroke(self, path: &str) -> String {
        let dash = match DASHES[self.index % DASHES.len()] {
            "" => String::new(),
            dash => format!(" stroke-dasharray=\"{dash}\""),
        };
        format!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}/>\n",
            self.colour(),
            self.width
        )
    }

    /// Returns one of seven shapes about a point, each of about the same area.
    pub(super) fn marker(self, x: f64, y: f64) -> String {
        let r = if self.width < 2.0 { 2.6 } else { 3.6 };
        let shape = match self.index % COLOURS.len() {
            0 => {
                let colour = self.colour();
                let (x, y) = (number(x), number(y));
                return format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" fill=\"{colour}\"/>\n");
            }
            1 => [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)].as_slice(),
            2 => &[(0.0, -1.3), (1.2, 0.9), (-1.2, 0.9)],
            3 => &[(0.0, -1.35), (1.35, 0.0), (0.0, 1.35), (-1.35, 0.0)],
            4 => &[(0.0, 1.3), (1.2, -0.9), (-1.2, -0.9)],
            5 => &[(-1.3, 0.0), (0.9, -1.2), (0.9, 1.2)],
            _ => &[(1.3, 0.0), (-0.9, -1.2), (-0.9, 1.2)],
        };
        let corners: Vec<String> = shape
            .iter()
            .map(|(dx, dy)| format!("{},{}", number(x + r * dx), number(y + r * dy)))
            .collect();
        format!(
            "<polygon points=\"{}\" fill=\"{}\"/>\n",
            corners.join(" "),
            self.colour()
        )
    }
}
