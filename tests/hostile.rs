//! Rows, names and bytes that mean us no good: each is one row with its reason, and nothing is written elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use spinestream::Exit;

use crate::support::{Cohort, Row, block, packed, patched};

/// Bytes of header and extension flag of a NIfTI-1 file.
const HEADER: usize = 352;

/// What a case's row says has become of it.
fn fate(row: &Row) -> String {
    match row["status"].as_str() {
        "done" => "done".to_owned(),
        _ => format!("{}: {} {}", row["stage"], row["kind"], row["reason"]),
    }
}

/// A cell of CSV, whatever it holds.
fn quoted(cell: &str) -> String {
    format!("\"{}\"", cell.replace('"', "\"\""))
}

/// `dim` of a NIfTI-1 header at byte 40.
fn dims(counts: [i16; 3]) -> Vec<u8> {
    let all = [3, counts[0], counts[1], counts[2]];
    all.iter().flat_map(|count| count.to_le_bytes()).collect()
}

/// A NIfTI-2 file that announces voxels from byte `offset` on, and has none. Byte positions from `nifti2.h`.
fn nifti2(counts: [i64; 3], offset: i64) -> Vec<u8> {
    let mut bytes = vec![0; 544];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &540_i32.to_le_bytes());
    put(4, b"n+2\0\r\n\x1a\n");
    put(12, &2_i16.to_le_bytes());
    for (axis, count) in [3, counts[0], counts[1], counts[2]].iter().enumerate() {
        put(16 + 8 * axis, &count.to_le_bytes());
        put(104 + 8 * axis, &1_f64.to_le_bytes());
    }
    put(168, &offset.to_le_bytes());
    put(348, &1_i32.to_le_bytes());
    for axis in 0..3 {
        put(400 + 8 * (4 * axis + axis), &1_f64.to_le_bytes());
    }
    bytes
}

/// A gzip member of 1 GiB of zeros: about 1 MiB.
fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let zeros = vec![0; 1 << 20];
    for _ in 0..1 << 10 {
        encoder.write_all(&zeros).expect("in memory");
    }
    let bomb = encoder.finish().expect("in memory");
    assert!(bomb.len() < 2 << 20, "{} bytes", bomb.len());
    bomb
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_row_has_its_reason_and_nothing_is_written_elsewhere() {
    let long = "x".repeat(10_000);
    let good = "good.nii.gz";
    // id, mask, id of the row if not the same, what becomes of it
    let mut cases: Vec<(&str, &str, bool, &str)> = vec![("good", good, true, "done")];
    let refused = "list: Unsuitable bad_case_id";
    for id in [
        "..",
        "../x",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\r\n,b",
        "\"",
        &long,
        "",
        "  ",
        "Ünïcode",
        "-rf",
    ] {
        cases.push((id, good, false, refused));
    }
    cases.push(("a%2fb", good, false, refused));
    cases.push(("row-3", good, false, refused));
    cases.push(("CON", good, true, "done"));
    for id in ["CON", "con", "GOOD"] {
        cases.push((id, good, false, "list: Unsuitable repeated_case_id"));
    }
    let gone = "weigh: Missing object_not_found";
    let far = "../../../../etc/passwd";
    let long_key = format!("{long}/{long}.nii.gz");
    for (id, mask) in [
        ("up", ".."),
        ("far-up", far),
        ("encoded", "%2e%2e/%2E%2E/good.nii.gz"),
        ("encoded-slash", "..%2fcohort%2fgood.nii.gz"),
        ("long", long_key.as_str()),
        ("root", "memory:///"),
        ("names", "#?%&;|$(x)`'\"*"),
    ] {
        cases.push((id, mask, true, gone));
    }
    for (id, mask) in [
        ("line-end", "go\nod.nii.gz"),
        ("nul", "good.nii.gz\0.txt"),
        ("host", "http://[::1/x"),
    ] {
        cases.push((id, mask, true, "list: Unsuitable bad_url"));
    }
    for (id, mask) in [
        ("scheme", "ftp://host/good.nii.gz"),
        ("query", "memory:///cohort/good.nii.gz?versionId=1"),
        ("fragment", "memory:///cohort/good.nii.gz#1"),
        ("password", "s3://key:secret@bucket/good.nii.gz"),
    ] {
        cases.push((id, mask, true, "weigh: Unsuitable bad_url"));
    }
    cases.push(("no-mask", "", true, "list: Unsuitable no_mask"));
    cases.push(("file", "file:///etc/passwd", true, "decode: Unreadable not_nifti"));
    cases.push(("below", "file:///etc/passwd/x", true, gone));

    let zeros = bomb();
    let behind = |head: &[u8]| [packed(head), zeros.clone()].concat();
    let header = |counts| patched(40, &dims(counts))[..HEADER].to_vec();
    let too_large = "decode: Unsuitable too_large";
    let volumes = [
        // 24 KiB are asked for, and a GiB lies behind them
        ("bomb-behind", behind(&patched(0, &[])), "done"),
        ("bomb-large", behind(&header([1024; 3])), too_large),
        // 32 MiB of 64: unpacked, and found to hold nothing
        (
            "bomb-small",
            behind(&header([256; 3])),
            "crop: Unsuitable no_lumbar_labels",
        ),
        ("terabytes", patched(40, &dims([32767; 3])), too_large),
        ("terabytes-gz", packed(&patched(40, &dims([32767; 3]))), too_large),
        (
            "two-to-forty",
            nifti2([1 << 14, 1 << 13, 1 << 13], 544),
            too_large,
        ),
        ("overflow", nifti2([1 << 62, 1 << 62, 4], 544), too_large),
        ("offset", nifti2([2, 2, 2], 1 << 50), too_large),
        ("object", vec![0; (64 << 20) + 1], "weigh: Unsuitable too_large"),
    ];
    let mut cohort = Cohort::new();
    for (id, bytes, fate) in volumes {
        cohort.put(id, bytes).await;
        cases.push((id, id, true, fate));
    }
    cohort.put(good, block(22, 0.0)).await;
    for (id, mask, ..) in &cases {
        cohort.row(&format!("{},{},verse,,", quoted(id), quoted(mask)));
    }
    cohort.row("everything,..,classes,,");
    cohort.row(&format!("level,{good},{},,", quoted("binary:../L3")));
    let before: BTreeSet<String> = keys(&cohort).await;
    let settings = ["model.chain=[\"identity\"]", "run.memory=64MiB"];
    assert_eq!(cohort.run("out", &settings).await.expect("run"), Exit::SomeFailed);

    let rows = cohort.table("out", "cases").await;
    let found: BTreeMap<String, String> = rows
        .iter()
        .map(|row| (row["case_id"].clone(), fate(row)))
        .collect();
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    for (number, (id, _, is_sound, fate)) in cases.iter().enumerate() {
        let id = if *is_sound {
            (*id).to_owned()
        } else {
            format!("row-{}", number + 1)
        };
        expected.insert(id, (*fate).to_owned());
    }
    expected.insert(
        "everything".to_owned(),
        "weigh: Missing no_class_masks".to_owned(),
    );
    expected.insert(
        "level".to_owned(),
        "list: Unsuitable unknown_label_scheme".to_owned(),
    );
    assert_eq!(found, expected);
    assert_eq!(rows.len(), cases.len() + 2, "one row a case");

    let done: Vec<&str> = cases
        .iter()
        .filter(|(.., fate)| *fate == "done")
        .map(|(id, ..)| *id)
        .collect();
    for key in keys(&cohort).await.difference(&before) {
        let parts: Vec<&str> = key.split('/').collect();
        assert!(
            key == "cohort/manifest.csv" || parts[0] == "out",
            "{key} is not below the output"
        );
        for part in &parts {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-=".contains(&byte);
            assert!(!part.starts_with('.') && part.bytes().all(is_plain), "{key}");
        }
        if let ["out", "volumes", _, case, ..] = parts.as_slice() {
            assert!(done.contains(case), "{key} of a case that was not done");
        }
    }
}

/// Every key of the store.
async fn keys(cohort: &Cohort) -> BTreeSet<String> {
    let listing = cohort.place("").list().await.expect("list");
    listing
        .into_iter()
        .map(|object| object.location.to_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_percent_corrupt_one_percent_missing_one_percent_hostile_in_two_thousand() {
    const CASES: usize = 2000;
    let good = block(22, 0.0);
    let mut cohort = Cohort::new();
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    for number in 0..CASES {
        let (id, hundred) = (format!("c{number}"), number / 100);
        let (row, fate) = match number % 100 {
            7 => {
                let cut = good.len() * (hundred + 1) / 22;
                cohort
                    .put(&format!("cut{number}.nii.gz"), good[..cut].to_vec())
                    .await;
                (format!("{id},cut{number}.nii.gz"), "decode: Unreadable truncated")
            }
            31 => (
                format!("{id},none{number}.nii.gz"),
                "weigh: Missing object_not_found",
            ),
            64 => match hundred % 4 {
                0 => (format!("../{id},good.nii.gz"), "list: Unsuitable bad_case_id"),
                1 => (format!("{id},\"go\nod.nii.gz\""), "list: Unsuitable bad_url"),
                2 => (format!("{id},ftp://host/{id}"), "weigh: Unsuitable bad_url"),
                _ => (format!("{id},terabytes.nii"), "decode: Unsuitable too_large"),
            },
            _ => (format!("{id},good.nii.gz"), "done"),
        };
        cohort.row(&format!("{row},verse,,"));
        let id = if row.starts_with("..") {
            format!("row-{}", number + 1)
        } else {
            id
        };
        expected.insert(id, fate.to_owned());
    }
    cohort.put("good.nii.gz", good).await;
    cohort.put("terabytes.nii", patched(40, &dims([32767; 3]))).await;
    let settings = ["model.chain=[\"identity\"]", "write.volumes=[]", "crop.size=32"];
    assert_eq!(cohort.run("out", &settings).await.expect("run"), Exit::SomeFailed);

    let rows = cohort.table("out", "cases").await;
    assert_eq!(rows.len(), CASES, "one row a case");
    let found: BTreeMap<String, String> = rows
        .iter()
        .map(|row| (row["case_id"].clone(), fate(row)))
        .collect();
    for (id, fate) in &expected {
        assert_eq!(found.get(id), Some(fate), "{id}");
    }
    let count = |fate: &str| found.values().filter(|found| found.contains(fate)).count();
    assert_eq!(count("done"), 1940);
    assert_eq!((count("truncated"), count("object_not_found")), (20, 20));
    assert_eq!(
        (count("bad_case_id"), count("bad_url"), count("too_large")),
        (5, 10, 5)
    );
    assert_eq!(cohort.table("out", "vertebrae").await.len(), 1940);
}
