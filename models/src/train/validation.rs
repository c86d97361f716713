//! How well a model restores masks whose truth is known.

use schemas::Patch;

use crate::degrade::degrade_with_slices;
use crate::reconstructor::{ModelError, Reconstructor};
use crate::seed::derive;
use crate::train::TrainingMask;
use crate::train::samples::MILLIMETRES;

/// One mask's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// `person_level`.
    pub name: String,
    /// DSC of the degraded mask against the true one.
    pub dsc_input: f64,
    /// DSC of the reconstruction against the true one.
    pub dsc_reconstruction: f64,
}

/// Returns each mask's figures under the standard degradation, whose seed follows from 0 and the mask's name.
///
/// # Errors
/// What the model says.
pub fn validate(model: &mut dyn Reconstructor, cases: &[TrainingMask]) -> Result<Vec<Validated>, ModelError> {
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
                dsc_input: dsc(patch.mask.iter(), case.mask.iter()),
                dsc_reconstruction: dsc(result.mask.iter(), case.mask.iter()),
            });
        }
    }
    Ok(figures)
}

fn dsc<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> f64 {
    let (mut both, mut sum) = (0_u64, 0_u64);
    for (a, b) in a.zip(b) {
        both += u64::from(*a != 0 && *b != 0);
        sum += u64::from(*a != 0) + u64::from(*b != 0);
    }
    if sum == 0 {
        1.0
    } else {
        2.0 * both as f64 / sum as f64
    }
}
