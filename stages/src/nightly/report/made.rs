//! How the night's version was made, what it is judged on, and where this page comes from.

use super::{NightReport, Training};
use crate::report::page::{Column, Markup, Section, Table, all, code, count, facts, named, paragraph, words};

/// Words of the page that not everyone knows.
const GLOSSARY: [(&str, &str); 8] = [
    (
        "mask",
        "The outline of one vertebra, drawn slice by slice on an MRI scan.",
    ),
    (
        "champion",
        "The version that restores masks until a better one is found.",
    ),
    (
        "challenger",
        "The version trained this night. It takes the champion's place if it fulfils every rule.",
    ),
    (
        "DSC",
        "Dice coefficient: how far a restored mask and the true one overlap. 0 is not at all, 1 is equal.",
    ),
    (
        "ΔDSC",
        "DSC of the challenger minus that of the champion on the same mask. Above 0 the challenger is better.",
    ),
    (
        "95 % interval",
        "How far a mean may be off, had other masks been held out: of 100 such intervals about 95 hold the true \
         mean. Where it holds 0, chance may explain the difference.",
    ),
    (
        "gate",
        "A check that each mask must pass before a model may learn from it.",
    ),
    (
        "drift",
        "New masks are of another kind than those known before: another scanner, or another way of drawing.",
    ),
];

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// Returns the section on the training.
pub(super) fn training(report: &NightReport) -> Section {
    let taught = report.taught;
    let body = match &report.training {
        None => paragraph("Nothing was trained this night."),
        Some(training) => all([
            facts(
                "What was shown, and what it took",
                [
                    ("new masks shown", count(taught.new)),
                    ("known masks shown again", count(taught.replayed)),
                    ("persons", count(taught.persons)),
                    ("processor time", words(&duration(training.cpu_seconds))),
                    ("time on the clock", words(&duration(training.seconds))),
                    ("threads", count(training.threads)),
                ],
            ),
            phases(training),
        ]),
    };
    Section {
        id: "training",
        title: "Training",
        body,
    }
}

fn phases(training: &Training) -> Markup {
    if training.phases.is_empty() {
        return paragraph("No step was made.");
    }
    let mut table = Table::new(
        "Phases of the training",
        &[
            Column::Text("phase"),
            Column::Number("steps"),
            Column::Number("time on the clock"),
        ],
    );
    for line in &training.phases {
        table.row([
            words(&line.phase),
            words(&line.steps.to_string()),
            words(&duration(line.seconds)),
        ]);
    }
    table.finish()
}

/// Returns the section on the held-out set.
pub(super) fn held_out(report: &NightReport) -> Section {
    let body = match &report.held_out {
        None => paragraph("Nothing is held out yet: no version can be judged."),
        Some(set) => all([
            paragraph(
                "Versions are judged on these masks. No training is shown them, nor any other mask of their persons.",
            ),
            facts(
                "The held-out set",
                [
                    ("number", words(&set.number.to_string())),
                    ("persons", count(set.persons)),
                    ("masks", count(set.masks)),
                    ("SHA-256", code(&set.sha256)),
                ],
            ),
        ]),
    };
    Section {
        id: "held-out",
        title: "Held-out set",
        body,
    }
}

/// Returns the section on where the page comes from.
pub(super) fn provenance(report: &NightReport) -> Section {
    let body = facts(
        "This night",
        [
            ("night", words(&report.night.to_string())),
            ("method", words(&report.method)),
            ("began", words(&report.began)),
            ("ended", words(&report.ended)),
            (
                "champion judged against",
                named(report.champion.as_deref(), "none"),
            ),
            ("challenger", named(report.challenger.as_deref(), "none")),
            (
                "software",
                words(&format!("spinestream {}", report.software_version)),
            ),
        ],
    );
    Section {
        id: "provenance",
        title: "Provenance",
        body,
    }
}

/// Returns what the page's words mean.
pub(super) fn glossary() -> Section {
    let meanings = GLOSSARY.map(|(word, meaning)| (word, words(meaning)));
    Section {
        id: "words",
        title: "Words used here",
        body: facts("For those who read such a page for the first time", meanings),
    }
}

/// Returns a time in seconds and, of a minute or more, in larger units too.
fn duration(seconds: f64) -> String {
    let plain = format!("{seconds:.1} s");
    let whole = seconds.round() as u64;
    if whole >= HOUR {
        return format!("{plain} ({} h {:02} min)", whole / HOUR, whole % HOUR / MINUTE);
    }
    if whole >= MINUTE {
        return format!("{plain} ({} min {:02} s)", whole / MINUTE, whole % MINUTE);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_seconds_and_in_units_that_people_use() {
        assert_eq!(duration(12.34), "12.3 s");
        assert_eq!(duration(61.0), "61.0 s (1 min 01 s)");
        assert_eq!(duration(3_725.5), "3725.5 s (1 h 02 min)");
    }
}
