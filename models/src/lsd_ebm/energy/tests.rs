//! The closed form against autograd, a difference quotient, and the clock.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

use super::*;
use crate::networks::layers::{Made, Purpose, Stored};
use crate::networks::{CompactSize, PaperSize};
use crate::seed::generator;
use crate::weights::Tensors;

const LEVELS: usize = 20;

/// An energy with random weights, three times as large as they start, so that no activation is near linear.
fn energy(network: &Network, kind: Kind, compute: Kind) -> Energy {
    let mut tensors = Tensors::new();
    let mut made = Made {
        tensors: &mut tensors,
        prefix: "",
        rng: &mut generator(5),
    };
    Energy::new(&mut made, network, LEVELS).unwrap();
    for tensor in tensors.values_mut() {
        *tensor = &*tensor * 3.0;
    }
    let mut stored = Stored {
        tensors: &tensors,
        prefix: "",
        kind,
        compute,
        device: Device::Cpu,
        purpose: Purpose::Still,
    };
    Energy::new(&mut stored, network, LEVELS).unwrap()
}

/// The gradient by autograd, which knows nothing of the closed form.
fn by_autograd(energy: &Energy, latents: &Tensor, levels: &Tensor, observed: &Tensor) -> Tensor {
    let leaf = latents.detach().set_requires_grad(true);
    let sum = energy.forward(&leaf, levels, observed).unwrap().sum(leaf.kind());
    Tensor::run_backward(&[sum], &[&leaf], false, false)
        .pop()
        .unwrap()
}

/// The largest difference, as a share of the largest entry.
fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    assert_eq!(found.kind(), expected.kind());
    let largest = |tensor: Tensor| tensor.abs().max().double_value(&[]);
    let scale = largest(expected.to_kind(Kind::Double));
    assert!(scale > 0.0);
    largest(found.to_kind(Kind::Double) - expected.to_kind(Kind::Double)) / scale
}

/// Latents, mixed levels and observed latents, from a seed.
fn inputs(shape: &[i64], kind: Kind) -> [Tensor; 3] {
    let mut rngs: Vec<_> = (0..2 * shape[0]).map(|seed| generator(seed as u64)).collect();
    let mut doubled = shape.to_vec();
    doubled[0] *= 2;
    let drawn = crate::lsd_ebm::langevin::drawn(&mut rngs, &doubled, Device::Cpu)
        .unwrap()
        .to_kind(kind);
    let levels: Vec<i64> = (0..shape[0]).map(|row| (row * 7 + 3) % LEVELS as i64).collect();
    [
        drawn.narrow(0, 0, shape[0]),
        Tensor::from_slice(&levels),
        drawn.narrow(0, shape[0], shape[0]),
    ]
}

fn paper() -> Network {
    Network::Paper(PaperSize::default())
}

fn compact(conditioned: bool) -> Network {
    Network::Compact(CompactSize {
        conditioned,
        ..CompactSize::default()
    })
}

#[test]
fn the_closed_form_equals_autograd() {
    let cases: [(Network, &[i64]); 6] = [
        (paper(), &[1, 100]),
        (paper(), &[5, 100]),
        (compact(true), &[1, 8, 16, 14, 10]),
        (compact(true), &[3, 8, 16, 14, 10]),
        (compact(false), &[2, 8, 10, 16, 12]),
        // odd edges: the stride of 2 leaves the last voxel out
        (compact(true), &[2, 8, 7, 6, 9]),
    ];
    for (network, shape) in cases {
        for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::Double, 1e-10)] {
            let energy = energy(&network, kind, kind);
            let [latents, levels, observed] = inputs(shape, kind);
            let found = energy.gradient(&latents, &levels, &observed).unwrap();
            let expected = by_autograd(&energy, &latents, &levels, &observed);
            let share = difference(&found, &expected);
            assert!(share <= tolerance, "{shape:?} {kind:?}: {share:e}");
            assert!(!found.requires_grad());
        }
    }
}

#[test]
fn the_closed_form_equals_a_difference_quotient() {
    for (network, shape) in [(paper(), [2, 100].as_slice()), (compact(true), &[2, 8, 8, 6, 4])] {
        let energy = energy(&network, Kind::Double, Kind::Double);
        let [latents, levels, observed] = inputs(shape, Kind::Double);
        let direction = &observed * 0.5 + 0.25;
        let gradient = energy.gradient(&latents, &levels, &observed).unwrap();
        let found =
            (gradient * &direction)
                .flatten(1, -1)
                .sum_dim_intlist([1_i64].as_slice(), false, Kind::Double);
        let step = 1e-5;
        let at = |shift: f64| {
            energy
                .forward(&(&latents + &direction * shift), &levels, &observed)
                .unwrap()
        };
        let expected = (at(step) - at(-step)) / (2.0 * step);
        let share = difference(&found, &expected);
        assert!(share <= 1e-7, "{shape:?}: {share:e}");
    }
}

#[test]
fn convolutions_in_bfloat16_leave_the_gradient_in_the_latent_s_kind() {
    let energy = energy(&compact(true), Kind::Float, Kind::BFloat16);
    let [latents, levels, observed] = inputs(&[2, 8, 16, 14, 10], Kind::Float);
    let found = energy.gradient(&latents, &levels, &observed).unwrap();
    let expected = by_autograd(&energy, &latents, &levels, &observed);
    let share = difference(&found, &expected);
    // bfloat16 keeps 8 bits, so that 2⁻⁸ is one rounding of the largest entry
    assert!(share <= 4.0 / 256.0, "{share:e}");
}

#[test]
#[ignore = "a measurement"]
fn the_closed_form_takes_less_time_than_autograd() {
    tch::set_num_threads(1);
    let cases: [(Network, &[i64]); 4] = [
        (compact(true), &[1, 8, 16, 14, 10]),
        (compact(true), &[8, 8, 16, 14, 10]),
        (paper(), &[1, 100]),
        (paper(), &[8, 100]),
    ];
    for (network, shape) in cases {
        let energy = energy(&network, Kind::Float, Kind::Float);
        let [latents, levels, observed] = inputs(shape, Kind::Float);
        // the quickest of many, in turns: other processes share the machine
        let [mut closed, mut autograd, mut forward] = [f64::INFINITY; 3];
        for _ in 0..60 {
            let start = Instant::now();
            let _ = energy.gradient(&latents, &levels, &observed).unwrap();
            closed = closed.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            let _ = by_autograd(&energy, &latents, &levels, &observed);
            autograd = autograd.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            let _ = tch::no_grad(|| energy.forward(&latents, &levels, &observed).unwrap());
            forward = forward.min(start.elapsed().as_secs_f64());
        }
        let [closed, autograd, forward] = [closed, autograd, forward].map(|seconds| seconds * 1e3);
        eprintln!(
            "{shape:?}: closed form {closed:.3} ms, autograd {autograd:.3} ms ({:.2}), forward {forward:.3} ms",
            closed / autograd
        );
    }
}
