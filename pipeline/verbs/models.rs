//! `spinestream models`: the registry by hand. What a night does by itself can be looked at, put right and taken back.

#[cfg(feature = "torch")]
mod import;
mod shown;

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use clap::{Args, Subcommand};
use models::reconstructor::LEARNED;
use stages::registry::{
    Alias, AliasEntry, Collected, Keep, Pointed, ROLLBACK, Registry, RegistryError, VersionName, former,
};
use stages::starts::State;
use stages::store::Stores;

#[cfg(feature = "torch")]
use super::place_of;
use crate::champion::{ended, registry};
use crate::conf::Conf;
use crate::lease::Lease;
use crate::run::say;
use crate::{Exit, RunEnd};

/// What makes the entry of a promotion.
const PROMOTION: &str = "models promote";

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Method whose models are meant.
    #[arg(long, global = true, value_name = "METHOD", default_value = LEARNED[0], value_parser = LEARNED)]
    method: String,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the versions, oldest first: when and by what they were made, how good they were, which alias points to them.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows a version: its record, its files, its card, and where the aliases have pointed.
    Show {
        /// The version: its name, champion or challenger.
        #[arg(value_name = "NAME")]
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Makes a version champion.
    Promote {
        /// The version: its name, or challenger.
        #[arg(value_name = "VERSION")]
        name: String,
        /// Why, for those who come after.
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        why: String,
    },
    /// Makes the version champion that was it before the present one; done twice, the one before that.
    Rollback {
        /// Why, for those who come after.
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        why: String,
    },
    /// Deletes versions that nobody goes back to: neither champion nor challenger, old, and none of the last champions;
    /// and what interrupted attempts to publish have left.
    Gc {
        /// The last so many different champions stay, the present one included.
        #[arg(long, value_name = "N", default_value_t = Keep::default().champions)]
        keep: usize,
        /// Versions younger than so many days stay.
        #[arg(long, value_name = "N", default_value_t = Keep::default().days)]
        days: u32,
        /// Says what would be deleted, and deletes nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Makes a version of a file of weights; it is not champion before it is promoted.
    #[cfg(feature = "torch")]
    Import {
        /// Weights of the method: path or URL of a .safetensors.
        #[arg(value_name = "FILE")]
        file: String,
        /// A word on where they come from.
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
}

/// Does what is asked for.
///
/// # Errors
/// No registry, no such version, a lost race for an alias, a night at work while versions are to be deleted; a damaged
/// object; the store's.
pub async fn models(arguments: &Arguments, conf: &Conf, stores: &Arc<Stores>) -> Result<Exit> {
    let registry = registry(conf, stores, &arguments.method)?;
    match &arguments.verb {
        Verb::List { json } => shown::list(&registry, *json).await?,
        Verb::Show { name, json } => shown::show(&registry, name, *json).await?,
        Verb::Promote { name, why } => promote(&registry, name, why).await?,
        Verb::Rollback { why } => rollback(&registry, why).await?,
        Verb::Gc { keep, days, dry_run } => {
            let keep = Keep {
                champions: *keep,
                days: *days,
            };
            gc(&registry, keep, *dry_run).await?;
        }
        #[cfg(feature = "torch")]
        Verb::Import { file, note } => {
            let file = place_of(stores, "FILE", file)?;
            import::import(&registry, &file, note).await?;
        }
    }
    Ok(Exit::Done)
}

/// Returns how the verb ends that the registry has refused.
fn refused(error: RegistryError) -> RunEnd {
    ended("registry", error)
}

async fn promote(registry: &Registry, name: &str, why: &str) -> Result<(), RunEnd> {
    let version = registry.resolve(name).await.map_err(refused)?.version;
    let before = registry.alias(Alias::Champion).await.map_err(refused)?;
    if let Some(champion) = &before
        && champion.version == version
    {
        say(&format!("{version} is champion of {} already", registry.method()));
        return Ok(());
    }
    crown(registry, &version, before.as_ref(), PROMOTION, why).await
}

async fn rollback(registry: &Registry, why: &str) -> Result<(), RunEnd> {
    let history = registry.history(Alias::Champion).await.map_err(refused)?;
    let Some(version) = former(&history) else {
        return Err(RunEnd::Conf(format!(
            "rollback: expected a champion of {} before the present one, found none; `spinestream models promote VERSION` \
             takes any version",
            registry.method()
        )));
    };
    crown(registry, version, history.last(), ROLLBACK, why).await
}

/// Makes a version champion after the last entry seen, and says who was it before.
async fn crown(
    registry: &Registry,
    version: &VersionName,
    before: Option<&AliasEntry>,
    by: &str,
    why: &str,
) -> Result<(), RunEnd> {
    let after = before.map_or(0, |entry| entry.number);
    let pointed = registry.point(Alias::Champion, version, after, by, why).await;
    let entry = match pointed.map_err(refused)? {
        Pointed::Won(entry) => entry,
        Pointed::Lost(now) => {
            return Err(RunEnd::Unusable(format!(
                "expected to be the only one to change the champion, found that {} has made {} champion meanwhile ({}); if \
                 {version} is still to be it, promote it again",
                now.by, now.version, now.why
            )));
        }
    };
    // a `gc` that looked at the aliases before may have deleted it
    registry.version(version).await.map_err(refused)?;
    let before = before.map_or("none".to_owned(), |entry| entry.version.to_string());
    say(&format!(
        "{version} is champion of {} now, by entry {}; before: {before}",
        registry.method(),
        entry.number
    ));
    Ok(())
}

async fn gc(registry: &Registry, keep: Keep, dry_run: bool) -> Result<(), RunEnd> {
    let collected = if dry_run {
        registry
            .gc(keep, SystemTime::now(), dry_run)
            .await
            .map_err(refused)?
    } else {
        gc_alone(registry, keep).await?
    };
    let done = if dry_run { "would delete" } else { "deleted" };
    for version in &collected.versions {
        say(&format!("{done} {version}"));
    }
    for version in &collected.leftovers {
        say(&format!(
            "{done} {version}, which was never published or half deleted"
        ));
    }
    let count = collected.versions.len() + collected.leftovers.len();
    say(&format!(
        "{done} {count} of {}, {:.1} MiB",
        registry.method(),
        mib(collected.bytes)
    ));
    Ok(())
}

/// Deletes as a start like any other of the method's: no night begins meanwhile, and none is at work.
async fn gc_alone(registry: &Registry, keep: Keep) -> Result<Collected, RunEnd> {
    let lease = Lease::take(registry, "models gc", false).await?;
    let collected = registry.gc(keep, SystemTime::now(), false).await;
    let state = match &collected {
        Ok(_) => State::Ended,
        Err(_) => State::Broken,
    };
    lease.end(state).await;
    collected.map_err(refused)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
