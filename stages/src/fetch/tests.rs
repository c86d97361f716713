use schemas::payload::Named;
use schemas::{CaseId, LabelScheme, Level, Listed, Origin};

use super::*;
use crate::objects::tests::stored;
use crate::weigh::{Weigh, WeighConf};

async fn fetch(stores: &Arc<Stores>, key: &str, scheme: LabelScheme) -> Result<Fetched, Fault> {
    let origin = Origin {
        id: CaseId::of_row(1),
        person: "p".to_owned(),
        seed: 0,
        bytes_read: 0,
        source: None,
    };
    let mask = Named {
        url: ObjectUrl::new(format!("memory:///{key}")),
        scheme,
    };
    let weigh = Weigh {
        stores: Arc::clone(stores),
        conf: WeighConf::default(),
    };
    let listed = Listed {
        origin,
        mask,
        reference: None,
        image: None,
    };
    let stage = Fetch {
        stores: Arc::clone(stores),
    };
    stage.run(weigh.run(listed).await?).await
}

#[tokio::test]
async fn a_pair_is_fetched_from_either_name() {
    let stores = stored(&["a/m.hdr.gz", "a/m.img.gz"]).await;
    for key in ["a/m.hdr.gz", "a/m.img.gz"] {
        let fetched = fetch(&stores, key, LabelScheme::Binary(Level::L1))
            .await
            .expect("pair");
        assert_eq!(&fetched.mask.objects[0].bytes[..], b"bytes of a/m.hdr.gz");
        assert_eq!(
            fetched.mask.objects[0].pair.as_deref(),
            Some(&b"bytes of a/m.img.gz"[..])
        );
        assert_eq!(fetched.origin.bytes_read, 38);
    }
}

#[tokio::test]
async fn a_folder_of_classes_gives_its_lumbar_masks() {
    let stores = stored(&[
        "s/segmentations/vertebrae_L2.nii.gz",
        "s/segmentations/vertebrae_T9.nii.gz",
    ])
    .await;
    let fetched = fetch(&stores, "s/", LabelScheme::Classes).await.expect("classes");
    assert_eq!(fetched.mask.objects.len(), 1);
    assert_eq!(fetched.mask.objects[0].level, Some(Level::L2));
    let fault = fetch(&stores, "other/", LabelScheme::Classes)
        .await
        .expect_err("nothing there");
    assert_eq!(
        (fault.reason, fault.message.starts_with("mask: ")),
        ("no_class_masks", true)
    );
}

#[tokio::test]
async fn names_of_a_pair_are_names_whatever_they_hold() {
    let folder = tempfile::tempdir().expect("folder");
    for name in ["m #1.hdr", "m #1.img"] {
        std::fs::write(folder.path().join(name), name).expect("write");
    }
    let base = url::Url::from_directory_path(folder.path()).expect("a folder");
    let url = crate::store::absolute(&base, "m #1.img").expect("url");
    let stores = Arc::new(Stores::default());
    let object = fetch_object(&stores, &url, 1 << 20).await.expect("both halves");
    assert_eq!(&object.bytes[..], b"m #1.hdr");
}

#[tokio::test]
async fn a_missing_object_is_missing() {
    let stores = stored(&[]).await;
    let fault = fetch(&stores, "x.nii.gz", LabelScheme::Binary(Level::L1))
        .await
        .expect_err("missing");
    assert_eq!(fault.reason, "object_not_found");
}

#[tokio::test]
async fn a_large_object_comes_whole_in_two_steps() {
    let stores = stored(&[]).await;
    let bytes: Vec<u8> = (0..900_000_u32).map(|index| (index % 251) as u8).collect();
    let place = stores
        .place(&ObjectUrl::new("memory:///large.nii.gz"))
        .expect("place");
    place.put(bytes.clone().into()).await.expect("put");
    let fetched = fetch(&stores, "large.nii.gz", LabelScheme::Binary(Level::L1))
        .await
        .expect("large");
    assert_eq!(fetched.mask.objects[0].bytes, bytes);
}

#[tokio::test]
async fn an_object_written_anew_meanwhile_is_read_anew() {
    let stores = stored(&[]).await;
    let place = stores
        .place(&ObjectUrl::new("memory:///m.nii.gz"))
        .expect("place");
    place.put(vec![1; 600_000].into()).await.expect("put");
    let looked = crate::objects::look(&place, 1 << 20).await.expect("there");
    place.put(vec![2; 500_000].into()).await.expect("put");
    let bytes = read_rest(&place, looked).await.expect("still there");
    assert_eq!(bytes, vec![2; 500_000], "no mixture of both");
}
