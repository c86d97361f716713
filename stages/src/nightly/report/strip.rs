//! The differences of single masks as a picture: a histogram over a strip of all, with zero, mean and interval.

use std::collections::BTreeSet;

use crate::nightly::judge::Judgement;
use crate::report::chart::ticks::Ticks;
use crate::report::page::Markup;
use crate::report::svg::{Anchor, escape, number, text};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 30.0;
const RIGHT: f64 = 690.0;
/// The mean and its interval.
const SPAN: f64 = 34.0;
/// Highest bar.
const TOP: f64 = 66.0;
const BOTTOM: f64 = 220.0;
/// End of the strip's marks.
const STRIP: f64 = 236.0;

/// Bars between two ticks.
const BARS_A_TICK: usize = 3;

/// Room for half of the words about the mean.
const HALF_OF_WORDS: f64 = 160.0;

/// Returns the picture; `None` without a difference.
pub(super) fn strip(judgement: &Judgement) -> Option<Markup> {
    let differences: Vec<f64> = finite(&judgement.differences);
    if differences.is_empty() {
        return None;
    }
    let interval = judgement
        .interval
        .filter(|bounds| bounds.iter().all(|bound| bound.is_finite()));
    let mean = Some(judgement.difference).filter(|mean| mean.is_finite());
    let marked = std::iter::once(0.0)
        .chain(mean)
        .chain(interval.into_iter().flatten());
    let ticks = Ticks::over(differences.iter().copied().chain(marked), 8.0);
    let place = |value: f64| LEFT + ticks.share(value) * (RIGHT - LEFT);

    let mut svg = open(judgement, &differences);
    if let Some([low, high]) = interval {
        svg += &band(place(low), place(high));
    }
    svg += &axis(&ticks);
    svg += &bars(&ticks, &differences);
    svg += &rug(differences.iter().map(|difference| place(*difference)));
    let zero = number(place(0.0));
    let (from, to) = (number(TOP - 8.0), number(STRIP));
    svg += &format!("<path class=\"zero\" d=\"M{zero} {from}V{to}\"/>\n");
    if let Some(mean) = mean {
        svg += &diamond(place(mean));
        let words = match interval {
            Some(_) => "◆ mean, with its 95 % interval",
            None => "◆ mean",
        };
        let middle = place(mean).clamp(LEFT + HALF_OF_WORDS, RIGHT - HALF_OF_WORDS);
        svg += &text(middle, SPAN - 14.0, Anchor::Middle, "", words);
    }
    svg += &text(
        (LEFT + RIGHT) / 2.0,
        HEIGHT - 12.0,
        Anchor::Middle,
        "",
        "← challenger worse · ΔDSC of a mask · challenger better →",
    );
    let caption = "Masks by their ΔDSC: filled bars for masks at 0 or above, dashed empty ones below. Each mark under \
                   the bars is a mask.";
    Some(Markup::trusted(format!(
        "<figure>\n{svg}</svg>\n<figcaption>{}</figcaption>\n</figure>\n",
        escape(caption)
    )))
}

fn finite(values: &[f64]) -> Vec<f64> {
    values.iter().copied().filter(|value| value.is_finite()).collect()
}

/// The page's own style colours it, on light paper and on dark; within HTML it needs no name space.
fn open(judgement: &Judgement, differences: &[f64]) -> String {
    let least = differences.iter().copied().fold(f64::INFINITY, f64::min);
    let most = differences.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut description = format!(
        "{} differences from {least:+.4} to {most:+.4}, mean {:+.4}",
        differences.len(),
        judgement.difference
    );
    if let Some([low, high]) = judgement.interval {
        description += &format!(", 95 % interval {low:+.4} to {high:+.4}");
    }
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
         <title>DSC of the challenger minus that of what it is held against, mask by mask</title>\n<desc>{}.</desc>\n",
        escape(&description)
    )
}

fn band(low: f64, high: f64) -> String {
    let (x, y, width) = (number(low), number(SPAN), number(high - low));
    let height = number(STRIP - SPAN);
    let (end, above, below) = (number(high), number(SPAN - 5.0), number(SPAN + 5.0));
    format!(
        "<rect class=\"band\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>\n\
         <path class=\"span\" d=\"M{x} {above}V{below}M{x} {y}H{end}M{end} {above}V{below}\"/>\n"
    )
}

fn diamond(x: f64) -> String {
    let at = |dx: f64, dy: f64| format!("{},{}", number(x + dx), number(SPAN + dy));
    let corners = [at(0.0, -6.0), at(6.0, 0.0), at(0.0, 6.0), at(-6.0, 0.0)];
    format!("<polygon class=\"mean\" points=\"{}\"/>\n", corners.join(" "))
}

fn axis(ticks: &Ticks) -> String {
    let (mut grid, mut labels) = (String::new(), String::new());
    for (share, label) in ticks.shares().zip(ticks.labels()) {
        let x = LEFT + share * (RIGHT - LEFT);
        grid += &format!("M{} {}V{}", number(x), number(TOP), number(STRIP));
        labels += &text(x, STRIP + 18.0, Anchor::Middle, "", &label);
    }
    let (left, right, bottom) = (number(LEFT), number(RIGHT), number(BOTTOM));
    format!(
        "<path class=\"grid\" d=\"{grid}\"/>\n<path class=\"axis\" d=\"M{left} {bottom}H{right}\"/>\n{labels}"
    )
}

/// Bars as wide as a third of the way between two ticks, so that none holds masks on both sides of zero.
fn bars(ticks: &Ticks, differences: &[f64]) -> String {
    let count = BARS_A_TICK * (ticks.count() - 1);
    let bar_of = |value: f64| {
        // a value on the border of two belongs to the right one, whatever rounding says
        let bar = (ticks.share(value) * count as f64 + 1e-9).floor();
        bar.clamp(0.0, (count - 1) as f64) as usize
    };
    let mut masks = vec![0_usize; count];
    for difference in differences {
        masks[bar_of(*difference)] += 1;
    }
    let most = masks.iter().copied().max().unwrap_or(0).max(1);
    let zero = bar_of(0.0);
    let width = (RIGHT - LEFT) / count as f64;
    let mut svg = String::new();
    for (bar, masks) in masks.into_iter().enumerate() {
        if masks == 0 {
            continue;
        }
        let class = if bar < zero { "loss" } else { "gain" };
        let height = (BOTTOM - TOP) * masks as f64 / most as f64;
        let x = LEFT + bar as f64 * width;
        svg += &format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n",
            number(x + 1.5),
            number(BOTTOM - height),
            number(width - 3.0),
            number(height)
        );
        svg += &text(
            x + width / 2.0,
            BOTTOM - height - 5.0,
            Anchor::Middle,
            "",
            &masks.to_string(),
        );
    }
    svg
}

fn rug(places: impl Iterator<Item = f64>) -> String {
    // masks that lie within a tenth of a pixel make one mark
    let places: BTreeSet<String> = places.map(number).collect();
    let (from, to) = (number(BOTTOM + 4.0), number(STRIP));
    let marks: Vec<String> = places.iter().map(|x| format!("M{x} {from}V{to}")).collect();
    format!("<path class=\"rug\" d=\"{}\"/>\n", marks.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nightly::report::sample;

    fn drawn(differences: &[f64]) -> Option<Markup> {
        let mut judgement = sample().judgement.expect("judged");
        judgement.differences = differences.to_vec();
        judgement.difference = differences.iter().sum::<f64>() / differences.len() as f64;
        judgement.interval = None;
        strip(&judgement)
    }

    #[test]
    fn masks_below_zero_are_drawn_apart_from_those_at_zero_and_above() {
        let picture = drawn(&[-0.02, -0.001, 0.0, 0.001, 0.001, 0.04]).expect("differences");
        let svg = picture.as_str();
        // ticks every 0.01 from −0.02 to 0.04, bars a third of that: the first, the one left of zero, that of 0 and
        // 0.001, the last
        assert_eq!(svg.matches("class=\"loss\"").count(), 2, "{svg}");
        assert_eq!(svg.matches("class=\"gain\"").count(), 2, "{svg}");
        assert!(svg.contains(">3</text>"), "three masks in one bar\n{svg}");
        // the zero is a third of the way: 30 + 660/3
        assert!(svg.contains("class=\"zero\" d=\"M250 "), "{svg}");
        assert_eq!(svg.matches("class=\"band\"").count(), 0, "no interval, no band");
    }

    #[test]
    fn equal_masks_make_one_bar_at_zero_and_none_makes_no_picture() {
        let picture = drawn(&[0.0; 5]).expect("differences");
        assert_eq!(picture.as_str().matches("<rect").count(), 1);
        assert!(picture.as_str().contains("class=\"gain\"") && picture.as_str().contains(">5</text>"));
        assert_eq!(drawn(&[]), None);
        assert_eq!(drawn(&[f64::NAN]), None);
    }

    #[test]
    fn the_interval_is_marked_where_it_lies() {
        let mut judgement = sample().judgement.expect("judged");
        judgement.differences = vec![0.0, 0.08];
        judgement.difference = 0.04;
        judgement.interval = Some([0.02, 0.06]);
        let picture = strip(&judgement).expect("differences");
        // ticks from 0 to 0.08: 0.02 lies a quarter of the way, and the interval is half as long as it
        assert!(
            picture
                .as_str()
                .contains("class=\"band\" x=\"195\" y=\"34\" width=\"330\""),
            "{}",
            picture.as_str()
        );
    }
}
