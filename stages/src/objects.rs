//! Which objects a mask consists of, and reading them in two steps: the beginning, then the rest.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta};
use schemas::payload::{Named, WeighedFile};
use schemas::{Fault, LabelScheme, Level, ObjectKey};

use crate::store::{Place, StoreError, Stores};

/// Bytes with which an object is looked at. Most masks are smaller and come whole with this one request.
pub const HEAD_BYTES: u64 = 256 << 10;

/// One object of a mask: a file, or header and image of a pair.
#[derive(Debug, Clone)]
pub struct Located {
    /// Level that the object's name states; only for [`LabelScheme::Classes`].
    pub level: Option<Level>,
    /// A single file, or the header of a pair.
    pub file: Place,
    /// The other half of a `.hdr`/`.img` pair.
    pub pair: Option<Place>,
}

/// Returns the objects that a mask consists of, in the order in which they are read.
///
/// # Errors
/// A URL of no store, a folder without masks of one class or with two of one level.
pub async fn locate(stores: &Stores, named: &Named) -> Result<Vec<Located>, Fault> {
    let place = stores.place(&named.url).map_err(StoreError::into_fault)?;
    if named.scheme != LabelScheme::Classes {
        return Ok(vec![Located::of(&place, None)?]);
    }
    let objects = class_objects(&place).await?.into_iter();
    let places = objects.map(|(level, object)| (level, at(&place, object.location)));
    places
        .map(|(level, place)| Located::of(&place, Some(level)))
        .collect()
}

/// Returns what the store says of the objects of a mask, in the order in which they would be read: enough to tell,
/// without reading it, whether a mask has changed.
///
/// # Errors
/// The fault that a case with this mask would become.
pub async fn stamps(stores: &Stores, named: &Named) -> Result<Vec<ObjectMeta>, Fault> {
    let place = stores.place(&named.url).map_err(StoreError::into_fault)?;
    if named.scheme == LabelScheme::Classes {
        let objects = class_objects(&place).await?;
        return Ok(objects.into_iter().map(|(_, object)| object).collect());
    }
    let Located { file, pair, .. } = Located::of(&place, None)?;
    let mut stamps = Vec::new();
    for part in std::iter::once(file).chain(pair) {
        stamps.push(part.head().await.map_err(StoreError::into_fault)?);
    }
    Ok(stamps)
}

/// Looks at an object of at most `limit` bytes: its size and its beginning.
///
/// # Errors
/// The store's, or the object is larger.
pub async fn look(place: &Place, limit: u64) -> Result<WeighedFile, StoreError> {
    look_as_far(place, limit, HEAD_BYTES).await
}

/// The same, with a beginning of that many bytes.
///
/// # Errors
/// The store's, or the object is larger.
pub async fn look_as_far(place: &Place, limit: u64, bytes: u64) -> Result<WeighedFile, StoreError> {
    let found = begin(place, bytes).await?;
    let (size, etag) = (found.meta.size, found.meta.e_tag.clone());
    if size > limit {
        return Err(StoreError::TooLarge { limit, found: size });
    }
    Ok(WeighedFile {
        key: ObjectKey::new(place.path.as_ref()),
        size,
        head: gather(found, Vec::new(), most(bytes)).await?.into(),
        etag,
    })
}

/// Reads the first `bytes` of an object, or all of one that is smaller.
///
/// # Errors
/// The store's.
pub async fn beginning(place: &Place, bytes: u64) -> Result<Bytes, StoreError> {
    let found = begin(place, bytes).await?;
    Ok(gather(found, Vec::new(), most(bytes)).await?.into())
}

async fn begin(place: &Place, bytes: u64) -> Result<GetResult, StoreError> {
    let beginning = GetOptions {
        range: Some(GetRange::Bounded(0..bytes)),
        ..GetOptions::default()
    };
    match place.open_with(beginning).await {
        Ok(found) => Ok(found),
        Err(error) if is_final(&error) => Err(error.into()),
        // no range of an empty object, and none from some plain web servers: the whole is begun, and left
        Err(_) => place.open().await,
    }
}

fn most(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Reads what [`look`] has left.
///
/// # Errors
/// Memory for it is not to be had; the store's fault; fewer bytes than the store promised.
pub async fn read_rest(store: &Place, file: WeighedFile) -> Result<Bytes, Fault> {
    if file.head.len() as u64 >= file.size {
        return Ok(file.head);
    }
    let path = Path::parse(file.key.expose()).map_err(|error| fault(error.into()))?;
    let place = at(store, path);
    let size = usize::try_from(file.size).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| {
        Fault::exhausted(
            "out_of_memory",
            format!("expected memory for {size} bytes, got none"),
        )
    })?;
    let rest = GetOptions {
        range: Some(GetRange::Offset(file.head.len() as u64)),
        if_match: file.etag.clone(),
        ..GetOptions::default()
    };
    let found = match place.open_with(rest).await {
        Ok(found) => {
            bytes.extend_from_slice(&file.head);
            found
        }
        Err(error) if is_final(&error) => return Err(fault(error)),
        // another version by now, or a server that knows no ranges
        Err(_) => place.open().await.map_err(StoreError::into_fault)?,
    };
    let expected = found.meta.size;
    if expected > file.size {
        // another object by now, for which no memory was taken
        let message = format!(
            "expected the object of {} bytes that was looked at, found {expected}",
            file.size
        );
        return Err(Fault::unavailable("changed", message));
    }
    let bytes = gather(found, bytes, usize::MAX)
        .await
        .map_err(StoreError::into_fault)?;
    if bytes.len() as u64 != expected {
        let message = format!(
            "expected an object of {expected} bytes, found {} of them",
            bytes.len()
        );
        return Err(Fault::unavailable("cut_short", message));
    }
    Ok(bytes.into())
}

fn fault(error: object_store::Error) -> Fault {
    StoreError::from(error).into_fault()
}

/// Whether asking in another way cannot help.
fn is_final(error: &object_store::Error) -> bool {
    use object_store::Error::{InvalidPath, NotFound, PermissionDenied, Unauthenticated};
    matches!(
        error,
        NotFound { .. } | PermissionDenied { .. } | Unauthenticated { .. } | InvalidPath { .. }
    )
}

/// Appends what comes, until there are `most` bytes.
async fn gather(found: GetResult, mut bytes: Vec<u8>, most: usize) -> Result<Vec<u8>, StoreError> {
    if matches!(found.payload, GetResultPayload::File(..))
        && found.range.end - found.range.start <= most as u64
    {
        // in one read, not in the small pieces of a stream
        bytes.extend_from_slice(&found.bytes().await?);
        return Ok(bytes);
    }
    let mut stream = found.into_stream();
    while let Some(piece) = stream.try_next().await? {
        let room = most.saturating_sub(bytes.len()).min(piece.len());
        bytes.extend_from_slice(&piece[..room]);
        if bytes.len() >= most {
            break;
        }
    }
    Ok(bytes)
}

/// Returns the masks of one class below a folder (`vertebrae_L3.nii.gz`, in it or in its `segmentations`), by key.
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

fn at(place: &Place, path: Path) -> Place {
    Place {
        store: Arc::clone(&place.store),
        path,
    }
}

impl Located {
    /// Tells a NIfTI pair, by the name of either half, from a single file.
    ///
    /// # Errors
    /// A name beside which no store has another.
    pub fn of(place: &Place, level: Option<Level>) -> Result<Self, Fault> {
        let name = place.path.filename().unwrap_or_default();
        let Some((header, image)) = pair_names(name) else {
            return Ok(Self {
                level,
                file: place.clone(),
                pair: None,
            });
        };
        let folder = place.path.as_ref().strip_suffix(name).unwrap_or_default();
        // parsed, not joined: a name with '#' or '%' is in its stored form already
        let beside = |name: &str| -> Result<Place, Fault> {
            let path = Path::parse(format!("{folder}{name}")).map_err(|error| fault(error.into()))?;
            Ok(at(place, path))
        };
        Ok(Self {
            level,
            file: beside(&header)?,
            pair: Some(beside(&image)?),
        })
    }
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
fn class_below(folder: &Path, object: &Path) -> Option<Level> {
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

#[cfg(test)]
pub(crate) mod tests;
