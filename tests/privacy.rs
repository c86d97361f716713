//! Nothing of a patient leaves through logs, errors, file names or tables.
//!
//! Names stand wherever others write: in the manifest's cells and extra columns, in object keys and folders, in headers,
//! beside voxels, in packed files' own names, in what servers answer, in the environment. They are looked for in everything
//! that comes out: both streams at the finest log, every file's name, bytes, unpacked bytes and table cells. Left out is
//! what the user of the command line writes: the places `run.manifest` and `run.output`, which errors and records repeat,
//! and ids and persons that keep to the alphabet of pseudonyms, which are shown because the manifest says so.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use flate2::{Compression, GzBuilder};
use serde_json::json;

use crate::support::{Row, block, patched, rows_of, unpacked};

/// A made-up patient: name, record number and study's UID as DICOM has them. Neither is a pseudonym.
const PATIENT: &str = "DOE^JANE 7766554433 1.2.840.113619.2.604688119";

/// The same as a name in a store, which has no blanks.
const KEY: &str = "DOE-JANE-7766554433-1.2.840.113619.2.604688119";

/// What must come out nowhere, in lower case.
const NEEDLES: [&str; 5] = ["doe^jane", "doe-jane", "doe%5ejane", "7766554433", "604688119"];

/// The manifest's columns, and one with a patient's name in its own.
const COLUMNS: [&str; 8] = [
    "case_id",
    "mask",
    "labels",
    "reference",
    "reference_labels",
    "image",
    "person",
    PATIENT,
];

/// Returns the first needle that bytes hold, in any case.
fn needle(bytes: &[u8]) -> Option<&'static str> {
    let bytes = bytes.to_ascii_lowercase();
    let holds = |needle: &&str| {
        bytes
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
    };
    NEEDLES.into_iter().find(|needle| holds(needle))
}

/// A NIfTI-1 file with names in each of its texts, in an extension and behind its voxels.
fn named_volume() -> Vec<u8> {
    let mut plain = unpacked(&block(22, 0.0));
    // data_type, db_name, descrip, aux_file, intent_name
    for (at, length) in [(4, 10), (14, 18), (148, 80), (228, 24), (328, 16)] {
        let text = &KEY.as_bytes()[..KEY.len().min(length)];
        plain[at..at + text.len()].copy_from_slice(text);
    }
    // an extension of code 6, a comment, whose size is a multiple of 16
    let mut extension = vec![0; 96];
    extension[..4].copy_from_slice(&96_i32.to_le_bytes());
    extension[4..8].copy_from_slice(&6_i32.to_le_bytes());
    extension[8..8 + PATIENT.len()].copy_from_slice(PATIENT.as_bytes());
    plain[348] = 1;
    plain[108..112].copy_from_slice(&(352.0_f32 + 96.0).to_le_bytes());
    plain.splice(352..352, extension);
    plain.extend(PATIENT.as_bytes());
    plain
}

/// The same packed, with names where gzip keeps a file's name and a comment.
fn packed_under_a_name(plain: &[u8]) -> Vec<u8> {
    let builder = GzBuilder::new().filename(KEY).comment(PATIENT);
    let mut encoder = builder.write(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("in memory");
    encoder.finish().expect("in memory")
}

/// Starts a web server that has nothing, and says so with the names it was asked for.
fn quoting_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = [0; 4096];
            let count = stream.read(&mut asked).unwrap_or_default();
            let asked = String::from_utf8_lossy(&asked[..count]).into_owned();
            let status = if asked.contains("busy") {
                "500 Busy"
            } else {
                "404 Gone"
            };
            let body = format!("{PATIENT} {KEY} {asked}");
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    port
}

/// Lays out the cohort's objects and returns its rows: cells in the order of [`COLUMNS`] but the last, and the reason of
/// each row's fault.
fn lay_out(cohort: &Path, port: u16) -> Vec<([String; 7], &'static str)> {
    let folder = cohort.join(KEY);
    std::fs::create_dir_all(folder.join("classes/segmentations")).expect("folder");
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("write");
    let volume = named_volume();
    put("mask.nii", &volume);
    let packed = packed_under_a_name(&volume);
    put("mask.nii.gz", &packed);
    put("cut.nii", &volume[..1000]);
    put("cut.nii.gz", &packed[..packed.len() / 2]);
    put("text.nii", PATIENT.repeat(20).as_bytes());
    put("classes/vertebrae_L3.nii", &volume);
    put("classes/segmentations/vertebrae_L3.nii", &volume);
    let mut dicom = vec![0; 128];
    dicom.extend(format!("DICM{PATIENT}").as_bytes());
    put("slice.dcm", &dicom);
    let mut damaged = volume;
    damaged[280..284].copy_from_slice(&f32::NAN.to_le_bytes());
    put("affine.nii", &damaged);
    damaged[70..72].copy_from_slice(&9999_i16.to_le_bytes());
    put("type.nii", &damaged);
    put("other.nii", &patched(40, &[0, 0]));

    let mask = format!("{KEY}/mask.nii");
    let row = |id: &str, mask: &str, labels: &str| -> [String; 7] {
        [id, mask, labels, "", "", "", ""].map(str::to_owned)
    };
    let of = |id: &str, name: &str| row(id, &format!("{KEY}/{name}"), "verse");
    let with = |id: &str, column: usize, cell: &str| {
        let mut row = row(id, &mask, "verse");
        row[column] = cell.to_owned();
        row
    };
    let mut paired = with("paired", 3, &format!("{KEY}/mask.nii.gz"));
    paired[4] = "verse".to_owned();
    let mut unpaired = with("unpaired", 3, &format!("{KEY}/none.nii.gz"));
    unpaired[4] = "verse".to_owned();
    let mut reference = with("reference", 3, &mask);
    reference[4] = PATIENT.to_owned();
    vec![
        (of("plain", "mask.nii"), ""),
        (of("packed", "mask.nii.gz"), ""),
        (paired, ""),
        (with("image", 5, &mask), ""),
        (unpaired, "object_not_found"),
        (reference, "unknown_label_scheme"),
        (with("image-url", 5, &format!("http://[{PATIENT}/")), "bad_url"),
        (with("person", 6, PATIENT), "bad_person"),
        (row(PATIENT, &mask, "verse"), "bad_case_id"),
        (row(&format!("{KEY}/1"), &mask, "verse"), "bad_case_id"),
        (row("plain", &mask, "verse"), "repeated_case_id"),
        (row("scheme", &mask, PATIENT), "unknown_label_scheme"),
        (
            row("level", &mask, &format!("binary:{PATIENT}")),
            "unknown_label_scheme",
        ),
        (
            row("classes", &format!("{KEY}/classes"), "classes"),
            "repeated_level",
        ),
        (
            row("no-classes", &format!("{KEY}/none"), "classes"),
            "no_class_masks",
        ),
        (of("gone", "none.nii"), "object_not_found"),
        (of("below", "mask.nii/x"), "object_not_found"),
        (of("cut", "cut.nii"), "truncated"),
        (of("cut-packed", "cut.nii.gz"), "truncated"),
        (of("text", "text.nii"), "not_nifti"),
        (of("dicom", "slice.dcm"), "bad_meta"),
        (of("affine", "affine.nii"), "bad_affine"),
        (of("type", "type.nii"), "bad_header"),
        (of("axes", "other.nii"), "bad_header"),
        (row("control", &format!("{KEY}/a\u{1}"), "verse"), "bad_url"),
        (row("unknown", &format!("ftp://host/{KEY}"), "verse"), "bad_url"),
        (
            row("password", &format!("s3://{KEY}:{KEY}@bucket/a"), "verse"),
            "bad_url",
        ),
        (
            row("query", &format!("https://host.invalid/a?name={KEY}"), "verse"),
            "bad_url",
        ),
        (
            row("web", &format!("http://127.0.0.1:{port}/{KEY}"), "verse"),
            "object_not_found",
        ),
        (
            row("busy", &format!("http://127.0.0.1:{port}/busy/{KEY}"), "verse"),
            "store_failed",
        ),
    ]
}

/// The manifest as CSV and as JSON Lines; behind the rows come two that are malformed.
fn manifests(rows: &[([String; 7], &'static str)]) -> [(&'static str, Vec<u8>); 2] {
    let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
    let mut csv = COLUMNS.map(quoted).join(",").into_bytes();
    let mut json = Vec::new();
    for (cells, _) in rows {
        let cells: Vec<&str> = cells.iter().map(String::as_str).chain([PATIENT]).collect();
        let line: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        csv.extend(format!("\n{}", line.join(",")).as_bytes());
        let object: serde_json::Map<String, serde_json::Value> = COLUMNS
            .into_iter()
            .zip(cells)
            .map(|(column, cell)| (column.to_owned(), json!(cell)))
            .collect();
        json.extend(format!("{}\n", json!(object)).as_bytes());
    }
    csv.extend(format!("\n{PATIENT},too,few\n{PATIENT}").as_bytes());
    csv.extend(b"\xff,,,,,,,\n");
    json.extend(format!("{{\"case_id\":[\"{PATIENT}\"]}}\n{{\"{PATIENT}\n").as_bytes());
    [("manifest.csv", csv), ("manifest.jsonl", json)]
}

/// Runs a verb with the finest log, and checks what it says.
fn told(verb: &str, log: &str, manifest: &Path, out: &Path) -> Output {
    let ran = Command::new(env!("CARGO_BIN_EXE_spinestream"))
        .args([verb, "-vv", "--log", log])
        .args(["--set", "model.chain=[\"identity\"]", "--set", "run.id=test"])
        .args(["--set", "run.max_failed=1", "--set", "store.max_retries=0"])
        .args(["--set", &format!("run.manifest={}", manifest.display())])
        .args(["--set", &format!("run.output={}", out.display())])
        .env("PATIENT_NAME", PATIENT)
        .env("SPINESTREAM_PATIENT", PATIENT)
        .env("NO_PROXY", "*")
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "1")
        .output()
        .expect("runs");
    for stream in [&ran.stdout, &ran.stderr] {
        let text = String::from_utf8_lossy(stream);
        assert_eq!(needle(stream), None, "{verb}: {text}");
    }
    ran
}

/// Checks every file below a folder, and returns how many there are.
fn checked(folder: &Path) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        assert_eq!(needle(path.to_string_lossy().as_bytes()), None);
        if path.is_dir() {
            files += checked(&path);
            continue;
        }
        files += 1;
        let bytes = std::fs::read(&path).expect("file");
        assert_eq!(needle(&bytes), None, "{}", path.display());
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension == Some("gz") {
            assert_eq!(needle(&unpacked(&bytes)), None, "{}", path.display());
        }
        if extension == Some("parquet") {
            for row in rows_of(bytes.into()) {
                let cells = row.iter().flat_map(|(name, cell)| [name, cell]);
                assert!(
                    cells.into_iter().all(|text| needle(text.as_bytes()).is_none()),
                    "{row:?}"
                );
            }
        }
    }
    files
}

/// Rows of the cases table on disk.
fn cases(out: &Path) -> Vec<Row> {
    let folder = out.join("tables/cases/run=test");
    let parts = std::fs::read_dir(folder).expect("folder");
    let read = |part: std::io::Result<std::fs::DirEntry>| {
        rows_of(std::fs::read(part.expect("entry").path()).expect("file").into())
    };
    parts.flat_map(read).collect()
}

#[test]
fn names_that_stand_anywhere_come_out_nowhere() {
    let folder = tempfile::tempdir().expect("folder");
    let cohort = folder.path().join("cohort");
    let rows = lay_out(&cohort, quoting_server());
    let mut expected: Vec<&str> = rows.iter().map(|(_, reason)| *reason).collect();
    expected.extend(["malformed_row"; 2]);
    expected.sort_unstable();
    for (name, bytes) in manifests(&rows) {
        assert!(needle(&bytes).is_some(), "the test looks for what is there");
        let manifest = cohort.join(name);
        std::fs::write(&manifest, bytes).expect("write");
        for log in ["text", "json"] {
            let out = folder.path().join(format!("out-{name}-{log}"));
            told("plan", log, &manifest, &out);
            let ran = told("run", log, &manifest, &out);
            let said = String::from_utf8_lossy(&ran.stderr);
            assert_eq!(ran.status.code(), Some(1), "{said}");
            let cases = cases(&out);
            let mut reasons: Vec<&str> = cases.iter().map(|row| row["reason"].as_str()).collect();
            reasons.sort_unstable();
            assert_eq!(reasons, expected, "each name has met what it was meant for");
            for verb in ["verify", "compact"] {
                told(verb, log, &manifest, &out);
            }
            // tables, a record, and of each of four cases that are done a patch and a scan
            assert!(checked(&out) >= 2 + 1 + 8);
        }
    }
}

#[test]
fn a_manifest_that_ends_the_run_is_not_quoted() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("out");
    let headless = format!("{PATIENT},{KEY}/mask.nii,verse\n");
    let parquet = format!("PAR1{PATIENT}{}\0\0\0PAR1", char::from(PATIENT.len() as u8));
    for (name, bytes) in [("m.csv", headless.as_bytes()), ("m.parquet", parquet.as_bytes())] {
        let manifest = folder.path().join(name);
        std::fs::write(&manifest, bytes).expect("write");
        let ran = told("run", "text", &manifest, &out);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(3), "{said}");
        assert!(said.contains("run.manifest: "), "{said}");
    }
}
