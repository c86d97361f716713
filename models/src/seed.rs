//! Seeds: every random number of a run follows from (run seed, case, level), never from order or batch.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Returns the seed that follows from `parent` and a name: the first eight bytes of SHA-256(parent ‖ name).
pub fn derive(parent: u64, name: &str) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(parent.to_le_bytes());
    hasher.update(name.as_bytes());
    let digest = hasher.finalize();
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

/// Returns the generator of a seed: ChaCha with eight rounds, the same on every platform.
pub fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_parent_and_by_name_and_stay_what_they_are() {
        assert_ne!(derive(0, "a"), derive(1, "a"));
        assert_ne!(derive(0, "a"), derive(0, "b"));
        // SHA-256 of eight zero bytes and "L3", from Python's hashlib
        assert_eq!(derive(0, "L3"), EXPECTED_L3);
    }

    const EXPECTED_L3: u64 = 553116276006761516;
}
