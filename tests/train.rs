//! `spinestream train` as a user starts it: what ends it before the first step, and with which exit code.

use std::process::{Command, Output};

use crate::support::block;

/// Starts a training on a manifest of two persons, p and q, of whom q's mask is `second`.
fn train(second: &[u8], settings: &[&str]) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    let manifest = "case_id,mask,labels,person\na,a.nii.gz,verse,p\nb,b.nii.gz,verse,q\n";
    std::fs::write(path("manifest.csv"), manifest).expect("manifest");
    std::fs::write(path("a.nii.gz"), block(20, 0.0)).expect("mask");
    std::fs::write(path("b.nii.gz"), second).expect("mask");
    let mut command = Command::new(env!("CARGO_BIN_EXE_spinestream"));
    command
        .current_dir(folder.path())
        .args(["train", "--set", "train.output=out"]);
    for setting in ["train.manifest=manifest.csv"].iter().chain(settings) {
        command.args(["--set", setting]);
    }
    (command.output().expect("runs"), folder)
}

fn said(output: &Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_manifest_that_cannot_be_read_exits_with_three() {
    let (output, _) = train(&[], &["train.manifest=nowhere.csv"]);
    let (code, said) = said(&output);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("train.manifest: "), "{said}");

    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("m.csv");
    std::fs::write(&path, "who,what\n1,2\n").expect("manifest");
    let (output, _) = train(&[], &[&format!("train.manifest={}", path.display())]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn persons_that_do_not_fit_the_manifest_exit_with_two() {
    for (settings, expected) in [
        (
            &["train.persons=[\"q\"]", "train.validation=[\"q\"]"][..],
            "found q in both",
        ),
        (&["train.validation=[\"r\"]"], "found r, whom it does not hold"),
        (&["crop.size=64"], "found 64 of 1 mm"),
    ] {
        let (output, folder) = train(&block(21, 0.0), settings);
        let (code, said) = said(&output);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(
            !folder.path().join("out").exists(),
            "nothing is read or written before"
        );
    }
}

#[test]
fn a_held_out_person_without_a_sound_mask_exits_with_three() {
    let (output, folder) = train(b"no mask", &["train.validation=[\"q\"]"]);
    let (code, said) = said(&output);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("found none of q"), "{said}");
    assert!(
        said.contains("Unreadable") && said.contains("case=\"b\""),
        "why is told: {said}"
    );
    let kept = std::fs::read_dir(folder.path().join("out/patches")).expect("patches");
    assert_eq!(kept.count(), 1, "what could be cut is kept for the next start");
}

#[test]
fn a_mask_beyond_the_memory_budget_is_not_read() {
    let (output, _) = train(&block(21, 0.0), &["run.memory=\"100 B\""]);
    let (code, said) = said(&output);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("too_large"), "{said}");
    assert!(said.contains("found none among 2 cases"), "{said}");
}

#[test]
fn weights_that_no_training_can_start_from_are_told() {
    for (settings, exit, expected) in [
        (&["train.start=nowhere.safetensors"][..], 2, "train.start: "),
        (&["train.start=a.nii.gz", "train.base=a.nii.gz"], 2, "found both"),
        (
            &["train.start=a.nii.gz"],
            3,
            "weights: expected a safetensors file",
        ),
    ] {
        let (output, _) = train(&block(21, 0.0), settings);
        let (code, said) = said(&output);
        assert_eq!(code, Some(exit), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
