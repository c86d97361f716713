//! The challenger beside the champion: rules, levels, single masks, metrics.

use schemas::vertebra::METRIC_NAMES;

use super::strip::strip;
use super::{INPUT, NightReport};
use crate::nightly::judge::Judgement;
use crate::report::metrics::SHOWN;
use crate::report::page::{
    Column, Mark, Markup, Section, Table, all, better, count, mark, number, paragraph, signed, words,
};

/// Decimals of DSC: differences between versions are small.
const DECIMALS: usize = 4;

/// Returns the sections on the judgement; one that says so where there was none.
pub(super) fn sections(report: &NightReport) -> Vec<Section> {
    let Some(judgement) = &report.judgement else {
        return vec![Section {
            id: "rules",
            title: "Rules",
            body: paragraph("No version was judged this night."),
        }];
    };
    vec![
        Section {
            id: "rules",
            title: "Rules",
            body: rules(judgement),
        },
        Section {
            id: "levels",
            title: "Level by level",
            body: levels(judgement),
        },
        Section {
            id: "masks",
            title: "Mask by mask",
            body: masks(judgement),
        },
        Section {
            id: "metrics",
            title: "Metrics",
            body: metrics(judgement),
        },
    ]
}

/// What the challenger is held against, as a heading.
fn opponent(judgement: &Judgement) -> &'static str {
    match judgement.against.as_str() {
        INPUT => "input",
        _ => "champion",
    }
}

fn rules(judgement: &Judgement) -> Markup {
    let fulfilled = judgement.rules.iter().filter(|rule| rule.passed).count();
    let told = match judgement.rules.len() {
        0 => "No rule was set.".to_owned(),
        rules => format!("{fulfilled} of {rules} rules are fulfilled."),
    };
    let against = match judgement.against.as_str() {
        INPUT => "The challenger is held against the masks it was given: there is no champion.".to_owned(),
        version => format!("The challenger is held against {version}, on the same masks."),
    };
    let mut table = Table::new(
        "What a challenger must fulfil",
        &[
            Column::Text("rule, with its bound"),
            Column::Text("found"),
            Column::Text("result"),
        ],
    );
    for rule in &judgement.rules {
        let result = if rule.passed {
            mark(Mark::Good, "passed")
        } else {
            mark(Mark::Bad, "failed")
        };
        table.row([words(&rule.rule), words(&rule.found), result]);
    }
    all([paragraph(&told), paragraph(&against), table.finish()])
}

fn levels(judgement: &Judgement) -> Markup {
    if judgement.levels.is_empty() {
        return paragraph("No level was told apart.");
    }
    let mut table = Table::new(
        "Mean DSC by level; more is better",
        &[
            Column::Text("level"),
            Column::Number("masks"),
            Column::Number(opponent(judgement)),
            Column::Number("challenger"),
            Column::Number("ΔDSC"),
            Column::Text("challenger is"),
        ],
    );
    for line in &judgement.levels {
        let difference = line.challenger - line.champion;
        table.row([
            words(&line.level),
            count(line.masks),
            number(Some(line.champion), DECIMALS),
            number(Some(line.challenger), DECIMALS),
            words(&signed(difference, None, DECIMALS)),
            better(difference, DECIMALS),
        ]);
    }
    let [champion, challenger] = judgement.dsc.map(|mean| number(Some(mean), DECIMALS));
    table.row([
        words("all"),
        count(judgement.masks),
        champion,
        challenger,
        words(&signed(judgement.difference, judgement.interval, DECIMALS)),
        better(judgement.difference, DECIMALS),
    ]);
    table.finish()
}

fn masks(judgement: &Judgement) -> Markup {
    let (mut gained, mut lost, mut equal) = (0, 0, 0);
    for difference in &judgement.differences {
        match difference {
            found if *found > 0.0 => gained += 1,
            found if *found < 0.0 => lost += 1,
            _ => equal += 1,
        }
    }
    let told = format!(
        "Of {} masks the challenger is better on {gained} than the {}, worse on {lost}, equal on {equal}.",
        judgement.differences.len(),
        opponent(judgement)
    );
    match strip(judgement) {
        Some(picture) => all([paragraph(&told), picture]),
        None => paragraph("There are no differences of single masks."),
    }
}

fn metrics(judgement: &Judgement) -> Markup {
    if judgement.metrics.is_empty() {
        return paragraph("No metric was measured.");
    }
    let mut table = Table::new(
        "Means over the masks that have the value; of distances, in mm, less is better",
        &[
            Column::Text("metric"),
            Column::Number(opponent(judgement)),
            Column::Number("challenger"),
            Column::Number("difference"),
            Column::Text("challenger is"),
        ],
    );
    for line in &judgement.metrics {
        let shown = SHOWN.iter().find(|(name, _, _)| *name == line.metric);
        let (heading, decimals) = shown.map_or((line.metric.as_str(), 3), |(_, heading, decimals)| {
            (*heading, *decimals)
        });
        let decimals = decimals + 1;
        let difference = line.champion.zip(line.challenger);
        let difference = difference.map(|(champion, challenger)| challenger - champion);
        let known = METRIC_NAMES.contains(&line.metric.as_str());
        let judged = match difference.filter(|_| known) {
            Some(found) if line.metric.ends_with("_mm") => better(-found, decimals),
            Some(found) => better(found, decimals),
            None => mark(Mark::None, "not compared"),
        };
        table.row([
            words(heading),
            number(line.champion, decimals),
            number(line.challenger, decimals),
            difference.map_or_else(
                || number(None, decimals),
                |found| words(&signed(found, None, decimals)),
            ),
            judged,
        ]);
    }
    table.finish()
}
