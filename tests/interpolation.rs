//! Shape-based interpolation, which knows no vertebra, on real vertebrae and in a whole run.

use models::degrade::{Agreement, agreement, degrade_with_slices};
use models::interpolate::interpolate;
use models::seed::derive;
use ndarray::Array3;
use schemas::{Affine, Patch, Slices};
use spinestream::Exit;

use crate::support::{Cohort, shared};

/// Mean agreement with the truth, of the input and of what interpolation makes of it.
fn means(patches: &[(Patch, Array3<u8>)]) -> [Agreement; 2] {
    let mean = |of: &dyn Fn(&Patch) -> Array3<u8>| {
        let found: Vec<Agreement> = patches
            .iter()
            .map(|(patch, truth)| agreement(of(patch).view(), truth.view()).expect("not empty"))
            .collect();
        let mean = |figure: fn(&Agreement) -> f64| found.iter().map(figure).sum::<f64>() / found.len() as f64;
        Agreement {
            dsc: mean(|found| found.dsc),
            precision: mean(|found| found.precision),
            volume_ratio: mean(|found| found.volume_ratio),
        }
    };
    [
        mean(&|patch| patch.mask.clone()),
        mean(&|patch| interpolate(patch).expect("a geometry")),
    ]
}

/// Repeats the mask's own voxels at each slice's centre over the slice: sliced, and nothing else.
fn sliced(truth: &Array3<u8>, affine: &Affine, slices: &Slices) -> Array3<u8> {
    Array3::from_shape_fn(truth.raw_dim(), |(i, j, k)| {
        let position = slices.position(affine.apply([i as f64, j as f64, k as f64]));
        let plane = i as f64 + (position.round() - position) * slices.spacing_mm;
        let at_centre = truth.get([plane.round() as usize, j, k]).filter(|_| plane >= 0.0);
        at_centre.copied().unwrap_or(0)
    })
}

#[test]
fn real_vertebrae_come_nearer_to_their_shape_by_slicing_and_interpolating_but_not_to_what_labels_missed() {
    let Some(shared) = shared() else { return };
    let (mut degraded, mut clean) = (Vec::new(), Vec::new());
    for level in ["L1", "L2", "L3", "L4", "L5"] {
        let name = format!("verse010_{level}");
        let bytes = std::fs::read(shared.join(format!("data/derived/{name}.nii.gz"))).expect("file");
        let whole = stages::decode::label_map(&bytes, None, 1 << 30).expect("mask");
        let affine = whole.affine;
        let truth = whole.data.mapv(|label| u8::from(label != 0));
        let (mask, slices) = degrade_with_slices(truth.view(), &affine, derive(0, &name));
        let only_sliced = sliced(&truth, &affine, &slices.expect("a regular affine"));
        let patch = |mask| Patch { mask, affine, slices };
        degraded.push((patch(mask), truth.clone()));
        clean.push((patch(only_sliced), truth));
    }
    let [input, restored] = means(&clean);
    println!("sliced: {input:?} → {restored:?}");
    assert!(restored.dsc > input.dsc + 0.01 && restored.precision > input.precision);
    // the standard degradation also draws labels too small, which no shape between slices makes up for
    let [input, restored] = means(&degraded);
    println!("degraded: {input:?} → {restored:?}");
    assert!(restored.precision > input.precision && restored.volume_ratio < input.volume_ratio);
    assert!((restored.dsc - input.dsc).abs() < 0.02);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_interpolates_between_the_slices_of_its_scans() {
    let cohort = Cohort::of_phantoms(1).await;
    let settings = ["model.chain=[\"interpolate\"]"];
    assert_eq!(cohort.run("out", &settings).await.expect("run"), Exit::Done);
    let rows = cohort.table("out", "vertebrae").await;
    assert!(rows.len() >= 5);
    for row in rows {
        let figure = |column: &str| row[column].parse::<f64>().expect("a number");
        println!(
            "{}: DSC {} → {}, precision {} → {}",
            row["level"], row["input_dsc"], row["recon_dsc"], row["input_ppv"], row["recon_ppv"]
        );
        assert!(row["chain"].contains("interpolate") && row["weights_sha256"].is_empty());
        assert!(figure("recon_ppv") > figure("input_ppv"));
    }
}
