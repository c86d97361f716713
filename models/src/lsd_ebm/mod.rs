//! The latent-space diffusion energy-based model of the paper: encoder, generator, energy prior.

use ndarray::Array3;
use rand_chacha::ChaCha8Rng;
use schemas::vertebra::LATENT_LENGTH;
use schemas::{Patch, Reconstruction};
use tch::{Device, Kind, Tensor};

use crate::reconstructor::{ModelConf, ModelError, Reconstructor};
use crate::seed::{derive, generator};
use crate::vote::vote;
use crate::weights::{Tensors, read};

pub mod description;
pub mod device;
pub mod encoder;
pub mod energy;
pub mod generator;
#[cfg(test)]
pub(crate) mod golden;
pub mod langevin;
pub mod layers;
pub mod schedule;
#[cfg(test)]
mod tests;

use description::{Description, Network, SIDE};
use encoder::Encoder;
use energy::Energy;
use generator::Generator;
use langevin::{Chain, drawn};
use layers::{Made, Stored};
use schedule::Schedule;

pub use device::{device_report, set_threads};

/// Names of the three networks' parameters begin with these.
pub const ENCODER: &str = "encoder.";
/// See [`ENCODER`].
pub const GENERATOR: &str = "generator.";
/// See [`ENCODER`].
pub const ENERGY: &str = "energy.";

/// Most samples of one vertebra: memory grows with them.
const SAMPLES_MOST: usize = 64;

/// Encoder, generator and energy of one set of weights on one device, ready to reconstruct.
pub struct LsdEbm {
    description: Description,
    schedule: Schedule,
    encoder: Encoder,
    generator: Generator,
    energy: Energy,
    /// Mean and standard deviation per latent channel, shaped to be broadcast; `None` leaves latents as they are.
    standard: Option<[Tensor; 2]>,
    /// Level that the chain starts from.
    steps: usize,
    /// Samples drawn of each patch.
    samples: usize,
    device: Device,
}

impl LsdEbm {
    /// Builds the model from the bytes of its weights.
    ///
    /// # Errors
    /// Unfit weights, a device that is not there, more steps than the weights have levels, or several samples.
    pub fn open(bytes: &[u8], conf: &ModelConf, device: &str) -> Result<Self, ModelError> {
        let device = device::device(device)?;
        let weights = read(bytes)?;
        let description = Description::from_metadata(&weights.metadata)?;
        Self::build(&weights.tensors, description, conf, device)
    }

    /// Builds the model from tensors and their description.
    ///
    /// # Errors
    /// See [`LsdEbm::open`].
    pub fn build(
        tensors: &Tensors,
        description: Description,
        conf: &ModelConf,
        device: Device,
    ) -> Result<Self, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let samples = usize::try_from(conf.samples).unwrap_or(usize::MAX);
        if !(1..=SAMPLES_MOST).contains(&samples) {
            return Err(ModelError::Conf(format!(
                "model.samples: expected 1 to {SAMPLES_MOST}, found {samples}"
            )));
        }
        let always_equal = conf.steps == 0 && matches!(description.network, Network::Compact(_));
        if samples > 1 && always_equal {
            return Err(ModelError::Conf(format!(
                "model.samples: expected 1 where model.steps is 0 and all samples are equal, found {samples}"
            )));
        }
        let schedule = Schedule::new(&description.levels)?;
        let steps = usize::try_from(conf.steps).unwrap_or(usize::MAX);
        if steps > schedule.levels() {
            return Err(ModelError::Conf(format!(
                "model.steps: expected at most the {} levels of these weights, found {steps}",
                schedule.levels()
            )));
        }
        let stored = |prefix| Stored {
            tensors,
            prefix,
            kind: Kind::Float,
            compute: Kind::Float,
            device,
        };
        let network = &description.network;
        let encoder = Encoder::new(&mut stored(ENCODER), network)?;
        let generator = Generator::new(&mut stored(GENERATOR), network)?;
        let energy = Energy::new(&mut stored(ENERGY), network, schedule.levels())?;
        let standard = match network {
            Network::Paper(_) => None,
            Network::Compact(_) => {
                let broadcast = |values: &[f64]| -> Result<Tensor, ModelError> {
                    let values = Tensor::f_from_slice(values)?.f_view([1, -1, 1, 1, 1])?;
                    Ok(values.f_to_kind(Kind::Float)?.f_to_device(device)?)
                };
                Some([
                    broadcast(&description.latent.mean)?,
                    broadcast(&description.latent.std)?,
                ])
            }
        };
        Ok(Self {
            description,
            schedule,
            encoder,
            generator,
            energy,
            standard,
            steps,
            samples,
            device,
        })
    }

    /// Returns the version in the weights' description.
    pub fn version(&self) -> &str {
        &self.description.version
    }

    /// Returns what these weights are.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Reconstructs masks of one window, each `samples` times: latents, then masks as logits above 0. A mask's samples
    /// follow one another; each has a generator of its own.
    ///
    /// z₀ is the posterior's mean for `compact`: an encoder trained on degraded masks has its best guess there,
    /// and the chain adds the spread. For the paper's networks it is a sample, as in the authors' code.
    fn through(&self, masks: &Tensor, rngs: &mut [ChaCha8Rng]) -> Result<[Tensor; 2], ModelError> {
        let posterior = self.encoder.forward(masks)?;
        let often = |tensor: &Tensor| tensor.f_repeat_interleave_self_int(self.samples as i64, 0, None);
        let mean_latent = often(&posterior.mean)?;
        let z0 = match &self.standard {
            Some([mean, std]) => mean_latent.f_sub(mean)?.f_div(std)?,
            None => {
                let noise = drawn(rngs, &mean_latent.size(), self.device)?;
                let spread = often(&posterior.log_variance)?.f_mul_scalar(0.5)?.f_exp()?;
                mean_latent.f_add(&spread.f_mul(&noise)?)?
            }
        };
        let z = if self.steps == 0 {
            z0
        } else {
            let walk = &self.description.walk;
            let chain = Chain {
                energy: &self.energy,
                schedule: &self.schedule,
                walk,
            };
            let mut noise = |shape: &[i64]| drawn(rngs, shape, self.device);
            chain.there_and_back(&z0, self.steps, &z0, &mut noise)?
        };
        let latents = match &self.standard {
            Some([mean, std]) => z.f_mul(std)?.f_add(mean)?,
            None => z.shallow_clone(),
        };
        let voxels = self
            .generator
            .forward(&latents)?
            .f_gt(0.0)?
            .f_to_kind(Kind::Uint8)?;
        Ok([z, voxels])
    }

    /// Returns the window to see of a patch: that of the description, or all of it if the mask reaches out.
    fn window(&self, mask: &Array3<u8>) -> [i64; 3] {
        let Network::Compact(size) = &self.description.network else {
            return [SIDE; 3];
        };
        let margin = |axis: usize| ((SIDE - size.window[axis]) / 2) as usize;
        let margins = [margin(0), margin(1), margin(2)];
        let inside =
            |index: usize, axis: usize| (margins[axis]..SIDE as usize - margins[axis]).contains(&index);
        let reaches_out = mask
            .indexed_iter()
            .any(|((x, y, z), voxel)| *voxel != 0 && !(inside(x, 0) && inside(y, 1) && inside(z, 2)));
        if reaches_out { [SIDE; 3] } else { size.window }
    }

    fn one_by_one_or_together(
        &self,
        batch: &[Patch],
        seeds: &[u64],
        together: usize,
    ) -> Result<Vec<Reconstruction>, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let mut results = Vec::with_capacity(batch.len());
        let mut rest: Vec<(&Patch, u64, [i64; 3])> = Vec::with_capacity(batch.len());
        for (patch, seed) in batch.iter().zip(seeds) {
            check_shape(patch)?;
            rest.push((patch, *seed, self.window(&patch.mask)));
        }
        let mut rest = rest.as_slice();
        while let Some((_, _, window)) = rest.first() {
            let same = rest
                .iter()
                .take(together)
                .take_while(|(_, _, other)| other == window)
                .count();
            let (now, later) = rest.split_at(same);
            let masks: Vec<&Array3<u8>> = now.iter().map(|(patch, _, _)| &patch.mask).collect();
            let mut rngs: Vec<ChaCha8Rng> = now
                .iter()
                .flat_map(|(_, seed, _)| (0..self.samples).map(|sample| generator(seed_of(*seed, sample))))
                .collect();
            let input = cut(&to_tensor(&masks)?, window)?.f_to_device(self.device)?;
            let [latents, voxels] = self.through(&input, &mut rngs)?;
            let descriptors = pooled(&latents)?;
            let whole = put_back(&voxels, window)?.f_to_device(Device::Cpu)?;
            let mut masks = Vec::with_capacity(descriptors.len());
            for (position, _) in (0..).zip(&descriptors) {
                masks.push(to_array(&whole.f_get(position)?)?);
            }
            let samples = masks.chunks(self.samples).zip(descriptors.chunks(self.samples));
            for ((masks, descriptors), (patch, ..)) in samples.zip(now) {
                let voted = vote(masks, patch.affine.voxel_volume_mm3());
                let Some(voted) = voted else { continue };
                results.push(Reconstruction {
                    latent: Some(mean_of(descriptors)),
                    ..voted
                });
            }
            rest = later;
        }
        Ok(results)
    }
}

impl Reconstructor for LsdEbm {
    /// On a CPU patches go through one by one, so that a result does not depend on its neighbours in the batch.
    fn reconstruct(&mut self, batch: &[Patch], seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        if batch.len() != seeds.len() {
            let (patches, seeds) = (batch.len(), seeds.len());
            return Err(ModelError::Conf(format!(
                "expected one seed a patch, found {seeds} for {patches}"
            )));
        }
        let together = if self.device == Device::Cpu {
            1
        } else {
            batch.len().max(1)
        };
        self.one_by_one_or_together(batch, seeds, together)
    }
}

/// Returns fresh weights for a description, as training starts from.
///
/// # Errors
/// A description of sizes that make no network.
pub fn fresh(description: &Description, seed: u64) -> Result<Tensors, ModelError> {
    let mut tensors = Tensors::new();
    let levels = Schedule::new(&description.levels)?.levels();
    let mut rng = generator(seed);
    let network = &description.network;
    Encoder::new(
        &mut Made {
            tensors: &mut tensors,
            prefix: ENCODER,
            rng: &mut rng,
        },
        network,
    )?;
    Generator::new(
        &mut Made {
            tensors: &mut tensors,
            prefix: GENERATOR,
            rng: &mut rng,
        },
        network,
    )?;
    Energy::new(
        &mut Made {
            tensors: &mut tensors,
            prefix: ENERGY,
            rng: &mut rng,
        },
        network,
        levels,
    )?;
    Ok(tensors)
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

fn check_shape(patch: &Patch) -> Result<(), ModelError> {
    let (x, y, z) = patch.mask.dim();
    let expected = [SIDE as usize; 3];
    if [x, y, z] != expected {
        return Err(ModelError::Shape {
            expected,
            found: [x, y, z],
        });
    }
    Ok(())
}

/// Returns masks of one shape as B×1×x×y×z of 0 and 1 in f32.
pub(crate) fn to_tensor(masks: &[&Array3<u8>]) -> Result<Tensor, ModelError> {
    let mut tensors = Vec::with_capacity(masks.len());
    for mask in masks {
        let (x, y, z) = mask.dim();
        let standard = mask.as_standard_layout();
        let bytes = standard.as_slice().unwrap_or_default();
        let shape = [1, x as i64, y as i64, z as i64];
        tensors.push(Tensor::f_from_data_size(bytes, &shape, Kind::Uint8)?);
    }
    Ok(Tensor::f_stack(&tensors, 0)?.f_gt(0.0)?.f_to_kind(Kind::Float)?)
}

fn to_array(voxels: &Tensor) -> Result<Array3<u8>, ModelError> {
    let (_, x, y, z) = voxels.size4()?;
    let flat = voxels.f_contiguous()?;
    let mut bytes = vec![0_u8; flat.numel()];
    flat.f_copy_data(&mut bytes, flat.numel())?;
    Array3::from_shape_vec((x as usize, y as usize, z as usize), bytes)
        .map_err(|error| ModelError::Torch(error.to_string()))
}

/// Returns the window about the centre of B×C×x×y×z.
pub(crate) fn cut(grid: &Tensor, window: &[i64; 3]) -> Result<Tensor, ModelError> {
    let mut cut = grid.shallow_clone();
    for (axis, length) in (2_i64..).zip(window) {
        let margin = (SIDE - length) / 2;
        cut = cut.f_narrow(axis, margin, *length)?;
    }
    Ok(cut.f_contiguous()?)
}

/// Returns a window with zeros around it up to the patch's edge.
fn put_back(grid: &Tensor, window: &[i64; 3]) -> Result<Tensor, ModelError> {
    let [x, y, z] = window.map(|length| (SIDE - length) / 2);
    Ok(grid.f_constant_pad_nd([z, z, y, y, x, x])?)
}

/// Returns [`LATENT_LENGTH`] entries per sample.
///
/// A flat latent is cut or padded with zeros. A latent grid is averaged over as many boxes as fill the length
/// with its channels: 8 channels on 16³ become 8 × (4 × 2 × 2), in C order, right–left divided most finely.
/// Entries of `compact` are of standardised latents.
fn pooled(latents: &Tensor) -> Result<Vec<Vec<f32>>, ModelError> {
    let batch = latents.size().first().copied().unwrap_or_default();
    let channels = latents.size().get(1).copied().unwrap_or_default();
    let length = LATENT_LENGTH as i64;
    let flat = if latents.dim() == 5 && channels <= length {
        let mut boxes = [1_i64; 3];
        let mut axis = 0;
        while channels * boxes.iter().product::<i64>() * 2 <= length {
            boxes[axis] *= 2;
            axis = (axis + 1) % 3;
        }
        latents.f_adaptive_avg_pool3d(boxes)?.f_flatten(1, -1)?
    } else {
        latents.f_flatten(1, -1)?
    };
    let flat = flat.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    let mut rows = Vec::new();
    for sample in 0..batch {
        let mut row = Vec::<f32>::try_from(&flat.f_get(sample)?.f_contiguous()?)?;
        row.resize(LATENT_LENGTH, 0.0);
        rows.push(row);
    }
    Ok(rows)
}
