//! Measures the input and the reconstruction of each vertebra against the reference, as they lie and, if asked for, once
//! more with the reconstruction moved onto it.

use models::register::{RegisterConf, register};
use ndarray::Array3;
use rayon::prelude::*;
use schemas::payload::{EvaluatedVertebra, ReconstructedVertebra};
use schemas::vertebra::METRIC_NAMES;
use schemas::{Evaluated, Fault, Flag, Patch, Reconstructed, Registered, Scores};
use serde::{Deserialize, Serialize};

use crate::metrics::{METRICS, Pair};
use crate::stage::{Stage, blocking};

/// What is measured: section `[evaluate]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateConf {
    /// How a reconstruction is moved onto its reference, to be measured there a second time.
    pub register: Register,
    /// Largest turn of a registration about each axis, either way, in degrees.
    pub register_degrees: f64,
    /// Largest shift of a registration along each axis, either way, in mm.
    pub register_mm: f64,
    /// Names of the metrics to take; the columns of the others stay null.
    pub metrics: Vec<String>,
}

/// How a reconstruction is moved onto its reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Register {
    /// Not at all: both lie in the same world.
    None,
    /// By the rigid motion with the best Dice coefficient.
    Rigid,
}

/// Widest range of a registration: its search looks at the cube of its rotations.
const MOST_DEGREES: f64 = 30.0;
const MOST_MM: f64 = 100.0;

impl Default for EvaluateConf {
    fn default() -> Self {
        let range = RegisterConf::default();
        Self {
            register: Register::None,
            register_degrees: range.most_degrees,
            register_mm: range.most_mm,
            metrics: METRIC_NAMES.map(str::to_owned).to_vec(),
        }
    }
}

impl EvaluateConf {
    /// Returns the same with every metric: a comparison leaves none out.
    pub fn with_every_metric(&self) -> Self {
        Self {
            metrics: METRIC_NAMES.map(str::to_owned).to_vec(),
            ..self.clone()
        }
    }

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// A message that names the key, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..=MOST_DEGREES).contains(&self.register_degrees) {
            return Err(format!(
                "evaluate.register_degrees: expected 0 to {MOST_DEGREES}, found {}",
                self.register_degrees
            ));
        }
        if !(0.0..=MOST_MM).contains(&self.register_mm) {
            return Err(format!(
                "evaluate.register_mm: expected 0 to {MOST_MM}, found {}",
                self.register_mm
            ));
        }
        for name in &self.metrics {
            if !METRIC_NAMES.contains(&name.as_str()) {
                return Err(format!(
                    "evaluate.metrics: expected names of metrics ({}), found {name:?}",
                    METRIC_NAMES.join(", ")
                ));
            }
        }
        Ok(())
    }
}

/// Measures each vertebra that has a reference.
#[derive(Debug, Clone, Default)]
pub struct Evaluate {
    /// What is measured.
    pub conf: EvaluateConf,
}

impl Stage for Evaluate {
    type In = Reconstructed;
    type Out = Evaluated;
    const NAME: &'static str = "evaluate";

    async fn run(&self, case: Reconstructed) -> Result<Evaluated, Fault> {
        let conf = self.conf.clone();
        Ok(blocking(move || evaluate(case, &conf)).await)
    }
}

/// Returns the case with the metrics of input and reconstruction, wherever there is a reference that meets
/// the input.
///
/// A vertebra whose reconstruction failed keeps the metrics of its input. A registration is tried as well where the
/// reference lies in the cube and meets the input nowhere: what lies within its range, it finds.
pub fn evaluate(case: Reconstructed, conf: &EvaluateConf) -> Evaluated {
    Evaluated {
        origin: case.origin,
        grid: case.grid,
        vertebrae: case
            .vertebrae
            .into_par_iter()
            .map(|vertebra| measure(vertebra, conf))
            .collect(),
        model: case.model,
    }
}

fn measure(vertebra: ReconstructedVertebra, conf: &EvaluateConf) -> EvaluatedVertebra {
    let cropped = &vertebra.cropped;
    let mut flags = cropped.flags.clone();
    let reconstruction = vertebra.reconstruction.as_ref().ok();
    if reconstruction.is_some_and(|made| made.mask.fold(0, |any, value| any | value) == 0) {
        flags.insert(Flag::ReconstructionEmpty);
    }
    let in_place = cropped
        .reference
        .as_ref()
        .filter(|_| !flags.contains(&Flag::ReferenceElsewhere));
    let as_they_lie = || match in_place {
        None => (None, None),
        Some(reference) => rayon::join(
            || Some(compare(&cropped.input.mask, reference, conf)),
            || reconstruction.map(|made| compare(&made.mask, reference, conf)),
        ),
    };
    let moved = || {
        let (made, reference) = (reconstruction?, cropped.reference.as_ref()?);
        moved_onto(&made.mask, reference, conf)
    };
    let ((input, reconstruction), moved) = rayon::join(as_they_lie, moved);
    // two that meet nowhere, moved or not, are not compared
    let moved = moved.filter(|moved| in_place.is_some() || moved.meets);
    if moved.as_ref().is_some_and(|moved| moved.is_at_limit) {
        flags.insert(Flag::RegistrationAtLimit);
    }
    EvaluatedVertebra {
        input,
        reconstruction,
        registered: moved.map(|moved| moved.registered),
        flags,
        reconstructed: vertebra,
    }
}

/// What a registration gave.
pub(crate) struct Moved {
    /// The motion, and the metrics after it.
    pub(crate) registered: Registered,
    /// Whether the motion ends at the limit of the search.
    pub(crate) is_at_limit: bool,
    /// Whether the moved mask meets the reference.
    meets: bool,
}

/// Returns the metrics of a mask that is moved onto its reference, or `None` where that is not asked for or one of both
/// is empty.
pub(crate) fn moved_onto(mask: &Array3<u8>, reference: &Patch, conf: &EvaluateConf) -> Option<Moved> {
    if conf.register == Register::None {
        return None;
    }
    let range = RegisterConf {
        most_degrees: conf.register_degrees,
        most_mm: conf.register_mm,
    };
    let spacing_mm = reference.affine.spacing_mm();
    let found = register(mask.view(), reference.mask.view(), spacing_mm, &range)?;
    Some(Moved {
        registered: Registered {
            scores: compare(&found.mask, reference, conf),
            rotation_degrees: found.rotation_degrees,
            shift_mm: found.shift_mm,
        },
        is_at_limit: found.is_at_limit,
        meets: found.dsc_after > 0.0,
    })
}

fn compare(mask: &Array3<u8>, reference: &Patch, conf: &EvaluateConf) -> Scores {
    let pair = Pair::new(mask.view(), reference.mask.view(), reference.affine.spacing_mm());
    METRICS.map(|metric| {
        let is_wanted = conf.metrics.iter().any(|name| name == metric.name());
        is_wanted.then(|| metric.measure(&pair)).flatten()
    })
}

#[cfg(test)]
mod tests;
