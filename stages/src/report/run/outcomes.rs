//! What became of every case and vertebra: counts, reasons, and each failure by name.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::LISTED_MOST;
use super::facts::Facts;
use super::numbers::DONE;
use super::reasons::{explain, explain_flag};
use crate::report::page::{
    Column, Mark, Markup, Section, Table, all, code, count, folded, mark, paragraph, words,
};
use crate::results::{CaseSeen, VertebraSeen};

/// What stands where a failed row says nothing.
const NOT_TOLD: &str = "not told";

/// A case or a vertebra that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed<'a> {
    case_id: &'a str,
    /// `None` for a whole case.
    level: Option<&'a str>,
    stage: &'a str,
    kind: &'a str,
    reason: &'a str,
    message: &'a str,
}

impl<'a> Failed<'a> {
    fn case(case: &'a CaseSeen) -> Self {
        Self {
            case_id: &case.case_id,
            level: None,
            stage: told(&case.stage),
            kind: told(&case.kind),
            reason: told(&case.reason),
            message: case.message.as_deref().unwrap_or_default(),
        }
    }

    fn vertebra(vertebra: &'a VertebraSeen) -> Self {
        Self {
            case_id: &vertebra.case_id,
            level: Some(&vertebra.level),
            stage: "reconstruct",
            kind: told(&vertebra.kind),
            reason: told(&vertebra.reason),
            message: vertebra.message.as_deref().unwrap_or_default(),
        }
    }

    fn what(&self) -> &'static str {
        match self.level {
            Some(_) => "vertebra",
            None => "case",
        }
    }
}

fn told(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or(NOT_TOLD)
}

/// Returns the section.
pub(super) fn section(facts: &Facts<'_>) -> Section {
    let cases = facts.results.cases.iter().filter(|case| case.status != DONE);
    let vertebrae = facts.vertebrae(None).filter(|vertebra| vertebra.status != DONE);
    let failed: Vec<Failed<'_>> = cases
        .map(|case| Failed::case(case))
        .chain(vertebrae.map(Failed::vertebra))
        .collect();
    Section {
        id: "outcomes",
        title: "Outcomes",
        body: all([counts(facts), reasons(&failed), each(&failed), flags(facts)]),
    }
}

fn counts(facts: &Facts<'_>) -> Markup {
    let results = facts.results;
    let (cases, vertebrae) = (results.cases.len(), results.vertebrae.len());
    let partly = results
        .cases
        .iter()
        .filter(|case| case.status == DONE && case.vertebrae_failed > 0)
        .count();
    let whole = cases - facts.cases_failed - partly;
    let mut table = Table::new(
        "Cases and vertebrae by outcome",
        &[
            Column::Text("outcome"),
            Column::Number("number"),
            Column::Number("share"),
        ],
    );
    let good = |text: &str| mark(Mark::Good, text);
    let bad = |text: &str, number: usize| match number {
        0 => mark(Mark::None, text),
        _ => mark(Mark::Bad, text),
    };
    for (outcome, number, of) in [
        (good("cases done"), whole, cases),
        (bad("cases done, but for a vertebra", partly), partly, cases),
        (bad("cases failed", facts.cases_failed), facts.cases_failed, cases),
        (
            good("vertebrae reconstructed"),
            vertebrae - facts.vertebrae_failed,
            vertebrae,
        ),
        (
            bad("vertebrae failed", facts.vertebrae_failed),
            facts.vertebrae_failed,
            vertebrae,
        ),
    ] {
        let share = match of {
            0 => words("–"),
            of => words(&format!("{:.1} %", 100.0 * number as f64 / of as f64)),
        };
        table.row([outcome, count(number), share]);
    }
    table.finish()
}

fn reasons(failed: &[Failed<'_>]) -> Markup {
    if failed.is_empty() {
        return paragraph("Nothing failed.");
    }
    let mut counted: BTreeMap<(&str, &str, &str, &str), usize> = BTreeMap::new();
    for failure in failed {
        let key = (failure.what(), failure.stage, failure.kind, failure.reason);
        *counted.entry(key).or_default() += 1;
    }
    let mut counted: Vec<_> = counted.into_iter().collect();
    // the most frequent first, equals by name
    counted.sort_by_key(|(_, number)| Reverse(*number));
    let mut table = Table::new(
        "Failures by reason",
        &[
            Column::Text("reason"),
            Column::Text("what failed"),
            Column::Text("in stage"),
            Column::Text("kind"),
            Column::Number("number"),
            Column::Text("what it means"),
        ],
    );
    let kinds = counted.len();
    for ((what, stage, kind, reason), number) in counted.into_iter().take(LISTED_MOST) {
        table.row([
            code(reason),
            words(what),
            words(stage),
            words(kind),
            count(number),
            words(explain(kind, reason)),
        ]);
    }
    all([table.finish()].into_iter().chain(rest(kinds)))
}

fn each(failed: &[Failed<'_>]) -> Markup {
    if failed.is_empty() {
        return all([]);
    }
    let mut table = Table::new(
        "Every failure",
        &[
            Column::Text("case"),
            Column::Text("level"),
            Column::Text("in stage"),
            Column::Text("kind"),
            Column::Text("reason"),
            Column::Text("message"),
        ],
    );
    for failure in failed.iter().take(LISTED_MOST) {
        table.row([
            words(failure.case_id),
            words(failure.level.unwrap_or("the whole case")),
            words(failure.stage),
            words(failure.kind),
            code(failure.reason),
            words(failure.message),
        ]);
    }
    let listed = all([table.finish()].into_iter().chain(rest(failed.len())));
    folded(&format!("Every failure by name ({})", failed.len()), listed)
}

fn flags(facts: &Facts<'_>) -> Markup {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for vertebra in facts.vertebrae(None) {
        for flag in &vertebra.flags {
            *counted.entry(flag).or_default() += 1;
        }
    }
    if counted.is_empty() {
        return paragraph("No vertebra has a flag.");
    }
    let mut table = Table::new(
        "Flags: vertebrae that were done and are worth a second look",
        &[
            Column::Text("flag"),
            Column::Number("vertebrae"),
            Column::Text("what it means"),
        ],
    );
    let kinds = counted.len();
    for (flag, number) in counted.into_iter().take(LISTED_MOST) {
        table.row([code(flag), count(number), words(explain_flag(flag))]);
    }
    all([table.finish()].into_iter().chain(rest(kinds)))
}

/// Says how many there are where not all are listed.
fn rest(count: usize) -> Option<Markup> {
    let words = format!("{LISTED_MOST} of {count} are listed; the tables of the run hold all.");
    (count > LISTED_MOST).then(|| paragraph(&words))
}
