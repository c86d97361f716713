//! Metrics and their differences, as tables.

use schemas::Level;

use super::markdown::{Table, counted, mean_and_sd_of, number, signed};
use crate::compare::Comparison;
use crate::compare::summary::{Side, metric, spread};

/// Metrics of the report: column of the table, heading, decimals. Jaccard is in the Parquet only: DSC says the same.
pub(crate) const SHOWN: [(&str, &str, usize); 10] = [
    ("dsc", "DSC", 3),
    ("vs", "VS", 3),
    ("sen", "SEN", 3),
    ("spec", "SPEC", 4),
    ("nmi", "NMI", 3),
    ("ck", "CK", 3),
    ("ppv", "PPV", 3),
    ("npv", "NPV", 4),
    ("hd95_mm", "HD95 mm", 2),
    ("assd_mm", "ASSD mm", 3),
];

/// Those given for every vertebra.
const FEW: [(&str, &str, usize); 3] = [
    ("dsc", "DSC", 3),
    ("assd_mm", "ASSD mm", 3),
    ("hd95_mm", "HD95 mm", 2),
];

/// Returns every method's mean metrics.
pub fn means(comparison: &Comparison) -> String {
    let mut text = String::from(
        "## Metrics\n\nMean ± standard deviation (n − 1) over the vertebrae that have the value; n counts \
         reconstructions, and a number in brackets those with the value where they are fewer: an empty one has no distances. DSC, VS, SEN, SPEC, NMI and CK as in the paper's Appendix D (its Table 1 prints precision, here \
         PPV, as SEN, and NPV as SPEC). HD95 and ASSD in mm: less is better.\n",
    );
    let headings = SHOWN.map(|(_, heading, _)| heading);
    let mut table = Table::new(1, ["method", "n"].into_iter().chain(headings));
    for side in comparison.sides() {
        let done = (0..comparison.subjects.len())
            .filter(|subject| comparison.scores(side, *subject).is_some())
            .count();
        let cells = SHOWN.map(|(name, _, decimals)| {
            let values: Vec<f64> = comparison
                .values(side, metric(name))
                .into_iter()
                .flatten()
                .collect();
            mean_and_sd_of(done, spread(&values), decimals)
        });
        let first = [side.name().to_owned(), done.to_string()];
        table.row(first.into_iter().chain(cells));
    }
    text.push_str(&table.finish());
    text
}

/// Returns every method's difference to the input.
pub fn gains(comparison: &Comparison) -> String {
    let mut text = String::from(
        "## Difference to the input\n\nMean of reconstruction − input over the same vertebrae, with its interval.\n",
    );
    let headings = SHOWN.map(|(_, heading, _)| heading);
    let mut table = Table::new(1, ["method", "n"].into_iter().chain(headings));
    for method in &comparison.methods {
        let side = Side::Method(method);
        let estimates = SHOWN.map(|(name, _, decimals)| {
            let estimate = comparison.difference(side, Side::Input, metric(name));
            (estimate, decimals)
        });
        let pairs = estimates[0].0.map_or(0, |estimate| estimate.count);
        let first = [method.conf.name.clone(), pairs.to_string()];
        let cells = estimates.map(|(estimate, decimals)| {
            let count = estimate.map_or(pairs, |estimate| estimate.count);
            counted(signed(estimate, decimals), count, pairs)
        });
        table.row(first.into_iter().chain(cells));
    }
    text.push_str(&table.finish());
    text
}

/// Returns every method's difference to every other one; nothing for one method.
pub fn between_methods(comparison: &Comparison) -> String {
    if comparison.methods.len() < 2 {
        return String::new();
    }
    let mut text = String::from(
        "## Differences between methods\n\nMean DSC of the row's method − that of the column's, over the vertebrae that \
         both did, with its interval.\n",
    );
    let names = comparison.methods.iter().map(|method| method.conf.name.as_str());
    let mut table = Table::new(1, std::iter::once("ΔDSC").chain(names));
    let dsc = metric("dsc");
    for (index, one) in comparison.methods.iter().enumerate() {
        let cells = comparison.methods.iter().enumerate().map(|(other_index, other)| {
            if index == other_index {
                return String::new();
            }
            signed(
                comparison.difference(Side::Method(one), Side::Method(other), dsc),
                4,
            )
        });
        table.row(std::iter::once(one.conf.name.clone()).chain(cells));
    }
    text.push_str(&table.finish());
    text
}

/// Returns mean metrics level by level.
pub fn by_level(comparison: &Comparison) -> String {
    let mut text = String::from("## By level\n");
    let headings = SHOWN.map(|(_, heading, _)| heading);
    let mut table = Table::new(2, ["level", "method", "n"].into_iter().chain(headings));
    for level in Level::ALL {
        let here: Vec<usize> = comparison
            .subjects
            .iter()
            .enumerate()
            .filter(|(_, subject)| subject.level == level)
            .map(|(index, _)| index)
            .collect();
        if here.is_empty() {
            continue;
        }
        for side in comparison.sides() {
            let scores: Vec<_> = here
                .iter()
                .filter_map(|index| comparison.scores(side, *index))
                .collect();
            let cells = SHOWN.map(|(name, _, decimals)| {
                let values: Vec<f64> = scores.iter().filter_map(|scores| scores[metric(name)]).collect();
                mean_and_sd_of(scores.len(), spread(&values), decimals)
            });
            let first = [
                level.to_string(),
                side.name().to_owned(),
                scores.len().to_string(),
            ];
            table.row(first.into_iter().chain(cells));
        }
    }
    text.push_str(&table.finish());
    text
}

/// Returns the metrics of every vertebra.
pub fn every_vertebra(comparison: &Comparison) -> String {
    let mut text = String::from("## Every vertebra\n");
    let sides = comparison.sides();
    for (name, heading, decimals) in FEW {
        let metric = metric(name);
        let mut table = Table::new(1, std::iter::once(heading).chain(sides.iter().map(Side::name)));
        for (index, subject) in comparison.subjects.iter().enumerate() {
            let cells = sides.iter().map(|side| match comparison.scores(*side, index) {
                Some(scores) => number(scores[metric], decimals),
                None => "failed".to_owned(),
            });
            table.row(std::iter::once(subject.name()).chain(cells));
        }
        text.push_str(&table.finish());
    }
    text
}
