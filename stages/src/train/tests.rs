use std::collections::BTreeMap;
use std::sync::Mutex;

use models::lsd_ebm::schedule::Levels;
use models::networks::{CompactSize, Network};
use models::phantom::vertebra;
use models::train::TrainingMask;
use schemas::{Level, ObjectUrl};
use serde_json::json;
use tokio::sync::Notify;

use super::events::testing::{Scalar, read};
use super::*;
use crate::store::Stores;

/// A training of three steps a phase, in seconds.
fn conf() -> TrainConf {
    let mut recipe = Recipe {
        threads: 1,
        half: false,
        validate_every: 2,
        network: Network::Compact(CompactSize {
            channels: [4, 4, 8, 8],
            latents: 2,
            encoder_blocks: [0, 1, 0, 0],
            decoder_blocks: [1, 0],
            energy_channels: [4, 4],
            window: [64, 64, 48],
            ..CompactSize::default()
        }),
        levels: Levels::Noise(vec![0.0, 0.4, 0.8]),
        ..Recipe::default()
    };
    recipe.walk.steps = 2;
    for fit in [&mut recipe.fit, &mut recipe.energy.fit] {
        fit.steps = 3;
        fit.minutes = 0.0;
        fit.batch = 1;
    }
    recipe.energy.latents = 2;
    TrainConf {
        validation: vec!["q".to_owned()],
        recipe,
        ..TrainConf::default()
    }
}

/// Phases of that training by their own names, in order; `latents` makes no steps that learn.
const PHASES: [&str; 2] = ["fit", "energy"];

fn split() -> Split {
    let mask = |person: &str, level, seed| TrainingMask {
        person: person.to_owned(),
        level,
        mask: vertebra(level, seed),
    };
    Split {
        train: vec![mask("p", Level::L2, 1)],
        validation: vec![mask("q", Level::L4, 2)],
        cases: 2,
        ..Split::default()
    }
}

fn output(stores: &Stores) -> Place {
    stores.place(&ObjectUrl::new("memory:///out")).unwrap()
}

/// Trains until step `last` of all that learn, or to the end; returns how it ended and what was told.
async fn train_until(last: Option<usize>, output: &Place) -> (Ended, Vec<Progress>) {
    let stop = Arc::new(Notify::new());
    let heard = Arc::new(AtomicBool::new(false));
    let (stopper, is_heard) = (Arc::clone(&stop), Arc::clone(&heard));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell_into = Arc::clone(&told);
    let mut steps = 0;
    let tell = move |progress: Progress| {
        if let Progress::Step { phase, .. } = &progress
            && PHASES.contains(&phase.as_str())
        {
            steps += 1;
            if Some(steps) == last {
                stopper.notify_one();
                // the signal reaches the training from another thread
                while !is_heard.load(Ordering::Acquire) {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
        tell_into.lock().unwrap().push(progress);
    };
    let configuration = json!({ "train": { "manifest": "m.csv" } });
    let stopped = async move {
        stop.notified().await;
        heard.store(true, Ordering::Release);
    };
    let ended = train(
        split(),
        &conf(),
        configuration,
        output,
        Others::default(),
        stopped,
        tell,
    )
    .await
    .unwrap();
    let told = told.lock().unwrap().clone();
    (ended, told)
}

async fn metrics(output: &Place) -> Value {
    serde_json::from_slice(&output.join(METRICS).read(1 << 20).await.unwrap()).unwrap()
}

/// Returns the scalars of each start, by the name that its files share.
async fn events(output: &Place) -> BTreeMap<String, Vec<Scalar>> {
    let mut starts = BTreeMap::<String, Vec<Scalar>>::new();
    for object in output.join(EVENTS).list().await.unwrap() {
        let name = object.location.filename().unwrap();
        let bytes = output.join(EVENTS).join(name).read(1 << 20).await.unwrap();
        let (start, _) = name.rsplit_once('.').unwrap();
        starts.entry(start.to_owned()).or_default().extend(read(&bytes));
    }
    starts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_and_resumed_training_is_told_as_one() {
    let stores = Stores::default();
    let output = output(&stores);
    let (stopped, _) = train_until(Some(2), &output).await;
    assert!(!stopped.complete);
    assert_eq!(stopped.at, Some((PHASES[0].to_owned(), 2)));
    assert!(output.join(CHECKPOINT).head().await.is_ok(), "to go on from");
    assert!(finished(&output).await.unwrap().is_none());
    let half = metrics(&output).await;
    assert_eq!((&half["complete"], &half["starts"]), (&json!(false), &json!(1)));
    assert_eq!(half["phases"][0]["steps"], 2);

    let (ended, told) = train_until(None, &output).await;
    assert!(ended.complete);
    let left = finished(&output).await.unwrap().expect("weights");
    let last = left.last.expect("those of the last step");
    assert!(last != left.weights, "without the running mean");
    assert_eq!(ended.at, Some((PHASES[1].to_owned(), 3)));
    let whole = metrics(&output).await;
    assert_eq!((&whole["complete"], &whole["starts"]), (&json!(true), &json!(2)));
    assert_eq!(whole["masks"], json!({ "train": 1, "validation": 1 }));
    assert_eq!(whole["configuration"]["train"]["manifest"], "m.csv");
    for (name, steps) in [(PHASES[0], 3), (PHASES[1], 3)] {
        let phases = whole["phases"].as_array().unwrap();
        let phase = phases.iter().find(|phase| phase["phase"] == name).unwrap();
        assert_eq!(phase["steps"], steps);
        let seconds = ["seconds", "cpu_seconds"].map(|key| phase[key].as_f64().unwrap());
        assert!(seconds.iter().all(|seconds| *seconds > 0.0), "{phase}");
        assert!(!phase["last"].as_object().unwrap().is_empty(), "{phase}");
    }
    assert!(whole["cpu_seconds"].as_f64().unwrap() > half["cpu_seconds"].as_f64().unwrap());
    let mut validations: Vec<_> = whole["validations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|validation| {
            (
                validation["phase"].to_string(),
                validation["step"].as_u64().unwrap(),
            )
        })
        .collect();
    let count = validations.len();
    validations.dedup();
    assert_eq!(validations.len(), count, "none is told twice: {validations:?}");
    let last = &whole["validation"];
    assert_eq!(last["cases"][0]["name"], "q_L4");
    assert_eq!(
        metric(&ended.validation[0].input, "dsc"),
        last["cases"][0]["input"]["dsc"].as_f64()
    );
    let Some(Progress::Validated { cases, .. }) = told
        .iter()
        .rfind(|progress| matches!(progress, Progress::Validated { .. }))
    else {
        panic!("a validation is told")
    };
    assert_eq!(*cases, ended.validation);

    let starts: Vec<_> = events(&output).await.into_values().collect();
    let [first, second] = &starts[..] else {
        panic!("files of two starts, found those of {}", starts.len())
    };
    let steps = |scalars: &[Scalar], phase: &str| -> Vec<u64> {
        let prefix = format!("{phase}/");
        let found = scalars.iter().filter(|scalar| scalar.tag.starts_with(&prefix));
        let mut steps: Vec<_> = found.map(|scalar| scalar.step).collect();
        steps.dedup();
        steps
    };
    assert_eq!(steps(first, PHASES[0]), [1, 2]);
    assert_eq!(steps(second, PHASES[0]), [3]);
    let energy = steps(second, PHASES[1]);
    assert_eq!(
        (energy.first(), energy.last()),
        (Some(&1), Some(&3)),
        "whatever lies between"
    );
    assert!(second.iter().any(|scalar| scalar.tag == "validation/energy/dsc"));
}

#[tokio::test]
async fn a_damaged_record_begins_anew_and_a_damaged_checkpoint_is_refused() {
    let stores = Stores::default();
    let output = output(&stores);
    output.join(METRICS).put("{".into()).await.unwrap();
    assert_eq!(earlier_record(&output).await.unwrap(), Record::default());
    output.join(CHECKPOINT).put("no weights".into()).await.unwrap();
    let ended = train(
        split(),
        &conf(),
        Value::Null,
        &output,
        Others::default(),
        std::future::pending(),
        |_| {},
    )
    .await;
    assert!(
        matches!(ended, Err(TrainError::Model(ModelError::Weights(_)))),
        "{ended:?}"
    );
    assert_eq!(metrics(&output).await["starts"], 1, "it is told all the same");
}

/// Returns why nothing can start from these weights.
async fn refused(others: Others) -> TrainError {
    let stores = Stores::default();
    let ended = train(
        split(),
        &conf(),
        Value::Null,
        &output(&stores),
        others,
        std::future::pending(),
        |_| {},
    )
    .await;
    ended.expect_err("no step is made")
}

#[tokio::test]
async fn what_nothing_can_start_from_is_refused() {
    let no_weights = Some(Bytes::from_static(b"no weights"));
    let start = Others {
        start: no_weights.clone(),
        ..Others::default()
    };
    let error = refused(start.clone()).await;
    assert!(
        matches!(error, TrainError::Model(ModelError::Weights(_))),
        "{error}"
    );
    let error = refused(Others {
        base: no_weights,
        ..start
    })
    .await;
    assert!(matches!(error, TrainError::Model(ModelError::Conf(_))), "{error}");
}
