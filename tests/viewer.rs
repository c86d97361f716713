//! The viewer's page as somebody sees it in a browser: the table, the pictures, the metrics, and what is missing.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use spinestream::Exit;
use spinestream::masks::mask_source;
use spinestream::viewer::assets::NIIVUE;
use spinestream::viewer::{Door, Viewer, router, serve};
use stages::tables::RunTables;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::browser::{Browser, DOWN, ENTER, ESCAPE};
use crate::support::{Cohort, Row, block};

/// Thick slices are interpolated: input and reconstruction differ, and no network is needed.
const INTERPOLATED: [&str; 1] = ["model.chain=[\"interpolate\"]"];

const SMALL: [&str; 3] = [
    "model.chain=[\"identity\"]",
    "write.rows_per_part=2",
    "widths.fetch=1",
];

/// A viewer of a cohort's run.
struct Served {
    url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn of(cohort: &Cohort, out: &str, settings: &[&str]) -> Self {
        let conf = cohort.conf(out, settings).await;
        let tables = RunTables::new(cohort.place(out), "test");
        let masks = mask_source(&tables, &conf, &cohort.stores);
        let viewer = Viewer::open(tables, masks).await.expect("a run");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            let _ = stopped.await;
        };
        Self {
            url,
            stop,
            server: tokio::spawn(serve(listener, router(viewer, Door::ThisMachine), stopped)),
        }
    }

    /// Ends it as Ctrl-C would, once the browser has gone.
    async fn end(self, browser: Browser) {
        drop(browser);
        self.stop.send(()).expect("it listens");
        self.server.await.expect("no panic").expect("it served");
    }
}

/// Says whether pictures can be drawn at all.
fn draws() -> bool {
    if NIIVUE.is_empty() {
        eprintln!("skipped: built without NiiVue");
    }
    !NIIVUE.is_empty()
}

/// Two phantoms of five vertebrae each, and a case that is not there.
async fn phantoms() -> Cohort {
    let mut cohort = Cohort::of_phantoms(2).await;
    cohort.row("gone,none.nii.gz,verse,,");
    let ended = cohort.run("out", &INTERPOLATED).await.expect("run");
    assert_eq!(ended, Exit::SomeFailed);
    cohort
}

/// Opens the page of [`phantoms`] where pictures can be drawn; `None` says that the test is skipped.
async fn opened() -> Option<(Browser, Cohort, Served)> {
    let browser = draws().then(|| Browser::start(true)).flatten()?;
    let cohort = phantoms().await;
    let served = Served::of(&cohort, "out", &INTERPOLATED).await;
    browser.open(&served.url);
    wait_for(&browser, "state", "ready");
    Some((browser, cohort, served))
}

/// Waits for an attribute of the page's state.
fn wait_for(browser: &Browser, name: &str, value: &str) {
    browser.wait(&format!("document.body.dataset.{name} === {}", json!(value)));
}

/// Does something that draws another picture, and waits for it.
fn drawing(browser: &Browser, deed: impl FnOnce()) {
    let before = browser.run("return Number(document.body.dataset.picture ?? 0)");
    deed();
    browser.wait(&format!(
        "document.body.dataset.state === 'drawn' && Number(document.body.dataset.picture ?? 0) > {before}"
    ));
}

/// Returns an expression of a cell's text in the row that is seen uppermost: rows need not lie in the page in their order.
fn uppermost(column: &str) -> String {
    format!(
        "[...document.querySelectorAll('#table .row')]
           .reduce((one, other) => other.getBoundingClientRect().top < one.getBoundingClientRect().top ? other : one)
           .querySelector('{column}').innerText.trim()"
    )
}

/// What the canvas shows, in 160 × 120 points.
struct Picture {
    points: Vec<u64>,
}

impl Picture {
    fn of(browser: &Browser) -> Self {
        let points = browser.run(
            "const canvas = document.querySelector('#canvas');
             const copy = document.createElement('canvas');
             [copy.width, copy.height] = [160, 120];
             const context = copy.getContext('2d');
             context.drawImage(canvas, 0, 0, 160, 120);
             const bytes = context.getImageData(0, 0, 160, 120).data;
             return Array.from(new Uint32Array(bytes.buffer));",
        );
        let points = points.as_array().expect("points");
        Self {
            points: points.iter().filter_map(Value::as_u64).collect(),
        }
    }

    fn colours(&self) -> usize {
        let mut sorted = self.points.clone();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.len()
    }

    /// Returns how many points differ.
    fn differs(&self, other: &Self) -> usize {
        let both = self.points.iter().zip(&other.points);
        both.filter(|(one, other)| one != other).count()
    }
}

/// Reads a number as the page writes it: with a sign that may be a minus of its own kind.
fn number(text: &str) -> f64 {
    let plain = text.trim().replace('−', "-").replace(',', "");
    let plain = plain.trim_start_matches('+');
    plain.parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}

fn cell(row: &Row, column: &str) -> f64 {
    row[column].parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_shows_every_vertebra_and_can_be_sorted_and_filtered() {
    let Some(browser) = Browser::start(true) else {
        return;
    };
    let cohort = phantoms().await;
    let served = Served::of(&cohort, "out", &INTERPOLATED).await;
    browser.open(&served.url);
    wait_for(&browser, "state", "ready");
    wait_for(&browser, "rows", "10");
    wait_for(&browser, "shown", "10");
    assert!(browser.text("#run-id").contains("test"));

    // the rows of Parquet say which must come first
    let rows = cohort.table("out", "vertebrae").await;
    let scores = || rows.iter().map(|row| cell(row, "recon_dsc"));
    let column = "[data-column=recon_dsc]";
    let mut last = Value::Null;
    for _ in 0..2 {
        browser.click(&format!("#table [role=columnheader]{column}"));
        last = browser.wait(&format!(
            "['ascending', 'descending'].find((way) => way !== {last}
               && document.querySelector('#table [role=columnheader]{column}').ariaSort === way) ?? null"
        ));
        let expected = if last == "ascending" {
            scores().fold(f64::INFINITY, f64::min)
        } else {
            scores().fold(f64::NEG_INFINITY, f64::max)
        };
        browser.wait(&format!(
            "Math.abs(Number({}) - {expected}) < 6e-4",
            uppermost(column)
        ));
    }

    browser.click("#filter-levels [data-level=L3]");
    wait_for(&browser, "shown", "2");
    browser.wait(&format!("{} === 'L3'", uppermost("[data-column=level]")));
    browser.keys("#search", "p2");
    wait_for(&browser, "shown", "1");
    browser.wait(&format!("{} === 'p2'", uppermost("[data-column=case_id]")));
    browser.picture("viewer-filtered");
    browser.click("#filter-clear");
    wait_for(&browser, "shown", "10");

    browser.click("#tab-cases");
    browser.wait("document.querySelector('#table .row[data-case=gone]') !== null");
    let cases = cohort.table("out", "cases").await;
    let gone = cases.iter().find(|row| row["case_id"] == "gone").expect("a row");
    let told = browser.text("#table .row[data-case=gone]");
    assert!(told.contains(&gone["kind"]), "{told:?} does not name its kind");

    assert_eq!(browser.errors(), [""; 0]);
    let elsewhere: Vec<String> = browser
        .requests()
        .into_iter()
        .filter(|url| !url.starts_with(&served.url))
        .collect();
    assert_eq!(elsewhere, [""; 0], "the page asks nobody but its server");
    served.end(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_draws_a_vertebra_with_its_metrics_and_each_control_changes_the_picture() {
    let Some((browser, cohort, served)) = opened().await else {
        return;
    };
    drawing(&browser, || {
        browser.click("#table .row[data-case=p1][data-level=L3] [data-column=case_id]");
    });
    let title = browser.text("#title");
    assert!(title.contains("p1") && title.contains("L3"), "{title}");
    let first = Picture::of(&browser);
    assert!(first.colours() > 20, "{} colours", first.colours());
    let milliseconds = browser.run("return Number(document.body.dataset.firstPictureMs)");
    assert!(
        milliseconds.as_f64().is_some_and(|found| found > 0.0),
        "{milliseconds}"
    );
    browser.picture("viewer-vertebra");

    let rows = cohort.table("out", "vertebrae").await;
    let row = rows
        .iter()
        .find(|row| row["case_id"] == "p1" && row["level"] == "L3")
        .expect("a row");
    for (metric, half_a_digit) in [
        ("dsc", 5e-4),
        ("jaccard", 5e-4),
        ("spec", 5e-6),
        ("hd95_mm", 5e-3),
        ("assd_mm", 5e-3),
    ] {
        let told = |of: &str| {
            let selector = format!("#metrics tr[data-metric={metric}] td[data-of={of}]");
            number(&browser.text(&selector))
        };
        let [input, recon] = ["input", "recon"].map(|of| cell(row, &format!("{of}_{metric}")));
        for (of, expected) in [("input", input), ("recon", recon), ("delta", recon - input)] {
            let found = told(of);
            let is_same = (found - expected).abs() <= half_a_digit + 1e-9;
            assert!(is_same, "{metric} of {of}: {found}, not {expected}");
        }
    }

    let mut before = first;
    let mut changes = |name: &str, deed: &dyn Fn()| {
        drawing(&browser, deed);
        let now = Picture::of(&browser);
        assert!(now.colours() > 20, "{name}: {} colours", now.colours());
        assert!(
            now.differs(&before) > 20,
            "{name} changes {} points",
            now.differs(&before)
        );
        browser.picture(&format!("viewer-{name}"));
        before = now;
    };
    changes("errors", &|| browser.click("#show-errors"));
    changes("opacity", &|| {
        browser.run(
            "const slider = document.querySelector('#opacity-errors');
             slider.value = 20;
             for (const kind of ['input', 'change']) slider.dispatchEvent(new Event(kind, { bubbles: true }));",
        );
    });
    changes("slices", &|| browser.click("#layout [data-layout=slices]"));
    changes("3d", &|| browser.click("#layout [data-layout='3d']"));
    changes("clip", &|| browser.click("#clip"));
    changes("spine", &|| browser.click("#spine"));
    let hash = browser.run("return location.hash");
    let hash = hash.as_str().expect("text");
    assert!(hash.contains("case=p1") && hash.contains("spine="), "{hash}");
    assert_eq!(browser.errors(), [""; 0]);
    served.end(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_what_it_names_and_one_to_nothing_says_so() {
    if !draws() {
        return;
    }
    let Some(browser) = Browser::start(true) else {
        return;
    };
    let cohort = phantoms().await;
    let served = Served::of(&cohort, "out", &INTERPOLATED).await;
    let link = |hash: &str| format!("{}#{hash}", served.url);
    browser.open(&link(
        "case=p2&level=L5&show=recon,reference&layout=3d&sort=recon_dsc:desc&levels=L5",
    ));
    wait_for(&browser, "state", "drawn");
    let title = browser.text("#title");
    assert!(title.contains("p2") && title.contains("L5"), "{title}");
    wait_for(&browser, "shown", "2");
    let checked = browser.run(
        "return ['input', 'recon', 'reference', 'errors'].map((name) => document.querySelector('#show-' + name).checked)",
    );
    assert_eq!(checked, json!([false, true, true, false]));
    assert!(Picture::of(&browser).colours() > 20);

    // nothing of it is a path: no such case is in the rows
    browser.open("about:blank");
    browser.open(&link("case=..%2F..%2Fout&level=L3"));
    wait_for(&browser, "rows", "10");
    browser.wait("document.querySelector('#stage-note').innerText.trim().length > 0");
    browser.picture("viewer-no-such-case");
    served.end(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_in_progress_grows_in_the_page_without_a_reload() {
    let Some(browser) = Browser::start(true) else {
        return;
    };
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    cohort.put("ct.nii.gz", block(22, 1.0)).await;
    for number in 1..=40 {
        cohort.row(&format!("c{number},mask.nii.gz,verse,ct.nii.gz,verse"));
    }
    let parts = cohort.place("out/tables/cases");
    let first_part = async move {
        while parts.list().await.expect("list").is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let stopped = cohort.run_until("out", &SMALL, first_part).await.expect("run");
    assert_eq!(stopped, Exit::SomeFailed, "not all is done");
    let first = cohort.table("out", "vertebrae").await.len();
    assert!((1..40).contains(&first), "stopped half-way, after {first}");

    let served = Served::of(&cohort, "out", &SMALL).await;
    browser.open(&served.url);
    wait_for(&browser, "rows", &first.to_string());
    browser.wait("document.querySelector('#banners .banner[data-code=unfinished]') !== null");
    browser.run("window.untouched = true");
    assert_eq!(cohort.run("out", &SMALL).await.expect("run"), Exit::Done);
    wait_for(&browser, "rows", "40");
    browser.wait("document.querySelector('#banners .banner[data-code=unfinished]') === null");
    assert_eq!(
        browser.run("return window.untouched"),
        json!(true),
        "not reloaded"
    );
    assert_eq!(browser.errors(), [""; 0]);
    served.end(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_run_one_without_references_and_one_that_failed_say_so() {
    let Some(browser) = Browser::start(true) else {
        return;
    };
    let cohort = Cohort::new();
    let served = Served::of(&cohort, "nothing", &SMALL).await;
    browser.open(&served.url);
    browser.wait("document.querySelector('#banners .banner[data-code=empty]') !== null");
    wait_for(&browser, "rows", "0");
    browser.picture("viewer-empty");
    assert_eq!(browser.errors(), [""; 0]);
    served.end(browser).await;

    let Some(browser) = Browser::start(true) else {
        return;
    };
    let mut cohort = Cohort::new();
    cohort.put("mask.nii.gz", block(22, 0.0)).await;
    cohort.row("c1,mask.nii.gz,verse,,");
    for number in 1..=3 {
        cohort.row(&format!("gone{number},none.nii.gz,verse,,"));
    }
    assert_eq!(cohort.run("out", &SMALL).await.expect("run"), Exit::SomeFailed);
    let served = Served::of(&cohort, "out", &SMALL).await;
    browser.open(&format!(
        "{}#case=c1&level=L3&show=input,recon,reference",
        served.url
    ));
    wait_for(&browser, "rows", "1");
    for code in ["no_reference", "half_failed"] {
        browser.wait(&format!(
            "document.querySelector('#banners .banner[data-code={code}]')?.innerText.trim().length > 0"
        ));
    }
    let of_recon = "#metrics tr[data-metric=dsc] td[data-of=recon]";
    browser.wait(&format!("document.querySelector('{of_recon}') !== null"));
    assert_eq!(browser.text(of_recon), "–");
    if draws() {
        wait_for(&browser, "state", "drawn");
    }
    browser.picture("viewer-no-reference");
    served.end(browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_reached_from_the_keyboard() {
    let Some((browser, _cohort, served)) = opened().await else {
        return;
    };
    browser.run("document.querySelector('#table').focus()");
    browser.press(DOWN);
    browser.wait("document.querySelector('#table').getAttribute('aria-activedescendant')");
    drawing(&browser, || browser.press(ENTER));
    browser.wait("document.querySelector('#table .row[aria-selected=true]') !== null");
    let first = browser.text("#title");
    drawing(&browser, || browser.press("j"));
    assert_ne!(browser.text("#title"), first, "the next vertebra");
    drawing(&browser, || browser.press("k"));
    assert_eq!(browser.text("#title"), first, "and back");
    drawing(&browser, || browser.press("4"));
    let errors = browser.run("return document.querySelector('#show-errors').checked");
    assert_eq!(errors, json!(true));
    browser.press("?");
    browser.wait("document.querySelector('#help').open");
    browser.picture("viewer-help");
    browser.press(ESCAPE);
    browser.wait("!document.querySelector('#help').open");
    browser.press("/");
    browser.wait("document.activeElement === document.querySelector('#search')");

    // whatever can be operated has a name and can have the focus
    let nameless = browser.run(
        "const operated = [...document.querySelectorAll('button, input, select, [role=tab], [role=grid], canvas')];
         const isNamed = (element) => element.getAttribute('aria-label') || element.getAttribute('aria-labelledby')
           || element.labels?.length || element.innerText?.trim() || element.title;
         return operated.filter((element) => !isNamed(element)).map((element) => element.id || element.outerHTML);",
    );
    assert_eq!(nameless, json!([]), "elements without a name");
    assert_eq!(browser.errors(), [""; 0]);
    served.end(browser).await;
}
