//! What was compared, and what is missing.

use std::collections::BTreeMap;

use schemas::rows::ComparisonRow;
use schemas::{Flag, Level};

use super::markdown::{NONE, Table};
use crate::compare::Comparison;
use crate::compare::pairs::Source;
use crate::compare::summary::PERSONS_TO_RESAMPLE;
use crate::tables::SOFTWARE_VERSION;

/// Characters of a hash that a table shows; the Parquet has all.
const HASH_SHOWN: usize = 12;

/// Fewer resampled units than these, and a percentile interval is clearly narrower than its name says.
const FEW_UNITS: usize = 30;

/// Returns what was compared, on what, and how.
pub fn header(comparison: &Comparison) -> String {
    let conf = &comparison.conf;
    let mut persons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for subject in &comparison.subjects {
        let levels = persons.entry(&subject.person).or_default();
        levels.push(subject.level.to_string());
    }
    let count = persons.len();
    let persons: Vec<String> = persons
        .into_iter()
        .map(|(person, levels)| format!("{person} ({})", levels.join(", ")))
        .collect();
    let degraded = comparison
        .subjects
        .iter()
        .filter(|subject| subject.source == Source::Degraded)
        .count();
    let grid = comparison.subjects.first().map_or(String::new(), |subject| {
        let shape = subject.reference.mask.dim();
        let [x, y, z] = subject.reference.affine.spacing_mm();
        format!(
            "{} × {} × {} voxels of {x} × {y} × {z} mm",
            shape.0, shape.1, shape.2
        )
    });
    let resampled = match (conf.bootstrap, comparison.resamples_persons()) {
        (0, _) => "none".to_owned(),
        (resamples, true) => format!("percentile bootstrap, 95 %, {resamples} resamples of persons"),
        (resamples, false) => format!(
            "percentile bootstrap, 95 %, {resamples} resamples of vertebrae, as there are fewer than \
             {PERSONS_TO_RESAMPLE} persons: they say how far these vertebrae differ, not how far persons would"
        ),
    };
    let units = if comparison.resamples_persons() {
        count
    } else {
        comparison.subjects.len()
    };
    let few = if conf.bootstrap > 0 && units < FEW_UNITS {
        format!("; of only {units} they cover less than 95 %")
    } else {
        String::new()
    };
    let mut facts = Table::new(2, ["", ""]);
    for (name, value) in [
        ("comparison", comparison.key.clone()),
        ("software", format!("spinestream {SOFTWARE_VERSION}")),
        ("manifest, SHA-256", comparison.manifest_sha256.clone()),
        (
            "vertebrae",
            format!("{} of {count} persons", comparison.subjects.len()),
        ),
        ("persons", persons.join("; ")),
        (
            "inputs",
            format!(
                "{degraded} by the standard degradation of their reference, {} masks of their own",
                comparison.subjects.len() - degraded
            ),
        ),
        (
            "seed",
            format!("{}; of each vertebra: from it and `<person>_<level>`", conf.seed),
        ),
        ("grid", grid),
        ("intervals", format!("{resampled}{few}")),
    ] {
        facts.row([name.to_owned(), value]);
    }

    let mut methods = Table::new(
        2,
        [
            "method",
            "chain",
            "steps",
            "sampler",
            "samples",
            "mirror",
            "numbers",
            "version",
            "weights, SHA-256",
        ],
    );
    for method in &comparison.methods {
        let identity = &method.identity;
        methods.row([
            method.conf.name.clone(),
            identity.chain.join(" → "),
            identity.steps.to_string(),
            identity.sampler.unwrap_or(NONE).to_owned(),
            identity.samples.to_string(),
            if identity.mirror { "yes" } else { NONE }.to_owned(),
            identity.precision.unwrap_or(NONE).to_owned(),
            identity.model_version.clone(),
            shortened(&identity.weights_sha256),
        ]);
    }
    format!("{}{}", facts.finish(), methods.finish())
}

/// Returns the beginning of each network's hash.
fn shortened(hashes: &str) -> String {
    if hashes.is_empty() {
        return NONE.to_owned();
    }
    let each = hashes.split('+').map(|hash| {
        let shown: String = hash.chars().take(HASH_SHOWN).collect();
        format!("{shown}…")
    });
    each.collect::<Vec<_>>().join(" + ")
}

/// Returns what is missing, and why.
pub fn failures(comparison: &Comparison) -> String {
    let failed: Vec<_> = comparison.failures().collect();
    let mut text = format!(
        "## Failures\n\n{} cases or vertebrae left out, {} reconstructions failed.\n",
        comparison.left_out.len(),
        failed.len()
    );
    if !comparison.left_out.is_empty() {
        let mut table = Table::new(5, ["left out", "level", "kind", "reason", "message"]);
        for entry in &comparison.left_out {
            let level = entry.level.map_or("all", Level::as_str);
            let fault = &entry.fault;
            table.row([
                entry.case_id.as_str(),
                level,
                fault.kind.as_str(),
                fault.reason,
                &fault.message,
            ]);
        }
        text.push_str(&table.finish());
    }
    if !failed.is_empty() {
        let mut table = Table::new(6, ["method", "case", "level", "kind", "reason", "message"]);
        for row in failed {
            table.row([
                row.method.as_str(),
                &row.case_id,
                row.level,
                row.kind.unwrap_or_default(),
                row.reason.unwrap_or_default(),
                row.message.as_deref().unwrap_or_default(),
            ]);
        }
        text.push_str(&table.finish());
    }
    let empty = |row: &&ComparisonRow| row.flags.contains(&Flag::ReconstructionEmpty.as_str());
    for method in &comparison.methods {
        let count = method.rows.iter().filter(empty).count();
        if count > 0 {
            text.push_str(&format!(
                "\n{}: {count} reconstructions are empty, with a DSC of 0 and without distances.\n",
                method.conf.name
            ));
        }
    }
    text.push('\n');
    text
}
