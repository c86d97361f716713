//! Single functions beside what people use for the same in Python, on the same inputs and one after the other.

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Desk;
use super::beside::{self, Beside, Line, Peaks};
use super::sheet::Sides;
use crate::cache::Cache;
use crate::checkout::Checkout;

/// What is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// From files to volumes.
    Decode,
    /// From a label map to patches.
    Crop,
    /// How alike two masks are.
    Metrics,
    /// Encoder, chain and generator of the paper's size, each alone.
    Networks,
    /// From rows to Parquet.
    Rows,
}

impl Suite {
    const ALL: [Self; 5] = [
        Self::Decode,
        Self::Crop,
        Self::Metrics,
        Self::Networks,
        Self::Rows,
    ];

    /// Returns the name on both sides.
    fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Crop => "crop",
            Self::Metrics => "metrics",
            Self::Networks => "networks",
            Self::Rows => "rows",
        }
    }

    /// Returns what is compared.
    fn lines(self) -> &'static [Line] {
        match self {
            Self::Decode => &DECODE,
            Self::Crop => &CROP,
            Self::Metrics => &METRICS,
            Self::Networks => &NETWORKS,
            Self::Rows => &ROWS,
        }
    }
}

/// A line with an aim.
const fn line(
    what: &'static str,
    [ours, peer]: [&'static str; 2],
    aim: Option<f64>,
    within: Option<f64>,
) -> Line {
    Line {
        what,
        ours,
        peer,
        aim,
        within,
    }
}

/// Label maps are whole numbers; affines in files are f32.
const DECODE: [Line; 3] = [
    line(
        "NIfTI, labels in 8 bits",
        ["nifti_u8", "nibabel_u8"],
        Some(2.0),
        Some(1e-12),
    ),
    line(
        "NIfTI, labels in 16 bits",
        ["nifti_i16", "nibabel_i16"],
        Some(2.0),
        Some(1e-12),
    ),
    line(
        "DICOM, 120 slices of 512²",
        ["dicom_series", "pydicom_series"],
        None,
        Some(1e-12),
    ),
];

/// Voxels whose share is a half to the last digit may fall on either side: SciPy adds up in another order.
const CROP: [Line; 2] = [
    line(
        "five levels, along the axes",
        ["crop_aligned", "scipy_aligned"],
        Some(5.0),
        Some(1e-4),
    ),
    line(
        "five levels, oblique",
        ["crop_oblique", "scipy_oblique"],
        Some(5.0),
        Some(1e-4),
    ),
];

/// MONAI measures distances in f32.
const METRICS: [Line; 7] = [
    line(
        "overlap metrics of 128³",
        ["overlap", "overlap_sklearn"],
        Some(50.0),
        Some(1e-9),
    ),
    line(
        "overlap metrics of 128³",
        ["overlap", "overlap_numpy"],
        None,
        Some(1e-9),
    ),
    line("ASSD of 128³", ["assd", "assd_medpy"], Some(5.0), Some(1e-9)),
    line("ASSD of 128³", ["assd", "assd_monai"], None, Some(1e-6)),
    line("HD95 of 128³", ["hd95", "hd95_monai"], Some(5.0), Some(1e-6)),
    line("HD95 of 128³", ["hd95", "hd95_surface_distance"], None, None),
    line(
        "all metrics of 128³",
        ["all_metrics", "all_python"],
        None,
        Some(1e-6),
    ),
];

/// The networks add up in another order; the authors' sampler adds noise, and ends within a hundredth of the fast one.
pub const NETWORKS: [Line; 7] = [
    line(
        "encoder, size paper",
        ["encoder", "encoder_channels_first"],
        None,
        Some(1e-4),
    ),
    line(
        "encoder, size paper",
        ["encoder", "encoder_channels_last"],
        None,
        Some(1e-4),
    ),
    line(
        "Langevin chain, 20 levels",
        ["langevin", "langevin_authors"],
        Some(50.0),
        Some(1e-2),
    ),
    line(
        "Langevin chain, 20 levels",
        ["langevin", "langevin_fast"],
        None,
        Some(1e-4),
    ),
    line(
        "Langevin chain, 300 steps a level",
        ["langevin_k300", "langevin_authors"],
        None,
        Some(1e-2),
    ),
    line(
        "generator, size paper",
        ["generator", "generator_channels_first"],
        None,
        Some(1e-4),
    ),
    line(
        "generator, size paper",
        ["generator", "generator_channels_last"],
        None,
        Some(1e-4),
    ),
];

/// Sums are added up in another order.
const ROWS: [Line; 2] = [
    line(
        "Parquet, 10 000 vertebrae",
        ["parquet", "pyarrow_records"],
        None,
        Some(1e-9),
    ),
    line(
        "Parquet, 10 000 vertebrae",
        ["parquet", "pyarrow_table"],
        None,
        Some(1e-9),
    ),
];

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Measures these alone; else all.
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// Every random number follows from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Numbers {
    lines: Vec<Beside>,
    peaks: Vec<Peaks>,
}

/// Lays inputs out, lets both sides measure, compares and keeps the numbers.
///
/// # Errors
/// Set-up failed, a side failed, or results differ.
pub fn micro(arguments: &Arguments, checkout: &Checkout, cache: &Cache) -> Result<()> {
    let sides = Sides::new(checkout, cache, arguments.seed)?;
    let desk = Desk::new("micro", arguments.seed, checkout, sides.program())?;
    let mut numbers = Numbers {
        lines: Vec::new(),
        peaks: Vec::new(),
    };
    let mut part = String::new();
    for suite in Suite::ALL {
        if !arguments.suites.is_empty() {
            if !arguments.suites.contains(&suite) {
                continue;
            }
            part += &format!("-{}", suite.as_str());
        }
        let name = suite.as_str();
        let folder = desk.work.join(name);
        std::fs::create_dir_all(&folder)?;
        sides.make(name, &folder)?;
        let sheets = sides.measure(name, &folder)?;
        for line in suite.lines() {
            numbers.lines.push(Beside::of(line, &sheets, &folder)?);
        }
        numbers.peaks.push(Peaks::of(name, &sheets));
    }
    print!("{}", beside::table(&numbers.lines, &numbers.peaks));
    desk.keep_part(&part, &numbers)?;
    beside::check(&numbers.lines)
}
