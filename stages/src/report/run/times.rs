//! Where the time went, stage by stage.

use schemas::rows::TIMED_STAGES;

use super::facts::Facts;
use super::numbers::sorted;
use super::opening::seconds;
use crate::compare::bootstrap::percentile;
use crate::report::page::{Column, Markup, Section, Table, all, count, figure, paragraph, words};
use crate::report::svg::{Anchor, escape, number, text};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 560.0;
const LINE: f64 = 28.0;
const TOP: f64 = 8.0;

/// The time of one stage.
#[derive(Debug, Clone, PartialEq)]
struct Stage {
    name: &'static str,
    cases: usize,
    /// Seconds.
    median: f64,
    p95: f64,
    sum: f64,
}

/// Returns the section.
pub(super) fn section(facts: &Facts<'_>) -> Section {
    Section {
        id: "times",
        title: "Time by stage",
        body: body(facts),
    }
}

fn body(facts: &Facts<'_>) -> Markup {
    let stages = stages(facts);
    let whole: f64 = stages.iter().map(|stage| stage.sum).sum();
    if stages.is_empty() {
        return paragraph("No case tells how long it took.");
    }
    let reading = "Time on the clock within each stage, of the cases that went through it, failed ones included. Cases run \
                   side by side, so that sums are more than the run took; waiting for a free model worker counts to \
                   reconstruct.";
    let mut table = Table::new(
        "Time by stage",
        &[
            Column::Text("stage"),
            Column::Number("cases"),
            Column::Number("median"),
            Column::Number("95th percentile"),
            Column::Number("sum"),
            Column::Number("share"),
        ],
    );
    for stage in &stages {
        table.row([
            words(stage.name),
            count(stage.cases),
            words(&format!("{:.3} s", stage.median)),
            words(&format!("{:.3} s", stage.p95)),
            words(&seconds(stage.sum)),
            words(&format!("{:.1} %", share(stage.sum, whole))),
        ]);
    }
    all([paragraph(reading), picture(&stages, whole), table.finish()])
}

/// Returns the stages that any case went through, in the order of the flow.
fn stages(facts: &Facts<'_>) -> Vec<Stage> {
    let stages = TIMED_STAGES.into_iter().enumerate();
    stages
        .filter_map(|(index, name)| {
            let cases = facts.results.cases.iter();
            let times = sorted(cases.filter_map(|case| Some(case.stage_ms[index]? / 1e3)));
            (!times.is_empty()).then(|| Stage {
                name,
                cases: times.len(),
                median: percentile(&times, 0.5),
                p95: percentile(&times, 0.95),
                sum: times.iter().sum(),
            })
        })
        .collect()
}

/// Returns a part in percent; of nothing it is nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { 100.0 * part / whole } else { 0.0 }
}

fn picture(stages: &[Stage], whole: f64) -> Markup {
    let height = TOP + LINE * stages.len() as f64;
    let longest = stages.iter().map(|stage| stage.sum).fold(0.0, f64::max);
    let told: Vec<String> = stages
        .iter()
        .map(|stage| format!("{} {:.1} %", stage.name, share(stage.sum, whole)))
        .collect();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>Sum of the time in each stage</title>\n<desc>{}.</desc>\n",
        escape(&told.join(", "))
    );
    for (index, stage) in stages.iter().enumerate() {
        let y = TOP + LINE * index as f64;
        let long = if longest > 0.0 {
            (RIGHT - LEFT) * stage.sum / longest
        } else {
            0.0
        };
        svg += &text(LEFT - 10.0, y + 15.0, Anchor::End, "", stage.name);
        svg += &format!(
            "<rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"18\"/>\n",
            number(LEFT),
            number(y + 2.0),
            number(long)
        );
        let words = format!("{} ({:.1} %)", seconds(stage.sum), share(stage.sum, whole));
        svg += &text(LEFT + long + 8.0, y + 15.0, Anchor::Start, "", &words);
    }
    figure(
        "times",
        svg + "</svg>\n",
        "Sum over all cases of the time in each stage.",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::results::{CaseSeen, Results};

    #[test]
    fn medians_percentiles_and_sums_are_those_of_the_rows() {
        let case = |decode: Option<f64>, write: f64| {
            let mut case = CaseSeen::default();
            case.stage_ms[2] = decode;
            case.stage_ms[6] = Some(write);
            Arc::new(case)
        };
        let results = Results {
            cases: vec![
                case(Some(1000.0), 500.0),
                case(Some(3000.0), 500.0),
                case(None, 500.0),
                case(Some(f64::NAN), 500.0),
            ],
            ..Results::default()
        };
        let facts = Facts::of(&results);
        let found = stages(&facts);
        let [decode, write] = found.as_slice() else {
            panic!("two stages, found {found:?}")
        };
        // numpy.percentile([1, 3], 95) = 2.9
        assert_eq!(
            (decode.name, decode.cases, decode.median, decode.sum),
            ("decode", 2, 2.0, 4.0)
        );
        assert!((decode.p95 - 2.9).abs() < 1e-12);
        assert_eq!((write.name, write.cases, write.sum), ("write", 4, 2.0));
        let page = body(&facts);
        assert!(
            page.as_str().contains("decode 66.7 %, write 33.3 %."),
            "{}",
            page.as_str()
        );
        // the longest bar goes from 110 to 560, the other half as far
        assert!(page.as_str().contains("width=\"450\"") && page.as_str().contains("width=\"225\""));
        assert_eq!(
            body(&Facts::of(&Results::default())),
            paragraph("No case tells how long it took.")
        );
    }
}
