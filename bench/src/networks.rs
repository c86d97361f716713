//! Encoder, Langevin chain and generator of LSD-EBM at the paper's size, each alone, on weights as training starts from:
//! what they are does not change what they cost.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use models::degrade::degrade;
use models::description::{Description, LatentStatistics, Method, Preset};
use models::lsd_ebm::energy::Energy;
use models::lsd_ebm::langevin::{Chain, drawn, nobody};
use models::lsd_ebm::schedule::Schedule;
use models::networks::device::device;
use models::networks::encoder::Encoder;
use models::networks::generator::Generator;
use models::networks::grids::to_tensor;
use models::networks::layers::Stored;
use models::networks::{ENCODER, ENERGY, GENERATOR};
use models::phantom::vertebra;
use models::seed::{derive, generator};
use models::train::recipe::Size;
use models::train::{Recipe, fresh};
use models::weights::{read, write};
use models::{Sampler, set_threads};
use ndarray::Array3;
use schemas::{Affine, Level};

use crate::measure::Sheet;

/// Levels that are walked, of the schedule that the authors' evaluation has.
const STEPS: usize = 20;

/// Entries of a latent.
const LATENTS: i64 = 100;

/// Standard deviation of the latents walked: after training that of the authors' is about this (paper, Fig. 5).
const SPREAD: f64 = 12.0;

const WEIGHTS: &str = "paper-fresh.safetensors";
const MASK: &str = "mask.u8";
const LATENT: &str = "latent.f32";
/// Of the way up, for the peer.
const NOISE: &str = "noise.f32";

/// Writes weights, a mask and a latent.
///
/// # Errors
/// The folder takes no file.
pub fn make(folder: &Path, seed: u64) -> Result<()> {
    let recipe = Recipe::of(Method::LsdEbm, Preset::PaperCode, Size::Paper);
    let description = recipe.description(LatentStatistics::default());
    let weights = write(&fresh(&description, seed)?, description.to_metadata()?)?;
    fs::write(folder.join(WEIGHTS), weights)?;

    let clean = vertebra(Level::L3, seed);
    let mask = degrade(clean.view(), &Affine::axis_aligned([1.0; 3], [0.0; 3]), seed);
    fs::write(folder.join(MASK), mask.iter().copied().collect::<Vec<u8>>())?;

    for (name, seed, factor) in [(LATENT, derive(seed, LATENT), SPREAD), (NOISE, seed, 1.0)] {
        let drawn = drawn(&mut [generator(seed)], &[1, LATENTS], device("cpu")?)? * factor;
        let values = Vec::<f32>::try_from(&drawn.flatten(0, -1))?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// Runs each part on one vertebra.
///
/// # Errors
/// The networks'.
pub fn measure(folder: &Path, seed: u64, sheet: &mut Sheet) -> Result<()> {
    let bytes = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    set_threads(std::thread::available_parallelism().map_or(1, usize::from));
    let device = device("cpu")?;
    let weights = read(&bytes(WEIGHTS)?)?;
    let description = Description::of(Method::LsdEbm, &weights.metadata)?;
    let network = &description.network;
    let stored = |prefix| Stored::on(&weights.tensors, prefix, device);
    let levels = description.schedule()?.levels();
    let encoder = Encoder::new(&mut stored(ENCODER), network)?;
    let decoder = Generator::new(&mut stored(GENERATOR), network)?;
    let energy = Energy::new(&mut stored(ENERGY), network, levels)?;
    let walked = description
        .levels_walked
        .as_ref()
        .context("the paper's code walks levels of its own")?;
    let schedule = Schedule::new(walked)?;

    let mask = Array3::from_shape_vec((128, 128, 128), bytes(MASK)?)?;
    let masks = to_tensor(&[&mask], device)?;
    let posterior = sheet.measure("encoder", || Ok(encoder.forward(&masks)?))?;
    sheet.reals("mean", &Vec::<f32>::try_from(&posterior.mean.flatten(0, -1))?)?;

    let latent = drawn(&mut [generator(derive(seed, LATENT))], &[1, LATENTS], device)? * SPREAD;
    for (name, sampler) in [
        ("langevin", Sampler::Preconditioned),
        ("langevin_k300", Sampler::Langevin),
    ] {
        let chain = Chain {
            energy: &energy,
            schedule: &schedule,
            walk: &description.walk()?.by(sampler),
        };
        let back = sheet.measure(name, || {
            let rngs = &mut [generator(seed)];
            let mut noise = |shape: &[i64]| drawn(rngs, shape, device);
            Ok(chain.there_and_back(&latent, STEPS, &latent, &mut noise, &mut nobody())?)
        })?;
        sheet.reals("z0", &Vec::<f32>::try_from(&back.flatten(0, -1))?)?;
    }

    let logits = sheet.measure("generator", || Ok(decoder.forward(&latent, &masks)?))?;
    sheet.reals("logits", &Vec::<f32>::try_from(&logits.flatten(0, -1))?)
}
