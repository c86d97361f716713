//! `spinestream verify`: is everything there, once, and as it was written?

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use stages::blocking;
use stages::store::Stores;
use stages::tables::verify as check;

use super::{exit_of, tables_of};
use crate::census::id_of;
use crate::conf::Conf;
use crate::run::{manifest, say};
use crate::{Exit, RunEnd};

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The run: its id, or the path or URL of its folder runs/<id>; else the configuration's. The manifest is the
    /// configuration's: --conf, or --set run.manifest=….
    pub run: Option<String>,
    /// Leaves the files' bytes unread: tables only.
    #[arg(long)]
    pub tables_only: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Verifies a run; exit code 1 if something is not as it must be, a case without a row included.
///
/// # Errors
/// The manifest cannot be read; the store's; a file below the tables that is none of ours.
pub async fn verify(arguments: &Arguments, conf: &Conf, stores: &Arc<Stores>) -> Result<Exit> {
    let tables = tables_of(stores, conf, arguments.run.as_deref()).await?;
    let key = "run.manifest";
    let manifest = manifest(key, &conf.run.manifest, conf.run.seed, conf, stores).await?;
    let ids = move || {
        let mut ids = Vec::new();
        for case in manifest.read()? {
            ids.push(id_of(&case?));
        }
        Ok(ids)
    };
    let ids: Vec<String> = blocking(ids)
        .await
        .map_err(|error| RunEnd::Manifest { key, error })?;
    let verified = check(&tables, ids.into_iter(), !arguments.tables_only)
        .await
        .map_err(RunEnd::from)?;

    if arguments.json {
        let problems: Vec<String> = verified.problems.iter().map(ToString::to_string).collect();
        let found = json!({
            "manifest": verified.manifest,
            "cases": verified.cases,
            "rows": verified.rows,
            "vertebrae": verified.vertebrae,
            "mended_rows": verified.mended,
            "parts": verified.parts,
            "files": verified.files,
            "bytes": verified.bytes,
            "problems": verified.count,
            "listed": problems,
        });
        say(&serde_json::to_string_pretty(&found)?);
        return Ok(exit_of(verified.count == 0));
    }
    for problem in &verified.problems {
        say(&problem.to_string());
    }
    if verified.count > verified.problems.len() {
        say(&format!(
            "… and {} more",
            verified.count - verified.problems.len()
        ));
    }
    say(&format!(
        "{} cases in the manifest, {} with a row{}, {} rows in {} parts; {} vertebrae; {} files, {} MiB; {} problems",
        verified.manifest,
        verified.cases,
        if verified.mended > 0 {
            format!(" ({} of rows row-<n> mended since)", verified.mended)
        } else {
            String::new()
        },
        verified.rows,
        verified.parts,
        verified.vertebrae,
        verified.files,
        verified.bytes >> 20,
        verified.count
    ));
    Ok(exit_of(verified.count == 0))
}
