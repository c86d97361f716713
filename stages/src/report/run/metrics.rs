//! Every metric, level by level: box plots, and beneath each the numbers it is drawn from.

use super::boxes::{Group, boxes};
use super::facts::Facts;
use super::numbers::{Distribution, Metric};
use crate::report::page::{
    Column, Markup, Section, Table, all, count, folded, heading, number, paragraph, words,
};

/// What stands for every level together.
const ALL: &str = "all";

/// Returns the section.
pub(super) fn section(facts: &Facts<'_>) -> Section {
    Section {
        id: "metrics",
        title: "Metrics by level",
        body: body(facts),
    }
}

fn body(facts: &Facts<'_>) -> Markup {
    let shown: Vec<(Metric, Vec<Group>)> = facts
        .metrics
        .iter()
        .map(|metric| (*metric, groups(facts, *metric)))
        .filter(|(_, groups)| {
            groups
                .iter()
                .any(|group| group.input.is_some() || group.recon.is_some())
        })
        .collect();
    if shown.is_empty() {
        return paragraph("No vertebra has metrics: none could be held against a reference.");
    }
    let reading = "Each pair of boxes is one level: on the left, hollow and dashed, the input; on the right, filled, the \
                   reconstruction. A box holds the middle half of the vertebrae, its line is the median; whiskers reach \
                   to the farthest vertebra within one and a half box heights, and signs are those beyond. n counts \
                   vertebrae with the value.";
    let left_out = facts.metrics.len() - shown.len();
    let left_out = match left_out {
        0 => None,
        some => Some(paragraph(&format!(
            "{some} of {} metrics were measured of no vertebra and are left out.",
            facts.metrics.len()
        ))),
    };
    let plots = shown.iter().map(|(metric, groups)| {
        all([
            heading(metric.heading),
            boxes(*metric, groups),
            folded("Numbers", table(*metric, groups)),
        ])
    });
    all(std::iter::once(paragraph(reading)).chain(left_out).chain(plots))
}

/// Returns each level, and all together where there are several.
fn groups(facts: &Facts<'_>, metric: Metric) -> Vec<Group> {
    let levels = facts.levels.iter().map(|level| (*level, Some(*level)));
    let together = (facts.levels.len() > 1).then_some((ALL, None));
    levels
        .chain(together)
        .map(|(name, level)| Group {
            name: name.to_owned(),
            input: Distribution::of(
                facts
                    .vertebrae(level)
                    .filter_map(|vertebra| metric.before(vertebra)),
            ),
            recon: Distribution::of(
                facts
                    .vertebrae(level)
                    .filter_map(|vertebra| metric.after(vertebra)),
            ),
        })
        .collect()
}

fn table(metric: Metric, groups: &[Group]) -> Markup {
    let mut table = Table::new(
        &format!("{} by level", metric.heading),
        &[
            Column::Text("level"),
            Column::Text("mask"),
            Column::Number("n"),
            Column::Number("least"),
            Column::Number("lower quartile"),
            Column::Number("median"),
            Column::Number("upper quartile"),
            Column::Number("most"),
            Column::Number("mean"),
        ],
    );
    for group in groups {
        for (side, distribution) in [("input", &group.input), ("reconstruction", &group.recon)] {
            let Some(distribution) = distribution else {
                continue;
            };
            let value = |value: f64| number(Some(value), metric.decimals);
            let [lower, median, upper] = distribution.quartiles.map(value);
            table.row([
                words(&group.name),
                words(side),
                count(distribution.count),
                value(distribution.least),
                lower,
                median,
                upper,
                value(distribution.most),
                value(distribution.mean),
            ]);
        }
    }
    table.finish()
}
