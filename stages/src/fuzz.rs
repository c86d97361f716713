//! What the property tests share: how many cases are drawn, what must never be repeated, and how sound bytes are spoilt.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

/// Stands in hostile texts for a patient's name: no message, id or row may hold it.
pub(crate) const NAME: &str = "DOE^JANE";

/// Draws `cases`, the same in each run, so that no test is red by luck; where `PROPTEST_CASES` says how many, others
/// each time.
pub(crate) fn drawn(cases: u32) -> Config {
    let mut conf = Config::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        (conf.cases, conf.rng_seed) = (cases, RngSeed::Fixed(7));
    }
    conf
}

/// Something that happens to bytes on their way.
#[derive(Debug, Clone)]
pub(crate) enum Harm {
    /// One byte is another.
    Set(prop::sample::Index, u8),
    /// The end is missing.
    Cut(prop::sample::Index),
    /// Bytes come in between.
    Put(prop::sample::Index, Vec<u8>),
    /// Bytes are missing.
    Take(prop::sample::Index, usize),
    /// A stretch comes twice.
    Twice(prop::sample::Index, usize),
    /// Four bytes are a number that ends somewhere.
    Number(prop::sample::Index, i32),
}

/// Draws harms, mostly few.
pub(crate) fn harms() -> impl Strategy<Value = Vec<Harm>> {
    let at = any::<prop::sample::Index>;
    let edge = prop::sample::select(vec![0, 1, -1, 7, 8, 255, 32767, -32768, i32::MAX, i32::MIN]);
    let harm = prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        1 => at().prop_map(Harm::Cut),
        1 => (at(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Harm::Put(at, bytes)),
        1 => (at(), 1..20_usize).prop_map(|(at, count)| Harm::Take(at, count)),
        1 => (at(), 1..50_usize).prop_map(|(at, count)| Harm::Twice(at, count)),
        2 => (at(), edge).prop_map(|(at, number)| Harm::Number(at, number)),
    ];
    vec(harm, 0..6)
}

/// Does harm to bytes.
pub(crate) fn harmed(sound: &[u8], harms: &[Harm]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for harm in harms {
        let length = bytes.len();
        if length == 0 {
            return bytes;
        }
        match harm {
            Harm::Set(at, byte) => bytes[at.index(length)] = *byte,
            Harm::Cut(at) => bytes.truncate(at.index(length)),
            Harm::Put(at, added) => {
                let at = at.index(length);
                bytes.splice(at..at, added.iter().copied());
            }
            Harm::Take(at, count) => {
                let at = at.index(length);
                bytes.drain(at..length.min(at + count));
            }
            Harm::Twice(at, count) => {
                let at = at.index(length);
                let stretch = bytes[at..length.min(at + count)].to_vec();
                bytes.splice(at..at, stretch);
            }
            Harm::Number(at, number) => {
                let at = at.index(length);
                for (slot, byte) in bytes[at..].iter_mut().zip(number.to_le_bytes()) {
                    *slot = byte;
                }
            }
        }
    }
    bytes
}
