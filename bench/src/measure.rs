//! How often a thing is done and what of it is kept. `bench/peers/timing.py` has the same rules.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use stages::cpu::cpu_time;

/// Repeats that are wanted at least, the one that warms up not counted.
const REPEATS: usize = 5;

/// Short things are repeated until they have taken this long together,
const AT_LEAST: Duration = Duration::from_secs(1);

/// but not more often than this.
const REPEATS_MOST: usize = 200;

/// Long things are done with after this long,
const AT_MOST: Duration = Duration::from_secs(10);

/// if they were repeated this often,
const REPEATS_LEAST: usize = 3;

/// and very long ones after this long, however often.
const AT_MOST_EVER: Duration = Duration::from_secs(40);

/// What was measured in one process.
#[derive(Debug, Serialize)]
pub struct Sheet {
    #[serde(skip)]
    folder: PathBuf,
    measured: Vec<Measured>,
    /// Threads that a parallel loop has.
    threads: usize,
    /// The most memory that was ever resident.
    peak_rss_bytes: u64,
}

/// One thing that was measured.
#[derive(Debug, Serialize)]
pub struct Measured {
    name: String,
    /// Who did it.
    by: String,
    /// Pieces of work in one repeat; the times are of one piece.
    pieces: usize,
    repeats: usize,
    seconds: Spread,
    /// Processor time of all threads.
    cpu_s: Spread,
    /// What came of it, to be held against a peer's.
    numbers: BTreeMap<String, f64>,
    /// The same, as files in the folder: `.u8` holds the voxels of a mask, `.f32` numbers.
    files: BTreeMap<String, String>,
}

/// Times of several repeats.
#[derive(Debug, Serialize)]
pub struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(times: &[Duration], pieces: usize) -> Self {
        let mut seconds: Vec<f64> = times
            .iter()
            .map(|time| time.as_secs_f64() / pieces as f64)
            .collect();
        seconds.sort_by(f64::total_cmp);
        let at = |index: usize| seconds.get(index).copied().unwrap_or(f64::NAN);
        let last = seconds.len().saturating_sub(1);
        Self {
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            min: at(0),
            max: at(last),
        }
    }
}

impl Sheet {
    /// Returns an empty sheet whose files go to a folder.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            measured: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            peak_rss_bytes: 0,
        }
    }

    /// Measures a piece of work and returns what it made, the last time.
    ///
    /// # Errors
    /// What the work says.
    pub fn measure<T>(&mut self, name: &str, work: impl FnMut() -> Result<T>) -> Result<T> {
        self.measure_pieces(name, 1, work)
    }

    /// Measures work of several equal pieces.
    ///
    /// # Errors
    /// What the work says.
    pub fn measure_pieces<T>(
        &mut self,
        name: &str,
        pieces: usize,
        mut work: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        eprintln!("{name} …");
        let mut made = work()?;
        let (mut seconds, mut cpu) = (Vec::new(), Vec::new());
        let mut spent = Duration::ZERO;
        while !is_enough(seconds.len(), spent) {
            // what was made before is gone before the clock starts: neither its end nor its memory counts
            drop(made);
            let (start, cpu_start) = (Instant::now(), cpu_time());
            made = work()?;
            let elapsed = start.elapsed();
            cpu.push(cpu_time().saturating_sub(cpu_start));
            seconds.push(elapsed);
            spent += elapsed;
        }
        self.measured.push(Measured {
            name: name.to_owned(),
            by: "spinestream".to_owned(),
            pieces,
            repeats: seconds.len(),
            seconds: Spread::of(&seconds, pieces),
            cpu_s: Spread::of(&cpu, pieces),
            numbers: BTreeMap::new(),
            files: BTreeMap::new(),
        });
        Ok(made)
    }

    /// Adds a number to what came of the thing measured last.
    pub fn number(&mut self, key: &str, value: f64) {
        if let Some(last) = self.measured.last_mut() {
            last.numbers.insert(key.to_owned(), value);
        }
    }

    /// Adds a mask of 0 and 1 to what came of the thing measured last.
    ///
    /// # Errors
    /// The folder takes no file.
    pub fn mask(&mut self, key: &str, voxels: impl Iterator<Item = u8>) -> Result<()> {
        self.file(key, "u8", &voxels.collect::<Vec<u8>>())
    }

    /// Adds real numbers to what came of the thing measured last.
    ///
    /// # Errors
    /// The folder takes no file.
    #[cfg_attr(not(feature = "torch"), expect(dead_code, reason = "only networks give some"))]
    pub fn reals(&mut self, key: &str, values: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.file(key, "f32", &bytes)
    }

    fn file(&mut self, key: &str, ending: &str, bytes: &[u8]) -> Result<()> {
        let Some(last) = self.measured.last_mut() else {
            return Ok(());
        };
        let name = format!("{}-{key}.ours.{ending}", last.name);
        let path = self.folder.join(&name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        last.files.insert(key.to_owned(), name);
        Ok(())
    }

    /// Prints everything as one JSON document.
    ///
    /// # Errors
    /// Nothing that is known of: numbers and names make JSON.
    pub fn print(mut self) -> Result<()> {
        self.peak_rss_bytes = peak_rss_bytes().unwrap_or_default();
        println!("{}", serde_json::to_string(&self)?);
        Ok(())
    }
}

/// Says whether that many repeats, which took that long together, are enough.
fn is_enough(repeats: usize, spent: Duration) -> bool {
    if spent >= AT_MOST_EVER {
        return true;
    }
    if spent >= AT_MOST {
        return repeats >= REPEATS_LEAST;
    }
    repeats >= REPEATS_MOST || (repeats >= REPEATS && spent >= AT_LEAST)
}

/// Reads the most memory that this process ever had resident (proc(5), `VmHWM`).
fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_things_are_repeated_for_a_second_and_long_ones_three_times() {
        let seconds = Duration::from_secs_f64;
        assert!(!is_enough(4, seconds(4.0)) && is_enough(5, seconds(5.0)));
        assert!(!is_enough(50, seconds(0.5)) && is_enough(200, seconds(0.5)));
        assert!(!is_enough(2, seconds(30.0)) && is_enough(3, seconds(30.0)));
        assert!(is_enough(1, seconds(50.0)));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let times = [4, 1, 3, 2].map(Duration::from_secs);
        let spread = Spread::of(&times, 2);
        assert_eq!((spread.min, spread.median, spread.max), (0.5, 1.25, 2.0));
    }

    #[test]
    fn this_process_has_a_peak() {
        assert!(peak_rss_bytes().expect("/proc") > 1 << 20);
    }
}
