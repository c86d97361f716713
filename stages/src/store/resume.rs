//! Reading goes on where it was cut.
//!
//! object_store resumes a body after an error, but counts `retry_timeout` from the start of the request: a download
//! that takes longer than that, and is then cut, would be lost. And it takes a body that merely ends early for whole.

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta};

use super::Place;

/// Most times that one object is taken up again: a bound, not a policy; object_store waits between its own tries.
const MOST_RESUMPTIONS: usize = 16;

type Body = BoxStream<'static, object_store::Result<bytes::Bytes>>;

/// Returns the same object with a body that is taken up again after a cut, as long as the store still has the same.
pub(super) fn resuming(place: &Place, found: GetResult) -> GetResult {
    let payload = match found.payload {
        GetResultPayload::Stream(body) => {
            let download = Download {
                place: place.clone(),
                meta: found.meta.clone(),
                next: found.range.start,
                end: found.range.end,
                resumptions: 0,
            };
            GetResultPayload::Stream(download.stream(body))
        }
        file @ GetResultPayload::File(..) => file,
    };
    GetResult { payload, ..found }
}

struct Download {
    place: Place,
    meta: ObjectMeta,
    next: u64,
    end: u64,
    resumptions: usize,
}

impl Download {
    fn stream(self, body: Body) -> Body {
        stream::try_unfold((self, body), |(mut download, mut body)| async move {
            loop {
                let cut = match body.next().await {
                    Some(Ok(bytes)) => {
                        download.next += bytes.len() as u64;
                        return Ok(Some((bytes, (download, body))));
                    }
                    _ if download.next >= download.end => return Ok(None),
                    Some(Err(error)) => error,
                    None => download.ended_early(),
                };
                body = match download.rest().await {
                    Some(rest) => rest,
                    None => return Err(cut),
                };
            }
        })
        .boxed()
    }

    fn ended_early(&self) -> object_store::Error {
        let missing = self.end.saturating_sub(self.next);
        object_store::Error::Generic {
            store: "body",
            source: format!("expected {missing} more bytes of the object, found its end").into(),
        }
    }

    /// The bytes that are still missing, if the object is known to be the same still.
    async fn rest(&mut self) -> Option<Body> {
        let dated = self.meta.last_modified.timestamp() != 0;
        let has_identity = self.meta.e_tag.is_some() || dated;
        if !has_identity || self.next >= self.end || self.resumptions >= MOST_RESUMPTIONS {
            return None;
        }
        self.resumptions += 1;
        tracing::debug!(resumption = self.resumptions, "a body was cut, reading on");
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.next..self.end)),
            ..GetOptions::default()
        };
        let found = self.place.store.get_opts(&self.place.path, options).await.ok()?;
        (found.meta == self.meta).then(|| found.into_stream())
    }
}
