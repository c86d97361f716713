//! What every stage keeps to, tried on each of them: good input gives output, twice the same; damaged input gives a
//! fault that says what was expected, never a panic.

use std::sync::Arc;

use bytes::Bytes;
use models::ModelConf;
use ndarray::{Array3, ShapeBuilder as _};
use schemas::payload::{Named, WeighedFile};
use schemas::{
    Affine, CaseId, Cropped, Decoded, Evaluated, Fault, Fetched, LabelScheme, Listed, ObjectKey, ObjectUrl,
    Origin, Reconstructed, Weighed,
};

use crate::crop::{Crop, CropConf};
use crate::decode::nifti::write_mask;
use crate::decode::{Decode, DecodeConf};
use crate::evaluate::Evaluate;
use crate::fetch::Fetch;
use crate::pool::{Pool, PoolConf};
use crate::reconstruct::Reconstruct;
use crate::stage::Stage;
use crate::store::Stores;
use crate::weigh::{Weigh, WeighConf};
use crate::write::{Write, WriteConf};

/// Runs a stage twice on the same good input and once on each damaged one; returns the output.
///
/// `told` brings out what must be equal in both outputs: all but times.
async fn holds<S: Stage>(
    stage: &S,
    good: S::In,
    damaged: Vec<(S::In, &str)>,
    told: impl Fn(&S::Out) -> String,
) -> S::Out
where
    S::In: Clone,
{
    let first = stage
        .run(good.clone())
        .await
        .unwrap_or_else(|fault| panic!("{}: {fault}", S::NAME));
    let second = stage
        .run(good)
        .await
        .unwrap_or_else(|fault| panic!("{}: {fault}", S::NAME));
    assert_eq!(told(&first), told(&second), "{} gives the same twice", S::NAME);
    for (input, reason) in damaged {
        let Err(fault) = stage.run(input).await else {
            panic!("{}: expected the fault {reason}, found an output", S::NAME);
        };
        assert_eq!(fault.reason, reason, "{}: {fault}", S::NAME);
        assert!(fault.message.contains("expected"), "{}: {fault}", S::NAME);
    }
    first
}

fn scan(label: u16) -> Bytes {
    let mut data = Array3::<u16>::zeros((30, 24, 20).f());
    data.slice_mut(ndarray::s![8..22, 6..18, 5..15]).fill(label);
    write_mask(
        data.view(),
        &Affine::axis_aligned([2.0, 2.0, 2.0], [-30.0, -20.0, 10.0]),
    )
    .expect("nifti")
    .into()
}

async fn stores() -> Arc<Stores> {
    let stores = Arc::new(Stores::default());
    for (name, bytes) in [("mask.nii.gz", scan(22)), ("ct.nii.gz", scan(29))] {
        let place = stores
            .place(&ObjectUrl::new(format!("memory:///{name}")))
            .expect("place");
        place.put(bytes).await.expect("put");
    }
    stores
}

fn listed(mask: &str) -> Listed {
    let own = std::collections::BTreeMap::new();
    let named = |name: &str, scheme: &str| Named {
        url: ObjectUrl::new(format!("memory:///{name}")),
        scheme: LabelScheme::named(scheme, &own).expect("scheme"),
    };
    let id: CaseId = "case".parse().expect("id");
    Listed {
        origin: Origin {
            id,
            person: "person".to_owned(),
            seed: 5,
            bytes_read: 0,
            source: None,
        },
        mask: named(mask, "verse"),
        reference: Some(named("ct.nii.gz", "totalsegmentator")),
        image: None,
    }
}

#[tokio::test]
async fn every_stage_keeps_the_contract() {
    let stores = stores().await;
    let weighed = {
        let stage = Weigh {
            stores: Arc::clone(&stores),
            conf: WeighConf::default(),
        };
        let damaged = vec![(listed("none.nii.gz"), "object_not_found")];
        holds(&stage, listed("mask.nii.gz"), damaged, |out: &Weighed| {
            format!("{out:?}")
        })
        .await
    };
    let fetched = {
        let stage = Fetch {
            stores: Arc::clone(&stores),
        };
        let mut gone = weighed.clone();
        gone.mask.objects[0].file = WeighedFile {
            key: ObjectKey::new("none.nii.gz"),
            size: 5,
            head: Bytes::new(),
            etag: None,
        };
        let damaged = vec![(gone, "object_not_found")];
        holds(&stage, weighed, damaged, |out: &Fetched| format!("{out:?}")).await
    };
    let decoded = {
        let mut cut = fetched.clone();
        cut.mask.objects[0].bytes = cut.mask.objects[0].bytes.slice(..60);
        let mut text = fetched.clone();
        text.mask.objects[0].bytes = Bytes::from(vec![b'x'; 1000]);
        let damaged = vec![(cut, "truncated"), (text, "not_nifti")];
        holds(
            &Decode {
                conf: DecodeConf::default(),
            },
            fetched,
            damaged,
            |out: &Decoded| format!("{out:?}"),
        )
        .await
    };
    let cropped = {
        let mut thoracic = decoded.clone();
        thoracic.mask.map.data.mapv_inplace(|label| label.min(1) * 12);
        let mut flat = decoded.clone();
        flat.mask.map.affine = Affine::axis_aligned([1.0, 1.0, 0.0], [0.0; 3]);
        let damaged = vec![(thoracic, "no_lumbar_labels"), (flat, "singular_affine")];
        let stage = Crop {
            conf: CropConf {
                size: 64,
                ..CropConf::default()
            },
        };
        holds(&stage, decoded, damaged, |out: &Cropped| format!("{out:?}")).await
    };
    let model = ModelConf {
        chain: vec!["identity".to_owned()],
        ..ModelConf::default()
    };
    let open = move |device: &str| models::open(&model, &models::LoadedWeights::new(), device);
    let pool = Pool::start(&PoolConf::default(), Arc::new(open))
        .await
        .expect("pool");
    let told = |out: &Reconstructed| {
        let told = out
            .vertebrae
            .iter()
            .map(|vertebra| (vertebra.seed, &vertebra.reconstruction));
        format!("{:?} {:?}", out.origin, told.collect::<Vec<_>>())
    };
    let mut empty = cropped.clone();
    empty.vertebrae[0].input.mask.fill(0);
    // a vertebra fails alone: the case goes on
    let emptied = Reconstruct { pool: pool.clone() }
        .run(empty)
        .await
        .expect("the case goes on");
    let fault: &Fault = emptied.vertebrae[0]
        .reconstruction
        .as_ref()
        .expect_err("an empty patch");
    assert_eq!(fault.reason, "empty_patch");
    let reconstructed = holds(&Reconstruct { pool }, cropped, Vec::new(), told).await;
    let evaluated = {
        let told = |out: &Evaluated| {
            let told = out
                .vertebrae
                .iter()
                .map(|vertebra| (vertebra.input, vertebra.reconstruction, &vertebra.flags));
            format!("{:?}", told.collect::<Vec<_>>())
        };
        holds(&Evaluate::default(), reconstructed, Vec::new(), told).await
    };
    assert_eq!(
        evaluated.vertebrae[0].input.expect("scores")[0],
        Some(1.0),
        "the same block in both schemes"
    );
    let volumes = stores.place(&ObjectUrl::new("memory:///out")).expect("place");
    let stage = Write {
        volumes,
        conf: WriteConf::default(),
        seg: None,
    };
    let mut written = holds(&stage, evaluated, Vec::new(), |out| {
        let mut out = out.clone();
        out.vertebrae.iter_mut().for_each(|row| row.reconstruct_ms = 0.0);
        format!("{out:?}")
    })
    .await;
    assert_eq!(written.vertebrae.remove(0).case_id, "case");
    let files = stores
        .place(&ObjectUrl::new("memory:///out/case"))
        .expect("place")
        .list()
        .await
        .expect("list");
    assert_eq!(files.len(), 2);
}
