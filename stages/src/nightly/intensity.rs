//! How bright the image is under each vertebra, where the manifest names one image on the mask's own grid: by this a new
//! scanner shows, or one that was set otherwise.

use std::collections::BTreeMap;

use schemas::payload::{FetchedObject, Image, Labelled};
use schemas::rows::LineageRow;
use schemas::{Fault, Level};

use crate::decode::under_labels;
use crate::fetch::fetch_object;
use crate::store::Stores;

/// The image under one vertebra's label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intensity {
    /// Mean of its values.
    pub mean: f64,
    /// Their standard deviation.
    pub sd: f64,
}

impl Intensity {
    /// Writes the numbers into a row.
    pub fn put(&self, row: &mut LineageRow) {
        row.intensity_mean = Some(self.mean);
        row.intensity_sd = Some(self.sd);
    }
}

/// Reads a case's image, if it is one object of at most `max_bytes`; the slices of a series are not put together.
///
/// # Errors
/// The fault that a case with this object as its mask would become.
pub async fn fetch_image(
    stores: &Stores,
    image: Option<&Image>,
    max_bytes: u64,
) -> Result<Option<FetchedObject>, Fault> {
    let Some(Image::Objects(objects)) = image else {
        return Ok(None);
    };
    let [object] = objects.as_slice() else {
        return Ok(None);
    };
    let fetched = fetch_object(stores, object, max_bytes).await;
    fetched.map(Some).map_err(|fault| fault.about("image"))
}

/// Returns how bright the image is under each level of the mask that was drawn on it; nothing where it is no NIfTI, or on
/// another grid. `max_bytes` bounds what is unpacked, of which nothing is held.
///
/// # Errors
/// The image is damaged, or no image of numbers along three axes.
pub fn intensities(
    image: &FetchedObject,
    mask: &Labelled,
    max_bytes: u64,
) -> Result<BTreeMap<Level, Intensity>, Fault> {
    let table = mask.scheme.table();
    let labels = table.keys().copied();
    let moments = under_labels(&image.bytes, image.pair.as_deref(), &mask.map, labels, max_bytes)
        .map_err(|fault| fault.about("image"))?;
    let mut found = BTreeMap::new();
    for (label, moments) in moments.into_iter().flatten() {
        if let (Some(level), Some(mean), Some(sd)) = (table.get(&label), moments.mean(), moments.sd()) {
            found.insert(*level, Intensity { mean, sd });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use schemas::{Affine, ObjectUrl};

    use super::*;
    use crate::crop::testing::{labelled, painted};
    use crate::decode::nifti::write_mask;

    const MAX: u64 = 1 << 20;

    #[tokio::test]
    async fn an_image_on_the_masks_grid_tells_how_bright_each_level_is() {
        let affine = Affine::axis_aligned([1.0, 1.0, 2.0], [0.0; 3]);
        let mask = painted([6, 5, 4], affine, |[x, ..]| match x as u16 {
            1 => 20,
            3 | 4 => 22,
            5 => 7,
            _ => 0,
        });
        let image = mask.data.map(|label| label * 100);
        let stores = Stores::default();
        let url = ObjectUrl::new("memory:///image.nii.gz");
        let bytes = write_mask(image.view(), &affine).expect("written");
        let place = stores.place(&url).expect("place");
        place.put(bytes.into()).await.expect("put");

        let listed = Image::Objects(vec![url.clone()]);
        let fetched = fetch_image(&stores, Some(&listed), MAX).await.expect("fetched");
        let fetched = fetched.expect("one object");
        let found = intensities(&fetched, &labelled("verse", mask), MAX).expect("an image");
        let of = |mean: f64| Intensity { mean, sd: 0.0 };
        assert_eq!(
            found,
            BTreeMap::from([(Level::L1, of(2000.0)), (Level::L3, of(2200.0))])
        );

        let series = Image::Objects(vec![url.clone(), url]);
        assert!(
            fetch_image(&stores, Some(&series), MAX)
                .await
                .expect("passed over")
                .is_none()
        );
        assert!(fetch_image(&stores, None, MAX).await.expect("none").is_none());
    }
}
