//! NIfTI files that are harmed anywhere: each becomes a volume within its limit or a fault, and none holds more memory
//! than its beginning said.

use proptest::prelude::*;
use schemas::FaultKind;

use super::testing::inspect;
use super::testing::{Sample, gzip};
use super::{DecodeConf, bytes_to_decode, label_map, nifti};
use crate::fuzz::{NAME, drawn, harmed, harms};

/// Limit of the volumes: above all that the samples need, below most of what a harmed header promises.
const MAX: u64 = 4 << 10;

/// Draws sound files of any version, byte order, type and packing, with a name where a header has text.
fn sample() -> impl Strategy<Value = Sample> {
    let datatype = prop::sample::select(vec![2_i16, 256, 512, 4, 768, 8, 1280, 1024, 16, 64]);
    let dim = prop_oneof![
        Just(vec![3, 2, 3, 4]),
        Just(vec![4, 2, 3, 4, 1]),
        prop::collection::vec(prop_oneof![1_i64..40, any::<i16>().prop_map(i64::from)], 0..8),
        prop::collection::vec(any::<i64>(), 0..8),
    ];
    let scaling = prop_oneof![Just((1.0, 0.0)), Just((2.0, 0.0)), any::<(f64, f64)>()];
    let offset =
        prop_oneof![3 => Just(None), 1 => any::<f64>().prop_map(Some), 1 => (0.0..4096.0).prop_map(Some)];
    let forms = (0..3_i16, 0..3_i16, any::<[f64; 3]>());
    (1..=2_u8, any::<bool>(), datatype, dim, scaling, offset, forms).prop_map(
        |(version, big_endian, datatype, dim, scaling, offset, (qform_code, sform_code, quatern))| {
            let mut sample = Sample::new(version);
            sample.offset = offset.unwrap_or(sample.offset);
            Sample {
                big_endian,
                datatype,
                dim,
                scaling,
                qform_code,
                sform_code,
                quatern: quatern.map(|number| number % 1.0),
                voxels: vec![1; 24 * 8],
                ..sample
            }
        },
    )
}

/// Writes a name into every text that a header has.
fn named(mut file: Vec<u8>, version: u8) -> Vec<u8> {
    // NIfTI-1: db_name, descrip, aux_file, intent_name; NIfTI-2: descrip, aux_file, intent_name
    let texts: &[usize] = if version == 1 {
        &[14, 148, 228, 328]
    } else {
        &[240, 320, 508]
    };
    for at in texts {
        file[*at..at + NAME.len()].copy_from_slice(NAME.as_bytes());
    }
    file
}

/// Decodes in every way there is, and checks what holds of any bytes.
fn decoded(bytes: &[u8]) {
    let conf = DecodeConf { max_bytes: MAX };
    let seen = inspect(bytes, None, None, &conf);
    let map = label_map(bytes, None, MAX);
    let fault = seen.as_ref().err().into_iter().chain(map.as_ref().err());
    for fault in fault {
        assert!(
            !matches!(fault.kind, FaultKind::Bug | FaultKind::Unavailable),
            "{fault}"
        );
        assert!(!fault.message.contains("JANE"), "{fault}");
    }
    if let Ok(seen) = seen {
        assert!(!seen.to_string().contains("JANE"));
    }
    let Ok(map) = map else { return };
    let header = nifti::Header::read(bytes).expect("a map has a header");
    let held = header.label_map_bytes();
    assert!(2 * map.data.len() as u64 <= held && held <= MAX);
    // whatever part of the object was looked at
    for beginning in [bytes.len(), bytes.len() * 2 / 3, bytes.len() / 3, 600, 20] {
        let head = &bytes[..beginning.min(bytes.len())];
        let weighed = bytes_to_decode(head, head, bytes.len() as u64);
        assert!(
            weighed >= held,
            "{weighed} weighed by {} bytes, {held} held",
            head.len()
        );
    }
}

proptest! {
    #![proptest_config(drawn(1500))]

    #[test]
    fn a_harmed_file_is_a_volume_within_its_limit_or_a_fault(sample in sample(), harms in harms()) {
        let file = named(sample.file(), sample.version);
        decoded(&file);
        let harmed = harmed(&file, &harms);
        decoded(&harmed);
        decoded(&gzip(&harmed));
    }

    #[test]
    fn a_harmed_gzip_is_a_volume_within_its_limit_or_a_fault(
        sample in sample(),
        harms in harms(),
        cut in any::<prop::sample::Index>(),
        empty in 0..40_usize,
    ) {
        let file = named(sample.file(), sample.version);
        decoded(&harmed(&gzip(&file), &harms));
        let (front, back) = file.split_at(cut.index(file.len()));
        let members = [gzip(b"").repeat(empty), gzip(front), gzip(back)].concat();
        decoded(&members);
        decoded(&harmed(&members, &harms));
        decoded(&members[..cut.index(members.len())]);
    }

    #[test]
    fn a_harmed_pair_is_a_volume_or_a_fault(sample in sample(), harms in harms()) {
        let sample = Sample { single_file: false, offset: 0.0, ..sample };
        let header = harmed(&sample.header(), &harms);
        let image = harmed(&sample.voxels, &harms);
        for image in [&image, &gzip(&image), &header] {
            if let Ok(map) = label_map(&header, Some(image), MAX) {
                let weighed = bytes_to_decode(&header, image, image.len() as u64);
                prop_assert!(2 * map.data.len() as u64 <= weighed.min(MAX));
            }
        }
    }
}
