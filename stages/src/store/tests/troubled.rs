//! Stores that go wrong, and what becomes of a put, a read and a listing there.

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
