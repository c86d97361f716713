//! Fetches the bytes of a case's mask and reference.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectMeta;
use schemas::payload::{FetchedMask, FetchedObject, WeighedMask};
use schemas::{Fault, Fetched, ObjectUrl, Weighed};

use crate::objects::{Located, read_rest};
use crate::stage::Stage;
use crate::store::{Place, StoreError, Stores};

/// The stage.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Every store of the run.
    pub stores: Arc<Stores>,
}

impl Stage for Fetch {
    type In = Weighed;
    type Out = Fetched;
    const NAME: &'static str = "fetch";

    async fn run(&self, weighed: Weighed) -> Result<Fetched, Fault> {
        let mask = self
            .mask(weighed.mask)
            .await
            .map_err(|fault| fault.about("mask"))?;
        let reference = match weighed.reference {
            Some(named) => Some(self.mask(named).await.map_err(|fault| fault.about("reference"))?),
            None => None,
        };
        let mut origin = weighed.origin;
        origin.bytes_read += bytes_of(&mask) + reference.as_ref().map_or(0, bytes_of);
        Ok(Fetched {
            origin,
            mask,
            reference,
        })
    }
}

fn bytes_of(mask: &FetchedMask) -> u64 {
    let object = |object: &FetchedObject| object.bytes.len() + object.pair.as_ref().map_or(0, Bytes::len);
    mask.objects.iter().map(|found| object(found) as u64).sum()
}

impl Fetch {
    async fn mask(&self, weighed: WeighedMask) -> Result<FetchedMask, Fault> {
        let store = self
            .stores
            .place(&weighed.named.url)
            .map_err(StoreError::into_fault)?;
        let mut objects = Vec::new();
        for object in weighed.objects {
            objects.push(FetchedObject {
                level: object.level,
                bytes: read_rest(&store, object.file).await?,
                pair: match object.pair {
                    Some(pair) => Some(read_rest(&store, pair).await?),
                    None => None,
                },
            });
        }
        Ok(FetchedMask {
            scheme: weighed.named.scheme,
            objects,
        })
    }
}

/// Reads one object of at most `max_bytes` and, for a pair, its other half: for looking at files outside the flow.
///
/// # Errors
/// The fault that a case with this object would become.
pub async fn fetch_object(stores: &Stores, url: &ObjectUrl, max_bytes: u64) -> Result<FetchedObject, Fault> {
    let place = stores.place(url).map_err(StoreError::into_fault)?;
    let read = async |place: &Place| place.read(max_bytes).await.map_err(StoreError::into_fault);
    let Located { level, file, pair } = Located::of(&place, None)?;
    Ok(FetchedObject {
        level,
        bytes: read(&file).await?,
        pair: match &pair {
            Some(pair) => Some(read(pair).await?),
            None => None,
        },
    })
}

/// Reads every object below a folder or prefix, `max_bytes` together: for looking at files outside the flow.
///
/// # Errors
/// The store's; more bytes than that.
pub async fn fetch_below(stores: &Stores, url: &ObjectUrl, max_bytes: u64) -> Result<Vec<Bytes>, Fault> {
    let folder = stores.place(url).map_err(StoreError::into_fault)?;
    let listed = folder.list().await.map_err(StoreError::into_fault)?;
    let found: u64 = listed.iter().map(|object| object.size).sum();
    if found > max_bytes {
        let error = StoreError::TooLarge {
            limit: max_bytes,
            found,
        };
        return Err(error.into_fault());
    }
    let read = |object: ObjectMeta| {
        let place = Place {
            store: Arc::clone(&folder.store),
            path: object.location,
        };
        async move { place.read(max_bytes).await.map_err(StoreError::into_fault) }
    };
    futures::stream::iter(listed.into_iter().map(read))
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// Objects of a folder that are asked for at once.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests;
