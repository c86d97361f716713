//! The report, read back: every number in its place, and nothing from outside gets out of its element.

use super::*;
use crate::report::page::testing::{assert_rows, assert_stands_alone, rows};

#[test]
fn the_page_stands_alone_whatever_is_missing() {
    assert_stands_alone(&html(&sample()));
    let bare = NightReport {
        verdict: Verdict::NothingToJudge,
        why: Vec::new(),
        champion: None,
        challenger: None,
        found: Found::default(),
        rejects: Vec::new(),
        taught: Taught::default(),
        held_out: None,
        drift: Vec::new(),
        training: None,
        judgement: None,
        ..sample()
    };
    let page = html(&bare);
    assert_stands_alone(&page);
    for plainly in [
        "There was nothing to judge, and there is no champion yet.",
        "No reason was written down.",
        "No version was judged this night.",
        "No case was found.",
        "Nothing was compared:",
        "Nothing was trained this night.",
        "Nothing is held out yet:",
    ] {
        assert!(page.contains(plainly), "{plainly}");
    }
}

#[test]
fn the_report_comes_back_from_its_json() {
    let report = sample();
    let read: NightReport = serde_json::from_str(&json(&report)).expect("a report");
    assert_eq!(read, report);
    for (verdict, name) in [
        (Verdict::Promoted, "promoted"),
        (Verdict::Kept, "kept"),
        (Verdict::NothingToJudge, "nothing_to_judge"),
    ] {
        assert_eq!(serde_json::to_value(verdict).expect("JSON"), name);
    }
}

#[test]
fn every_verdict_has_its_sentence_and_its_mark() {
    let told = |verdict: Verdict, champion: Option<&str>| {
        let report = NightReport {
            verdict,
            champion: champion.map(str::to_owned),
            challenger: Some("v20260304-4e5f6a7b".to_owned()),
            ..sample()
        };
        let (told, page) = (sentence(&report), html(&report));
        assert!(page.contains(&format!("</span> {told}</h1>")), "{told}");
        told
    };
    assert_eq!(
        told(Verdict::Promoted, Some("v20260301-0a1b2c3d")),
        "The challenger v20260304-4e5f6a7b was promoted: from now on it is the champion, in the place of \
         v20260301-0a1b2c3d."
    );
    assert_eq!(
        told(Verdict::Promoted, None),
        "The challenger v20260304-4e5f6a7b was promoted: it is the first champion."
    );
    assert_eq!(
        told(Verdict::Kept, Some("v20260301-0a1b2c3d")),
        "The champion v20260301-0a1b2c3d was kept: the challenger v20260304-4e5f6a7b does not take its place."
    );
    assert_eq!(
        told(Verdict::Kept, None),
        "The challenger v20260304-4e5f6a7b was not promoted: there is no champion yet."
    );
    assert_eq!(
        told(Verdict::NothingToJudge, Some("v20260301-0a1b2c3d")),
        "There was nothing to judge: the champion v20260301-0a1b2c3d stays."
    );
    assert_eq!(
        told(Verdict::NothingToJudge, None),
        "There was nothing to judge, and there is no champion yet."
    );
}

#[test]
fn the_first_screen_says_what_why_and_how_much() {
    let page = html(&sample());
    let (opening, _) = page.split_once("</header>").expect("a first screen");
    for expected in [
        "night 3 of lsd_ebm · 2026-03-04T01:00:00Z to 2026-03-04T04:12:30Z",
        "<li>Every rule is fulfilled.</li>",
        "<li>The difference lies above its bound.</li>",
        "<dt>Champion until this night</dt>\n<dd class=\"large\"><code>v20260301-0a1b2c3d</code></dd>\n\
         <dd>mean DSC 0.9012</dd>",
        "<dt>Challenger, champion from now on</dt>\n<dd class=\"large\"><code>v20260304-4e5f6a7b</code></dd>\n\
         <dd>mean DSC 0.9127</dd>",
        "<dd class=\"large\">+0.0115 [+0.0031, +0.0203]</dd>\n<dd>57 masks of 12 persons; in brackets",
    ] {
        assert!(opening.contains(expected), "{expected}\n{opening}");
    }
}

#[test]
fn the_judgement_stands_in_its_tables() {
    let page = html(&sample());
    assert_rows(
        &page,
        "rules",
        &[
            &[
                "the lower end of the interval is at least −0.002",
                "+0.0031",
                "✓ passed",
            ],
            &["no level loses more than 0.010", "L5 loses 0.0125", "✗ failed"],
        ],
    );
    assert!(page.contains("1 of 2 rules are fulfilled."));
    assert_rows(
        &page,
        "levels",
        &[
            &["L1", "25", "0.9055", "0.9211", "+0.0156", "✓ better"],
            &["L5", "32", "0.8943", "0.8818", "−0.0125", "✗ worse"],
            &["L6", "1", "0.8001", "0.8001", "+0.0000", "= equal"],
            &[
                "all",
                "57",
                "0.9012",
                "0.9127",
                "+0.0115 [+0.0031, +0.0203]",
                "✓ better",
            ],
        ],
    );
    assert!(
        page.contains("Of 6 masks the challenger is better on 4 than the champion, worse on 1, equal on 1.")
    );
    // of a distance less is better
    assert_rows(
        &page,
        "metrics",
        &[
            &["DSC", "0.9013", "0.9128", "+0.0115", "✓ better"],
            &["HD95 mm", "3.125", "2.875", "−0.250", "✓ better"],
            &["SPEC", "0.99311", "0.99204", "−0.00107", "✗ worse"],
            &["of_the_future", "0.2500", "–", "–", "– not compared"],
        ],
    );
}

#[test]
fn without_a_champion_the_input_is_what_is_judged_against() {
    let mut report = sample();
    report.champion = None;
    report.judgement.as_mut().expect("judged").against = "input".to_owned();
    let page = html(&report);
    assert!(
        page.contains("none yet</dd>\n<dd>mean DSC 0.9012 of the degraded input, judged against instead")
    );
    let heading = ["level", "masks", "input", "challenger", "ΔDSC", "challenger is"];
    assert_rows(&page, "levels", &[&heading]);
}

#[test]
fn what_was_found_stands_in_its_tables() {
    let page = html(&sample());
    assert!(page.contains("23 cases are new or changed; 98 masks may teach and 17 may not."));
    assert_rows(
        &page,
        "found",
        &[
            &["cases", "231"],
            &["unchanged cases", "203"],
            &["new cases", "19"],
            &["changed cases", "4"],
            &["failed cases", "5 ✗ not readable"],
            &["masks accepted", "98"],
            &["masks rejected", "17"],
            &["of_the_future", "1", "–"],
            &["unreadable", "5", "–"],
            &["case-007", "L5", "in_pieces, touches_border"],
            &["case-011", "the whole case", "unreadable"],
        ],
    );
    let reasons: Vec<String> = rows(&page, "found")
        .into_iter()
        .filter(|row| row.len() == 3 && row.get(1).is_some_and(|number| number.parse::<usize>().is_ok()))
        .filter_map(|row| row.into_iter().next())
        .collect();
    assert_eq!(
        reasons,
        [
            "touches_border",
            "in_pieces",
            "level_order",
            "unreadable",
            "of_the_future"
        ],
        "the most frequent first, equals by name"
    );
    assert!(page.contains("2 of 22 are listed;"));
    let meaning = explain("touches_border").expect("a known reason");
    assert_rows(&page, "found", &[&["touches_border", "7", meaning]]);
}

#[test]
fn a_night_like_the_one_before_says_so() {
    let mut report = sample();
    report.found = Found {
        cases: 231,
        unchanged: 231,
        ..Found::default()
    };
    report.rejects.clear();
    let page = html(&report);
    assert!(page.contains("Nothing new: 231 cases lie there, as they did the night before."));
    assert!(page.contains("Nothing speaks against any of them."));
}

#[test]
fn drift_is_marked_in_words_where_it_is() {
    let page = html(&sample());
    assert!(page.contains("differ from those known before in: thickness of the slices."));
    assert_rows(
        &page,
        "drift",
        &[
            &[
                "thickness of the slices thickness_mm",
                "mm",
                "64",
                "4.400 [3.300, 4.500]",
                "42",
                "5.500 [4.950, 6.600]",
                "0.625",
                "0.387",
                "▲ drifted",
            ],
            &[
                "width, left to right extent_x_mm",
                "mm",
                "63",
                "86.250 [81.500, 90.125]",
                "43",
                "87.250 [82.500, 91.125]",
                "0.115",
                "0.389",
                "= as before",
            ],
            &[
                "brightness within the mask, mean intensity_mean",
                "of the image",
                "0",
                "–",
                "9",
                "250.750 [201.500, 300.250]",
                "–",
                "–",
                "– fewer than 8, no verdict",
            ],
        ],
    );
}

#[test]
fn training_held_out_set_and_provenance_stand_in_their_tables() {
    let page = html(&sample());
    assert_rows(
        &page,
        "training",
        &[
            &["new masks shown", "34"],
            &["known masks shown again", "136"],
            &["persons", "41"],
            &["processor time", "10921.5 s (3 h 02 min)"],
            &["time on the clock", "5562.5 s (1 h 32 min)"],
            &["threads", "8"],
            &["autoencoder", "1900", "4801.5 s (1 h 20 min)"],
            &["energy", "501", "761.5 s (12 min 42 s)"],
        ],
    );
    let hash = "9f".repeat(32);
    assert_rows(
        &page,
        "held-out",
        &[
            &["number", "2"],
            &["persons", "12"],
            &["masks", "57"],
            &["SHA-256", &hash],
        ],
    );
    assert_rows(
        &page,
        "provenance",
        &[
            &["night", "3"],
            &["method", "lsd_ebm"],
            &["began", "2026-03-04T01:00:00Z"],
            &["ended", "2026-03-04T04:12:30Z"],
            &["champion judged against", "v20260301-0a1b2c3d"],
            &["challenger", "v20260304-4e5f6a7b"],
            &["software", "spinestream 0.1.0"],
        ],
    );
}

#[test]
fn whatever_a_text_holds_it_stays_in_its_element() {
    let hostile = "</code><script>alert('1')</script>&\u{0}\"";
    let shown = "</code><script>alert('1')</script>&\u{fffd}\"";
    let mut report = sample();
    report.method = hostile.to_owned();
    report.began = hostile.to_owned();
    report.ended = hostile.to_owned();
    report.software_version = hostile.to_owned();
    report.champion = Some(hostile.to_owned());
    report.challenger = Some(hostile.to_owned());
    report.why.push(hostile.to_owned());
    report.found.by_reason.insert(hostile.to_owned(), 1);
    report.rejects.push(Reject {
        case_id: hostile.to_owned(),
        level: Some(hostile.to_owned()),
        reasons: vec![hostile.to_owned()],
    });
    if let Some(set) = &mut report.held_out {
        set.sha256 = hostile.to_owned();
    }
    if let Some(first) = report.drift.first_mut() {
        first.quantity = hostile.to_owned();
        first.unit = hostile.to_owned();
    }
    if let Some(first) = report
        .training
        .as_mut()
        .and_then(|training| training.phases.first_mut())
    {
        first.phase = hostile.to_owned();
    }
    let judgement = report.judgement.as_mut().expect("judged");
    judgement.against = hostile.to_owned();
    judgement.rules[0].rule = hostile.to_owned();
    judgement.rules[0].found = hostile.to_owned();
    judgement.levels[0].level = hostile.to_owned();
    judgement.metrics[0].metric = hostile.to_owned();
    let page = html(&report);
    assert_stands_alone(&page);
    assert!(!page.contains("<script"));
    assert_rows(&page, "found", &[&[shown, shown, shown]]);
    assert_rows(&page, "rules", &[&[shown, shown, "✓ passed"]]);
}

#[test]
fn all_reasons_of_the_gates_are_explained() {
    for code in [
        "empty",
        "volume_implausible",
        "in_pieces",
        "cavities",
        "touches_border",
        "touches_cube",
        "level_order",
        "level_spacing",
        "volume_against_neighbours",
        "unlike_known",
        "near_duplicate",
    ] {
        assert!(
            explain(code).is_some_and(|meaning| meaning.ends_with('.')),
            "{code}"
        );
    }
    assert_eq!(explain("of_the_future"), None);
}
