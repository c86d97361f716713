//! Looks at the headers of a case's image, for what is written beside it: never at its pixels.

use dicom_dictionary_std::{tags, uids};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use schemas::payload::Image;
use schemas::{Fault, SourceSeries};

use crate::dicom::Head;
use crate::dicom::data_set::DataSet;
use crate::dicom::object::{MAGIC, PREAMBLE};
use crate::dicom::source::source_series;
use crate::dicom::stack::StackConf;
use crate::objects::look_as_far;
use crate::stage::blocking;
use crate::store::{Place, StoreError, Stores};

/// Bytes with which an object is looked at: most headers of slices are smaller.
const BEGINNING: u64 = 32 << 10;

/// Objects of a case that are looked at, at once.
const AT_ONCE: usize = 8;

/// Most objects of an image: several thousand slices, and what else lies in their folder.
const OBJECTS_MOST: usize = 10_000;

/// Returns the series that an image is, and the bytes that were read to know it; `None` for an image that is no DICOM.
///
/// # Errors
/// The store's, damage, objects of which some are no DICOM, and what [`source_series`] refuses.
pub(super) async fn source(
    stores: &Stores,
    image: &Image,
    stack: StackConf,
) -> Result<(Option<SourceSeries>, u64), Fault> {
    let (places, is_folder) = places(stores, image).await?;
    if places.len() > OBJECTS_MOST {
        let message = format!(
            "expected a series of at most {OBJECTS_MOST} objects, found {}",
            places.len()
        );
        return Err(Fault::unsuitable("too_many_objects", message));
    }
    let found: Vec<(Option<DataSet>, u64)> = stream::iter(places)
        .map(|place| async move { header(&place).await })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let read = found.iter().map(|(_, bytes)| bytes).sum();
    let objects = found.len();
    let headers: Vec<DataSet> = found.into_iter().filter_map(|(header, _)| header).collect();
    if headers.is_empty() {
        return Ok((None, read));
    }
    // a folder may hold a viewer and its notes; what the manifest names is to be what it says
    if !is_folder && headers.len() < objects {
        let message = format!(
            "expected DICOM objects of one series, found {} of {objects} that are none",
            objects - headers.len()
        );
        return Err(Fault::unreadable("not_dicom", message));
    }
    let series = blocking(move || source_series(&headers, &stack)).await?;
    Ok((Some(series), read))
}

async fn places(stores: &Stores, image: &Image) -> Result<(Vec<Place>, bool), Fault> {
    match image {
        Image::Objects(urls) => {
            let places = urls
                .iter()
                .map(|url| stores.place(url).map_err(StoreError::into_fault));
            Ok((places.collect::<Result<_, _>>()?, false))
        }
        Image::Folder(url) => {
            let folder = stores.place(url).map_err(StoreError::into_fault)?;
            let objects = folder.list().await.map_err(StoreError::into_fault)?;
            if objects.is_empty() {
                let message = "expected a series' objects below the prefix, found none";
                return Err(Fault::missing("object_not_found", message));
            }
            let place = |object: object_store::ObjectMeta| Place {
                path: object.location,
                ..folder.clone()
            };
            Ok((objects.into_iter().map(place).collect(), true))
        }
    }
}

/// Returns the header of an object, `None` for what is no DICOM image or the table of contents of a disc, and the bytes
/// read.
async fn header(place: &Place) -> Result<(Option<DataSet>, u64), Fault> {
    let mut far = BEGINNING;
    let mut read = 0;
    loop {
        let file = look_as_far(place, u64::MAX, far)
            .await
            .map_err(StoreError::into_fault)?;
        read += file.head.len() as u64;
        if file.head.get(PREAMBLE - MAGIC.len()..PREAMBLE) != Some(MAGIC) {
            if is_bare(&file.head) {
                let message = "expected an image with the preamble of a DICOM file, found a data set without: save it as a file \
                               of part 10";
                return Err(Fault::unreadable("not_dicom", message));
            }
            return Ok((None, read));
        }
        let is_all = file.head.len() as u64 >= file.size;
        let (beginning, size) = (file.head, file.size);
        let head = blocking(move || Head::read(&beginning, size)).await?;
        if head.is_whole {
            let class = head.header.text(tags::SOP_CLASS_UID);
            let is_contents = class.as_deref() == Some(uids::MEDIA_STORAGE_DIRECTORY_STORAGE);
            return Ok(((!is_contents).then_some(head.header), read));
        }
        far = Head::farther(far, is_all)?;
    }
}

/// Whether bytes begin as a DICOM data set does, or its meta information, that nobody has made a file of.
fn is_bare(head: &[u8]) -> bool {
    let Some([group, 0, element, 0]) = head.first_chunk() else {
        return false;
    };
    [2, 8].contains(group) && *element <= 0x18
}
