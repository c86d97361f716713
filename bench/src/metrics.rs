//! How alike two masks are: a degraded vertebra and itself, on 128³ voxels of 1 mm.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use models::degrade::degrade;
use models::phantom::vertebra;
use ndarray::Array3;
use schemas::{Affine, Level};
use stages::metrics::{METRICS, Pair, scores};

use crate::measure::Sheet;

/// Voxels along each edge.
const SIDE: usize = 128;

/// What is measured alone, as the peers do it.
const KINDS: [(&str, &[&str]); 3] = [
    (
        "overlap",
        &["dsc", "vs", "sen", "spec", "ppv", "npv", "nmi", "ck", "jaccard"],
    ),
    ("assd", &["assd_mm"]),
    ("hd95", &["hd95_mm"]),
];

const PREDICTION: &str = "prediction.u8";
const REFERENCE: &str = "reference.u8";

/// Writes both masks, voxel by voxel in C order.
///
/// # Errors
/// The folder takes no file.
pub fn make(folder: &Path, seed: u64) -> Result<()> {
    let reference = vertebra(Level::L3, seed);
    let grid = Affine::axis_aligned([1.0; 3], [0.0; 3]);
    let prediction = degrade(reference.view(), &grid, seed);
    for (name, mask) in [(PREDICTION, prediction), (REFERENCE, reference)] {
        fs::write(folder.join(name), mask.iter().copied().collect::<Vec<u8>>())?;
    }
    Ok(())
}

/// Measures them: by kind, as the peers do, and all together, as a run does.
///
/// # Errors
/// A mask that is not there.
pub fn measure(folder: &Path, sheet: &mut Sheet) -> Result<()> {
    let prediction = read(&folder.join(PREDICTION))?;
    let reference = read(&folder.join(REFERENCE))?;
    for (name, metrics) in KINDS {
        let found = sheet.measure(name, || {
            let pair = Pair::new(prediction.view(), reference.view(), [1.0; 3]);
            let of_kind = METRICS
                .into_iter()
                .filter(|metric| metrics.contains(&metric.name()));
            Ok(of_kind
                .map(|metric| (metric.name(), metric.measure(&pair)))
                .collect::<Vec<_>>())
        })?;
        for (metric, value) in found {
            sheet.number(metric, value.unwrap_or(f64::NAN));
        }
    }
    let all = sheet.measure("all_metrics", || {
        Ok(scores(prediction.view(), reference.view(), [1.0; 3]))
    })?;
    for (metric, value) in METRICS.iter().zip(all) {
        sheet.number(metric.name(), value.unwrap_or(f64::NAN));
    }
    Ok(())
}

fn read(file: &Path) -> Result<Array3<u8>> {
    let voxels = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Array3::from_shape_vec((SIDE, SIDE, SIDE), voxels)?)
}
