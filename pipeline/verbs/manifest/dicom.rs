//! The manifest of a DICOM dump: headers instead of names, and a table that says what became of each object.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use object_store::ObjectMeta;
use schemas::LabelScheme;
use stages::dicom::pseudonym::{SITE_KEY, SiteKey};
use stages::manifest::index::{Indexed, Labels, Looked, Options, Progress, index, look_at};
use stages::manifest::walk::to_csv;
use stages::store::{Place, Stores};
use stages::tables::encode;

use crate::Exit;
use crate::bar::bar;
use crate::conf::Conf;
use crate::run::say;
use crate::verbs::place_of;

/// Time between two looks at how far it has come.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Arguments that are a DICOM dump's alone.
#[derive(Debug, Args)]
pub struct DicomArguments {
    /// Reads headers: URL is a DICOM dump in any layout. Goes without saying where neither --labels nor --references
    /// is given and no name is one of a mask.
    #[arg(long, conflicts_with = "references")]
    pub dicom: bool,
    /// DICOM: table of what became of each object (Parquet) [default: OUTPUT with the ending .objects.parquet].
    #[arg(long, value_name = "FILE")]
    pub objects: Option<String>,
    /// DICOM: objects looked at at once.
    #[arg(long, value_name = "N", default_value = "32")]
    pub concurrency: NonZeroUsize,
    /// DICOM: the key that pseudonyms are made with. Persons, studies and cases have the same ones in every manifest
    /// made with one site's key; with a random one nothing in this manifest can be linked to any other.
    #[arg(long, value_enum, default_value_t = Pseudonyms::Site)]
    pub pseudonyms: Pseudonyms,
}

/// Where the key of the pseudonyms comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pseudonyms {
    /// The environment variable SPINESTREAM_SITE_KEY: at least 16 bytes, kept secret, never changed.
    Site,
    /// 32 random bytes for this one manifest, kept nowhere.
    Random,
}

/// What the arguments name, whose masks may need a scheme.
pub struct Dump<'a> {
    /// Where it is.
    pub place: Place,
    /// What is there.
    pub objects: Vec<(String, ObjectMeta)>,
    /// Scheme of masks without codes.
    pub labels: Option<&'a str>,
    /// Scheme of paired CT masks without codes.
    pub reference_labels: Option<&'a str>,
    /// Manifest to write.
    pub output: &'a str,
}

/// Looks at the objects, writes table and manifest, and says what was left out.
///
/// # Errors
/// No key; an unknown scheme; a place that cannot be written; no case.
pub async fn manifest(
    arguments: &DicomArguments,
    dump: Dump<'_>,
    conf: &Conf,
    stores: &Arc<Stores>,
) -> Result<Exit> {
    let key = site_key(arguments)?;
    let labels = |name: Option<&str>| -> Result<Option<Labels>> {
        let Some(name) = name else { return Ok(None) };
        let scheme = LabelScheme::named(name, &conf.label_tables()).map_err(|message| anyhow!(message))?;
        Ok(Some(Labels::of(name, &scheme)))
    };
    let (of_masks, of_references) = (labels(dump.labels)?, labels(dump.reference_labels)?);
    let table = match &arguments.objects {
        Some(name) => name.clone(),
        None => beside(dump.output),
    };
    let outputs = (
        place_of(stores, "--output", dump.output)?,
        place_of(stores, "--objects", &table)?,
    );

    let begin = Instant::now();
    let progress = Progress::default();
    let count = dump.objects.len();
    let looking = look_at(&dump.place, dump.objects, arguments.concurrency, &progress);
    let looked = shown(looking, &progress, count, Duration::from_secs(conf.watch.line_s)).await;
    tell_speed(&progress, count, begin.elapsed());

    let (series, stack) = (conf.dicom.series.clone(), conf.dicom.stack);
    let found = stages::blocking(move || {
        let options = Options {
            series: &series,
            stack: &stack,
            key: &key,
            labels: of_masks,
            reference_labels: of_references,
        };
        let found = index(&looked, &options);
        encode(&found.objects).map(|table| (found, table))
    });
    let (found, encoded) = found.await?;
    // the manifest last: where it is, its table is
    outputs.1.put(encoded).await.context("--objects")?;
    for (reason, count) in found.reasons() {
        eprintln!("left out {count}: {reason}");
    }
    if found.rows.is_empty() {
        bail!(
            "expected masks named like *_seg-vert_msk.nii.gz, or DICOM studies with an image and a segmentation of \
             lumbar levels, found none among {count} objects; {table} says why"
        );
    }
    outputs
        .0
        .put(to_csv(&found.rows)?.into())
        .await
        .context("--output")?;
    say(&told(&found, dump.output, &table));
    if found.unreached > 0 {
        eprintln!(
            "{} objects were not given by the store: the manifest may lack cases, make it again",
            found.unreached
        );
        return Ok(Exit::SomeFailed);
    }
    Ok(Exit::Done)
}

fn site_key(arguments: &DicomArguments) -> Result<SiteKey> {
    if arguments.pseudonyms == Pseudonyms::Random {
        return Ok(SiteKey::random()?);
    }
    let because = if arguments.dicom {
        ""
    } else {
        " (no name here is one of a mask, so the objects are looked at as DICOM)"
    };
    SiteKey::from_environment()?.ok_or_else(|| {
        anyhow!(
            "expected the environment variable {SITE_KEY} with the key that pseudonyms are made with, at least 16 \
             bytes that stay secret and the same, found none{because}: make one with `openssl rand -hex 32`, or take \
             --pseudonyms random for a manifest that can be linked to no other"
        )
    })
}

/// Returns the name of the table that goes with a manifest.
fn beside(output: &str) -> String {
    let name = output.rfind('/').map_or(0, |slash| slash + 1);
    let stem = match output[name..].rfind('.') {
        Some(dot) if dot > 0 => &output[..name + dot],
        _ => output,
    };
    format!("{stem}.objects.parquet")
}

/// Waits, with a bar on a terminal and a line now and then elsewhere.
async fn shown(
    looking: impl Future<Output = Vec<Looked>>,
    progress: &Progress,
    count: usize,
    line: Duration,
) -> Vec<Looked> {
    let bar = bar(count as u64, "{pos}/{len} objects {per_sec} {eta} left");
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut told = Instant::now();
    let mut looking = std::pin::pin!(looking);
    loop {
        tokio::select! {
            looked = &mut looking => {
                bar.finish_and_clear();
                return looked;
            }
            _ = ticks.tick() => {
                let (objects, bytes) = (progress.objects(), progress.bytes());
                bar.set_position(objects);
                if bar.is_hidden() && told.elapsed() >= line {
                    told = Instant::now();
                    tracing::info!(
                        target: "spinestream::progress",
                        objects, count, bytes,
                        "{objects} of {count} objects looked at, {} MiB read", bytes >> 20
                    );
                }
            }
        }
    }
}

fn tell_speed(progress: &Progress, count: usize, elapsed: Duration) {
    let (bytes, seconds) = (progress.bytes(), elapsed.as_secs_f64());
    let rate = count as f64 / seconds.max(1e-3);
    tracing::info!(
        target: "spinestream::progress",
        objects = count, bytes, seconds,
        "{count} objects looked at in {seconds:.1} s: {rate:.0} objects/s, {} bytes read of each",
        bytes / count.max(1) as u64
    );
}

fn told(found: &Indexed, output: &str, table: &str) -> String {
    let with =
        |cell: fn(&stages::manifest::Written) -> bool| found.rows.iter().filter(|row| cell(row)).count();
    format!(
        "{} cases, {} with a reference, {} without an image, written to {output}\n{} objects: {} used, {} not used, \
         {} unreadable, written to {table}",
        found.rows.len(),
        with(|row| row.reference.is_some()),
        with(|row| row.image.is_none()),
        found.objects.len(),
        found.count("used"),
        found.count("not_used"),
        found.count("unreadable"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lies_beside_the_manifest() {
        assert_eq!(beside("cohort/manifest.csv"), "cohort/manifest.objects.parquet");
        assert_eq!(beside("s3://b.c/m"), "s3://b.c/m.objects.parquet");
        assert_eq!(beside(".csv"), ".csv.objects.parquet");
    }
}
