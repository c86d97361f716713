//! Champion and challenger on the frozen masks, one after the other.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use models::{LoadedWeights, ModelConf, ModelError};
use stages::blocking;
use stages::compare::{Method, MethodConf, Progress, Subject, try_method};
use stages::evaluate::EvaluateConf;
use stages::nightly::NightError;
use stages::nightly::judge::{Judgement, judge};
use stages::nightly::plan::{JUDGEMENT, Night, Plan};
use stages::registry::{Registry, WEIGHTS};
use stages::train::Finished;

use super::Stop;
use crate::RunEnd;
use crate::conf::Conf;
use crate::run::say;

/// Judges by the plan, or returns the judgement of an earlier start; `None` once `stop` is there.
pub async fn judgement(
    conf: &Conf,
    registry: &Registry,
    night: &Night,
    plan: &Plan,
    trained: &Finished,
    stop: Stop,
) -> Result<Option<Judgement>, RunEnd> {
    if let Some(judgement) = night.read_if_there(JUDGEMENT).await? {
        return Ok(Some(judgement));
    }
    let subjects = plan
        .held_out
        .subjects(registry, &plan.crop, conf.run.memory.as_u64())
        .await?;
    let champion = match &plan.champion {
        None => None,
        Some(champion) => {
            let record = registry
                .version(&champion.version)
                .await
                .map_err(NightError::from)?;
            let bytes = registry.read(&record, WEIGHTS).await.map_err(NightError::from)?;
            Some((champion.version.to_string(), bytes))
        }
    };
    say(&format!(
        "judging {} against {} on {} masks of {} held-out persons",
        plan.version,
        champion
            .as_ref()
            .map_or("the masks as they are", |(version, _)| version.as_str()),
        subjects.len(),
        plan.held_out.persons().len()
    ));
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopped);
    let stopper = tokio::spawn(async move {
        stop.await;
        flag.store(true, Ordering::Release);
    });
    let bench = Bench {
        model: plan.model.clone(),
        device: conf.nightly.device.clone(),
        threads: conf.nightly.threads,
        stopped,
    };
    let (weights, version) = (trained.weights.clone(), plan.version.to_string());
    let (margins, resamples, seed) = (plan.margins, plan.bootstrap, plan.recipe.seed);
    let judged = blocking(move || -> Result<Option<Judgement>, RunEnd> {
        let old = match &champion {
            None => None,
            Some((version, weights)) => match bench.try_out(version, weights, &subjects)? {
                Some(method) => Some((version.as_str(), method)),
                None => return Ok(None),
            },
        };
        let Some(new) = bench.try_out(&version, &weights, &subjects)? else {
            return Ok(None);
        };
        let old = old
            .as_ref()
            .map(|(version, method)| (*version, method.rows.as_slice()));
        Ok(Some(judge(&subjects, old, &new.rows, &margins, resamples, seed)))
    })
    .await;
    stopper.abort();
    let Some(judgement) = judged? else {
        return Ok(None);
    };
    // create-only: what was judged once is not judged again
    if night.create(JUDGEMENT, &judgement).await? {
        return Ok(Some(judgement));
    }
    Ok(night.read_if_there(JUDGEMENT).await?)
}

/// Where and how models are tried out.
struct Bench {
    model: ModelConf,
    device: String,
    threads: usize,
    stopped: Arc<AtomicBool>,
}

impl Bench {
    /// Lets one model reconstruct every subject; `None` once it is stopped.
    fn try_out(&self, name: &str, weights: &Bytes, subjects: &[Subject]) -> Result<Option<Method>, RunEnd> {
        let unfit = |error: ModelError| RunEnd::Conf(format!("nightly, {name}: {error}"));
        let method = self.model.chain.first().map_or("", String::as_str);
        let mut loaded = LoadedWeights::new();
        loaded.add(method, weights).map_err(unfit)?;
        let open = || {
            models::set_threads(self.threads);
            models::open(&self.model, &loaded, &self.device)
        };
        let identity = open().map_err(unfit)?.identity().clone();
        let conf = MethodConf {
            name: name.to_owned(),
            model: self.model.clone(),
            ..MethodConf::default()
        };
        let plan = stages::compare::Plan {
            key: name,
            evaluate: &EvaluateConf::default(),
            shown: &[],
            repeats: 0,
        };
        let mut watch = |progress: Progress<'_>| {
            if progress.done == progress.total {
                let seconds = progress.elapsed.as_secs_f64();
                say(&format!("{name}: {} masks in {seconds:.1} s", progress.total));
            }
            match self.stopped.load(Ordering::Acquire) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        Ok(try_method(&conf, &identity, &open, subjects, plan, &mut watch))
    }
}
