//! The energy of the paper: a perceptron on a flat latent.

use tch::{Kind, Tensor};

use crate::networks::layers::{Linear, Parameters};
use crate::networks::{PaperSize, Time};
use crate::reconstructor::ModelError;

/// The authors' `E_func`: three linear layers with GELU between, on the latent and what is told of the level.
pub struct PaperEnergy {
    time: Time,
    layers: [Linear; 3],
}

/// Entries of an embedded level: as many sines as cosines.
const EMBEDDED: i64 = 32;
/// Longest period of the sines, over 2π (Vaswani et al. 2017, §3.5).
const LONGEST: f64 = 1e4;

impl PaperEnergy {
    /// Asks for the parameters under the authors' names.
    pub fn new(parameters: &mut dyn Parameters, size: &PaperSize) -> Result<Self, ModelError> {
        let width = size.energy_width;
        let told = match size.time {
            Time::Raw => 1,
            Time::Embedded => EMBEDDED,
        };
        Ok(Self {
            time: size.time,
            layers: [
                Linear::new(parameters, "ebm.0", [size.latents + told, width])?,
                Linear::new(parameters, "ebm.2", [width, width])?,
                Linear::new(parameters, "ebm.4", [width, 1])?,
            ],
        })
    }

    /// Returns the energy of each latent.
    pub fn forward(&self, latents: &Tensor, levels: &Tensor) -> Result<Tensor, ModelError> {
        let [_, outer] = self.hidden(latents, levels)?;
        let [.., last] = &self.layers;
        Ok(last.forward(&outer.f_gelu("none")?)?.f_squeeze_dim(1)?)
    }

    /// Returns the gradient of each latent's energy by that latent:
    /// W₁ᵀ(gelu'(h₁) ∘ W₂ᵀ(gelu'(h₂) ∘ w₃)) without the level's entries, gelu'(h) = Φ(h) + h·φ(h).
    pub fn gradient(&self, latents: &Tensor, levels: &Tensor) -> Result<Tensor, ModelError> {
        let [inner, outer] = self.hidden(latents, levels)?;
        let [first, second, last] = &self.layers;
        let by_outer = outer.f_gelu_backward(&last.weight().f_expand_as(&outer)?, "none")?;
        let by_inner = inner.f_gelu_backward(&second.backward(&by_outer)?, "none")?;
        let (_, length) = latents.size2()?;
        Ok(first.backward(&by_inner)?.f_narrow(1, 0, length)?)
    }

    /// Returns what the two hidden layers give before GELU.
    fn hidden(&self, latents: &Tensor, levels: &Tensor) -> Result<[Tensor; 2], ModelError> {
        let level = levels.f_to_kind(latents.kind())?.f_unsqueeze(1)?;
        let level = match self.time {
            Time::Raw => level,
            Time::Embedded => embedded(&level)?,
        };
        let [first, second, _] = &self.layers;
        let inner = first.forward(&Tensor::f_cat(&[latents, &level], 1)?)?;
        let outer = second.forward(&inner.f_gelu("none")?)?;
        Ok([inner, outer])
    }
}

/// Returns sines, then cosines of a level B×1 at frequencies from 1 down.
fn embedded(level: &Tensor) -> Result<Tensor, ModelError> {
    let half = EMBEDDED / 2;
    let powers = Tensor::f_arange(half, (Kind::Double, level.device()))?;
    let frequencies = powers.f_mul_scalar(-LONGEST.ln() / half as f64)?.f_exp()?;
    let phase = level.f_mul(&frequencies.f_to_kind(level.kind())?.f_unsqueeze(0)?)?;
    Ok(Tensor::f_cat(&[phase.f_sin()?, phase.f_cos()?], 1)?)
}
