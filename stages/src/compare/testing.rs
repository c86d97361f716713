//! Subjects, methods and a comparison small enough to count by hand.

use std::ops::ControlFlow;

use models::{Chain, ModelError, Reconstructor, TracePoint};
use ndarray::{Array3, s};
use schemas::vertebra::Flags;
use schemas::{Affine, Level, ModelIdentity, Patch, Reconstruction};

use super::pairs::Source;
use super::{Comparison, ComparisonConf, Method, MethodConf, Plan, Subject, try_method};
use crate::evaluate::{EvaluateConf, Register};
use crate::metrics::scores;

/// A cube of ten voxels an edge as reference, the same moved by `shift` voxels as input.
pub fn subject(case: &str, shift: usize) -> Subject {
    let patch = |first: usize| {
        let mut mask = Array3::zeros((24, 24, 24));
        mask.slice_mut(s![first..first + 10, 6..16, 6..16]).fill(1);
        Patch {
            slices: None,
            mask,
            affine: Affine::axis_aligned([1.0; 3], [0.0; 3]),
        }
    };
    let (input, reference) = (patch(4 + shift), patch(4));
    Subject {
        case_id: case.to_owned(),
        person: format!("person of {case}"),
        level: Level::L2,
        source: Source::Degraded,
        seed: 1,
        flags: Flags::new(),
        scores: scores(input.mask.view(), reference.mask.view(), [1.0; 3]),
        input,
        reference,
    }
}

/// Moves the mask `by` voxels down the first axis; fails on a mask that then leaves the grid, panics by 99.
pub struct Move {
    pub by: usize,
}

impl Reconstructor for Move {
    fn reconstruct(&mut self, batch: &[Patch], _seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        assert!(self.by != 99, "a broken model");
        let moved = |patch: &Patch| {
            if patch
                .mask
                .slice(s![..self.by, .., ..])
                .iter()
                .any(|voxel| *voxel != 0)
            {
                return Err(ModelError::Exhausted("expected room, found none".to_owned()));
            }
            let mut mask = Array3::zeros(patch.mask.dim());
            let rest = patch.mask.dim().0 - self.by;
            mask.slice_mut(s![..rest, .., ..])
                .assign(&patch.mask.slice(s![self.by.., .., ..]));
            Ok(Reconstruction::of_mask(mask))
        };
        batch.iter().map(moved).collect()
    }

    fn trace(&mut self, _patch: &Patch, seed: u64) -> Result<Vec<TracePoint>, ModelError> {
        let point = |position: usize| TracePoint {
            leg: "reverse",
            position,
            variance: 1.0 + (seed % 7) as f64 + position as f64,
        };
        Ok((0..self.by.min(3)).map(point).collect())
    }
}

/// Identity of a method without weights.
pub fn identity(name: &str) -> ModelIdentity {
    ModelIdentity {
        chain: vec![name.to_owned()],
        model_version: "none".to_owned(),
        weights_sha256: String::new(),
        steps: 1,
        sampler: None,
        samples: 1,
        mirror: false,
        precision: None,
    }
}

/// Asks for registrations.
pub fn rigid() -> EvaluateConf {
    EvaluateConf {
        register: Register::Rigid,
        ..EvaluateConf::default()
    }
}

/// Lets [`Move`] go over the subjects.
pub fn moved(name: &str, by: usize, subjects: &[Subject]) -> Method {
    measured(name, by, subjects, &EvaluateConf::default())
}

/// Lets [`Move`] go over the subjects, and measures what it makes as `evaluate` asks.
pub fn measured(name: &str, by: usize, subjects: &[Subject], evaluate: &EvaluateConf) -> Method {
    let conf = MethodConf {
        name: name.to_owned(),
        ..MethodConf::default()
    };
    let open = || Ok(Chain::of(vec![Box::new(Move { by })], identity("move")));
    let plan = Plan {
        key: "0123456789ab",
        evaluate,
        shown: &[0],
        repeats: 2,
    };
    try_method(&conf, &identity("move"), &open, subjects, plan, &mut |_| {
        ControlFlow::Continue(())
    })
    .expect("not stopped")
}

/// Two methods on three cubes; the second fails on the last.
pub fn comparison() -> Comparison {
    comparison_with(EvaluateConf::default())
}

/// The same, measured as `evaluate` asks.
pub fn comparison_with(evaluate: EvaluateConf) -> Comparison {
    let subjects = vec![subject("a", 5), subject("b", 6), subject("c", 2)];
    let methods = vec![
        measured("near", 2, &subjects, &evaluate),
        measured("far", 7, &subjects, &evaluate),
    ];
    Comparison {
        key: "0123456789ab".to_owned(),
        manifest_sha256: "ff".repeat(32),
        conf: ComparisonConf {
            bootstrap: 200,
            ..ComparisonConf::default()
        },
        evaluate,
        subjects,
        left_out: Vec::new(),
        methods,
    }
}
