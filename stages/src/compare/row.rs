//! What one method made of one vertebra, measured.

use std::sync::Arc;

use schemas::rows::ComparisonRow;
use schemas::vertebra::METRIC_NAMES;
use schemas::{Flag, Reconstruction};

use super::method::{Attempt, Method, Plan};
use super::pairs::Subject;
use crate::evaluate::moved_onto;
use crate::metrics::scores;

/// Returns the row of an attempt: metrics as the reconstruction lies and, where asked for, moved onto the reference.
pub(super) fn row(method: &Method, subject: &Subject, attempt: &Attempt, plan: Plan<'_>) -> ComparisonRow {
    let made = attempt.result.as_ref().ok();
    let fault = attempt.result.as_ref().err();
    let reference = &subject.reference;
    let measure = |made: &Reconstruction| {
        if !subject.meets() {
            return [None; METRIC_NAMES.len()];
        }
        scores(
            made.mask.view(),
            reference.mask.view(),
            reference.affine.spacing_mm(),
        )
    };
    let volume_mm3 = |made: &Reconstruction| {
        let voxels = made.mask.iter().filter(|voxel| **voxel != 0).count();
        voxels as f64 * reference.affine.voxel_volume_mm3()
    };
    let registered =
        made.and_then(|made| moved_onto(&made.mask, reference, &plan.evaluate.with_every_metric()));
    let mut flags = subject.flags.clone();
    if made.is_some_and(|made| made.mask.iter().all(|voxel| *voxel == 0)) {
        flags.insert(Flag::ReconstructionEmpty);
    }
    if registered.as_ref().is_some_and(|moved| moved.is_at_limit) {
        flags.insert(Flag::RegistrationAtLimit);
    }
    ComparisonRow {
        comparison: plan.key.to_owned(),
        method: method.conf.name.clone(),
        model: Arc::clone(&method.identity),
        case_id: subject.case_id.clone(),
        person: subject.person.clone(),
        level: subject.level.as_str(),
        origin: subject.source.as_str(),
        seed: subject.seed,
        status: if made.is_some() { "done" } else { "failed" },
        kind: fault.map(|fault| fault.kind.as_str()),
        reason: fault.map(|fault| fault.reason),
        message: fault.map(|fault| fault.message.clone()),
        flags: flags.into_iter().map(Flag::as_str).collect(),
        input_volume_mm3: subject.input.volume_mm3(),
        recon_volume_mm3: made.map(volume_mm3),
        reference_volume_mm3: reference.volume_mm3(),
        input: subject.scores,
        recon: made.map(measure),
        registered: registered.map(|moved| moved.registered),
        spread: made.and_then(|made| made.spread),
        seconds: attempt.wall.as_secs_f64(),
        cpu_seconds: attempt.processor.as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use crate::compare::summary::metric;
    use crate::compare::testing::{measured, moved, rigid, subject};
    use crate::evaluate::EvaluateConf;

    #[test]
    fn a_reconstruction_is_measured_as_it_lies_and_moved_onto_its_reference() {
        let subjects = [subject("a", 8)];
        let few = EvaluateConf {
            metrics: vec!["dsc".to_owned()],
            ..rigid()
        };
        let row = measured("back by one", 1, &subjects, &few).rows.remove(0);
        let recon = row.recon.expect("scores");
        // a cube of ten, seven voxels of 1 mm off: DSC = 1 − 7/10
        assert!((recon[metric("dsc")].expect("DSC") - 0.3).abs() < 1e-12);
        assert_eq!(recon[metric("hd95_mm")], Some(7.0));
        let found = row.registered.expect("registered");
        assert_eq!(found.shift_mm, [-7.0, 0.0, 0.0]);
        assert_eq!(found.rotation_degrees, [0.0; 3]);
        assert_eq!(found.scores[metric("dsc")], Some(1.0));
        assert_eq!(
            found.scores[metric("hd95_mm")],
            Some(0.0),
            "every metric is measured"
        );
        assert!(row.flags.is_empty());

        let mut plain = moved("back by one", 1, &subjects).rows.remove(0);
        assert_eq!(plain.registered, None, "nobody asked");
        plain.registered = row.registered;
        (plain.seconds, plain.cpu_seconds) = (row.seconds, row.cpu_seconds);
        assert_eq!(plain, row, "nothing else changes");
    }

    #[test]
    fn a_registration_that_ends_at_its_limit_is_flagged_and_a_failure_has_none() {
        let narrow = EvaluateConf {
            register_mm: 4.0,
            ..rigid()
        };
        let subjects = [subject("a", 8), subject("b", 2)];
        let method = measured("back by seven", 7, &subjects, &narrow);
        // the first lies one voxel off, which is in range
        assert!(method.rows[0].flags.is_empty() && method.rows[0].registered.is_some());
        assert_eq!(
            (method.rows[1].status, method.rows[1].registered),
            ("failed", None)
        );
        let far = measured("as it is", 0, &subjects, &narrow);
        assert_eq!(far.rows[0].flags, ["registration_at_limit"]);
        assert_eq!(far.rows[0].recon_volume_mm3, Some(1000.0));
    }
}
