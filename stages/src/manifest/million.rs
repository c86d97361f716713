//! A manifest of a million rows: what reading it takes does not grow with what stands in them.

use std::io::{BufWriter, Write as _};
use std::process::Command;
use std::time::Instant;

use super::*;
use crate::store::Stores;

const ROWS: usize = 1_000_000;

/// Set for the process that does nothing else: tests share one, and its peak of memory.
const ALONE: &str = "SPINESTREAM_TEST_ALONE";

/// Most that the peak of memory may grow by: 16 bytes of hash a row, in a table that doubles, and one row.
const GROWTH_MOST_KIB: u64 = 96 << 10;

#[test]
fn a_million_rows_are_streamed_and_not_loaded() {
    if std::env::var_os(ALONE).is_some() {
        return stream();
    }
    let test = std::thread::current().name().expect("the test's name").to_owned();
    let ran = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", &test, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && said.contains("1000000 outcomes"),
        "{said}"
    );
    eprintln!("{said}");
}

fn stream() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("manifest.csv");
    let mut file = BufWriter::new(File::create(&path).expect("file"));
    // 128 bytes a row and more: loaded, the rows alone would be beyond what is allowed
    let note = "x".repeat(100);
    writeln!(file, "case_id,mask,labels,note").expect("write");
    for row in 0..ROWS {
        writeln!(file, "case-{row},masks/{row}.nii.gz,verse,{note}").expect("write");
    }
    file.flush().expect("write");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (before, start) = (peak_kib(), Instant::now());
    let context = Context {
        base: Url::from_directory_path(folder.path()).expect("an absolute path"),
        labels: BTreeMap::new(),
        seed: 0,
    };
    let url = ObjectUrl::new(Url::from_file_path(&path).expect("an absolute path"));
    let place = Stores::default().place(&url).expect("place");
    let copied = Manifest::copy(&place, u64::MAX, context);
    let manifest = runtime.expect("runtime").block_on(copied).expect("copied");
    let done = manifest
        .read()
        .expect("readable")
        .filter(|case| matches!(case, Ok(Ok(_))));
    let count = done.count();
    let grown = peak_kib().zip(before).map(|(after, before)| after - before);
    eprintln!(
        "{count} outcomes in {:.1?}, peak of memory grown by {grown:?} KiB",
        start.elapsed()
    );
    assert_eq!(count, ROWS);
    assert!(grown.is_none_or(|grown| grown < GROWTH_MOST_KIB), "{grown:?} KiB");
}

/// Returns the most memory that this process has had, where the system says.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
