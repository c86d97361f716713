//! LSD-EBM from degraded patch to reconstruction, per vertebra: at the paper's size and at ours, one by one and together.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use models::degrade::{agreement, degrade_with_slices};
use models::lsd_ebm::langevin::drawn;
use models::networks::device::device;
use models::phantom::vertebra;
use models::seed::{derive, generator};
use models::{Chain, LoadedWeights, ModelConf, Reconstructor as _, Sampler, open, set_threads};
use ndarray::Array3;
use schemas::{Affine, Level, Patch};

use crate::measure::Sheet;

/// Vertebrae that are reconstructed together.
const BATCHES: [usize; 3] = [1, 4, 16];

/// Vertebrae whose reconstructions are compared: L1 to L5 of one person.
const COMPARED: usize = 5;

/// Levels that are walked, of the schedule that the authors' evaluation has.
const STEPS: u32 = 20;

/// Entries of a latent of the paper's size.
const LATENTS: i64 = 100;

/// Weights of the paper's size.
const WEIGHTS: &str = "paper.safetensors";
/// Degraded masks, one after another.
const INPUTS: &str = "inputs.u8";
/// What they were before.
const REFERENCES: &str = "references.u8";
/// For each mask the noise of its latent and that of the way up, for the peer.
const NOISE: &str = "noise.f32";

/// Writes phantoms, what is left of them on a thick-slice scan, and the noise that our chains will draw.
///
/// # Errors
/// The folder takes no file.
pub fn make(folder: &Path, seed: u64) -> Result<()> {
    let (mut inputs, mut references, mut noise) = (Vec::new(), Vec::new(), Vec::new());
    for case in Case::all(seed) {
        inputs.extend(case.patch.mask.iter());
        references.extend(case.reference.iter());
        let rngs = &mut [generator(case.seed)];
        for _ in 0..2 {
            let drawn = drawn(rngs, &[1, LATENTS], device("cpu")?)?;
            let values = Vec::<f32>::try_from(&drawn.flatten(0, -1))?;
            noise.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    fs::write(folder.join(INPUTS), inputs)?;
    fs::write(folder.join(REFERENCES), references)?;
    fs::write(folder.join(NOISE), noise)?;
    Ok(())
}

/// A vertebra to reconstruct.
struct Case {
    patch: Patch,
    reference: Array3<u8>,
    seed: u64,
}

impl Case {
    /// Returns as many as the largest batch has.
    fn all(seed: u64) -> Vec<Self> {
        let grid = Affine::axis_aligned([1.0; 3], [0.0; 3]);
        let count = BATCHES.into_iter().max().unwrap_or_default();
        let one = |number: usize| {
            let person = derive(seed, &format!("person {}", number / 5));
            let reference = vertebra(Level::ALL[number % 5], person);
            let (mask, slices) = degrade_with_slices(reference.view(), &grid, person);
            let patch = Patch {
                mask,
                affine: grid,
                slices,
            };
            Self {
                patch,
                reference,
                seed: derive(seed, &format!("vertebra {number}")),
            }
        };
        (0..count).map(one).collect()
    }
}

/// Reconstructs them.
///
/// # Errors
/// Weights that are not there, or the models'.
pub fn measure(folder: &Path, seed: u64, sheet: &mut Sheet) -> Result<()> {
    set_threads(std::thread::available_parallelism().map_or(1, usize::from));
    let cases = Case::all(seed);
    let path = folder.join(WEIGHTS);
    let paper = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut weights = LoadedWeights::new();
    weights.add("lsd_ebm", &paper)?;
    let paper = weights;
    let walked = |sampler| ModelConf {
        steps: STEPS,
        sampler,
        ..ModelConf::default()
    };
    let shipped = LoadedWeights::new();
    for (name, conf, weights, batches) in [
        ("paper", walked(Sampler::Preconditioned), &paper, &BATCHES[..]),
        ("paper_k300", walked(Sampler::Langevin), &paper, &[1]),
        ("compact", ModelConf::default(), &shipped, &BATCHES[..]),
    ] {
        let mut chain = open(&conf, weights, "cpu")?;
        for batch in batches {
            let patches: Vec<Patch> = cases.iter().take(*batch).map(|case| case.patch.clone()).collect();
            let seeds: Vec<u64> = cases.iter().take(*batch).map(|case| case.seed).collect();
            sheet.measure_pieces(&format!("{name}_{batch}"), *batch, || {
                Ok(chain.reconstruct(&patches, &seeds)?)
            })?;
            if *batch == 1 {
                tell(&mut chain, &cases, sheet)?;
            }
        }
    }
    Ok(())
}

/// Tells what the reconstructions are like, on average, and leaves them for the peer's.
fn tell(chain: &mut Chain, cases: &[Case], sheet: &mut Sheet) -> Result<()> {
    let (mut to_reference, mut to_input, mut of_inputs) = (0.0, 0.0, 0.0);
    for (number, case) in cases.iter().take(COMPARED).enumerate() {
        let made = chain.reconstruct(std::slice::from_ref(&case.patch), &[case.seed])?;
        let made = made.into_iter().next().context("one reconstruction a patch")?;
        let dsc = |one: &Array3<u8>, other: &Array3<u8>| {
            agreement(one.view(), other.view()).map_or(0.0, |agreement| agreement.dsc)
        };
        to_reference += dsc(&made.mask, &case.reference) / COMPARED as f64;
        to_input += dsc(&made.mask, &case.patch.mask) / COMPARED as f64;
        of_inputs += dsc(&case.patch.mask, &case.reference) / COMPARED as f64;
        sheet.mask(&format!("vertebra_{number}"), made.mask.iter().copied())?;
    }
    sheet.number("dsc_to_reference", to_reference);
    sheet.number("dsc_to_input", to_input);
    sheet.number("dsc_of_inputs", of_inputs);
    Ok(())
}
