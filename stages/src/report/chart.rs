//! A small line chart as SVG: nice ticks, a legend, and lines that colour-blind eyes and grey prints tell apart.

use super::svg::{Anchor, INK, escape, number, open, shorten, text, width_of};

/// One line of a chart.
///
/// Repeats of one thing are named `thing #1`, `thing #2`, …: they look alike and share one entry of the legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// (x, y) in the order in which they are joined. A point that is not finite is not drawn, and the line has a gap
    /// there.
    pub points: Vec<(f64, f64)>,
}

/// Okabe and Ito, "Color Universal Design" (2008): told apart with every common colour blindness. Without their
/// yellow, which white paper swallows; in an order in which neighbours differ in lightness too.
const COLOURS: [&str; 7] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9",
];

/// Dashes in px; as many as are coprime to the colours, so that 28 lines differ in colour or dash.
const DASHES: [&str; 4] = ["", "7 3", "2 3", "9 3 2 3"];

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const TOP: f64 = 44.0;
const BELOW: f64 = 52.0;
const LEGEND_LINE: f64 = 19.0;
const LEGEND_WIDEST: f64 = 230.0;
const FONT: f64 = 12.0;

/// Most points of a line that all have a marker; of more, about [`MARKERS`] have one.
const MARKED_MOST: usize = 25;
const MARKERS: usize = 10;

/// Values beyond are not drawn: the distance of two would leave the finite numbers.
const LARGEST: f64 = 1e300;

/// Returns the chart of these series as one SVG; `x` and `y` name the axes with their units.
pub fn lines(title: &str, x: &str, y: &str, series: &[Series]) -> String {
    let families = families(series);
    let drawn = || {
        let points = series.iter().flat_map(|series| &series.points);
        points.copied().filter(|point| is_drawn(*point))
    };
    let horizontal = Ticks::over(drawn().map(|point| point.0), 7.0);
    let vertical = Ticks::over(drawn().map(|point| point.1), 6.0);

    let labels: Vec<String> = families.iter().map(Family::label).collect();
    let widest = |texts: &[String]| texts.iter().map(|text| width_of(text, FONT)).fold(0.0, f64::max);
    let legend = (widest(&labels) + 44.0).min(LEGEND_WIDEST);
    let left = 40.0 + widest(&vertical.labels());
    let right = WIDTH - if labels.is_empty() { 24.0 } else { legend + 20.0 };
    let height = HEIGHT.max(TOP + BELOW + LEGEND_LINE * labels.len() as f64);
    let bottom = height - BELOW;
    let place = |(px, py): (f64, f64)| {
        (
            left + horizontal.share(px) * (right - left),
            bottom - vertical.share(py) * (bottom - TOP),
        )
    };

    let mut svg = open(WIDTH, height, title, &description(x, y, series));
    let heading = shorten(title, 15.0, WIDTH - 40.0);
    svg += &text(
        WIDTH / 2.0,
        24.0,
        Anchor::Middle,
        "font-size=\"15\" font-weight=\"600\"",
        &heading,
    );
    svg += &axes(&horizontal, &vertical, [left, right, TOP, bottom]);
    svg += &text(
        (left + right) / 2.0,
        height - 12.0,
        Anchor::Middle,
        "font-size=\"13\"",
        x,
    );
    let (across, middle) = (16.0, (TOP + bottom) / 2.0);
    let turned = format!(
        "font-size=\"13\" transform=\"rotate(-90 {} {})\"",
        number(across),
        number(middle)
    );
    svg += &text(across, middle, Anchor::Middle, &turned, y);
    if drawn().next().is_none() {
        svg += &text(
            (left + right) / 2.0,
            middle,
            Anchor::Middle,
            "fill=\"#666666\"",
            "no data",
        );
    }
    for (index, family) in families.iter().enumerate() {
        let look = Look::of(index, family.members.len());
        for member in &family.members {
            svg += &look.line(&member.points, place);
        }
    }
    for (index, (family, label)) in families.iter().zip(&labels).enumerate() {
        let (start, level) = (right + 20.0, TOP + LEGEND_LINE * (index as f64 + 0.5));
        svg += &format!("<g><title>{}</title>\n", escape(label));
        let look = Look::of(index, family.members.len());
        svg += &look.stroke(&format!("M{} {}h26", number(start), number(level)));
        svg += &look.marker(start + 13.0, level);
        let label = shorten(label, FONT, legend - 38.0);
        svg += &text(start + 34.0, level + 4.0, Anchor::Start, "", &label);
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

fn is_drawn((x, y): (f64, f64)) -> bool {
    // NaN is below nothing
    x.abs() < LARGEST && y.abs() < LARGEST
}

/// Says in words what the chart shows.
fn description(x: &str, y: &str, series: &[Series]) -> String {
    let mut words = format!("Line chart of {y} over {x}.");
    for Series { name, points } in series {
        let points: Vec<_> = points.iter().copied().filter(|point| is_drawn(*point)).collect();
        match (points.first(), points.last()) {
            (Some(first), Some(last)) => {
                words += &format!(
                    " {name}: {} points, from ({}, {}) to ({}, {}).",
                    points.len(),
                    first.0,
                    first.1,
                    last.0,
                    last.1
                );
            }
            _ => words += &format!(" {name}: no points."),
        }
    }
    words
}

/// The repeats of one thing.
struct Family<'a> {
    name: &'a str,
    members: Vec<&'a Series>,
}

impl Family<'_> {
    fn label(&self) -> String {
        match self.members.len() {
            1 => self.name.to_owned(),
            repeats => format!("{} ({repeats} repeats)", self.name),
        }
    }
}

/// Returns the series by what they repeat, in the order of their first.
fn families(series: &[Series]) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for member in series {
        let name = repeated(&member.name);
        match families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.members.push(member),
            None => families.push(Family {
                name,
                members: vec![member],
            }),
        }
    }
    families
}

/// Returns the name without ` #<number>` at its end.
fn repeated(name: &str) -> &str {
    match name.rsplit_once(" #") {
        Some((thing, repeat)) if !repeat.is_empty() && repeat.bytes().all(|byte| byte.is_ascii_digit()) => {
            thing
        }
        _ => name,
    }
}

/// How a family is drawn.
#[derive(Clone, Copy)]
struct Look {
    index: usize,
    width: f64,
}

impl Look {
    fn of(index: usize, members: usize) -> Self {
        let width = if members > 1 { 1.2 } else { 2.0 };
        Self { index, width }
    }

    fn colour(self) -> &'static str {
        COLOURS[self.index % COLOURS.len()]
    }

    fn line(self, points: &[(f64, f64)], place: impl Fn((f64, f64)) -> (f64, f64)) -> String {
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

    fn stroke(self, path: &str) -> String {
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
    fn marker(self, x: f64, y: f64) -> String {
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

/// Grid, frame and tick labels; `[left, right, top, bottom]` of the plot in px.
fn axes(horizontal: &Ticks, vertical: &Ticks, [left, right, top, bottom]: [f64; 4]) -> String {
    let mut grid = String::new();
    let mut labels = String::new();
    for (share, label) in horizontal.shares().zip(horizontal.labels()) {
        let x = left + share * (right - left);
        grid += &format!("M{} {}V{}", number(x), number(top), number(bottom));
        labels += &text(x, bottom + 18.0, Anchor::Middle, "", &label);
    }
    for (share, label) in vertical.shares().zip(vertical.labels()) {
        let y = bottom - share * (bottom - top);
        grid += &format!("M{} {}H{}", number(left), number(y), number(right));
        labels += &text(left - 8.0, y + 4.0, Anchor::End, "", &label);
    }
    let frame = format!(
        "M{} {}V{}H{}",
        number(left),
        number(top),
        number(bottom),
        number(right)
    );
    format!(
        "<path d=\"{grid}\" fill=\"none\" stroke=\"#dddddd\"/>\n\
         <path d=\"{frame}\" fill=\"none\" stroke=\"{INK}\"/>\n{labels}"
    )
}

/// Evenly spaced ticks at 1, 2 or 5 times a power of ten that hold all values between the first and the last.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ticks {
    /// First and last tick, in steps.
    first: f64,
    last: f64,
    /// The step is `nice` × 10^`exponent`.
    nice: f64,
    exponent: i32,
}

impl Ticks {
    /// Returns about `wanted` ticks over the values; from 0 to 1 where there is none.
    fn over(values: impl Iterator<Item = f64>, wanted: f64) -> Self {
        let (mut least, mut most) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        if least > most {
            (least, most) = (0.0, 1.0);
        }
        let size = least.abs().max(most.abs()).max(1e-290);
        // one value, or several that no tick label could tell apart
        if most - least < 1e-9 * size {
            let around = if size > 1e-290 { 0.1 * size } else { 0.5 };
            (least, most) = (least - around, most + around);
        }
        let raw = (most - least) / wanted;
        let exponent = raw.log10().floor() as i32;
        let mantissa = raw / 10_f64.powi(exponent);
        let (nice, exponent) = match mantissa {
            m if m <= 1.0 => (1.0, exponent),
            m if m <= 2.0 => (2.0, exponent),
            m if m <= 5.0 => (5.0, exponent),
            _ => (1.0, exponent + 1),
        };
        let step = nice * 10_f64.powi(exponent);
        Self {
            // 0.6 / 0.2 is a little under 3
            first: (least / step + 1e-6).floor(),
            last: (most / step - 1e-6).ceil(),
            nice,
            exponent,
        }
    }

    /// Returns where a value lies between the first tick (0) and the last (1).
    fn share(&self, value: f64) -> f64 {
        let step = self.nice * 10_f64.powi(self.exponent);
        (value / step - self.first) / (self.last - self.first)
    }

    fn count(&self) -> usize {
        (self.last - self.first) as usize + 1
    }

    fn shares(&self) -> impl Iterator<Item = f64> {
        let steps = self.last - self.first;
        (0..self.count()).map(move |tick| tick as f64 / steps)
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        let Self {
            first,
            nice,
            exponent,
            ..
        } = *self;
        (0..self.count()).map(move |tick| {
            let steps = (first + tick as f64) * nice;
            // dividing by a whole power of ten rounds once: 3 / 10, not 3 × 0.1
            if exponent < 0 {
                steps / 10_f64.powi(-exponent)
            } else {
                steps * 10_f64.powi(exponent)
            }
        })
    }

    fn labels(&self) -> Vec<String> {
        let largest = self.values().fold(0.0, |most: f64, value| most.max(value.abs()));
        let plain = self.exponent >= -4 && largest < 1e6;
        let decimals = usize::try_from(-self.exponent).unwrap_or(0);
        let label = |value: f64| match plain {
            true => format!("{:.decimals$}", value + 0.0),
            false if value == 0.0 => "0".to_owned(),
            false => format!("{value:e}"),
        };
        self.values()
            .map(|value| label(value).replace('-', "−"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::svg::testing::assert_stands_alone;
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series {
            name: name.to_owned(),
            points: points.to_vec(),
        }
    }

    fn labels(values: &[f64]) -> Vec<String> {
        Ticks::over(values.iter().copied(), 6.0).labels()
    }

    #[test]
    fn ticks_are_one_two_or_five_times_a_power_of_ten_around_all_values() {
        assert_eq!(
            labels(&[0.807, 0.907]),
            ["0.80", "0.82", "0.84", "0.86", "0.88", "0.90", "0.92"]
        );
        assert_eq!(
            labels(&[0.0, 300.0]),
            ["0", "50", "100", "150", "200", "250", "300"]
        );
        assert_eq!(labels(&[-1.0, 1.0]), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(
            labels(&[0.0, 3e-6]),
            ["0", "5e−7", "1e−6", "1.5e−6", "2e−6", "2.5e−6", "3e−6"]
        );
        assert_eq!(labels(&[0.0, 2e9]).last().map(String::as_str), Some("2e9"));
        assert_eq!(labels(&[2.0]), ["1.8", "1.9", "2.0", "2.1", "2.2"]);
        assert_eq!(labels(&[]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        for (least, most) in [(0.3, 0.9), (1e-300, 2e-300), (-9e299, 9e299), (1e15, 1e15 + 2.0)] {
            let ticks = Ticks::over([least, most].into_iter(), 6.0);
            assert!((2..=9).contains(&ticks.count()), "{ticks:?}");
            let (least, most) = (ticks.share(least), ticks.share(most));
            assert!(least > -1e-5 && most < 1.00001 && least <= most, "{ticks:?}");
        }
    }

    #[test]
    fn a_chart_stands_alone_whatever_its_names_hold() {
        let svg = lines(
            "DSC <&> \"steps\"",
            "steps",
            "DSC",
            &[
                series("a & b", &[(2.0, 0.8), (15.0, 0.9), (20.0, 0.85)]),
                series("<script>", &[]),
                series(&"long ".repeat(40), &[(3.0, 0.83)]),
            ],
        );
        assert_stands_alone(&svg);
        assert!(svg.contains("a &amp; b") && !svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(
            lines("t", "x", "y", &[]),
            lines("t", "x", "y", &[]),
            "the same bytes"
        );
        assert!(lines("t", "x", "y", &[series("s", &[(f64::NAN, 1.0)])]).contains("no data"));
    }

    #[test]
    fn points_lie_where_the_ticks_say() {
        // x ticks 0, 1, … 5 and y ticks 0, 10, … 50: a line from corner to corner, by way of the middle
        let svg = lines(
            "t",
            "x",
            "y",
            &[series("s", &[(0.0, 0.0), (2.5, 25.0), (5.0, 50.0)])],
        );
        let frame = svg.split("<path d=\"M").nth(2).expect("grid, frame");
        let numbers = |text: &str| -> Vec<f64> {
            text.split(['M', 'L', 'V', 'H', ' '])
                .filter_map(|word| word.parse().ok())
                .collect()
        };
        let corners = numbers(frame.split('"').next().expect("quoted"));
        let line = numbers(
            svg.split("<path d=\"M")
                .nth(3)
                .and_then(|rest| rest.split('"').next())
                .expect("line"),
        );
        let [left, top, bottom, right] = corners[..] else {
            panic!("{corners:?}")
        };
        let expected = [
            left,
            bottom,
            (left + right) / 2.0,
            (top + bottom) / 2.0,
            right,
            top,
        ];
        for (found, expected) in line.iter().zip(expected) {
            assert!((found - expected).abs() < 0.11, "{line:?} is not {expected:?}");
        }
        assert_eq!(
            svg.matches("<circle").count(),
            3 + 1,
            "three points and the legend"
        );
    }

    #[test]
    fn a_point_that_is_not_finite_is_skipped_and_leaves_a_gap() {
        let points = [
            (0.0, 1.0),
            (1.0, 2.0),
            (2.0, f64::NAN),
            (3.0, f64::INFINITY),
            (4.0, 2.0),
            (5.0, 1.0),
        ];
        let svg = lines("t", "x", "y", &[series("s", &points)]);
        assert_stands_alone(&svg);
        assert_eq!(svg.matches("<circle").count(), 4 + 1);
        let line = svg
            .split("<path d=\"M")
            .nth(3)
            .and_then(|rest| rest.split('"').next())
            .expect("line");
        assert_eq!(
            (line.matches('M').count(), line.matches('L').count()),
            (1, 2),
            "one more start: {line}"
        );
    }

    #[test]
    fn repeats_look_alike_and_share_an_entry_of_the_legend() {
        let points = [(0.0, 0.0), (1.0, 1.0)];
        let svg = lines(
            "t",
            "x",
            "y",
            &[
                series("LEBM #1", &points),
                series("LSD-EBM", &points),
                series("LEBM #2", &points),
            ],
        );
        assert_eq!(svg.matches("LEBM (2 repeats)</text>").count(), 1);
        assert_eq!(svg.matches(&format!("stroke=\"{}\"", COLOURS[0])).count(), 2 + 1);
        assert_eq!(svg.matches(&format!("stroke=\"{}\"", COLOURS[1])).count(), 1 + 1);
        assert_eq!(repeated("T = 2 #"), "T = 2 #");
        assert_eq!(repeated("case #a"), "case #a");
    }
}
