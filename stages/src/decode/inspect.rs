//! What the decoder sees in a file, for `spinestream inspect`.

use std::collections::BTreeMap;
use std::fmt;

use ::nifti::Endianness;
use bytes::Bytes;
use schemas::{Fault, LabelScheme, Level};
use serde::Serialize;

use super::format::{self, Format};
use super::nifti::{self, NiftiFile, Voxel, each};
use super::orientation::orientation;
use super::{DecodeConf, labels, source};
use crate::dicom::inspect::DicomInspection;

/// Most distinct values that are still taken for labels and counted.
const LABELS_MOST: usize = 300;

/// Largest whole number below which every one has its own f64.
const WHOLE_MOST: f64 = 9_007_199_254_740_992.0;

/// The facts of a file. Lengths in mm; values are those after scaling.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// `NIfTI-1` or `NIfTI-2`.
    pub format: &'static str,
    /// Whether the (header's) bytes are gzip.
    pub gzip: bool,
    /// Whether header and image are two objects.
    pub pair: bool,
    /// `little` or `big`.
    pub endian: &'static str,
    /// Voxels along each axis, first axis fastest.
    pub shape: Vec<usize>,
    /// Type of the stored values, as NumPy names it.
    pub dtype: &'static str,
    /// Voxel index → RAS mm, row by row.
    pub affine: [[f64; 4]; 4],
    /// `sform`, `qform` or `pixdim`.
    pub affine_source: &'static str,
    /// Largest distance between the volume's corners by sform and by qform, where both are given.
    pub forms_apart_mm: Option<f64>,
    /// Direction in which each index axis runs most: one of R, L, A, P, S, I a letter.
    pub orientation: String,
    /// Step along each index axis.
    pub spacing_mm: [f64; 3],
    /// Slope that is applied; none where the stored values are the real ones.
    pub scl_slope: Option<f64>,
    /// Intercept that is applied.
    pub scl_inter: Option<f64>,
    /// Smallest finite value.
    pub min: Option<f64>,
    /// Largest finite value.
    pub max: Option<f64>,
    /// Sum of the finite values.
    pub sum: f64,
    /// Voxels that are NaN or infinite.
    pub non_finite: u64,
    /// Each value with its voxels, where all are whole numbers and at most 300 different ones.
    pub labels: Option<Vec<LabelCount>>,
    /// Why the file could not be a case's mask, if it could not.
    pub refused_as_mask: Option<Refusal>,
}

/// One label of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelCount {
    /// The value.
    pub label: i64,
    /// Voxels of that value.
    pub voxels: u64,
    /// The level it stands for in the scheme that was asked about.
    pub level: Option<Level>,
}

/// The fault that a file would become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Kind, as in the tables.
    pub kind: &'static str,
    /// Reason, as in the tables.
    pub reason: &'static str,
    /// Expected and found.
    pub message: String,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self {
            kind: fault.kind.as_str(),
            reason: fault.reason,
            message: fault.message,
        }
    }
}

/// Looks at a file; levels are named by `scheme`.
///
/// # Errors
/// The file cannot be read at all. One that can be read and yet not be a mask says so in `refused_as_mask`.
pub fn inspect(
    bytes: &Bytes,
    pair: Option<&[u8]>,
    scheme: Option<&LabelScheme>,
    conf: &DecodeConf,
) -> Result<Inspected, Fault> {
    match Format::of(&format::head(bytes)?)? {
        Format::Nifti(_) => {
            let file = nifti::read(bytes, pair, conf.max_bytes)?;
            let mut seen = of_nifti(file, source::is_gzip(bytes), scheme);
            let as_mask = labels::from_nifti(bytes, pair, conf.max_bytes);
            seen.refused_as_mask = as_mask.err().map(Refusal::from);
            Ok(Inspected::Nifti(Box::new(seen)))
        }
        Format::Dicom => {
            let object = super::dicom_object(bytes, conf.max_bytes)?;
            let seen = DicomInspection::of(&object, scheme, conf.max_bytes);
            Ok(Inspected::Dicom(Box::new(seen)))
        }
    }
}

/// What is seen in a file of either format.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Inspected {
    /// NIfTI.
    Nifti(Box<Inspection>),
    /// DICOM.
    Dicom(Box<DicomInspection>),
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nifti(seen) => seen.fmt(f),
            Self::Dicom(seen) => seen.fmt(f),
        }
    }
}

fn of_nifti(file: NiftiFile, gzip: bool, scheme: Option<&LabelScheme>) -> Inspection {
    let header = file.header;
    let mut tally = Tally::default();
    match header.scaling {
        None => each!(&file.voxels, values => values.iter().for_each(|stored| tally.add(stored.value()))),
        Some(scaling) => each!(&file.voxels, values => {
            values.iter().for_each(|stored| tally.add(scaling.apply(stored.value())));
        }),
    }
    Inspection {
        format: Format::Nifti(header.version).as_str(),
        gzip,
        pair: !header.single_file,
        endian: match header.endianness {
            Endianness::Little => "little",
            Endianness::Big => "big",
        },
        dtype: header.dtype(),
        affine: header.affine.0,
        affine_source: header.affine_source.as_str(),
        forms_apart_mm: header.forms_apart_mm,
        orientation: orientation(&header.affine),
        spacing_mm: header.affine.spacing_mm(),
        scl_slope: header.scaling.map(|scaling| scaling.slope),
        scl_inter: header.scaling.map(|scaling| scaling.inter),
        min: (tally.min <= tally.max).then_some(tally.min),
        max: (tally.min <= tally.max).then_some(tally.max),
        sum: tally.sum,
        non_finite: tally.non_finite,
        labels: tally.labels(scheme),
        refused_as_mask: None,
        shape: header.shape,
    }
}

/// Running figures over the values of a volume.
struct Tally {
    min: f64,
    max: f64,
    sum: f64,
    non_finite: u64,
    counts: Option<BTreeMap<i64, u64>>,
    /// The value last seen and how often since: neighbours mostly share a label.
    run: Option<(i64, u64)>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            non_finite: 0,
            counts: Some(BTreeMap::new()),
            run: None,
        }
    }
}

impl Tally {
    fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.non_finite += 1;
            self.counts = None;
            return;
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        if self.counts.is_none() {
            return;
        }
        if value.fract() != 0.0 || value.abs() > WHOLE_MOST {
            self.counts = None;
            return;
        }
        let label = value as i64;
        match &mut self.run {
            Some((last, voxels)) if *last == label => *voxels += 1,
            _ => {
                self.end_run();
                self.run = Some((label, 1));
            }
        }
    }

    fn end_run(&mut self) {
        let (Some(counts), Some((label, voxels))) = (&mut self.counts, self.run.take()) else {
            return;
        };
        *counts.entry(label).or_insert(0) += voxels;
        if counts.len() > LABELS_MOST {
            self.counts = None;
        }
    }

    fn labels(mut self, scheme: Option<&LabelScheme>) -> Option<Vec<LabelCount>> {
        self.end_run();
        let table = scheme.map(LabelScheme::table).unwrap_or_default();
        let level = |label: i64| {
            u16::try_from(label)
                .ok()
                .and_then(|label| table.get(&label).copied())
        };
        let counts = self.counts?;
        Some(
            counts
                .into_iter()
                .map(|(label, voxels)| LabelCount {
                    label,
                    voxels,
                    level: level(label),
                })
                .collect(),
        )
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packing = if self.gzip { ", gzip" } else { "" };
        let files = if self.pair { ", pair" } else { "" };
        writeln!(
            f,
            "format       {}{files}{packing}, {}-endian",
            self.format, self.endian
        )?;
        writeln!(f, "shape        {}", nifti::times(&self.shape))?;
        writeln!(f, "dtype        {}", self.dtype)?;
        if let (Some(slope), Some(inter)) = (self.scl_slope, self.scl_inter) {
            writeln!(f, "scaling      {slope} × stored + {inter}")?;
        }
        writeln!(f, "orientation  {}", self.orientation)?;
        writeln!(
            f,
            "spacing      {} mm",
            nifti::times(&self.spacing_mm.map(|step| format!("{step:.4}")))
        )?;
        for (line, row) in self.affine.iter().take(3).enumerate() {
            let title = if line == 0 { "affine (RAS)" } else { "" };
            let [i, j, k, origin] = row;
            let source = if line == 0 {
                format!("   from {}", self.affine_source)
            } else {
                String::new()
            };
            writeln!(
                f,
                "{title:<12} {i:>11.5} {j:>11.5} {k:>11.5} {origin:>12.4}{source}"
            )?;
        }
        if let Some(apart_mm) = self.forms_apart_mm {
            writeln!(f, "sform/qform  at most {apart_mm:.4} mm apart")?;
        }
        if let (Some(min), Some(max)) = (self.min, self.max) {
            writeln!(f, "values       min {min}, max {max}, sum {}", self.sum)?;
        }
        if self.non_finite > 0 {
            writeln!(f, "not finite   {} voxels", self.non_finite)?;
        }
        for (line, count) in self.labels.iter().flatten().enumerate() {
            let title = if line == 0 { "labels" } else { "" };
            let level = count.level.map(Level::as_str).unwrap_or_default();
            writeln!(
                f,
                "{title:<12} {:>6} {level:<3} {:>10} voxels",
                count.label, count.voxels
            )?;
        }
        if let Some(refusal) = &self.refused_as_mask {
            writeln!(
                f,
                "as a mask    {} ({}): {}",
                refusal.kind, refusal.reason, refusal.message
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::decode::testing::{Sample, gzip, inspect};

    fn look(sample: &Sample) -> Inspection {
        inspect(&sample.file(), None, None, &DecodeConf::default()).expect("readable")
    }

    #[test]
    fn labels_are_counted_and_levels_named_by_the_scheme() {
        let mut sample = Sample::new(2);
        sample.voxels = [vec![0; 20], vec![20, 20, 22, 7]].concat();
        let scheme = LabelScheme::named("verse", &BTreeMap::new()).expect("built in");
        let seen =
            inspect(&gzip(&sample.file()), None, Some(&scheme), &DecodeConf::default()).expect("readable");
        let counts: Vec<_> = seen
            .labels
            .iter()
            .flatten()
            .map(|count| (count.label, count.voxels, count.level))
            .collect();
        assert_eq!(
            counts,
            [
                (0, 20, None),
                (7, 1, None),
                (20, 2, Some(Level::L1)),
                (22, 1, Some(Level::L3))
            ]
        );
        assert_eq!(
            (seen.format, seen.gzip, seen.endian, seen.dtype),
            ("NIfTI-2", true, "little", "uint8")
        );
        assert_eq!((seen.min, seen.max, seen.sum), (Some(0.0), Some(22.0), 69.0));
        assert_eq!(
            (seen.orientation.as_str(), seen.spacing_mm),
            ("RAS", [1.0, 1.0, 3.0])
        );
        assert_eq!(seen.refused_as_mask, None);
        let text = seen.to_string();
        assert!(text.contains("2 × 3 × 4") && text.contains("20 L1"), "{text}");
    }

    #[test]
    fn a_volume_that_is_no_mask_is_shown_with_the_fault_it_would_become() {
        let mut sample = Sample::new(1);
        sample.dim = vec![4, 2, 3, 2, 2];
        let seen = look(&sample);
        assert_eq!(seen.shape, [2, 3, 2, 2]);
        assert_eq!(seen.refused_as_mask.expect("4-D").reason, "not_3d");

        sample.dim = vec![3, 2, 3, 1];
        sample.datatype = 16;
        sample.voxels = [0.5_f32, f32::NAN, 2.0, 3.0, f32::INFINITY, -4.0]
            .map(f32::to_le_bytes)
            .concat();
        let seen = look(&sample);
        assert_eq!((seen.min, seen.max, seen.sum), (Some(-4.0), Some(3.0), 1.5));
        assert_eq!((seen.non_finite, seen.labels), (2, None));
        assert_eq!(
            seen.refused_as_mask.expect("an image").reason,
            "non_integer_labels"
        );
    }

    #[test]
    fn values_are_those_after_scaling_and_too_many_of_them_are_no_labels() {
        let mut sample = Sample::new(1);
        sample.scaling = (2.0, 1.0);
        let seen = look(&sample);
        assert_eq!((seen.min, seen.max, seen.sum), (Some(1.0), Some(47.0), 576.0));
        assert_eq!((seen.scl_slope, seen.scl_inter), (Some(2.0), Some(1.0)));
        sample.datatype = 512;
        sample.dim = vec![3, 301, 1, 1];
        sample.voxels = (0..301_u16).flat_map(u16::to_le_bytes).collect();
        assert_eq!(look(&sample).labels, None);
        sample.dim[1] = 300;
        assert_eq!(look(&sample).labels.expect("labels").len(), 300);
    }

    #[test]
    fn an_inspection_is_json_with_null_for_what_is_not_there() {
        let json = serde_json::to_value(look(&Sample::new(1))).expect("serialised");
        assert_eq!(json["affine_source"], "sform");
        assert_eq!(json["scl_slope"], serde_json::Value::Null);
        assert_eq!(json["labels"][1]["voxels"], 1);
    }
}
