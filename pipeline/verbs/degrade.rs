//! `spinestream degrade`: a thick-slice version of a mask.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use models::degrade::{degrade_labels, thick_slices};
use schemas::{LabelMap, LabelScheme};
use stages::decode::label_map;
use stages::decode::nifti::write_label_map;
use stages::fetch::fetch_object;
use stages::store::Stores;

use super::place_of;
use crate::Exit;
use crate::conf::Conf;
use crate::run::url;

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Mask or label map to degrade.
    #[arg(value_name = "IN")]
    pub input: String,
    /// Where the degraded one goes (.nii.gz).
    #[arg(value_name = "OUT")]
    pub output: String,
    /// Seed: equal mask, affine and seed give equal bytes.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Label scheme: only the lumbar levels are kept. Without it, every label is.
    #[arg(long, value_name = "SCHEME")]
    pub labels: Option<String>,
    /// Store one voxel a slice, as a scanner would, instead of the input's own grid.
    #[arg(long)]
    pub thick: bool,
}

/// Writes the degraded mask.
///
/// # Errors
/// A mask that cannot be read, or a place that cannot be written.
pub async fn degrade(arguments: &Arguments, conf: &Conf, stores: &Arc<Stores>) -> Result<Exit> {
    let max_bytes = conf.run.memory.as_u64();
    let object = fetch_object(stores, &url("IN", &arguments.input)?, max_bytes).await?;
    let labels = match &arguments.labels {
        Some(name) => {
            let scheme =
                LabelScheme::named(name, &conf.label_tables()).map_err(|message| anyhow!(message))?;
            Some(scheme.table().keys().copied().collect::<Vec<u16>>())
        }
        None => None,
    };
    let (seed, thick) = (arguments.seed, arguments.thick);
    let bytes = stages::blocking(move || -> Result<Vec<u8>> {
        let map = label_map(&object.bytes, object.pair.as_deref(), max_bytes)?;
        let labels = labels.unwrap_or_else(|| labels_of(&map));
        if labels.is_empty() {
            bail!("IN: expected a mask with at least one label, found background only");
        }
        let degraded = if thick {
            thick_slices(&map, &labels, seed)
        } else {
            degrade_labels(&map, &labels, seed)
        };
        Ok(write_label_map(&degraded)?)
    })
    .await?;
    place_of(stores, "OUT", &arguments.output)?
        .put(bytes.into())
        .await
        .context("OUT")?;
    Ok(Exit::Done)
}

fn labels_of(map: &LabelMap) -> Vec<u16> {
    let labels: BTreeSet<u16> = map.data.iter().copied().filter(|label| *label != 0).collect();
    labels.into_iter().collect()
}
