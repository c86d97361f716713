//! A manifest of many DICOM objects: how fast headers are read, how much of each object, and in how much memory.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;

use super::slices::{self, Dump};
use super::watch::Process;
use super::{Common, Setting, mib, seconds};
use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::programs::last_words;
use crate::report;

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct Arguments {
    /// DICOM objects.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(80..))]
    objects: u32,
    /// How many are looked at at once.
    #[arg(long, default_value_t = 32)]
    concurrency: u32,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Numbers {
    dump: Dump,
    concurrency: u32,
    /// Of the process, from start to end.
    seconds: f64,
    /// As the program says: of looking alone.
    objects_per_s: f64,
    /// Of all objects, the masks too, of which nothing is read.
    bytes_read_per_object: f64,
    cpu_s: f64,
    peak_rss_bytes: u64,
}

/// Makes the objects, lets the program look at them, and keeps the numbers.
///
/// # Errors
/// Set-up failed, or the program makes no manifest.
pub fn index(arguments: &Arguments, checkout: &Checkout, cache: &Cache) -> Result<()> {
    let setting = Setting::new("index", &arguments.common, checkout, cache)?;
    report::stage(&format!("making {} DICOM objects …", arguments.objects));
    let (dump, copies) = slices::write(
        &setting.desk.work.join("slices"),
        arguments.objects as usize,
        setting.desk.seed,
    )?;
    report::stage(&format!("putting them, {} …", mib(dump.bytes)));
    setting.store.put(&copies)?;
    report::stage("looking at them …");
    let manifest = setting.desk.work.join("manifest.csv");
    let concurrency = arguments.concurrency.to_string();
    let mut command = setting.binary.mortal_verb(&[
        "manifest",
        &setting.store.url("dump"),
        "--dicom",
        "--pseudonyms",
        "random",
        "--concurrency",
        &concurrency,
        "--output",
        &manifest.to_string_lossy(),
    ])?;
    let ended = Process::start(setting.store.lend(&mut command))?.wait("index")?;
    ensure!(
        ended.status.success(),
        "expected a manifest, found {}:\n{}",
        ended.status,
        last_words(&ended.words)
    );
    let rows = std::fs::read_to_string(&manifest)?.lines().count() - 1;
    ensure!(
        rows == dump.studies,
        "expected a case of each of {} studies, found {rows}",
        dump.studies
    );
    let told = |unit: &str| {
        number_before(&ended.words, unit).with_context(|| format!("the program says nothing of {unit}"))
    };
    let numbers = Numbers {
        concurrency: arguments.concurrency,
        seconds: seconds(ended.elapsed),
        objects_per_s: told(" objects/s")?,
        bytes_read_per_object: told(" bytes read of each")?,
        cpu_s: seconds(ended.cpu),
        peak_rss_bytes: ended.peak_rss_bytes,
        dump,
    };
    print!("{}", numbers.table());
    setting.keep_with(&numbers, Vec::new())
}

impl Numbers {
    fn table(&self) -> String {
        format!(
            "{} objects of {} studies, {}\n{:.0} objects/s, {:.0} bytes read of each; {} s, {} s of processor time, peak {}\n",
            self.dump.slices,
            self.dump.studies,
            mib(self.dump.bytes),
            self.objects_per_s,
            self.bytes_read_per_object,
            self.seconds,
            self.cpu_s,
            mib(self.peak_rss_bytes)
        )
    }
}

/// Returns the number before a unit.
fn number_before(text: &str, unit: &str) -> Option<f64> {
    let (before, _) = text.split_once(unit)?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_says_is_read() {
        let said = "INFO 10125 objects looked at in 4.0 s: 2531 objects/s, 16180 bytes read of each";
        assert_eq!(number_before(said, " objects/s"), Some(2531.0));
        assert_eq!(number_before(said, " bytes read of each"), Some(16180.0));
        assert_eq!(number_before(said, " cases"), None);
    }
}
