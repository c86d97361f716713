//! What is done by hand: a night's training once more, and the end of a night that cannot be finished.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt as _;
use models::weights::sha256_hex;
use stages::blocking;
use stages::nightly::NightError;
use stages::nightly::lineage;
use stages::nightly::plan::{END, End, Nights, PLAN, Plan};
use stages::nightly::report::{NightReport, Verdict};
use stages::registry::{CONFIG, Registry, now};
use stages::starts::State;
use stages::store::Stores;

use super::learn::train;
use super::{MANIFEST, Stop, end, has_promoted, registry, told};
use crate::champion;
use crate::conf::Conf;
use crate::lease::Lease;
use crate::run::{place, say};
use crate::{Exit, RunEnd};

/// Trains a version once more, from its own manifest and plan, below `output`; the registry is only read.
///
/// # Errors
/// There is no such version, or none that a night made; its masks cannot be read; the training fails.
pub async fn again(
    conf: &Conf,
    stores: &Arc<Stores>,
    version: &str,
    output: &str,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    let stop: Stop = stop.boxed().shared();
    let registry = registry(conf, stores)?;
    let record = registry.resolve(version).await;
    let record = record.map_err(|error| champion::ended("--again", error))?;
    let of_a_night = |what: &str| {
        RunEnd::Conf(format!(
            "--again: expected a version that a night made, found {}, made by {}: {what}",
            record.version, record.made_by
        ))
    };
    if record.file(MANIFEST).is_none() {
        return Err(of_a_night("it has no manifest of what it learnt from"));
    }
    let read = |file: &'static str| {
        let (registry, record) = (&registry, &record);
        async move { registry.read(record, file).await.map_err(NightError::from) }
    };
    let plan: Plan = serde_json::from_slice(&read(CONFIG).await?)
        .map_err(|error| of_a_night(&format!("its {CONFIG} is no plan: {error}")))?;
    let manifest = read(MANIFEST).await?;
    let lineage = blocking(move || lineage::read(manifest))
        .await
        .map_err(NightError::from)?;
    let output = place(stores, "--output", output)?;
    let Some(trained) = train(conf, &registry, &output, &plan, &lineage, stop).await? else {
        return Ok(Exit::SomeFailed);
    };
    let found = sha256_hex(&trained.weights);
    if found == record.weights_sha256 {
        say(&format!("{}: equal weights, SHA-256 {found}", record.version));
        return Ok(Exit::Done);
    }
    say(&format!(
        "{}: other weights, SHA-256 {found} and not {}; with several threads, on another processor or by another version of \
         the software sums round otherwise",
        record.version, record.weights_sha256
    ));
    Ok(Exit::SomeFailed)
}

/// Ends the unfinished night, if there is one; the champion stays what it is.
///
/// # Errors
/// Another process is at work on it; the registry cannot be used.
pub async fn abandon(conf: &Conf, stores: &Arc<Stores>) -> Result<Exit, RunEnd> {
    let registry = registry(conf, stores)?;
    let lease = Lease::take(&registry, "nightly --abandon", false).await?;
    let ended = end_unfinished(&registry).await;
    lease.end(State::Ended).await;
    ended?;
    Ok(Exit::Done)
}

async fn end_unfinished(registry: &Registry) -> Result<(), NightError> {
    let nights = Nights::of(registry).await?;
    let Some(night) = nights.unfinished else {
        say("no night is unfinished: nothing to abandon");
        return Ok(());
    };
    let plan: Plan = match night.read(PLAN).await {
        Ok(plan) => plan,
        // nobody knows any more what it set out to do: the lineage before it counts
        Err(NightError::Damaged { name, error }) => {
            say(&format!("{name} cannot be read: {error}"));
            let end = End {
                verdict: Verdict::Kept,
                why: vec!["it was abandoned by hand, as its plan could not be read".to_owned()],
                ended: now(),
                lineage: nights.last.and_then(|end| end.lineage),
                version: None,
            };
            night.create(END, &end).await?;
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    // it may have died between its promotion and its end: what the champion has learnt must be noted then
    let (verdict, why) = if has_promoted(registry, &plan).await? {
        (
            Verdict::Promoted,
            "it was abandoned by hand after it had promoted its model",
        )
    } else {
        (Verdict::Kept, "it was abandoned by hand")
    };
    let version = (verdict == Verdict::Promoted).then_some(plan.version);
    let report = NightReport {
        champion: plan.champion.map(|champion| champion.version.to_string()),
        challenger: version.as_ref().map(ToString::to_string),
        ..told(&plan.facts, verdict, vec![why.to_owned()])
    };
    end(&night, &report, Some(plan.lineage), version).await
}
