//! A store that fails as it is told: what the flow meets when the real one does.

use std::fmt;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What is done to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// An object, or a part of one, or what is known of it.
    Get,
    /// An object is put.
    Put,
    /// An object is deleted.
    Delete,
    /// Objects are listed.
    List,
}

type Fault = Box<dyn Fn(Deed, &Path) -> Option<Error> + Send + Sync>;

/// Asks before each deed whether it fails.
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Arc<Fault>,
}

impl Faulty {
    /// Wraps a store; `fault` says which deeds fail, and how.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        fault: impl Fn(Deed, &Path) -> Option<Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            fault: Arc::new(Box::new(fault)),
        }
    }

    fn ask(&self, deed: Deed, path: &Path) -> Result<()> {
        (self.fault)(deed, path).map_or(Ok(()), Err)
    }
}

/// What a store says that has had enough.
pub fn gone() -> Error {
    Error::Generic {
        store: "faulty",
        source: "expected an answer, got none".into(),
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, bytes: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.ask(Deed::Put, path)?;
        self.inner.put_opts(path, bytes, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.ask(Deed::Put, path)?;
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask(Deed::Get, path)?;
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let fault = Arc::clone(&self.fault);
        let asked = paths.map(move |path| {
            let path = path?;
            fault(Deed::Delete, &path).map_or(Ok(path), Err)
        });
        self.inner.delete_stream(asked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.ask(Deed::List, &prefix.cloned().unwrap_or_default()) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.ask(Deed::List, &prefix.cloned().unwrap_or_default())?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.ask(Deed::Put, to)?;
        self.inner.copy_opts(from, to, options).await
    }
}
