//! Which side a person is on: teaching, or judging what was taught. It follows from the person and a key alone, never from
//! counts or order, so that whoever comes later moves nobody.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use schemas::rows::LineageRow;
use sha2::Sha256;

pub use schemas::rows::Split;

/// Bits of the hash that decide: as many as a number has that counts to 1.
const BITS: u32 = 53;

/// Returns a person's side: HMAC-SHA256 of the pseudonym under the key, whose first 64 bits, as a share of 1, are held
/// against the share that is held out.
pub fn split(person: &str, key: &str, held_out_share: f64) -> Split {
    let hash = lot(person, key);
    let first = hash.iter().take(8);
    let first = first.fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    let share = (first >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64;
    if share < held_out_share {
        Split::HeldOut
    } else {
        Split::Train
    }
}

/// Returns a person's lot: HMAC-SHA256 of the pseudonym under the key.
pub fn lot(person: &str, key: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(person.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Returns a person's side: the one that earlier nights know, whatever share and key were then, or else that of [`split`].
pub fn split_known(person: &str, known: &BTreeMap<String, Split>, key: &str, held_out_share: f64) -> Split {
    let found = known.get(person).copied();
    found.unwrap_or_else(|| split(person, key, held_out_share))
}

/// Returns the side of every person in a lineage. Who is on both, which no night does, is on that of those who teach: a
/// judge must never have been seen.
pub fn known_splits(rows: &[LineageRow]) -> BTreeMap<String, Split> {
    let mut known = BTreeMap::new();
    for row in rows {
        if let (Some(person), Some(split)) = (&row.person, row.split) {
            let side = known.entry(person.clone()).or_insert(split);
            *side = split.min(*side);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use schemas::rows::Verdict;

    use super::*;

    const KEY: &str = "2026";

    #[test]
    fn the_share_of_a_person_is_that_of_pythons_hmac() {
        // int.from_bytes(hmac.new(b"2026", b"p7", "sha256").digest()[:8], "big") >> 11, over 2**53
        let share = 0.000_937_534_261_996_275_7;
        assert_eq!(split("p7", KEY, share), Split::Train);
        assert_eq!(split("p7", KEY, share + 1e-12), Split::HeldOut);
    }

    fn held_out(persons: std::ops::Range<u32>, share: f64) -> Vec<String> {
        let persons = persons.map(|person| format!("p{person}"));
        persons
            .filter(|person| split(person, KEY, share) == Split::HeldOut)
            .collect()
    }

    #[test]
    fn about_the_share_is_held_out_and_a_larger_share_holds_them_too() {
        let tenth = held_out(0..10_000, 0.1);
        let fifth = held_out(0..10_000, 0.2);
        // five standard deviations of so many draws: 150 and 200
        assert!(tenth.len().abs_diff(1000) < 150, "{}", tenth.len());
        assert!(fifth.len().abs_diff(2000) < 200, "{}", fifth.len());
        assert!(tenth.iter().all(|person| fifth.contains(person)));
        assert!(held_out(0..1000, 0.0).is_empty());
        assert_eq!(held_out(0..1000, 1.0).len(), 1000);
    }

    #[test]
    fn whoever_comes_later_moves_nobody_and_another_key_draws_anew() {
        let few = held_out(0..500, 0.2);
        let many = held_out(0..5000, 0.2);
        assert_eq!(few[..], many[..few.len()]);
        let others = (0..5000).filter(|person| split(&format!("p{person}"), "2027", 0.2) == Split::HeldOut);
        let both = others
            .filter(|person| many.contains(&format!("p{person}")))
            .count();
        // a fifth of a fifth, and five standard deviations of it
        assert!(both.abs_diff(200) < 70, "{both}");
    }

    #[test]
    fn a_known_person_stays_whatever_share_and_key() {
        let row = |person: &str, split: Split| LineageRow {
            person: Some(person.to_owned()),
            split: Some(split),
            ..LineageRow::new("case", Verdict::Rejected, 1)
        };
        let mut rows = vec![
            row("a", Split::HeldOut),
            row("b", Split::Train),
            row("both", Split::HeldOut),
            row("both", Split::Train),
        ];
        rows.push(LineageRow::new("unread", Verdict::Failed, 1));
        let known = known_splits(&rows);
        assert_eq!(known.len(), 3);
        for share in [0.0, 1.0] {
            let side = |person: &str| split_known(person, &known, KEY, share);
            assert_eq!(
                [side("a"), side("b"), side("both")],
                [Split::HeldOut, Split::Train, Split::Train]
            );
            assert_eq!(side("new"), split("new", KEY, share));
        }
    }
}
