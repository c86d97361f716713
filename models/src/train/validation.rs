//! How well a model restores masks whose truth is known.

use ndarray::ArrayView3;
use schemas::Patch;
use schemas::vertebra::Scores;

use crate::degrade::degrade_with_slices;
use crate::reconstructor::{ModelError, Reconstructor};
use crate::seed::derive;
use crate::train::TrainingMask;
use crate::train::samples::MILLIMETRES;

/// Measures a mask (first) against the true one, both on a grid of 1 mm: every metric, from the crate that has them.
pub type Measure<'a> = dyn Fn(ArrayView3<'_, u8>, ArrayView3<'_, u8>) -> Scores + 'a;

/// One mask's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// `person_level`.
    pub name: String,
    /// Metrics of the degraded mask against the true one.
    pub input: Scores,
    /// Metrics of the reconstruction against the true one.
    pub reconstruction: Scores,
}

/// Returns each mask's figures under the standard degradation, whose seed follows from 0 and the mask's name.
///
/// # Errors
/// What the model says.
pub fn validate(
    model: &mut dyn Reconstructor,
    cases: &[TrainingMask],
    measure: &Measure<'_>,
) -> Result<Vec<Validated>, ModelError> {
    let mut figures = Vec::with_capacity(cases.len());
    for case in cases {
        let name = case.name();
        let seed = derive(0, &name);
        let (mask, slices) = degrade_with_slices(case.mask.view(), &MILLIMETRES, seed);
        let patch = Patch {
            mask,
            affine: MILLIMETRES,
            slices,
        };
        let results = model.reconstruct(std::slice::from_ref(&patch), &[seed])?;
        for result in results {
            figures.push(Validated {
                name: name.clone(),
                input: measure(patch.mask.view(), case.mask.view()),
                reconstruction: measure(result.mask.view(), case.mask.view()),
            });
        }
    }
    Ok(figures)
}
