//! Reads the beginnings of objects, many at once, as far as their headers go.

use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};
use object_store::ObjectMeta;
use schemas::Fault;
use tokio::sync::Mutex;

use super::Looked;
use super::record::{Record, Texts, class};
use crate::dicom::Head;
use crate::manifest::walk::is_mask;
use crate::objects::beginning;
use crate::stage::blocking;
use crate::store::{Place, StoreError};

/// Bytes with which an object is looked at: headers of single slices have two to ten thousand.
const HEAD_BYTES: u64 = 16 << 10;

/// Beginnings above this are read one at a time, so that memory does not grow with what a dump holds.
const LARGE: u64 = 1 << 20;

/// How far the looking has come.
#[derive(Debug, Default)]
pub struct Progress {
    objects: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Returns how many objects have been looked at.
    pub fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    /// Returns how many bytes were read for that.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Looks at objects of the store of `place`, `width` at once: an object that cannot be read is one that says so.
pub async fn look_at(
    place: &Place,
    objects: Vec<(String, ObjectMeta)>,
    width: NonZeroUsize,
    progress: &Progress,
) -> Vec<Looked> {
    let large = Mutex::new(());
    let looks = objects
        .into_iter()
        .map(|(url, meta)| look(place, url, meta, &large));
    let mut looks = stream::iter(looks).buffer_unordered(width.get());
    let mut texts = Texts::default();
    let mut found = Vec::new();
    while let Some(mut object) = looks.next().await {
        progress.objects.fetch_add(1, Ordering::Relaxed);
        progress.bytes.fetch_add(object.bytes_read, Ordering::Relaxed);
        if let Some(Ok(record)) = &mut object.seen {
            record.share(&mut texts);
        }
        found.push(object);
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

async fn look(place: &Place, url: String, meta: ObjectMeta, large: &Mutex<()>) -> Looked {
    let place = Place {
        store: place.store.clone(),
        path: meta.location,
    };
    let mut bytes_read = 0;
    let seen = if is_mask(place.path.as_ref()) {
        None
    } else {
        Some(header(&place, meta.size, large, &mut bytes_read).await)
    };
    Looked {
        url,
        key: place.path,
        bytes: meta.size,
        bytes_read,
        seen,
    }
}

async fn header(place: &Place, size: u64, large: &Mutex<()>, read: &mut u64) -> Result<Box<Record>, Fault> {
    if size == 0 {
        return Err(Fault::unreadable(
            "empty",
            "expected a DICOM object, found no byte",
        ));
    }
    let mut most = HEAD_BYTES;
    let mut _alone = None;
    loop {
        if most > LARGE && _alone.is_none() {
            _alone = Some(large.lock().await);
        }
        let bytes = beginning(place, most).await.map_err(StoreError::into_fault)?;
        let found = bytes.len() as u64;
        *read += found;
        let is_all = found < most || found >= size;
        if let Some(record) = parse(bytes, size).await? {
            return Ok(record);
        }
        most = Head::farther(most, is_all)?;
    }
}

/// Returns the record of an object, `None` if more of it is needed. A panic costs the object.
async fn parse(beginning: Bytes, size: u64) -> Result<Option<Box<Record>>, Fault> {
    let parsed = blocking(move || {
        let head = Head::read(&beginning, size)?;
        // of a report, a document or contours, which have no pixels to end a header, the kind is enough
        let is_whole =
            head.is_whole || (!head.sop_class.is_empty() && class(&head.sop_class).is_never_used());
        Ok(is_whole.then(|| Box::new(Record::of(&head, size))))
    });
    let parsed = AssertUnwindSafe(parsed).catch_unwind().await;
    parsed.unwrap_or_else(|_| {
        Err(Fault::bug(
            "panic",
            "expected a header that is read or refused, found one that stopped the reader",
        ))
    })
}
