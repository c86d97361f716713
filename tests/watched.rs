//! A run as it is seen from outside: the page of metrics, the log for machines, the closing table.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::block;

/// A cohort on the disk: sound cases, one that is missing, and one that is broken.
fn cohort(folder: &std::path::Path, cases: usize) {
    std::fs::write(folder.join("mask.nii.gz"), block(22, 0.0)).expect("write");
    std::fs::write(folder.join("broken.nii.gz"), "no volume").expect("write");
    let rows: String = (1..=cases)
        .map(|number| format!("c{number},mask.nii.gz,verse\n"))
        .collect();
    let manifest = format!("case_id,mask,labels\n{rows}gone,none.nii.gz,verse\nbroken,broken.nii.gz,verse\n");
    std::fs::write(folder.join("manifest.csv"), manifest).expect("write");
}

fn run(folder: &std::path::Path, settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spinestream"));
    command.arg("run");
    let manifest = format!("run.manifest={}", folder.join("manifest.csv").display());
    let output = format!("run.output={}", folder.join("out").display());
    for setting in [manifest.as_str(), &output].iter().chain(settings) {
        command.args(["--set", setting]);
    }
    command
}

/// Asks for a page as a browser would.
fn page(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Returns the value of a line of the page.
fn value(page: &str, metric: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(metric))?;
    line.trim().parse().ok()
}

#[cfg(feature = "torch")]
#[test]
fn the_page_of_metrics_tells_what_the_run_does() {
    let folder = tempfile::tempdir().expect("folder");
    cohort(folder.path(), 30);
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("address").port()
    };
    // the network, so that there is something to see: a second a vertebra
    let settings = [
        format!("watch.metrics=127.0.0.1:{port}"),
        "model.chain=[\"lsd_ebm\"]".to_owned(),
        "model.samples=8".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut child = run(folder.path(), &settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let until = Instant::now() + Duration::from_secs(120);
    let done = "spinestream_cases_ended_total{status=\"done\",stage=\"\",kind=\"\"}";
    let seen = loop {
        assert!(Instant::now() < until, "expected a page with a case that is done");
        assert!(
            child.try_wait().expect("asked").is_none(),
            "ended before its page was seen"
        );
        if let Some(seen) = page(port, "/metrics")
            && value(&seen, done).is_some_and(|done| done >= 1.0)
        {
            break seen;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let health = page(port, "/health").expect("a page");
    child.kill().and_then(|()| child.wait()).expect("killed");

    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    assert!(
        seen.contains("content-type: application/openmetrics-text"),
        "{seen}"
    );
    assert!(seen.trim_end().ends_with("# EOF"), "{seen}");
    assert_eq!(value(&seen, "spinestream_cases "), Some(32.0), "{seen}");
    for (metric, least) in [
        ("spinestream_stage_width{stage=\"reconstruct\"}", 1.0),
        ("spinestream_stage_seconds_count{stage=\"reconstruct\"}", 1.0),
        ("spinestream_model_workers ", 1.0),
        ("spinestream_model_busy_seconds_total ", 0.01),
        ("spinestream_memory_bytes ", 1e9),
    ] {
        let found = value(&seen, metric);
        assert!(
            found.is_some_and(|found| found >= least),
            "{metric}: {found:?}\n{seen}"
        );
    }
    let all = "spinestream_stage_seconds_bucket{le=\"+Inf\",stage=\"reconstruct\"}";
    let all = value(&seen, all).or_else(|| {
        let other = "spinestream_stage_seconds_bucket{stage=\"reconstruct\",le=\"+Inf\"}";
        value(&seen, other)
    });
    assert!(all.is_some_and(|all| all >= 1.0), "{seen}");
    let taken = value(&seen, "spinestream_memory_taken_bytes ").expect("a number");
    assert!(taken < 1e9, "{taken} bytes are taken");
}

#[test]
fn the_log_for_machines_is_json_and_names_case_and_stage() {
    let folder = tempfile::tempdir().expect("folder");
    cohort(folder.path(), 3);
    let mut command = run(folder.path(), &["model.chain=[\"identity\"]"]);
    let output = command.args(["--log", "json", "-vv"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let mut seen = std::collections::BTreeSet::new();
    for line in BufReader::new(&output.stderr[..]).lines() {
        let line = line.expect("text");
        let entry: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        if entry["level"] == "WARN" {
            let case = entry["fields"]["case"].as_str().unwrap_or_default();
            let stage = entry["fields"]["stage"].as_str().unwrap_or_default();
            seen.insert(format!("{case} {stage}"));
        }
    }
    let expected = ["broken decode", "gone weigh"].map(str::to_owned);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn the_closing_table_says_where_the_time_went() {
    let folder = tempfile::tempdir().expect("folder");
    cohort(folder.path(), 3);
    let output = run(folder.path(), &["model.chain=[\"identity\"]"])
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Vec<&str>> = said
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    // done and failed, stage by stage
    for (stage, done, failed) in [("weigh", "4", "1"), ("decode", "3", "1"), ("write", "3", "0")] {
        let line = lines
            .iter()
            .find(|line| line.first() == Some(&stage))
            .expect(stage);
        assert_eq!(line[1..3], [done, failed], "{said}");
    }
    assert!(said.contains("busy: cores "), "{said}");
    assert!(said.contains("5 cases: 3 done, 2 failed"), "{said}");

    let record = std::fs::read(
        folder
            .path()
            .join("out/runs")
            .read_dir()
            .expect("runs")
            .next()
            .expect("a run")
            .expect("entry")
            .path()
            .join("w0001.json"),
    );
    let record: serde_json::Value = serde_json::from_slice(&record.expect("record")).expect("json");
    assert_eq!(
        (&record["state"], &record["worker"]),
        (&"ended".into(), &"w0001".into())
    );
    assert_eq!(record["counts"]["failed"], 2);
    assert!(record["busy"]["cores"].as_f64().is_some_and(|share| share > 0.0));
}
