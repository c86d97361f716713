//! `spinestream nightly`: learns from new CT masks, and promotes the model that comes of it only if it is better.
//!
//! A night is one idempotent command. What it set out to do is frozen in a plan before it trains; whatever kills it, the
//! next start goes on by that plan, and each step looks first whether it has been done.

mod again;
mod learn;
mod set_out;
mod trial;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use models::weights::sha256_hex;
use serde_json::{Value, json};
use stages::nightly::NightError;
use stages::nightly::card::{CardFacts, card};
use stages::nightly::held_out::HeldOut;
use stages::nightly::judge::Judgement;
use stages::nightly::plan::{END, End, FOLDER, Facts, JUDGEMENT, Night, Nights, PLAN, Plan, TRAINING};
use stages::nightly::report::{self, HeldOutSummary, NightReport, Taught, Training, Verdict};
use stages::registry::{
    Alias, CARD, CONFIG, Draft, Pointed, Registry, VersionName, VersionRecord, WEIGHTS, now,
};
use stages::starts::State;
use stages::store::Stores;
use stages::tables::SOFTWARE_VERSION;
use stages::train::{Finished, LAST, METRICS};

use crate::conf::Conf;
use crate::lease::Lease;
use crate::run::{SMALL_OBJECT, say};
use crate::{Exit, RunEnd};

pub use again::{abandon, again};
use learn::{train, training};
use set_out::{SetOut, lineage_of, set_out};
use trial::judgement;

/// File of a version that says what it learnt from.
const MANIFEST: &str = "manifest.parquet";

type Stop = Shared<BoxFuture<'static, ()>>;

/// Finds, gates, trains, judges and promotes, as `[nightly]` says. With `waits` it waits for another night to end.
///
/// # Errors
/// What keeps a night from going on; the next start goes on where it stood.
pub async fn nightly(
    conf: &Conf,
    stores: &Arc<Stores>,
    waits: bool,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let stop: Stop = stop.boxed().shared();
    let registry = registry(conf, stores)?;
    let lease = tokio::select! {
        lease = Lease::take(&registry, "nightly", waits) => lease?,
        () = stop.clone() => return Err(RunEnd::Stopped),
    };
    let ended = night(conf, stores, &registry, stop).await;
    let state = match &ended {
        Ok(Exit::SomeFailed) | Err(RunEnd::Stopped) => State::Stopped,
        Ok(_) => State::Ended,
        Err(_) => State::Broken,
    };
    lease.end(state).await;
    ended
}

/// Returns the part of the registry that the recipe's method has.
fn registry(conf: &Conf, stores: &Stores) -> Result<Registry, RunEnd> {
    crate::champion::registry(conf, stores, conf.train.recipe.method.as_str())
}

/// One night, from the first look to its end.
async fn night(conf: &Conf, stores: &Arc<Stores>, registry: &Registry, stop: Stop) -> Result<Exit, RunEnd> {
    let nights = Nights::of(registry).await?;
    let (night, plan) = match &nights.unfinished {
        Some(night) => {
            say(&format!(
                "night {} was not finished: it goes on by its plan",
                night.number
            ));
            (night.clone(), night.read(PLAN).await?)
        }
        None => match set_out(conf, stores, registry, &nights, stop.clone()).await? {
            SetOut::Nothing => return Ok(Exit::Done),
            SetOut::Ended(exit) => return Ok(exit),
            SetOut::To(night, plan) => (night, *plan),
        },
    };
    let lineage = lineage_of(registry, &plan.lineage).await?;
    let Some(trained) = train(
        conf,
        registry,
        &night.place.join(TRAINING),
        &plan,
        &lineage,
        stop.clone(),
    )
    .await?
    else {
        return Ok(Exit::SomeFailed);
    };
    let Some(judgement) = judgement(conf, registry, &night, &plan, &trained, stop).await? else {
        say("stopped before the models were judged; start again to go on");
        return Ok(Exit::SomeFailed);
    };
    let training = training(&night, &plan).await?;
    let version = register(registry, &night, &plan, &trained, &judgement, training.as_ref()).await?;
    let (verdict, why) = promote(registry, &plan, &version, &judgement).await?;
    let report = NightReport {
        challenger: Some(version.version.to_string()),
        training,
        judgement: Some(judgement),
        held_out: Some(summary_of(&plan.held_out)),
        taught: taught(&plan),
        champion: plan
            .champion
            .as_ref()
            .map(|champion| champion.version.to_string()),
        ..told(&plan.facts, verdict, why)
    };
    end(&night, &report, Some(plan.lineage), Some(version.version)).await?;
    Ok(Exit::Done)
}

/// Publishes the trained model, and points the alias `challenger` to it.
async fn register(
    registry: &Registry,
    night: &Night,
    plan: &Plan,
    trained: &Finished,
    judgement: &Judgement,
    training: Option<&Training>,
) -> Result<VersionRecord, NightError> {
    let lineage = registry
        .place(FOLDER)
        .join(&plan.lineage)
        .read(SMALL_OBJECT)
        .await?;
    let metrics = night
        .place
        .join(TRAINING)
        .join(METRICS)
        .read(SMALL_OBJECT)
        .await?;
    let json = |value: Value| Bytes::from(format!("{value:#}\n"));
    let mut files = vec![
        (WEIGHTS.to_owned(), trained.weights.clone()),
        // as it was written: numbers that are read and written anew may end otherwise
        (
            CONFIG.to_owned(),
            night.place.join(PLAN).read(SMALL_OBJECT).await?,
        ),
        (METRICS.to_owned(), metrics),
        (JUDGEMENT.to_owned(), json(json!(judgement))),
        (MANIFEST.to_owned(), lineage),
        (
            CARD.to_owned(),
            card(&facts_of(plan, trained, judgement, training)).into(),
        ),
    ];
    if let Some(last) = &trained.last {
        files.push((LAST.to_owned(), last.clone()));
    }
    let record = registry
        .publish(Draft {
            name: plan.version.clone(),
            files,
            parent: parent(plan).cloned(),
            made_by: plan.by(),
            note: String::new(),
        })
        .await?;
    let last = registry.alias(Alias::Challenger).await?;
    if last.as_ref().is_none_or(|entry| entry.version != record.version) {
        let after = last.map_or(0, |entry| entry.number);
        let why = format!("judged against {}", judgement.against);
        // that somebody else points it elsewhere at this moment harms nothing
        let _ = registry
            .point(Alias::Challenger, &record.version, after, &plan.by(), &why)
            .await?;
    }
    Ok(record)
}

/// Returns what the card tells.
fn facts_of(
    plan: &Plan,
    trained: &Finished,
    judgement: &Judgement,
    training: Option<&Training>,
) -> CardFacts {
    let named = |value: Value| value.as_str().unwrap_or_default().to_owned();
    CardFacts {
        method: plan.facts.method.clone(),
        version: plan.version.to_string(),
        preset: named(json!(plan.recipe.preset)),
        size: named(json!(plan.recipe.size)),
        created: plan.facts.began.clone(),
        software_version: SOFTWARE_VERSION.to_owned(),
        night: plan.facts.night,
        weights_sha256: sha256_hex(&trained.weights),
        parent: parent(plan).map(ToString::to_string),
        seed: plan.recipe.seed,
        taught: taught(plan),
        training: training.cloned().unwrap_or_default(),
        held_out: Some(summary_of(&plan.held_out)),
        judgement: Some(judgement.clone()),
    }
}

/// Returns the version whose weights the training began with.
fn parent(plan: &Plan) -> Option<&VersionName> {
    let champion = plan.champion.as_ref().filter(|_| plan.starts_from_champion)?;
    Some(&champion.version)
}

fn taught(plan: &Plan) -> Taught {
    Taught {
        new: plan.new,
        replayed: plan.replayed,
        persons: plan.persons,
    }
}

/// Makes the challenger the champion, if it is better and nobody else has changed the champion since it was judged.
async fn promote(
    registry: &Registry,
    plan: &Plan,
    version: &VersionRecord,
    judgement: &Judgement,
) -> Result<(Verdict, Vec<String>), NightError> {
    if !judgement.promotes() {
        let failed = judgement.rules.iter().filter(|rule| !rule.passed);
        let why = failed.map(|rule| format!("expected that {}, found {}", rule.rule, rule.found));
        return Ok((Verdict::Kept, why.collect()));
    }
    let why = format!(
        "{:+.4} in DSC over {} on {} held-out masks",
        judgement.difference, judgement.against, judgement.masks
    );
    // an earlier start may have come so far
    if has_promoted(registry, plan).await? {
        return Ok((Verdict::Promoted, vec![why]));
    }
    let after = plan.champion.as_ref().map_or(0, |champion| champion.number);
    match registry
        .point(Alias::Champion, &version.version, after, &plan.by(), &why)
        .await?
    {
        Pointed::Won(_) => Ok((Verdict::Promoted, vec![why])),
        Pointed::Lost(entry) => Ok((
            Verdict::Kept,
            vec![format!(
                "the champion was changed to {} by {} while this night went on: what it was judged against is no longer \
                 the champion; `spinestream models promote {}` would make it one",
                entry.version, entry.by, version.version
            )],
        )),
    }
}

/// Says whether a night has made its model the champion, whatever is the champion now.
async fn has_promoted(registry: &Registry, plan: &Plan) -> Result<bool, NightError> {
    let (by, history) = (plan.by(), registry.history(Alias::Champion).await?);
    Ok(history
        .iter()
        .any(|entry| entry.by == by && entry.version == plan.version))
}

/// Returns the report of a night that came no further.
fn told(facts: &Facts, verdict: Verdict, why: Vec<String>) -> NightReport {
    NightReport {
        night: facts.night,
        method: facts.method.clone(),
        began: facts.began.clone(),
        ended: now(),
        software_version: SOFTWARE_VERSION.to_owned(),
        verdict,
        why,
        champion: None,
        challenger: None,
        found: facts.found.clone(),
        rejects: facts.rejects.clone(),
        taught: Taught::default(),
        held_out: None,
        drift: facts.drift.clone(),
        training: None,
        judgement: None,
    }
}

/// Writes the reports and, last, that the night has ended.
async fn end(
    night: &Night,
    report: &NightReport,
    lineage: Option<String>,
    version: Option<VersionName>,
) -> Result<(), NightError> {
    night.put("report.json", report::json(report)).await?;
    night.put("report.html", report::html(report)).await?;
    let end = End {
        verdict: report.verdict,
        why: report.why.clone(),
        ended: report.ended.clone(),
        lineage,
        version,
    };
    night.create(END, &end).await?;
    say(&format!("{} {}", report::sentence(report), report.why.join("; ")));
    say(&format!(
        "nights/{:08}/report.html in the registry tells more",
        night.number
    ));
    Ok(())
}

fn summary_of(set: &HeldOut) -> HeldOutSummary {
    HeldOutSummary {
        number: set.number,
        persons: set.persons().len(),
        masks: set.masks.len(),
        sha256: set.sha256(),
    }
}
