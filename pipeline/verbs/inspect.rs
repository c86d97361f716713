//! `spinestream inspect`: what the decoder sees in a file.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use clap::Args;
use schemas::{Fault, FaultKind, LabelScheme};
use serde::Serialize;
use serde_json::json;
use stages::decode::{DecodeConf, inspect as look_at};
use stages::dicom::folder;
use stages::fetch::{fetch_below, fetch_object};
use stages::store::Stores;

use crate::Exit;
use crate::conf::Conf;
use crate::run::{say, url};

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// File, either half of a .hdr/.img pair, or a folder or prefix of DICOM objects.
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
        Ok(seen) => say(&if arguments.json { seen.json? } else { seen.text }),
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

/// What was seen, in both forms.
struct Seen {
    text: String,
    json: Result<String, serde_json::Error>,
}

impl Seen {
    fn of(seen: &(impl ToString + Serialize)) -> Self {
        Self {
            text: seen.to_string(),
            json: serde_json::to_string_pretty(seen),
        }
    }
}

async fn seen(
    arguments: &Arguments,
    conf: &Conf,
    stores: &Arc<Stores>,
    scheme: Option<LabelScheme>,
) -> Result<Result<Seen, Fault>> {
    let max_bytes = conf.run.memory.as_u64();
    let url = url("URL", &arguments.url)?;
    // what ends like a folder is one; what is no object may be one, too
    let object = if arguments.url.ends_with('/') {
        None
    } else {
        Some(fetch_object(stores, &url, max_bytes).await)
    };
    let object = match object {
        Some(Ok(object)) => object,
        Some(Err(fault)) if fault.kind != FaultKind::Missing && !is_folder(&arguments.url) => {
            return Ok(Err(fault));
        }
        missing => {
            let none = || {
                Fault::missing(
                    "object_not_found",
                    "expected an object, or a folder of objects, found neither",
                )
            };
            let objects = match fetch_below(stores, &url, max_bytes).await {
                Ok(objects) => objects,
                Err(fault) => return Ok(Err(fault)),
            };
            if objects.is_empty() {
                return Ok(Err(missing.and_then(Result::err).unwrap_or_else(none)));
            }
            let stack = conf.dicom.stack;
            let look = move || Seen::of(&folder::inspect(&objects, &stack, max_bytes));
            return Ok(Ok(stages::blocking(look).await));
        }
    };
    let look = move || {
        let conf = DecodeConf { max_bytes };
        look_at(&object.bytes, object.pair.as_deref(), scheme.as_ref(), &conf).map(|seen| Seen::of(&seen))
    };
    Ok(stages::blocking(look).await)
}

/// Whether a path of this machine is a folder: reading one fails in the disk's own words.
fn is_folder(text: &str) -> bool {
    let path = text.strip_prefix("file://").unwrap_or(text);
    std::path::Path::new(path).is_dir()
}
