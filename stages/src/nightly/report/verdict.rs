//! The first screen: what happened, why, and to which versions.

use super::{INPUT, NightReport, Verdict};
use crate::report::page::{Mark, Markup, all, count, enclosed, mark, named, number, signed, words};

/// Returns what happened, in one sentence.
pub fn sentence(report: &NightReport) -> String {
    let challenger = match &report.challenger {
        Some(version) => format!("challenger {version}"),
        None => "challenger".to_owned(),
    };
    match (report.verdict, &report.champion) {
        (Verdict::Promoted, Some(champion)) => {
            format!(
                "The {challenger} was promoted: from now on it is the champion, in the place of {champion}."
            )
        }
        (Verdict::Promoted, None) => format!("The {challenger} was promoted: it is the first champion."),
        (Verdict::Kept, _) if report.challenger.is_none() => {
            "Nothing was trained: the champion, if there is one, stays.".to_owned()
        }
        (Verdict::Kept, Some(champion)) => {
            format!("The champion {champion} was kept: the {challenger} does not take its place.")
        }
        (Verdict::Kept, None) => format!("The {challenger} was not promoted: there is no champion yet."),
        (Verdict::NothingToJudge, Some(champion)) => {
            format!("There was nothing to judge: the champion {champion} stays.")
        }
        (Verdict::NothingToJudge, None) => {
            "There was nothing to judge, and there is no champion yet.".to_owned()
        }
    }
}

/// Returns the first screen.
pub(super) fn opening(report: &NightReport) -> Markup {
    let verdict = match report.verdict {
        Verdict::Promoted => mark(Mark::Good, "promoted"),
        Verdict::Kept => mark(Mark::Same, "kept"),
        Verdict::NothingToJudge => mark(Mark::None, "nothing to judge"),
    };
    let kicker = format!(
        "spinestream nightly · night {} of {} · {} to {}",
        report.night, report.method, report.began, report.ended
    );
    all([
        enclosed("<header>\n<p class=\"kicker\">", words(&kicker), "</p>\n"),
        enclosed(
            "<h1>",
            all([verdict, words(" "), words(&sentence(report))]),
            "</h1>\n",
        ),
        why(&report.why),
        enclosed("<dl class=\"tiles\">\n", tiles(report), "</dl>\n</header>\n"),
    ])
}

fn why(sentences: &[String]) -> Markup {
    let items = sentences
        .iter()
        .map(|sentence| enclosed("<li>", words(sentence), "</li>\n"));
    match sentences {
        [] => enclosed(
            "<p class=\"why\">",
            words("No reason was written down."),
            "</p>\n",
        ),
        _ => enclosed("<ul class=\"why\">\n", all(items), "</ul>\n"),
    }
}

fn tiles(report: &NightReport) -> Markup {
    let [before, after] = match report.verdict {
        Verdict::Promoted => ["Champion until this night", "Challenger, champion from now on"],
        Verdict::Kept | Verdict::NothingToJudge => ["Champion", "Challenger"],
    };
    let champion = named(report.champion.as_deref(), "none yet");
    let challenger = named(report.challenger.as_deref(), "none this night");
    let Some(judgement) = &report.judgement else {
        let not_judged = || words("not judged");
        return all([
            tile(before, [champion, not_judged()]),
            tile(after, [challenger, not_judged()]),
        ]);
    };
    let [champion_dsc, challenger_dsc] = judgement
        .dsc
        .map(|mean| all([words("mean DSC "), number(Some(mean), 4)]));
    let champion_dsc = match judgement.against.as_str() {
        INPUT => all([
            champion_dsc,
            words(" of the degraded input, judged against instead"),
        ]),
        _ => champion_dsc,
    };
    let difference = words(&signed(judgement.difference, judgement.interval, 4));
    let interval = match judgement.interval {
        Some(_) => " persons; in brackets the 95 % interval",
        None => " persons; too few for an interval",
    };
    let basis = all([
        count(judgement.masks),
        words(" masks of "),
        count(judgement.persons),
        words(interval),
    ]);
    all([
        tile(before, [champion, champion_dsc]),
        tile(after, [challenger, challenger_dsc]),
        tile("Difference of mean DSC", [difference, basis]),
    ])
}

fn tile(title: &str, [large, small]: [Markup; 2]) -> Markup {
    let title = enclosed("<div>\n<dt>", words(title), "</dt>\n");
    let large = enclosed("<dd class=\"large\">", large, "</dd>\n");
    let small = enclosed("<dd>", small, "</dd>\n</div>\n");
    all([title, large, small])
}
