//! Looks at a case's objects and says how much memory its volumes will need, before any of them is read.

mod image;

use std::sync::Arc;

use schemas::payload::{Image, Named, WeighedFile, WeighedMask, WeighedObject};
use schemas::{Fault, LabelScheme, Listed, SourceSeries, Weighed};
use serde::{Deserialize, Serialize};

use crate::decode::bytes_to_decode;
use crate::dicom::stack::StackConf;
use crate::objects::{Located, locate, look};
use crate::stage::Stage;
use crate::store::{StoreError, Stores};

/// What a case may cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeighConf {
    /// Most bytes of one object; follows `run.memory`.
    pub max_bytes: u64,
    /// Whether the headers of images are read: where something is written beside them.
    pub images: bool,
    /// What the slices of an image may be like; follows `dicom.stack`.
    pub stack: StackConf,
}

impl Default for WeighConf {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 30,
            images: false,
            stack: StackConf::default(),
        }
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
        let mut origin = listed.origin;
        if let Some(image) = listed.image.filter(|_| self.conf.images) {
            let (source, read) = self.source(&image).await.map_err(|fault| fault.about("image"))?;
            origin.source = source;
            origin.bytes_read += read;
        }
        let bytes = most_bytes(&mask).saturating_add(reference.as_ref().map_or(0, most_bytes));
        // what is written comes when what was read has gone
        let bytes = bytes.max(origin.bytes_to_paste());
        Ok(Weighed {
            origin,
            mask,
            reference,
            bytes,
        })
    }
}

impl Weigh {
    async fn source(&self, image: &Image) -> Result<(Option<Arc<SourceSeries>>, u64), Fault> {
        let (series, read) = image::source(&self.stores, image, self.conf.stack).await?;
        let needed = series.as_ref().map_or(0, SourceSeries::bytes_to_paste);
        if needed > self.conf.max_bytes {
            let message = format!(
                "expected an image whose segmentation takes at most {} bytes (run.memory), found one of {needed}",
                self.conf.max_bytes
            );
            return Err(Fault::unsuitable("too_large", message));
        }
        Ok((series.map(Arc::new), read))
    }

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
