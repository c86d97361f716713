//! The energy of the paper: a perceptron on a flat latent.

use tch::Tensor;

use crate::lsd_ebm::description::PaperSize;
use crate::lsd_ebm::layers::{Linear, Parameters};
use crate::reconstructor::ModelError;

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
        let [_, outer] = self.hidden(latents, levels)?;
        let [.., last] = &self.layers;
        Ok(last.forward(&outer.f_gelu("none")?)?.f_squeeze_dim(1)?)
    }

    /// Returns the gradient of each latent's energy by that latent:
    /// W₁ᵀ(gelu'(h₁) ∘ W₂ᵀ(gelu'(h₂) ∘ w₃)) without the level's entry, gelu'(h) = Φ(h) + h·φ(h).
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
        let [first, second, _] = &self.layers;
        let inner = first.forward(&Tensor::f_cat(&[latents, &level], 1)?)?;
        let outer = second.forward(&inner.f_gelu("none")?)?;
        Ok([inner, outer])
    }
}
