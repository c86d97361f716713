//! Masks that a run wrote, and masks that are cut again.

use ndarray::Array3;
use schemas::ObjectUrl;

use super::*;
use crate::decode::nifti::read;
use crate::store::{Place, Stores};
use crate::surface::testing::{read_ply, read_stl};

fn masks(recon: &[usize], reference: &[usize]) -> VertebraMasks {
    let mask = |set: &[usize]| {
        let mut mask = Array3::zeros((3, 4, 5));
        for voxel in set {
            mask[[1, 1, *voxel]] = 1;
        }
        Ok(Arc::new(mask))
    };
    VertebraMasks {
        affine: Affine::axis_aligned([1.0; 3], [10.0, 20.0, 30.0]),
        input: mask(&[0]),
        recon: mask(recon),
        reference: mask(reference),
    }
}

#[test]
fn errors_say_who_has_a_voxel() {
    let masks = masks(&[1, 2], &[2, 3]);
    let errors = masks.errors().expect("errors");
    let line: Vec<u8> = (0..5).map(|k| errors[[1, 1, k]]).collect();
    assert_eq!(line, [0, FALSE_POSITIVE, BOTH, FALSE_NEGATIVE, 0]);
    assert_eq!(errors.iter().filter(|value| **value != 0).count(), 3);
    let file = read(&masks.nifti(What::Errors).expect("a file"), None, 1 << 20).expect("read back");
    assert_eq!(file.header.affine, masks.affine);
}

#[test]
fn surfaces_are_those_of_masks_and_lie_in_the_world() {
    let masks = masks(&[1, 2], &[]);
    let (_, triangles) = read_stl(&masks.stl(What::Recon).expect("a surface"));
    assert!(!triangles.is_empty());
    let (_, mesh) = read_ply(&masks.ply(What::Recon).expect("a surface"));
    assert_eq!(mesh.triangles.len(), triangles.len());
    for what in [What::Reference, What::Errors] {
        assert!(masks.stl(what).is_err(), "{what:?}");
    }
}

#[test]
fn what_there_is_not_has_its_reason() {
    let mut masks = masks(&[1], &[1]);
    masks.recon = Err("it failed".to_owned());
    assert_eq!(masks.nifti(What::Errors), Err("it failed".to_owned()));
    assert!(masks.panel("a L3").expect("the input").contains("input"));
    masks.input = Err("gone".to_owned());
    assert_eq!(masks.panel("a L3"), Err("it failed".to_owned()));
}

/// A run whose case a has a file for each of `written`.
async fn run(written: &[What]) -> (RunTables, CaseSeen, VertebraSeen) {
    let stores = Stores::default();
    let output = stores.place(&ObjectUrl::new("memory:///out")).expect("place");
    let tables = RunTables::new(output, "r1");
    let mut files = Vec::new();
    for what in written {
        let name = patch_file("a", "L3", what.as_str());
        let place: Place = tables.volumes().join("a").join(&name);
        let bytes = masks(&[1, 2], &[2]).nifti(*what).expect("a file");
        place.put(bytes.into()).await.expect("put");
        files.push(name);
    }
    let case = CaseSeen {
        case_id: "a".to_owned(),
        files,
        ..CaseSeen::default()
    };
    let vertebra = VertebraSeen {
        case_id: "a".to_owned(),
        level: "L3".to_owned(),
        status: "done".to_owned(),
        affine: Some(masks(&[], &[]).affine.to_rows()),
        reference_volume_mm3: Some(1.0),
        ..VertebraSeen::default()
    };
    (tables, case, vertebra)
}

async fn never() -> Result<Cutter, String> {
    panic!("everything is written")
}

#[tokio::test]
async fn what_the_run_wrote_is_read_and_nothing_is_cut_again() {
    let (tables, case, vertebra) = run(&[What::Input, What::Recon, What::Reference]).await;
    let found = MaskSource::new(tables, never()).masks(&case, &vertebra).await;
    let expected = masks(&[1, 2], &[2]);
    assert_eq!(found.affine, expected.affine);
    for (found, expected) in [
        (found.input, expected.input),
        (found.recon, expected.recon),
        (found.reference, expected.reference),
    ] {
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn where_nothing_can_be_cut_again_the_reconstruction_is_there_all_the_same() {
    let (tables, case, mut vertebra) = run(&[What::Recon]).await;
    let gone = || async { Err("no manifest".to_owned()) };
    let found = MaskSource::new(tables.clone(), gone())
        .masks(&case, &vertebra)
        .await;
    assert_eq!(found.recon, masks(&[1, 2], &[]).recon);
    assert_eq!(found.input, Err("no manifest".to_owned()));
    assert_eq!(found.reference, Err("no manifest".to_owned()));
    vertebra.reference_volume_mm3 = None;
    let found = MaskSource::new(tables, gone()).masks(&case, &vertebra).await;
    assert!(found.reference.expect_err("none").contains("no reference"));
}

#[test]
fn a_mask_that_has_changed_since_is_not_shown_as_the_one_of_the_run() {
    let patch = Patch::new(Array3::ones((2, 2, 2)), Affine::axis_aligned([1.0; 3], [0.0; 3]));
    let vertebra = VertebraSeen {
        affine: Some(patch.affine.to_rows()),
        ..VertebraSeen::default()
    };
    assert!(checked(Some(&patch), &vertebra, Some(8.0)).is_ok());
    assert!(checked(Some(&patch), &vertebra, Some(9.0)).is_err());
    assert!(checked(None, &vertebra, None).is_err());
    let moved = Patch::new(patch.mask, Affine::axis_aligned([1.0; 3], [0.5; 3]));
    assert!(checked(Some(&moved), &vertebra, Some(8.0)).is_err());
}
