use schemas::{CaseId, Level, ObjectUrl, Origin};

use super::*;
use crate::decode::testing::{Sample, gzip};

async fn weigh(files: &[(&str, Vec<u8>)], mask: &str, scheme: LabelScheme) -> Weighed {
    let stores = Arc::new(Stores::default());
    for (name, bytes) in files {
        let place = stores
            .place(&ObjectUrl::new(format!("memory:///{name}")))
            .expect("place");
        place.put(bytes.clone().into()).await.expect("put");
    }
    let stage = Weigh {
        stores,
        conf: WeighConf::default(),
    };
    let listed = Listed {
        origin: Origin {
            id: CaseId::of_row(1),
            person: "p".to_owned(),
            seed: 0,
            bytes_read: 0,
        },
        mask: Named {
            url: ObjectUrl::new(format!("memory:///{mask}")),
            scheme,
        },
        reference: None,
        image: None,
    };
    stage.run(listed).await.expect("weighed")
}

#[tokio::test]
async fn a_mask_weighs_its_bytes_its_stored_voxels_and_its_labels() {
    let file = Sample::new(1).file();
    let packed = gzip(&file);
    // 24 voxels: one byte each as stored, two as a label
    let l1 = || LabelScheme::Binary(Level::L1);
    let plain = weigh(&[("m.nii", file.clone())], "m.nii", l1()).await;
    assert_eq!(plain.bytes, file.len() as u64 + 72);
    let found = weigh(&[("m.nii.gz", packed.clone())], "m.nii.gz", l1()).await;
    assert_eq!(found.bytes, packed.len() as u64 + 72);
}

#[tokio::test]
async fn masks_of_one_class_are_unpacked_one_at_a_time() {
    let file = Sample::new(1).file();
    let files =
        ["s/vertebrae_L1.nii", "s/vertebrae_L2.nii", "s/vertebrae_L3.nii"].map(|name| (name, file.clone()));
    let found = weigh(&files, "s", LabelScheme::Classes).await;
    assert_eq!(found.bytes, 3 * file.len() as u64 + 2 * 72);
}

#[tokio::test]
async fn a_header_that_promises_more_than_there_can_be_is_not_believed() {
    let mut sample = Sample::new(1);
    sample.dim = vec![3, 30000, 30000, 30000];
    let packed = gzip(&sample.file());
    let length = packed.len() as u64;
    let found = weigh(
        &[("m.nii.gz", packed)],
        "m.nii.gz",
        LabelScheme::Binary(Level::L1),
    )
    .await;
    assert!(found.bytes < length * 4000, "{} bytes for {length}", found.bytes);
}

#[tokio::test]
async fn what_is_no_volume_weighs_what_it_has() {
    let found = weigh(
        &[("m.nii", vec![1; 5000])],
        "m.nii",
        LabelScheme::Binary(Level::L1),
    )
    .await;
    assert_eq!(found.bytes, 5000);
}
