use schemas::{CaseId, Level, ObjectUrl, Origin};

use super::*;
use crate::decode::testing::{Sample, gzip};
use crate::dicom::sample::{Series, oblique};

async fn weigh(files: &[(&str, Vec<u8>)], mask: &str, scheme: LabelScheme) -> Weighed {
    let stores = Arc::new(Stores::default());
    for (name, bytes) in files {
        let place = stores
            .place(&ObjectUrl::new(format!("memory:///{name}")))
            .expect("place");
        place.put(bytes.clone().into()).await.expect("put");
    }
    let stage = Weigh {
        stores,
        conf: WeighConf::default(),
    };
    let listed = Listed {
        origin: Origin {
            id: CaseId::of_row(1),
            person: "p".to_owned(),
            seed: 0,
            bytes_read: 0,
            source: None,
        },
        mask: Named {
            url: ObjectUrl::new(format!("memory:///{mask}")),
            scheme,
        },
        reference: None,
        image: None,
    };
    stage.run(listed).await.expect("weighed")
}

#[tokio::test]
async fn a_mask_weighs_its_bytes_and_its_labels() {
    let file = Sample::new(1).file();
    let packed = gzip(&file);
    // 24 voxels: as labels two bytes each
    let l1 = || LabelScheme::Binary(Level::L1);
    let plain = weigh(&[("m.nii", file.clone())], "m.nii", l1()).await;
    assert_eq!(plain.bytes, file.len() as u64 + 48);
    let found = weigh(&[("m.nii.gz", packed.clone())], "m.nii.gz", l1()).await;
    assert_eq!(found.bytes, packed.len() as u64 + 48);
}

#[tokio::test]
async fn masks_of_one_class_are_unpacked_one_at_a_time() {
    let file = Sample::new(1).file();
    let files =
        ["s/vertebrae_L1.nii", "s/vertebrae_L2.nii", "s/vertebrae_L3.nii"].map(|name| (name, file.clone()));
    let found = weigh(&files, "s", LabelScheme::Classes).await;
    assert_eq!(found.bytes, 3 * file.len() as u64 + 2 * 48);
}

#[tokio::test]
async fn a_header_that_promises_more_than_there_can_be_is_not_believed() {
    let mut sample = Sample::new(1);
    sample.dim = vec![3, 30000, 30000, 30000];
    let packed = gzip(&sample.file());
    let length = packed.len() as u64;
    let found = weigh(
        &[("m.nii.gz", packed)],
        "m.nii.gz",
        LabelScheme::Binary(Level::L1),
    )
    .await;
    assert!(found.bytes < length * 4000, "{} bytes for {length}", found.bytes);
}

#[tokio::test]
async fn what_is_no_volume_weighs_what_it_has() {
    let found = weigh(
        &[("m.nii", vec![1; 5000])],
        "m.nii",
        LabelScheme::Binary(Level::L1),
    )
    .await;
    assert_eq!(found.bytes, 5000);
}

/// Weighs a case with an image beside its mask.
async fn weigh_image(files: &[(&str, Vec<u8>)], image: Image, max_bytes: u64) -> Result<Weighed, Fault> {
    let stores = Arc::new(Stores::default());
    let mask = ("m.nii", Sample::new(1).file());
    for (name, bytes) in files.iter().chain([&mask]) {
        let place = stores.place(&url(name)).expect("place");
        place.put(bytes.clone().into()).await.expect("put");
    }
    let stage = Weigh {
        stores,
        conf: WeighConf {
            max_bytes,
            images: true,
            ..WeighConf::default()
        },
    };
    let listed = Listed {
        origin: Origin {
            id: CaseId::of_row(1),
            person: "p".to_owned(),
            seed: 0,
            bytes_read: 0,
            source: None,
        },
        mask: Named {
            url: url("m.nii"),
            scheme: LabelScheme::Binary(Level::L1),
        },
        reference: None,
        image: Some(image),
    };
    stage.run(listed).await
}

fn url(name: &str) -> ObjectUrl {
    ObjectUrl::new(format!("memory:///{name}"))
}

fn slices() -> Series {
    let first = oblique([20.0, -40.0, 60.0]);
    let step = first.normal().map(|part| part * 4.4);
    Series::new(first, step, 3, [300, 200])
}

fn folder(files: Vec<Vec<u8>>) -> Vec<(&'static str, Vec<u8>)> {
    ["mr/1.dcm", "mr/2.dcm", "mr/3.dcm"]
        .into_iter()
        .zip(files)
        .collect()
}

#[tokio::test]
async fn of_a_dicom_image_only_headers_are_read() {
    let mut files = folder(slices().files());
    let objects = ["mr/3.dcm", "mr/1.dcm", "mr/2.dcm"].map(url).to_vec();
    let named = weigh_image(&files, Image::Objects(objects), 1 << 30)
        .await
        .expect("weighed");
    files.push(("mr/README.TXT", b"Images of DOE^JANE".to_vec()));
    let found = weigh_image(&files, Image::Folder(url("mr")), 1 << 30)
        .await
        .expect("weighed");
    let source = found.origin.source.expect("a series");
    assert!(
        Some(&source) == named.origin.source.as_ref(),
        "what else lies in a folder is left out"
    );
    assert_eq!(source.grid.shape, [200, 300, 3]);
    assert_eq!(named.origin.bytes_read, 3 * (32 << 10), "of 120 kB each");
    assert_eq!(found.bytes, 200 * 300 * 3 * 4, "more than the mask takes");
}

#[tokio::test]
async fn a_header_longer_than_the_beginning_is_read_on() {
    let series = slices();
    let long = |object: &mut crate::dicom::elements::Elements| {
        object.put(dicom_core::Tag(0x0009, 0x0010), dicom_core::VR::LO, "SEEDED");
        object.put(
            dicom_core::Tag(0x0009, 0x1001),
            dicom_core::VR::OB,
            vec![1_u8; 300_000],
        );
    };
    let files = folder((0..3).map(|slice| series.file(slice, long)).collect());
    let found = weigh_image(&files, Image::Folder(url("mr")), 1 << 30)
        .await
        .expect("weighed");
    // 32 and 128 KiB of each, then all there is
    let sizes: usize = files.iter().map(|(_, bytes)| bytes.len() + (160 << 10)).sum();
    assert_eq!(found.origin.bytes_read, sizes as u64);
    assert!(found.origin.source.is_some());
    // cut in the long element
    let cut = files
        .into_iter()
        .map(|(name, bytes)| (name, bytes[..200_000].to_vec()))
        .collect::<Vec<_>>();
    let fault = weigh_image(&cut, Image::Folder(url("mr")), 1 << 30)
        .await
        .expect_err("cut");
    assert_eq!(
        (fault.reason, fault.message.starts_with("image: ")),
        ("truncated", true)
    );
}

#[tokio::test]
async fn an_image_that_is_no_dicom_costs_nothing_and_a_wrong_one_its_case() {
    let nifti = weigh_image(&[], Image::Objects(vec![url("m.nii")]), 1 << 30)
        .await
        .expect("NIfTI");
    assert!(nifti.origin.source.is_none());
    let mut files = folder(slices().files());
    files.push(("bare.dcm", files[0].1[132..].to_vec()));
    let reason = async |image: Image, max_bytes: u64| {
        weigh_image(&files, image, max_bytes)
            .await
            .expect_err("refused")
            .reason
    };
    let objects = |names: &[&str]| Image::Objects(names.iter().map(|name| url(name)).collect());
    assert_eq!(
        reason(objects(&["mr/1.dcm", "m.nii"]), 1 << 30).await,
        "not_dicom"
    );
    assert_eq!(reason(objects(&["bare.dcm"]), 1 << 30).await, "not_dicom");
    assert_eq!(reason(objects(&["mr/1.dcm"]), 1 << 30).await, "one_slice");
    assert_eq!(reason(objects(&["mr/9.dcm"]), 1 << 30).await, "object_not_found");
    assert_eq!(
        reason(Image::Folder(url("none")), 1 << 30).await,
        "object_not_found"
    );
    assert_eq!(reason(Image::Folder(url("mr")), 100_000).await, "too_large");
    let mut several = files.clone();
    let mut other = slices();
    other.series = 1;
    several[1].1 = other.files().remove(1);
    let fault = weigh_image(&several, Image::Folder(url("mr")), 1 << 30)
        .await
        .expect_err("two series");
    assert_eq!(fault.reason, "several_series");
}
