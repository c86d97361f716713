//! A small line chart as SVG: nice ticks, a legend, and lines that colour-blind eyes and grey prints tell apart.

mod look;
pub(crate) mod ticks;

use super::svg::{Anchor, INK, escape, number, open, shorten, text, width_of};
use look::Look;
use ticks::Ticks;

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

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const TOP: f64 = 44.0;
const BELOW: f64 = 52.0;
const LEGEND_LINE: f64 = 19.0;
const LEGEND_WIDEST: f64 = 230.0;
const FONT: f64 = 12.0;

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

#[cfg(test)]
mod tests;
