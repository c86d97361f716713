//! `spinestream manifest`: writes a cohort manifest by walking names, or the headers of DICOM objects.

pub mod dicom;

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use object_store::ObjectMeta;
use stages::manifest::walk::{References, is_mask, to_csv, walk};
use stages::store::Stores;

use super::place_of;
use crate::Exit;
use crate::conf::Conf;
use crate::run::url;
use dicom::Dump;

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder or prefix of masks, or of DICOM objects.
    pub url: String,
    /// Manifest to write (CSV).
    #[arg(short, long, value_name = "FILE")]
    pub output: String,
    /// Label scheme of label maps: verse, totalsegmentator, … Names do not tell it, and it is never guessed.
    #[arg(long, value_name = "SCHEME")]
    pub labels: Option<String>,
    /// Folder or prefix of the paired CT masks.
    #[arg(long, value_name = "URL", requires = "reference_labels")]
    pub references: Option<String>,
    /// Label scheme of the paired CT masks.
    #[arg(long, value_name = "SCHEME")]
    pub reference_labels: Option<String>,
    #[command(flatten)]
    dicom: dicom::DicomArguments,
}

impl Arguments {
    /// Whether headers are read: told so, or nothing tells that there are NIfTI masks.
    fn is_dicom(&self, objects: &[(String, ObjectMeta)]) -> bool {
        let is_named = |(_, object): &(String, ObjectMeta)| is_mask(object.location.as_ref());
        let is_told_of_names = self.labels.is_some() || self.references.is_some();
        self.dicom.dicom || !(is_told_of_names || objects.is_empty() || objects.iter().any(is_named))
    }
}

/// Writes the manifest and says what was left out.
///
/// # Errors
/// A place that cannot be read or written, label maps without `--labels`, or DICOM without a key for pseudonyms.
pub async fn manifest(arguments: &Arguments, conf: &Conf, stores: &Arc<Stores>) -> Result<Exit> {
    let masks = objects(stores, "URL", &arguments.url).await?;
    if arguments.is_dicom(&masks) {
        let dump = Dump {
            place: place_of(stores, "URL", &arguments.url)?,
            objects: masks,
            labels: arguments.labels.as_deref(),
            reference_labels: arguments.reference_labels.as_deref(),
            output: &arguments.output,
        };
        return dicom::manifest(&arguments.dicom, dump, conf, stores).await;
    }
    let references = match &arguments.references {
        Some(text) => objects(stores, "--references", text).await?,
        None => Vec::new(),
    };
    let references = arguments
        .reference_labels
        .as_deref()
        .filter(|_| !references.is_empty())
        .map(|labels| References {
            objects: &references,
            labels,
        });
    let found =
        walk(&masks, arguments.labels.as_deref(), references.as_ref()).map_err(|message| anyhow!(message))?;
    for (reason, count) in &found.left_out {
        eprintln!("left out {count}: {reason}");
    }
    if found.rows.is_empty() {
        bail!(
            "expected masks named like *_seg-vert_msk.nii.gz, *_dseg.nii.gz, vertebrae_L3.nii.gz or L1_case_seg.nii.gz, found none among {} objects; --dicom looks at them as DICOM",
            masks.len()
        );
    }
    let place = place_of(stores, "--output", &arguments.output)?;
    place.put(to_csv(&found.rows)?.into()).await.context("--output")?;
    let paired = found.rows.iter().filter(|row| row.reference.is_some()).count();
    println!(
        "{} cases, {paired} with a reference, written to {}",
        found.rows.len(),
        arguments.output
    );
    Ok(Exit::Done)
}

async fn objects(stores: &Arc<Stores>, name: &str, text: &str) -> Result<Vec<(String, ObjectMeta)>> {
    let base = url(name, text)?;
    let place = place_of(stores, name, text)?;
    // the store's own words name keys, which hold record numbers
    let listed = place
        .list()
        .await
        .map_err(|error| anyhow!("{name}: {}", error.into_fault()))?;
    let base = base.expose().trim_end_matches('/');
    let named = listed.into_iter().filter_map(|object| {
        let below: Vec<String> = object
            .location
            .prefix_match(&place.path)?
            .map(|part| part.as_ref().to_owned())
            .collect();
        Some((join(base, &below)?, object))
    });
    Ok(named.collect())
}

/// Names become URL segments one by one, so that '#' or '%' in a name stay part of it.
fn join(base: &str, below: &[String]) -> Option<String> {
    let mut url = url::Url::parse(base).ok()?;
    url.path_segments_mut().ok()?.extend(below);
    Some(url.into())
}
