//! Fetches the bytes of a case's mask and reference.

use std::sync::Arc;

use object_store::ObjectMeta;
use schemas::payload::{FetchedMask, FetchedObject, Named};
use schemas::{Fault, Fetched, LabelScheme, Level, Listed, ObjectUrl};
use serde::{Deserialize, Serialize};

use crate::stage::Stage;
use crate::store::{Place, StoreError, Stores};

/// What fetching may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchConf {
    /// Most bytes of one object; follows `run.memory`.
    pub max_bytes: u64,
}

impl Default for FetchConf {
    fn default() -> Self {
        Self { max_bytes: 8 << 30 }
    }
}

/// The stage.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Every store of the run.
    pub stores: Arc<Stores>,
    /// Limits.
    pub conf: FetchConf,
}

impl Stage for Fetch {
    type In = Listed;
    type Out = Fetched;
    const NAME: &'static str = "fetch";

    async fn run(&self, listed: Listed) -> Result<Fetched, Fault> {
        let mask = self
            .mask(&listed.mask)
            .await
            .map_err(|fault| fault.about("mask"))?;
        let reference = match &listed.reference {
            Some(named) => Some(self.mask(named).await.map_err(|fault| fault.about("reference"))?),
            None => None,
        };
        let mut origin = listed.origin;
        origin.bytes_read = [Some(&mask), reference.as_ref()]
            .into_iter()
            .flatten()
            .map(bytes_of)
            .sum();
        Ok(Fetched {
            origin,
            mask,
            reference,
        })
    }
}

fn bytes_of(mask: &FetchedMask) -> u64 {
    let object =
        |object: &FetchedObject| object.bytes.len() + object.pair.as_ref().map_or(0, bytes::Bytes::len);
    mask.objects.iter().map(|found| object(found) as u64).sum()
}

impl Fetch {
    async fn mask(&self, named: &Named) -> Result<FetchedMask, Fault> {
        let place = self.stores.place(&named.url).map_err(StoreError::into_fault)?;
        let objects = match named.scheme {
            LabelScheme::Classes => self.classes(&place).await?,
            LabelScheme::Table { .. } | LabelScheme::Binary(_) => vec![self.object(&place, None).await?],
        };
        Ok(FetchedMask {
            scheme: named.scheme.clone(),
            objects,
        })
    }

    /// Returns what the store says of the objects of a mask, in the order in which they would be read: enough to
    /// tell, without reading it, whether a mask has changed.
    ///
    /// # Errors
    /// The fault that a case with this mask would become.
    pub async fn stamps(&self, named: &Named) -> Result<Vec<ObjectMeta>, Fault> {
        let place = self.stores.place(&named.url).map_err(StoreError::into_fault)?;
        if named.scheme == LabelScheme::Classes {
            let objects = class_objects(&place).await?;
            return Ok(objects.into_iter().map(|(_, object)| object).collect());
        }
        let parts = match pair_places(&place)? {
            Some((header, image)) => vec![header, image],
            None => vec![place],
        };
        let mut stamps = Vec::with_capacity(parts.len());
        for part in parts {
            stamps.push(part.head().await.map_err(StoreError::into_fault)?);
        }
        Ok(stamps)
    }

    /// A folder of one mask a class: `vertebrae_L3.nii.gz`, in it or in its `segmentations`.
    async fn classes(&self, folder: &Place) -> Result<Vec<FetchedObject>, Fault> {
        let mut objects: Vec<FetchedObject> = Vec::new();
        for (level, object) in class_objects(folder).await? {
            let place = Place {
                store: Arc::clone(&folder.store),
                path: object.location,
            };
            objects.push(self.object(&place, Some(level)).await?);
        }
        Ok(objects)
    }

    async fn object(&self, place: &Place, level: Option<Level>) -> Result<FetchedObject, Fault> {
        let read = async |place: &Place| {
            place
                .read(self.conf.max_bytes)
                .await
                .map_err(StoreError::into_fault)
        };
        let Some((header, image)) = pair_places(place)? else {
            return Ok(FetchedObject {
                level,
                bytes: read(place).await?,
                pair: None,
            });
        };
        let bytes = read(&header).await?;
        let pair = Some(read(&image).await?);
        Ok(FetchedObject { level, bytes, pair })
    }
}

/// Returns the masks of one class below a folder, by key.
async fn class_objects(folder: &Place) -> Result<Vec<(Level, ObjectMeta)>, Fault> {
    let listing = folder.list().await.map_err(StoreError::into_fault)?;
    let mut objects: Vec<(Level, ObjectMeta)> = Vec::new();
    for object in listing {
        let Some(level) = class_below(&folder.path, &object.location) else {
            continue;
        };
        // before anything is read: a folder of many persons would bring in all of them
        if objects.iter().any(|(found, _)| *found == level) {
            let message = format!("expected one mask of {level} below the prefix, found a second");
            return Err(Fault::unsuitable("repeated_level", message));
        }
        objects.push((level, object));
    }
    if objects.is_empty() {
        let message =
            "expected vertebrae_L1.nii.gz to vertebrae_L6.nii.gz below the prefix, found none of them";
        return Err(Fault::missing("no_class_masks", message));
    }
    Ok(objects)
}

/// Returns header and image of a NIfTI pair, from the place of either; `None` for a single file.
fn pair_places(place: &Place) -> Result<Option<(Place, Place)>, Fault> {
    let name = place.path.filename().unwrap_or_default();
    let Some((header, image)) = pair_names(name) else {
        return Ok(None);
    };
    let folder = place.path.as_ref().strip_suffix(name).unwrap_or_default();
    // parsed, not joined: a name with '#' or '%' is in its stored form already
    let beside = |name: &str| -> Result<Place, Fault> {
        let path = object_store::path::Path::parse(format!("{folder}{name}"))
            .map_err(|error| StoreError::from(object_store::Error::from(error)).into_fault())?;
        Ok(Place {
            store: Arc::clone(&place.store),
            path,
        })
    };
    Ok(Some((beside(&header)?, beside(&image)?)))
}

/// Names of header and image of a NIfTI pair, from either of them.
pub fn pair_names(name: &str) -> Option<(String, String)> {
    for (header, image) in [(".hdr", ".img"), (".hdr.gz", ".img.gz")] {
        if let Some(stem) = name.strip_suffix(header).or_else(|| name.strip_suffix(image)) {
            return Some((format!("{stem}{header}"), format!("{stem}{image}")));
        }
    }
    None
}

/// Level of a class's mask that lies in the folder itself or in its `segmentations`.
fn class_below(folder: &object_store::path::Path, object: &object_store::path::Path) -> Option<Level> {
    let below: Vec<_> = object.prefix_match(folder)?.collect();
    match below.as_slice() {
        [name] => class_level(name.as_ref()),
        [middle, name] if middle.as_ref() == "segmentations" => class_level(name.as_ref()),
        _ => None,
    }
}

fn class_level(name: &str) -> Option<Level> {
    let stem = name
        .strip_suffix(".nii.gz")
        .or_else(|| name.strip_suffix(".nii"))?;
    stem.strip_prefix("vertebrae_")?.parse().ok()
}

/// Reads one object and, for a pair, its other half: for looking at files outside the flow.
///
/// # Errors
/// The fault that a case with this object would become.
pub async fn fetch_object(
    stores: &Arc<Stores>,
    url: &ObjectUrl,
    conf: &FetchConf,
) -> Result<FetchedObject, Fault> {
    let place = stores.place(url).map_err(StoreError::into_fault)?;
    let fetch = Fetch {
        stores: Arc::clone(stores),
        conf: conf.clone(),
    };
    fetch.object(&place, None).await
}

#[cfg(test)]
mod tests;
