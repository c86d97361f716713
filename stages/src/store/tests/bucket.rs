//! What we ask of a store, asked of a real one.

use super::*;

/// Run by hand, with the environment that a run would have:
/// `SPINESTREAM_BUCKET=s3://bucket/prefix cargo test -p stages a_real_bucket -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a bucket, named by SPINESTREAM_BUCKET"]
async fn a_real_bucket_does_what_a_run_needs() {
    let bucket = std::env::var("SPINESTREAM_BUCKET").expect("SPINESTREAM_BUCKET");
    let root = place(&bucket).join(&format!("test-{}", std::process::id()));
    let start = std::time::Instant::now();
    let told = |what: &str| eprintln!("{:8.3} s {what}", start.elapsed().as_secs_f64());

    let small = root.join("a b#1/é.nii.gz");
    small.put(Bytes::from_static(b"one")).await.expect("put");
    small.put(Bytes::from_static(b"three")).await.expect("put over");
    assert_eq!(small.read(5).await.expect("read"), "three");
    assert_eq!(small.head().await.expect("head").size, 5);
    told("put, read, head");

    let part = root.join("part.parquet");
    let mark = part.create(Bytes::from_static(b"x")).await.expect("create");
    assert!(mark && !part.create(Bytes::from_static(b"x")).await.expect("again"));
    told("create, twice");
    for round in 0..10 {
        let raced = root.join(&format!("race-{round}"));
        let racers = (0..3).map(|_| raced.create(Bytes::from_static(b"same")));
        let won = futures::future::join_all(racers).await;
        let won = won.into_iter().filter(|won| *won.as_ref().expect("create"));
        assert_eq!(won.count(), 1, "round {round}");
    }
    told("ten races of three, one winner each");

    let large = Bytes::from_iter((0..100 << 20).map(|index: u32| (index % 251) as u8));
    root.join("large").put(large.clone()).await.expect("put in parts");
    told("100 MiB put in parts");
    assert!(root.join("large").read(u64::MAX).await.expect("read") == large);
    told("100 MiB read");

    let listing = root.list().await.expect("list");
    assert_eq!(listing.len(), 13);
    for object in listing {
        let object = Place {
            store: Arc::clone(&root.store),
            path: object.location,
        };
        object.delete().await.expect("delete");
        object.delete().await.expect("delete what is gone");
        assert!(matches!(
            object.open().await,
            Err(StoreError::Store(object_store::Error::NotFound { .. }))
        ));
    }
    assert!(root.list().await.expect("list").is_empty());
    told("listed, deleted");
}
