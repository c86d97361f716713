//! Create-only puts that know their own object again.
//!
//! A conditional put is not idempotent: if the answer is lost after the store has kept the object, trying again says
//! "exists already". object_store tries again by itself after a 5xx or a closed connection, so even that answer may
//! be about our own put. Each put therefore carries a mark of its own among the object's metadata (S3, SeaweedFS, GCS
//! and Azure keep it beside the object, atomically), and what is found there decides.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use bytes::Bytes;
use object_store::Error::{AlreadyExists, Generic, NotFound, NotImplemented};
use object_store::{Attribute, AttributeValue, Attributes, GetOptions, PutMode, PutOptions};

use super::{Place, StoreError};

/// Name of the mark; letters only, since Azure and some proxies take nothing else.
const MARK: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("spinestreamput"));

impl Place {
    /// Puts the object if there is none; returns whether the object there is the one that this call has put.
    ///
    /// True and false hold after lost answers too. A store that drops the mark, which none of the known ones does, is
    /// asked for the content instead, after a failure only: equal bytes count as ours there. The local file system
    /// (a hard link from a temporary file) needs no mark: its answer is never lost.
    /// The object goes in one request, which must be through within `store.read_timeout_s`.
    ///
    /// # Errors
    /// The store's; whether the object is there is then not known.
    pub async fn create(&self, bytes: Bytes) -> Result<bool, StoreError> {
        let mark = AttributeValue::from(new_mark());
        let mut tries_left = 2;
        loop {
            tries_left -= 1;
            let attributes = Attributes::from_iter([(MARK, mark.clone())]);
            let error = match self.put_new(&bytes, attributes).await {
                Ok(()) => return Ok(true),
                Err(NotImplemented { .. }) => return self.create_unmarked(bytes).await,
                Err(error @ (AlreadyExists { .. } | Generic { .. })) => error,
                // refused before anything was stored
                Err(error) => return Err(error.into()),
            };
            match self.mark().await {
                Ok(Some(found)) => return Ok(found == mark),
                Ok(None) if matches!(error, AlreadyExists { .. }) => return Ok(false),
                Ok(None) => {
                    return Ok(self
                        .read(bytes.len() as u64)
                        .await
                        .is_ok_and(|there| there == bytes));
                }
                Err(NotFound { .. }) if tries_left > 0 => {}
                Err(_) => return Err(error.into()),
            }
        }
    }

    async fn create_unmarked(&self, bytes: Bytes) -> Result<bool, StoreError> {
        match self.put_new(&bytes, Attributes::new()).await {
            Ok(()) => Ok(true),
            Err(AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_new(&self, bytes: &Bytes, attributes: Attributes) -> object_store::Result<()> {
        let options = PutOptions {
            mode: PutMode::Create,
            attributes,
            ..PutOptions::default()
        };
        self.store
            .put_opts(&self.path, bytes.clone().into(), options)
            .await?;
        Ok(())
    }

    async fn mark(&self) -> object_store::Result<Option<AttributeValue>> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&self.path, options).await?;
        Ok(found.attributes.get(&MARK).cloned())
    }
}

/// Returns a name that no other put has: the standard library seeds its hashers from the system's randomness.
fn new_mark() -> String {
    let random = RandomState::new();
    format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1))
}
