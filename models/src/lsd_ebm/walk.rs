//! How Langevin dynamics walks from one diffusion level to the one below.

use serde::{Deserialize, Serialize};

use crate::reconstructor::Sampler;

/// How Langevin dynamics walks from z_{t+1} to z_t.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walk {
    /// Langevin steps per level (K).
    pub steps: usize,
    /// Step size λ.
    pub step: StepSize,
    /// Factor on the Langevin noise √λ·ε: 1 samples, 0 descends; 0.01 in the paper's code.
    pub temperature: f64,
    /// Factor on the noise of the forward process: 1, but 0.1 in the paper's code.
    pub forward_noise: f64,
    /// Where a level starts.
    pub start: Start,
}

/// Step size λ of the Langevin dynamics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepSize {
    /// The same at every level: 0.01 in the paper's code, which diverges where λ > 4 sigma².
    Fixed(f64),
    /// `share`·sigma² / (1 + `curvature`·sigma²), sigma² that of the level above: a share of the variance that
    /// the quadratic and an energy of this curvature leave, so that no level diverges.
    Relative {
        /// Share of the variance.
        share: f64,
        /// Curvature of the energy that is reckoned with.
        curvature: f64,
    },
}

/// Where the dynamics of a level starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// From N(0, 1), as in the paper's code.
    Noise,
    /// From z_{t+1}.
    Above,
}

impl Walk {
    /// Returns the walk of the paper's code.
    pub fn paper() -> Self {
        Self {
            steps: 300,
            step: StepSize::Fixed(0.01),
            temperature: 0.01,
            forward_noise: 0.1,
            start: Start::Noise,
        }
    }

    /// Returns the corrected walk: sampling at unit temperature, stable at every level.
    pub fn corrected(steps: usize) -> Self {
        Self {
            steps,
            step: StepSize::Relative {
                share: 0.4,
                curvature: 10.0,
            },
            temperature: 1.0,
            forward_noise: 1.0,
            start: Start::Above,
        }
    }

    /// Returns the walk by another sampler than that of the weights: the paper's, or one that comes to the same place
    /// in fewer steps.
    ///
    /// Preconditioned, steps are tied to σ²_{t+1} and begin at z_{t+1} (MODEL.md §7): a perceptron's energy hardly bends,
    /// and two steps as long as the quadratic's σ² suffice. A trained convolutional one bends more than the walk reckons
    /// with; whole steps run away from the second level on, and sixteen half ones come to within a hundredth of the place
    /// of the paper's 300 (measured in this module's tests, up to four levels of the shipped weights; from nearly pure
    /// noise the energy has several minima, and where a chain starts decides which it finds).
    pub fn by(&self, sampler: Sampler) -> Self {
        let curvature = match self.step {
            StepSize::Fixed(_) => 0.0,
            StepSize::Relative { curvature, .. } => curvature,
        };
        let (steps, share) = if curvature == 0.0 { (2, 2.0) } else { (16, 1.0) };
        match sampler {
            Sampler::Trained => self.clone(),
            Sampler::Langevin => Self {
                forward_noise: self.forward_noise,
                ..Self::paper()
            },
            Sampler::Preconditioned => Self {
                steps,
                step: StepSize::Relative { share, curvature },
                temperature: 0.0,
                forward_noise: self.forward_noise,
                start: Start::Above,
            },
        }
    }
}
