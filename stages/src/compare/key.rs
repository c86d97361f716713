//! The name of a comparison: a hash of everything that decides its results.

use models::ModelConf;
use schemas::ModelIdentity;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::conf::ComparisonConf;
use super::pairs::{Pairs, Subject};
use crate::evaluate::{EvaluateConf, Register};
use crate::tables::SOFTWARE_VERSION;

/// Bytes of the hash that go into the name.
const LENGTH: usize = 6;

/// Returns the comparison's key: of the methods' names, models and weights, of every input and reference voxel, the
/// seeds, the cases left out, the registration where there is one, and the software's version.
///
/// Not of places, device, threads, dates or what only the report shows (resamples, pictures, repeats, training times):
/// the same comparison, made again, has the same name.
pub fn key(
    conf: &ComparisonConf,
    evaluate: &EvaluateConf,
    identities: &[ModelIdentity],
    pairs: &Pairs,
) -> String {
    let methods: Vec<_> = conf
        .methods
        .iter()
        .zip(identities)
        .map(|(method, identity)| {
            // where weights lie does not matter, what they are does
            let model = ModelConf {
                weights: ModelConf::default().weights,
                ..method.model.clone()
            };
            json!({ "name": method.name, "model": model, "identity": identity })
        })
        .collect();
    let left_out: Vec<_> = pairs
        .left_out
        .iter()
        .map(|entry| json!([entry.case_id, entry.level, entry.fault.reason]))
        .collect();
    let mut decides = json!({
        "version": SOFTWARE_VERSION,
        "methods": methods,
        "left_out": left_out,
        "subjects": pairs.subjects.iter().map(described).collect::<Vec<_>>(),
    });
    // left out without one, so that comparisons from before there was a choice keep their keys
    if evaluate.register != Register::None {
        decides["evaluate"] = json!(evaluate.with_every_metric());
    }
    hex(&Sha256::digest(decides.to_string().as_bytes())[..LENGTH])
}

fn described(subject: &Subject) -> serde_json::Value {
    let mut hasher = Sha256::new();
    for patch in [&subject.input, &subject.reference] {
        match patch.mask.as_slice() {
            Some(voxels) => hasher.update(voxels),
            None => hasher.update(patch.mask.iter().copied().collect::<Vec<u8>>()),
        }
    }
    json!([
        subject.case_id,
        subject.person,
        subject.level,
        subject.source.as_str(),
        subject.seed,
        subject.reference.affine.spacing_mm(),
        hex(&hasher.finalize()),
    ])
}

/// Returns bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::MethodConf;
    use crate::compare::testing::{rigid, subject};

    fn identity(sha256: &str) -> ModelIdentity {
        ModelIdentity {
            chain: vec!["identity".to_owned()],
            model_version: "none".to_owned(),
            weights_sha256: sha256.to_owned(),
            steps: 1,
            sampler: None,
            samples: 1,
            mirror: false,
            precision: None,
        }
    }

    #[test]
    fn the_key_follows_from_results_alone() {
        let method = MethodConf {
            name: "a".to_owned(),
            ..MethodConf::default()
        };
        let conf = ComparisonConf {
            methods: vec![method],
            ..ComparisonConf::default()
        };
        let pairs = || Pairs {
            subjects: vec![subject("one", 4)],
            left_out: Vec::new(),
        };
        let of = |conf: &ComparisonConf, sha256: &str, pairs: &Pairs| {
            key(conf, &EvaluateConf::default(), &[identity(sha256)], pairs)
        };
        let first = of(&conf, "ab", &pairs());
        assert_eq!(first.len(), 2 * LENGTH);

        let mut elsewhere = conf.clone();
        elsewhere.output = "s3://bucket/other".to_owned();
        elsewhere.pictures = 0;
        elsewhere.threads = 8;
        elsewhere.methods[0].model.weights = models::Weights::One("copy.safetensors".to_owned());
        assert_eq!(of(&elsewhere, "ab", &pairs()), first);

        assert_ne!(of(&conf, "cd", &pairs()), first, "other weights");
        let mut steps = conf.clone();
        steps.methods[0].model.steps = 7;
        assert_ne!(of(&steps, "ab", &pairs()), first, "other steps");
        let mut voxel = pairs();
        voxel.subjects[0].input.mask[[0, 0, 0]] = 1;
        assert_ne!(of(&conf, "ab", &voxel), first, "another voxel");

        let measured = |evaluate: &EvaluateConf| key(&conf, evaluate, &[identity("ab")], &pairs());
        let mut unused = EvaluateConf::default();
        unused.metrics.clear();
        unused.register_mm = 20.0;
        assert_eq!(
            measured(&unused),
            first,
            "every metric is measured, nothing moved"
        );
        let moved = measured(&rigid());
        assert_ne!(moved, first, "moved");
        let mut further = rigid();
        further.register_mm = 20.0;
        assert_ne!(measured(&further), moved, "another range");
    }
}
