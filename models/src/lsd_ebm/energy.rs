//! The energy of a latent at a diffusion level: p(z_t | z_{t+1}) ∝ exp(−E(z_t, t) − |z_t − z_{t+1}|² / 2σ²).

use tch::{Kind, Tensor};

use crate::lsd_ebm::description::{CompactSize, Network, PaperSize};
use crate::lsd_ebm::layers::{Conv, Fresh, Linear, Parameters, channels_last};
use crate::reconstructor::ModelError;

/// An energy network of one of the sizes.
pub enum Energy {
    /// As in the paper's code.
    Paper(PaperEnergy),
    /// Convolutional, on a latent that keeps its place in space.
    Compact(Box<CompactEnergy>),
}

impl Energy {
    /// Builds the energy of a description with so many diffusion levels.
    pub fn new(
        parameters: &mut dyn Parameters,
        network: &Network,
        levels: usize,
    ) -> Result<Self, ModelError> {
        Ok(match network {
            Network::Paper(size) => Self::Paper(PaperEnergy::new(parameters, size)?),
            Network::Compact(size) => Self::Compact(Box::new(CompactEnergy::new(parameters, size, levels)?)),
        })
    }

    /// Returns the energy of each latent at its level, B values; `observed` is the latent of the mask given,
    /// which only a conditioned energy looks at.
    pub fn forward(
        &self,
        latents: &Tensor,
        levels: &Tensor,
        observed: &Tensor,
    ) -> Result<Tensor, ModelError> {
        match self {
            Self::Paper(energy) => energy.forward(latents, levels),
            Self::Compact(energy) => energy.forward(latents, levels, observed),
        }
    }

    /// Returns the gradient of each latent's energy by that latent. No graph outlives the call.
    pub fn gradient(
        &self,
        latents: &Tensor,
        levels: &Tensor,
        observed: &Tensor,
    ) -> Result<Tensor, ModelError> {
        let leaf = latents.f_detach()?.f_set_requires_grad(true)?;
        let sum = tch::with_grad(|| -> Result<Tensor, ModelError> {
            Ok(self.forward(&leaf, levels, observed)?.f_sum(leaf.kind())?)
        })?;
        let mut gradients = Tensor::f_run_backward(&[sum], &[&leaf], false, false)?;
        let gradient = gradients
            .pop()
            .ok_or_else(|| ModelError::Torch("no gradient".to_owned()))?;
        Ok(gradient.f_detach()?)
    }
}

/// The authors' `E_func`: three linear layers with GELU between, on the latent and the raw level number.
pub struct PaperEnergy {
    layers: [Linear; 3],
}

impl PaperEnergy {
    /// Asks for the parameters under the authors' names.
    pub fn new(parameters: &mut dyn Parameters, size: &PaperSize) -> Result<Self, ModelError> {
        let width = size.energy_width;
        Ok(Self {
            layers: [
                Linear::new(parameters, "ebm.0", [size.latents + 1, width])?,
                Linear::new(parameters, "ebm.2", [width, width])?,
                Linear::new(parameters, "ebm.4", [width, 1])?,
            ],
        })
    }

    /// Returns the energy of each latent.
    pub fn forward(&self, latents: &Tensor, levels: &Tensor) -> Result<Tensor, ModelError> {
        let level = levels.f_to_kind(latents.kind())?.f_unsqueeze(1)?;
        let [first, second, last] = &self.layers;
        let hidden = first
            .forward(&Tensor::f_cat(&[latents, &level], 1)?)?
            .f_gelu("none")?;
        let hidden = second.forward(&hidden)?.f_gelu("none")?;
        Ok(last.forward(&hidden)?.f_squeeze_dim(1)?)
    }
}

/// Sums of local energies on the latent grid and on that of half the edge; the level shifts every channel.
pub struct CompactEnergy {
    conditioned: bool,
    first: Conv,
    fine_level: Tensor,
    fine: Conv,
    fine_out: Linear,
    down: Conv,
    coarse_level: Tensor,
    coarse: [Conv; 2],
    coarse_out: Linear,
}

impl CompactEnergy {
    /// Asks for the parameters; the levels have one row of shifts each.
    pub fn new(
        parameters: &mut dyn Parameters,
        size: &CompactSize,
        levels: usize,
    ) -> Result<Self, ModelError> {
        let [fine, coarse] = size.energy_channels;
        let seen = if size.conditioned {
            2 * size.latents
        } else {
            size.latents
        };
        let rows = i64::try_from(levels).unwrap_or(i64::MAX);
        let shift = Fresh::Uniform(0.035);
        Ok(Self {
            conditioned: size.conditioned,
            first: Conv::new(parameters, "first", [seen, fine], [3, 1])?,
            fine_level: parameters.get("fine_level", &[rows, fine], shift)?,
            fine: Conv::new(parameters, "fine", [fine, fine], [1, 1])?,
            fine_out: Linear::new(parameters, "fine_out", [fine, 1])?,
            down: Conv::new(parameters, "down", [fine, coarse], [2, 2])?,
            coarse_level: parameters.get("coarse_level", &[rows, coarse], shift)?,
            coarse: [
                Conv::new(parameters, "coarse1", [coarse, coarse], [3, 1])?,
                Conv::new(parameters, "coarse2", [coarse, coarse], [3, 1])?,
            ],
            coarse_out: Linear::new(parameters, "coarse_out", [coarse, 1])?,
        })
    }

    /// Returns the energy of each latent.
    pub fn forward(
        &self,
        latents: &Tensor,
        levels: &Tensor,
        observed: &Tensor,
    ) -> Result<Tensor, ModelError> {
        let seen = if self.conditioned {
            Tensor::f_cat(&[latents, observed], 1)?
        } else {
            latents.shallow_clone()
        };
        let fine = self.first.forward(&channels_last(&seen)?)?;
        let fine = fine
            .f_add(&shifts(&self.fine_level, levels, fine.kind())?)?
            .f_silu()?;
        let energy = sum_of(&self.fine.forward(&fine)?.f_silu()?, &self.fine_out)?;
        let coarse = self.down.forward(&fine)?;
        let coarse = coarse
            .f_add(&shifts(&self.coarse_level, levels, coarse.kind())?)?
            .f_silu()?;
        let [first, second] = &self.coarse;
        let coarse = coarse.f_add(&second.forward(&first.forward(&coarse)?.f_silu()?)?)?;
        Ok(energy.f_add(&sum_of(&coarse.f_silu()?, &self.coarse_out)?)?)
    }
}

/// Returns a shift per sample and channel, to be added to a grid.
fn shifts(table: &Tensor, levels: &Tensor, kind: Kind) -> Result<Tensor, ModelError> {
    let rows = table.f_index_select(0, levels)?;
    let (batch, channels) = rows.size2()?;
    Ok(rows.f_to_kind(kind)?.f_view([batch, channels, 1, 1, 1])?)
}

/// Returns a weighted sum over a grid and its channels, per sample.
fn sum_of(grid: &Tensor, weights: &Linear) -> Result<Tensor, ModelError> {
    let kind = weights.kind();
    let pooled = grid
        .f_to_kind(kind)?
        .f_sum_dim_intlist([2_i64, 3, 4].as_slice(), false, kind)?;
    Ok(weights.forward(&pooled)?.f_squeeze_dim(1)?)
}
