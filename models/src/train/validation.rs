//! How well a model restores masks whose truth is known.

use ndarray::ArrayView3;
use schemas::Patch;
use schemas::vertebra::{METRIC_NAMES, Scores};

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
    /// Why there is no reconstruction, and all its metrics are `None`.
    pub fault: Option<String>,
}

/// Returns each mask's figures under the standard degradation, whose seed follows from 0 and the mask's name. A mask
/// that the model fails on, as by a chain that diverges, is one without a reconstruction: training goes on.
pub fn validate(
    model: &mut dyn Reconstructor,
    cases: &[TrainingMask],
    measure: &Measure<'_>,
) -> Vec<Validated> {
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
        let result = model
            .reconstruct(std::slice::from_ref(&patch), &[seed])
            .and_then(|results| {
                let found = results.into_iter().next();
                found.ok_or_else(|| ModelError::Contract("expected a reconstruction, found none".to_owned()))
            });
        figures.push(Validated {
            name,
            input: measure(patch.mask.view(), case.mask.view()),
            reconstruction: match &result {
                Ok(made) => measure(made.mask.view(), case.mask.view()),
                Err(_) => [None; METRIC_NAMES.len()],
            },
            fault: result.err().map(|error| error.to_string()),
        });
    }
    figures
}
