//! By what the run was made: the model, and where every number comes from.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::LISTED_MOST;
use super::facts::{Facts, number, text};
use super::opening::seconds;
use crate::report::page::{
    Column, Markup, Section, Table, all, code, count, facts as table_of, folded, named, paragraph, words,
};
use crate::report::svg::escape;
use crate::results::Record;
use crate::tables::SOFTWARE_VERSION;

/// How the versions of the weights begin that the program comes with.
const SHIPPED: &str = "compact-";

/// Keys of a record's model block, and how the page names them.
const MODEL_KEYS: [(&str, &str); 8] = [
    ("chain", "chain, in order"),
    ("model_version", "version of the weights"),
    ("weights_sha256", "SHA-256 of the weights"),
    ("steps", "diffusion levels walked"),
    ("sampler", "how a level is walked"),
    ("samples", "samples a vertebra"),
    ("mirror", "mean with the mirror image"),
    ("precision", "numbers computed in"),
];

/// Returns the section on the model.
pub(super) fn model(facts: &Facts<'_>) -> Section {
    let recorded = facts
        .starts
        .iter()
        .rev()
        .find_map(|record| record.json.get("model").filter(|model| model.is_object()));
    let recorded = match recorded {
        Some(model) => {
            let known = MODEL_KEYS.iter();
            let known = known.filter_map(|(key, name)| Some((*name, code(&shown(model.get(*key)?)))));
            table_of("As the last record tells", known)
        }
        None => paragraph("No record tells of the model."),
    };
    Section {
        id: "model",
        title: "Model",
        body: all([recorded, by_rows(facts), card(facts)]),
    }
}

/// Returns a value of a record in words: texts as they are, lists joined.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" → "),
        other => other.to_string(),
    }
}

/// Returns what the rows themselves say they were made by: one line unless the run is a mixture.
fn by_rows(facts: &Facts<'_>) -> Markup {
    let mut makers: BTreeMap<(String, &str, &str), usize> = BTreeMap::new();
    for vertebra in facts.vertebrae(None) {
        let maker = (
            vertebra.chain.join(" → "),
            vertebra.model_version.as_str(),
            vertebra.weights_sha256.as_str(),
        );
        *makers.entry(maker).or_default() += 1;
    }
    if makers.is_empty() {
        return paragraph("No row tells of the model: there is no vertebra.");
    }
    let mixture = match makers.len() {
        1 => None,
        some => Some(paragraph(&format!(
            "The rows were made by {some} different models: their numbers are not of one method."
        ))),
    };
    let mut table = Table::new(
        "As the rows tell",
        &[
            Column::Text("chain"),
            Column::Text("version"),
            Column::Text("SHA-256 of the weights"),
            Column::Number("vertebrae"),
        ],
    );
    for ((chain, version, sha256), vertebrae) in makers.iter().take(LISTED_MOST) {
        let sha256 = if sha256.is_empty() {
            words("none")
        } else {
            code(sha256)
        };
        table.row([code(chain), code(version), sha256, count(*vertebrae)]);
    }
    all(mixture.into_iter().chain([table.finish()]))
}

/// Says what the shipped weights are for, if it were they.
fn card(facts: &Facts<'_>) -> Markup {
    let mut vertebrae = facts.vertebrae(None);
    if !vertebrae.any(|vertebra| vertebra.model_version.starts_with(SHIPPED)) {
        return paragraph(
            "Weights of this version do not come with the program: their own card tells what they were trained on.",
        );
    }
    paragraph(
        "Versions that begin with compact- are the shipped weights. They restore a lumbar vertebra's mask, drawn on \
         thick-slice MRI, to the shape that CT would show; research use only. What they were trained on, what they were \
         held against and where they fail is told in models/weights/README.md of the program's source.",
    )
}

/// Returns the section on where the page comes from; `made` is when.
pub(super) fn provenance(facts: &Facts<'_>, made: &str) -> Section {
    let results = facts.results;
    let versions: Vec<&str> = results.versions.iter().map(String::as_str).collect();
    let mut software: Vec<&str> = results
        .cases
        .iter()
        .map(|case| case.software_version.as_str())
        .collect();
    software.sort_unstable();
    software.dedup();
    let finished = || results.cases.iter().filter_map(|case| case.finished_at);
    let sha256 = facts.last().and_then(|record| text(record, "/manifest_sha256"));
    let run = table_of(
        "This run",
        [
            ("run", code(&results.run)),
            ("first case ended", words(&instant(finished().min()))),
            ("last case ended", words(&instant(finished().max()))),
            ("SHA-256 of the manifest", named(sha256, "not told")),
            ("software of the rows", words(or_none(&software.join(", ")))),
            ("schema of the tables", words(or_none(&versions.join(", ")))),
            ("parts of the tables", count(results.parts)),
            (
                "this page",
                words(&format!("spinestream {SOFTWARE_VERSION}, {made}")),
            ),
        ],
    );
    let parts = [run, records(facts)].into_iter().chain(configuration(facts));
    Section {
        id: "provenance",
        title: "Provenance",
        body: all(parts),
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// Returns a time of the tables, in ms since 1970, as RFC 3339 in UTC.
fn instant(milliseconds: Option<i64>) -> String {
    let time = milliseconds.and_then(DateTime::<Utc>::from_timestamp_millis);
    time.map_or_else(
        || "not told".to_owned(),
        |time| time.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

fn records(facts: &Facts<'_>) -> Markup {
    let records = &facts.results.records;
    if records.is_empty() {
        return paragraph("No start has left a record.");
    }
    let mut table = Table::new(
        "Starts of the run, by their records",
        &[
            Column::Text("record"),
            Column::Text("verb"),
            Column::Text("state"),
            Column::Text("software"),
            Column::Number("cases done"),
            Column::Number("cases failed"),
            Column::Number("time"),
            Column::Number("processor time"),
        ],
    );
    for record in records.iter().take(LISTED_MOST) {
        table.row([
            code(&record.name),
            words(text(record, "/verb").unwrap_or("run")),
            words(text(record, "/state").unwrap_or("not told")),
            words(text(record, "/software_version").unwrap_or("not told")),
            whole(record, "/counts/done"),
            whole(record, "/counts/failed"),
            time(record, "/seconds"),
            time(record, "/cpu_seconds"),
        ]);
    }
    let more = records.len().saturating_sub(LISTED_MOST);
    let more = (more > 0).then(|| paragraph(&format!("{LISTED_MOST} of {} are listed.", records.len())));
    all([table.finish()].into_iter().chain(more))
}

fn whole(record: &Record, pointer: &str) -> Markup {
    let told = number(record, pointer);
    told.map_or_else(|| words("–"), |value| count(value as usize))
}

fn time(record: &Record, pointer: &str) -> Markup {
    let told = number(record, pointer);
    told.map_or_else(|| words("–"), |value| words(&seconds(value)))
}

/// Returns the configuration of the last start, as its record holds it: without secrets.
fn configuration(facts: &Facts<'_>) -> Option<Markup> {
    let configuration = facts.last()?.json.get("configuration")?;
    let text = serde_json::to_string_pretty(configuration).ok()?;
    // a line break is the only white space that must stay
    let lines: Vec<String> = text.lines().map(escape).collect();
    let pre = format!("<pre><code>{}</code></pre>\n", lines.join("\n"));
    Some(folded("Configuration of the last start", Markup::trusted(pre)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_a_record_are_told_in_words() {
        let told = |value: Value| shown(&value);
        assert_eq!(told(json!(["reconnet", "lsd_ebm"])), "reconnet → lsd_ebm");
        assert_eq!(told(json!(null)), "none");
        assert_eq!(told(json!("")), "none");
        assert_eq!(told(json!(true)), "yes");
        assert_eq!(told(json!(8)), "8");
    }

    #[test]
    fn instants_are_told_to_the_second_and_impossible_ones_not_at_all() {
        assert_eq!(instant(Some(1_790_000_000_999)), "2026-09-21T14:13:20Z");
        assert_eq!(instant(None), "not told");
        assert_eq!(instant(Some(i64::MAX)), "not told");
    }
}
