//! What schedulers are told, held without them: the files are valid and claim nothing that the program does not do, and
//! the scripts run here as they shall run there.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use spinestream::conf::Conf;

use crate::support::disk::OnDisk;

/// Holds manifests against the schemas of Kubernetes, strictly, and prints them as JSON.
const READER: &str = r#"
import json, sys
import kubernetes_validate, yaml
read = []
for name in sys.argv[1:]:
    with open(f"deploy/kubernetes/{name}.yaml", encoding="utf-8") as file:
        read.append(list(yaml.safe_load_all(file)))
for document in [document for documents in read for document in documents]:
    try:
        kubernetes_validate.validate(document, "1.33", strict=True)
    except kubernetes_validate.ValidationError as error:
        sys.exit(f"{document['kind']}: {error.message}")
print(json.dumps(read))
"#;

/// Longest time that a run takes after `run.stop_s` to publish and to put its last record, in s.
const AFTER_STOP_S: u64 = 40;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the documents of these files, all of them valid; `None` says that the test is skipped.
fn manifests<const COUNT: usize>(names: [&str; COUNT]) -> Option<[Vec<Value>; COUNT]> {
    let Ok(python) = std::env::var("SPINESTREAM_PYTHON") else {
        eprintln!("skipped: SPINESTREAM_PYTHON is not set");
        return None;
    };
    let read = Command::new(python).args(["-c", READER]).args(names).output();
    let read = read.expect("runs");
    assert!(read.status.success(), "{}", text(&read.stderr));
    let documents: Vec<Vec<Value>> = serde_json::from_slice(&read.stdout).expect("json");
    Some(documents.try_into().expect("as many as were asked for"))
}

fn words(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|word| word.as_str().expect("a string")).collect()
}

/// Returns the one container of a pod.
fn container(pod: &Value) -> &Value {
    let [container] = pod["containers"].as_array().expect("a list").as_slice() else {
        panic!("expected one container: {pod}");
    };
    container
}

/// What every pod of ours must be: confined, limited, able to write nowhere but where a volume is.
fn assert_confined(name: &str, pod: &Value) {
    let container = container(pod);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
    // the user that the Dockerfile makes
    assert_eq!(pod["securityContext"]["runAsUser"], 10001, "{name}");
    assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
    assert_eq!(
        container["securityContext"]["readOnlyRootFilesystem"], true,
        "{name}"
    );
    assert_eq!(
        container["securityContext"]["capabilities"]["drop"][0], "ALL",
        "{name}"
    );
    assert_eq!(container["resources"]["limits"]["nvidia.com/gpu"], 1, "{name}");
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let limit = &container["resources"]["limits"][resource];
        assert!(limit.is_string(), "{name}: no limit of {resource}");
    }
    let image = container["image"].as_str().expect("an image");
    let (_, tag) = image.rsplit_once(':').expect("a tag");
    assert!(tag.starts_with(env!("CARGO_PKG_VERSION")), "{name}: {tag}");
    let mounts = container["volumeMounts"].as_array().expect("a list");
    let volumes = pod["volumes"].as_array().expect("a list");
    assert!(mounts.iter().any(|mount| mount["mountPath"] == "/tmp"), "{name}");
    for mount in mounts {
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]);
        let volume = volume.expect("a volume of the mount's name");
        let is_bounded = volume["emptyDir"]["sizeLimit"].is_string();
        assert!(is_bounded || mount["readOnly"] == true, "{name}: {mount}");
    }
}

/// Returns the configuration that a pod reads from the map beside it, which must hold known keys alone.
fn conf_of(map: &Value, pod: &Value) -> Conf {
    let arguments = words(&container(pod)["args"]);
    let at = arguments
        .iter()
        .position(|word| *word == "--conf")
        .expect("--conf");
    let file = Path::new(arguments[at + 1]);
    assert_eq!(file.parent(), Some(Path::new("/etc/spinestream")));
    let file = file.file_name().and_then(|name| name.to_str()).expect("a name");
    let volumes = pod["volumes"].as_array().expect("a list");
    let is_mounted = |volume: &Value| volume["configMap"]["name"] == map["metadata"]["name"];
    assert!(volumes.iter().any(is_mounted));
    let written = map["data"][file].as_str().expect("the file");
    Conf::read(Some(written), std::iter::empty(), &[]).expect("known keys")
}

fn assert_stops_in_time(pod: &Value, conf: &Conf) {
    let grace_s = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
    assert!(grace_s >= conf.run.stop_s + AFTER_STOP_S, "{grace_s} s");
}

#[test]
fn the_indexed_job_is_valid_and_its_count_is_the_one_that_the_pods_are_told() {
    let Some([documents]) = manifests(["job"]) else {
        return;
    };
    let [map, job] = documents.as_slice() else {
        panic!("expected a configuration and a job");
    };
    let spec = &job["spec"];
    let pod = &spec["template"]["spec"];
    assert_confined("job", pod);
    assert_eq!(spec["completionMode"], "Indexed");
    let told = container(pod)["env"].as_array().expect("a list");
    let told = told.iter().find(|variable| variable["name"] == "JOB_COMPLETIONS");
    let told = told.expect("JOB_COMPLETIONS")["value"]
        .as_str()
        .expect("a string");
    assert_eq!(told.parse::<u64>().ok(), spec["completions"].as_u64());
    assert!(spec["parallelism"].as_u64() <= spec["completions"].as_u64());
    // both may only be set together with these
    assert!(
        spec["backoffLimitPerIndex"]
            .as_u64()
            .is_some_and(|limit| limit > 0)
    );
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(spec["podReplacementPolicy"], "Failed");

    let conf = conf_of(map, pod);
    assert_stops_in_time(pod, &conf);
    assert_eq!(conf.pool.devices, ["cuda:0"], "the one that the pod has");
    assert_eq!(
        conf.run.shard,
        spinestream::shard::Sharding::Auto,
        "as the variables say"
    );

    let rules = spec["podFailurePolicy"]["rules"].as_array().expect("a list");
    assert_eq!(
        rules[0]["action"], "Ignore",
        "a pod that was moved is asked first"
    );
    assert_eq!(rules[0]["onPodConditions"][0]["type"], "DisruptionTarget");
    let action = |code: u64| {
        let of_code = |rule: &&Value| {
            let codes = rule["onExitCodes"]["values"].as_array();
            codes.is_some_and(|codes| codes.contains(&code.into()))
        };
        let rule = rules.iter().find(of_code).expect("a rule for the code");
        assert_eq!(rule["onExitCodes"]["containerName"], container(pod)["name"]);
        rule["action"].as_str().expect("a string").to_owned()
    };
    assert_eq!(action(spinestream::Exit::Usage as u64), "FailJob");
    assert_eq!(
        action(spinestream::Exit::Broken as u64),
        "Count",
        "and tried again"
    );
    assert_eq!(action(75), "Count");
}

#[test]
fn the_image_holds_what_the_pods_call() {
    let dockerfile = std::fs::read_to_string("Dockerfile").expect("Dockerfile");
    assert!(dockerfile.contains("COPY --chmod=755 deploy/through.sh deploy/\n"));
    let Some([documents]) = manifests(["job"]) else {
        return;
    };
    let pod = &documents[1]["spec"]["template"]["spec"];
    let command = words(&container(pod)["command"]);
    assert_eq!(command[0], "/app/deploy/through.sh", "WORKDIR is /app");
    let entry = format!("ENTRYPOINT [\"{}\"]", command[1]);
    assert!(dockerfile.lines().any(|line| line == entry), "no line {entry}");
}

#[cfg(feature = "torch")]
#[test]
fn the_night_is_valid_and_never_two_at_once() {
    let Some([documents]) = manifests(["nightly"]) else {
        return;
    };
    let [night] = documents.as_slice() else {
        panic!("expected a CronJob alone");
    };
    assert_eq!(night["spec"]["concurrencyPolicy"], "Forbid");
    let spec = &night["spec"]["jobTemplate"]["spec"];
    let pod = &spec["template"]["spec"];
    assert_confined("nightly", pod);
    // a day is not over before all tries are
    assert!(spec["activeDeadlineSeconds"].as_u64().expect("a number") < 24 * 3600);
    let codes = &spec["podFailurePolicy"]["rules"][1];
    assert_eq!(codes["onExitCodes"]["values"], serde_json::json!([2, 4]));
    assert_eq!(codes["onExitCodes"]["containerName"], container(pod)["name"]);

    let arguments = words(&container(pod)["args"]);
    assert_eq!(arguments[0], "nightly");
    let settings = arguments.iter().filter_map(|word| word.strip_prefix("--set="));
    let settings: Vec<String> = settings.map(str::to_owned).collect();
    let files: Vec<_> = arguments
        .iter()
        .filter_map(|word| word.strip_prefix("--conf="))
        .collect();
    assert_eq!(files, ["conf/nightly.toml"], "which the image has");
    let file = std::fs::read_to_string(files[0]).expect("the file");
    let conf = Conf::read(Some(&file), std::iter::empty(), &settings).expect("known keys");
    assert_eq!(
        (conf.nightly.device.as_str(), conf.train.recipe.device.as_str()),
        ("cuda:0", "cuda:0")
    );
}

#[test]
fn the_workers_are_valid_and_have_their_grace() {
    let Some([documents]) = manifests(["worker"]) else {
        return;
    };
    let [map, workers] = documents.as_slice() else {
        panic!("expected a configuration and a deployment");
    };
    let pod = &workers["spec"]["template"]["spec"];
    assert_confined("worker", pod);
    assert_stops_in_time(pod, &conf_of(map, pod));
}

#[test]
fn the_batch_definition_sets_keys_that_there_are_and_retries_what_a_retry_helps() {
    let definition = std::fs::read_to_string("deploy/aws-batch/job.json").expect("the file");
    let definition: Value = serde_json::from_str(&definition).expect("json");
    let container = &definition["containerProperties"];
    assert_eq!(words(&container["command"])[0], "run");
    let variables = container["environment"].as_array().expect("a list");
    let variables = variables.iter().map(|variable| {
        let [name, value] = ["name", "value"].map(|key| variable[key].as_str().expect("a string").to_owned());
        // Batch keeps the prefix for itself: the array's numbers come from it
        assert!(!name.starts_with("AWS_BATCH"), "{name}");
        (name, value)
    });
    let conf = Conf::read(None, variables, &[]).expect("known keys");
    assert!(conf.run.stop_s < 30, "a container has 30 s");
    assert_eq!(conf.pool.devices, ["cuda:0"]);
    let rules = definition["retryStrategy"]["evaluateOnExit"]
        .as_array()
        .expect("a list");
    // in their order the first that fits counts, and there may be five
    let told = |rule: &Value| {
        let [code, action] = ["onExitCode", "action"].map(|key| rule[key].as_str().unwrap_or("*"));
        format!("{code} {action}")
    };
    let told: Vec<String> = rules.iter().map(told).collect();
    assert_eq!(told, ["* RETRY", "1 EXIT", "2 EXIT", "* RETRY"]);
    assert_eq!(rules[0]["onStatusReason"], "Host EC2*");
}

/// Runs `through.sh` on a shell command.
fn through(command: &str) -> Child {
    Command::new("deploy/through.sh")
        .args(["sh", "-c", command])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// Sends a signal to a script, once it has said that it listens.
fn signal(child: &Child, name: &str, is_ready: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_ready() {
        assert!(
            Instant::now() < until,
            "expected it to be ready within half a minute"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -s {name} {}", child.id())])
        .status();
    assert!(sent.expect("runs").success());
}

#[test]
fn failed_cases_are_no_failed_container_and_a_stopped_one_is_not_through() {
    for (code, expected) in [(0, 0), (1, 0), (2, 2), (3, 3)] {
        let ended = through(&format!("exit {code}")).wait().expect("ends");
        assert_eq!(ended.code(), Some(expected), "{code}");
    }
    let folder = tempfile::tempdir().expect("folder");
    for (code, expected) in [(0, 0), (1, 75), (3, 3)] {
        let ready = folder.path().join(format!("ready{code}"));
        let command = format!(
            "trap 'exit {code}' TERM; touch {}; while :; do sleep 0.05; done",
            ready.display()
        );
        let mut running = through(&command);
        signal(&running, "TERM", || ready.exists());
        let ended = running.wait().expect("ends");
        assert_eq!(ended.code(), Some(expected), "stopped, {code}");
    }
}

/// The array script, with what Slurm would set and a `scontrol` that only notes what it is told.
struct Task {
    folder: tempfile::TempDir,
}

impl Task {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let task = Self { folder };
        task.script(
            "scontrol",
            &format!("echo \"$@\" > {}", task.path("told").display()),
        );
        task
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, lines: &str) -> PathBuf {
        let path = self.path(name);
        // by another process: a file that is open for writing in one of ours, forked meanwhile, could not be run
        let written = Command::new("sh")
            .args([
                "-c",
                r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#,
                "sh",
            ])
            .args([path.as_os_str(), lines.as_ref()])
            .status();
        assert!(written.expect("runs").success());
        path
    }

    /// Returns what runs the task of that number out of an array 0-2.
    fn command(&self, program: &Path, number: usize) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command.arg("deploy/slurm/run.sbatch");
        command.env("SPINESTREAM", program);
        command.env("PATH", format!("{}:{path}", self.folder.path().display()));
        command.env("SLURM_ARRAY_JOB_ID", "7");
        command.env("SLURM_ARRAY_TASK_ID", number.to_string());
        for (name, value) in [("MIN", "0"), ("MAX", "2"), ("STEP", "1"), ("COUNT", "3")] {
            command.env(format!("SLURM_ARRAY_TASK_{name}"), value);
        }
        command.env_remove("SLURM_RESTART_COUNT");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a program that is signalled once it runs, and returns how the task ends and what `scontrol` was told.
    fn signalled(&self, name: &str, code: i32, restarts: &str) -> (Option<i32>, Option<String>) {
        let (ready, told) = (self.path("ready"), self.path("told"));
        for left in [&ready, &told] {
            let _ = std::fs::remove_file(left);
        }
        let lines = format!(
            "trap 'exit {code}' TERM\ntouch {}\nwhile :; do sleep 0.05; done",
            ready.display()
        );
        let program = self.script("stands-for-spinestream", &lines);
        let mut command = self.command(&program, 1);
        command.env("SLURM_RESTART_COUNT", restarts);
        let mut running = command.spawn().expect("starts");
        signal(&running, name, || ready.exists());
        let ended = running.wait().expect("ends");
        let told = std::fs::read_to_string(told).ok();
        (ended.code(), told.map(|told| told.trim().to_owned()))
    }
}

#[test]
fn the_array_script_tells_a_stopped_task_from_one_with_failed_cases() {
    let task = Task::new();
    for (code, expected) in [(0, 0), (1, 0), (2, 2), (3, 3)] {
        let program = task.script("ends", &format!("exit {code}"));
        let ended = task.command(&program, 0).output().expect("runs");
        assert_eq!(
            ended.status.code(),
            Some(expected),
            "{code}: {}",
            text(&ended.stderr)
        );
        assert!(!task.path("told").exists(), "nothing comes back by itself");
    }
    let again = Some("requeue 7_1".to_owned());
    assert_eq!(
        task.signalled("USR1", 1, "0"),
        (Some(1), again),
        "the time was up"
    );
    assert_eq!(task.signalled("USR1", 1, "20"), (Some(1), None), "often enough");
    assert_eq!(task.signalled("USR1", 0, "0"), (Some(0), None), "it was through");
    assert_eq!(task.signalled("TERM", 1, "0"), (Some(1), None), "called off");
}

#[test]
fn an_array_of_three_tasks_does_a_cohort() {
    let (task, cohort) = (Task::new(), OnDisk::new(9));
    let program = Path::new(env!("CARGO_BIN_EXE_spinestream"));
    // what stands behind `spinestream run` there stands behind the script's name here
    let run = cohort.command("run", "out", &["model.chain=[\"identity\"]"]);
    let arguments: Vec<_> = run.get_args().skip(1).collect();
    let started: Vec<Child> = (0..3)
        .map(|number| {
            let mut command = task.command(program, number);
            command.args(&arguments).spawn().expect("starts")
        })
        .collect();
    for (number, running) in started.into_iter().enumerate() {
        let Output { status, stderr, .. } = running.wait_with_output().expect("ends");
        let said = text(&stderr);
        assert_eq!(status.code(), Some(0), "{said}");
        let line = format!("shard {number}/3 of the cases, by SLURM_ARRAY_TASK_ID");
        assert!(said.contains(&line), "{said}");
    }
    let verified = cohort.command("verify", "out", &[]).output().expect("runs");
    let said = text(&verified.stdout);
    assert_eq!(verified.status.code(), Some(0), "{said}");
    assert!(said.contains("9 cases in the manifest, 9 with a row"), "{said}");
}
