//! How far the new masks are from those known before.

use super::{NightReport, Verdict};
use crate::nightly::drift::{Drift, FEWEST, Quartiles};
use crate::report::page::{
    Column, Mark, Markup, Section, Table, all, code, count, enclosed, mark, number, paragraph, words,
};

/// What each quantity is, for those who do not read codes.
const QUANTITIES: [(&str, &str); 10] = [
    ("volume_mm3", "volume"),
    ("extent_x_mm", "width, left to right"),
    ("extent_y_mm", "depth, back to front"),
    ("extent_z_mm", "height, foot to head"),
    ("spacing_x_mm", "voxels, left to right"),
    ("spacing_y_mm", "voxels, back to front"),
    ("spacing_z_mm", "voxels, foot to head"),
    ("thickness_mm", "thickness of the slices"),
    ("intensity_mean", "brightness within the mask, mean"),
    ("intensity_sd", "brightness within the mask, standard deviation"),
];

/// Decimals of quantities, and of distances.
const DECIMALS: usize = 3;

/// Returns the section.
pub(super) fn section(report: &NightReport) -> Section {
    Section {
        id: "drift",
        title: "Drift",
        body: body(report),
    }
}

fn body(report: &NightReport) -> Markup {
    if report.drift.is_empty() {
        return paragraph("Nothing was compared: there were no new masks, or none known before.");
    }
    let drifted: Vec<&str> = report
        .drift
        .iter()
        .filter(|drift| drift.drifted)
        .map(|drift| meaning(&drift.quantity))
        .collect();
    let told = match drifted.as_slice() {
        [] => "The new masks do not differ clearly from those known before.".to_owned(),
        some => format!(
            "The new masks differ from those known before in: {}.",
            some.join("; ")
        ),
    };
    let watched = match report.verdict {
        Verdict::Promoted | Verdict::Kept => "Drift is watched; it had no part in the verdict.",
        Verdict::NothingToJudge => "Drift is watched; it decides nothing.",
    };
    let reading = "The distance is the largest gap between the two distributions, 0 to 1 (Kolmogorov–Smirnov). Of \
                   independent masks chance alone exceeds the limit once in a thousand times; masks of one person \
                   resemble each other, so that few persons exceed it more easily.";
    let mut table = Table::new(
        "New masks beside those known before: median, and in brackets the middle half",
        &[
            Column::Text("quantity"),
            Column::Text("unit"),
            Column::Number("masks before"),
            Column::Number("before"),
            Column::Number("new masks"),
            Column::Number("now"),
            Column::Number("distance"),
            Column::Number("limit"),
            Column::Text("result"),
        ],
    );
    for drift in &report.drift {
        let [before, now] = drift.counts;
        table.row([
            quantity(&drift.quantity),
            words(&drift.unit),
            count(before),
            quartiles(drift.before),
            count(now),
            quartiles(drift.now),
            number(drift.distance, DECIMALS),
            number(drift.limit, DECIMALS),
            result(drift),
        ]);
    }
    all([
        paragraph(&told),
        paragraph(watched),
        table.finish(),
        paragraph(reading),
    ])
}

/// Returns what a quantity is; the code itself of one that is not known.
fn meaning(quantity: &str) -> &str {
    let found = QUANTITIES.iter().find(|(code, _)| *code == quantity);
    found.map_or(quantity, |(_, meaning)| *meaning)
}

fn quantity(quantity: &str) -> Markup {
    match meaning(quantity) {
        same if same == quantity => code(quantity),
        meaning => all([words(meaning), words(" "), code(quantity)]),
    }
}

fn quartiles(quartiles: Option<Quartiles>) -> Markup {
    let Some(Quartiles { lower, median, upper }) = quartiles else {
        return number(None, DECIMALS);
    };
    let [lower, median, upper] = [lower, median, upper].map(|value| number(Some(value), DECIMALS));
    all([median, enclosed(" [", all([lower, words(", "), upper]), "]")])
}

fn result(drift: &Drift) -> Markup {
    match drift.limit {
        None => mark(Mark::None, &format!("fewer than {FEWEST}, no verdict")),
        Some(_) if drift.drifted => mark(Mark::Watch, "drifted"),
        Some(_) => mark(Mark::Same, "as before"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nightly::drift::samples;

    #[test]
    fn every_quantity_that_is_compared_is_named_for_people() {
        let compared: Vec<&str> = samples(&[], &[]).iter().map(|sample| sample.quantity).collect();
        assert_eq!(compared, QUANTITIES.map(|(code, _)| code));
        assert_eq!(meaning("of_the_future"), "of_the_future");
    }
}
