mod bucket;
mod fuzz;
mod troubled;
mod web;

use super::*;

fn url(base: &str, text: &str) -> String {
    absolute(&Url::parse(base).expect("base"), text)
        .expect("url")
        .expose()
        .to_owned()
}

fn place(url: &str) -> Place {
    Stores::default()
        .place(&ObjectUrl::new(url))
        .unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn refusal(url: &str) -> StoreError {
    Stores::default()
        .place(&ObjectUrl::new(url))
        .expect_err("refused")
}

#[test]
fn paths_are_relative_to_their_base_and_names_are_no_syntax() {
    assert_eq!(
        url("file:///data/cohort/", "a/mask.nii.gz"),
        "file:///data/cohort/a/mask.nii.gz"
    );
    assert_eq!(
        url("file:///data/cohort/", "../b#1?.nii"),
        "file:///data/b%231%3F.nii"
    );
    assert_eq!(url("file:///data/cohort/", "/x/y"), "file:///x/y");
    assert_eq!(url("s3://bucket/cohort/", "a.nii"), "s3://bucket/cohort/a.nii");
    assert_eq!(url("s3://bucket/cohort/", "s3://other/a.nii"), "s3://other/a.nii");
    let object = ObjectUrl::new("s3://bucket/cohort/manifest.csv");
    assert_eq!(
        folder_of(&object).expect("folder").as_str(),
        "s3://bucket/cohort/"
    );
}

#[test]
fn a_name_with_control_characters_is_refused_and_not_read_as_another() {
    let base = Url::parse("s3://bucket/cohort/").expect("base");
    for text in ["a\nb.nii", "..\n/b.nii", "a\0", "s3://buc\tket/b.nii", "\u{7f}"] {
        let error = absolute(&base, text).expect_err("control characters");
        assert!(error.to_string().ends_with("control characters"), "{error}");
        assert_eq!(error.into_fault().reason, "bad_url");
    }
}

#[test]
fn every_scheme_comes_to_its_own_store() {
    for (url, store, path) in [
        ("http://127.0.0.1:9/a/b.nii", "ReadOnly(HttpStore)", "a/b.nii"),
        ("https://host.example/a%20b%231", "ReadOnly(HttpStore)", "a b#1"),
        ("file:///data/a", "LocalFileSystem(file:///)", "data/a"),
        ("memory:///a", "InMemory", "a"),
    ] {
        let place = place(url);
        assert_eq!(place.store.to_string(), store);
        assert_eq!(place.path.as_ref(), path);
    }
    // of these the environment decides whether they come to a store: an account, a profile of the tester's own
    for url in [
        "s3://masks/a",
        "s3a://masks/a",
        "gs://masks/a",
        "az://masks/a",
        "azure://masks/a",
    ] {
        if let Err(error) = Stores::default().place(&ObjectUrl::new(url)) {
            assert!(!matches!(error, StoreError::Url(_)), "{error}");
        }
    }
    let of_account = place("abfss://masks@hospital.dfs.core.windows.net/a");
    let described = of_account.store.to_string();
    assert!(
        described.contains("account: hospital, container: masks"),
        "{described}"
    );
    assert!(
        refusal("ftp://host/a")
            .to_string()
            .contains("expected a path or a URL with scheme")
    );
}

#[test]
fn a_url_that_carries_credentials_is_refused_and_not_repeated() {
    for url in [
        "https://masks.s3.amazonaws.com/a?X-Amz-Signature=5ecre7",
        "s3://masks/a?versionId=5ecre7",
        "gs://masks/a#5ecre7",
        "az://masks/a?sig=5ecre7",
        "https://user:5ecre7@host.example/a",
        "https://5ecre7@host.example/a",
        "s3://5ecre7:key@masks/a",
        "abfss://masks:5ecre7@hospital.dfs.core.windows.net/a",
    ] {
        let error = refusal(url);
        assert!(matches!(error, StoreError::Part(_)), "{url}: {error}");
        assert!(error.to_string().contains("expected a URL without query"));
        assert!(!error.to_string().contains("5ecre7"));
        let fault = error.into_fault();
        assert_eq!(fault.reason, "bad_url");
        assert!(!fault.to_string().contains("5ecre7"));
    }
}

#[tokio::test]
async fn create_puts_once_and_read_keeps_to_its_limit() {
    let stores = Stores::default();
    let place = stores.place(&ObjectUrl::new("memory:///a/b")).expect("place");
    assert!(place.create(Bytes::from_static(b"one")).await.expect("put"));
    assert!(
        !place
            .create(Bytes::from_static(b"two"))
            .await
            .expect("second put")
    );
    // the same bytes are not the same put
    assert!(!place.create(Bytes::from_static(b"one")).await.expect("third put"));
    let again = stores
        .place(&ObjectUrl::new("memory:///a"))
        .expect("place")
        .join("b");
    assert_eq!(again.read(3).await.expect("read"), Bytes::from_static(b"one"));
    assert!(matches!(
        again.read(2).await,
        Err(StoreError::TooLarge { limit: 2, found: 3 })
    ));
}

#[test]
fn a_fault_of_the_store_names_no_object() {
    let error = object_store::Error::NotFound {
        path: "MRN123/x".to_owned(),
        source: "MRN123".into(),
    };
    let fault = StoreError::from(error).into_fault();
    assert_eq!(fault.reason, "object_not_found");
    assert!(!fault.to_string().contains("MRN123"));
}

#[tokio::test]
async fn a_name_that_no_file_can_have_is_one_that_is_not_there() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("file"), "x").expect("write");
    let place = place(Url::from_directory_path(folder.path()).expect("url").as_str());
    for name in ["file/below", "x".repeat(10_000).as_str(), ""] {
        let error = place.join(name).read(9).await.expect_err("nothing there");
        assert_eq!(error.into_fault().reason, "object_not_found", "{name}");
    }
}

#[tokio::test]
async fn a_local_folder_takes_whole_files_and_lists_no_temporary_ones() {
    let folder = tempfile::tempdir().expect("folder");
    let place = place(Url::from_directory_path(folder.path()).expect("url").as_str());
    let part = place.join("deep/part-1.parquet");
    assert!(part.create(Bytes::from_static(b"one")).await.expect("create"));
    assert!(!part.create(Bytes::from_static(b"one")).await.expect("create"));
    // what a killed process leaves behind
    std::fs::write(folder.path().join("deep/part-2.parquet#1"), "half").expect("write");
    let large = Bytes::from(vec![7; 2 * PART + 3]);
    place.join("large").put(large.clone()).await.expect("put");
    assert!(place.join("large").read(u64::MAX).await.expect("read") == large);
    let names = |listing: Vec<ObjectMeta>| -> Vec<String> {
        let name = |object: ObjectMeta| object.location.filename().map(str::to_owned);
        listing.into_iter().filter_map(name).collect()
    };
    let listing = place.list().await.expect("list");
    assert_eq!(names(listing), ["part-1.parquet", "large"]);
    let second = place.join("deep/part-2.parquet");
    assert!(second.create(Bytes::from_static(b"two")).await.expect("create"));
    part.delete().await.expect("delete");
    part.delete().await.expect("delete what is gone");
    assert_eq!(
        names(place.list().await.expect("list")),
        ["part-2.parquet", "large"]
    );
    assert!(
        place
            .join("nowhere")
            .list()
            .await
            .expect("no folder, nothing in it")
            .is_empty()
    );
}
