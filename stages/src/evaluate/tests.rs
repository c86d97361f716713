//! What is measured, against closed forms; registration, against known motions of phantoms and real masks.

use std::sync::Arc;
use std::time::Duration;

use models::phantom::vertebra as phantom;
use ndarray::{ArrayView3, s};
use schemas::payload::CroppedVertebra;
use schemas::vertebra::Flags;
use schemas::volume::Grid;
use schemas::{Affine, Level, ModelIdentity, Origin, Reconstruction};

use super::*;
use crate::crop::linear::{CUT, linear};
use crate::crop::testing::{Numbers, centroid_mm, dice, label_map, shared, turned};

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
            source: None,
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
            sampler: None,
            samples: 1,
            mirror: false,
            precision: None,
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
fn what_does_not_fit_is_refused_before_the_run() {
    assert_eq!(EvaluateConf::default().check(), Ok(()));
    let read = |text: &str| serde_json::from_str::<EvaluateConf>(text);
    let rigid = read(r#"{"register": "rigid", "register_degrees": 10, "register_mm": 20.5}"#);
    assert_eq!(rigid.expect("known words").check(), Ok(()));
    for (text, key) in [
        (r#"{"metrics": ["dice"]}"#, "hd95_mm"),
        (r#"{"register_degrees": 45}"#, "evaluate.register_degrees"),
        (r#"{"register_mm": -1}"#, "evaluate.register_mm"),
    ] {
        let conf = read(text).expect("known keys");
        assert!(conf.check().expect_err("does not fit").contains(key), "{text}");
    }
    assert!(read(r#"{"registre": "none"}"#).is_err());
}

fn rigid() -> EvaluateConf {
    EvaluateConf {
        register: Register::Rigid,
        ..EvaluateConf::default()
    }
}

/// A vertebra of cubes with 1 mm voxels: input, reconstruction and reference as given.
fn of_masks(input: Array3<u8>, made: Array3<u8>, reference: Array3<u8>) -> ReconstructedVertebra {
    let affine = Affine::axis_aligned([1.0; 3], [0.0; 3]);
    let mut vertebra = vertebra();
    vertebra.cropped.input = Patch::new(input, affine);
    vertebra.cropped.reference = Some(Patch::new(reference, affine));
    vertebra.reconstruction = Ok(Reconstruction::of_mask(made));
    vertebra
}

/// Returns the mask shifted by whole voxels.
fn shifted(mask: &Array3<u8>, by: [isize; 3]) -> Array3<u8> {
    let mut shifted = Array3::zeros(mask.dim());
    for ((i, j, k), _) in mask.indexed_iter().filter(|(_, value)| **value != 0) {
        let place = [0, 1, 2].map(|axis: usize| ([i, j, k][axis] as isize + by[axis]) as usize);
        shifted[place] = 1;
    }
    shifted
}

#[test]
fn a_registered_reconstruction_is_measured_a_second_time() {
    let mask = phantom(Level::L3, 4);
    let made = shifted(&mask, [5, -3, 8]);
    let found = evaluated(of_masks(mask.clone(), made.clone(), mask.clone()), &rigid());
    let registered = found.registered.expect("registered");
    assert_eq!(registered.shift_mm, [-5.0, 3.0, -8.0]);
    assert_eq!(registered.rotation_degrees, [0.0; 3]);
    assert_eq!(value_of(Some(registered.scores), "dsc"), Some(1.0));
    assert_eq!(value_of(Some(registered.scores), "hd95_mm"), Some(0.0));
    assert!(!found.flags.contains(&Flag::RegistrationAtLimit));

    let plain = evaluated(of_masks(mask.clone(), made, mask), &EvaluateConf::default());
    assert_eq!(plain.registered, None);
    assert_eq!(
        (plain.input, plain.reconstruction),
        (found.input, found.reconstruction)
    );
}

#[test]
fn a_reference_elsewhere_is_found_within_the_range_and_only_there() {
    let bar = |first: usize| {
        let mut mask = Array3::zeros((64, 64, 64));
        mask.slice_mut(s![first..first + 10, 20..50, 20..40]).fill(1);
        mask
    };
    let elsewhere = |first: usize| {
        let mut vertebra = of_masks(bar(0), bar(0), bar(first));
        vertebra.cropped.flags.insert(Flag::ReferenceElsewhere);
        evaluated(vertebra, &rigid())
    };
    let near = elsewhere(12);
    assert_eq!((near.input, near.reconstruction), (None, None));
    let registered = near.registered.expect("within 16 mm");
    assert_eq!(registered.shift_mm, [12.0, 0.0, 0.0]);
    assert_eq!(value_of(Some(registered.scores), "dsc"), Some(1.0));
    assert!(near.flags.contains(&Flag::ReferenceElsewhere));

    // 5 mm short of it: their edges meet, and the flag says that more may lie beyond
    let far = elsewhere(21);
    assert!(far.registered.is_some() && far.flags.contains(&Flag::RegistrationAtLimit));
    let away = elsewhere(50);
    assert_eq!(away.registered, None);
    assert!(!away.flags.contains(&Flag::RegistrationAtLimit));
}

#[test]
fn an_empty_or_failed_reconstruction_is_not_registered() {
    let mask = phantom(Level::L1, 1);
    let empty = of_masks(mask.clone(), Array3::zeros(mask.dim()), mask.clone());
    let mut failed = of_masks(mask.clone(), mask.clone(), mask);
    failed.reconstruction = Err(Fault::exhausted("memory", "too much"));
    for vertebra in [empty, failed] {
        assert_eq!(evaluated(vertebra, &rigid()).registered, None);
    }
}

/// Returns the mask moved: turned about its centroid as [`Registered`] says, then shifted; sampled with the crop's own
/// interpolation.
fn moved(mask: ArrayView3<'_, u8>, rotation_degrees: [f64; 3], shift_mm: [f64; 3]) -> Array3<u8> {
    let patch = Patch::new(mask.to_owned(), Affine::axis_aligned([1.0; 3], [0.0; 3]));
    let centroid = centroid_mm(&patch);
    let end = [0, 1, 2].map(|axis: usize| centroid[axis] + shift_mm[axis]);
    let axes = ([1; 3], [1.0; 3], [1, 2, 3], rotation_degrees);
    // turns about the origin, which the grid of one voxel has for its middle
    let motion = Affine::axis_aligned([1.0; 3], end)
        .after(&turned(axes, [0.0; 3]))
        .after(&Affine::axis_aligned([1.0; 3], centroid.map(|mm| -mm)));
    let back = motion.inverse().expect("a rigid motion");
    Array3::from_shape_fn(mask.dim(), |(i, j, k)| {
        let place = back.apply([i as f64, j as f64, k as f64]);
        u8::from(linear(&mask, place, |value| value != 0) >= CUT)
    })
}

#[test]
fn ten_real_vertebrae_find_back() {
    let Some(shared) = shared() else { return };
    let names = [
        "verse004_L1",
        "verse005_L2",
        "verse007_L3",
        "verse009_L4",
        "verse010_L5",
        "totalseg-s0327_L1",
        "totalseg-example_L2",
        "visible-human_L3",
        "mri-panoptica_L4",
        "ssm-mean_L5",
    ];
    let mut numbers = Numbers(3);
    for name in names {
        let map = label_map(shared.join(format!("data/derived/{name}.nii.gz")));
        let mask = map.data.mapv(|value| u8::from(value != 0));
        let degrees = [(); 3].map(|()| 12.0 * numbers.next() - 6.0);
        let mm = [(); 3].map(|()| 20.0 * numbers.next() - 10.0);
        let reference = moved(mask.view(), degrees, mm);
        let pair = |one: &Array3<u8>| {
            let pairs = one.iter().zip(&reference);
            dice(pairs.map(|(one, other)| (*one != 0, *other != 0)))
        };
        // the very motion that made the reference gives it back: what a perfect search can reach
        assert_eq!(pair(&moved(mask.view(), degrees, mm)), 1.0);
        let before = pair(&mask);
        let found = evaluated(of_masks(mask.clone(), mask, reference), &rigid());
        let registered = found.registered.expect("registered");
        let after = value_of(Some(registered.scores), "dsc").expect("a Dice coefficient");
        let far = |found: [f64; 3], truth: [f64; 3]| {
            let off = [0, 1, 2].map(|axis: usize| (found[axis] - truth[axis]).abs());
            off.into_iter().fold(0.0, f64::max)
        };
        let (off_degrees, off_mm) = (
            far(registered.rotation_degrees, degrees),
            far(registered.shift_mm, mm),
        );
        println!("{name}: off by {off_degrees:.3}° and {off_mm:.3} mm; DSC {before:.4} → {after:.4}");
        // the last steps are 1/16° and 1/16 mm: the best of them is as near as that
        assert!(off_degrees < 0.125 && off_mm < 0.125, "{name}");
        // half a last step about and along each axis is up to 0.1 mm at the surface, and a vertebra has a quarter of a
        // mm² of it a mm³: 1 % of Dice's coefficient
        assert!(after > 0.99, "{name}");
    }
}
