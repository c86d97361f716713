//! From patches to reconstructions, the same for every network: windows, samples, votes.

use ndarray::Array3;
use rand_chacha::ChaCha8Rng;
use schemas::vertebra::LATENT_LENGTH;
use schemas::{Patch, Reconstruction};
use tch::{Device, Kind, Tensor};

use crate::networks::Network;
use crate::networks::grids::{check_shape, cut, pooled, put_back, to_array, to_tensor, window_of};
use crate::reconstructor::{ModelConf, ModelError};
use crate::seed::{derive, generator};
use crate::vote::vote;

/// Most samples of one vertebra: memory grows with them.
const SAMPLES_MOST: usize = 64;

/// Axis of B×1×x×y×z that runs from left to right.
const LEFT_RIGHT: i64 = 2;

/// What a method does with the masks of one window.
pub trait Restore {
    /// Returns the networks' sizes.
    fn network(&self) -> &Network;

    /// Returns where the networks live.
    fn device(&self) -> Device;

    /// Returns how often each mask is restored.
    fn draws(&self) -> Draws;

    /// Restores masks B×1×x×y×z, each as often as there are samples; a mask's samples follow one another, and
    /// each has a generator of its own.
    ///
    /// # Errors
    /// What the networks say.
    fn restore(&self, masks: &Tensor, rngs: &mut [ChaCha8Rng]) -> Result<Restored, ModelError>;
}

/// Restored masks and what they were decoded from.
pub struct Restored {
    /// Latents, one a sample; `None` for methods without.
    pub latents: Option<Tensor>,
    /// Logits, one grid a sample: a voxel is vertebra where its logit is above 0.
    pub logits: Tensor,
}

/// How often each mask is restored, and what of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// Samples drawn of each mask.
    pub samples: usize,
    /// Each sample is the mean of the mask's own and its mirror image's.
    pub mirror: bool,
}

impl Draws {
    /// Returns the draws that a configuration asks for.
    ///
    /// # Errors
    /// [`ModelError::Conf`]: a number of samples that is none or too many, or several where all would be equal.
    pub fn of(conf: &ModelConf, always_equal: bool) -> Result<Self, ModelError> {
        let samples = usize::try_from(conf.samples).unwrap_or(usize::MAX);
        if !(1..=SAMPLES_MOST).contains(&samples) {
            return Err(ModelError::Conf(format!(
                "model.samples: expected 1 to {SAMPLES_MOST}, found {samples}"
            )));
        }
        if samples > 1 && always_equal {
            return Err(ModelError::Conf(format!(
                "model.samples: expected 1 for a method whose samples are all equal (model.steps = 0 is one), found {samples}"
            )));
        }
        let mirror = conf.mirror;
        Ok(Self { samples, mirror })
    }

    /// Returns those of a method that draws nothing, whatever `model.samples` says.
    pub fn single(conf: &ModelConf) -> Self {
        let mirror = conf.mirror;
        Self { samples: 1, mirror }
    }
}

/// Restores patches by a method.
///
/// On a CPU patches go through one by one, so that a result does not depend on its neighbours in the batch.
///
/// # Errors
/// A patch of another shape, another number of seeds, or what the method says.
pub fn reconstruct(
    method: &impl Restore,
    batch: &[Patch],
    seeds: &[u64],
) -> Result<Vec<Reconstruction>, ModelError> {
    let on_cpu = method.device() == Device::Cpu;
    reconstruct_together(method, batch, seeds, if on_cpu { 1 } else { batch.len().max(1) })
}

/// The same with at most so many patches in one tensor.
pub(crate) fn reconstruct_together(
    method: &impl Restore,
    batch: &[Patch],
    seeds: &[u64],
    together: usize,
) -> Result<Vec<Reconstruction>, ModelError> {
    if batch.len() != seeds.len() {
        let (patches, seeds) = (batch.len(), seeds.len());
        return Err(ModelError::Conf(format!(
            "expected one seed a patch, found {seeds} for {patches}"
        )));
    }
    let _no_grad = tch::no_grad_guard();
    let mut waiting: Vec<(&Patch, u64, [i64; 3])> = Vec::with_capacity(batch.len());
    for (patch, seed) in batch.iter().zip(seeds) {
        check_shape(patch)?;
        waiting.push((patch, *seed, window_of(method.network(), &patch.mask)));
    }
    let mut results = Vec::with_capacity(batch.len());
    let mut rest = waiting.as_slice();
    while let Some((_, _, window)) = rest.first() {
        let is_same = |(_, _, other): &&(&Patch, u64, [i64; 3])| other == window;
        let same = rest.iter().take(together).take_while(is_same).count();
        let (now, later) = rest.split_at(same);
        results.extend(of_one_window(method, now, window)?);
        rest = later;
    }
    Ok(results)
}

/// Returns one patch's mask in its window, and its generator.
///
/// # Errors
/// A patch of another shape.
pub fn single(
    method: &impl Restore,
    patch: &Patch,
    seed: u64,
) -> Result<(Tensor, [ChaCha8Rng; 1]), ModelError> {
    check_shape(patch)?;
    let window = window_of(method.network(), &patch.mask);
    let masks = cut(&to_tensor(&[&patch.mask], method.device())?, &window)?;
    Ok((masks, [generator(seed_of(seed, 0))]))
}

fn of_one_window(
    method: &impl Restore,
    patches: &[(&Patch, u64, [i64; 3])],
    window: &[i64; 3],
) -> Result<Vec<Reconstruction>, ModelError> {
    let Draws { samples, mirror } = method.draws();
    let masks: Vec<&Array3<u8>> = patches.iter().map(|(patch, _, _)| &patch.mask).collect();
    let mut rngs: Vec<ChaCha8Rng> = patches
        .iter()
        .flat_map(|(_, seed, _)| (0..samples).map(|sample| generator(seed_of(*seed, sample))))
        .collect();
    let input = cut(&to_tensor(&masks, method.device())?, window)?;
    let mut restored = method.restore(&input, &mut rngs)?;
    if mirror {
        let image = method.restore(&input.f_flip([LEFT_RIGHT])?, &mut rngs)?;
        restored.logits = restored.logits.f_add(&image.logits.f_flip([LEFT_RIGHT])?)?;
    }
    // NaN is above nothing: it would come out as background
    if !restored
        .logits
        .f_sum(Kind::Double)?
        .f_double_value(&[])?
        .is_finite()
    {
        return Err(ModelError::Contract(
            "expected finite logits, found others: the weights, or what was made of the mask before, are not finite"
                .to_owned(),
        ));
    }
    let descriptors = restored.latents.as_ref().map(pooled).transpose()?;
    let voxels = restored.logits.f_gt(0.0)?.f_to_kind(Kind::Uint8)?;
    let whole = put_back(&voxels, window)?.f_to_device(Device::Cpu)?;
    let mut masks = Vec::with_capacity(rngs.len());
    for position in 0..rngs.len() {
        masks.push(to_array(&whole.f_get(position as i64)?)?);
    }
    let mut results = Vec::with_capacity(patches.len());
    for (position, (masks, (patch, ..))) in masks.chunks(samples).zip(patches).enumerate() {
        let Some(voted) = vote(masks, patch.affine.voxel_volume_mm3()) else {
            continue;
        };
        let own = position * samples..(position + 1) * samples;
        let latent = descriptors.as_ref().and_then(|all| all.get(own));
        results.push(Reconstruction {
            latent: latent.map(mean_of),
            ..voted
        });
    }
    Ok(results)
}

/// The first sample has the vertebra's own seed: drawing more does not change it.
fn seed_of(vertebra: u64, sample: usize) -> u64 {
    if sample == 0 {
        vertebra
    } else {
        derive(vertebra, &format!("sample {sample}"))
    }
}

fn mean_of(descriptors: &[Vec<f32>]) -> Vec<f32> {
    let mut mean = vec![0.0; LATENT_LENGTH];
    for descriptor in descriptors {
        for (sum, value) in mean.iter_mut().zip(descriptor) {
            *sum += value / descriptors.len() as f32;
        }
    }
    mean
}
