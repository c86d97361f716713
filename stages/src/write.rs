//! Writes a case's volumes and makes its rows.

use std::sync::Arc;

use bytes::Bytes;
use ndarray::Array3;
use schemas::payload::{EvaluatedVertebra, Origin, ReconstructedVertebra, WrittenFile};
use schemas::rows::VertebraRow;
use schemas::{Evaluated, Fault, Level, Written};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::crop::linear::CUT;
use crate::decode::nifti::{write_label_map, write_mask};
use crate::dicom::seg_out::{self, SegOut};
use crate::paste::paste;
use crate::stage::{Stage, blocking};
use crate::store::{Place, StoreError};
use crate::surface::{ply::ply, stl::stl, surface};

/// Section `[write]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriteConf {
    /// Which volumes: `patch` (one NIfTI a vertebra), `scan` (all vertebrae on the scan's grid), `agreement` (shares
    /// of the samples, one NIfTI a vertebra; needs several samples), `stl` and `ply` (the surface, one file a
    /// vertebra), `seg` (a DICOM segmentation beside the image), `input` and `reference` (what was restored, and what it
    /// is held against, as patches).
    pub volumes: Vec<Form>,
    /// Most cases of one Parquet part.
    pub rows_per_part: usize,
    /// Longest time between a case's end and its part, in s.
    pub seconds_per_part: u64,
}

/// A form in which reconstructions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// `<case>_label-L3_desc-recon_mask.nii.gz`: 128³, RAS-aligned, 1 mm.
    Patch,
    /// `<case>_space-scan_desc-recon_dseg.nii.gz`: the scan's grid, the input's label numbers.
    Scan,
    /// `<case>_label-L3_desc-recon_probseg.nii.gz`: the share of samples that claim each voxel, 0 to 1, on the patch's
    /// grid. BIDS' suffix for a probabilistic segmentation. At least 0.5 is the mask, to the voxel: shares are stored as
    /// float32, where one half is exact; bytes with a slope of 1/n would be smaller, but 1/n is rounded.
    Agreement,
    /// `<case>_label-L3_desc-recon.stl`: the closed surface in RAS mm, binary. It lies where the share of samples is one
    /// half, of one sample around the mask, and has the centre of every voxel of the mask inside and no other. An empty
    /// reconstruction leaves no file: its row has the flag `reconstruction_empty`.
    Stl,
    /// `<case>_label-L3_desc-recon.ply`: the same surface, binary, some two fifths of the bytes.
    Ply,
    /// `<case>_label-L3_desc-input_mask.nii.gz`: the mask that is restored, on the patch's grid. Reports and viewers cut it
    /// again from the manifest's mask where it is not written.
    Input,
    /// `<case>_label-L3_desc-reference_mask.nii.gz`: the paired CT mask on the same grid, where there is one.
    Reference,
    /// `<case>_desc-recon_seg.dcm`: all vertebrae on the slices of the case's image, where that is DICOM.
    Seg,
}

impl WriteConf {
    /// Checks what the types do not say, where `samples` are drawn of each vertebra (`model.samples`).
    ///
    /// # Errors
    /// A message that names the keys, what was expected and what was found.
    pub fn check(&self, samples: u32) -> Result<(), String> {
        if self.volumes.contains(&Form::Agreement) && samples < 2 {
            return Err(format!(
                "write.volumes: expected model.samples of at least 2 for \"agreement\", found model.samples = {samples}"
            ));
        }
        Ok(())
    }
}

impl Default for WriteConf {
    fn default() -> Self {
        Self {
            volumes: vec![Form::Patch, Form::Scan],
            rows_per_part: 1000,
            seconds_per_part: 60,
        }
    }
}

/// The stage.
#[derive(Debug, Clone)]
pub struct Write {
    /// Prefix of the run's volumes: `<output>/volumes/run=<id>`.
    pub volumes: Place,
    /// Which volumes.
    pub conf: WriteConf,
    /// How DICOM segmentations are written, where they are.
    pub seg: Option<SegOut>,
}

impl Stage for Write {
    type In = Evaluated;
    type Out = Written;
    const NAME: &'static str = "write";

    async fn run(&self, case: Evaluated) -> Result<Written, Fault> {
        let case = Arc::new(case);
        let forms = self.conf.volumes.clone();
        let volumes = {
            let (case, seg) = (Arc::clone(&case), self.seg.clone());
            let hashed = move || -> Result<Vec<_>, Fault> {
                let mut volumes = volumes(&case, &forms)?;
                volumes.extend(seg.map(|seg| segmentation(&case, &seg)).transpose()?.flatten());
                Ok(volumes.into_iter().map(hashed).collect())
            };
            blocking(hashed).await
        };
        let volumes: Vec<(WrittenFile, Bytes)> = volumes?;
        let mut files = Vec::with_capacity(volumes.len());
        for (file, bytes) in volumes {
            let place = self.volumes.join(case.origin.id.as_str()).join(&file.name);
            place.put(bytes).await.map_err(StoreError::into_fault)?;
            files.push(file);
        }
        let vertebrae = case
            .vertebrae
            .iter()
            .map(|vertebra| row(&case, vertebra))
            .collect();
        Ok(Written {
            origin: case.origin.clone(),
            files,
            vertebrae,
        })
    }
}

/// What the tables say of a file, and its bytes.
fn hashed(volume: NamedVolume) -> (WrittenFile, Bytes) {
    let digest = Sha256::digest(&volume.bytes);
    let file = WrittenFile {
        name: volume.name,
        bytes: volume.bytes.len() as u64,
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    (file, volume.bytes)
}

/// A file to be put beside its case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedVolume {
    /// File name: case id, level or space, and what it is; nothing else of the case.
    pub name: String,
    /// The file.
    pub bytes: Bytes,
}

/// Returns the files that a case leaves behind.
///
/// # Errors
/// A grid that NIfTI cannot say.
pub fn volumes(case: &Evaluated, forms: &[Form]) -> Result<Vec<NamedVolume>, Fault> {
    let mut files = Vec::new();
    if forms.contains(&Form::Patch) {
        for vertebra in &case.vertebrae {
            let cropped = &vertebra.reconstructed.cropped;
            if let Ok(reconstruction) = &vertebra.reconstructed.reconstruction {
                let bytes = write_mask(reconstruction.mask.view(), &cropped.input.affine)?.into();
                files.push(NamedVolume {
                    name: patch_file(case.origin.id.as_str(), cropped.level.as_str(), "recon"),
                    bytes,
                });
            }
        }
    }
    for vertebra in &case.vertebrae {
        let cropped = &vertebra.reconstructed.cropped;
        let asked = [
            (Form::Input, "input", Some(&cropped.input)),
            (Form::Reference, "reference", cropped.reference.as_ref()),
        ];
        for (form, what, patch) in asked {
            if let Some(patch) = patch.filter(|_| forms.contains(&form)) {
                files.push(NamedVolume {
                    name: patch_file(case.origin.id.as_str(), cropped.level.as_str(), what),
                    bytes: write_mask(patch.mask.view(), &patch.affine)?.into(),
                });
            }
        }
    }
    if forms.contains(&Form::Agreement) {
        for vertebra in &case.vertebrae {
            let cropped = &vertebra.reconstructed.cropped;
            let reconstruction = vertebra.reconstructed.reconstruction.as_ref().ok();
            // a method that draws nothing has no votes, whatever `model.samples` says
            if let Some(votes) = reconstruction.and_then(|found| found.votes.as_ref()) {
                let shares = shares(votes, case.model.samples);
                files.push(NamedVolume {
                    name: shares_file(&case.origin, cropped.level),
                    bytes: write_mask(shares.view(), &cropped.input.affine)?.into(),
                });
            }
        }
    }
    if forms.contains(&Form::Stl) || forms.contains(&Form::Ply) {
        for vertebra in &case.vertebrae {
            files.extend(surfaces(case, &vertebra.reconstructed, forms));
        }
    }
    if forms.contains(&Form::Scan) {
        let name = format!("{}_space-scan_desc-recon_dseg.nii.gz", case.origin.id);
        files.push(NamedVolume {
            name,
            bytes: scan(case)?.into(),
        });
    }
    Ok(files)
}

/// Returns the DICOM segmentation beside the case's image, where there is one.
fn segmentation(case: &Evaluated, seg: &SegOut) -> Result<Option<NamedVolume>, Fault> {
    let name = format!("{}_desc-recon_seg.dcm", case.origin.id);
    let bytes = seg_out::segmentation(case, seg)?;
    Ok(bytes.map(|bytes| NamedVolume {
        name,
        bytes: bytes.into(),
    }))
}

/// Returns the file name of a vertebra's mask in patch space: of the `input`, of what was made of it (`recon`), or of the
/// `reference`.
pub fn patch_file(case_id: &str, level: &str, what: &str) -> String {
    format!("{case_id}_label-{level}_desc-{what}_mask.nii.gz")
}

/// Returns the file name of the share of samples that claim each voxel; the suffix is BIDS' word for it.
fn shares_file(origin: &Origin, level: Level) -> String {
    format!("{}_label-{level}_desc-recon_probseg.nii.gz", origin.id)
}

/// Returns the share of the samples that claim each voxel.
fn shares(votes: &Array3<u8>, samples: u32) -> Array3<f32> {
    votes.mapv(|votes| f32::from(votes) / samples as f32)
}

/// Returns the surface of one vertebra in each form that is asked for: none where there is no reconstruction, or nothing
/// in it.
fn surfaces(case: &Evaluated, vertebra: &ReconstructedVertebra, forms: &[Form]) -> Vec<NamedVolume> {
    let Ok(reconstruction) = &vertebra.reconstruction else {
        return Vec::new();
    };
    let field = match &reconstruction.votes {
        Some(votes) => shares(votes, case.model.samples),
        None => reconstruction.mask.mapv(|value| f32::from(u8::from(value != 0))),
    };
    let cropped = &vertebra.cropped;
    let mesh = surface(field.view(), CUT as f32, &cropped.input.affine);
    if mesh.is_empty() {
        return Vec::new();
    }
    let mut files = Vec::new();
    let mut push = |extension: &str, file: Vec<u8>| {
        files.push(NamedVolume {
            name: format!(
                "{}_label-{}_desc-recon.{extension}",
                case.origin.id, cropped.level
            ),
            bytes: file.into(),
        });
    };
    if forms.contains(&Form::Stl) {
        push("stl", stl(&mesh));
    }
    if forms.contains(&Form::Ply) {
        push("ply", ply(&mesh));
    }
    files
}

/// All reconstructions on the scan's own grid, under the input's label numbers.
fn scan(case: &Evaluated) -> Result<Vec<u8>, Fault> {
    let done = case.vertebrae.iter().filter_map(|vertebra| {
        let cropped = &vertebra.reconstructed.cropped;
        let reconstruction = vertebra.reconstructed.reconstruction.as_ref().ok()?;
        Some((cropped.label, &reconstruction.mask, &cropped.input.affine))
    });
    write_label_map(&paste(&case.grid, &done.collect::<Vec<_>>()))
}

/// Returns the row of one vertebra; its attempt is the table's to say.
pub fn row(case: &Evaluated, vertebra: &EvaluatedVertebra) -> VertebraRow {
    let reconstructed = &vertebra.reconstructed;
    let cropped = &reconstructed.cropped;
    let fault = reconstructed.reconstruction.as_ref().err();
    let reconstruction = reconstructed.reconstruction.as_ref().ok();
    let voxel_mm3 = cropped.input.affine.voxel_volume_mm3();
    let recon_voxels = reconstruction.map(|found| found.mask.iter().filter(|value| **value != 0).count());
    VertebraRow {
        case_id: case.origin.id.to_string(),
        person: case.origin.person.clone(),
        attempt: 0,
        level: cropped.level.as_str(),
        label: cropped.label.into(),
        status: if fault.is_none() { "done" } else { "failed" },
        kind: fault.map(|fault| fault.kind.as_str()),
        reason: fault.map(|fault| fault.reason),
        message: fault.map(|fault| fault.message.clone()),
        model: Arc::clone(&case.model),
        seed: reconstructed.seed,
        centre_mm: cropped.centre_mm,
        affine: cropped.input.affine.to_rows(),
        source_spacing_mm: case.grid.affine.spacing_mm(),
        source_volume_mm3: cropped.source_volume_mm3,
        input_volume_mm3: cropped.input.volume_mm3(),
        recon_volume_mm3: recon_voxels.map(|voxels| voxels as f64 * voxel_mm3),
        reference_volume_mm3: cropped.reference.as_ref().map(schemas::Patch::volume_mm3),
        flags: vertebra.flags.iter().map(|flag| flag.as_str()).collect(),
        input: vertebra.input,
        recon: vertebra.reconstruction,
        registered: vertebra.registered,
        spread: reconstruction.and_then(|found| found.spread),
        latent: reconstruction.and_then(|found| found.latent.clone()),
        reconstruct_ms: reconstructed.elapsed.as_secs_f64() * 1e3,
        batch: reconstructed.batch,
    }
}

#[cfg(test)]
mod tests;
