//! The binary itself: exit codes, and what it says.

use std::process::{Command, Output};

fn spinestream(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spinestream"))
        .args(arguments)
        .output()
        .expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn bad_usage_and_configuration_exit_with_two() {
    assert_eq!(spinestream(&["walk"]).status.code(), Some(2));
    let unknown = spinestream(&["doctor", "--set", "pool.bacth=2"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        text(&unknown.stderr).contains("did you mean pool.batch?"),
        "{}",
        text(&unknown.stderr)
    );
    let nothing = spinestream(&["run"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", text(&nothing.stderr));
}

#[test]
fn a_phantom_cohort_runs_from_the_command_line() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let made = spinestream(&["phantom", "1", &path("cohort #1"), "--seed", "3"]);
    assert!(made.status.success(), "{}", text(&made.stderr));

    let settings = [
        format!("run.manifest={}", path("cohort #1/manifest.csv")),
        format!("run.output={}", path("out")),
        "model.chain=[\"identity\"]".to_owned(),
    ];
    let mut arguments = vec!["run"];
    for setting in &settings {
        arguments.extend(["--set", setting]);
    }
    let ran = spinestream(&arguments);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    assert!(
        text(&ran.stdout).contains("1 cases: 1 done, 0 failed; 5 vertebrae, 0 failed"),
        "{}",
        text(&ran.stdout)
    );

    let mask = path("cohort #1/phantom-0001_dseg.nii.gz");
    let seen = spinestream(&["inspect", &mask, "--json", "--labels", "verse"]);
    let seen: serde_json::Value = serde_json::from_slice(&seen.stdout).expect("json");
    assert_eq!(seen["orientation"], "PIR");
    assert!(
        seen["labels"]
            .as_array()
            .expect("labels")
            .iter()
            .any(|label| label["level"] == "L3")
    );

    let fault = spinestream(&["inspect", &path("nowhere.nii.gz")]);
    assert_eq!(fault.status.code(), Some(1));
    assert!(text(&fault.stdout).contains("Missing"), "{}", text(&fault.stdout));
}

#[test]
fn a_walk_of_a_folder_gives_a_manifest_that_runs() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    assert!(spinestream(&["phantom", "1", &path("masks")]).status.success());
    let refused = spinestream(&["manifest", &path("masks"), "-o", &path("m.csv")]);
    assert_eq!(refused.status.code(), Some(2), "no scheme, no guess");
    let walked = spinestream(&[
        "manifest",
        &path("masks"),
        "-o",
        &path("m.csv"),
        "--labels",
        "verse",
    ]);
    assert!(walked.status.success(), "{}", text(&walked.stderr));
    let manifest = std::fs::read_to_string(path("m.csv")).expect("manifest");
    assert_eq!(manifest.lines().count(), 3, "{manifest}");
}
