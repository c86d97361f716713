//! Ours beside a peer: how much faster, and whether the same came of it.

use std::path::Path;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::mib;
use super::sheet::{Measured, Sheet};

/// What is compared with what.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Both in a few words.
    pub what: &'static str,
    /// Name of our measurement.
    pub ours: &'static str,
    /// Name of the peer's.
    pub peer: &'static str,
    /// How many times as fast ours is to be.
    pub aim: Option<f64>,
    /// How far results may lie apart, see [`apart`]; none where nothing is demanded, because the two do not mean the same
    /// or other lines have compared them.
    pub within: Option<f64>,
}

/// A line of the table.
#[derive(Debug, Serialize)]
pub struct Beside {
    what: &'static str,
    ours: Measured,
    peer: Measured,
    /// Time of the peer over ours, medians, by the clock.
    ratio: f64,
    /// The same by processor time.
    cpu_ratio: f64,
    aim: Option<f64>,
    /// How far results lie apart at most; none where there are none of both.
    apart: Option<f64>,
    within: Option<f64>,
}

/// A suite's processes.
#[derive(Debug, Serialize)]
pub struct Peaks {
    suite: &'static str,
    ours_peak_rss_bytes: u64,
    peers_peak_rss_bytes: u64,
}

impl Peaks {
    /// Returns the peaks of both sides.
    pub fn of(suite: &'static str, [ours, peers]: &[Sheet; 2]) -> Self {
        Self {
            suite,
            ours_peak_rss_bytes: ours.peak_rss_bytes,
            peers_peak_rss_bytes: peers.peak_rss_bytes,
        }
    }
}

impl Beside {
    /// Compares what both sides measured in a folder.
    ///
    /// # Errors
    /// A measurement or a result is not there.
    pub fn of(line: &Line, [ours, peers]: &[Sheet; 2], folder: &Path) -> Result<Self> {
        let (ours, peer) = (ours.find(line.ours)?.clone(), peers.find(line.peer)?.clone());
        Ok(Self {
            what: line.what,
            ratio: peer.seconds.median / ours.seconds.median,
            cpu_ratio: peer.cpu_s.median / ours.cpu_s.median,
            aim: line.aim,
            apart: apart(&ours, &peer, folder)?,
            within: line.within,
            ours,
            peer,
        })
    }

    /// Says whether the same came of both, as far as that is demanded.
    pub fn agrees(&self) -> bool {
        self.within
            .is_none_or(|within| self.apart.is_some_and(|apart| apart <= within))
    }

    fn line(&self) -> String {
        let aim = self.aim.map_or(String::new(), |aim| {
            let is_met = if self.ratio >= aim { "" } else { ", missed" };
            format!("≥ {aim}{is_met}")
        });
        let agreed = match (self.apart, self.within) {
            (None, None) => String::new(),
            (Some(apart), None) => format!("another thing, {apart:.0e} apart"),
            (None, Some(_)) => "NOT compared".to_owned(),
            (Some(0.0), Some(_)) => "equal".to_owned(),
            (Some(apart), Some(within)) if apart <= within => format!("within {within:.0e}: {apart:.0e}"),
            (Some(apart), Some(within)) => format!("NOT within {within:.0e}: {apart:.0e}"),
        };
        let range = format!("{}–{}", time(self.ours.seconds.min), time(self.ours.seconds.max));
        format!(
            "{:<34} {:>8} {:>17} {:>8} {:<21} {:>8} {:>8} {:>7.2} {:>7.2}  {aim:<12} {agreed}\n",
            self.what,
            time(self.ours.seconds.median),
            range,
            time(self.ours.cpu_s.median),
            self.peer.by,
            time(self.peer.seconds.median),
            time(self.peer.cpu_s.median),
            self.ratio,
            self.cpu_ratio,
        )
    }
}

/// Returns the table of all lines.
pub fn table(lines: &[Beside], peaks: &[Peaks]) -> String {
    let mut text = format!(
        "\n{:<34} {:>8} {:>17} {:>8} {:<21} {:>8} {:>8} {:>7} {:>7}  {:<12} results\n",
        "", "ours", "min–max", "CPU", "peer", "", "CPU", "ratio", "CPU", "aim"
    );
    text.extend(lines.iter().map(Beside::line));
    text += &format!("\n{:<34} {:>13} {:>13}\n", "peak RSS", "ours", "peers");
    for peak in peaks {
        text += &format!(
            "{:<34} {:>13} {:>13}\n",
            peak.suite,
            mib(peak.ours_peak_rss_bytes),
            mib(peak.peers_peak_rss_bytes)
        );
    }
    text
}

/// Refuses lines whose results are not the same.
///
/// # Errors
/// It names them.
pub fn check(lines: &[Beside]) -> Result<()> {
    let apart = lines.iter().filter(|line| !line.agrees());
    let names: Vec<&str> = apart.map(|line| line.what).collect();
    ensure!(
        names.is_empty(),
        "expected the peers' results, found others: {}",
        names.join(", ")
    );
    Ok(())
}

/// Returns how far results lie apart, none without results of both: of numbers the largest difference over the larger of 1
/// and the peer's; of the values of a file the norm of the differences over the norm of the peer's, squared for masks,
/// where that is the share of voxels. What only the peer has is as far apart as can be.
fn apart(ours: &Measured, peer: &Measured, folder: &Path) -> Result<Option<f64>> {
    let has_none = |side: &Measured| side.numbers.is_empty() && side.files.is_empty();
    if has_none(ours) || has_none(peer) {
        return Ok(None);
    }
    let mut largest: f64 = 0.0;
    for (key, theirs) in &peer.numbers {
        let own = ours.numbers.get(key).copied().unwrap_or(f64::NAN);
        let difference = (own - theirs).abs() / theirs.abs().max(1.0);
        largest = largest.max(if difference.is_nan() {
            f64::INFINITY
        } else {
            difference
        });
    }
    for (key, name) in &peer.files {
        if !ours.files.contains_key(key) {
            return Ok(Some(f64::INFINITY));
        }
        let (own, theirs) = (ours.values(key, folder)?, peer.values(key, folder)?);
        let relative = relative(&own, &theirs);
        largest = largest.max(if name.ends_with(".u8") {
            relative * relative
        } else {
            relative
        });
    }
    Ok(Some(largest))
}

/// Returns the norm of the differences over the norm of the second; infinite where that cannot be.
fn relative(own: &[f32], theirs: &[f32]) -> f64 {
    if own.len() != theirs.len() {
        return f64::INFINITY;
    }
    let differences = own.iter().zip(theirs).map(|(own, theirs)| own - theirs);
    let norm = differences
        .map(|value| f64::from(value).powi(2))
        .sum::<f64>()
        .sqrt();
    let whole = theirs
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt();
    let relative = norm / whole;
    if norm == 0.0 {
        0.0
    } else if relative.is_nan() {
        f64::INFINITY
    } else {
        relative
    }
}

/// Seconds as people read them.
fn time(seconds: f64) -> String {
    let [milli, micro] = [1e3, 1e6].map(|factor| seconds * factor);
    match seconds {
        1.0.. => format!("{seconds:.2} s"),
        0.1.. => format!("{milli:.0} ms"),
        1e-2.. => format!("{milli:.1} ms"),
        1e-3.. => format!("{milli:.2} ms"),
        _ => format!("{micro:.0} µs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(numbers: &[(&str, f64)]) -> Measured {
        let spread = serde_json::json!({"median": 1.0, "min": 1.0, "max": 1.0});
        let numbers: serde_json::Map<_, _> = numbers
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect();
        serde_json::from_value(serde_json::json!({
            "name": "thing", "by": "someone", "pieces": 1, "repeats": 1,
            "seconds": spread, "cpu_s": spread, "numbers": numbers, "files": {},
        }))
        .expect("a measurement")
    }

    #[test]
    fn numbers_lie_apart_by_their_largest_difference() {
        let folder = Path::new(".");
        let ours = measured(&[("a", 1.0), ("b", 101.0), ("c", 5.0)]);
        let peer = measured(&[("a", 1.0), ("b", 100.0)]);
        let apart = |ours, peer| apart(ours, peer, folder).expect("no files to read");
        assert_eq!(apart(&ours, &peer), Some(0.01));
        assert_eq!(apart(&ours, &ours), Some(0.0));
        assert_eq!(apart(&peer, &ours), Some(f64::INFINITY));
        assert_eq!(apart(&ours, &measured(&[])), None, "nothing agrees with nothing");
    }

    #[test]
    fn values_lie_apart_by_their_norm() {
        assert_eq!(relative(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(relative(&[3.0, 4.0], &[0.0, 5.0]), 10.0_f64.sqrt() / 5.0);
        for (own, theirs) in [
            (&[1.0_f32][..], &[1.0_f32, 2.0][..]),
            (&[1.0], &[0.0]),
            (&[f32::NAN], &[1.0]),
        ] {
            assert_eq!(relative(own, theirs), f64::INFINITY);
        }
    }

    #[test]
    fn times_are_told_in_their_unit() {
        let told = [2.5, 0.25, 0.0025, 0.000_25].map(time);
        assert_eq!(told, ["2.50 s", "250 ms", "2.50 ms", "250 µs"]);
    }
}
