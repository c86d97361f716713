//! `spinestream plan`: what a run would do, before it does anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use futures::StreamExt as _;
use indicatif::FormattedDuration;
use schemas::{Fault, Listed, Weighed};
use serde::Deserialize;
use serde_json::json;
use stages::shard::Share;
use stages::store::{Place, Stores};
use stages::tables::{Published, RunTables, fingerprint};
use stages::weigh::{Weigh, WeighConf};
use stages::write::Form;
use stages::{Stage as _, blocking};

use crate::Exit;
use crate::RunEnd;
use crate::census::{Census, id_of};
use crate::champion::resolved;
use crate::conf::Conf;
use crate::run::{manifest, say, tables};
use crate::shard::Sharding;

/// Cases that are looked at, at once.
const AT_ONCE: usize = 16;

/// Most bytes of a record.
const RECORD_MOST: u64 = 16 << 20;

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Looks at one of N shards of the cases, I counted from 0; see run.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Sharding>,
    /// Cases that are looked at, spread evenly over those to do; their sizes stand for all.
    #[arg(long, default_value_t = 200, value_name = "CASES")]
    pub sample: usize,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// What a sample of the cases to do is like.
#[derive(Debug, Default)]
struct Sample {
    cases: usize,
    /// Bytes in the store, of each sound case, in order.
    stored: Vec<u64>,
    /// Bytes that reading it holds, of each sound case, in order.
    held: Vec<u64>,
    /// Cases that would fail, by kind and reason.
    faults: BTreeMap<String, usize>,
}

/// The part of an earlier start's record that tells how fast it was.
#[derive(Debug, Deserialize)]
struct Past {
    seconds: f64,
    counts: PastCounts,
    model: PastModel,
}

#[derive(Debug, Deserialize)]
struct PastCounts {
    done: usize,
    failed: usize,
}

#[derive(Debug, Deserialize)]
struct PastModel {
    chain: Vec<String>,
}

/// Says what a run would do; writes nothing.
///
/// # Errors
/// The manifest cannot be read, the output not be listed.
pub async fn plan(arguments: &Arguments, conf: &Conf, stores: &Arc<Stores>) -> Result<Exit> {
    let conf = &resolved(conf, stores).await?;
    let tables = tables(conf, stores)?;
    let manifest = manifest("run.manifest", &conf.run.manifest, conf.run.seed, conf, stores).await?;
    let shard = conf.run.shard.shard();
    let share = Share::new(tables.run(), shard);
    let listing = tables.list().await.map_err(RunEnd::from)?;
    let published = tables.published_of(&listing, shard).await;
    let published = Arc::new(published.map_err(RunEnd::from)?);
    let (manifest, census) = Census::of(manifest, &share, &published).await?;
    let todo = census.cases - census.done;
    let most = arguments.sample;
    let picked = blocking(move || pick(&manifest, &share, &published, todo, most));
    let (cases, rows) = picked.await.map_err(|error| RunEnd::Manifest {
        key: "run.manifest",
        error,
    })?;
    let sample = weigh(cases, conf, stores).await;
    let speed = speed(&tables, &conf.model.chain).await?;

    let mean = |values: &[u64]| values.iter().sum::<u64>() as f64 / values.len().max(1) as f64;
    let bytes = mean(&sample.stored) * todo as f64;
    let (middle, largest) = (
        sample
            .held
            .get(sample.held.len() / 2)
            .copied()
            .unwrap_or_default(),
        sample.held.last().copied().unwrap_or_default(),
    );
    let at_once = conf.run.memory.as_u64() as f64 / mean(&sample.held).max(1.0);
    let left = speed.and_then(|per_second| Duration::try_from_secs_f64(todo as f64 / per_second).ok());
    if arguments.json {
        let found = json!({
            "run": tables.run(),
            "shard": shard,
            "manifest": census.manifest,
            "cases": census.cases,
            "done": census.done,
            "failed": census.failed,
            "todo": todo,
            "sampled": sample.cases,
            "bad_rows": rows,
            "faults_of_sample": sample.faults,
            "bytes_to_read": bytes as u64,
            "memory_of_a_case_bytes": { "median": middle, "largest": largest },
            "cases_in_memory_at_once": at_once.min(1e9) as u64,
            "cases_per_second": speed,
            "seconds": left.map(|left| left.as_secs()),
        });
        say(&serde_json::to_string_pretty(&found)?);
        return Ok(Exit::Done);
    }
    let mib = |bytes: f64| format!("{:.1} MiB", bytes / f64::from(1 << 20));
    say(&format!(
        "run {}: {} cases{}, {} done ({} of these failed), {todo} to do",
        tables.run(),
        census.cases,
        if shard.is_whole() {
            String::new()
        } else {
            format!(" of shard {shard} ({} in the manifest)", census.manifest)
        },
        census.done,
        census.failed
    ));
    say(&format!(
        "by {} of them: {} to read; reading one holds {} (median), {} (largest); run.memory holds {:.0} at once",
        sample.cases,
        mib(bytes),
        mib(middle as f64),
        mib(largest as f64),
        at_once.min(1e9)
    ));
    for (fault, count) in &rows {
        say(&format!("rows that are no case: {count} {fault}"));
    }
    for (fault, count) in &sample.faults {
        let all = (*count * todo).div_ceil(sample.cases.max(1));
        say(&format!(
            "would fail: {count} of the {} looked at, about {all} of all, {fault}",
            sample.cases
        ));
    }
    say(&match (speed, left) {
        (Some(per_second), Some(left)) => format!(
            "about {} at {per_second:.2} cases/s, as earlier runs here",
            FormattedDuration(left)
        ),
        _ => "no earlier run below run.output with this chain: no estimate of the time".to_owned(),
    });
    Ok(Exit::Done)
}

type Faults = BTreeMap<String, usize>;

/// Returns about `most` of the cases to do, and all rows that are no case.
fn pick(
    manifest: &stages::manifest::Manifest,
    share: &Share,
    published: &Published,
    todo: usize,
    most: usize,
) -> Result<(Vec<Listed>, Faults), stages::manifest::ManifestError> {
    let every = todo.div_ceil(most.max(1)).max(1);
    let (mut picked, mut faults) = (Vec::new(), Faults::new());
    let mut index = 0;
    for case in manifest.read()? {
        let case = case?;
        let id = id_of(&case);
        if !share.holds(&id) || published.last(fingerprint(&id)).is_some() {
            continue;
        }
        match case {
            Ok(case) if index % every == 0 => picked.push(case.body),
            Ok(_) => {}
            Err(failure) => *faults.entry(name(&failure.fault)).or_default() += 1,
        }
        index += 1;
    }
    Ok((picked, faults))
}

fn name(fault: &Fault) -> String {
    format!("{} ({})", fault.kind, fault.reason)
}

async fn weigh(cases: Vec<Listed>, conf: &Conf, stores: &Arc<Stores>) -> Sample {
    let stage = Weigh {
        stores: Arc::clone(stores),
        conf: WeighConf {
            max_bytes: conf.run.memory.as_u64(),
            images: conf.write.volumes.contains(&Form::Seg),
            stack: conf.dicom.stack,
        },
    };
    let mut sample = Sample::default();
    let weigh = |case: Listed| {
        let stage = stage.clone();
        async move { stage.run(case).await }
    };
    let mut weighed = futures::stream::iter(cases).map(weigh).buffer_unordered(AT_ONCE);
    while let Some(case) = weighed.next().await {
        sample.cases += 1;
        match case {
            Ok(case) => {
                sample.stored.push(stored(&case));
                sample.held.push(case.bytes);
            }
            Err(fault) => *sample.faults.entry(name(&fault)).or_default() += 1,
        }
    }
    sample.stored.sort_unstable();
    sample.held.sort_unstable();
    sample
}

fn stored(case: &Weighed) -> u64 {
    let masks = std::iter::once(&case.mask).chain(&case.reference);
    let objects = masks.flat_map(|mask| &mask.objects);
    let files = objects.flat_map(|object| std::iter::once(&object.file).chain(&object.pair));
    files.map(|file| file.size).sum()
}

/// Returns cases a second of the earlier runs of a chain with the same output, each start counted by its cases.
async fn speed(tables: &RunTables, chain: &[String]) -> Result<Option<f64>, RunEnd> {
    let runs = tables.runs();
    let (mut cases, mut seconds) = (0, 0.0);
    for object in runs.list().await.map_err(|error| RunEnd::Tables(error.into()))? {
        // a report may lie beside the records
        if object.location.extension() != Some("json") {
            continue;
        }
        let place = Place {
            store: runs.store.clone(),
            path: object.location,
        };
        // what is no record, or one of another verb, tells nothing
        let Ok(bytes) = place.read(RECORD_MOST).await else {
            continue;
        };
        let Ok(past) = serde_json::from_slice::<Past>(&bytes) else {
            continue;
        };
        if past.model.chain == chain {
            cases += past.counts.done + past.counts.failed;
            seconds += past.seconds;
        }
    }
    Ok((cases > 0 && seconds > 0.0).then(|| cases as f64 / seconds))
}
