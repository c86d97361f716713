//! What lay in the manifest, and what may not teach, and why.

use std::cmp::Reverse;

use super::{Found, NightReport, Reject, explain};
use crate::report::page::{
    Column, Mark, Markup, Section, Table, all, code, count, enclosed, facts, mark, paragraph, words,
};

/// Returns the section.
pub(super) fn section(report: &NightReport) -> Section {
    let found = &report.found;
    let body = if found.cases == 0 {
        paragraph("No case was found.")
    } else {
        all([
            paragraph(&told(found)),
            counts(found),
            by_reason(found),
            rejects(found, &report.rejects),
        ])
    };
    Section {
        id: "found",
        title: "What was found",
        body,
    }
}

fn told(found: &Found) -> String {
    let fresh = found.new + found.changed;
    match (fresh, found.failed) {
        (0, 0) => format!(
            "Nothing new: {} cases lie there, as they did the night before.",
            found.cases
        ),
        _ => format!(
            "{fresh} cases are new or changed; {} masks may teach and {} may not.",
            found.masks_accepted, found.masks_rejected
        ),
    }
}

fn counts(found: &Found) -> Markup {
    let failed = match found.failed {
        0 => count(0),
        some => all([count(some), words(" "), mark(Mark::Bad, "not readable")]),
    };
    facts(
        "Cases and masks",
        [
            ("cases", count(found.cases)),
            ("unchanged cases", count(found.unchanged)),
            ("new cases", count(found.new)),
            ("changed cases", count(found.changed)),
            ("failed cases", failed),
            ("masks accepted", count(found.masks_accepted)),
            ("masks rejected", count(found.masks_rejected)),
        ],
    )
}

fn by_reason(found: &Found) -> Markup {
    if found.by_reason.is_empty() {
        return paragraph("Nothing speaks against any of them.");
    }
    let mut reasons: Vec<(&String, &usize)> = found.by_reason.iter().collect();
    // the map is in the order of the codes, which stays among equals
    reasons.sort_by_key(|(_, number)| Reverse(**number));
    let mut table = Table::new(
        "Why masks and cases may not teach; one may have several reasons",
        &[
            Column::Text("reason"),
            Column::Number("how many"),
            Column::Text("what it means"),
        ],
    );
    for (reason, number) in reasons {
        table.row([
            code(reason),
            count(*number),
            words(explain(reason).unwrap_or("–")),
        ]);
    }
    table.finish()
}

fn rejects(found: &Found, rejects: &[Reject]) -> Markup {
    if rejects.is_empty() {
        return paragraph("None is listed by name.");
    }
    let mut table = Table::new(
        "What may not teach, by name",
        &[
            Column::Text("case"),
            Column::Text("level"),
            Column::Text("reasons"),
        ],
    );
    for Reject {
        case_id,
        level,
        reasons,
    } in rejects
    {
        let level = level.as_deref().unwrap_or("the whole case");
        table.row([code(case_id), words(level), code(&reasons.join(", "))]);
    }
    let every = found.masks_rejected + found.failed;
    let more = if rejects.len() < every {
        let shown = rejects.len();
        paragraph(&format!(
            "{shown} of {every} are listed; the night's lineage table holds all."
        ))
    } else {
        all([])
    };
    let summary = words(&format!("Rejects by name ({})", rejects.len()));
    let summary = enclosed("<summary>", summary, "</summary>\n");
    enclosed(
        "<details open=\"open\">\n",
        all([summary, table.finish(), more]),
        "</details>\n",
    )
}
