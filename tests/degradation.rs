//! The standard degradation lands where real thick-slice labels do.

use models::degrade::{agreement, degrade};
use models::seed::derive;

use crate::support::shared;

/// Masks from CT, as `derived/manifest.csv` lists them.
fn is_ct(name: &str) -> bool {
    ["verse", "totalseg-s", "totalseg-e"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[test]
fn real_ct_masks_degrade_as_real_mri_labels_look() {
    let Some(shared) = shared() else { return };
    let mut sums = [0.0; 3];
    let mut count = 0.0;
    let folder = shared.join("data/derived");
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        if !is_ct(&name) || !name.ends_with(".nii.gz") {
            continue;
        }
        let bytes = std::fs::read(&path).expect("file");
        let mask = stages::decode::label_map(&bytes, None, 1 << 30).expect("mask");
        let whole = mask.data.mapv(|label| u8::from(label != 0));
        for seed in 0..4 {
            let input = degrade(whole.view(), &mask.affine, derive(seed, &name));
            let found = agreement(input.view(), whole.view()).expect("not empty");
            for (sum, value) in sums
                .iter_mut()
                .zip([found.dsc, found.precision, found.volume_ratio])
            {
                *sum += value;
            }
            count += 1.0;
        }
    }
    let [dsc, precision, volume] = sums.map(|sum| sum / count);
    println!("{count} degradations: mean DSC {dsc:.3}, precision {precision:.3}, volume ratio {volume:.3}");
    assert!(count >= 100.0);
    assert!((0.70..=0.82).contains(&dsc), "DSC {dsc}");
    assert!(precision > 0.95, "precision {precision}");
    assert!((0.5..=0.8).contains(&volume), "volume ratio {volume}");
}
