//! `spinestream models` as a user starts it.

use std::process::{Command, Output};

use schemas::ObjectUrl;
use serde_json::{Map, Value};
use stages::registry::Registry;
use stages::starts::{Start, State};
use stages::store::Stores;
use tempfile::TempDir;

use crate::registry::publish;

/// Starts the verb on a registry in a folder; `None` is no registry at all.
fn models(folder: Option<&TempDir>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spinestream"));
    command.arg("models").args(arguments);
    if let Some(folder) = folder {
        let url = folder.path().join("registry");
        command.args(["--set", &format!("registry.url={}", url.display())]);
    }
    command.output().expect("runs")
}

/// Returns what a verb printed that must end with a code: its results, or its complaint.
fn said(output: &Output, code: i32) -> String {
    let (told, said) = (&output.stdout, &output.stderr);
    let [told, said] = [told, said].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(code), "{said}{told}");
    if code == 0 { told } else { said }
}

#[tokio::test]
async fn versions_are_listed_shown_promoted_and_taken_back_from_the_command_line() {
    assert!(said(&models(None, &["list"]), 2).contains("registry.url"));
    let folder = tempfile::tempdir().expect("folder");
    let verb = |code: i32, arguments: &[&str]| said(&models(Some(&folder), arguments), code);
    assert_eq!(verb(0, &["list"]), "no version of lsd_ebm yet\n");
    assert!(verb(2, &["promote", "v20261126-0000000a"]).contains("expected version v20261126-0000000a"));
    assert!(verb(2, &["rollback"]).contains("found none"));
    verb(2, &["list", "--method", "interpolate"]);

    let root = url::Url::from_directory_path(folder.path().join("registry")).expect("an absolute path");
    let root = Stores::default().place(&ObjectUrl::new(root)).expect("place");
    let registry = Registry::new(&root, "lsd_ebm");
    for letter in ['a', 'b'] {
        publish(&registry, letter).await;
    }
    assert!(verb(0, &["promote", "v20261126-0000000a"]).contains("before: none"));
    let why = ["promote", "v20261126-0000000b", "--why", "closer to CT"];
    assert!(verb(0, &why).contains("v20261126-0000000b is champion of lsd_ebm now, by entry 2"));
    assert!(verb(0, &why).contains("already"));
    let list = verb(0, &["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(
        lines[2].starts_with("v20261126-0000000b ") && lines[2].ends_with(" champion"),
        "{list}"
    );
    let list: Value = serde_json::from_str(&verb(0, &["list", "--json"])).expect("json");
    assert_eq!(list[1]["aliases"], serde_json::json!(["champion"]));
    let shown = verb(0, &["show", "champion"]);
    assert!(
        shown.contains("closer to CT") && shown.ends_with("a card\n"),
        "{shown}"
    );
    let shown: Value = serde_json::from_str(&verb(0, &["show", "champion", "--json"])).expect("json");
    assert_eq!(shown["record"]["version"], "v20261126-0000000b");
    assert_eq!(shown["aliases"]["champion"][1]["why"], "closer to CT");

    assert!(verb(0, &["rollback"]).contains("v20261126-0000000a is champion"));
    assert!(verb(2, &["rollback"]).contains("found none"));
    assert_eq!(
        verb(0, &["gc"]),
        "deleted 0 of lsd_ebm, 0.0 MiB\n",
        "all are young"
    );
    let clear = ["gc", "--days", "0", "--keep", "1"];
    let dry = [&clear[..], &["--dry-run"]].concat();
    assert!(verb(0, &dry).starts_with("would delete v20261126-0000000b\n"));
    // a night at work: one of this process, which lives
    let night = Start::take(&registry.place("starts"), 1, &Map::new()).await;
    let night = night.expect("a number");
    assert!(verb(3, &clear).contains("at work"));
    night.keep(State::Ended, &Map::new()).await.expect("ended");
    assert!(verb(0, &clear).starts_with("deleted v20261126-0000000b\n"));
    assert_eq!(verb(0, &["list"]).lines().count(), 2);
}

#[cfg(feature = "torch")]
#[test]
fn a_file_of_weights_is_imported_once_if_it_is_of_the_method() {
    use models::description::Method;
    use models::weights::shipped;

    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("weights.safetensors");
    std::fs::write(&file, shipped(Method::ReconNet)).expect("write");
    let file = file.to_str().expect("UTF-8");
    let verb = |code: i32, arguments: &[&str]| said(&models(Some(&folder), arguments), code);
    let other = verb(2, &["import", file]);
    assert!(
        other.contains("expected weights of method lsd_ebm, found reconnet"),
        "{other}"
    );
    let of_method = ["--method", "reconnet"];
    let import = [&["import", file, "--note", "shipped with 0.1"][..], &of_method].concat();
    let told = verb(0, &import);
    assert!(told.starts_with("imported as v"), "{told}");
    assert!(verb(0, &import).starts_with("these weights are there already: v"));
    let list = verb(0, &[&["list", "--json"][..], &of_method].concat());
    let list: Value = serde_json::from_str(&list).expect("json");
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), 1);
    assert_eq!(
        (&list[0]["made_by"], &list[0]["aliases"]),
        (&"import".into(), &serde_json::json!([]))
    );
    let version = list[0]["version"].as_str().expect("a name");
    let sha256 = list[0]["weights_sha256"].as_str().expect("a hash");
    assert_eq!(version[10..], sha256[..8]);
    let shown = verb(0, &[&["show", version][..], &of_method].concat());
    assert!(
        shown.contains("shipped with 0.1") && shown.contains("config.json"),
        "{shown}"
    );
}
