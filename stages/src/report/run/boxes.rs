//! Box plots of one metric, level by level: the input's box beside the reconstruction's.

use super::numbers::{Distribution, Metric};
use crate::report::chart::ticks::Ticks;
use crate::report::page::{Markup, figure};
use crate::report::shown;
use crate::report::svg::{Anchor, escape, number, text};

/// Most values beyond the whiskers that are drawn of one box.
const OUTLIERS_MOST: usize = 40;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 708.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 252.0;

/// Widest that a box is.
const BOX_MOST: f64 = 34.0;

/// The two sides of a metric in one group of vertebrae.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) input: Option<Distribution>,
    pub(super) recon: Option<Distribution>,
}

/// Side of a pair of boxes, told apart by colour, filling and outline.
#[derive(Clone, Copy)]
enum Side {
    Input,
    Recon,
}

impl Side {
    fn class(self) -> &'static str {
        match self {
            Self::Input => "before",
            Self::Recon => "after",
        }
    }
}

/// Returns the picture of the groups; those without a value leave their place empty.
pub(super) fn boxes(metric: Metric, groups: &[Group]) -> Markup {
    let sides = || {
        groups
            .iter()
            .flat_map(|group| [&group.input, &group.recon])
            .flatten()
    };
    let ends = sides().flat_map(|side| [side.least, side.most]);
    let ticks = Ticks::over(ends, 5.0);
    let height = |value: f64| BOTTOM - ticks.share(value) * (BOTTOM - TOP);

    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
         <title>{} by level, input and reconstruction</title>\n<desc>{}</desc>\n",
        escape(metric.heading),
        escape(&description(metric, groups))
    );
    svg += &scale(&ticks);
    svg += &legend();
    let wide = (RIGHT - LEFT) / groups.len().max(1) as f64;
    let breadth = (0.3 * wide).min(BOX_MOST);
    for (index, group) in groups.iter().enumerate() {
        let middle = LEFT + (index as f64 + 0.5) * wide;
        let apart = 0.62 * breadth;
        for (side, distribution, x) in [
            (Side::Input, &group.input, middle - apart),
            (Side::Recon, &group.recon, middle + apart),
        ] {
            if let Some(distribution) = distribution {
                svg += &one(side, distribution, x, breadth, height);
            }
        }
        svg += &text(middle, BOTTOM + 20.0, Anchor::Middle, "", &group.name);
        let counts = [&group.input, &group.recon].map(|side| side.as_ref().map_or(0, |side| side.count));
        let counts = match counts {
            [input, recon] if input == recon => format!("n = {input}"),
            [input, recon] => format!("n = {input}, {recon}"),
        };
        svg += &text(middle, BOTTOM + 37.0, Anchor::Middle, "", &counts);
    }
    svg += "</svg>\n";
    let hidden: usize = sides()
        .map(|side| side.outliers.len().saturating_sub(OUTLIERS_MOST))
        .sum();
    let mut caption = format!("{}, {}.", metric.heading, metric.reading());
    if hidden > 0 {
        caption += &format!(
            " Of a box with more than {OUTLIERS_MOST} values beyond its whiskers, {OUTLIERS_MOST} are drawn, evenly from \
             all; {hidden} are not."
        );
    }
    figure("boxes", svg, &caption)
}

fn description(metric: Metric, groups: &[Group]) -> String {
    let median = |side: &Option<Distribution>| match side {
        Some(side) => format!("{:.*}", metric.decimals, side.quartiles[1]),
        None => "none".to_owned(),
    };
    let told: Vec<String> = groups
        .iter()
        .map(|group| {
            format!(
                "{} {} and {}",
                group.name,
                median(&group.input),
                median(&group.recon)
            )
        })
        .collect();
    format!("Medians of input and reconstruction: {}.", told.join("; "))
}

fn scale(ticks: &Ticks) -> String {
    let (mut lines, mut labels) = (String::new(), String::new());
    for (share, label) in ticks.shares().zip(ticks.labels()) {
        let y = BOTTOM - share * (BOTTOM - TOP);
        lines += &format!("M{} {}H{}", number(LEFT), number(y), number(RIGHT));
        labels += &text(LEFT - 8.0, y + 4.0, Anchor::End, "", &label);
    }
    format!("<path class=\"grid\" d=\"{lines}\"/>\n{labels}")
}

fn legend() -> String {
    let swatch = |class: &str, x: f64| {
        format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"8\" width=\"22\" height=\"12\"/>\n",
            number(x)
        )
    };
    swatch("before", LEFT)
        + &text(LEFT + 28.0, 18.0, Anchor::Start, "", "input")
        + &swatch("after", LEFT + 84.0)
        + &text(LEFT + 112.0, 18.0, Anchor::Start, "", "reconstruction")
}

/// Returns a box about `x`: quartiles, whiskers, the median as a line, and signs for what lies beyond.
fn one(side: Side, distribution: &Distribution, x: f64, breadth: f64, height: impl Fn(f64) -> f64) -> String {
    let class = side.class();
    let half = breadth / 2.0;
    let [lower, median, upper] = distribution.quartiles.map(&height);
    let [low, high] = distribution.whiskers.map(&height);
    let mut svg = format!(
        "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n",
        number(x - half),
        number(upper),
        number(breadth),
        number(lower - upper)
    );
    let cap = half / 2.0;
    let line = |y: f64, half: f64| format!("M{} {}h{}", number(x - half), number(y), number(2.0 * half));
    let middle = number(x);
    svg += &format!(
        "<path class=\"{class}-mark\" d=\"M{middle} {}V{}M{middle} {}V{}{}{}\"/>\n<path class=\"span\" d=\"{}\"/>\n",
        number(lower),
        number(low),
        number(upper),
        number(high),
        line(low, cap),
        line(high, cap),
        line(median, half)
    );
    let outliers = &distribution.outliers;
    let places = shown(outliers.len(), OUTLIERS_MOST).into_iter();
    let mut drawn: Vec<String> = places
        .filter_map(|place| outliers.get(place))
        .map(|value| {
            let y = number(height(*value) - 2.0);
            match side {
                Side::Input => format!("M{} {y}l4 4m0-4l-4 4", number(x - 2.0)),
                Side::Recon => format!("M{middle} {y}v4m-2-2h4"),
            }
        })
        .collect();
    // those within a tenth of a pixel are one
    drawn.dedup();
    if !drawn.is_empty() {
        svg += &format!("<path class=\"{class}-mark\" d=\"{}\"/>\n", drawn.concat());
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, input: &[f64], recon: &[f64]) -> Group {
        Group {
            name: name.to_owned(),
            input: Distribution::of(input.iter().copied()),
            recon: Distribution::of(recon.iter().copied()),
        }
    }

    #[test]
    fn a_box_lies_where_a_ruler_puts_it() {
        let dsc = Metric::all()[0];
        let groups = [
            group("L1", &[0.0, 0.25, 0.5, 0.75, 1.0], &[1.0; 5]),
            group("L2", &[], &[]),
        ];
        let picture = boxes(dsc, &groups);
        let svg = picture.as_str();
        // two groups of 322 px: boxes of 34 px about 225 ∓ 21.08; 218 px from 0 to 1, quartiles at 0.25 and 0.75
        assert!(
            svg.contains("<rect class=\"before\" x=\"186.9\" y=\"88.5\" width=\"34\" height=\"109\"/>"),
            "{svg}"
        );
        assert!(
            svg.contains("<rect class=\"after\" x=\"229.1\" y=\"34\" width=\"34\" height=\"0\"/>"),
            "{svg}"
        );
        assert!(svg.contains("class=\"span\" d=\"M186.9 143h34\""), "{svg}");
        assert!(svg.contains("L1 0.500 and 1.000; L2 none and none."), "{svg}");
        assert!(svg.contains(">n = 5</text>") && svg.contains(">n = 0</text>"));
    }

    #[test]
    fn of_many_outliers_some_are_drawn_and_it_says_how_many() {
        let mut values = vec![0.5; 1000];
        values.extend((1..=100).map(|place| 0.5 + f64::from(place) / 200.0));
        let picture = boxes(Metric::all()[0], &[group("all", &values, &[0.5])]);
        let svg = picture.as_str();
        assert_eq!(svg.matches("l4 4m0-4l-4 4").count(), OUTLIERS_MOST);
        assert!(svg.contains("60 are not."), "{svg}");
    }
}
