//! A share of a run's cases, for one of several processes that divide them without a word between them.
//!
//! Which shard holds a case follows from the run, the case's id and the number of shards alone, by jump consistent
//! hashing (Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014, arXiv:1406.2294): a case that
//! is added to the manifest moves no other, and one shard more takes an even part of the cases from each of the others
//! and moves nothing else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What this hash is of, so that it is not one that is taken elsewhere.
const DOMAIN: &[u8] = b"spinestream.shard";

/// One of so many shards; the whole, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u32,
    count: u32,
}

/// What is no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a shard I/N with I counted from 0, as 0/8, …, 7/8, found {0}")]
pub struct NoShard(String);

impl Shard {
    /// Every case.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Returns the shard `index` of `count`, counted from 0.
    ///
    /// # Errors
    /// There is none of that index.
    pub fn new(index: u32, count: u32) -> Result<Self, NoShard> {
        if index < count {
            Ok(Self { index, count })
        } else {
            Err(NoShard(format!("{index}/{count}")))
        }
    }

    /// Returns whether this is every case.
    pub fn is_whole(&self) -> bool {
        self.count == 1
    }

    /// Returns whether a case can be in both: it can, unless they are different ones of as many.
    pub fn overlaps(self, other: Self) -> bool {
        self.count != other.count || self.index == other.index
    }

    /// Returns whether the shard holds the case of that folded id.
    pub fn holds(self, run: &str, folded_id: &str) -> bool {
        self.is_whole() || jump(hash(run, folded_id), self.count) == self.index
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl FromStr for Shard {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Self, NoShard> {
        let no_shard = || NoShard(format!("{text:?}"));
        let (index, count) = text.split_once('/').ok_or_else(no_shard)?;
        // "+1" is a number to Rust, and none to us
        let number = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| is_plain).ok_or_else(no_shard)
        };
        Self::new(number(index)?, number(count)?)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl TryFrom<String> for Shard {
    type Error = NoShard;

    fn try_from(text: String) -> Result<Self, NoShard> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

/// The cases of one run that a shard holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    shard: Shard,
    run: String,
}

impl Share {
    /// Returns the cases of run `run` that `shard` holds.
    pub fn new(run: &str, shard: Shard) -> Self {
        Self {
            shard,
            run: run.to_owned(),
        }
    }

    /// Returns the shard.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Returns whether the case of that folded id is one of them.
    pub fn holds(&self, folded_id: &str) -> bool {
        self.shard.holds(&self.run, folded_id)
    }
}

fn hash(run: &str, folded_id: &str) -> u64 {
    let mut hasher = Sha256::new();
    // neither a run's name nor an id holds a zero byte
    for part in [DOMAIN, run.as_bytes(), folded_id.as_bytes()] {
        hasher.update(part);
        hasher.update([0]);
    }
    let digest = hasher.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// Returns the bucket of a key among so many (Lamping and Veach, figure 1).
fn jump(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0, 0_u64);
    while next < u64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let share = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * share) as u64;
    }
    // less than `buckets`
    bucket as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "r";

    fn id(number: usize) -> String {
        format!("case-{number}")
    }

    fn shards(count: u32) -> Vec<Shard> {
        let shard = |index| Shard::new(index, count).expect("a shard");
        (0..count).map(shard).collect()
    }

    /// Returns the index of the shard that holds a case.
    fn of(case: usize, count: u32) -> u32 {
        jump(hash(RUN, &id(case)), count)
    }

    #[test]
    fn every_case_is_in_exactly_one_shard() {
        for count in [1, 2, 3, 8, 100] {
            let shards = shards(count);
            for case in 0..500 {
                let holders = shards.iter().filter(|shard| shard.holds(RUN, &id(case)));
                assert_eq!(holders.count(), 1, "case {case} of {count} shards");
            }
        }
    }

    #[test]
    fn shards_are_as_even_as_chance_would_have_them() {
        let cases = 50_000;
        for count in [2, 3, 7, 8, 100] {
            let mut held = vec![0_u32; count as usize];
            for case in 0..cases {
                held[of(case, count) as usize] += 1;
            }
            let expected = cases as f64 / f64::from(count);
            let chi_squared: f64 = held
                .iter()
                .map(|held| (f64::from(*held) - expected).powi(2) / expected)
                .sum();
            // of independent cases it has mean N − 1 and variance 2 (N − 1)
            let freedom = f64::from(count - 1);
            let deviations = (chi_squared - freedom) / (2.0 * freedom).sqrt();
            assert!(deviations.abs() < 5.0, "{count} shards: {chi_squared}");
        }
    }

    #[test]
    fn one_shard_more_takes_its_part_from_the_others_and_moves_nothing_else() {
        let cases = 20_000;
        for count in [1, 2, 7, 63] {
            let mut moved = 0_u32;
            for case in 0..cases {
                let (before, after) = (of(case, count), of(case, count + 1));
                if before != after {
                    assert_eq!(after, count, "into the new shard, and nowhere else");
                    moved += 1;
                }
            }
            // binomial, with mean n p and variance n p (1 − p)
            let share = 1.0 / f64::from(count + 1);
            let mean = cases as f64 * share;
            let deviations = (f64::from(moved) - mean) / (mean * (1.0 - share)).sqrt();
            assert!(
                deviations.abs() < 5.0,
                "{moved} of {cases} moved, from {count} shards"
            );
        }
    }

    #[test]
    fn the_jump_is_the_one_that_others_make() {
        // test vectors of the Go package go-jump
        let vectors = [
            (1, 1, 0),
            (42, 57, 43),
            (0xDEAD_10CC, 1, 0),
            (0xDEAD_10CC, 666, 361),
            (256, 1024, 520),
        ];
        for (key, buckets, bucket) in vectors {
            assert_eq!(jump(key, buckets), bucket, "{key} of {buckets}");
        }
    }

    #[test]
    fn a_case_stays_in_its_shard_from_version_to_version() {
        // by Python's hashlib, and the paper's figure 1 in Python
        let golden = [
            ("case-1", 0x74F2_62E3_C62D_51B0, [0, 1, 2, 3, 40]),
            ("case-2", 0xCB4D_D998_7C9E_5FA2, [0, 0, 2, 7, 7]),
            ("verse005", 0xF8F6_C773_F422_CCAD, [0, 0, 2, 3, 3]),
            ("row-7", 0xFCF6_587C_3EEF_DA32, [0, 0, 2, 2, 99]),
        ];
        for (id, key, shards) in golden {
            assert_eq!(hash("lumbar-2026-11", id), key, "{id}");
            assert_eq!([1, 2, 3, 8, 100].map(|count| jump(key, count)), shards, "{id}");
        }
    }

    #[test]
    fn another_run_divides_its_cases_otherwise() {
        let first = Shard::new(0, 2).expect("a shard");
        let differs = |case: &usize| first.holds("a", &id(*case)) != first.holds("b", &id(*case));
        assert!((0..100).filter(differs).count() > 20);
    }

    #[test]
    fn shards_of_one_count_overlap_only_with_themselves() {
        let [a, b] = [0, 1].map(|index| Shard::new(index, 2).expect("a shard"));
        assert!(a.overlaps(a) && !a.overlaps(b));
        assert!(a.overlaps(Shard::WHOLE) && Shard::WHOLE.overlaps(b));
        assert!(a.overlaps(Shard::new(1, 3).expect("a shard")));
    }

    #[test]
    fn a_shard_reads_what_it_writes_and_nothing_else() {
        let shard: Shard = "2/8".parse().expect("a shard");
        assert_eq!((shard.to_string(), shard.is_whole()), ("2/8".to_owned(), false));
        assert_eq!("0/1".parse::<Shard>(), Ok(Shard::WHOLE));
        let written = serde_json::to_value(shard).expect("json");
        assert_eq!(written, "2/8");
        assert_eq!(serde_json::from_value::<Shard>(written).expect("a shard"), shard);
        for text in [
            "", "2", "8/8", "1/0", "-1/8", "+1/8", "1/8/2", " 1/8", "a/b", "1/", "/8",
        ] {
            let error = text.parse::<Shard>().expect_err(text).to_string();
            assert!(error.contains("counted from 0"), "{error}");
        }
    }
}
