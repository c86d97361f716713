//! What the reconstruction changed, vertebra by vertebra: input and reconstruction against the same reference.

use std::collections::{BTreeMap, BTreeSet};

use models::seed::derive;

use super::facts::Facts;
use super::numbers::{DSC, Metric};
use super::scatter::{Cloud, scatter};
use crate::compare::bootstrap::{Estimate, mean_interval};
use crate::compare::summary::PERSONS_TO_RESAMPLE;
use crate::report::page::{
    Column, Markup, Section, Table, all, better, count, heading, number, paragraph, signed, words,
};

/// Draws of the bootstrap.
const RESAMPLES: usize = 2000;

/// Decimals of DSC and its differences level by level.
const DECIMALS: usize = 3;

/// How one metric changed over the vertebrae that have it twice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    /// Means of inputs and of reconstructions.
    pub(super) means: [f64; 2],
    /// Mean of reconstruction − input, and its interval.
    pub(super) estimate: Estimate,
    /// Vertebrae whose reconstruction is better, worse and equal; of distances less is better.
    pub(super) better: usize,
    pub(super) worse: usize,
    pub(super) equal: usize,
}

impl Change {
    /// Returns the change of a metric over a level, or over all; `None` where no vertebra has it twice.
    ///
    /// The interval resamples persons where there are [`PERSONS_TO_RESAMPLE`] of them, else vertebrae.
    pub(super) fn of(facts: &Facts<'_>, metric: Metric, level: Option<&str>) -> Option<Self> {
        let measured: Vec<(&str, f64, f64)> = facts
            .vertebrae(level)
            .filter_map(|vertebra| {
                let (before, after) = metric.pair(vertebra)?;
                Some((vertebra.person.as_str(), before, after))
            })
            .collect();
        let persons: BTreeSet<&str> = measured.iter().map(|(person, _, _)| *person).collect();
        let by_person = persons.len() >= PERSONS_TO_RESAMPLE;
        let mut groups: BTreeMap<(&str, usize), Vec<f64>> = BTreeMap::new();
        let (mut sums, mut better, mut worse) = ([0.0_f64; 2], 0, 0);
        for (index, (person, before, after)) in measured.iter().enumerate() {
            let group = if by_person { (*person, 0) } else { ("", index) };
            groups.entry(group).or_default().push(after - before);
            sums = [sums[0] + before, sums[1] + after];
            let gain = if metric.is_distance {
                before - after
            } else {
                after - before
            };
            better += usize::from(gain > 0.0);
            worse += usize::from(gain < 0.0);
        }
        let groups: Vec<Vec<f64>> = groups.into_values().collect();
        let estimate = mean_interval(&groups, RESAMPLES, derive(0, "report"))?;
        Some(Self {
            means: sums.map(|sum| sum / measured.len() as f64),
            estimate,
            better,
            worse,
            equal: measured.len() - better - worse,
        })
    }
}

/// Returns the section.
pub(super) fn section(facts: &Facts<'_>) -> Section {
    Section {
        id: "change",
        title: "What the reconstruction changed",
        body: body(facts),
    }
}

fn body(facts: &Facts<'_>) -> Markup {
    let dsc = facts.metrics[DSC];
    if facts
        .metrics
        .iter()
        .all(|metric| facts.pairs(*metric, None).next().is_none())
    {
        return paragraph(
            "No vertebra has metrics of both input and reconstruction: there is nothing to set side by side.",
        );
    }
    let reading = format!(
        "Reconstruction minus input, each against the same reference, over the vertebrae that have both. In brackets the \
         95 % interval of the mean, where it holds 0 chance may explain the difference: a bootstrap over persons where \
         there are at least {PERSONS_TO_RESAMPLE}, else over vertebrae, and then it may be too narrow. Better and worse \
         count single vertebrae; of distances (mm) less is better."
    );
    all([
        paragraph(&reading),
        metrics(facts),
        heading("DSC level by level"),
        levels(facts, dsc),
        picture(facts, dsc),
    ])
}

const COLUMNS: [Column; 8] = [
    Column::Number("vertebrae"),
    Column::Number("input"),
    Column::Number("reconstruction"),
    Column::Number("difference"),
    Column::Number("better"),
    Column::Number("worse"),
    Column::Number("equal"),
    Column::Text("on the whole"),
];

fn table(caption: &str, first: &'static str) -> Table {
    let columns: Vec<Column> = std::iter::once(Column::Text(first)).chain(COLUMNS).collect();
    Table::new(caption, &columns)
}

fn add(table: &mut Table, name: &str, metric: Metric, decimals: usize, change: &Change) {
    let [before, after] = change.means.map(|mean| number(Some(mean), decimals));
    let Estimate {
        mean,
        interval,
        count: pairs,
    } = change.estimate;
    let gain = if metric.is_distance { -mean } else { mean };
    table.row([
        words(name),
        count(pairs),
        before,
        after,
        words(&signed(mean, interval, decimals)),
        count(change.better),
        count(change.worse),
        count(change.equal),
        better(gain, decimals),
    ]);
}

fn metrics(facts: &Facts<'_>) -> Markup {
    let mut table = table("Every metric, before and after", "metric");
    for metric in &facts.metrics {
        if let Some(change) = Change::of(facts, *metric, None) {
            add(&mut table, metric.heading, *metric, metric.decimals, &change);
        }
    }
    table.finish()
}

fn levels(facts: &Facts<'_>, dsc: Metric) -> Markup {
    let mut table = table("DSC by level, before and after", "level");
    let levels = facts.levels.iter().map(|level| (*level, Some(*level)));
    for (name, level) in levels.chain([("all", None)]) {
        if let Some(change) = Change::of(facts, dsc, level) {
            add(&mut table, name, dsc, DECIMALS, &change);
        }
    }
    table.finish()
}

fn picture(facts: &Facts<'_>, dsc: Metric) -> Markup {
    let clouds: Vec<Cloud> = facts
        .levels
        .iter()
        .map(|level| Cloud {
            name: (*level).to_owned(),
            points: facts.pairs(dsc, Some(*level)).collect(),
        })
        .filter(|cloud| !cloud.points.is_empty())
        .collect();
    scatter(
        "DSC of the reconstruction over DSC of the input",
        ["DSC of the input", "DSC of the reconstruction"],
        &clouds,
        true,
        "Each sign is a vertebra, by level. Above the line the reconstruction is closer to the reference than the input \
         was; below it, farther away.",
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{results, vertebra};
    use super::*;

    #[test]
    fn changes_are_counted_and_averaged_over_those_that_have_both() {
        let mut with_distance = vertebra("c", "L2", Some(0.5), Some(0.7));
        (with_distance.input[10], with_distance.recon[10]) = (Some(3.0), Some(1.0));
        let run = results([
            vertebra("a", "L1", Some(0.8), Some(0.9)),
            vertebra("a", "L2", Some(0.7), Some(0.6)),
            vertebra("b", "L1", Some(0.6), Some(0.6)),
            vertebra("b", "L2", None, Some(0.9)),
            with_distance,
        ]);
        let facts = Facts::of(&run);
        let all = Change::of(&facts, facts.metrics[DSC], None).expect("pairs");
        assert_eq!(
            (all.better, all.worse, all.equal, all.estimate.count),
            (2, 1, 1, 4)
        );
        // (0.1 − 0.1 + 0 + 0.2) / 4
        assert!((all.estimate.mean - 0.05).abs() < 1e-12);
        assert!((all.means[0] - 0.65).abs() < 1e-12 && (all.means[1] - 0.7).abs() < 1e-12);
        let level = Change::of(&facts, facts.metrics[DSC], Some("L1")).expect("pairs");
        assert_eq!((level.better, level.equal, level.estimate.count), (1, 1, 2));
        let distance = Change::of(&facts, facts.metrics[10], None).expect("a pair");
        assert_eq!((distance.better, distance.worse), (1, 0), "less is better");
        assert_eq!(
            distance.estimate.interval, None,
            "of one vertebra nothing is sure"
        );
        assert_eq!(Change::of(&facts, facts.metrics[3], None), None);
    }

    #[test]
    fn persons_are_drawn_as_a_whole_once_there_are_enough() {
        // eight persons, each with ten equal gains: the interval is that of eight values, not of eighty
        let many = (0..8).flat_map(|person| {
            (0..10).map(move |copy| {
                let gain = f64::from(person) / 100.0;
                let mut made = vertebra(&format!("p{person}-{copy}"), "L3", Some(0.5), Some(0.5 + gain));
                made.person = format!("p{person}");
                made
            })
        });
        let run = results(many);
        let facts = Facts::of(&run);
        let found = Change::of(&facts, facts.metrics[DSC], None).expect("pairs");
        let groups: Vec<Vec<f64>> = (0..8)
            .map(|person| vec![0.5 + f64::from(person) / 100.0 - 0.5; 10])
            .collect();
        let expected = mean_interval(&groups, RESAMPLES, derive(0, "report")).expect("values");
        assert_eq!(found.estimate.count, 80);
        let ([low, high], [expected_low, expected_high]) = (
            found.estimate.interval.expect("eight persons"),
            expected.interval.expect("eight groups"),
        );
        assert!((low - expected_low).abs() < 1e-12 && (high - expected_high).abs() < 1e-12);
    }
}
