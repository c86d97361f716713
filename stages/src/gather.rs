//! Brings the cases of a manifest into their cubes outside the flow: for verbs that need every vertebra at once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use schemas::{Cropped, Fault, Listed, Outcome};

use crate::crop::{Crop, CropConf};
use crate::decode::{Decode, DecodeConf};
use crate::fetch::Fetch;
use crate::stage::Stage as _;
use crate::store::Stores;
use crate::weigh::{Weigh, WeighConf};

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
    let cut = Cut::new(stores, crop, max_bytes);
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
        let cut = AssertUnwindSafe(cut.run(case.body)).catch_unwind().await;
        match cut.unwrap_or_else(|_| Err(Fault::bug("panic", "panicked on this case"))) {
            Ok(cropped) => gathered.cases.push(cropped),
            Err(fault) => gathered.failed.push((case.id.to_string(), fault)),
        }
    }
    gathered
}

/// The stages from a listed case to its cubes, one after another.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Looks at the objects.
    pub weigh: Weigh,
    /// Reads them.
    pub fetch: Fetch,
    /// Makes volumes of them.
    pub decode: Decode,
    /// Cuts the vertebrae out.
    pub crop: Crop,
}

impl Cut {
    /// Sets the stages up; `max_bytes` limits one object and one decoded volume.
    pub fn new(stores: &Arc<Stores>, crop: &CropConf, max_bytes: u64) -> Self {
        Self {
            weigh: Weigh {
                stores: Arc::clone(stores),
                conf: WeighConf {
                    max_bytes,
                    images: false,
                    ..WeighConf::default()
                },
            },
            fetch: Fetch {
                stores: Arc::clone(stores),
            },
            decode: Decode {
                conf: DecodeConf { max_bytes },
            },
            crop: Crop { conf: crop.clone() },
        }
    }

    /// Cuts the vertebrae of one case.
    ///
    /// # Errors
    /// The first stage's fault.
    pub async fn run(&self, listed: Listed) -> Result<Cropped, Fault> {
        let weighed = self.weigh.run(listed).await?;
        let fetched = self.fetch.run(weighed).await?;
        let decoded = self.decode.run(fetched).await?;
        self.crop.run(decoded).await
    }
}
