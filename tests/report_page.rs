//! The report of a run as a reader opens it: a file of its own, in a browser that runs no script.

use std::process::Command;

use serde_json::json;
use url::Url;

use crate::support::browser::Browser;

/// Runs a verb of the program, which must succeed.
fn spinestream(arguments: &[&str]) {
    let ran = Command::new(env!("CARGO_BIN_EXE_spinestream"))
        .args(arguments)
        .output()
        .expect("starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{arguments:?}: {said}");
}

#[test]
fn the_report_is_read_without_network_and_without_scripts() {
    let Some(browser) = Browser::start(false) else {
        return;
    };
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    spinestream(&["phantom", "2", &path("cohort")]);
    let manifest = format!("run.manifest={}", path("cohort/manifest.csv"));
    let output = format!("run.output={}", path("out"));
    let run = [
        "run",
        "--set",
        &manifest,
        "--set",
        &output,
        "--set",
        "run.id=test",
    ];
    let chain = ["--set", "model.chain=[\"interpolate\"]"];
    spinestream(&[&run[..], &chain[..]].concat());
    let (runs, file) = (path("out/runs/test"), path("report.html"));
    spinestream(&["report", &runs, "-o", &file, "--pictures", "4"]);

    let address = Url::from_file_path(&file).expect("an absolute path");
    browser.open(address.as_str());
    browser.picture("report");
    assert_eq!(browser.errors(), [""; 0]);
    assert_eq!(browser.requests(), [address.as_str()], "nothing but itself");

    let seen = browser.run(
        "const all = (selector) => [...document.querySelectorAll(selector)];
         return {
           language: document.documentElement.lang,
           title: document.title.trim().length > 0,
           headings: all('h2').length > 5,
           drawings: all('svg').length > 10,
           nameless: all('svg').filter((svg) => !svg.querySelector('title') && !svg.getAttribute('aria-label')
             && !svg.getAttribute('aria-labelledby') && svg.getAttribute('aria-hidden') !== 'true').length,
           broken: all('img').filter((image) => image.naturalWidth === 0).length,
           scripts: all('script').length,
           tooWide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
         };",
    );
    let expected = json!({
        "language": "en",
        "title": true,
        "headings": true,
        "drawings": true,
        "nameless": 0,
        "broken": 0,
        "scripts": 0,
        "tooWide": false,
    });
    assert_eq!(seen, expected);
    assert!(browser.printed("report") > 10_000, "it can be printed");
}
