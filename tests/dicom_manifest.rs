//! A hospital's export becomes a manifest: what others wrote, scattered over folders, with what else lies there.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use stages::dicom::pseudonym::{SITE_KEY, SiteKey};

use crate::support::dicom::{Study, study};
use crate::support::{Row, rows_of};

const KEY: &str = "a key of a site, for tests alone";

/// All traps but an object that is cut short.
const COMPRESSED: &str = "localizer,t1,axial,secondary,burned,rtstruct,dicomdir,text";

/// Calls the verb on a folder; the manifest is `m.csv` beside it.
fn manifest(export: &Path, key: Option<&str>, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spinestream"));
    command.arg("manifest").arg(export).arg("-o").arg(output(export));
    command.args(more).env_remove(SITE_KEY);
    command.envs(key.map(|key| (SITE_KEY, key)));
    command.output().expect("runs")
}

fn output(export: &Path) -> std::path::PathBuf {
    export.with_file_name("m.csv")
}

/// Returns the cells of the manifest's rows, and the rows of the table beside it.
fn written(export: &Path) -> (Vec<Vec<String>>, Vec<Row>) {
    let text = std::fs::read_to_string(output(export)).unwrap_or_default();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect();
    let table = std::fs::read(export.with_file_name("m.objects.parquet")).expect("table");
    (text.lines().skip(1).map(cells).collect(), rows_of(table.into()))
}

/// Returns the cell that names these objects.
fn cell(study: &Study, role: &str) -> String {
    let urls = study.files(role);
    let urls = urls.iter().map(|path| format!("file://{}", path.display()));
    urls.collect::<Vec<_>>().join(" ")
}

fn count(rows: &[Row], column: &str, value: &str) -> usize {
    rows.iter().filter(|row| row[column] == value).count()
}

/// Returns the export's files, all of them.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("folder");
    entries
        .map(|entry| entry.expect("entry").path())
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

#[test]
fn an_export_becomes_a_case_with_its_slices_in_order() {
    for (ct, segmentation, syntax) in [
        ("same-study", "binary", "explicit"),
        ("second-study", "labelmap", "deflated"),
        ("same-study", "fractional", "implicit"),
        ("second-study", "binary", "jpegls"),
    ] {
        let folder = tempfile::tempdir().expect("folder");
        // in compressed pixels a cut shows only when they are read
        let is_native = ["explicit", "implicit"].contains(&syntax);
        let traps = if is_native { "all" } else { COMPRESSED };
        let options = [
            "--ct",
            ct,
            "--seg",
            segmentation,
            "--syntax",
            syntax,
            "--traps",
            traps,
        ];
        let Some(study) = study(folder.path(), &options) else {
            return;
        };
        let made = manifest(&study.folder, Some(KEY), &[]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (cases, objects) = written(&study.folder);
        let [case] = cases.as_slice() else {
            panic!("one case, found {cases:?}");
        };
        let key = SiteKey::new(KEY.as_bytes()).expect("key");
        let mr = study.series("mr");
        let uid = |name: &str| mr[name].as_str().expect("uid");
        assert_eq!(case[0], key.case_id(uid("study"), uid("series")));
        let masks = [cell(&study, "mr_seg"), cell(&study, "ct_seg")];
        assert_eq!(
            case[1..5],
            [&masks[0], "snomed", &masks[1], "snomed"].map(str::to_owned)
        );
        let (forth, mut back) = (cell(&study, "mr"), study.files("mr"));
        back.reverse();
        let back: Vec<String> = back
            .iter()
            .map(|path| format!("file://{}", path.display()))
            .collect();
        assert!(
            case[5] == forth || case[5] == back.join(" "),
            "slices are in order: {}",
            case[5]
        );
        assert_eq!(
            case[6],
            key.person(study.told["patient"]["id"].as_str().expect("id"))
        );

        assert_eq!(objects.len(), files(&study.folder), "every object has its row");
        let outcomes = ["used", "not_used", "unreadable"].map(|outcome| count(&objects, "outcome", outcome));
        assert_eq!(outcomes.iter().sum::<usize>(), objects.len());
        assert_eq!(outcomes[0], study.files("mr").len() + 2);
        for (reason, number) in [
            ("localizer", 3),
            ("another_series", study.files("t1").len()),
            ("orientation", 12),
            ("secondary_capture", 1),
            ("derived", 1),
            ("contours", 1),
            ("dicomdir", 1),
            ("not_dicom", 1),
            ("truncated", usize::from(is_native)),
            ("modality", study.files("ct").len()),
        ] {
            assert_eq!(count(&objects, "reason", reason), number, "{reason}");
        }
        let told = [made.stdout, made.stderr].concat();
        assert_says_nothing(&study.told, &String::from_utf8_lossy(&told));
        assert_says_nothing(&study.told, &format!("{objects:?}"));
    }
}

/// Nothing that identifies Jane Doe, her studies, series or objects stands in a text.
fn assert_says_nothing(told: &Value, text: &str) {
    let series = told["series"].as_array().expect("series");
    let uids = series
        .iter()
        .flat_map(|entry| [&entry["study"], &entry["series"], &entry["instances"][0]]);
    let names = told["identifying"].as_array().expect("names").iter();
    for name in names.chain(uids).filter_map(Value::as_str) {
        assert!(!text.contains(name), "{name} in {text}");
    }
    assert!(!text.contains("IM00"), "keys of objects: {text}");
}

#[test]
fn a_series_with_a_hole_or_a_doubled_slice_leaves_its_mask() {
    for (trap, reason) in [("missing", "missing_slices"), ("duplicate", "duplicate_slices")] {
        let folder = tempfile::tempdir().expect("folder");
        let Some(study) = study(folder.path(), &["--traps", trap]) else {
            return;
        };
        let made = manifest(&study.folder, Some(KEY), &[]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (cases, objects) = written(&study.folder);
        assert_eq!(
            (cases[0][1].clone(), cases[0][5].as_str()),
            (cell(&study, "mr_seg"), "")
        );
        assert_eq!(
            count(&objects, "reason", reason),
            objects.len() - 1,
            "all but the mask"
        );
    }
}

#[test]
fn a_manifest_of_dicom_runs() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(study) = study(folder.path(), &["--ct", "same-study"]) else {
        return;
    };
    assert!(manifest(&study.folder, Some(KEY), &[]).status.success());
    let ran = Command::new(env!("CARGO_BIN_EXE_spinestream"))
        .args(["run", "--set", "model.chain=[\"identity\"]"])
        .args([
            "--set",
            &format!("run.manifest={}", output(&study.folder).display()),
        ])
        .args([
            "--set",
            &format!("run.output={}", folder.path().join("out").display()),
        ])
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(
        said.contains("1 cases: 1 done, 0 failed; 5 vertebrae, 0 failed"),
        "{said}"
    );
}

#[test]
fn pseudonyms_need_a_key_or_are_random() {
    let folder = tempfile::tempdir().expect("folder");
    let export = folder.path().join("export");
    std::fs::create_dir(&export).expect("folder");
    std::fs::write(export.join("IM0001"), b"Images of Jane Doe.").expect("write");
    let refused = manifest(&export, None, &[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains(SITE_KEY) && said.contains("--pseudonyms random"),
        "{said}"
    );
    let short = manifest(&export, Some("too short"), &[]);
    assert_eq!(short.status.code(), Some(2));
    assert!(
        !String::from_utf8_lossy(&short.stderr).contains("too short"),
        "the key is not shown"
    );

    let mut names = Vec::new();
    for _ in 0..2 {
        let made = manifest(&export, None, &["--pseudonyms", "random"]);
        assert_eq!(made.status.code(), Some(2), "no case is no manifest");
        let (cases, objects) = written(&export);
        assert!(cases.is_empty());
        assert_eq!(objects[0]["reason"], "not_dicom");
        names.push(objects[0]["object"].clone());
    }
    assert_ne!(names[0], names[1], "nothing links two manifests");
}
