//! From files to volumes: label maps in gzip NIfTI, and a series of DICOM slices.
//!
//! The files lie in the page cache, as the warm-up leaves them. The peer writes the ones that we do not write: labels in
//! 16 bits, and the slices.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use schemas::LabelMap;
use schemas::volume::Volume;
use stages::decode::{DecodeConf, label_map};
use stages::dicom::stack::StackConf;
use stages::dicom::{Object, series};

use crate::measure::Sheet;
use crate::scans::{self, Lie};

/// Labels in 16 bits, which the peer makes of ours.
const SHORTS: &str = "aligned-i16.nii.gz";

/// Folder of the slices.
const SLICES: &str = "slices";

/// Writes the label map.
///
/// # Errors
/// The phantom's, or the folder takes no file.
pub fn make(folder: &Path, seed: u64) -> Result<()> {
    scans::write(folder, seed, Lie::Aligned)
}

/// Reads the files.
///
/// # Errors
/// A file that is not there, or not read.
pub fn measure(folder: &Path, sheet: &mut Sheet) -> Result<()> {
    let most = DecodeConf::default().max_bytes;
    for (name, file) in [
        ("nifti_u8", Lie::Aligned.file(folder)),
        ("nifti_i16", folder.join(SHORTS)),
    ] {
        let map = sheet.measure(name, || Ok(label_map(&read(&file)?, None, most)?))?;
        tell_labels(&map, sheet);
    }

    let slices = files(&folder.join(SLICES))?;
    let volume = sheet.measure("dicom_series", || {
        let objects = slices
            .iter()
            .map(|file| Ok(Object::read(&read(file)?.into(), most)?))
            .collect::<Result<Vec<Object>>>()?;
        Ok(series::volume(&objects, &StackConf::default(), most)?.image)
    })?;
    tell_values(&volume, sheet);
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    Ok(files)
}

/// Tells how many voxels each label has and where: sums of their indices, whole numbers that f64 holds.
fn tell_labels(map: &LabelMap, sheet: &mut Sheet) {
    let mut sums = std::collections::BTreeMap::<u16, [f64; 4]>::new();
    for ((i, j, k), label) in map.data.indexed_iter() {
        if *label != 0 {
            let sums = sums.entry(*label).or_default();
            for (sum, index) in sums.iter_mut().zip([1, i, j, k]) {
                *sum += index as f64;
            }
        }
    }
    for (label, sums) in sums {
        for (what, sum) in ["voxels", "i", "j", "k"].into_iter().zip(sums) {
            sheet.number(&format!("{label}_{what}"), sum);
        }
    }
    tell_grid(map, sheet);
}

/// Tells the sum of the values and, by the sum weighted with the slice's number, their order.
fn tell_values(volume: &Volume<f32>, sheet: &mut Sheet) {
    let by_slice: Vec<f64> = volume
        .data
        .axis_iter(ndarray::Axis(2))
        .map(|slice| slice.iter().map(|value| f64::from(*value)).sum())
        .collect();
    sheet.number("sum", by_slice.iter().sum());
    let weighted = by_slice.iter().enumerate().map(|(slice, sum)| slice as f64 * sum);
    sheet.number("sum_by_slice", weighted.sum());
    tell_grid(volume, sheet);
}

fn tell_grid<T>(volume: &Volume<T>, sheet: &mut Sheet) {
    for (axis, length) in volume.shape().into_iter().enumerate() {
        sheet.number(&format!("voxels_along_{axis}"), length as f64);
    }
    for (index, entry) in volume.affine.to_rows().into_iter().take(12).enumerate() {
        sheet.number(&format!("affine_{index}"), entry);
    }
}
