//! Points of several groups in one picture, each group with a sign and a colour of its own.

use crate::report::chart::ticks::Ticks;
use crate::report::page::{Markup, figure};
use crate::report::shown;
use crate::report::svg::{Anchor, escape, number, text};

/// Most points drawn of all groups together: more would not be told apart.
const POINTS_MOST: usize = 3000;

/// Signs and colours that there are; the groups after that begin anew.
const LOOKS: usize = 7;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 590.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 386.0;
const LEGEND_LINE: f64 = 22.0;

/// Points that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cloud {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Returns the picture; `axes` names them, across and up. With `equal` both have one scale and the line of equals is
/// drawn. Of many points some are drawn, evenly from each group, and the caption says so.
pub(super) fn scatter(title: &str, axes: [&str; 2], clouds: &[Cloud], equal: bool, caption: &str) -> Markup {
    let all: usize = clouds.iter().map(|cloud| cloud.points.len()).sum();
    let drawn: Vec<Vec<(f64, f64)>> = clouds.iter().map(|cloud| some_of(&cloud.points, all)).collect();
    let count: usize = drawn.iter().map(Vec::len).sum();
    let points = || drawn.iter().flatten();
    let across = points().map(|point| point.0);
    let up = points().map(|point| point.1);
    let [horizontal, vertical] = if equal {
        let both = Ticks::over(across.chain(up), 6.0);
        [both, both]
    } else {
        [Ticks::over(across, 7.0), Ticks::over(up, 6.0)]
    };
    let place = |(x, y): (f64, f64)| {
        (
            LEFT + horizontal.share(x) * (RIGHT - LEFT),
            BOTTOM - vertical.share(y) * (BOTTOM - TOP),
        )
    };

    let groups: Vec<String> = clouds
        .iter()
        .map(|cloud| format!("{} ({})", cloud.name, cloud.points.len()))
        .collect();
    let description = format!(
        "Points by {}, in groups: {}.",
        axes.join(" and "),
        groups.join(", ")
    );
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
         <title>{}</title>\n<desc>{}</desc>\n",
        escape(title),
        escape(&description)
    );
    svg += &grid(&horizontal, &vertical, axes);
    if equal {
        let (left, bottom, right, top) = (number(LEFT), number(BOTTOM), number(RIGHT), number(TOP));
        svg += &format!("<path class=\"zero\" d=\"M{left} {bottom}L{right} {top}\"/>\n");
    }
    for (index, points) in drawn.iter().enumerate() {
        let look = index % LOOKS;
        let path: String = points.iter().map(|point| sign(look, place(*point))).collect();
        svg += &format!("<path class=\"dots dots-{look}\" d=\"{path}\"/>\n");
    }
    for (index, group) in groups.iter().enumerate() {
        let (x, y) = (RIGHT + 24.0, TOP + LEGEND_LINE * (index as f64 + 0.5));
        let look = index % LOOKS;
        svg += &format!(
            "<path class=\"dots dots-{look}\" d=\"{}\"/>\n",
            sign(look, (x, y - 4.0))
        );
        svg += &text(x + 12.0, y, Anchor::Start, "", group);
    }
    svg += "</svg>\n";
    let mut caption = caption.to_owned();
    if count < all {
        caption += &format!(" {count} of {all} are drawn, evenly from each group; numbers are of all.");
    }
    figure("scatter", svg, &caption)
}

/// Returns a group's share of what is drawn of `all` points, evenly from it.
fn some_of(points: &[(f64, f64)], all: usize) -> Vec<(f64, f64)> {
    if all <= POINTS_MOST {
        return points.to_vec();
    }
    let share = (points.len() * POINTS_MOST).div_ceil(all);
    let places = shown(points.len(), share).into_iter();
    places.filter_map(|place| points.get(place).copied()).collect()
}

fn grid(horizontal: &Ticks, vertical: &Ticks, [across, up]: [&str; 2]) -> String {
    let (mut lines, mut labels) = (String::new(), String::new());
    for (share, label) in horizontal.shares().zip(horizontal.labels()) {
        let x = LEFT + share * (RIGHT - LEFT);
        lines += &format!("M{} {}V{}", number(x), number(TOP), number(BOTTOM));
        labels += &text(x, BOTTOM + 18.0, Anchor::Middle, "", &label);
    }
    for (share, label) in vertical.shares().zip(vertical.labels()) {
        let y = BOTTOM - share * (BOTTOM - TOP);
        lines += &format!("M{} {}H{}", number(LEFT), number(y), number(RIGHT));
        labels += &text(LEFT - 8.0, y + 4.0, Anchor::End, "", &label);
    }
    let middle = (TOP + BOTTOM) / 2.0;
    let turned = format!("transform=\"rotate(-90 16 {})\"", number(middle));
    labels += &text((LEFT + RIGHT) / 2.0, HEIGHT - 12.0, Anchor::Middle, "", across);
    labels += &text(16.0, middle, Anchor::Middle, &turned, up);
    format!("<path class=\"grid\" d=\"{lines}\"/>\n{labels}")
}

/// Returns one of seven signs about a place, as a part of a path.
fn sign(look: usize, (x, y): (f64, f64)) -> String {
    let from = |dx: f64, dy: f64| format!("M{} {}", number(x + dx), number(y + dy));
    match look {
        0 => from(-3.0, 0.0) + "h6m-3-3v6",
        1 => from(-2.3, -2.3) + "l4.6 4.6m0-4.6l-4.6 4.6",
        2 => from(-2.2, -2.2) + "h4.4v4.4h-4.4z",
        3 => from(0.0, -2.8) + "l2.6 4.6h-5.2z",
        4 => from(0.0, -3.0) + "l3 3l-3 3l-3-3z",
        5 => from(0.0, 2.8) + "l2.6-4.6h-5.2z",
        _ => from(-2.4, 0.0) + "a2.4 2.4 0 1 0 4.8 0a2.4 2.4 0 1 0-4.8 0z",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Cloud {
        Cloud {
            name: name.to_owned(),
            points: points.into_iter().collect(),
        }
    }

    #[test]
    fn points_lie_where_a_ruler_puts_them() {
        let clouds = [cloud("L1", [(0.0, 0.0), (1.0, 0.5)]), cloud("L2", [(0.5, 1.0)])];
        let picture = scatter("t", ["x", "y"], &clouds, true, "caption");
        let svg = picture.as_str();
        // (0, 0) is the lower left corner: a plus begins 3 px left of it; (1, 0.5) at the right border, half-way up
        assert!(
            svg.contains("class=\"dots dots-0\" d=\"M73 386h6m-3-3v6M587 201h6"),
            "{svg}"
        );
        // a cross about (333, 16)
        assert!(svg.contains("class=\"dots dots-1\" d=\"M330.7 13.7l4.6"), "{svg}");
        assert!(svg.contains("class=\"zero\" d=\"M76 386L590 16\""), "{svg}");
        assert!(svg.contains(">L1 (2)</text>") && svg.contains("caption</figcaption>"));
    }

    #[test]
    fn of_many_points_some_are_drawn_and_it_says_how_many() {
        let line = |count: usize| (0..count).map(|place| (place as f64, place as f64));
        let clouds = [cloud("L1", line(9000)), cloud("L2", line(1000))];
        let picture = scatter("t", ["x", "y"], &clouds, false, "caption.");
        let svg = picture.as_str();
        assert!(svg.contains("3000 of 10000 are drawn"), "2700 and 300");
        // a sign of the first group each, and one in the legend
        assert_eq!(svg.matches("h6m-3-3v6").count(), 2700 + 1);
        assert_eq!(svg.matches("m0-4.6l-4.6").count(), 300 + 1);
        assert!(!svg.contains("class=\"zero\""));
    }
}
