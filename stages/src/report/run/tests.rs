//! The page, read back: every number in its place, and nothing from outside gets out of its element.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use models::seed::generator;
use rand::RngExt as _;
use serde_json::json;

use super::testing::{failed, masks, record, results, sample, vertebra};
use super::*;
use crate::masks::VertebraMasks;
use crate::report::page::testing::{assert_rows, assert_stands_alone, rows};
use crate::results::{CaseSeen, VertebraSeen};

fn page_of(results: &Results, panels: &[Panel]) -> String {
    let made = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    html(&RunReport {
        results,
        panels,
        cards: &[],
        made,
    })
}

fn panels(results: &Results, count: usize) -> Vec<Panel> {
    let chosen = choose(results, count).into_iter();
    chosen.map(|chosen| Panel::draw(chosen, &masks())).collect()
}

#[test]
fn model_cards_stand_in_the_page_line_by_line_and_cannot_leave_it() {
    let card = Card {
        version: "v20260101-0a<b>".to_owned(),
        text: "# card\n\n| a | b |\n</pre><script>".to_owned(),
    };
    let run = sample();
    let page = html(&RunReport {
        results: &run,
        panels: &[],
        cards: &[card],
        made: UNIX_EPOCH,
    });
    assert_stands_alone(&page);
    assert!(page.contains("Model card of v20260101-0a&lt;b&gt;"));
    assert!(page.contains("# card\n\n| a | b |\n&lt;/pre&gt;&lt;script&gt;"));
}

#[test]
fn the_page_stands_alone_whatever_is_missing() {
    let run = sample();
    let page = page_of(&run, &panels(&run, 4));
    assert_stands_alone(&page);
    assert_eq!(page.matches("<figure class=\"picture\">").count(), 4);
    for heading in ["Least overlap with the reference", "Most improved"] {
        assert!(page.contains(heading), "{heading}");
    }

    let page = page_of(&Results::default(), &[]);
    assert_stands_alone(&page);
    for plainly in [
        "No vertebra has been reconstructed.",
        "This run is empty: no case has a row yet.",
        "No record of a start of this run was found",
        "Nothing failed.",
        "No vertebra has metrics",
        "there is nothing to set side by side",
        "there is nothing to show",
        "There are no latents",
        "No case tells how long it took.",
        "No record tells of the model.",
        "No start has left a record.",
    ] {
        assert!(page.contains(plainly), "{plainly}");
    }
}

#[test]
fn a_run_without_references_shows_what_there_is() {
    let run = results(["L1", "L2", "L3"].map(|level| {
        let mut made = vertebra("a", level, None, None);
        made.latent = Some(vec![1.0, 0.5]);
        made
    }));
    let half = VertebraMasks {
        reference: Err("the case has none".to_owned()),
        ..masks()
    };
    let chosen = choose(&run, 2).into_iter();
    let panels: Vec<Panel> = chosen.map(|chosen| Panel::draw(chosen, &half)).collect();
    let page = page_of(&run, &panels);
    assert_stands_alone(&page);
    for plainly in [
        "3 of 3 vertebrae were reconstructed; whether they are closer to the truth was not measured.",
        "No vertebra could be held against a reference",
        "Examples, evenly drawn",
        "No reference is shown: the case has none.",
        "All latents are equal",
    ] {
        assert!(page.contains(plainly), "{plainly}");
    }
}

#[test]
fn outcomes_and_reasons_stand_in_their_tables() {
    let page = page_of(&sample(), &[]);
    assert_rows(
        &page,
        "outcomes",
        &[
            &["✓ cases done", "4", "66.7 %"],
            &["✗ cases done, but for a vertebra", "1", "16.7 %"],
            &["✗ cases failed", "1", "16.7 %"],
            &["✓ vertebrae reconstructed", "9", "90.0 %"],
            &["✗ vertebrae failed", "1", "10.0 %"],
            &[
                "object_not_found",
                "case",
                "fetch",
                "Missing",
                "1",
                "The manifest names a file that is not there.",
            ],
            &[
                "model_diverged",
                "vertebra",
                "reconstruct",
                "Unsuitable",
                "1",
                "The model's numbers ran away on this vertebra.",
            ],
            &[
                "gone",
                "the whole case",
                "fetch",
                "Missing",
                "object_not_found",
                "mask: expected an object, found none there",
            ],
            &["c1", "L2", "reconstruct", "Unsuitable", "model_diverged", ""],
        ],
    );
    assert!(page.contains("No vertebra has a flag."));
}

#[test]
fn metrics_and_changes_stand_in_their_tables() {
    let page = page_of(&sample(), &[]);
    // of L1: 0.4, 0.5, 0.6, 0.7, 0.8 before; 0.8, 0.85, 0.9, 0.9, 0.9 after
    assert_rows(
        &page,
        "metrics",
        &[
            &[
                "L1", "input", "5", "0.400", "0.500", "0.600", "0.700", "0.800", "0.600",
            ],
            &[
                "L1",
                "reconstruction",
                "5",
                "0.800",
                "0.850",
                "0.900",
                "0.900",
                "0.900",
                "0.870",
            ],
        ],
    );
    assert!(page.contains("10 of 11 metrics were measured of no vertebra and are left out."));
    let change = rows(&page, "change");
    let of = |name: &str| {
        let found = change
            .iter()
            .find(|row| row.first().is_some_and(|first| first == name));
        found.cloned().expect("a row")
    };
    // sums 6.0 and 7.4 of nine
    let dsc = of("DSC");
    assert_eq!(dsc[..4], ["DSC", "9", "0.667", "0.822"].map(str::to_owned));
    assert!(dsc[4].starts_with("+0.156 [+0."), "{dsc:?}");
    assert_eq!(dsc[5..], ["7", "1", "1", "✓ better"].map(str::to_owned));
    let level = of("L1");
    assert_eq!(level[..4], ["L1", "5", "0.600", "0.870"].map(str::to_owned));
    assert_eq!(level[5..], ["5", "0", "0", "✓ better"].map(str::to_owned));
}

#[test]
fn the_first_screen_says_what_came_of_the_run() {
    let page = page_of(&sample(), &[]);
    let (opening, _) = page.split_once("</header>").expect("a first screen");
    for expected in [
        "run <code>r1</code> · made 2026-09-21T14:13:20Z",
        "<h1>9 of 10 vertebrae were reconstructed: their mean overlap with the reference (DSC) rose from 0.667 to 0.822; 1 \
         of 9 got worse.</h1>",
        "0.750 cases a second, cores 75 % busy",
        "<dd class=\"large\">9 of 10</dd>",
        "<dd class=\"large\">0.667 → 0.822</dd>",
    ] {
        assert!(opening.contains(expected), "{expected}\n{opening}");
    }
    assert!(!opening.contains("note</span>"), "nothing to warn of\n{opening}");
}

#[test]
fn times_model_and_provenance_stand_in_their_tables() {
    let page = page_of(&sample(), &[]);
    assert_rows(
        &page,
        "times",
        &[&["decode", "5", "0.020 s", "0.020 s", "0.1 s", "14.3 %"]],
    );
    assert_rows(
        &page,
        "model",
        &[
            &["chain, in order", "lsd_ebm"],
            &["how a level is walked", "none"],
            &["mean with the mirror image", "no"],
            &["lsd_ebm", "compact-2", "d7aa", "10"],
        ],
    );
    assert!(page.contains("compact- are the shipped weights"));
    let hash = "9f".repeat(32);
    assert_rows(
        &page,
        "provenance",
        &[
            &["run", "r1"],
            &["last case ended", "2026-09-21T14:13:20Z"],
            &["SHA-256 of the manifest", &hash],
            &["software of the rows", "0.1.0"],
            &["schema of the tables", "1"],
            &["w0001.json", "run", "ended", "0.1.0", "5", "1", "8.0 s", "12.0 s"],
        ],
    );
    assert!(
        page.contains("s3://bucket/&lt;out&gt;"),
        "the configuration is told"
    );
}

#[test]
fn the_latents_of_the_sample_lie_on_a_map() {
    let page = page_of(&sample(), &[]);
    let (_, latents) = page.split_once("<section id=\"latents\">").expect("a section");
    assert!(latents.contains(">L1 (5)</text>") && latents.contains(">L2 (4)</text>"));
    // two of four entries differ, so that two components hold all of the variance
    let shares = latents.split("(principal components, ").nth(1).expect("shares");
    let (shares, _) = shares.split_once(" of the variance)").expect("shares");
    let shares: Vec<f64> = shares
        .split(" and ")
        .map(|share| share.trim_end_matches(" %").parse().expect("a number"))
        .collect();
    assert!((shares.iter().sum::<f64>() - 100.0).abs() < 0.11, "{shares:?}");
}

#[test]
fn a_run_of_two_models_says_that_it_is_a_mixture() {
    let mut other = vertebra("b", "L1", Some(0.5), Some(0.6));
    other.model_version = "of_the_site".to_owned();
    let run = results([vertebra("a", "L1", Some(0.5), Some(0.6)), other]);
    assert!(page_of(&run, &[]).contains("The rows were made by 2 different models"));
}

#[test]
fn whatever_a_text_holds_it_stays_in_its_element() {
    let hostile = "</code><script>alert('1')</script>&\u{0}\"]]>";
    let text = || hostile.to_owned();
    let mut run = sample();
    run.run = text();
    run.versions.insert(text());
    run.unknown.insert(text());
    run.missing.insert(text());
    run.damaged.push((text(), text()));
    run.cases = vec![Arc::new(CaseSeen {
        case_id: text(),
        status: text(),
        stage: Some(text()),
        kind: Some(text()),
        reason: Some(text()),
        message: Some(text()),
        software_version: text(),
        ..CaseSeen::default()
    })];
    let mut odd = VertebraSeen {
        status: "done".to_owned(),
        person: text(),
        chain: vec![text()],
        model_version: text(),
        weights_sha256: text(),
        flags: vec![text()],
        latent: Some(vec![0.5; 4]),
        ..vertebra(hostile, hostile, Some(0.5), Some(0.6))
    };
    let mut all = vec![Arc::new(odd.clone())];
    odd.status = text();
    odd.message = Some(text());
    all.push(Arc::new(odd));
    all.extend(run.vertebrae.iter().cloned());
    run.vertebrae = all;
    run.records = vec![record(
        hostile,
        json!({
            "state": hostile,
            "software_version": hostile,
            "manifest_sha256": hostile,
            "model": {"chain": [hostile], "model_version": hostile},
            "configuration": {hostile: hostile},
        }),
    )];
    let page = page_of(&run, &panels(&run, 2));
    assert_stands_alone(&page);
    assert!(!page.contains("<script"));
    let shown = "</code><script>alert('1')</script>&\u{fffd}\"]]>";
    assert_rows(
        &page,
        "outcomes",
        &[&[shown, shown, "reconstruct", "not told", "not told", shown]],
    );
}

#[test]
fn a_record_of_another_shape_tells_nothing_and_breaks_nothing() {
    for json in [
        json!(null),
        json!(7),
        json!([1, 2]),
        json!({"counts": 3, "model": [], "seconds": "long", "busy": null, "state": 1}),
        json!({"counts": {"cases": -5.0, "done": 1e300}, "seconds": 1e-300}),
    ] {
        let mut run = sample();
        run.records = vec![record("w0001.json", json)];
        assert_stands_alone(&page_of(&run, &[]));
    }
}

#[test]
fn five_thousand_vertebrae_make_a_page_of_less_than_a_mebibyte() {
    let mut random = generator(9);
    let levels = ["L1", "L2", "L3", "L4", "L5"];
    let mut all = Vec::new();
    for case in 0..1000 {
        for level in levels {
            let mut made = vertebra(&format!("case-{case:04}"), level, None, None);
            made.input = [(); 11].map(|()| Some(random.random_range(0.0..1.0)));
            made.recon = [(); 11].map(|()| Some(random.random_range(0.0..1.0_f64).sqrt()));
            made.latent = Some((0..128).map(|_| random.random_range(-1.0..1.0)).collect());
            all.push(made);
        }
    }
    let mut run = results(all);
    for number in 0..500 {
        let name = format!("gone-{number:03}");
        run.cases.push(failed(&name, "Missing", "object_not_found"));
    }
    let page = page_of(&run, &[]);
    assert_stands_alone(&page);
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
    assert!(page.contains("3000 of 5000 are drawn"));
    assert!(page.contains("200 of 500 are listed"));
}
