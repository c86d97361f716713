//! Training that starts from finished weights.

use super::*;
use crate::networks::layers::STATISTICS;
use crate::train::recipe::Rate;

fn starting<'a>(start: &'a [u8], masks: &'a [TrainingMask], recipe: &'a Recipe) -> Job<'a> {
    Job {
        start: Some(start),
        ..job(masks, recipe)
    }
}

/// The same recipe without a step.
fn at_rest(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.fit.steps = 0;
    recipe.energy.fit.steps = 0;
    recipe
}

/// Compares the tensors of two files bit for bit.
#[track_caller]
fn same_tensors(one: &[u8], other: &[u8]) {
    let [one, other] = [one, other].map(|bytes| read(bytes).unwrap().tensors);
    assert!(one.keys().eq(other.keys()));
    for (name, tensor) in &one {
        assert_eq!(tensor.kind(), other[name].kind(), "{name}");
        assert!(tensor.equal(&other[name]), "{name}");
    }
}

#[test]
fn a_training_without_a_step_gives_back_what_it_starts_from() {
    let masks = masks();
    for method in Method::ALL {
        let recipe = tiny(method, Preset::Corrected, Size::Compact);
        let (before, _) = train_for(&recipe, 100, None);
        assert!(before.last != before.weights, "{method} has a running mean");
        let still = at_rest(&recipe);
        for start in [&before.weights, &before.last] {
            let (after, _) = job_for(&starting(start, &masks, &still), 100, None);
            assert!(after.complete);
            // all but the statistics of LSD-EBM's latents, which are found anew
            same_tensors(&after.weights, start);
            assert!(after.last == after.weights);
        }
        opens(method, before.last);
    }
}

#[test]
fn what_batch_norm_has_counted_comes_along() {
    let masks = masks();
    let recipe = at_paper_size(Method::Vae, Preset::PaperCode, 1);
    let (before, _) = train_for(&recipe, 100, None);
    let tensors = read(&before.weights).unwrap().tensors;
    let counted = tensors.iter().find(|(name, _)| name.ends_with(STATISTICS[0]));
    assert!(counted.unwrap().1.abs().max().double_value(&[]) > 0.0);
    assert!(before.last == before.weights, "without a running mean");
    let still = at_rest(&recipe);
    let (after, _) = job_for(&starting(&before.weights, &masks, &still), 100, None);
    assert!(after.weights == before.weights);
}

#[test]
fn weights_of_other_networks_are_refused_by_what_differs() {
    let masks = masks();
    let recipe = compact();
    let (start, checkpoint) = train_for(&recipe, 1, None);
    let start = start.weights;
    let refused = |start: &[u8], recipe: &Recipe| {
        let refused = train(&starting(start, &masks, recipe), None, &mut |_| {
            panic!("no step is made")
        });
        refused.expect_err("other networks")
    };
    let mut levels = recipe.clone();
    levels.levels = Levels::Noise(vec![0.0, 0.2, 0.5, 0.9]);
    let mut walk = recipe.clone();
    walk.walk.steps += 1;
    for (other, differs) in [
        (
            tiny(Method::Vae, Preset::Corrected, Size::Compact),
            "method, levels, walk",
        ),
        (tiny(Method::LsdEbm, Preset::Corrected, Size::Paper), "network"),
        (levels, "levels"),
        (walk, "walk"),
    ] {
        let error = refused(&start, &other);
        let ModelError::Conf(message) = &error else {
            panic!("{error}")
        };
        assert!(message.starts_with("train.start: "), "{message}");
        assert!(message.ends_with(&format!("by their {differs}")), "{message}");
    }
    for bytes in [&start[..start.len() - 9], &checkpoint] {
        assert!(matches!(refused(bytes, &recipe), ModelError::Weights(_)));
    }
    // another version of the same networks is what fine-tuning is for
    let newer = Recipe {
        version: "newer".to_owned(),
        ..at_rest(&recipe)
    };
    let (trained, _) = job_for(&starting(&start, &masks, &newer), 100, None);
    let description = Description::read(&read(&trained.weights).unwrap().metadata).unwrap();
    assert_eq!(description.version, "newer");
}

#[test]
fn a_base_and_a_start_are_refused_together() {
    let masks = masks();
    let recipe = compact();
    let shipped = crate::weights::shipped(Method::LsdEbm);
    let both = Job {
        base: Some(shipped),
        ..starting(shipped, &masks, &recipe)
    };
    let refused = train(&both, None, &mut |_| panic!("no step is made"));
    assert!(matches!(refused, Err(ModelError::Conf(message)) if message.contains("found both")));
}

#[test]
fn a_fine_tuning_gives_the_same_weights_twice_and_stopped_and_resumed() {
    let masks = masks();
    let recipe = compact();
    let (start, _) = train_for(&recipe, 100, None);
    let tuning = starting(&start.weights, &masks, &recipe);
    let (whole, _) = job_for(&tuning, 100, None);
    let (again, _) = job_for(&tuning, 100, None);
    assert!(whole.complete && whole.weights != start.weights);
    assert!(again.weights == whole.weights && again.last == whole.last);
    // stopped inside each phase
    for stop in [2, 5] {
        let (stopped, checkpoint) = job_for(&tuning, stop, None);
        assert!(!stopped.complete);
        let (resumed, _) = job_for(&tuning, 100, Some(&checkpoint));
        assert!(resumed.complete);
        assert!(
            resumed.weights == whole.weights && resumed.last == whole.last,
            "stopped after {stop} steps"
        );
        // whom the weights have seen decides who may be held out
        for other in [job(&masks, &recipe), starting(&whole.weights, &masks, &recipe)] {
            let refused = train(&other, Some(&checkpoint), &mut |_| panic!("no step is made"));
            assert!(matches!(refused, Err(ModelError::Conf(message)) if message.contains("train.start")));
        }
    }
}

/// Returns the cross-entropy of a job's first step.
fn first_loss(job: &Job<'_>) -> f64 {
    let mut first = None;
    let trained = train(job, None, &mut |event| {
        let Event::Step { figures, .. } = event else {
            return ControlFlow::Continue(());
        };
        let found = figures.iter().find(|(name, _)| *name == "cross_entropy");
        first = found.map(|(_, loss)| *loss);
        ControlFlow::Break(())
    });
    assert!(!trained.unwrap().complete);
    first.expect("a loss")
}

#[test]
fn a_fine_tuning_starts_with_a_lower_loss_than_fresh_weights() {
    let masks = masks();
    let mut recipe = tiny(Method::ReconNet, Preset::Corrected, Size::Compact);
    recipe.fit.steps = 30;
    recipe.fit.learning_rate = 1e-2;
    recipe.fit.schedule = Rate::Constant;
    recipe.fit.warm_up = 0;
    recipe.fit.ema = 0.0;
    let (trained, _) = train_for(&recipe, 100, None);
    // the same first batch under both
    let fresh = first_loss(&job(&masks, &recipe));
    let tuned = first_loss(&starting(&trained.weights, &masks, &recipe));
    assert!(tuned < fresh, "{tuned} and {fresh}");
}
