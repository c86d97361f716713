use ndarray::Array3;
use schemas::Affine;
use schemas::vertebra::LATENT_LENGTH;

use super::schedule::Levels;
use super::*;
use crate::description::Preset;
use crate::networks::restore::reconstruct_together;
use crate::networks::{CompactSize, PaperSize};
use crate::reconstructor::{Precision, Sampler};
use crate::testing::dice;
use crate::train::fresh;
use crate::weights::write;

fn compact() -> Description {
    let size = CompactSize {
        channels: [4, 4, 8, 8],
        latents: 8,
        encoder_blocks: [0, 1, 1, 0],
        decoder_blocks: [1, 0],
        energy_channels: [4, 4],
        conditioned: true,
        detail: true,
        window: [96, 64, 64],
    };
    Description {
        method: Method::LsdEbm,
        version: "tiny".to_owned(),
        preset: Preset::Corrected,
        network: Network::Compact(size),
        levels: Some(Levels::Noise(vec![0.0, 0.3, 0.7])),
        levels_walked: None,
        walk: Some(Walk::corrected(2)),
        short: None,
        latent: LatentStatistics {
            mean: vec![0.1; 8],
            std: vec![0.5; 8],
        },
    }
}

fn bytes(description: &Description) -> Vec<u8> {
    let tensors = fresh(description, 3).unwrap();
    write(&tensors, description.to_metadata().unwrap()).unwrap()
}

fn conf(steps: u32) -> ModelConf {
    ModelConf {
        steps,
        ..ModelConf::default()
    }
}

/// A box of voxels; `far` reaches out of the window.
fn patch(size: usize, far: bool) -> Patch {
    let mut mask = Array3::zeros((128, 128, 128));
    mask.slice_mut(ndarray::s![50..50 + size, 52..70, 48..60]).fill(1);
    if far {
        mask[[5, 60, 60]] = 1;
    }
    Patch::new(mask, Affine::axis_aligned([1.0; 3], [0.0; 3]))
}

#[test]
fn equal_seeds_give_equal_reconstructions_whatever_the_batch() {
    let bytes = bytes(&compact());
    let batch = [
        patch(10, false),
        patch(20, true),
        patch(30, false),
        patch(25, false),
    ];
    let seeds = [11, 12, 13, 14];
    let mut model = LsdEbm::open(&bytes, &conf(2), "cpu").unwrap();
    let together = model.reconstruct(&batch, &seeds).unwrap();
    let again = LsdEbm::open(&bytes, &conf(2), "cpu")
        .unwrap()
        .reconstruct(&batch, &seeds)
        .unwrap();
    assert_eq!(together, again);
    for (position, patch) in batch.iter().enumerate() {
        let alone = model
            .reconstruct(std::slice::from_ref(patch), &seeds[position..=position])
            .unwrap();
        assert_eq!(alone[0], together[position]);
    }
    let reseeded = model.reconstruct(&batch[..1], &[99]).unwrap();
    assert_ne!(reseeded[0].latent, together[0].latent);
}

#[test]
fn one_tensor_of_four_patches_gives_what_four_tensors_give() {
    // as on a GPU; convolutions may add in another order, which may turn a voxel at the threshold
    let model = LsdEbm::open(&bytes(&compact()), &conf(2), "cpu").unwrap();
    let batch = [
        patch(10, false),
        patch(20, false),
        patch(30, true),
        patch(25, false),
    ];
    let seeds = [11, 12, 13, 14];
    let alone = reconstruct_together(&model, &batch, &seeds, 1).unwrap();
    let together = reconstruct_together(&model, &batch, &seeds, 4).unwrap();
    for (a, b) in alone.iter().zip(&together) {
        let turned = a.mask.iter().zip(&b.mask).filter(|(a, b)| a != b).count();
        assert!(turned <= 128 * 128 * 128 / 100_000, "{turned} voxels differ");
    }
}

#[test]
fn without_steps_the_seed_does_not_matter_and_something_is_drawn() {
    let mut model = LsdEbm::open(&bytes(&compact()), &conf(0), "cpu").unwrap();
    let batch = [patch(20, false), patch(20, false)];
    let results = model.reconstruct(&batch, &[1, 2]).unwrap();
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0].latent.as_ref().unwrap().len(), LATENT_LENGTH);
    assert!(results[0].mask.iter().all(|voxel| *voxel <= 1));
}

#[test]
fn the_paper_s_networks_reconstruct_too() {
    let description = Description {
        preset: Preset::PaperCode,
        network: Network::Paper(PaperSize {
            channels: 2,
            latents: 8,
            energy_width: 16,
            ..PaperSize::PAPER_CODE
        }),
        levels: Some(Levels::Paper(20)),
        levels_walked: Some(Levels::Paper(30)),
        walk: Some(Walk {
            steps: 3,
            ..Walk::paper()
        }),
        latent: LatentStatistics::default(),
        ..compact()
    };
    let mut model = LsdEbm::open(&bytes(&description), &conf(2), "cpu").unwrap();
    let results = model.reconstruct(&[patch(20, false)], &[1]).unwrap();
    let latent = results[0].latent.as_ref().unwrap();
    assert!(latent[..8].iter().all(|value| *value != 0.0) && latent[8..].iter().all(|value| *value == 0.0));
}

#[test]
fn a_patch_of_the_wrong_size_is_a_shape_error() {
    let mut model = LsdEbm::open(&bytes(&compact()), &conf(0), "cpu").unwrap();
    let small = Patch::new(Array3::zeros((128, 127, 128)), patch(1, false).affine);
    let result = model.reconstruct(&[patch(5, false), small], &[1, 2]);
    assert!(matches!(
        result,
        Err(ModelError::Shape {
            found: [128, 127, 128],
            ..
        })
    ));
}

#[test]
fn what_a_configuration_asks_in_vain_is_a_conf_error() {
    let bytes = bytes(&compact());
    let refused = |conf: ModelConf| matches!(LsdEbm::open(&bytes, &conf, "cpu"), Err(ModelError::Conf(_)));
    for samples in [0, 65] {
        assert!(refused(ModelConf { samples, ..conf(1) }));
    }
    let always_equal = ModelConf {
        samples: 3,
        ..conf(0)
    };
    assert!(refused(always_equal));
    assert!(refused(conf(3)));
    let mut model = LsdEbm::open(&bytes, &conf(0), "cpu").unwrap();
    assert!(matches!(
        model.reconstruct(&[patch(5, false)], &[]),
        Err(ModelError::Conf(_))
    ));
}

#[test]
fn with_its_mirror_image_a_mask_s_reconstruction_does_not_depend_on_its_side() {
    let bytes = bytes(&compact());
    let mirrored = |mut patch: Patch| {
        patch.mask.invert_axis(ndarray::Axis(0));
        Patch::new(patch.mask.as_standard_layout().to_owned(), patch.affine)
    };
    let of = |mirror, patch: &Patch| {
        let conf = ModelConf { mirror, ..conf(0) };
        let mut model = LsdEbm::open(&bytes, &conf, "cpu").unwrap();
        let made = model.reconstruct(std::slice::from_ref(patch), &[1]).unwrap();
        Patch::new(made[0].mask.clone(), patch.affine)
    };
    for far in [false, true] {
        let patch = patch(20, far);
        let image = mirrored(patch.clone());
        assert_eq!(of(true, &image).mask, mirrored(of(true, &patch)).mask);
        assert_ne!(
            of(false, &image).mask,
            mirrored(of(false, &patch)).mask,
            "networks have sides"
        );
    }
}

#[test]
fn several_samples_are_voted_upon_and_do_not_depend_on_the_batch() {
    let bytes = bytes(&compact());
    let three = ModelConf {
        samples: 3,
        ..conf(1)
    };
    let mut model = LsdEbm::open(&bytes, &three, "cpu").unwrap();
    let patches = [patch(5, false), patch(6, false)];
    let together = model.reconstruct(&patches, &[1, 2]).unwrap();
    let alone = model.reconstruct(&patches[1..], &[2]).unwrap();
    assert_eq!(together[1], alone[0]);
    let spread = together[0].spread.expect("three samples have a spread");
    assert!((0.5..=1.0).contains(&spread.agreement), "{spread:?}");
    assert!(
        (0.0..=1.0).contains(&spread.pairwise_dsc) && spread.volume_sd_mm3 >= 0.0,
        "{spread:?}"
    );
    let votes = together[0].votes.as_ref().expect("three samples have votes");
    assert_eq!(votes.mapv(|votes| u8::from(votes >= 2)), together[0].mask);
    let traced = model.trace(&patches[0], 1).unwrap();
    let mut single = LsdEbm::open(&bytes, &conf(1), "cpu").unwrap();
    assert_eq!(
        traced,
        single.trace(&patches[0], 1).unwrap(),
        "a trace follows one sample"
    );
    let one = single.reconstruct(&patches[..1], &[1]).unwrap().remove(0);
    assert_eq!((one.spread, one.votes), (None, None));
}

#[test]
fn weights_that_do_not_fit_are_a_weights_error() {
    let description = compact();
    let tensors = fresh(&description, 3).unwrap();
    let refused = |tensors: &Tensors, description: &Description| {
        let bytes = write(tensors, description.to_metadata().unwrap()).unwrap();
        matches!(LsdEbm::open(&bytes, &conf(0), "cpu"), Err(ModelError::Weights(_)))
    };
    assert!(!refused(&tensors, &description));
    assert!(refused(
        &tensors,
        &Description {
            method: Method::Vae,
            ..description.clone()
        }
    ));
    assert!(refused(
        &tensors,
        &Description {
            latent: LatentStatistics::default(),
            ..description.clone()
        }
    ));
    assert!(refused(
        &tensors,
        &Description {
            levels: Some(Levels::Paper(20)),
            ..description.clone()
        }
    ));
    let mut fewer = fresh(&description, 3).unwrap();
    fewer.remove("encoder.stem.weight");
    assert!(refused(&fewer, &description));
    let without = write(&tensors, std::collections::HashMap::new()).unwrap();
    assert!(matches!(
        LsdEbm::open(&without, &conf(0), "cpu"),
        Err(ModelError::Weights(_))
    ));
}

#[test]
#[ignore = "a measurement: two minutes"]
fn the_preconditioned_sampler_comes_to_the_place_of_the_papers_300_steps() {
    let shipped = crate::weights::shipped(Method::LsdEbm);
    crate::set_threads(1);
    // at six levels the two end in different minima: 0.66 apart, found on this test
    for steps in [1, 2, 4] {
        let open = |sampler| {
            LsdEbm::open(
                shipped,
                &ModelConf {
                    sampler,
                    ..conf(steps)
                },
                "cpu",
            )
            .unwrap()
        };
        let (long, short) = (open(Sampler::Langevin), open(Sampler::Preconditioned));
        let (mut apart, mut moved, mut whole) = (0.0, 0.0, 0.0);
        let mut seconds = [0.0; 2];
        // against the clean mask: the long chain's, the short one's; then of the two with each other
        let mut dsc = [0.0; 3];
        for seed in 0..5 {
            let level = schemas::Level::ALL[seed as usize];
            let clean = crate::phantom::vertebra(level, seed);
            let affine = Affine::axis_aligned([1.0; 3], [0.0; 3]);
            let patch = Patch::new(crate::degrade::degrade(clean.view(), &affine, seed), affine);
            let _no_grad = tch::no_grad_guard();
            let mut latents = [&long, &short]
                .into_iter()
                .zip(&mut seconds)
                .map(|(model, seconds)| {
                    let (masks, mut rngs) = single(model, &patch, seed).unwrap();
                    let start = std::time::Instant::now();
                    let z = model.latents(&masks, &mut rngs, &mut nobody()).unwrap();
                    *seconds += start.elapsed().as_secs_f64();
                    z
                });
            let (a, b) = (latents.next().unwrap(), latents.next().unwrap());
            let (masks, mut rngs) = single(&open(Sampler::Trained), &patch, seed).unwrap();
            let direct = LsdEbm::open(shipped, &conf(0), "cpu").unwrap();
            let z0 = direct.latents(&masks, &mut rngs, &mut nobody()).unwrap();
            let norm = |tensor: &Tensor| tensor.norm().double_value(&[]);
            apart += norm(&(&a - &b)) / norm(&a) / 5.0;
            moved += norm(&(&a - &z0)) / norm(&z0) / 5.0;
            whole += norm(&a) / 5.0;
            let [by_long, by_short] = [&long, &short].map(|model| {
                let made = reconstruct(model, std::slice::from_ref(&patch), &[seed]).unwrap();
                made.into_iter().next().unwrap().mask
            });
            let pairs = [(&by_long, &clean), (&by_short, &clean), (&by_long, &by_short)];
            for (sum, (one, other)) in dsc.iter_mut().zip(pairs) {
                *sum += dice(one, other) / 5.0;
            }
        }
        println!(
            "{steps} levels: |z0 - z0'| / |z0| = {apart:.2e} (the chain itself moves it by {moved:.2e}; |z0| = {whole:.1}); \
             {:.2} s and {:.3} s a vertebra, encoder included: {:.1} times",
            seconds[0] / 5.0,
            seconds[1] / 5.0,
            seconds[0] / seconds[1]
        );
        println!(
            "    DSC {:.4} and {:.4}, difference {:+.5}; of the two with each other {:.5}",
            dsc[0],
            dsc[1],
            dsc[1] - dsc[0],
            dsc[2]
        );
        assert!(apart < 0.01, "{apart}");
    }
}

#[test]
fn half_the_digits_hardly_move_a_border() {
    let clean = crate::phantom::vertebra(schemas::Level::L2, 4);
    let affine = Affine::axis_aligned([1.0; 3], [0.0; 3]);
    let patch = Patch::new(crate::degrade::degrade(clean.view(), &affine, 4), affine);
    let of = |precision| {
        let conf = ModelConf { precision, ..conf(1) };
        let model = LsdEbm::open(crate::weights::shipped(Method::LsdEbm), &conf, "cpu").unwrap();
        let made = reconstruct(&model, std::slice::from_ref(&patch), &[1]).unwrap();
        made.into_iter().next().unwrap().mask
    };
    let (full, half) = (of(Precision::Full), of(Precision::Half));
    assert_ne!(full, half);
    let dsc = dice(&full, &half);
    assert!(dsc >= 0.999, "{dsc}");
}
