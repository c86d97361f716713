use super::*;
use crate::lsd_ebm::LsdEbm;
use crate::phantom::vertebra;
use crate::reconstructor::ModelConf;

fn conf() -> TrainConf {
    TrainConf {
        threads: 1,
        half: false,
        validate_every: 100,
        size: CompactSize {
            channels: [4, 4, 8, 8],
            latents: 2,
            encoder_blocks: [0, 1, 0, 0],
            decoder_blocks: [1, 0],
            energy_channels: [4, 4],
            conditioned: true,
            window: [64, 64, 48],
        },
        levels: vec![0.0, 0.4, 0.8],
        reuse: 2,
        autoencoder: AutoencoderConf {
            steps: 3,
            minutes: 0.0,
            batch: 1,
            ..AutoencoderConf::default()
        },
        energy: EnergyConf {
            steps: 3,
            minutes: 0.0,
            batch: 2,
            latents: 2,
            langevin_steps: 2,
            ..EnergyConf::default()
        },
        ..TrainConf::default()
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
fn train_for(steps: usize, resume: Option<&[u8]>) -> (Trained, Vec<u8>) {
    let mut left = steps;
    let mut checkpoint = Vec::new();
    let trained = train(&masks(), &[], &conf(), resume, &mut |event| {
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

#[test]
fn stopped_and_resumed_training_gives_the_weights_of_uninterrupted_training() {
    let (whole, _) = train_for(100, None);
    assert!(whole.complete);
    // stopped inside each phase
    for stop in [2, 5] {
        let (stopped, checkpoint) = train_for(stop, None);
        assert!(!stopped.complete);
        let (resumed, _) = train_for(100, Some(&checkpoint));
        assert!(resumed.complete);
        assert!(resumed.weights == whole.weights, "stopped after {stop} steps");
    }
    let model = LsdEbm::open(&whole.weights, &ModelConf::default(), "cpu").unwrap();
    assert_eq!(model.version(), "compact-1");
}

#[test]
fn what_is_no_checkpoint_of_this_network_is_refused() {
    let mut nothing = |_: Event<'_>| ControlFlow::Continue(());
    let (_, checkpoint) = train_for(1, None);
    let mut other = conf();
    other.size.latents = 4;
    let result = train(&masks(), &[], &other, Some(&checkpoint), &mut nothing);
    assert!(matches!(result, Err(ModelError::Conf(_))));
    for bytes in [&checkpoint[..checkpoint.len() - 9], crate::weights::SHIPPED] {
        let result = train(&masks(), &[], &conf(), Some(bytes), &mut nothing);
        assert!(matches!(result, Err(ModelError::Weights(_))));
    }
    let result = train(&[], &[], &conf(), None, &mut nothing);
    assert!(matches!(result, Err(ModelError::Conf(_))));
}
