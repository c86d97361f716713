//! Opens the masks of a run for those who look at it: how it was made its configuration tells, or its record.

use std::sync::Arc;

use serde_json::Value;
use stages::gather::Cut;
use stages::masks::{Cutter, MaskSource};
use stages::results::{Record, Results};
use stages::store::Stores;
use stages::tables::RunTables;

use crate::conf::Conf;
use crate::run::manifest;

/// Returns where the masks of a run come from. `conf` tells how it was made and from what; where that names no manifest,
/// the run's last record does.
pub fn mask_source(tables: &RunTables, conf: &Conf, stores: &Arc<Stores>) -> MaskSource {
    let (conf, stores, of_run) = (conf.clone(), Arc::clone(stores), tables.clone());
    let cutter = async move {
        let conf = if conf.run.manifest.is_empty() {
            conf_of_record(&of_run).await?
        } else {
            conf
        };
        let key = "run.manifest";
        let manifest = manifest(key, &conf.run.manifest, conf.run.seed, &conf, &stores).await;
        let manifest = manifest.map_err(|end| end.to_string())?;
        let cut = Cut::new(&stores, &conf.crop, conf.run.memory.as_u64());
        Ok(Cutter::new(cut, manifest))
    };
    MaskSource::new(tables.clone(), cutter)
}

/// Returns the configuration that the run's last record tells of.
async fn conf_of_record(tables: &RunTables) -> Result<Conf, String> {
    let results = Results::read(tables).await.map_err(|error| error.to_string())?;
    let told = |record: &Record| record.json.get("configuration").cloned();
    let told: Option<Value> = results.records.iter().rev().find_map(told);
    let none = || {
        "it is not among the run's files, and no record says which manifest it came from: give the run's \
         configuration with --conf"
            .to_owned()
    };
    serde_json::from_value(told.ok_or_else(none)?).map_err(|error| {
        format!(
            "the run's record has a configuration of another version ({error}): give the run's with --conf"
        )
    })
}
