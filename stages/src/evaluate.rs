//! Measures the input and the reconstruction of each vertebra against the reference.

use rayon::prelude::*;
use schemas::payload::{EvaluatedVertebra, ReconstructedVertebra};
use schemas::vertebra::METRIC_NAMES;
use schemas::{Evaluated, Fault, Flag, Patch, Reconstructed, Scores};
use serde::{Deserialize, Serialize};

use crate::metrics::{METRICS, Pair};
use crate::stage::{Stage, blocking};

/// What is measured: section `[evaluate]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateConf {
    /// How a reference is moved before it is compared.
    pub register: Register,
    /// Names of the metrics to take; the columns of the others stay null.
    pub metrics: Vec<String>,
}

/// How a reference is moved onto the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Register {
    /// Not at all: both lie in the same world.
    None,
    /// By the rigid motion that fits best.
    Rigid,
}

impl Default for EvaluateConf {
    fn default() -> Self {
        Self {
            register: Register::None,
            metrics: METRIC_NAMES.map(str::to_owned).to_vec(),
        }
    }
}

impl EvaluateConf {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// A message that names the key, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        if self.register == Register::Rigid {
            return Err(
                "evaluate.register: expected \"none\", found \"rigid\", which is not there yet".to_owned(),
            );
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
/// A vertebra whose reconstruction failed keeps the metrics of its input.
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
    if reconstruction.is_some_and(|made| made.mask.iter().all(|value| *value == 0)) {
        flags.insert(Flag::ReconstructionEmpty);
    }
    let reference = cropped
        .reference
        .as_ref()
        .filter(|_| !flags.contains(&Flag::ReferenceElsewhere));
    let (input, reconstruction) = match reference {
        None => (None, None),
        Some(reference) => rayon::join(
            || Some(compare(&cropped.input.mask, reference, conf)),
            || reconstruction.map(|made| compare(&made.mask, reference, conf)),
        ),
    };
    EvaluatedVertebra {
        input,
        reconstruction,
        flags,
        reconstructed: vertebra,
    }
}

fn compare(mask: &ndarray::Array3<u8>, reference: &Patch, conf: &EvaluateConf) -> Scores {
    let pair = Pair::new(mask.view(), reference.mask.view(), reference.affine.spacing_mm());
    METRICS.map(|metric| {
        let is_wanted = conf.metrics.iter().any(|name| name == metric.name());
        is_wanted.then(|| metric.measure(&pair)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ndarray::{Array3, s};
    use schemas::payload::CroppedVertebra;
    use schemas::vertebra::Flags;
    use schemas::volume::Grid;
    use schemas::{Affine, Level, ModelIdentity, Origin, Reconstruction};

    use super::*;

    fn patch(first: usize) -> Patch {
        let mut mask = Array3::zeros((32, 32, 32));
        mask.slice_mut(s![first..first + 10, 8..18, 8..18]).fill(1);
        Patch::new(mask, Affine::axis_aligned([2.0, 1.0, 1.0], [0.0; 3]))
    }

    /// A vertebra whose input lies five voxels, its reconstruction none from the reference.
    fn vertebra() -> ReconstructedVertebra {
        let cropped = CroppedVertebra {
            level: Level::L3,
            label: 22,
            input: patch(5),
            reference: Some(patch(10)),
            centre_mm: [0.0; 3],
            source_volume_mm3: 2000.0,
            flags: Flags::from([Flag::TouchesBorder]),
        };
        ReconstructedVertebra {
            cropped,
            seed: 1,
            reconstruction: Ok(Reconstruction::of_mask(patch(10).mask)),
            elapsed: Duration::ZERO,
            batch: 1,
        }
    }

    fn case(vertebrae: Vec<ReconstructedVertebra>) -> Reconstructed {
        let id = "case".parse().expect("a case id");
        Reconstructed {
            origin: Origin {
                id,
                person: "person".to_owned(),
                seed: 0,
                bytes_read: 0,
            },
            grid: Grid {
                shape: [32; 3],
                affine: Affine::axis_aligned([1.0; 3], [0.0; 3]),
            },
            vertebrae,
            model: Arc::new(ModelIdentity {
                chain: vec!["identity".to_owned()],
                model_version: "none".to_owned(),
                weights_sha256: String::new(),
                steps: 0,
                samples: 1,
            }),
        }
    }

    fn evaluated(vertebra: ReconstructedVertebra, conf: &EvaluateConf) -> EvaluatedVertebra {
        evaluate(case(vec![vertebra]), conf).vertebrae.remove(0)
    }

    fn value_of(scores: Option<Scores>, name: &str) -> Option<f64> {
        let column = METRIC_NAMES
            .iter()
            .position(|known| *known == name)
            .expect("a metric");
        scores.expect("scores")[column]
    }

    #[tokio::test]
    async fn input_and_reconstruction_are_both_measured_against_the_reference() {
        let done = Evaluate::default()
            .run(case(vec![vertebra()]))
            .await
            .expect("evaluated");
        let [found] = done.vertebrae.as_slice() else {
            panic!("one vertebra")
        };
        assert_eq!(value_of(found.input, "dsc"), Some(0.5));
        assert_eq!(
            value_of(found.input, "hd95_mm"),
            Some(10.0),
            "five voxels of 2 mm"
        );
        assert_eq!(value_of(found.reconstruction, "dsc"), Some(1.0));
        assert_eq!(value_of(found.reconstruction, "assd_mm"), Some(0.0));
        assert_eq!(found.flags, Flags::from([Flag::TouchesBorder]));
    }

    #[test]
    fn without_a_reference_that_meets_the_input_nothing_is_measured() {
        let mut alone = vertebra();
        alone.cropped.reference = None;
        let mut elsewhere = vertebra();
        elsewhere.cropped.flags.insert(Flag::ReferenceElsewhere);
        for vertebra in [alone, elsewhere] {
            let found = evaluated(vertebra, &EvaluateConf::default());
            assert_eq!((found.input, found.reconstruction), (None, None));
            assert!(
                found.reconstructed.reconstruction.is_ok(),
                "the reconstruction is kept"
            );
        }
    }

    #[test]
    fn a_failed_vertebra_keeps_the_metrics_of_its_input() {
        let mut failed = vertebra();
        failed.reconstruction = Err(Fault::exhausted("memory", "too much"));
        let found = evaluated(failed, &EvaluateConf::default());
        assert_eq!(value_of(found.input, "dsc"), Some(0.5));
        assert_eq!(found.reconstruction, None);
    }

    #[test]
    fn an_empty_reconstruction_is_flagged_and_has_no_distances() {
        let mut empty = vertebra();
        empty.reconstruction = Ok(Reconstruction::of_mask(Array3::zeros((32, 32, 32))));
        let found = evaluated(empty, &EvaluateConf::default());
        assert!(found.flags.contains(&Flag::ReconstructionEmpty));
        assert_eq!(value_of(found.reconstruction, "dsc"), Some(0.0));
        assert_eq!(value_of(found.reconstruction, "hd95_mm"), None);
    }

    #[test]
    fn metrics_not_asked_for_stay_null() {
        let conf = EvaluateConf {
            metrics: vec!["jaccard".to_owned()],
            ..EvaluateConf::default()
        };
        let found = evaluated(vertebra(), &conf);
        assert_eq!(value_of(found.reconstruction, "jaccard"), Some(1.0));
        assert_eq!(found.reconstruction.expect("scores").iter().flatten().count(), 1);
    }

    #[test]
    fn what_is_not_there_is_refused_before_the_run() {
        assert_eq!(EvaluateConf::default().check(), Ok(()));
        let rigid: EvaluateConf = serde_json::from_str(r#"{"register": "rigid"}"#).expect("a known word");
        assert!(
            rigid
                .check()
                .expect_err("not there yet")
                .contains("evaluate.register")
        );
        let unknown = EvaluateConf {
            metrics: vec!["dice".to_owned()],
            ..EvaluateConf::default()
        };
        assert!(unknown.check().expect_err("not a metric").contains("hd95_mm"));
        assert!(serde_json::from_str::<EvaluateConf>(r#"{"registre": "none"}"#).is_err());
    }
}
