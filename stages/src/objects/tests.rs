use bytes::Bytes;
use schemas::ObjectUrl;

use super::*;

/// Stores in which objects of these keys lie in memory.
pub(crate) async fn stored(keys: &[&str]) -> Arc<Stores> {
    let stores = Arc::new(Stores::default());
    for key in keys {
        let url = ObjectUrl::new(format!("memory:///{key}"));
        let place = stores.place(&url).expect("place");
        place
            .put(Bytes::from(format!("bytes of {key}")))
            .await
            .expect("put");
    }
    stores
}

#[tokio::test]
async fn stamps_are_of_what_would_be_read() {
    let stores = stored(&[
        "a/m.hdr",
        "a/m.img",
        "s/vertebrae_L1.nii.gz",
        "s/segmentations/vertebrae_L2.nii.gz",
        "s/vertebrae_T9.nii.gz",
    ])
    .await;
    let stamps = async |key: &str, scheme| {
        let url = ObjectUrl::new(format!("memory:///{key}"));
        let stamps = stamps(&stores, &Named { url, scheme }).await;
        stamps.map(|found| {
            found
                .iter()
                .map(|object| object.location.to_string())
                .collect::<Vec<_>>()
        })
    };
    let l1 = LabelScheme::Binary(Level::L1);
    assert_eq!(
        stamps("a/m.img", l1.clone()).await.expect("pair"),
        ["a/m.hdr", "a/m.img"]
    );
    assert_eq!(
        stamps("s/", LabelScheme::Classes).await.expect("classes"),
        ["s/segmentations/vertebrae_L2.nii.gz", "s/vertebrae_L1.nii.gz"]
    );
    let fault = stamps("a/n.nii", l1).await.expect_err("missing");
    assert_eq!(fault.reason, "object_not_found");
}

#[tokio::test]
async fn an_empty_object_and_one_that_is_too_large_are_told_by_their_size() {
    let stores = stored(&["some"]).await;
    let place = |key: &str| {
        stores
            .place(&ObjectUrl::new(format!("memory:///{key}")))
            .expect("place")
    };
    place("none").put(Bytes::new()).await.expect("put");
    let looked = look(&place("none"), 10).await.expect("there");
    assert_eq!((looked.size, looked.head.len()), (0, 0));
    assert_eq!(read_rest(&place("none"), looked).await.expect("empty").len(), 0);
    let error = look(&place("some"), 12).await.expect_err("13 bytes");
    assert!(
        matches!(error, StoreError::TooLarge { limit: 12, found: 13 }),
        "{error}"
    );
}

#[tokio::test]
async fn a_folder_of_files_is_looked_at_as_a_store_is() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("empty.nii"), "").expect("write");
    std::fs::write(folder.path().join("large.nii"), vec![7; 400_000]).expect("write");
    let stores = Stores::default();
    for (name, size, head) in [("empty.nii", 0, 0), ("large.nii", 400_000, HEAD_BYTES as usize)] {
        let url = url::Url::from_file_path(folder.path().join(name)).expect("path");
        let place = stores.place(&ObjectUrl::new(url)).expect("place");
        let looked = look(&place, 1 << 20).await.expect(name);
        assert_eq!((looked.size, looked.head.len()), (size, head), "{name}");
        let bytes = read_rest(&place, looked).await.expect(name);
        assert_eq!(bytes, vec![7; size as usize], "{name}");
    }
}
