//! Brings the cases of a manifest into their cubes outside the flow: for verbs that need every vertebra at once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use schemas::{Cropped, Fault, Listed, Outcome};

use crate::crop::{Crop, CropConf};
use crate::decode::{Decode, DecodeConf};
use crate::fetch::{Fetch, FetchConf};
use crate::stage::Stage as _;
use crate::store::Stores;

/// What became of the listed cases.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Cases cut into vertebrae, in the manifest's order.
    pub cases: Vec<Cropped>,
    /// Cases that could not be, and why.
    pub failed: Vec<(String, Fault)>,
}

/// Fetches, decodes and crops the cases of the persons that `is_wanted` names, one after another.
///
/// `max_bytes` limits one object and one decoded volume. A row too broken to name its person counts as wanted.
pub async fn gather(
    cases: Vec<Outcome<Listed>>,
    stores: &Arc<Stores>,
    crop: &CropConf,
    max_bytes: u64,
    is_wanted: impl Fn(&str) -> bool,
) -> Gathered {
    let fetch = Fetch {
        stores: Arc::clone(stores),
        conf: FetchConf { max_bytes },
    };
    let decode = Decode {
        conf: DecodeConf { max_bytes },
    };
    let crop = Crop { conf: crop.clone() };
    let mut gathered = Gathered::default();
    for case in cases {
        let case = match case {
            Ok(case) => case,
            Err(failure) => {
                if failure.person.as_deref().is_none_or(&is_wanted) {
                    gathered.failed.push((failure.id.to_string(), failure.fault));
                }
                continue;
            }
        };
        if !is_wanted(&case.body.origin.person) {
            continue;
        }
        // as in the flow: a mistake of ours costs the case, and its words went to stderr
        let cut = AssertUnwindSafe(cut(&fetch, &decode, &crop, case.body));
        let cut = cut.catch_unwind().await;
        match cut.unwrap_or_else(|_| Err(Fault::bug("panic", "panicked on this case"))) {
            Ok(cropped) => gathered.cases.push(cropped),
            Err(fault) => gathered.failed.push((case.id.to_string(), fault)),
        }
    }
    gathered
}

async fn cut(fetch: &Fetch, decode: &Decode, crop: &Crop, listed: Listed) -> Result<Cropped, Fault> {
    let fetched = fetch.run(listed).await?;
    let decoded = decode.run(fetched).await?;
    crop.run(decoded).await
}
