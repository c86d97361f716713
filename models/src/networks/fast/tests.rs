//! The fast ways against the plain ones.

use rand::RngExt as _;
use tch::{Device, Kind, Tensor};

use super::FastPyramid;
use super::doubling::Doubling;
use super::phases::{Narrowing, Widening};
use crate::golden;
use crate::networks::encoder::PaperPyramid;
use crate::networks::generator::{Generator, doubled};
use crate::networks::layers::{Conv, Made, Parameters, Purpose, STATISTICS, Stored};
use crate::networks::{GENERATOR, Network, PaperSize, SIDE};
use crate::seed::generator;
use crate::weights::Tensors;

const SIZE: PaperSize = PaperSize {
    channels: 4,
    latents: 8,
    ..PaperSize::PAPER_CODE
};

fn random(shape: &[i64], seed: i64) -> Tensor {
    tch::manual_seed(seed);
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

fn conv([from, to]: [i64; 2], seed: u64) -> Conv {
    let mut tensors = Tensors::new();
    let mut made = Made {
        tensors: &mut tensors,
        prefix: "",
        rng: &mut generator(seed),
    };
    Conv::new(&mut made, "conv", [from, to], [3, 1]).expect("a convolution")
}

/// Returns fresh parameters of a network whose norms are not those of a start.
fn fresh(prefix: &str, build: impl Fn(&mut dyn Parameters)) -> Tensors {
    let mut tensors = Tensors::new();
    build(&mut Made {
        tensors: &mut tensors,
        prefix,
        rng: &mut generator(5),
    });
    let mut rng = generator(6);
    for (name, tensor) in &mut tensors {
        let is_norm = tensor.dim() == 1 && name.contains(".1.") || name.contains(".4.");
        if is_norm || STATISTICS.iter().any(|end| name.ends_with(end)) {
            let values: Vec<f32> = (0..tensor.numel()).map(|_| rng.random_range(0.5..1.5)).collect();
            tensor.copy_(&Tensor::from_slice(&values));
        }
    }
    tensors
}

fn stored<'a>(tensors: &'a Tensors, prefix: &'a str, purpose: Purpose) -> Stored<'a> {
    Stored {
        purpose,
        ..Stored::on(tensors, prefix, Device::Cpu)
    }
}

#[test]
fn doubling_is_up_sampling_and_convolution() {
    let conv = conv([5, 7], 1);
    let grid = random(&[2, 5, 3, 4, 6], 1);
    let expected = conv.forward(&doubled(&grid).unwrap()).unwrap();
    let found = Doubling::before(&conv).unwrap().forward(&grid).unwrap();
    golden::close(&found, &expected, 1e-5);
}

#[test]
fn voxels_taken_together_come_out_as_alone() {
    let widening = conv([1, 3], 2);
    let grid = random(&[2, 1, 5, 6, 8], 2);
    let found = Widening::of(&widening).unwrap().forward(&grid).unwrap();
    golden::close(&found, &widening.forward(&grid).unwrap(), 1e-6);

    let narrowing = conv([6, 1], 3);
    let grid = random(&[2, 6, 4, 6, 8], 3);
    let around = grid.constant_pad_nd([0, 0, 0, 0, 1, 1]);
    let found = Narrowing::of(&narrowing).unwrap().forward(&around).unwrap();
    golden::close(&found, &narrowing.forward(&grid).unwrap(), 1e-6);
}

#[test]
fn the_fast_generator_equals_the_plain_one_in_slabs_of_any_thickness() {
    let _no_grad = tch::no_grad_guard();
    let network = Network::Paper(SIZE);
    let tensors = fresh(GENERATOR, |made| {
        Generator::new(made, &network).expect("fresh parameters");
    });
    let z = random(&[2, 8], 4);
    let of = |purpose| match Generator::new(&mut stored(&tensors, GENERATOR, purpose), &network).unwrap() {
        Generator::Paper(generator) => generator,
        Generator::Compact(_) => unreachable!("the paper's size was asked for"),
    };
    let expected = of(Purpose::Still).forward(&z).unwrap();
    let fast = of(Purpose::Restoring);
    golden::close(&fast.forward(&z).unwrap(), &expected, 1e-5);

    let stairs = fast.fast().expect("a generator to restore with");
    let grid64 = random(&[1, 4, 8, 6, 6], 5);
    let whole = stairs.by_slabs(&grid64, 16).unwrap();
    assert_eq!(whole.size(), [1, 1, 16, 12, 12]);
    for planes in [2, 6, 10] {
        golden::close(&stairs.by_slabs(&grid64, planes).unwrap(), &whole, 1e-6);
    }
}

#[test]
fn the_fast_encoder_equals_the_plain_one_wherever_the_mask_lies() {
    let _no_grad = tch::no_grad_guard();
    let mut tensors = fresh("", |made| {
        PaperPyramid::new(made, &SIZE).expect("fresh parameters");
    });
    for (name, tensor) in &mut tensors {
        if tensor.dim() == 5 && name.ends_with(".weight") {
            // so that a mask is seen in what comes out
            let _ = tensor.g_mul_scalar_(5.0);
        }
    }
    let of = |purpose| PaperPyramid::new(&mut stored(&tensors, "", purpose), &SIZE).unwrap();
    let plain = |mask: &Tensor| {
        let [.., coarsest] = of(Purpose::Still).forward(mask).unwrap();
        coarsest
    };
    let restoring = of(Purpose::Restoring);
    let fast = FastPyramid::of(&restoring)
        .unwrap()
        .expect("blocks to restore with");

    let mut rng = generator(7);
    let mask = |boxes: &[[[i64; 2]; 3]]| {
        let mask = Tensor::zeros([1, 1, SIDE, SIDE, SIDE], (Kind::Float, Device::Cpu));
        for [x, y, z] in boxes {
            let part = mask.narrow(2, x[0], x[1]).narrow(3, y[0], y[1]);
            let _ = part.narrow(4, z[0], z[1]).fill_(1.0);
        }
        mask
    };
    let mut anywhere = || {
        let start = rng.random_range(0..SIDE - 1);
        [start, rng.random_range(1..=(SIDE - start).min(30))]
    };
    let mut somewhere = || [anywhere(), anywhere(), anywhere()];
    let masks = [
        mask(&[]),
        mask(&[[[0, 1], [127, 1], [64, 1]]]),
        mask(&[[[0, SIDE], [3, 2], [50, 40]]]),
        mask(&[somewhere(), somewhere()]),
        mask(&[somewhere()]),
        mask(&[somewhere()]),
    ];
    let nothing = plain(&masks[0]);
    for (number, mask) in masks.iter().enumerate() {
        let expected = plain(mask);
        let tolerance = 1e-5 * expected.abs().max().double_value(&[]);
        golden::close(&fast.forward(mask).unwrap(), &expected, tolerance);
        let seen = (&expected - &nothing).abs().max().double_value(&[]);
        assert!(
            number == 0 || seen > 100.0 * tolerance,
            "mask {number} is hardly seen: {seen}"
        );
    }
    // several masks at once, each in its own place
    let together = fast.forward(&Tensor::cat(&masks[2..4], 0)).unwrap();
    golden::close(
        &together,
        &Tensor::cat(&[plain(&masks[2]), plain(&masks[3])], 0),
        1e-5 * nothing.abs().max().double_value(&[]),
    );
}

#[test]
fn half_the_digits_cost_little() {
    let _no_grad = tch::no_grad_guard();
    let network = Network::Paper(SIZE);
    let tensors = fresh(GENERATOR, |made| {
        Generator::new(made, &network).expect("fresh parameters");
    });
    let z = random(&[1, 8], 8);
    let of = |compute| {
        let mut stored = Stored {
            compute,
            ..stored(&tensors, GENERATOR, Purpose::Restoring)
        };
        Generator::new(&mut stored, &network)
            .unwrap()
            .forward(&z, &z)
            .unwrap()
    };
    let (full, half) = (of(Kind::Float), of(Kind::BFloat16));
    assert_eq!(half.kind(), Kind::Float);
    let apart = (&full - &half).abs().max().double_value(&[]);
    let spread = full.std(true).double_value(&[]);
    assert!(apart > 0.0 && apart < 0.1 * spread, "{apart} of {spread}");
}
