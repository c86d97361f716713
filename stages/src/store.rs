//! Object stores by URL: one client a bucket, shared by all stages.

mod connect;
mod create;
mod credentials;
mod profile;
mod read_only;
mod resume;

use std::collections::HashMap;
use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use schemas::{Fault, ObjectUrl};
use url::Url;

pub use connect::StoreConf;

/// Most bytes of an object that go in one request: more are put in parts of this size, so that a slow line gets each
/// through within `store.read_timeout_s`, and a cut costs one part. S3 takes up to 10 000 parts.
const PART: usize = 8 << 20;

/// Times that a listing is begun.
const LIST_TRIES: usize = 4;

/// Schemes of URLs, as messages name them.
const SCHEMES: &str = "file, memory, s3, gs, az, abfss, http or https";

/// Why something could not be had from, or put into, a store. Shown to users of the command line, who named the
/// URL themselves; what becomes a row goes through [`StoreError::into_fault`], which leaves names out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The text is no URL of a store that this build knows.
    #[error("expected a path or a URL with scheme {SCHEMES}, found {0}")]
    Url(String),
    /// The URL has a part that may carry credentials, or that no key is made of.
    #[error(
        "expected a URL without query, fragment, user name and password, found one with {0}: credentials come from \
         the environment or the platform, and '?' and '#' in a key are written %3F and %23"
    )]
    Part(&'static str),
    /// The environment or a profile says something that does not fit.
    #[error("{0}")]
    Setup(String),
    /// The store said no.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// The object is larger than the budget.
    #[error("expected an object of at most {limit} bytes, found {found}")]
    TooLarge {
        /// Most bytes let pass.
        limit: u64,
        /// Bytes of the object.
        found: u64,
    },
}

impl StoreError {
    /// Returns the fault of a case, without any name of an object.
    pub fn into_fault(self) -> Fault {
        use object_store::Error::{NotFound, NotSupported, PermissionDenied, Unauthenticated};
        match self {
            Self::Url(_) => Fault::unsuitable(
                "bad_url",
                format!("expected a path or a URL with scheme {SCHEMES}, without control characters"),
            ),
            Self::Part(_) => Fault::unsuitable("bad_url", self.to_string()),
            Self::Setup(message) => Fault::unavailable("store_setup", message),
            Self::Store(NotSupported { .. }) => Fault::unsuitable(
                "not_supported",
                "expected a store that can do this, found one that cannot: http URLs are read, object by object",
            ),
            Self::Store(NotFound { .. }) => nothing_there(),
            Self::Store(error) if is_no_name(&error) => nothing_there(),
            Self::Store(PermissionDenied { .. } | Unauthenticated { .. }) => Fault::unavailable(
                "permission_denied",
                "expected leave to read the object, the store refused it",
            ),
            Self::Store(object_store::Error::InvalidPath { .. }) => {
                Fault::unsuitable("bad_url", "expected an object key, found one that no store takes")
            }
            Self::Store(_) => {
                Fault::unavailable("store_failed", "the object store did not answer as it should")
            }
            Self::TooLarge { limit, found } => Fault::unsuitable(
                "too_large",
                format!("expected an object of at most {limit} bytes (run.memory), found {found}"),
            ),
        }
    }
}

fn nothing_there() -> Fault {
    Fault::missing("object_not_found", "expected an object, found none there")
}

/// Whether a disk says that nothing there can have this name: it is too long, or goes on below a file.
fn is_no_name(error: &object_store::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                ErrorKind::InvalidFilename | ErrorKind::NotADirectory
            );
        }
        cause = error.source();
    }
    false
}

/// A place in a store: an object, or the prefix of several.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its store.
    pub store: Arc<dyn ObjectStore>,
    /// Key within the store.
    pub path: Path,
}

impl Place {
    /// Returns the place below this prefix; `tail` may have several segments.
    #[must_use]
    pub fn join(&self, tail: &str) -> Self {
        let path = tail
            .split('/')
            .fold(self.path.clone(), |path, part| path.join(part));
        Self {
            store: Arc::clone(&self.store),
            path,
        }
    }

    /// Opens the object for reading. Its body is taken up again where it was cut, as long as the store still has the
    /// same object; a body that ends early is an error, never a short object.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(&self) -> Result<GetResult, StoreError> {
        Ok(self.open_with(GetOptions::default()).await?)
    }

    /// Opens a part of the object, or one version of it; else as [`Place::open`].
    ///
    /// # Errors
    /// The store's.
    pub async fn open_with(&self, options: GetOptions) -> Result<GetResult, object_store::Error> {
        let found = self.store.get_opts(&self.path, options).await?;
        Ok(resume::resuming(self, found))
    }

    /// Reads the whole object, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// The store's, or the object is larger.
    pub async fn read(&self, limit: u64) -> Result<Bytes, StoreError> {
        let found = self.open().await?;
        if found.meta.size > limit {
            return Err(StoreError::TooLarge {
                limit,
                found: found.meta.size,
            });
        }
        Ok(found.bytes().await?)
    }

    /// Returns what the store says of the object, without reading it.
    ///
    /// # Errors
    /// The store's.
    pub async fn head(&self) -> Result<ObjectMeta, StoreError> {
        Ok(self.store.head(&self.path).await?)
    }

    /// Puts the object, over what is there: readers see the old one or the new one, whole.
    ///
    /// The local file system gets a temporary file, renamed, which a killed process leaves behind as `name#1`;
    /// listings leave such names out. Neither file nor folder is flushed to the disk (fsync): a loss of power may take
    /// what was written last. A killed process may leave parts of an object above 8 MiB in a bucket; a lifecycle rule
    /// for incomplete uploads clears them.
    ///
    /// # Errors
    /// The store's.
    pub async fn put(&self, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.len() > PART {
            return self.put_in_parts(bytes).await;
        }
        self.store.put(&self.path, bytes.into()).await?;
        Ok(())
    }

    async fn put_in_parts(&self, mut bytes: Bytes) -> Result<(), StoreError> {
        let mut upload = self.store.put_multipart(&self.path).await?;
        let sent = async {
            while !bytes.is_empty() {
                let part = bytes.split_to(bytes.len().min(PART));
                upload.put_part(part.into()).await?;
            }
            upload.complete().await
        };
        let sent = sent.await;
        if sent.is_err() {
            // a courtesy to the store; what matters is why the upload failed
            let _ = upload.abort().await;
        }
        sent?;
        Ok(())
    }

    /// Deletes the object; that there is none is no error.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self) -> Result<(), StoreError> {
        match self.store.delete(&self.path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists every object below this prefix, sorted by key; what vanishes meanwhile is left out.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut tries = 1;
        loop {
            match self.list_once().await {
                // object_store asks again when a request fails, but not when the body of its answer is cut
                Err(StoreError::Store(object_store::Error::Generic { .. })) if tries < LIST_TRIES => {
                    tries += 1;
                }
                ended => return ended,
            }
        }
    }

    async fn list_once(&self) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut listing = self.store.list(Some(&self.path));
        let mut found = Vec::new();
        while let Some(object) = listing.next().await {
            match object {
                Ok(object) => found.push(object),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    /// Returns the names of the folders right below this prefix, sorted; a disk tells of empty ones too.
    ///
    /// # Errors
    /// The store's.
    pub async fn folders(&self) -> Result<Vec<String>, StoreError> {
        let mut tries = 1;
        let listed = loop {
            match self.store.list_with_delimiter(Some(&self.path)).await {
                // as in `list`
                Err(object_store::Error::Generic { .. }) if tries < LIST_TRIES => tries += 1,
                ended => break ended?,
            }
        };
        let folders = listed.common_prefixes.iter();
        let mut names: Vec<String> = folders
            .filter_map(|folder| folder.filename().map(str::to_owned))
            .collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// All stores in use.
#[derive(Debug, Default)]
pub struct Stores {
    conf: StoreConf,
    open: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl Stores {
    /// Returns stores, none open yet, with this patience.
    pub fn new(conf: StoreConf) -> Self {
        Self {
            conf,
            open: Mutex::default(),
        }
    }

    /// Uses `store` for every URL of this scheme and authority (`memory://`, `s3://bucket`).
    pub fn register(&self, base: &Url, store: Arc<dyn ObjectStore>) {
        self.lock().insert(authority(base), store);
    }

    /// Returns the place that a URL names.
    ///
    /// # Errors
    /// No URL, a scheme that this build does not know, a URL with a query or a password, or settings of the
    /// environment that do not fit.
    pub fn place(&self, url: &ObjectUrl) -> Result<Place, StoreError> {
        let parsed = Url::parse(url.expose()).map_err(|_| StoreError::Url("another text".to_owned()))?;
        connect::check(&parsed)?;
        let path = Path::from_url_path(parsed.path()).map_err(object_store::Error::from)?;
        let mut open = self.lock();
        let key = authority(&parsed);
        let store = match open.get(&key) {
            Some(store) => Arc::clone(store),
            None => {
                let store = connect::connect(&parsed, &self.conf)?;
                open.insert(key, Arc::clone(&store));
                store
            }
        };
        Ok(Place { store, path })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<dyn ObjectStore>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn authority(url: &Url) -> String {
    url[..url::Position::AfterPort].to_owned()
}

/// Returns the absolute URL of what a person wrote: a URL, or a path relative to `base` (a URL ending in `/`).
///
/// # Errors
/// Neither, or a text with control characters: a URL drops some of them silently, and would name another object.
pub fn absolute(base: &Url, text: &str) -> Result<ObjectUrl, StoreError> {
    if text.contains(|character: char| character.is_ascii_control()) {
        return Err(StoreError::Url("one with control characters".to_owned()));
    }
    if text.contains("://") {
        let url = Url::parse(text).map_err(|_| StoreError::Url("another text".to_owned()))?;
        return Ok(ObjectUrl::new(url));
    }
    let mut url = base.clone();
    {
        let mut segments = url
            .path_segments_mut()
            .map_err(|()| StoreError::Url("a base that has no folders".to_owned()))?;
        if text.starts_with('/') && base.scheme() == "file" {
            segments.clear();
        }
        segments.pop_if_empty();
        // segment by segment: names with '#', '?' or '%' are names, not URL syntax
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                name => {
                    segments.push(name);
                }
            }
        }
    }
    Ok(ObjectUrl::new(url))
}

/// Returns the working folder as a base for [`absolute`].
///
/// # Errors
/// There is no working folder.
pub fn working_folder() -> Result<Url, StoreError> {
    let folder = std::env::current_dir().map_err(|_| StoreError::Url("no working folder".to_owned()))?;
    Url::from_directory_path(folder)
        .map_err(|()| StoreError::Url("a working folder that is no URL".to_owned()))
}

/// Returns the folder that an object lies in, as a base for [`absolute`].
///
/// # Errors
/// The text is no URL.
pub fn folder_of(object: &ObjectUrl) -> Result<Url, StoreError> {
    let mut url = Url::parse(object.expose()).map_err(|_| StoreError::Url("another text".to_owned()))?;
    url.path_segments_mut()
        .map_err(|()| StoreError::Url("a URL without folders".to_owned()))?
        .pop()
        .push("");
    Ok(url)
}

#[cfg(test)]
mod tests;
