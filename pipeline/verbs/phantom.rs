//! `spinestream phantom`: a cohort of made-up spines.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::Args;
use models::degrade::thick_slices;
use models::phantom::{LABELS, PhantomConf, Spine};
use models::seed::derive;
use stages::decode::nifti::write_label_map;
use stages::manifest::Written;
use stages::manifest::walk::to_csv;
use stages::store::Stores;

use super::place_of;
use crate::Exit;

/// Orientation of the masks: sagittal, as lumbar MRI is stored (first axis towards posterior, second inferior).
const SAGITTAL: &str = "PIR";

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How many persons.
    #[arg(value_name = "N")]
    pub number: usize,
    /// Folder or prefix for masks, references and manifest.csv.
    #[arg(value_name = "OUT")]
    pub output: String,
    /// Seed: equal seeds give equal bytes.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Writes the cohort.
///
/// # Errors
/// A place that cannot be written.
pub async fn phantom(arguments: &Arguments, stores: &Arc<Stores>) -> Result<Exit> {
    let output = place_of(stores, "OUT", &arguments.output)?;
    let mut rows = Vec::new();
    for number in 1..=arguments.number {
        let name = format!("phantom-{number:04}");
        let seed = derive(arguments.seed, &name);
        let pair = stages::blocking(move || pair(seed)).await?;
        let (mask, reference) = (format!("{name}_dseg.nii.gz"), format!("{name}_ct_dseg.nii.gz"));
        output.join(&mask).put(pair.mask).await.context("OUT")?;
        output.join(&reference).put(pair.reference).await.context("OUT")?;
        rows.push(Written {
            case_id: Some(name.clone()),
            mask: Some(mask),
            labels: Some("verse".to_owned()),
            reference: Some(reference),
            reference_labels: Some("verse".to_owned()),
            image: None,
            person: Some(name),
        });
    }
    output
        .join("manifest.csv")
        .put(to_csv(&rows)?.into())
        .await
        .context("OUT")?;
    println!("{} phantoms written to {}", rows.len(), arguments.output);
    Ok(Exit::Done)
}

/// One person's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Thick-slice label map, sagittal.
    pub mask: Bytes,
    /// The whole spine at 1 mm.
    pub reference: Bytes,
}

/// Makes one person's thick-slice mask and its reference, both labelled as VerSe does.
///
/// # Errors
/// A grid that NIfTI cannot say.
pub fn pair(seed: u64) -> Result<Pair> {
    let spine = Spine::new(seed);
    let reference = spine.label_map(&spine.grid(&PhantomConf::default())?);
    let orientation = SAGITTAL.parse().map_err(anyhow::Error::msg)?;
    let scan = spine.label_map(&spine.grid(&PhantomConf {
        orientation,
        ..PhantomConf::default()
    })?);
    let labels = LABELS.map(|(label, _)| label);
    let mask = thick_slices(&scan, &labels, seed);
    Ok(Pair {
        mask: write_label_map(&mask)?.into(),
        reference: write_label_map(&reference)?.into(),
    })
}
