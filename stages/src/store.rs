//! Object stores by URL: one client a bucket, shared by all stages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    ClientOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
};
use schemas::{Fault, ObjectUrl};
use url::Url;

/// Longest time for one request: an object of hundreds of MB over a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);

/// Why something could not be had from, or put into, a store. Shown to users of the command line, who named the
/// URL themselves; what becomes a row goes through [`StoreError::into_fault`], which leaves names out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The text is no URL of a store that this build knows.
    #[error("expected a path or a URL with scheme file, memory or s3, found {0}")]
    Url(String),
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
        use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
        match self {
            Self::Url(_) => Fault::unsuitable(
                "bad_url",
                "expected a path or a URL with scheme file, memory or s3",
            ),
            Self::Store(NotFound { .. }) => {
                Fault::missing("object_not_found", "expected an object, found none there")
            }
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

    /// Reads the whole object, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// The store's, or the object is larger.
    pub async fn read(&self, limit: u64) -> Result<Bytes, StoreError> {
        let found = self.store.get(&self.path).await?;
        if found.meta.size > limit {
            return Err(StoreError::TooLarge {
                limit,
                found: found.meta.size,
            });
        }
        Ok(found.bytes().await?)
    }

    /// Opens the object for reading piece by piece.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(&self) -> Result<GetResult, StoreError> {
        Ok(self.store.get(&self.path).await?)
    }

    /// Returns what the store says of the object, without reading it.
    ///
    /// # Errors
    /// The store's.
    pub async fn head(&self) -> Result<ObjectMeta, StoreError> {
        Ok(self.store.head(&self.path).await?)
    }

    /// Puts the object, over what is there.
    ///
    /// # Errors
    /// The store's.
    pub async fn put(&self, bytes: Bytes) -> Result<(), StoreError> {
        self.store.put(&self.path, bytes.into()).await?;
        Ok(())
    }

    /// Puts the object if there is none; returns whether it was put.
    ///
    /// # Errors
    /// The store's.
    pub async fn create(&self, bytes: Bytes) -> Result<bool, StoreError> {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        match self.store.put_opts(&self.path, bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
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

    /// Lists every object below this prefix, sorted by key.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut found: Vec<ObjectMeta> = self.store.list(Some(&self.path)).try_collect().await?;
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }
}

/// All stores in use.
#[derive(Debug, Default)]
pub struct Stores {
    open: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl Stores {
    /// Uses `store` for every URL of this scheme and authority (`memory://`, `s3://bucket`).
    pub fn register(&self, base: &Url, store: Arc<dyn ObjectStore>) {
        self.lock().insert(authority(base), store);
    }

    /// Returns the place that a URL names.
    ///
    /// # Errors
    /// No URL, or a scheme that this build does not know.
    pub fn place(&self, url: &ObjectUrl) -> Result<Place, StoreError> {
        let parsed = Url::parse(url.expose()).map_err(|_| StoreError::Url("another text".to_owned()))?;
        let path = Path::from_url_path(parsed.path()).map_err(object_store::Error::from)?;
        let mut open = self.lock();
        let key = authority(&parsed);
        let store = match open.get(&key) {
            Some(store) => Arc::clone(store),
            None => {
                let store = connect(&parsed)?;
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

/// Credentials come from the environment or the platform's chain only.
fn connect(url: &Url) -> Result<Arc<dyn ObjectStore>, StoreError> {
    match url.scheme() {
        "file" => Ok(Arc::new(LocalFileSystem::new())),
        "memory" => Ok(Arc::new(InMemory::new())),
        "s3" | "s3a" => {
            let plain_http =
                std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
            let options = ClientOptions::new()
                .with_timeout(REQUEST_TIMEOUT)
                .with_allow_http(plain_http);
            let builder = AmazonS3Builder::from_env()
                .with_url(url.as_str())
                .with_client_options(options);
            Ok(Arc::new(builder.build()?))
        }
        scheme => Err(StoreError::Url(format!("scheme {scheme}"))),
    }
}

/// Returns the absolute URL of what a person wrote: a URL, or a path relative to `base` (a URL ending in `/`).
///
/// # Errors
/// Neither.
pub fn absolute(base: &Url, text: &str) -> Result<ObjectUrl, StoreError> {
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
mod tests {
    use super::*;

    fn url(base: &str, text: &str) -> String {
        absolute(&Url::parse(base).expect("base"), text)
            .expect("url")
            .expose()
            .to_owned()
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
}
