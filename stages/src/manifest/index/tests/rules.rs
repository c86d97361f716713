//! Which series is chosen by its attributes, and what becomes of one that is not sound.

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::super::*;
use super::dumps::Dump;
use super::t2;
use crate::dicom::testing::{Made, Slices};

/// Changes one slice, or all, of a sound series.
fn changed(all: bool, change: impl Fn(&mut Made)) -> Vec<Made> {
    let (_, mut mr, _) = t2("p", "1.2.3");
    let count = if all { mr.len() } else { 1 };
    mr.iter_mut().take(count).for_each(change);
    mr
}

#[tokio::test]
async fn rules_on_attributes_choose_the_series() {
    let localizer = Slices {
        count: 3,
        ..Slices::sagittal("p", "1.2.3", 3)
    };
    let coronal = Slices {
        directions: [1.0, 0.0, 0.0, 0.0, 0.0, -1.0],
        step: [0.0, 4.0, 0.0],
        ..Slices::sagittal("p", "1.2.3", 3)
    };
    let turned = |degrees: f64| {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        Slices {
            directions: [-sine, cosine, 0.0, 0.0, 0.0, -1.0],
            step: [-4.0 * cosine, -4.0 * sine, 0.0],
            ..Slices::sagittal("p", "1.2.3", 3)
        }
    };
    let small = Slices {
        pixel_mm: 10.0,
        ..Slices::sagittal("p", "1.2.3", 3)
    };
    let t1 = |slice: &mut Made| {
        slice
            .reals(tags::ECHO_TIME, &[11.0])
            .reals(tags::REPETITION_TIME, &[560.0]);
    };
    let only_t2 = SeriesConf {
        weighting: WantedWeighting::T2,
        ..SeriesConf::default()
    };
    let any = SeriesConf::default();
    let table: [(&str, Vec<Made>, &SeriesConf, &str); 13] = [
        ("sound", changed(false, |_| {}), &any, "used image"),
        ("few", localizer.mr(), &any, "not_used few_slices"),
        ("coronal", coronal.mr(), &any, "not_used orientation"),
        ("turned", turned(20.0).mr(), &any, "used image"),
        ("oblique", turned(40.0).mr(), &any, "not_used orientation"),
        ("small", small.mr(), &any, "not_used field_of_view"),
        (
            "thick",
            changed(true, |slice| {
                slice.reals(tags::SLICE_THICKNESS, &[9.0]);
            }),
            &any,
            "not_used thickness",
        ),
        (
            "without thickness",
            changed(true, |slice| {
                slice.without(tags::SLICE_THICKNESS);
            }),
            &any,
            "used image",
        ),
        ("T1 is a weighting too", changed(true, t1), &any, "used image"),
        (
            "T1 when T2 is asked for",
            changed(true, t1),
            &only_t2,
            "not_used weighting",
        ),
        (
            "gradient echoes tell no weighting",
            changed(true, |slice| {
                slice.text(tags::SCANNING_SEQUENCE, VR::CS, "GR");
            }),
            &only_t2,
            "not_used weighting",
        ),
        (
            "T2 when T2 is asked for",
            changed(false, |_| {}),
            &only_t2,
            "used image",
        ),
        (
            "CT",
            Slices::sagittal("p", "1.2.3", 3).ct(),
            &any,
            "not_used modality",
        ),
    ];
    for (name, objects, conf, expected) in table {
        let mut dump = Dump {
            series: conf.clone(),
            ..Dump::default()
        };
        let (_, _, seg) = t2("p", "1.2.3");
        dump.series("series", &objects).put("seg", seg.file());
        let found = dump.index().await;
        assert_eq!(dump.fate(&found, "series/0"), expected, "{name}");
        assert_eq!(
            found.rows.len(),
            usize::from(expected.starts_with("used")),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_series_that_is_not_sound_leaves_its_mask() {
    let (_, mr, seg) = t2("p", "1.2.3");
    let doubled = [mr.clone(), vec![mr[4].clone()]].concat();
    let gap: Vec<Made> = mr
        .iter()
        .enumerate()
        .filter(|(slice, _)| *slice != 4)
        .map(|(_, made)| made.clone())
        .collect();
    let bent = changed(false, |slice| {
        slice.reals(tags::PIXEL_SPACING, &[24.0, 25.0]);
    });
    for (objects, reason) in [
        (doubled, "duplicate_slices"),
        (gap, "missing_slices"),
        (bent, "mixed_planes"),
    ] {
        let mut dump = Dump::default();
        dump.series("series", &objects).put("seg", seg.file());
        let found = dump.index().await;
        assert_eq!(dump.fate(&found, "series/1"), format!("not_used {reason}"));
        assert_eq!(found.rows[0].image, None, "{reason}");
        assert_eq!(found.rows[0].mask.as_deref(), Some("memory:///dump/seg"));
        assert_eq!(dump.row(&found, "series/1").case_id, found.rows[0].case_id);
    }
    // the last slice, so that no gap tells
    let mut dump = Dump::default();
    let cut = mr[8].file();
    dump.series("series", &mr[..8])
        .put("cut", cut.slice(..cut.len() - 1));
    let found = dump.put("seg", seg.file()).index().await;
    assert_eq!(dump.fate(&found, "series/1"), "not_used truncated_slices");
    // with a whole copy nothing is lost
    let found = dump.put("whole", cut).index().await;
    assert_eq!(dump.fate(&found, "series/1"), "used image");
}
