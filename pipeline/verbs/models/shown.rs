//! What `models list` and `models show` say.

use serde::Serialize;
use serde_json::{Value, json};
use stages::registry::{Alias, AliasEntry, CARD, Registry, RegistryError, VersionRecord};

use super::{mib, refused};
use crate::RunEnd;
use crate::run::say;

/// File of a version that says how it did against the champion of its day.
const JUDGEMENT: &str = "judgement.json";

/// File of a version that says how its training went.
const METRICS: &str = "metrics.json";

/// One version of the list.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    record: VersionRecord,
    bytes: u64,
    /// Mean over held-out masks: of the night that judged it, else of its training.
    dsc: Option<f64>,
    aliases: Vec<Alias>,
}

/// Prints every version.
pub(super) async fn list(registry: &Registry, json: bool) -> Result<(), RunEnd> {
    let lines = lines(registry).await.map_err(refused)?;
    if json {
        return print(&lines);
    }
    if lines.is_empty() {
        say(&format!("no version of {} yet", registry.method()));
        return Ok(());
    }
    let mut text = row(
        "version",
        "created (UTC)",
        "made by",
        "parent",
        "DSC",
        "MiB",
        "aliases",
    );
    for line in &lines {
        let record = &line.record;
        let aliases: Vec<&str> = line.aliases.iter().map(|alias| alias.as_str()).collect();
        let shown = row(
            record.version.as_str(),
            &minute(&record.created),
            &record.made_by,
            record.parent.as_ref().map_or("-", |parent| parent.as_str()),
            &line.dsc.map_or("-".to_owned(), |dsc| format!("{dsc:.4}")),
            &format!("{:.1}", mib(line.bytes)),
            &aliases.join(", "),
        );
        text.push_str(&shown);
    }
    say(&text);
    Ok(())
}

async fn lines(registry: &Registry) -> Result<Vec<Line>, RegistryError> {
    let mut pointed = Vec::new();
    for alias in Alias::ALL {
        pointed.extend(registry.alias(alias).await?);
    }
    let mut lines = Vec::new();
    for record in registry.versions().await? {
        let aliases = pointed.iter().filter(|entry| entry.version == record.version);
        lines.push(Line {
            aliases: aliases.map(|entry| entry.alias).collect(),
            dsc: dsc(registry, &record).await,
            bytes: record.bytes(),
            record,
        });
    }
    Ok(lines)
}

/// Returns the mean DSC of a version, if anything tells one; that nothing does is no fault of the list.
async fn dsc(registry: &Registry, record: &VersionRecord) -> Option<f64> {
    // champion and challenger, in this order: the version was the challenger
    if let Some(judged) = said(registry, record, JUDGEMENT).await
        && let Some(dsc) = judged.pointer("/dsc/1").and_then(Value::as_f64)
    {
        return Some(dsc);
    }
    let trained = said(registry, record, METRICS).await?;
    trained.pointer("/validation/mean/reconstruction/dsc")?.as_f64()
}

/// Returns what a file beside a version's says, whether the version lists it or not.
async fn said(registry: &Registry, record: &VersionRecord, file: &str) -> Option<Value> {
    let found = registry.find(&format!("{}/{file}", record.version)).await;
    let bytes = found.ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// Prints a version.
pub(super) async fn show(registry: &Registry, name: &str, json: bool) -> Result<(), RunEnd> {
    let record = registry.resolve(name).await.map_err(refused)?;
    let card = match record.file(CARD) {
        Some(_) => {
            let bytes = registry.read(&record, CARD).await.map_err(refused)?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        None => None,
    };
    let mut histories = Vec::new();
    for alias in Alias::ALL {
        histories.push((alias, registry.history(alias).await.map_err(refused)?));
    }
    if json {
        let histories: serde_json::Map<String, Value> = histories
            .iter()
            .map(|(alias, history)| (alias.to_string(), json!(history)))
            .collect();
        return print(&json!({ "record": record, "card": card, "aliases": histories }));
    }
    let mut text = told(&record);
    for (alias, history) in &histories {
        text.push_str(&format!("\n{alias} of {}:\n", registry.method()));
        for entry in history {
            text.push_str(&entry_line(entry));
        }
        if history.is_empty() {
            text.push_str("  none yet\n");
        }
    }
    if let Some(card) = card {
        text.push_str(&format!("\n{card}"));
    }
    say(&text);
    Ok(())
}

fn told(record: &VersionRecord) -> String {
    let parent = record.parent.as_ref().map_or("none", |parent| parent.as_str());
    let mut text = format!(
        "version   {}\nmethod    {}\ncreated   {}\nmade by   {}, spinestream {}\nparent    {parent}\nnote      {}\n",
        record.version, record.method, record.created, record.made_by, record.software_version, record.note
    );
    for file in &record.files {
        text.push_str(&format!(
            "{:>12} {:<24} sha256 {}\n",
            file.bytes, file.name, file.sha256
        ));
    }
    text
}

fn entry_line(entry: &AliasEntry) -> String {
    format!(
        "  {:>4} {} {} by {}: {}\n",
        entry.number,
        minute(&entry.at),
        entry.version,
        entry.by,
        entry.why
    )
}

/// Returns a line of the list, its columns as wide as most of what stands in them.
fn row(
    version: &str,
    created: &str,
    made_by: &str,
    parent: &str,
    dsc: &str,
    mib: &str,
    aliases: &str,
) -> String {
    let line = format!("{version:<18} {created:<16} {made_by:<10} {parent:<18} {dsc:>6} {mib:>7} {aliases}");
    format!("{}\n", line.trim_end())
}

/// Returns an RFC 3339 time to the minute, for people.
fn minute(time: &str) -> String {
    let minute: String = time.chars().take("2026-11-26T16:36".len()).collect();
    minute.replace('T', " ")
}

fn print(value: &impl Serialize) -> Result<(), RunEnd> {
    let text = serde_json::to_string_pretty(value);
    say(&text.map_err(|error| RunEnd::Unusable(format!("registry: {error}")))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_their_heads() {
        let head = row(
            "version",
            "created (UTC)",
            "made by",
            "parent",
            "DSC",
            "MiB",
            "aliases",
        );
        let line = row(
            "v20261126-1a2b3c4d",
            &minute("2026-11-26T16:36:27.123Z"),
            "night 3",
            "-",
            "0.9021",
            "6.1",
            "champion",
        );
        assert_eq!(
            line,
            "v20261126-1a2b3c4d 2026-11-26 16:36 night 3    -                  0.9021     6.1 champion\n"
        );
        assert_eq!(head.find("aliases"), line.find("champion"));
        assert_eq!(head.find("parent"), line.find("-       "));
    }
}
