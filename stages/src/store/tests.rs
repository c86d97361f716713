mod bucket;
mod web;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResultPayload, ListResult, MultipartUpload, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

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

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The first put is kept, and its answer lost.
    LosesAnswer,
    /// The first put is kept, tried again below us, and "exists already".
    TriesAgain,
    /// The first put is lost.
    LosesObject,
    /// As `LosesAnswer`, and the store drops metadata.
    DropsMetadata,
    /// No put comes through.
    Down,
    /// A body ends with an error after three bytes.
    CutsBodies,
    /// A body just ends after three bytes.
    EndsBodies,
    /// The same, and the object is another one by then.
    ChangesMeanwhile,
    /// Something vanishes while it is listed.
    Vanishes,
}

#[derive(Debug)]
struct Troubled {
    inner: Arc<InMemory>,
    trouble: Trouble,
    calls: AtomicUsize,
}

impl Troubled {
    fn place(trouble: Trouble) -> Place {
        let store = Self {
            inner: Arc::new(InMemory::new()),
            trouble,
            calls: AtomicUsize::new(0),
        };
        Place {
            store: Arc::new(store),
            path: Path::from("a/b"),
        }
    }
}

impl fmt::Display for Troubled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Troubled({:?})", self.trouble)
    }
}

fn lost() -> object_store::Error {
    object_store::Error::Generic {
        store: "test",
        source: "connection reset".into(),
    }
}

#[async_trait]
impl ObjectStore for Troubled {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let first = self.calls.fetch_add(1, Ordering::Relaxed) == 0;
        match self.trouble {
            Trouble::Down => Err(lost()),
            Trouble::LosesObject if first => Err(lost()),
            Trouble::LosesAnswer if first => {
                self.inner.put_opts(path, payload, options).await?;
                Err(lost())
            }
            Trouble::DropsMetadata if first => {
                self.inner.put(path, payload).await?;
                Err(lost())
            }
            Trouble::TriesAgain if first => {
                self.inner
                    .put_opts(path, payload.clone(), options.clone())
                    .await?;
                self.inner.put_opts(path, payload, options).await
            }
            _ => self.inner.put_opts(path, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let found = self.inner.get_opts(path, options).await?;
        let end = match self.trouble {
            _ if head => return Ok(found),
            Trouble::CutsBodies => Some(Err(lost())),
            Trouble::EndsBodies => None,
            Trouble::ChangesMeanwhile => {
                self.inner
                    .put(path, PutPayload::from_static(b"9876543210"))
                    .await?;
                None
            }
            _ => return Ok(found),
        };
        let GetResult {
            payload,
            meta,
            range,
            attributes,
            extensions,
        } = found;
        let GetResultPayload::Stream(mut body) = payload else {
            panic!("memory streams");
        };
        let bytes = body.next().await.expect("a body")?;
        let start = bytes.slice(..bytes.len().min(3));
        let payload = GetResultPayload::Stream(stream::iter(std::iter::once(Ok(start)).chain(end)).boxed());
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes,
            extensions,
        })
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let gone = object_store::Error::NotFound {
            path: "a/gone".to_owned(),
            source: "gone".into(),
        };
        let gone = (self.trouble == Trouble::Vanishes).then_some(Err(gone));
        stream::iter(gone).chain(self.inner.list(prefix)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn create_knows_its_own_object_though_the_answer_was_lost() {
    for trouble in [
        Trouble::LosesAnswer,
        Trouble::TriesAgain,
        Trouble::LosesObject,
        Trouble::DropsMetadata,
    ] {
        let place = Troubled::place(trouble);
        let ours = place.create(Bytes::from_static(b"ours")).await;
        assert!(ours.unwrap_or_else(|error| panic!("{trouble:?}: {error}")));
        let theirs = place.create(Bytes::from_static(b"ours")).await;
        assert!(!theirs.expect("create"), "{trouble:?}");
        assert_eq!(
            place.read(9).await.expect("read"),
            Bytes::from_static(b"ours"),
            "{trouble:?}"
        );
    }
}

#[tokio::test]
async fn create_takes_no_object_of_another_for_its_own() {
    for trouble in [Trouble::LosesObject, Trouble::Down] {
        let place = Troubled::place(trouble);
        // put by another way: no mark
        let other = trouble_free(&place);
        other.await;
        let ours = place.create(Bytes::from_static(b"ours")).await;
        assert!(!ours.expect("create"), "{trouble:?}");
    }
    let nothing_there = Troubled::place(Trouble::Down);
    assert!(nothing_there.create(Bytes::from_static(b"ours")).await.is_err());
}

/// Puts another's object past the trouble with single puts.
async fn trouble_free(place: &Place) {
    let mut upload = place.store.put_multipart(&place.path).await.expect("upload");
    upload.put_part("another".into()).await.expect("part");
    upload.complete().await.expect("complete");
}

#[tokio::test]
async fn reading_goes_on_where_it_was_cut() {
    for trouble in [Trouble::CutsBodies, Trouble::EndsBodies] {
        let place = Troubled::place(trouble);
        let object = Bytes::from_static(b"0123456789");
        place.put(object.clone()).await.expect("put");
        assert_eq!(place.read(99).await.expect("read"), object, "{trouble:?}");
    }
    let place = Troubled::place(Trouble::ChangesMeanwhile);
    place.put(Bytes::from_static(b"0123456789")).await.expect("put");
    let error = place
        .read(99)
        .await
        .expect_err("two halves of two objects")
        .to_string();
    assert!(error.contains("expected 7 more bytes of the object"), "{error}");
}

#[tokio::test]
async fn what_vanishes_while_listed_is_left_out() {
    let place = Troubled::place(Trouble::Vanishes);
    place.put(Bytes::from_static(b"x")).await.expect("put");
    let folder = Place {
        path: Path::from("a"),
        ..place
    };
    assert_eq!(folder.list().await.expect("list").len(), 1);
}
