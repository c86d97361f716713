use super::recipe::Size;
use super::*;
use crate::description::Preset;
use crate::loaded::LoadedWeights;
use crate::lsd_ebm::schedule::Levels;
use crate::networks::{CompactSize, Network, PaperSize};
use crate::phantom::vertebra;
use crate::reconstructor::{ModelConf, Reconstructor as _};

mod start;

/// A recipe of few steps with tiny networks.
fn tiny(method: Method, preset: Preset, size: Size) -> Recipe {
    let mut recipe = Recipe::of(method, preset, size);
    recipe.threads = 1;
    recipe.half = false;
    recipe.validate_every = 100;
    recipe.network = match recipe.network {
        Network::Paper(paper) => Network::Paper(PaperSize {
            channels: 2,
            latents: 4,
            energy_width: 8,
            ..paper
        }),
        Network::Compact(compact) => Network::Compact(CompactSize {
            channels: [4, 4, 8, 8],
            latents: 2,
            encoder_blocks: [0, 1, 0, 0],
            decoder_blocks: [1, 0],
            energy_channels: [4, 4],
            window: [64, 64, 48],
            ..compact
        }),
    };
    recipe.levels = Levels::Noise(vec![0.0, 0.4, 0.8]);
    recipe.walk.steps = 2;
    recipe.short.posterior_steps = 2;
    recipe.short.posterior_step = 1e-4;
    recipe.short.prior_steps = 2;
    for fit in [&mut recipe.fit, &mut recipe.energy.fit] {
        fit.steps = 3;
        fit.minutes = 0.0;
    }
    recipe.fit.batch = 1;
    recipe.energy.fit.batch = 2;
    recipe.energy.latents = 2;
    recipe
}

fn compact() -> Recipe {
    tiny(Method::LsdEbm, Preset::Corrected, Size::Compact)
}

fn nothing_measured(
    _: ndarray::ArrayView3<'_, u8>,
    _: ndarray::ArrayView3<'_, u8>,
) -> schemas::vertebra::Scores {
    [None; schemas::vertebra::METRIC_NAMES.len()]
}

fn job<'a>(masks: &'a [TrainingMask], recipe: &'a Recipe) -> Job<'a> {
    Job {
        masks,
        validation: &[],
        recipe,
        measure: &nothing_measured,
        restorer: None,
        base: None,
        start: None,
    }
}

fn masks() -> Vec<TrainingMask> {
    let mask = |level, seed| TrainingMask {
        person: "phantom".to_owned(),
        level,
        mask: vertebra(level, seed),
    };
    vec![mask(Level::L2, 1), mask(Level::L4, 2)]
}

/// Trains until so many steps are made, and returns the result and the last checkpoint.
fn train_for(recipe: &Recipe, steps: usize, resume: Option<&[u8]>) -> (Trained, Vec<u8>) {
    job_for(&job(&masks(), recipe), steps, resume)
}

/// The same, of any job.
fn job_for(job: &Job<'_>, steps: usize, resume: Option<&[u8]>) -> (Trained, Vec<u8>) {
    let mut left = steps;
    let mut checkpoint = Vec::new();
    let trained = train(job, resume, &mut |event| {
        match event {
            Event::Step {
                phase: Phase::Latents,
                ..
            }
            | Event::Validated { .. } => {}
            Event::Step { .. } => left -= 1,
            Event::Checkpoint { bytes } => checkpoint = bytes.to_vec(),
        }
        if left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    (trained.unwrap(), checkpoint)
}

/// Stops after so many steps, resumes, and compares with training that was never stopped.
fn resumes_exactly(recipe: &Recipe, stops: &[usize]) -> Trained {
    let (whole, _) = train_for(recipe, 100, None);
    assert!(whole.complete);
    for stop in stops {
        let (stopped, checkpoint) = train_for(recipe, *stop, None);
        assert!(!stopped.complete);
        let (resumed, _) = train_for(recipe, 100, Some(&checkpoint));
        assert!(resumed.complete);
        assert!(
            resumed.weights == whole.weights,
            "{} stopped after {stop} steps",
            recipe.method
        );
    }
    whole
}

/// Reconstructs a phantom with what was trained.
fn opens(method: Method, weights: Vec<u8>) {
    let conf = ModelConf {
        chain: vec![method.to_string()],
        ..ModelConf::default()
    };
    let mut loaded = LoadedWeights::new();
    loaded.add(method.as_str(), &weights).unwrap();
    let mut chain = crate::open(&conf, &loaded, "cpu").unwrap();
    let patch = schemas::Patch::new(vertebra(Level::L3, 5), samples::MILLIMETRES);
    let results = chain.reconstruct(&[patch], &[1]).unwrap();
    assert_eq!(results[0].latent.is_some(), method != Method::ReconNet);
}

#[test]
fn stopped_and_resumed_training_gives_the_weights_of_uninterrupted_training() {
    // stopped inside each phase
    opens(Method::LsdEbm, resumes_exactly(&compact(), &[2, 5]).weights);
    for method in [Method::Lebm, Method::Vae, Method::ReconNet] {
        let recipe = tiny(method, Preset::Corrected, Size::Compact);
        opens(method, resumes_exactly(&recipe, &[2]).weights);
    }
}

/// At the paper's size a window is the whole patch, and a step takes a second.
fn at_paper_size(method: Method, preset: Preset, steps: u64) -> Recipe {
    let mut recipe = tiny(method, preset, Size::Paper);
    // BatchNorm needs two
    recipe.fit.batch = 2;
    recipe.fit.steps = steps;
    recipe
}

#[test]
fn what_batch_norm_counted_survives_a_checkpoint() {
    let recipe = at_paper_size(Method::Vae, Preset::PaperCode, 2);
    opens(Method::Vae, resumes_exactly(&recipe, &[1]).weights);
}

#[test]
fn the_paper_s_sizes_train_under_both_presets() {
    for (method, preset) in [
        (Method::LsdEbm, Preset::PaperCode),
        (Method::LsdEbm, Preset::Corrected),
        (Method::Lebm, Preset::PaperCode),
        (Method::ReconNet, Preset::PaperCode),
    ] {
        let (trained, _) = train_for(&at_paper_size(method, preset, 1), 100, None);
        opens(method, trained.weights);
    }
}

#[test]
fn half_precision_gives_the_paper_s_networks_nearly_the_same_loss() {
    let loss = |half| {
        let mut recipe = at_paper_size(Method::Vae, Preset::PaperCode, 1);
        recipe.half = half;
        let masks = masks();
        let mut found = None;
        let trained = train(&job(&masks, &recipe), None, &mut |event| {
            if let Event::Step { figures, .. } = event {
                found = figures
                    .iter()
                    .find(|(name, _)| *name == "cross_entropy_sum")
                    .map(|(_, loss)| *loss);
            }
            ControlFlow::Continue(())
        });
        opens(Method::Vae, trained.unwrap().weights);
        found.expect("a loss")
    };
    let (half, single) = (loss(true), loss(false));
    // bfloat16 keeps eight bits
    assert!((half / single - 1.0).abs() < 1.0 / 256.0, "{half} and {single}");
    assert_ne!(half, single, "one of them computed in half precision");
}

#[test]
fn a_device_that_is_not_there_is_refused_before_the_first_step() {
    let mut recipe = compact();
    recipe.device = "cuda:4096".to_owned();
    let masks = masks();
    let refused = train(&job(&masks, &recipe), None, &mut |_| panic!("no step is made"));
    assert!(matches!(refused, Err(ModelError::Device(_))));
}

#[test]
fn accumulated_batches_make_one_step() {
    let mut recipe = tiny(Method::ReconNet, Preset::Corrected, Size::Compact);
    recipe.fit.accumulate = 2;
    recipe.reuse = 1;
    resumes_exactly(&recipe, &[1, 2]);
}

#[test]
fn a_restorer_goes_before_a_share_of_the_masks() {
    let (restorer, _) = train_for(
        &tiny(Method::ReconNet, Preset::Corrected, Size::Compact),
        100,
        None,
    );
    let mut recipe = compact();
    recipe.informed = 0.0;
    recipe.restored = 1.0;
    recipe.degraded = 1.0;
    let masks = masks();
    let mut nothing = |_: Event<'_>| ControlFlow::Continue(());
    let without = train(&job(&masks, &recipe), None, &mut nothing);
    assert!(matches!(without, Err(ModelError::Conf(_))));
    let with = Job {
        restorer: Some(&restorer.weights),
        ..job(&masks, &recipe)
    };
    let with = train(&with, None, &mut nothing).unwrap();
    recipe.restored = 0.0;
    let never = train(&job(&masks, &recipe), None, &mut nothing).unwrap();
    assert!(with.weights != never.weights);
}

#[test]
fn an_energy_is_trained_on_an_autoencoder_that_stays_as_it_is() {
    let (base, _) = train_for(&compact(), 100, None);
    let mut recipe = compact();
    recipe.levels = Levels::Noise(vec![0.0, 0.2, 0.5, 0.9]);
    let masks = masks();
    let on = Job {
        base: Some(&base.weights),
        ..job(&masks, &recipe)
    };
    let trained = train(&on, None, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(trained.complete);
    let [before, after] = [&base.weights, &trained.weights].map(|bytes| read(bytes).unwrap().tensors);
    for (name, tensor) in &before {
        if !name.starts_with(ENERGY) {
            assert!(tensor.equal(&after[name]), "{name}");
        }
    }
    assert_eq!(after["energy.fine_level"].size()[0], 3);
    let vae = Recipe {
        method: Method::Vae,
        ..recipe.clone()
    };
    let refused = Job { recipe: &vae, ..on };
    let refused = train(&refused, None, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(ModelError::Conf(_))));
}

#[test]
fn a_checkpoint_goes_on_with_the_masks_that_it_has_learnt_from_and_no_others() {
    let recipe = compact();
    let (_, checkpoint) = train_for(&recipe, 2, None);
    let fewer = &masks()[..1];
    let refused = train(&job(fewer, &recipe), Some(&checkpoint), &mut |_| {
        panic!("no step is made")
    });
    assert!(matches!(refused, Err(ModelError::Conf(message)) if message.contains("masks")));
}

#[test]
fn what_is_no_checkpoint_of_this_network_is_refused() {
    let mut nothing = |_: Event<'_>| ControlFlow::Continue(());
    let (_, checkpoint) = train_for(&compact(), 1, None);
    let masks = masks();
    let others = [
        tiny(Method::Vae, Preset::Corrected, Size::Compact),
        tiny(Method::LsdEbm, Preset::Corrected, Size::Paper),
    ];
    for other in &others {
        let result = train(&job(&masks, other), Some(&checkpoint), &mut nothing);
        assert!(matches!(result, Err(ModelError::Conf(_))));
    }
    let recipe = compact();
    let shipped = crate::weights::shipped(Method::LsdEbm);
    for bytes in [&checkpoint[..checkpoint.len() - 9], shipped] {
        let result = train(&job(&masks, &recipe), Some(bytes), &mut nothing);
        assert!(matches!(result, Err(ModelError::Weights(_))));
    }
    let result = train(&job(&[], &recipe), None, &mut nothing);
    assert!(matches!(result, Err(ModelError::Conf(_))));
}
