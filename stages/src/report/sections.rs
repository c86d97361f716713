//! The sections of the report, in order.

use std::collections::BTreeMap;

use schemas::Level;

use super::figures::{Figure, Place};
use super::markdown::{NONE, Table, mean_and_sd, number, signed};
use crate::compare::pairs::Source;
use crate::compare::summary::{PERSONS_TO_RESAMPLE, Side, median, metric, spread};
use crate::compare::{Comparison, Method};
use crate::tables::SOFTWARE_VERSION;

/// Metrics of the report: column of the table, heading, decimals. Jaccard is in the Parquet only: DSC says the same.
const SHOWN: [(&str, &str, usize); 10] = [
    ("dsc", "DSC", 3),
    ("vs", "VS", 3),
    ("sen", "SEN", 3),
    ("spec", "SPEC", 4),
    ("nmi", "NMI", 3),
    ("ck", "CK", 3),
    ("ppv", "PPV", 3),
    ("npv", "NPV", 4),
    ("hd95_mm", "HD95 mm", 2),
    ("assd_mm", "ASSD mm", 3),
];

/// Those given for every vertebra and level.
const FEW: [(&str, &str, usize); 3] = [
    ("dsc", "DSC", 3),
    ("assd_mm", "ASSD mm", 3),
    ("hd95_mm", "HD95 mm", 2),
];

/// Characters of a hash that a table shows; the Parquet has all.
const HASH_SHOWN: usize = 16;

/// Returns the report.
pub fn report(comparison: &Comparison, figures: &[Figure]) -> String {
    let mut text = String::from("# Comparison of methods\n");
    text.push_str(&header(comparison));
    text.push_str(&failures(comparison));
    text.push_str(&means(comparison));
    text.push_str(&gains(comparison));
    text.push_str(&between_methods(comparison));
    text.push_str(&by_level(comparison));
    text.push_str(&every_vertebra(comparison));
    text.push_str(&agreement(comparison, figures));
    text.push_str(&over_steps(figures));
    text.push_str(&traces(comparison, figures));
    text.push_str(&pictures(figures));
    text.push_str(&times(comparison));
    text
}

fn header(comparison: &Comparison) -> String {
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
    let mut facts = Table::new(["", ""]);
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
        ("intervals", resampled),
    ] {
        facts.row([name.to_owned(), value]);
    }

    let mut methods = Table::new([
        "method",
        "chain",
        "steps",
        "samples",
        "version",
        "weights, SHA-256",
    ]);
    for method in &comparison.methods {
        let identity = &method.identity;
        let hash: String = identity.weights_sha256.chars().take(HASH_SHOWN).collect();
        methods.row([
            method.conf.name.clone(),
            identity.chain.join(" → "),
            identity.steps.to_string(),
            identity.samples.to_string(),
            identity.model_version.clone(),
            if hash.is_empty() {
                NONE.to_owned()
            } else {
                format!("{hash}…")
            },
        ]);
    }
    format!("{}{}", facts.finish(), methods.finish())
}

fn failures(comparison: &Comparison) -> String {
    let failed: Vec<_> = comparison.failures().collect();
    let mut text = format!(
        "## Failures\n\n{} cases or vertebrae left out, {} reconstructions failed.\n",
        comparison.left_out.len(),
        failed.len()
    );
    if !comparison.left_out.is_empty() {
        let mut table = Table::new(["left out", "level", "kind", "reason", "message"]);
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
        let mut table = Table::new(["method", "case", "level", "kind", "reason", "message"]);
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
    text.push('\n');
    text
}

fn means(comparison: &Comparison) -> String {
    let mut text = String::from(
        "## Metrics\n\nMean ± standard deviation (n − 1) over the vertebrae that have the value; n counts \
         reconstructions. DSC, VS, SEN, SPEC, NMI and CK as in the paper's Appendix D (its Table 1 prints precision, here \
         PPV, as SEN, and NPV as SPEC). HD95 and ASSD in mm: less is better.\n",
    );
    let headings = SHOWN.map(|(_, heading, _)| heading);
    let mut table = Table::new(["method", "n"].into_iter().chain(headings));
    for side in comparison.sides() {
        let done = (0..comparison.subjects.len())
            .filter(|subject| comparison.scores(side, *subject).is_some())
            .count();
        let cells = SHOWN.map(|(name, _, decimals)| {
            let values: Vec<f64> = comparison
                .values(side, metric(name))
                .into_iter()
                .flatten()
                .collect();
            mean_and_sd(spread(&values), decimals)
        });
        let first = [side.name().to_owned(), done.to_string()];
        table.row(first.into_iter().chain(cells));
    }
    text.push_str(&table.finish());
    text
}

fn gains(comparison: &Comparison) -> String {
    let mut text = String::from(
        "## Difference to the input\n\nMean of reconstruction − input over the same vertebrae, with its interval.\n",
    );
    let headings = SHOWN.map(|(_, heading, _)| heading);
    let mut table = Table::new(["method", "n"].into_iter().chain(headings));
    for method in &comparison.methods {
        let side = Side::Method(method);
        let estimates = SHOWN.map(|(name, _, decimals)| {
            let estimate = comparison.difference(side, Side::Input, metric(name));
            (estimate, decimals)
        });
        let pairs = estimates[0].0.map_or(0, |estimate| estimate.count);
        let first = [method.conf.name.clone(), pairs.to_string()];
        let cells = estimates.map(|(estimate, decimals)| signed(estimate, decimals));
        table.row(first.into_iter().chain(cells));
    }
    text.push_str(&table.finish());
    text
}

fn between_methods(comparison: &Comparison) -> String {
    if comparison.methods.len() < 2 {
        return String::new();
    }
    let mut text = String::from(
        "## Differences between methods\n\nMean DSC of the row's method − that of the column's, over the vertebrae that \
         both did, with its interval.\n",
    );
    let names = comparison.methods.iter().map(|method| method.conf.name.as_str());
    let mut table = Table::new(std::iter::once("ΔDSC").chain(names));
    let dsc = metric("dsc");
    for (index, one) in comparison.methods.iter().enumerate() {
        let cells = comparison.methods.iter().enumerate().map(|(other_index, other)| {
            if index == other_index {
                return String::new();
            }
            signed(
                comparison.difference(Side::Method(one), Side::Method(other), dsc),
                3,
            )
        });
        table.row(std::iter::once(one.conf.name.clone()).chain(cells));
    }
    text.push_str(&table.finish());
    text
}

fn by_level(comparison: &Comparison) -> String {
    let mut text = String::from("## By level\n");
    let headings = FEW.map(|(_, heading, _)| heading);
    let mut table = Table::new(["level", "method", "n"].into_iter().chain(headings));
    for level in Level::ALL {
        let here: Vec<usize> = comparison
            .subjects
            .iter()
            .enumerate()
            .filter(|(_, subject)| subject.level == level)
            .map(|(index, _)| index)
            .collect();
        if here.is_empty() {
            continue;
        }
        for side in comparison.sides() {
            let scores: Vec<_> = here
                .iter()
                .filter_map(|index| comparison.scores(side, *index))
                .collect();
            let cells = FEW.map(|(name, _, decimals)| {
                let values: Vec<f64> = scores.iter().filter_map(|scores| scores[metric(name)]).collect();
                mean_and_sd(spread(&values), decimals)
            });
            let first = [
                level.to_string(),
                side.name().to_owned(),
                scores.len().to_string(),
            ];
            table.row(first.into_iter().chain(cells));
        }
    }
    text.push_str(&table.finish());
    text
}

fn every_vertebra(comparison: &Comparison) -> String {
    let mut text = String::from("## Every vertebra\n");
    let sides = comparison.sides();
    for (name, heading, decimals) in FEW {
        let metric = metric(name);
        let mut table = Table::new(std::iter::once(heading).chain(sides.iter().map(Side::name)));
        for (index, subject) in comparison.subjects.iter().enumerate() {
            let cells = sides.iter().map(|side| match comparison.scores(*side, index) {
                Some(scores) => number(scores[metric], decimals),
                None => "failed".to_owned(),
            });
            table.row(std::iter::once(subject.name()).chain(cells));
        }
        text.push_str(&table.finish());
    }
    text
}

fn agreement(comparison: &Comparison, figures: &[Figure]) -> String {
    let sampled: Vec<&Method> = comparison
        .methods
        .iter()
        .filter(|method| method.identity.samples > 1)
        .collect();
    if sampled.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "## Agreement of samples\n\nAgreement: mean share of samples on the winning side, over the voxels that any claims. \
         ECE: mean of |share of the voxels that the reference has − share k/N of samples that claim them|, over the bins \
         k = 0 … N weighted by their voxels, of all voxels that any sample claims or the reference has; beside it without \
         k = 0, the voxels that every sample missed.\n",
    );
    let mut table = Table::new([
        "method",
        "samples",
        "agreement",
        "volume sd mm³",
        "pairwise DSC",
        "ECE",
        "ECE of claims",
    ]);
    for method in sampled {
        let mean = |get: fn(&schemas::vertebra::SampleSpread) -> f64| {
            let spreads = method.rows.iter().filter_map(|row| row.spread.as_ref());
            let values: Vec<f64> = spreads.map(get).collect();
            spread(&values).map(|spread| spread.mean)
        };
        let reliability = method.reliability.as_ref();
        let error = reliability.and_then(|found| found.expected_calibration_error());
        let of_claims = reliability.and_then(|found| found.error_of_claims());
        table.row([
            method.conf.name.clone(),
            method.identity.samples.to_string(),
            number(mean(|spread| spread.agreement), 3),
            number(mean(|spread| spread.volume_sd_mm3), 0),
            number(mean(|spread| spread.pairwise_dsc), 3),
            number(error, 3),
            number(of_claims, 3),
        ]);
    }
    text.push_str(&table.finish());
    text.push_str(&images(figures, Place::Reliability));
    text
}

fn over_steps(figures: &[Figure]) -> String {
    let images = images(figures, Place::Steps);
    if images.is_empty() {
        return String::new();
    }
    format!(
        "## Over steps\n\nThe paper's Fig. 4: the methods with `figure = \"steps\"`, a line a chain.\n\n{images}"
    )
}

fn traces(comparison: &Comparison, figures: &[Figure]) -> String {
    let images = images(figures, Place::Trace);
    let faults: Vec<String> = comparison
        .methods
        .iter()
        .filter_map(|method| {
            let fault = method.trace_fault.as_ref()?;
            Some(format!("- {}: no trace, {fault}\n", method.conf.name))
        })
        .collect();
    if images.is_empty() && faults.is_empty() {
        return String::new();
    }
    let first = comparison
        .subjects
        .first()
        .map_or(String::new(), |subject| subject.name());
    format!(
        "## Latent along the chain\n\nThe paper's Fig. 5: variance over the entries of the latent of {first}, a line a leg \
         and repeat, each repeat with a seed of its own.\n\n{images}{}\n",
        faults.concat()
    )
}

fn pictures(figures: &[Figure]) -> String {
    let images = images(figures, Place::Pictures);
    if images.is_empty() {
        return String::new();
    }
    format!("## Pictures\n\n{images}")
}

fn images(figures: &[Figure], place: Place) -> String {
    figures
        .iter()
        .filter(|figure| figure.place == place)
        .map(|figure| format!("![{}]({})\n\n", figure.title, figure.file))
        .collect()
}

/// Last, because it is the only part that differs from machine to machine.
fn times(comparison: &Comparison) -> String {
    let conf = &comparison.conf;
    let mut text = format!(
        "## Times\n\nThe paper's Table 3. Median over vertebrae, one a batch, on {} with {} threads a tensor operation; the \
         first vertebra of each method is warm-up and left out where there is another. CPU: user and system of all \
         threads.\n",
        conf.device, conf.threads
    );
    let mut table = Table::new(["method", "n", "wall s", "CPU s", "training, CPU minutes"]);
    for method in &comparison.methods {
        let (wall, processor) = timed(method);
        let training = method.conf.training_cpu_minutes;
        table.row([
            method.conf.name.clone(),
            wall.len().to_string(),
            number(median(&wall), 3),
            number(median(&processor), 3),
            number((training > 0.0).then_some(training), 1),
        ]);
    }
    text.push_str(&table.finish());
    text
}

/// Wall and processor seconds of the reconstructions that were made, without the first one where there is another.
fn timed(method: &Method) -> (Vec<f64>, Vec<f64>) {
    let warm_up = usize::from(method.rows.iter().skip(1).any(|row| row.status == "done"));
    let rows = method.rows.iter().skip(warm_up);
    rows.filter(|row| row.status == "done")
        .map(|row| (row.seconds, row.cpu_seconds))
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::summary::testing::comparison;

    #[test]
    fn the_first_vertebra_is_warm_up_unless_it_is_the_only_one() {
        let mut method = comparison().methods.remove(1);
        for (row, seconds) in method.rows.iter_mut().zip([9.0, 2.0, 3.0]) {
            row.seconds = seconds;
        }
        // the third failed
        assert_eq!(timed(&method).0, [2.0]);
        method.rows.truncate(1);
        assert_eq!(timed(&method).0, [9.0]);
    }
}
