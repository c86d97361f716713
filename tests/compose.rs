//! What Docker is told, held without Docker: the file is valid, and its services' commands do here what they shall do
//! there.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::nats::Nats;

/// Holds docker-compose.yml against the Compose specification and prints it as JSON.
const READER: &str = r#"
from compose_spec import PyCompose
with open("docker-compose.yml", encoding="utf-8") as file:
    compose = PyCompose.from_yaml(file.read())
compose.validate()
print(compose.to_json())
"#;

/// Returns what `cargo xtask test` lends; `None` says that the test is skipped.
fn lent(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok();
    if value.is_none() {
        eprintln!("skipped: {variable} is not set");
    }
    value
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the file, which is valid.
fn compose_file(python: &str) -> Value {
    let read = Command::new(python).args(["-c", READER]).output().expect("runs");
    assert!(read.status.success(), "{}", text(&read.stderr));
    serde_json::from_slice(&read.stdout).expect("json")
}

fn words(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|word| word.as_str().expect("a string")).collect()
}

/// Runs a service's command in its environment, with the lent store in the place of its own.
fn run(program: impl AsRef<OsStr>, service: &Value, endpoint: &str) -> Output {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    for (name, value) in service["environment"].as_object().expect("a map") {
        let value = match name.as_str() {
            "AWS_ENDPOINT_URL" => endpoint,
            "AWS_ACCESS_KEY_ID" => "testkey",
            "AWS_SECRET_ACCESS_KEY" => "testsecret",
            _ => value.as_str().expect("a string"),
        };
        command.env(name, value);
    }
    command.args(words(&service["command"])).output().expect("runs")
}

#[test]
fn the_compose_file_is_valid_and_pins_what_it_pulls() {
    let Some(python) = lent("SPINESTREAM_PYTHON") else {
        return;
    };
    let file = compose_file(&python);
    let services = file["services"].as_object().expect("a map");
    let dockerfile = std::fs::read_to_string("Dockerfile").expect("Dockerfile");
    for (name, service) in services {
        let image = service["image"].as_str().expect("an image");
        let (_, tag) = image.rsplit_once(':').expect("a tag");
        assert_ne!(tag, "latest", "{name}");
        if let Some(target) = service["build"]["target"].as_str() {
            let stage = format!(" AS {target}\n");
            assert!(dockerfile.contains(&stage), "{name}: no stage {target}");
        }
        // what compose-spec does not look at: names of services and volumes
        let needed = service["depends_on"].as_object();
        for needed in needed.into_iter().flat_map(|needed| needed.keys()) {
            assert!(services.contains_key(needed), "{name}: no service {needed}");
        }
        for mount in service.get("volumes").map(words).unwrap_or_default() {
            let (volume, _) = mount.split_once(':').expect("a place in the container");
            let known = volume.starts_with("./") || file["volumes"].get(volume).is_some();
            assert!(known, "{name}: no volume {volume}");
        }
        let profiles = service.get("profiles").map(words).unwrap_or_default();
        let expected: &[&str] = match name.as_str() {
            "pipeline-gpu" => &["gpu"],
            "nats" | "enqueue" | "worker" => &["fleet"],
            _ => &[],
        };
        assert_eq!(profiles, expected, "{name}");
    }
}

#[test]
fn the_services_commands_do_their_work_outside_docker() {
    let (Some(python), Some(endpoint)) = (lent("SPINESTREAM_PYTHON"), lent("SPINESTREAM_S3_ENDPOINT")) else {
        return;
    };
    let services = &compose_file(&python)["services"];
    assert_healthy(&services["store"], &endpoint);

    let spinestream = env!("CARGO_BIN_EXE_spinestream");
    for name in ["seed", "pipeline"] {
        let ran = run(spinestream, &services[name], &endpoint);
        assert_eq!(ran.status.code(), Some(0), "{name}: {}", text(&ran.stderr));
    }
    // where there is no GPU, that is all that the command lacks
    let ran = run(spinestream, &services["pipeline-gpu"], &endpoint);
    let said = text(&ran.stderr);
    assert!(
        ran.status.success() || said.contains("expected one of 0 GPUs"),
        "{said}"
    );

    let asked = run(&python, &services["analyst"], &endpoint);
    assert!(asked.status.success(), "{}", text(&asked.stderr));
    let answer = text(&asked.stdout);
    let rows: Vec<Vec<&str>> = answer
        .lines()
        .map(|line| line.split('│').map(str::trim).collect())
        .collect();
    for level in ["L1", "L2", "L3", "L4", "L5"] {
        let row = rows.iter().find(|cells| cells.get(2) == Some(&level));
        let Some([_, _, _, vertebrae, measured, before, after, ..]) = row.map(Vec::as_slice) else {
            panic!("no means of {level}:\n{answer}");
        };
        assert_eq!((*vertebrae, *measured), ("2", "2"), "one a phantom:\n{answer}");
        let [before, after] = [before, after].map(|mean| mean.parse::<f64>().expect("a number"));
        assert!(before < after, "{level} did not gain:\n{answer}");
    }
    assert!(answer.contains("0 rows"), "nothing failed:\n{answer}");
}

/// Asks the lent store what the health check asks its own.
fn assert_healthy(store: &Value, endpoint: &str) {
    let test = words(&store["healthcheck"]["test"]);
    let (_, path) = test
        .last()
        .and_then(|url| url.rsplit_once('/'))
        .expect("ends with a URL");
    let authority = endpoint.strip_prefix("http://").expect("plain HTTP");
    let mut stream = TcpStream::connect(authority).expect("the lent store listens");
    write!(stream, "GET /{path} HTTP/1.0\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
}

#[test]
fn the_store_is_started_with_options_that_it_knows() {
    let (Some(python), Some(weed)) = (lent("SPINESTREAM_PYTHON"), lent("SPINESTREAM_WEED")) else {
        return;
    };
    let services = &compose_file(&python)["services"];
    // it reads its options in order and stops at the first one that it does not know, else at this one
    let asked = Command::new(weed)
        .args(words(&services["store"]["command"]))
        .arg("-h")
        .output()
        .expect("runs");
    let said = text(&asked.stderr);
    assert!(said.starts_with("Example: weed mini "), "{said}");
}

#[test]
fn the_queue_is_started_with_options_that_it_knows() {
    let (Some(python), Some(nats)) = (lent("SPINESTREAM_PYTHON"), lent("SPINESTREAM_NATS")) else {
        return;
    };
    let services = &compose_file(&python)["services"];
    let asked = Command::new(nats)
        .args(words(&services["nats"]["command"]))
        .arg("--help")
        .output()
        .expect("runs");
    let said = text(&asked.stdout) + &text(&asked.stderr);
    assert!(
        said.contains("Usage: nats-server") && !said.contains("not defined"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_commands_do_their_work_outside_docker() {
    let (Some(python), Some(endpoint)) = (lent("SPINESTREAM_PYTHON"), lent("SPINESTREAM_S3_ENDPOINT")) else {
        return;
    };
    let Some(nats) = Nats::start().await else { return };
    let services = &compose_file(&python)["services"];
    let spinestream = env!("CARGO_BIN_EXE_spinestream");
    for name in ["seed", "enqueue", "worker"] {
        let mut service = services[name].clone();
        for word in service["command"].as_array_mut().expect("a list") {
            if *word == "queue.url=nats://nats:4222" {
                *word = format!("queue.url={}", nats.url()).into();
            }
        }
        let ran = run(spinestream, &service, &endpoint);
        assert_eq!(ran.status.code(), Some(0), "{name}: {}", text(&ran.stderr));
        if name == "enqueue" {
            assert!(
                text(&ran.stdout).contains("2 cases in the manifest"),
                "{}",
                text(&ran.stdout)
            );
        }
    }
}

#[test]
fn the_image_holds_libtorch_where_the_binary_looks_for_it() {
    let read = |file: &str| std::fs::read_to_string(file).expect("a file of ours");
    assert!(read(".cargo/config.toml").contains("-rpath,$ORIGIN/../../.libtorch/lib:"));
    let dockerfile = read("Dockerfile");
    let mut entrypoints = dockerfile
        .lines()
        .rev()
        .filter_map(|line| line.strip_prefix("ENTRYPOINT "));
    let last = entrypoints.next().expect("an entry point");
    let [binary]: [String; 1] = serde_json::from_str(last).expect("the binary alone");
    let root = Path::new(&binary).ancestors().nth(3).expect("three folders up");
    for place in [Path::new(&binary), &root.join(".libtorch")] {
        let copied = format!("COPY --from=build {0} {0}", place.display());
        assert!(dockerfile.lines().any(|line| line == copied), "no line {copied}");
    }
}
