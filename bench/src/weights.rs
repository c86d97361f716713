//! Weights of LSD-EBM at the paper's size that a vertebra comes back from, made without any training.
//!
//! Nobody has published weights of that size, and hours of training would make some. These are put together by hand: every
//! channel of the encoder carries the mask, smoothed and pooled to the 16³ grid; the latent is what the principal
//! components of some phantoms see of that; every channel of the generator carries the grid back up, interpolated linearly.
//! The energy is as training starts. They show what a reconstruction costs and whether two programs give the same one, on
//! shapes like those of trained weights; how good a reconstruction can be they do not show.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use models::description::{LatentStatistics, Method, Preset};
use models::networks::grids::to_tensor;
use models::phantom::vertebra;
use models::seed::derive;
use models::train::recipe::Size;
use models::train::{Recipe, fresh};
use models::weights::{Tensors, write};
use schemas::Level;
use tch::{Kind, Tensor};

/// Phantoms that the components are of.
const PHANTOMS: usize = 120;

/// Entries of a latent.
const LATENTS: i64 = 100;

/// Channels and voxels of the grid between the convolutions and the linear layers.
const CHANNELS: i64 = 64;
const VOXELS: i64 = 16 * 16 * 16;

/// Latent per component: with it latents spread as far as those of the authors' (paper, Fig. 5), and the noise of the
/// posterior, of standard deviation 1 and more, hides little.
const SCALE: f64 = 20.0;

/// The pooled grid is vertebra from here on, when it has come back up: pooling keeps the largest share of each box.
const CUT: f64 = 0.82;

/// Logit per share of the mask.
const GAIN: f64 = 20.0;

/// Makes weights and writes them to a file, whole or not at all.
///
/// # Errors
/// libtorch's, or the file cannot be written.
pub fn make(file: &Path, seed: u64) -> Result<()> {
    let mut recipe = Recipe::of(Method::LsdEbm, Preset::PaperCode, Size::Paper);
    recipe.version = "bench-by-hand-1".to_owned();
    let description = recipe.description(LatentStatistics::default());
    let mut weights = fresh(&description, seed)?;
    convolutions(&mut weights)?;
    linear_layers(&mut weights, seed)?;
    let bytes = write(&weights, description.to_metadata()?)?;
    let partial = file.with_extension("partial");
    fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    Ok(fs::rename(&partial, file)?)
}

/// Makes every convolution pass the mean of its channels on, some of them smoothed.
fn convolutions(weights: &mut Tensors) -> Result<()> {
    let names: Vec<String> = weights.keys().cloned().collect();
    for name in names {
        let Some(weight) = weights.get(&name).filter(|weight| weight.dim() == 5) else {
            continue;
        };
        let channels = weight.size()[1];
        let is_smoothing = name.starts_with("encoder.conv_initial") || is_first_after_doubling(&name);
        let taps = if is_smoothing { SMOOTHING } else { [0.0, 1.0, 0.0] };
        // fresh weights stay in it, small: no channel is quite like another
        let share = (weight.mean_dim([2_i64, 3, 4].as_slice(), true, Kind::Float) + 1.0 / channels as f64)
            .clamp_min(0.0);
        let share = &share / share.sum_dim_intlist([1_i64].as_slice(), true, Kind::Float);
        let is_last = name.contains("conv_final");
        let (gain, shift) = if is_last { (GAIN, -GAIN * CUT) } else { (1.0, 0.0) };
        let bias = Tensor::full(&weight.size()[..1], shift, (Kind::Float, weight.device()));
        let weight = share * kernel(taps) * gain;
        weights.insert(name.replace("weight", "bias"), bias);
        weights.insert(name, weight);
    }
    Ok(())
}

/// Smooths the mask before it is pooled, and interpolates linearly behind a doubling.
const SMOOTHING: [f32; 3] = [0.25, 0.5, 0.25];

/// Returns a kernel 1×1×3×3×3 that has these taps along each axis.
fn kernel(taps: [f32; 3]) -> Tensor {
    let taps = Tensor::from_slice(&taps);
    let cube = taps.view([3, 1, 1]) * taps.view([1, 3, 1]) * taps.view([1, 1, 3]);
    cube.view([1, 1, 3, 3, 3])
}

fn is_first_after_doubling(name: &str) -> bool {
    name.contains("conv_rest_u_") && name.ends_with(".0.weight")
}

/// Makes the latent the principal components of phantoms, and the way back.
fn linear_layers(weights: &mut Tensors, seed: u64) -> Result<()> {
    let mut rows = Vec::with_capacity(PHANTOMS);
    for number in 0..PHANTOMS {
        if number % 20 == 0 {
            eprintln!("phantom {number} of {PHANTOMS} …");
        }
        let person = derive(seed, &format!("component {}", number / 5));
        let mask = to_tensor(&[&vertebra(Level::ALL[number % 5], person)])?;
        rows.push(pooled(&mask)?.view([-1]));
    }
    let rows = Tensor::f_stack(&rows, 0)?;
    let mean = rows.mean_dim([0_i64].as_slice(), false, Kind::Float);
    let (_, _, components) = (&rows - &mean).f_svd(true, true)?;
    let components = components.narrow(1, 0, LATENTS).tr();
    let latents = (&rows - &mean).matmul(&components.tr()) * SCALE;
    // all of them negative: log-variances are softplus of means, and only there do they hide little
    let offset = -latents.abs().amax([0_i64].as_slice(), false) * 1.3 - 2.0;

    let on_all = |voxels: &Tensor| voxels.unsqueeze(-2).expand([LATENTS, CHANNELS, VOXELS], false);
    let encode = on_all(&(&components * (SCALE / CHANNELS as f64))).reshape([LATENTS, -1]);
    let encoded_mean = components.mv(&mean) * SCALE;
    let decode = on_all(&(&components / SCALE))
        .reshape([LATENTS, -1])
        .tr()
        .contiguous();
    let at_zero = &mean - components.tr().mv(&offset) / SCALE;
    for (name, tensor) in [
        ("encoder.linear_enc.weight", encode),
        ("encoder.linear_enc.bias", &offset - encoded_mean),
        ("generator.linear_dec.weight", decode),
        (
            "generator.linear_dec.bias",
            at_zero.expand([CHANNELS, VOXELS], false).reshape([-1]),
        ),
    ] {
        weights.insert(name.to_owned(), tensor);
    }
    Ok(())
}

/// Returns what every channel of the encoder carries on the 16³ grid.
fn pooled(mask: &Tensor) -> Result<Tensor> {
    let mut grid = mask.shallow_clone();
    for _ in 0..2 {
        grid = grid.f_conv3d(&kernel(SMOOTHING), None::<Tensor>, 1, 1, 1, 1)?;
    }
    for _ in 0..3 {
        grid = grid.f_max_pool3d([2; 3], [2; 3], [0; 3], [1; 3], false)?;
    }
    Ok(grid)
}
