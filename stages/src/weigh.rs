//! Looks at a case's objects and says how much memory its volumes will need, before any of them is read.

use std::sync::Arc;

use schemas::payload::{Named, WeighedFile, WeighedMask, WeighedObject};
use schemas::{Fault, LabelScheme, Listed, Weighed};
use serde::{Deserialize, Serialize};

use crate::decode::bytes_to_decode;
use crate::objects::{Located, locate, look};
use crate::stage::Stage;
use crate::store::{StoreError, Stores};

/// What a case may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeighConf {
    /// Most bytes of one object; follows `run.memory`.
    pub max_bytes: u64,
}

impl Default for WeighConf {
    fn default() -> Self {
        Self { max_bytes: 8 << 30 }
    }
}

/// The stage.
#[derive(Debug, Clone)]
pub struct Weigh {
    /// Every store of the run.
    pub stores: Arc<Stores>,
    /// Limits.
    pub conf: WeighConf,
}

impl Stage for Weigh {
    type In = Listed;
    type Out = Weighed;
    const NAME: &'static str = "weigh";

    async fn run(&self, listed: Listed) -> Result<Weighed, Fault> {
        let mask = self
            .mask(listed.mask)
            .await
            .map_err(|fault| fault.about("mask"))?;
        let reference = match listed.reference {
            Some(named) => Some(self.mask(named).await.map_err(|fault| fault.about("reference"))?),
            None => None,
        };
        let bytes = most_bytes(&mask).saturating_add(reference.as_ref().map_or(0, most_bytes));
        Ok(Weighed {
            origin: listed.origin,
            mask,
            reference,
            bytes,
        })
    }
}

impl Weigh {
    async fn mask(&self, named: Named) -> Result<WeighedMask, Fault> {
        let mut objects = Vec::new();
        for Located { level, file, pair } in locate(&self.stores, &named).await? {
            let look = async |place| {
                look(place, self.conf.max_bytes)
                    .await
                    .map_err(StoreError::into_fault)
            };
            objects.push(WeighedObject {
                level,
                file: look(&file).await?,
                pair: match &pair {
                    Some(pair) => Some(look(pair).await?),
                    None => None,
                },
            });
        }
        Ok(WeighedMask { named, objects })
    }
}

/// Returns the most bytes that a mask holds at once: its objects as they lie in the store, and the largest of
/// them unpacked. Masks of one class are unpacked one after another and merged into one more.
fn most_bytes(mask: &WeighedMask) -> u64 {
    let size = |file: &WeighedFile| file.size;
    let stored = |object: &WeighedObject| size(&object.file) + object.pair.as_ref().map_or(0, size);
    let unpacked = |object: &WeighedObject| {
        let voxels = object.pair.as_ref().unwrap_or(&object.file);
        bytes_to_decode(&object.file.head, &voxels.head, voxels.size)
    };
    let all: u64 = mask.objects.iter().map(stored).fold(0, u64::saturating_add);
    let largest = mask.objects.iter().map(unpacked).max().unwrap_or(0);
    let merged = if mask.named.scheme == LabelScheme::Classes {
        largest
    } else {
        0
    };
    all.saturating_add(largest).saturating_add(merged)
}

#[cfg(test)]
mod tests;
