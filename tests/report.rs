//! `report`: one page from a run's tables and files, which needs nothing but itself, whatever became of the run.

use std::process::Command;

use serde_json::json;
use spinestream::verbs::report::{Arguments, report};
use spinestream::{Exit, RunEnd};

use crate::support::{Cohort, Row, block};

/// What the page is made of in these tests.
const INTERPOLATED: &str = "model.chain=[\"interpolate\"]";
const IDENTITY: &str = "model.chain=[\"identity\"]";

/// How a picture within the page begins.
const PICTURE: &str = "data:image/png;base64,";

/// Makes the page of a run and returns it.
async fn page(cohort: &Cohort, out: &str, setting: &str) -> String {
    let conf = cohort.conf(out, &[setting]).await;
    let arguments = Arguments {
        run: None,
        output: None,
        pictures: 4,
    };
    let exit = report(&arguments, &conf, &cohort.stores).await.expect("a page");
    assert_eq!(exit, Exit::Done);
    let place = cohort.place(&format!("{out}/runs/test/report.html"));
    String::from_utf8(
        place
            .read(4 << 20)
            .await
            .expect("a page of at most 4 MiB")
            .to_vec(),
    )
    .expect("text")
}

/// Both values of a metric of every vertebra that has both.
fn pairs(rows: &[Row], metric: &str) -> Vec<(f64, f64)> {
    let value = |row: &Row, side: &str| row[&format!("{side}_{metric}")].parse::<f64>().ok();
    rows.iter()
        .filter_map(|row| value(row, "input").zip(value(row, "recon")))
        .collect()
}

/// Returns the page without the bytes of its pictures, which may hold any letters.
fn words_of(page: &str) -> String {
    let mut parts = page.split(PICTURE);
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once('"').expect("quoted").1);
    rest.fold(first, |words, part| words + part)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_holds_the_numbers_of_the_tables_and_asks_for_nothing() {
    let cohort = Cohort::of_phantoms(2).await;
    cohort.run("out", &[INTERPOLATED]).await.expect("run");
    let page = page(&cohort, "out", INTERPOLATED).await;
    let rows = cohort.table("out", "vertebrae").await;

    let dsc = pairs(&rows, "dsc");
    assert_eq!((rows.len(), dsc.len()), (10, 10), "two phantoms of five levels");
    let mean = |of: fn(&(f64, f64)) -> f64| dsc.iter().map(of).sum::<f64>() / dsc.len() as f64;
    let (before, after) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let worse = dsc.iter().filter(|(before, after)| after < before).count();
    assert!(
        page.contains("<h1>10 of 10 vertebrae were reconstructed")
            && page.contains(&format!("{worse} of 10 got worse.</h1>")),
        "{worse}"
    );
    assert!(
        page.contains(&format!("from {before:.3} to {after:.3}")),
        "{before} {after}"
    );
    // the same of a distance, as its table gives it
    let assd = pairs(&rows, "assd_mm");
    let [before, after] = [0, 1].map(|side| {
        let of = |pair: &(f64, f64)| if side == 0 { pair.0 } else { pair.1 };
        assd.iter().map(of).sum::<f64>() / assd.len() as f64
    });
    let row = format!(
        "<th scope=\"row\">ASSD mm</th><td class=\"number\">{}</td><td class=\"number\">{before:.3}</td>\
         <td class=\"number\">{after:.3}</td>",
        assd.len()
    );
    assert!(page.contains(&row), "{row}");

    // the run wrote its reconstructions; inputs and references were cut again
    assert_eq!(page.matches("<figure class=\"picture\">").count(), 4);
    assert!(!page.contains(" is shown: "), "every mask is there");
    for (index, value) in page.split("href=\"").skip(1).enumerate() {
        assert!(
            value.starts_with('#') || value.starts_with(PICTURE),
            "link {index}"
        );
    }
    let words = words_of(&page);
    for foreign in ["http", "src=", "<script", "url(", "@import", "p1.nii.gz", "p1_ct"] {
        assert!(!words.contains(foreign), "{foreign}");
    }
    assert!(words.len() < 400 << 10, "{} bytes without pictures", words.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_beside_the_records_is_no_record() {
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    cohort.row("a,mask.nii.gz,verse,,");
    cohort.run("out", &[IDENTITY]).await.expect("run");
    let first = page(&cohort, "out", IDENTITY).await;
    assert!(first.contains("No vertebra could be held against a reference"));
    assert!(first.contains("Examples, evenly drawn"));
    assert!(first.contains("No reference is shown: "));
    assert!(first.contains("There are no latents"));
    // the run goes on over it, and the next page tells of two starts
    assert_eq!(cohort.run("out", &[IDENTITY]).await.expect("again"), Exit::Done);
    let second = page(&cohort, "out", IDENTITY).await;
    for record in ["w0001.json", "w0002.json"] {
        assert!(second.contains(&format!("<code>{record}</code>")), "{record}");
    }
    assert!(!second.contains("report.html"));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_failed_and_unfinished_runs_say_so() {
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    cohort.row("a,mask.nii.gz,verse,,");
    cohort.row("gone,none.nii.gz,verse,,");
    assert_eq!(
        cohort.run("out", &[IDENTITY]).await.expect("run"),
        Exit::SomeFailed
    );
    let told = page(&cohort, "out", IDENTITY).await;
    assert!(told.contains("1 of 2 cases failed (50 %)"));
    assert!(told.contains("The manifest names a file that is not there."));
    assert!(!told.contains("Unfinished"));

    let record =
        json!({"worker": "w0002", "state": "stopped", "counts": {"cases": 9, "done": 0, "failed": 0}});
    let place = cohort.place("out/runs/test/w0002.json");
    place.put(record.to_string().into()).await.expect("put");
    let told = page(&cohort, "out", IDENTITY).await;
    assert!(told.contains(
        "Unfinished: 2 of 9 cases of the manifest have a row; its last start was stopped by a signal."
    ));

    // a start that has no row yet
    let place = cohort.place("new/runs/test/w0001.json");
    place.put(record.to_string().into()).await.expect("put");
    let told = page(&cohort, "new", IDENTITY).await;
    assert!(told.contains("This run is empty: no case has a row yet."));
    assert!(told.contains("Unfinished: 0 of 9 cases"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_run_that_there_is_not_no_page_is_made() {
    let cohort = Cohort::new();
    let conf = cohort.conf("out", &[IDENTITY]).await;
    let arguments = Arguments {
        run: Some("another".to_owned()),
        output: None,
        pictures: 0,
    };
    let error = report(&arguments, &conf, &cohort.stores)
        .await
        .expect_err("no run");
    let end = error.downcast_ref::<RunEnd>().expect("what ends a run");
    assert_eq!(end.exit(), Exit::Broken);
    assert!(end.to_string().contains("expected a run another"), "{end}");
    assert!(cohort.place("out").list().await.expect("list").is_empty());
}

#[test]
fn the_verb_finds_masks_by_the_record_alone_and_writes_where_it_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_spinestream"))
            .args(arguments)
            .output()
            .expect("runs")
    };
    assert!(run(&["phantom", "1", &path("cohort")]).status.success());
    let settings = [
        format!("run.manifest={}", path("cohort/manifest.csv")),
        format!("run.output={}", path("out")),
        "run.id=r1".to_owned(),
        IDENTITY.to_owned(),
    ];
    let mut arguments = vec!["run"];
    for setting in &settings {
        arguments.extend(["--set", setting]);
    }
    assert!(run(&arguments).status.success());

    let page = path("page.html");
    let made = run(&["report", &path("out/runs/r1"), "-o", &page, "--pictures", "2"]);
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert_eq!(
        made.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    assert!(said.starts_with(&page), "{said}");
    let told = std::fs::read_to_string(&page).expect("page");
    assert_eq!(told.matches("<figure class=\"picture\">").count(), 2);
    assert!(
        !told.contains(" is shown: "),
        "the record told where the masks are"
    );

    let made = run(&["report", &path("out/runs/r1/"), "--pictures", "0"]);
    assert_eq!(
        made.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let beside = std::fs::read_to_string(path("out/runs/r1/report.html")).expect("page");
    assert!(beside.contains("No pictures were asked for."));
}
