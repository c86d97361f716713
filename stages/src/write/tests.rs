//! What a case leaves behind, read back.

use std::time::Duration;

use models::vote::vote;
use ndarray::Array3;
use schemas::payload::{CroppedVertebra, ReconstructedVertebra};
use schemas::vertebra::Flags;
use schemas::volume::Grid;
use schemas::{Affine, ModelIdentity, Patch, Reconstruction};

use super::*;
use crate::decode::nifti::{Voxels, read};
use crate::surface::testing::{assert_closed, filled, read_ply, read_stl};

/// A case of one vertebra, of which `samples` were drawn.
fn case(reconstruction: Reconstruction, samples: u32) -> Evaluated {
    let input = Patch {
        slices: None,
        mask: reconstruction.mask.clone(),
        affine: Affine::axis_aligned([1.0; 3], [-20.0, 30.0, 400.0]),
    };
    let cropped = CroppedVertebra {
        level: Level::L3,
        label: 22,
        input: input.clone(),
        reference: None,
        centre_mm: [0.0; 3],
        source_volume_mm3: 1.0,
        flags: Flags::new(),
    };
    let reconstructed = ReconstructedVertebra {
        cropped,
        seed: 1,
        reconstruction: Ok(reconstruction),
        elapsed: Duration::ZERO,
        batch: 1,
    };
    Evaluated {
        origin: Origin {
            id: "p1".parse().expect("an id"),
            person: "p".to_owned(),
            seed: 1,
            bytes_read: 0,
            source: None,
        },
        grid: Grid {
            shape: [4, 3, 2],
            affine: input.affine,
        },
        vertebrae: vec![EvaluatedVertebra {
            reconstructed,
            input: None,
            reconstruction: None,
            registered: None,
            flags: Flags::new(),
        }],
        model: Arc::new(ModelIdentity {
            chain: vec!["none".to_owned()],
            model_version: "none".to_owned(),
            weights_sha256: String::new(),
            steps: 1,
            sampler: None,
            samples,
            mirror: false,
            precision: None,
        }),
    }
}

/// Returns `samples` masks, of which voxel n (first axis fastest) is claimed by the first n.
fn staircase(samples: usize) -> Vec<Array3<u8>> {
    let claimed =
        |sample: usize| Array3::from_shape_fn((4, 3, 2), |(i, j, k)| u8::from(sample < i + 4 * j + 12 * k));
    (0..samples).map(claimed).collect()
}

#[test]
fn the_agreement_reads_back_as_shares_of_which_half_is_the_mask() {
    // 10 and 14: counts of which no tenth, and no fourteenth, is exact in binary
    for count in [3, 10, 14] {
        let voted = vote(&staircase(count), 1.0).expect("samples");
        let case = case(voted, count as u32);
        let files = volumes(&case, &[Form::Patch, Form::Agreement]).expect("files");
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "p1_label-L3_desc-recon_mask.nii.gz",
                "p1_label-L3_desc-recon_probseg.nii.gz"
            ]
        );
        let [mask, shares] = [0, 1].map(|file| read(&files[file].bytes, None, 1 << 20).expect("read back"));
        assert_eq!(shares.header.affine, mask.header.affine, "beside the mask");
        assert_eq!(shares.header.scaling, None);
        let (Voxels::U8(mask), Voxels::F32(shares)) = (mask.voxels, shares.voxels) else {
            panic!("bytes and single precision");
        };
        let half: Vec<u8> = shares.iter().map(|share| u8::from(*share >= 0.5)).collect();
        assert_eq!(half, mask);
        for (voxel, share) in shares.iter().enumerate() {
            assert_eq!(*share, voxel.min(count) as f32 / count as f32);
        }
    }
}

#[test]
fn input_and_reference_lie_beside_the_reconstruction_as_they_were_cut() {
    let mut case = case(Reconstruction::of_mask(Array3::ones((4, 3, 2))), 1);
    let cropped = &mut case.vertebrae[0].reconstructed.cropped;
    let other = Array3::from_shape_fn((4, 3, 2), |(i, _, _)| u8::from(i > 1));
    cropped.input.mask = other.clone();
    let forms = [Form::Input, Form::Reference];
    let names = |case: &Evaluated| -> Vec<String> {
        let files = volumes(case, &forms).expect("files");
        files.into_iter().map(|file| file.name).collect()
    };
    assert_eq!(
        names(&case),
        ["p1_label-L3_desc-input_mask.nii.gz"],
        "no reference"
    );
    let cropped = &mut case.vertebrae[0].reconstructed.cropped;
    cropped.reference = Some(cropped.input.clone());
    assert_eq!(names(&case)[1], "p1_label-L3_desc-reference_mask.nii.gz");
    let files = volumes(&case, &forms).expect("files");
    for file in files {
        let back = read(&file.bytes, None, 1 << 20).expect("read back");
        assert_eq!(back.header.affine, case.grid.affine);
        let Voxels::U8(back) = back.voxels else {
            panic!("bytes");
        };
        let expected: Vec<u8> = other.t().iter().copied().collect();
        assert_eq!(back, expected, "{}", file.name);
    }
}

#[test]
fn a_method_that_draws_nothing_leaves_no_agreement() {
    let alone = Reconstruction::of_mask(Array3::ones((4, 3, 2)));
    assert_eq!(volumes(&case(alone, 3), &[Form::Agreement]), Ok(Vec::new()));
}

#[test]
fn one_sample_has_nothing_to_agree_with() {
    let conf: WriteConf = serde_json::from_str(r#"{"volumes": ["agreement"]}"#).expect("a known form");
    assert!(conf.check(1).expect_err("one sample").contains("model.samples"));
    assert_eq!((conf.check(2), WriteConf::default().check(1)), (Ok(()), Ok(())));
}

#[test]
fn surfaces_lie_beside_the_masks_in_the_world_with_exactly_the_masks_voxels_inside() {
    let claimed = |sample: usize| {
        // two pyramids that meet at a tip; the samples differ by their height
        Array3::from_shape_fn((9, 9, 9), |(i, j, k)| {
            let from_axis = i.abs_diff(4).max(j.abs_diff(4));
            u8::from(from_axis < k.abs_diff(4) + sample)
        })
    };
    let samples: Vec<_> = (0..3).map(claimed).collect();
    let voted = vote(&samples, 1.0).expect("samples");
    let mask = voted.mask.clone();
    let alone = Reconstruction::of_mask(mask.clone());
    let origin = [-20.0, 30.0, 400.0];
    let mut meshes = Vec::new();
    for (reconstruction, samples) in [(voted, 3), (alone, 1)] {
        let files = volumes(&case(reconstruction, samples), &[Form::Ply, Form::Stl]).expect("files");
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            ["p1_label-L3_desc-recon.stl", "p1_label-L3_desc-recon.ply"]
        );
        let (header, triangles) = read_stl(&files[0].bytes);
        assert!(header.contains("SPACE=RAS"));
        let (_, mut mesh) = read_ply(&files[1].bytes);
        assert_eq!(triangles.len(), mesh.triangles.len());
        assert_closed(&mesh);
        for vertex in &mut mesh.vertices {
            *vertex = [0, 1, 2].map(|axis| vertex[axis] - origin[axis]);
        }
        assert_eq!(filled(&mesh, mask.dim()), mask.mapv(i32::from));
        meshes.push(mesh);
    }
    assert_ne!(meshes[0], meshes[1], "shares tell more than a mask");
}

#[test]
fn an_empty_reconstruction_leaves_no_surface() {
    let forms: WriteConf = serde_json::from_str(r#"{"volumes": ["stl", "ply"]}"#).expect("known forms");
    assert_eq!(forms.check(1), Ok(()));
    let empty = Reconstruction::of_mask(Array3::zeros((4, 3, 2)));
    assert_eq!(volumes(&case(empty, 1), &forms.volumes), Ok(Vec::new()));
    let mut failed = case(Reconstruction::of_mask(Array3::ones((4, 3, 2))), 1);
    failed.vertebrae[0].reconstructed.reconstruction = Err(Fault::unsuitable("empty", "no shape"));
    assert_eq!(volumes(&failed, &forms.volumes), Ok(Vec::new()));
}
