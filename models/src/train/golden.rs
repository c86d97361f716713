//! One training step of each `paper-code` method against the step of the authors' own loops.
//!
//! Tolerances are those of the golden files' README: five times what f32 and f64 of the authors' code differ by. The
//! biases straight before a BatchNorm have a gradient of exactly 0; what is computed is rounding, of which Adam makes
//! steps of up to the learning rate.

use serde_json::Value;
use tch::{Kind, Tensor};

use super::checkpoint::State;
use super::fit::{Autoencoder, Batch, Losses};
use super::joint::{Contrast, count_once_more, lebm_losses, lsd_ebm_losses};
use super::losses::Loss;
use super::optimizer::Trainee;
use super::recipe::Size;
use super::*;
use crate::description::{LatentStatistics, Preset};
use crate::golden;
use crate::networks::{ENCODER, GENERATOR, Network, PaperSize};

/// Loads a network's golden state under a prefix, the last convolution scaled as for the golden step.
fn load(into: &mut Tensors, prefix: &str, file: &str, keep: &dyn Fn(&str) -> bool, kind: Kind) {
    for (name, tensor) in golden::tensors(&format!("models/{file}.state.safetensors")).unwrap() {
        if name.ends_with("num_batches_tracked") || !keep(&name) {
            continue;
        }
        let scale = if name.starts_with("conv_final") {
            1.0 / 32.0
        } else {
            1.0
        };
        into.insert(format!("{prefix}{name}"), tensor.to_kind(kind) * scale);
    }
}

fn is_encoder(name: &str) -> bool {
    ["conv_initial", "conv_rest_x", "linear_enc"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// What every golden step starts from.
struct Start {
    kind: Kind,
    expected: Value,
    tensors: Tensors,
    recipe: Recipe,
    batch: Batch,
}

impl Start {
    fn of(method: Method, kind: Kind) -> Option<Self> {
        let text = golden::bytes("train_step/train_step.json")?;
        let all: Value = serde_json::from_slice(&text).unwrap();
        let key = method.as_str();
        let precision = if kind == Kind::Double { "f64" } else { "f32" };
        let mut expected = all[key][precision].clone();
        expected["zero_gradient_biases"] = all[key]["zero_gradient_biases"].clone();
        let mut recipe = Recipe::of(method, Preset::PaperCode, Size::Compact);
        recipe.threads = 1;
        recipe.network = Network::Paper(PaperSize {
            channels: 4,
            latents: 8,
            energy_width: 32,
            wide: method != Method::LsdEbm,
            energy_batch_norm: method == Method::Lebm,
            ..PaperSize::PAPER_CODE
        });
        recipe.walk.steps = 10;
        recipe.short.posterior_steps = 2;
        recipe.short.posterior_step = 1e-4;
        recipe.short.prior_steps = 6;
        let x = golden::tensors("models/inputs.safetensors").unwrap()["x"].to_kind(kind);
        let masks = Tensor::cat(&[&x, &x.flip([2])], 0);
        Some(Self {
            kind,
            expected,
            tensors: golden::tensors("train_step/train_step.safetensors").unwrap(),
            recipe,
            batch: Batch {
                seen: masks.shallow_clone(),
                observed: masks.shallow_clone(),
                clean: masks,
            },
        })
    }

    /// Gives out stored tensors, in the order of asking; those with one axis more row by row.
    fn noise(&self, names: &[&str]) -> impl FnMut(&[i64]) -> Result<Tensor, ModelError> + use<> {
        let mut waiting = Vec::new();
        for name in names {
            let tensor = self.tensors[*name].to_kind(self.kind);
            if tensor.dim() == 3 {
                waiting.extend((0..tensor.size()[0]).map(|row| tensor.get(row)));
            } else {
                waiting.push(tensor);
            }
        }
        let mut waiting = waiting.into_iter();
        move |shape| {
            let next = waiting.next().unwrap();
            assert_eq!(next.size(), shape);
            Ok(next)
        }
    }

    /// Compares a number; tolerances are relative, of f32 and of f64.
    #[track_caller]
    fn compare(&self, name: &str, found: f64, expected: &Value, [single, double]: [f64; 2]) {
        let expected = expected.as_f64().unwrap();
        let tolerance = if self.kind == Kind::Double { double } else { single };
        assert!(
            (found - expected).abs() <= tolerance * expected.abs().max(1e-12),
            "{name}: expected {expected}, found {found}, {:.1e} apart",
            (found - expected).abs() / expected.abs()
        );
    }

    #[track_caller]
    fn compare_figure(&self, loss: &Loss, name: &str, expected: &Value, tolerances: [f64; 2]) {
        let found = loss.figures.iter().find(|(figure, _)| *figure == name);
        self.compare(name, found.unwrap().1, expected, tolerances);
    }

    /// Makes the step and compares gradients, weights and statistics of the networks under a prefix.
    fn compare_step(&self, trainee: &mut Trainee, loss: &Loss, parts: &[(&str, &str)]) {
        let before: Tensors = trainee
            .weights
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.detach().copy()))
            .collect();
        let gradients = trainee.gradients(&loss.total).unwrap();
        let rate = self.recipe.fit.learning_rate;
        trainee.descend(&gradients, &self.recipe.fit, rate).unwrap();
        let norm = |tensor: &Tensor| tensor.to_kind(Kind::Double).norm().double_value(&[]);
        let largest = |tensor: &Tensor| tensor.to_kind(Kind::Double).abs().max().double_value(&[]);
        let mut compared = 0;
        for ((name, weight), gradient) in trainee.weights.iter().zip(gradients.tensors()) {
            let Some((key, own)) = parts
                .iter()
                .find_map(|(prefix, key)| Some((*key, name.strip_prefix(prefix)?)))
                .filter(|(key, own)| self.expected["params"][key].get(own).is_some())
            else {
                panic!("{name} has no golden step");
            };
            let expected = &self.expected["params"][key][own];
            let delta = weight.detach() - &before[name];
            compared += 1;
            let zeros = self.expected["zero_gradient_biases"][key].as_array().unwrap();
            let is_zero = zeros.iter().any(|zero| zero == own) || (key == "energy" && is_lebm(&self.recipe));
            if is_zero {
                assert!(largest(&delta) <= 1.01 * rate, "{name}: {}", largest(&delta));
                continue;
            }
            let early =
                key != "energy" && (own.starts_with("conv_initial") || own.starts_with("conv_rest_x_64"));
            let of_gradient = if early { 1e-2 } else { 5e-4 };
            self.compare(
                &format!("{name}: gradient"),
                norm(gradient),
                &expected["grad_l2"],
                [of_gradient, 1e-6],
            );
            self.compare(
                &format!("{name}: step"),
                norm(&delta),
                &expected["delta_l2"],
                [7e-3, 1e-5],
            );
            let apart = norm(weight) - expected["w_l2_after"].as_f64().unwrap();
            assert!(apart.abs() <= 1.25e-5, "{name}: {apart:e}");
        }
        assert!(compared > 0);
        for (name, statistic) in &trainee.statistics {
            let (key, own) = parts
                .iter()
                .find_map(|(prefix, key)| Some((*key, name.strip_prefix(prefix)?)))
                .unwrap();
            let expected = &self.expected["running_stats_after"][key][own];
            self.compare(name, norm(statistic), &expected["l2"], [3.5e-5, 1e-9]);
        }
    }
}

fn is_lebm(recipe: &Recipe) -> bool {
    recipe.method == Method::Lebm
}

/// f64 passes too, but takes minutes: oneDNN has no such convolutions. `KINDS` may hold `Kind::Double` to see it.
const KINDS: [Kind; 1] = [Kind::Float];

/// Of losses that are large sums, and of differences of energies.
const LOSS: [f64; 2] = [1e-6, 1e-10];
const CONTRAST: [f64; 2] = [1e-4, 1e-10];
/// Of statistics after a step whose gradient is 0: f32 and f64 of the authors' code differ by up to 1.13e-5.
const AFTER_A_STEP_OF_ROUNDING: [f64; 2] = [5.7e-5, 5.7e-5];

#[test]
fn a_step_of_lsd_ebm_equals_the_golden_one() {
    for kind in KINDS {
        let Some(start) = Start::of(Method::LsdEbm, kind) else {
            return;
        };
        let (mut networks, mut energy) = (Tensors::new(), Tensors::new());
        load(&mut networks, ENCODER, "lsd_encoder", &|_| true, kind);
        load(&mut networks, GENERATOR, "lsd_decoder", &|_| true, kind);
        load(&mut energy, ENERGY, "lsd_energy", &|_| true, kind);
        let (mut networks, mut energy) = (Trainee::new(networks).unwrap(), Trainee::new(energy).unwrap());
        let levels: Vec<i64> = Vec::try_from(&start.tensors["lsd.t"]).unwrap();
        let levels: Vec<usize> = levels.into_iter().map(|level| level as usize).collect();
        let mut noise = start.noise(&[
            "lsd.eps_encoder",
            "lsd.noise_t",
            "lsd.noise_next",
            "lsd.y0",
            "lsd.eps_langevin",
        ]);
        let Losses {
            networks: of_networks,
            energy: of_energy,
            ..
        } = lsd_ebm_losses(
            &Autoencoder::new(&networks.in_training(), &start.recipe).unwrap(),
            &Contrast::of(&energy, &start.recipe).unwrap(),
            &start.batch,
            &levels,
            &mut noise,
        )
        .unwrap();
        let of_energy = of_energy.unwrap();
        let scalars = &start.expected["scalars"];
        start.compare_figure(&of_networks, "loss_g", &scalars["loss_g"], LOSS);
        start.compare_figure(
            &of_networks,
            "cross_entropy_sum",
            &start.expected["bce_sum"],
            LOSS,
        );
        start.compare_figure(
            &of_networks,
            "entropy_term_sum",
            &start.expected["entropy_term_sum"],
            LOSS,
        );
        start.compare_figure(&of_energy, "loss_e", &scalars["loss_e"], CONTRAST);
        start.compare_figure(&of_energy, "scaled_loss_e", &scalars["scaled_loss_e"], CONTRAST);
        start.compare_step(
            &mut networks,
            &of_networks,
            &[(ENCODER, "encoder"), (GENERATOR, "decoder")],
        );
        start.compare_step(&mut energy, &of_energy, &[(ENERGY, "energy")]);
    }
}

#[test]
fn a_step_of_the_vae_equals_the_golden_one() {
    for kind in KINDS {
        let Some(start) = Start::of(Method::Vae, kind) else {
            return;
        };
        let mut networks = Tensors::new();
        load(&mut networks, ENCODER, "vae", &is_encoder, kind);
        load(&mut networks, GENERATOR, "vae", &|name| !is_encoder(name), kind);
        let mut networks = Trainee::new(networks).unwrap();
        let mut noise = start.noise(&["vae.eps"]);
        let loss = Autoencoder::new(&networks.in_training(), &start.recipe)
            .unwrap()
            .loss(&start.batch, &start.recipe, &mut noise)
            .unwrap();
        let total = loss.total.double_value(&[]);
        start.compare("vae_loss", total, &start.expected["scalars"]["vae_loss"], LOSS);
        let halved = |name: &str| Value::from(start.expected[name].as_f64().unwrap() / 2.0);
        start.compare_figure(&loss, "cross_entropy_sum", &halved("bce_sum"), LOSS);
        start.compare_figure(&loss, "divergence_sum", &halved("kld_sum"), LOSS);
        start.compare_step(&mut networks, &loss, &[(ENCODER, "vae"), (GENERATOR, "vae")]);
    }
}

#[test]
fn a_step_of_lebm_equals_the_golden_one() {
    for kind in KINDS {
        let Some(start) = Start::of(Method::Lebm, kind) else {
            return;
        };
        let (mut networks, mut energy) = (Tensors::new(), Tensors::new());
        load(&mut networks, GENERATOR, "vae", &|name| !is_encoder(name), kind);
        load(&mut energy, ENERGY, "lebm_energy", &|_| true, kind);
        let mut state = State {
            phase: Phase::Fit,
            seconds: 0.0,
            networks: Trainee::new(networks).unwrap(),
            energy: Trainee::new(energy).unwrap(),
            latent: LatentStatistics::default(),
            taught_by: String::new(),
        };
        let precision = if kind == Kind::Double { "f64" } else { "f32" };
        let mut noise = start.noise(&[
            &format!("lebm.z_g_0.{precision}"),
            "lebm.eps_post",
            &format!("lebm.z_e_0.{precision}"),
            "lebm.eps_prior",
        ]);
        let losses = lebm_losses(&state, &start.recipe, &start.batch, &mut noise).unwrap();
        let of_energy = losses.energy.unwrap();
        let total = losses.networks.total.double_value(&[]);
        start.compare("loss_g", total, &start.expected["scalars"]["loss_g"], LOSS);
        // a BatchNorm before the head takes the difference of batch means to 0, whatever the energy
        let contrast = of_energy.total.double_value(&[]).abs();
        assert!(
            contrast < if kind == Kind::Double { 1e-12 } else { 1e-5 },
            "{contrast:e}"
        );
        start.compare_step(&mut state.energy, &of_energy, &[(ENERGY, "energy")]);
        start.compare_step(&mut state.networks, &losses.networks, &[(GENERATOR, "generator")]);

        // the energy's gradients are 0, so that Adam's step of up to the learning rate a weight follows rounding alone
        count_once_more(&state.energy, &start.recipe, &losses.counted.unwrap()).unwrap();
        for (name, statistic) in &state.energy.statistics {
            let own = name.strip_prefix(ENERGY).unwrap();
            let expected = &start.expected["energy_running_stats_after_en_noise"][own];
            let found = statistic.to_kind(Kind::Double).norm().double_value(&[]);
            start.compare(name, found, &expected["l2"], AFTER_A_STEP_OF_ROUNDING);
        }
    }
}
