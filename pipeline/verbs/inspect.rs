//! `spinestream inspect`: what the decoder sees in a file.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use clap::Args;
use schemas::{Fault, LabelScheme};
use serde_json::json;
use stages::decode::{DecodeConf, Inspection, inspect as look_at};
use stages::fetch::fetch_object;
use stages::store::Stores;

use crate::Exit;
use crate::conf::Conf;
use crate::run::{say, url};

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// File, or either half of a .hdr/.img pair.
    pub url: String,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Label scheme by which levels are named.
    #[arg(long, value_name = "SCHEME")]
    pub labels: Option<String>,
}

/// Prints the facts of the file, or the fault that it would become (exit code 1).
///
/// # Errors
/// An unknown label scheme, or no URL.
pub async fn inspect(arguments: &Arguments, conf: &Conf, stores: &Arc<Stores>) -> Result<Exit> {
    let named =
        |name: &String| LabelScheme::named(name, &conf.label_tables()).map_err(|message| anyhow!(message));
    let scheme = arguments.labels.as_ref().map(named).transpose()?;
    match seen(arguments, conf, stores, scheme).await? {
        Ok(inspection) if arguments.json => say(&serde_json::to_string_pretty(&inspection)?),
        Ok(inspection) => say(&inspection.to_string()),
        Err(fault) => {
            if arguments.json {
                let fault = json!({ "fault": { "kind": fault.kind, "reason": fault.reason, "message": fault.message } });
                say(&serde_json::to_string_pretty(&fault)?);
            } else {
                say(&format!("fault: {fault}"));
            }
            return Ok(Exit::SomeFailed);
        }
    }
    Ok(Exit::Done)
}

async fn seen(
    arguments: &Arguments,
    conf: &Conf,
    stores: &Arc<Stores>,
    scheme: Option<LabelScheme>,
) -> Result<Result<Inspection, Fault>> {
    let max_bytes = conf.run.memory.as_u64();
    let object = match fetch_object(stores, &url("URL", &arguments.url)?, max_bytes).await {
        Ok(object) => object,
        Err(fault) => return Ok(Err(fault)),
    };
    let look = move || {
        look_at(
            &object.bytes,
            object.pair.as_deref(),
            scheme.as_ref(),
            &DecodeConf { max_bytes },
        )
    };
    Ok(stages::blocking(look).await)
}
