//! The paper's networks against numbers from the authors' code. LSD-EBM's also in f64; for the wider ones that takes
//! minutes, since oneDNN has no convolutions in f64.

use tch::{Device, Kind, Tensor};

use super::encoder::Encoder;
use super::generator::Generator;
use super::layers::{Purpose, STATISTICS, Stored, depth_to_space};
use super::unet::Unet;
use super::*;
use crate::description::{LatentStatistics, Method, Preset};
use crate::golden;
use crate::lebm::energy::PriorEnergy;
use crate::lsd_ebm::energy::Energy;
use crate::train::fresh;
use crate::train::recipe::{Recipe, Size};
use crate::weights::Tensors;

const PAPER: PaperSize = PaperSize {
    channels: 4,
    latents: 8,
    energy_width: 32,
    ..PaperSize::PAPER_CODE
};

const WIDE: PaperSize = PaperSize {
    wide: true,
    energy_batch_norm: true,
    ..PAPER
};

fn stored<'a>(tensors: &'a Tensors, kind: Kind) -> Stored<'a> {
    Stored {
        kind,
        compute: kind,
        purpose: Purpose::Still,
        ..Stored::on(tensors, "", Device::Cpu)
    }
}

/// Returns parameters to restore with: layers are put together, and work where the mask is.
fn restoring<'a>(tensors: &'a Tensors, kind: Kind) -> Stored<'a> {
    Stored {
        purpose: Purpose::Restoring,
        ..stored(tensors, kind)
    }
}

#[test]
fn the_paper_s_encoder_equals_the_golden_one() {
    let Some(inputs) = golden::tensors("models/inputs.safetensors") else {
        return;
    };
    let state = golden::tensors("models/lsd_encoder.state.safetensors").unwrap();
    let io = golden::tensors("models/lsd_encoder.io.safetensors").unwrap();
    let _no_grad = tch::no_grad_guard();
    for (mut stored, suffix, tolerance) in [
        (stored(&state, Kind::Float), "", 2e-5),
        (restoring(&state, Kind::Float), "", 2e-5),
        (stored(&state, Kind::Double), ".f64", 1e-12),
    ] {
        let kind = stored.kind;
        let encoder = Encoder::new(&mut stored, &Network::Paper(PAPER)).unwrap();
        let posterior = encoder.forward(&inputs["x"].to_kind(kind)).unwrap();
        golden::close(&posterior.mean, &io[&format!("mean{suffix}")], tolerance);
        golden::close(
            &posterior.log_variance,
            &io[&format!("logvar{suffix}")],
            tolerance,
        );
    }
}

/// Compares the probabilities of logits with a golden output volume.
fn compare_volume(logits: &Tensor, io: &Tensors, kind: Kind) {
    let volume = logits.sigmoid();
    let (name, stride, tolerance) = match kind {
        Kind::Double => ("out.f64.strided16", 16, 1e-12),
        _ => ("out.strided4", 4, 2e-6),
    };
    let mut strided = volume.shallow_clone();
    for axis in 2..5 {
        strided = strided.slice(axis, 0, 128, stride);
    }
    golden::close(&strided, &io[name], tolerance);
    for (name, found) in [("sum", &volume), ("sumsq", &(&volume * &volume))] {
        let found = found.sum(Kind::Double).double_value(&[]);
        let expected = io[&format!("out.f64.{name}")].double_value(&[0]);
        assert!(
            (found / expected - 1.0).abs() < 1e-6,
            "{name}: {found} and {expected}"
        );
    }
}

#[test]
fn the_paper_s_generator_equals_the_golden_one() {
    let Some(io) = golden::tensors("models/lsd_decoder.io.safetensors") else {
        return;
    };
    let state = golden::tensors("models/lsd_decoder.state.safetensors").unwrap();
    let _no_grad = tch::no_grad_guard();
    for mut stored in [
        stored(&state, Kind::Float),
        restoring(&state, Kind::Float),
        stored(&state, Kind::Double),
    ] {
        let kind = stored.kind;
        let generator = Generator::new(&mut stored, &Network::Paper(PAPER)).unwrap();
        let z = io["z"].to_kind(kind);
        compare_volume(&generator.forward(&z, &z).unwrap(), &io, kind);
    }
}

#[test]
fn the_paper_s_vae_equals_the_golden_one() {
    let Some(io) = golden::tensors("models/vae.io.safetensors") else {
        return;
    };
    let inputs = golden::tensors("models/inputs.safetensors").unwrap();
    let state = golden::tensors("models/vae.state.safetensors").unwrap();
    let _no_grad = tch::no_grad_guard();
    let network = Network::Paper(WIDE);
    let kind = Kind::Float;
    for of in [stored, restoring] {
        let encoder = Encoder::new(&mut of(&state, kind), &network).unwrap();
        let posterior = encoder.forward(&inputs["x"].to_kind(kind)).unwrap();
        golden::close(&posterior.mean, &io["mean"], 2e-5);
        golden::close(&posterior.log_variance, &io["logvar"], 2e-5);
        let z = posterior.sampled(1, |_| Ok(io["eps"].shallow_clone())).unwrap();
        golden::close(&z, &io["z"], 2e-5);
        let generator = Generator::new(&mut of(&state, kind), &network).unwrap();
        compare_volume(&generator.forward(&z, &z).unwrap(), &io, kind);
    }
}

#[test]
fn the_paper_s_lebm_generator_equals_the_golden_one() {
    let Some(io) = golden::tensors("models/lebm_generator.io.safetensors") else {
        return;
    };
    let state = golden::tensors("models/vae.state.safetensors").unwrap();
    let _no_grad = tch::no_grad_guard();
    let generator = Generator::new(&mut stored(&state, Kind::Float), &Network::Paper(WIDE)).unwrap();
    let z = &io["z"];
    compare_volume(&generator.forward(z, z).unwrap(), &io, Kind::Float);
}

#[test]
fn the_paper_s_lebm_energy_and_its_gradient_equal_the_golden_ones() {
    let Some(io) = golden::tensors("models/lebm_energy.io.safetensors") else {
        return;
    };
    let state = golden::tensors("models/lebm_energy.state.safetensors").unwrap();
    for (kind, suffix, tolerances) in [
        (Kind::Float, "", [1e-5, 2e-6]),
        (Kind::Double, ".f64", [1e-12, 1e-12]),
    ] {
        let energy = PriorEnergy::new(&mut stored(&state, kind), &Network::Paper(WIDE)).unwrap();
        let z = io["z"].to_kind(kind);
        let found = energy.forward(&z).unwrap().view([5, 1, 1, 1]);
        golden::close(&found, &io[&format!("energy{suffix}")], tolerances[0]);
        let gradient = energy.gradient(&z).unwrap();
        golden::close(&gradient, &io[&format!("denergy_dz{suffix}")], tolerances[1]);
    }
}

#[test]
fn reconnet_equals_the_golden_one() {
    let Some(io) = golden::tensors("models/reconnet.io.safetensors") else {
        return;
    };
    let inputs = golden::tensors("models/inputs.safetensors").unwrap();
    let state = golden::tensors("models/reconnet.state.safetensors").unwrap();
    let _no_grad = tch::no_grad_guard();
    let x = inputs["x"].to_kind(Kind::Float);
    for of in [stored, restoring] {
        let unet = Unet::new(&mut of(&state, Kind::Float), &Network::Paper(WIDE)).unwrap();
        compare_volume(&unet.forward(&x).unwrap(), &io, Kind::Float);
    }
}

#[test]
fn the_paper_s_networks_have_the_parameters_it_counts() {
    // MODEL.md §1, §2 and §6, counted in the authors' code; BatchNorm's statistics are no parameters
    let count = |method: Method, prefix: &str| -> usize {
        let recipe = Recipe::of(method, Preset::PaperCode, Size::Paper);
        let tensors = fresh(&recipe.description(LatentStatistics::default()), 0).unwrap();
        let of_network = tensors.iter().filter(|(name, _)| {
            name.starts_with(prefix) && !STATISTICS.iter().any(|end| name.ends_with(end))
        });
        of_network.map(|(_, tensor)| tensor.numel()).sum()
    };
    assert_eq!(count(Method::LsdEbm, ENCODER), 26_336_276);
    assert_eq!(count(Method::LsdEbm, GENERATOR), 26_594_865);
    assert_eq!(count(Method::LsdEbm, ENERGY), 1_104_001);
    assert_eq!(count(Method::Vae, ""), 106_258_757);
    assert_eq!(count(Method::Lebm, GENERATOR), 53_389_649);
    assert_eq!(count(Method::Lebm, ENERGY), 303_901);
    assert_eq!(count(Method::ReconNet, ""), 4_082_881);
}

#[test]
fn the_paper_s_energy_and_its_gradient_equal_the_golden_ones() {
    let Some(io) = golden::tensors("models/lsd_energy.io.safetensors") else {
        return;
    };
    let state = golden::tensors("models/lsd_energy.state.safetensors").unwrap();
    for (kind, suffix, tolerances) in [
        (Kind::Float, "", [1e-5, 2e-6]),
        (Kind::Double, ".f64", [1e-12, 1e-12]),
    ] {
        let energy = Energy::new(&mut stored(&state, kind), &Network::Paper(PAPER), 20).unwrap();
        let z = io["z"].to_kind(kind);
        let found = energy.forward(&z, &io["t"], &z).unwrap();
        golden::close(
            &found.view([5, 1, 1, 1]),
            &io[&format!("energy{suffix}")],
            tolerances[0],
        );
        let gradient = energy.gradient(&z, &io["t"], &z).unwrap();
        golden::close(&gradient, &io[&format!("denergy_dz{suffix}")], tolerances[1]);
        assert!(!gradient.requires_grad());
    }
}

#[test]
fn sub_voxels_go_where_they_belong() {
    let input = Tensor::arange(8 * 2, (Kind::Float, Device::Cpu)).view([1, 8, 2, 1, 1]);
    let woven = depth_to_space(&input).unwrap();
    assert_eq!(woven.size(), [1, 1, 4, 2, 2]);
    // channel 5 = (1, 0, 1) of the second voxel along the first axis
    assert_eq!(woven.double_value(&[0, 0, 3, 0, 1]), 11.0);
}
