//! The energy that keeps the latent's place in space: local energies, summed over two grids.

use tch::{Kind, Tensor};

use crate::networks::CompactSize;
use crate::networks::layers::{Conv, Fresh, Linear, Parameters, channels_last};
use crate::reconstructor::ModelError;

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
        let grids = self.grids(latents, levels, observed)?;
        let fine = sum_of(&grids.fine_last.f_silu()?, &self.fine_out)?;
        let coarse = sum_of(&grids.coarse_last.f_silu()?, &self.coarse_out)?;
        Ok(fine.f_add(&coarse)?)
    }

    /// Returns the gradient of each latent's energy by that latent: the way from it to the grids, backwards.
    pub fn gradient(
        &self,
        latents: &Tensor,
        levels: &Tensor,
        observed: &Tensor,
    ) -> Result<Tensor, ModelError> {
        let grids = self.grids(latents, levels, observed)?;
        let [first, second] = &self.coarse;

        // d/dx Σ w·silu(x) = w·silu'(x) in every voxel
        let by_coarse_last = back_through_silu(&grids.coarse_last, &per_channel(&self.coarse_out)?)?;
        let by_middle = second.backward(&by_coarse_last, &grids.coarse_middle)?;
        let by_middle = back_through_silu(&grids.coarse_middle, &by_middle)?;
        let by_coarse = first
            .backward(&by_middle, &grids.coarse)?
            .f_add(&by_coarse_last)?;
        let by_coarse = back_through_silu(&grids.coarse, &by_coarse)?;

        let by_fine_last = back_through_silu(&grids.fine_last, &per_channel(&self.fine_out)?)?;
        let by_fine = self
            .fine
            .backward(&by_fine_last, &grids.fine)?
            .f_add(&self.down.backward(&by_coarse, &grids.fine)?)?;
        let by_fine = back_through_silu(&grids.fine, &by_fine)?;

        // of what the first convolution sees, the latents come before the observed one
        let by_latents = self.first.backward(&by_fine, latents)?;
        Ok(by_latents.f_to_kind(latents.kind())?)
    }

    /// Returns every grid that SiLU is applied to.
    fn grids(&self, latents: &Tensor, levels: &Tensor, observed: &Tensor) -> Result<Grids, ModelError> {
        let seen = if self.conditioned {
            Tensor::f_cat(&[latents, observed], 1)?
        } else {
            latents.shallow_clone()
        };
        let fine = self.first.forward(&channels_last(&seen)?)?;
        let fine = fine.f_add(&shifts(&self.fine_level, levels, fine.kind())?)?;
        let fine_active = fine.f_silu()?;
        let fine_last = self.fine.forward(&fine_active)?;

        let coarse = self.down.forward(&fine_active)?;
        let coarse = coarse.f_add(&shifts(&self.coarse_level, levels, coarse.kind())?)?;
        let coarse_active = coarse.f_silu()?;
        let [first, second] = &self.coarse;
        let coarse_middle = first.forward(&coarse_active)?;
        let coarse_last = coarse_active.f_add(&second.forward(&coarse_middle.f_silu()?)?)?;
        Ok(Grids {
            fine,
            fine_last,
            coarse,
            coarse_middle,
            coarse_last,
        })
    }
}

/// What [`CompactEnergy`] has before each SiLU, on the latent grid (fine) and on that of half the edge.
struct Grids {
    fine: Tensor,
    fine_last: Tensor,
    coarse: Tensor,
    coarse_middle: Tensor,
    coarse_last: Tensor,
}

/// Returns the gradient by the input of a SiLU from that by its output: silu'(x) = s(x)·(1 + x·(1 − s(x))), s
/// the logistic function.
fn back_through_silu(input: &Tensor, by_output: &Tensor) -> Result<Tensor, ModelError> {
    let by_output = by_output.f_to_kind(input.kind())?;
    Ok(input.f_silu_backward(&by_output.f_expand_as(input)?)?)
}

/// Returns the weights of a sum, one per channel, shaped to be spread over a grid.
fn per_channel(weights: &Linear) -> Result<Tensor, ModelError> {
    Ok(weights.weight().f_view([1, -1, 1, 1, 1])?)
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
