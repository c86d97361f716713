//! The noise that a run draws for each vertebra, so that a peer can draw the same.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use models::lsd_ebm::langevin::drawn;
use models::networks::device::device;
use models::seed::{derive, generator};
use tch::Tensor;

/// Levels of a case, in the order of the file.
const LEVELS: [&str; 5] = ["L1", "L2", "L3", "L4", "L5"];

/// Entries of a latent.
const LATENTS: i64 = 100;

/// Writes, for each case of a manifest and each level, what a vertebra's generator gives first: the noise of the posterior
/// and that of the way up, as f32.
///
/// # Errors
/// The manifest cannot be read, or the file not be written.
pub fn write(manifest: &Path, seed: u64, file: &Path) -> Result<()> {
    let text = fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let mut bytes = Vec::new();
    // a bench's own ids: plain, lower case, the first column
    for case in text.lines().skip(1).filter_map(|line| line.split(',').next()) {
        let case_seed = derive(seed, case);
        for level in LEVELS {
            let mut rngs = [generator(derive(case_seed, level))];
            for _ in 0..2 {
                let drawn: Tensor = drawn(&mut rngs, &[1, LATENTS], device("cpu")?)?;
                let values = Vec::<f32>::try_from(&drawn.view([-1]))?;
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
    }
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}
