//! A night's training, by its plan.

use models::train::TrainingMask;
use schemas::Fault;
use schemas::rows::LineageRow;
use serde_json::{Value, json};
use stages::nightly::NightError;
use stages::nightly::plan::{Night, Plan, TRAINING};
use stages::nightly::report::{PhaseLine, Training};
use stages::registry::{Registry, WEIGHTS};
use stages::store::Place;
use stages::train::{Cubes, Finished, METRICS, Others, Progress, Split, TrainConf, cubes_at, finished};

use super::Stop;
use crate::RunEnd;
use crate::conf::Conf;
use crate::run::{SMALL_OBJECT, say};
use crate::verbs::train::Display;

/// Trains by the plan below `output`, or returns what an earlier start has trained there; `None` once `stop` is there.
pub async fn train(
    conf: &Conf,
    registry: &Registry,
    output: &Place,
    plan: &Plan,
    lineage: &[LineageRow],
    stop: Stop,
) -> Result<Option<Finished>, RunEnd> {
    if let Some(trained) = finished(output).await.map_err(NightError::from)? {
        return Ok(Some(trained));
    }
    let masks = masks(registry, plan, lineage, conf.run.memory.as_u64()).await?;
    say(&format!(
        "night {}: training {} on {} new masks and {} known ones of {} persons",
        plan.facts.night, plan.version, plan.new, plan.replayed, plan.persons
    ));
    let split = Split {
        cases: masks.len(),
        cached: masks.len(),
        train: masks,
        ..Split::default()
    };
    let train = TrainConf {
        recipe: plan.recipe.clone(),
        ..TrainConf::default()
    };
    let configuration = json!({ "night": plan.facts.night, "train": train, "crop": plan.crop });
    let start = match &plan.champion {
        Some(champion) if plan.starts_from_champion => {
            let record = registry
                .version(&champion.version)
                .await
                .map_err(NightError::from)?;
            Some(registry.read(&record, WEIGHTS).await.map_err(NightError::from)?)
        }
        _ => None,
    };
    let others = Others {
        start,
        ..Others::default()
    };
    let mut display = Display::new();
    let tell = move |progress: Progress| display.show(&progress);
    let ended = stages::train::train(split, &train, configuration, output, others, stop, tell).await?;
    if !ended.complete {
        say("stopped while it trained; start again to go on from the checkpoint");
        return Ok(None);
    }
    let trained = finished(output).await.map_err(NightError::from)?;
    match trained {
        Some(trained) => Ok(Some(trained)),
        None => Err(RunEnd::Unusable(
            "registry.url: expected the trained weights, found none".to_owned(),
        )),
    }
}

/// Reads the masks that a plan trains on, in the lineage's order.
async fn masks(
    registry: &Registry,
    plan: &Plan,
    lineage: &[LineageRow],
    limit: u64,
) -> Result<Vec<TrainingMask>, NightError> {
    let mut masks = Vec::with_capacity(plan.new + plan.replayed);
    let mut last: Option<(&str, Cubes)> = None;
    for row in lineage.iter().filter(|row| row.taught) {
        let (Some(level), Some(person), Some(patches)) = (row.level, &row.person, &row.patches) else {
            continue;
        };
        let lost = |fault| NightError::Mask {
            case_id: row.case_id.clone(),
            fault,
        };
        if last.as_ref().is_none_or(|(name, _)| *name != patches.as_str()) {
            let cubes = cubes_at(&registry.place(patches), &plan.crop, limit).await;
            last = Some((patches.as_str(), cubes.map_err(lost)?));
        }
        let cubes = last
            .as_ref()
            .map(|(_, cubes)| cubes.as_slice())
            .unwrap_or_default();
        let Some((_, mask)) = cubes.iter().find(|(of, _)| *of == level) else {
            let message = format!("expected a cube of {level}, found none");
            return Err(lost(Fault::missing("no_cube", message)));
        };
        masks.push(TrainingMask {
            person: person.clone(),
            level,
            mask: mask.clone(),
        });
    }
    Ok(masks)
}

/// Returns what the training's own record says; `None` where it says nothing that can be read.
pub async fn training(night: &Night, plan: &Plan) -> Result<Option<Training>, NightError> {
    let bytes = night
        .place
        .join(TRAINING)
        .join(METRICS)
        .read(SMALL_OBJECT)
        .await?;
    let Ok(record) = serde_json::from_slice::<Value>(&bytes) else {
        return Ok(None);
    };
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap_or_default();
    let phases: Vec<PhaseLine> = record["phases"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|phase| PhaseLine {
            phase: phase["phase"].as_str().unwrap_or_default().to_owned(),
            steps: phase["steps"].as_u64().unwrap_or_default(),
            seconds: number(phase, "seconds"),
        })
        .collect();
    Ok(Some(Training {
        cpu_seconds: number(&record, "cpu_seconds"),
        seconds: phases.iter().map(|phase| phase.seconds).sum(),
        phases,
        threads: plan.recipe.threads,
    }))
}
