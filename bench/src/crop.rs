//! From a label map in memory to the patches of all its levels.

use std::fs;
use std::path::Path;

use anyhow::Result;
use schemas::payload::{Labelled, Origin};
use schemas::{Decoded, LabelScheme};
use stages::crop::{CropConf, crop};
use stages::decode::{DecodeConf, label_map};

use crate::measure::Sheet;
use crate::scans::{self, Lie};

/// Writes both scans.
///
/// # Errors
/// The phantom's, or the folder takes no file.
pub fn make(folder: &Path, seed: u64) -> Result<()> {
    Lie::ALL
        .into_iter()
        .try_for_each(|lie| scans::write(folder, seed, lie))
}

/// Crops both.
///
/// # Errors
/// A scan that is not read, or without vertebrae.
pub fn measure(folder: &Path, sheet: &mut Sheet) -> Result<()> {
    let conf = CropConf::default();
    for lie in Lie::ALL {
        let bytes = fs::read(lie.file(folder))?;
        let scan = Decoded {
            origin: Origin {
                id: "bench".parse().map_err(anyhow::Error::msg)?,
                person: "phantom".to_owned(),
                seed: 0,
                bytes_read: 0,
                source: None,
            },
            mask: Labelled {
                scheme: LabelScheme::named("verse", &std::collections::BTreeMap::new())
                    .map_err(anyhow::Error::msg)?,
                map: label_map(&bytes, None, DecodeConf::default().max_bytes)?,
            },
            reference: None,
        };
        let cropped = sheet.measure(&format!("crop_{}", lie.as_str()), || Ok(crop(&scan, &conf)?))?;
        for vertebra in &cropped.vertebrae {
            let level = vertebra.level.as_str();
            sheet.mask(level, vertebra.input.mask.iter().copied())?;
            let rows = vertebra.input.affine.to_rows();
            for (axis, origin) in [rows[3], rows[7], rows[11]].into_iter().enumerate() {
                sheet.number(&format!("{level}_origin_{axis}"), origin);
            }
        }
    }
    Ok(())
}
