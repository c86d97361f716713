//! What a night sets out to do: looks for what is new, and freezes a plan of what is trained and judged.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use models::description::LatentStatistics;
use models::seed::derive;
use models::train::Recipe;
use models::{LoadedWeights, ModelConf, ModelError};
use schemas::rows::{LineageRow, Split, Verdict};
use serde_json::json;
use stages::blocking;
use stages::nightly::conf::Start;
use stages::nightly::find::{Finder, Looked};
use stages::nightly::held_out::HeldOut;
use stages::nightly::lineage;
use stages::nightly::plan::{Champion, FOLDER, Facts, Night, Nights, PLAN, Plan};
use stages::nightly::report;
use stages::nightly::select::{Selected, fingerprint, select};
use stages::nightly::{NightError, NightlyConf};
use stages::registry::{Alias, Registry, VersionName, VersionRecord, WEIGHTS, now};
use stages::store::Stores;
use stages::train::{Gather, TrainError};

use super::{MANIFEST, Stop, end, told};
use crate::conf::Conf;
use crate::run::{SMALL_OBJECT, list, say};
use crate::{Exit, RunEnd};

/// Why the masks of a person who has withdrawn may not teach, in the lineage.
const WITHDRAWN: &str = "withdrawn";

/// How a night sets out.
pub enum SetOut {
    /// Nothing is new: there is no night.
    Nothing,
    /// It ended before there was anything to train.
    Ended(Exit),
    /// It has a plan.
    To(Night, Box<Plan>),
}

/// Looks what is new, and decides what is trained and judged.
pub async fn set_out(
    conf: &Conf,
    stores: &Arc<Stores>,
    registry: &Registry,
    nights: &Nights,
    stop: Stop,
) -> Result<SetOut, RunEnd> {
    let asked = &conf.nightly;
    let (night, began) = (Night::of(registry, nights.next), now());
    check(conf, stores, registry).await?;
    let cases = list("nightly.manifest", &asked.manifest, conf, stores).await?;
    let finder = Finder {
        stores,
        registry,
        crop: &conf.crop,
        max_bytes: conf.run.memory.as_u64(),
        conf: asked,
    };
    let champion = champion(registry).await?;
    let earlier = earlier(registry, nights, champion.as_ref()).await?;
    let looked = tokio::select! {
        looked = finder.look(cases, earlier, night.number) => looked?,
        () = stop => return Err(RunEnd::Stopped),
    };
    let found = &looked.found;
    say(&format!(
        "{} cases: {} as before, {} new, {} changed; of these {} masks may teach, {} may not, {} cases failed",
        found.cases,
        found.unchanged,
        found.new,
        found.changed,
        found.masks_accepted,
        found.masks_rejected,
        found.failed
    ));
    if looked.is_nothing() {
        say("nothing new since the last night: nothing to do");
        return Ok(SetOut::Nothing);
    }
    let Looked {
        mut lineage,
        found,
        rejects,
        drift,
    } = looked;
    let facts = Facts {
        night: night.number,
        method: registry.method().to_owned(),
        began,
        found,
        rejects,
        drift,
    };
    withdraw(&mut lineage, &asked.withdrawn);
    let set = held_out(registry, &lineage, asked).await?;
    if let Ok(set) = &set {
        keep_apart(&mut lineage, &set.persons());
    }
    let selected = select(&lineage, asked, night.number);
    let nothing = match &set {
        _ if facts.found.masks_accepted == 0 => Some("none of the new masks may teach".to_owned()),
        Err(persons) => Some(format!(
            "expected {} held-out persons to judge on (nightly.least_held_out), found {persons} so far; the new masks \
             are kept for the nights to come",
            asked.least_held_out
        )),
        Ok(_) => None,
    };
    if let Some(why) = nothing {
        let lineage = keep(&night, lineage).await?;
        let told = told(&facts, report::Verdict::NothingToJudge, vec![why]);
        end(&night, &told, Some(lineage), None).await?;
        return Ok(SetOut::Ended(Exit::NothingJudged));
    }
    if selected.new.len() < asked.least_new {
        let why = format!(
            "expected {} new masks to train on (nightly.least_new), found {}; they are kept for the nights to come",
            asked.least_new,
            selected.new.len()
        );
        let lineage = keep(&night, lineage).await?;
        end(
            &night,
            &told(&facts, report::Verdict::Kept, vec![why]),
            Some(lineage),
            None,
        )
        .await?;
        return Ok(SetOut::Ended(Exit::Done));
    }
    let Ok(set) = set else {
        return Err(RunEnd::Unusable(
            "registry.url: expected a held-out set, found none".to_owned(),
        ));
    };
    let mut plan = plan(conf, registry, champion, facts, &lineage, &selected, set).await?;
    for index in selected.all() {
        lineage[index].taught = true;
    }
    plan.lineage = keep(&night, lineage).await?;
    // the commit: from here on the night goes on by it, whatever the configuration says
    if !night.create(PLAN, &plan).await? {
        let message = format!(
            "registry.url: expected night {} to be ours, found the plan of another one; start again",
            night.number
        );
        return Err(RunEnd::Unusable(message));
    }
    // read back, as a later start would read it: numbers may end otherwise once they were written
    let plan = night.read(PLAN).await?;
    Ok(SetOut::To(night, Box::new(plan)))
}

/// Refuses what no night could be finished by: a plan that says the same would be frozen all the same.
async fn check(conf: &Conf, stores: &Arc<Stores>, registry: &Registry) -> Result<(), RunEnd> {
    let recipe = conf.train.recipe.clone();
    recipe.check().map_err(TrainError::from)?;
    if recipe.restored > 0.0 {
        return Err(RunEnd::Conf(format!(
            "train.recipe.restored: expected 0, as a night has no ReconNet that restores masks first, found {}",
            recipe.restored
        )));
    }
    // refuses cubes that no network is built for
    Gather::new(
        stores,
        &conf.crop,
        conf.run.memory.as_u64(),
        &registry.place("patches"),
    )?;
    let (model, device) = (judged_as(conf, registry), conf.nightly.device.clone());
    let opened = blocking(move || opens(&recipe, &model, &device)).await;
    opened.map_err(|error| RunEnd::Conf(format!("nightly, how models are judged: {error}")))
}

/// Opens fresh weights of a recipe as those to come are opened when they are judged.
fn opens(recipe: &Recipe, model: &ModelConf, device: &str) -> Result<(), ModelError> {
    let latent = if recipe.standardises() {
        LatentStatistics::neutral(recipe.network.latents())
    } else {
        LatentStatistics::default()
    };
    let description = recipe.description(latent);
    let fresh = models::train::fresh(&description, recipe.seed)?;
    let bytes = models::weights::write(&fresh, description.to_metadata()?)?;
    let mut loaded = LoadedWeights::new();
    loaded.add(recipe.method.as_str(), &bytes)?;
    models::open(model, &loaded, device).map(drop)
}

/// Returns how models reconstruct while they are judged.
fn judged_as(conf: &Conf, registry: &Registry) -> ModelConf {
    ModelConf {
        chain: vec![registry.method().to_owned()],
        weights: ModelConf::default().weights,
        ..conf.model.clone()
    }
}

/// Returns the champion and the number of its alias.
async fn champion(registry: &Registry) -> Result<Option<(u32, VersionRecord)>, NightError> {
    let Some(entry) = registry.alias(Alias::Champion).await? else {
        return Ok(None);
    };
    let record = registry.version(&entry.version).await?;
    Ok(Some((entry.number, record)))
}

/// Returns the lineage of the last night that ended, with what the champion has learnt noted: its own manifest says, so
/// that a champion that was rolled back to, or promoted by hand, is taken at what it knows.
async fn earlier(
    registry: &Registry,
    nights: &Nights,
    champion: Option<&(u32, VersionRecord)>,
) -> Result<Vec<LineageRow>, NightError> {
    let last = nights.last.as_ref().and_then(|end| end.lineage.as_ref());
    let Some(name) = last else {
        return Ok(Vec::new());
    };
    let mut rows = lineage_of(registry, name).await?;
    let manifest = match champion {
        Some((_, record)) if record.file(MANIFEST).is_some() => {
            let bytes = registry.read(record, MANIFEST).await?;
            blocking(move || lineage::read(bytes)).await?
        }
        // from elsewhere: nobody knows what it was taught
        _ => Vec::new(),
    };
    let learnt: HashSet<_> = manifest
        .into_iter()
        .filter(|row| row.taught || row.learnt)
        .map(|row| (row.patches, row.level))
        .collect();
    for row in &mut rows {
        row.learnt = learnt.contains(&(row.patches.clone(), row.level));
        row.taught = false;
    }
    Ok(rows)
}

/// Reads a lineage by the name of its file below the nights' folder.
pub async fn lineage_of(registry: &Registry, name: &str) -> Result<Vec<LineageRow>, NightError> {
    let bytes = registry.place(FOLDER).join(name).read(SMALL_OBJECT).await?;
    Ok(blocking(move || lineage::read(bytes)).await?)
}

/// Puts a lineage, and returns the name of its file.
async fn keep(night: &Night, rows: Vec<LineageRow>) -> Result<String, NightError> {
    let bytes = blocking(move || lineage::write(&rows)).await?;
    night.put_lineage(bytes).await
}

/// Takes back the masks of persons who are not to be learnt from any more.
fn withdraw(rows: &mut [LineageRow], persons: &[String]) {
    for row in rows {
        if row.person.as_ref().is_some_and(|person| persons.contains(person)) {
            row.verdict = Verdict::Rejected;
            row.reasons = vec![WITHDRAWN.to_owned()];
        }
    }
}

/// Holds those out whom models are judged on, whatever else the lineage says: the night that froze the set may have died
/// before it wrote its own, and another configuration may have been given since.
fn keep_apart(rows: &mut [LineageRow], judges: &BTreeSet<&str>) {
    for row in rows {
        if row
            .person
            .as_deref()
            .is_some_and(|person| judges.contains(person))
        {
            row.split = Some(Split::HeldOut);
        }
    }
}

/// Returns the frozen set, or freezes the first one once enough persons are held out; else how many there are. A set with
/// a person who has withdrawn is followed by another.
async fn held_out(
    registry: &Registry,
    lineage: &[LineageRow],
    conf: &NightlyConf,
) -> Result<Result<HeldOut, usize>, NightError> {
    let current = HeldOut::current(registry).await?;
    let number = current.as_ref().map_or(1, |set| set.number + 1);
    if let Some(set) = current {
        let is_whole = !conf
            .withdrawn
            .iter()
            .any(|person| set.persons().contains(person.as_str()));
        if is_whole {
            return Ok(Ok(set));
        }
    }
    match HeldOut::choose(number, lineage, conf) {
        Ok(set) => Ok(Ok(set.freeze(registry).await?)),
        Err(persons) => Ok(Err(persons)),
    }
}

async fn plan(
    conf: &Conf,
    registry: &Registry,
    champion: Option<(u32, VersionRecord)>,
    facts: Facts,
    lineage: &[LineageRow],
    selected: &Selected,
    held_out: HeldOut,
) -> Result<Plan, RunEnd> {
    let asked = &conf.nightly;
    let mut recipe = conf.train.recipe.clone();
    recipe.seed = derive(asked.seed, &format!("night {}", facts.night));
    recipe.version = String::new();
    let starts_from_champion = match &champion {
        Some((_, record)) if asked.start == Start::Champion => fits(registry, record, &recipe).await?,
        _ => false,
    };
    let begun_with = champion.as_ref().filter(|_| starts_from_champion);
    let decides = json!({
        "recipe": recipe,
        "crop": conf.crop,
        "start": begun_with.map(|(_, record)| &record.weights_sha256),
    });
    let hash = fingerprint(lineage, selected, &decides);
    let version = VersionName::on(SystemTime::now(), &hash).map_err(NightError::from)?;
    recipe.version = version.to_string();
    let taught: Vec<&LineageRow> = selected.all().into_iter().map(|index| &lineage[index]).collect();
    let mut persons: Vec<&str> = taught.iter().filter_map(|row| row.person.as_deref()).collect();
    persons.sort_unstable();
    persons.dedup();
    Ok(Plan {
        version,
        champion: champion.map(|(number, record)| Champion {
            version: record.version,
            number,
            weights_sha256: record.weights_sha256,
        }),
        starts_from_champion,
        crop: conf.crop.clone(),
        model: judged_as(conf, registry),
        // known once what is trained on is marked in it
        lineage: String::new(),
        margins: asked.margins,
        bootstrap: asked.bootstrap,
        held_out,
        new: selected.new.len(),
        replayed: selected.replayed.len(),
        persons: persons.len(),
        recipe,
        facts,
    })
}

/// Says whether a training by this recipe can start from a version's weights; if not, it starts from fresh ones, and that
/// is said.
async fn fits(registry: &Registry, record: &VersionRecord, recipe: &Recipe) -> Result<bool, RunEnd> {
    let bytes = registry.read(record, WEIGHTS).await.map_err(NightError::from)?;
    let recipe = recipe.clone();
    let checked = blocking(move || models::train::can_start(&recipe, &bytes)).await;
    if let Err(error) = &checked {
        say(&format!(
            "the champion {} cannot be trained on, the training starts from fresh weights: {error}",
            record.version
        ));
    }
    Ok(checked.is_ok())
}
