//! The sections of the report, in order.

use super::figures::{Figure, Place};
use super::header::{failures, header};
use super::markdown::{Table, number};
use super::metrics::{between_methods, by_level, every_vertebra, gains, means};
use super::registered::registered;
use crate::compare::summary::{median, spread};
use crate::compare::{Comparison, Method};

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
    text.push_str(&registered(comparison));
    text.push_str(&agreement(comparison, figures));
    text.push_str(&over_steps(figures));
    text.push_str(&traces(comparison, figures));
    text.push_str(&pictures(figures));
    text.push_str(&times(comparison));
    one_blank_line(&text)
}

/// Sections and tables bring their own blank lines.
fn one_blank_line(text: &str) -> String {
    let mut text = text.to_owned();
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    format!("{}\n", text.trim_end())
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
         k = 1 … N weighted by their voxels: how far a claim can be believed. Missed: share of the reference that no sample \
         claims; the last column counts these voxels too, each as an error of 1.\n",
    );
    let mut table = Table::new(
        1,
        [
            "method",
            "samples",
            "agreement",
            "volume sd mm³",
            "pairwise DSC",
            "ECE",
            "missed",
            "ECE, missed ones too",
        ],
    );
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
            number(of_claims, 3),
            number(reliability.and_then(|found| found.missed()), 3),
            number(error, 3),
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
        "## Over steps\n\nThe methods with `figure = \"steps\"`, a line a chain and sampler: the paper's Fig. 4 where each has \
         an energy trained for its number of steps (header: weights), else one energy walked from different levels.\n\n\
         {images}"
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
    let mut table = Table::new(1, ["method", "n", "wall s", "CPU s", "training, CPU minutes"]);
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
    use crate::compare::testing::comparison;

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
