//! Table `lineage`: one row a mask that any night has seen, as it was last found, and one a case that could not be read.
//!
//! A night's file holds all of them, not only its own: what a model has learnt from can be told from it alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Row;
use super::column::{Column, count, flag, octets, real, text, texts};
use crate::case::FaultKind;
use crate::vertebra::Level;

/// Bytes of a mask's shape: 8 × 8 × 8 blocks.
pub const SHAPE_LENGTH: usize = 512;

/// Where a person's masks go, once and for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// They may teach.
    Train,
    /// They judge what was taught, and never teach.
    HeldOut,
}

impl Split {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Train, Self::HeldOut];

    /// Returns the name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::HeldOut => "held_out",
        }
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|split| split.as_str() == text);
        found.ok_or_else(|| "expected train or held_out, found another word".to_owned())
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It passed every gate.
    Accepted,
    /// A gate turned it away.
    Rejected,
    /// Its case could not be read.
    Failed,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::Rejected, Self::Failed];

    /// Returns the name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|verdict| verdict.as_str() == text);
        found.ok_or_else(|| "expected accepted, rejected or failed, found another word".to_owned())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Latest state of one mask, or of one case that gave none.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is described once, in the list of columns below"
)]
pub struct LineageRow {
    pub case_id: String,
    pub person: Option<String>,
    pub level: Option<Level>,
    pub split: Option<Split>,
    pub verdict: Verdict,
    pub reasons: Vec<String>,
    pub kind: Option<FaultKind>,
    pub source: Option<String>,
    pub stamp: Option<String>,
    pub patches: Option<String>,
    pub night: u32,
    pub taught: bool,
    pub learnt: bool,
    pub volume_mm3: Option<f64>,
    pub extent_mm: Option<[f64; 3]>,
    pub largest_piece: Option<f64>,
    pub cavities: Option<f64>,
    pub centre_mm: Option<[f64; 3]>,
    pub spacing_mm: Option<[f64; 3]>,
    pub thickness_mm: Option<f64>,
    pub intensity_mean: Option<f64>,
    pub intensity_sd: Option<f64>,
    pub shape: Option<Vec<u8>>,
}

impl LineageRow {
    /// Returns a row of which nothing more is known, to be filled in.
    pub fn new(case_id: impl Into<String>, verdict: Verdict, night: u32) -> Self {
        Self {
            case_id: case_id.into(),
            person: None,
            level: None,
            split: None,
            verdict,
            reasons: Vec::new(),
            kind: None,
            source: None,
            stamp: None,
            patches: None,
            night,
            taught: false,
            learnt: false,
            volume_mm3: None,
            extent_mm: None,
            largest_piece: None,
            cavities: None,
            centre_mm: None,
            spacing_mm: None,
            thickness_mm: None,
            intensity_mean: None,
            intensity_sd: None,
            shape: None,
        }
    }
}

impl Row for LineageRow {
    const TABLE: &'static str = "lineage";
    const ABOUT: &'static str =
        "A row a mask that any night has seen, as it was last found, and one a case that could not be read";
    const PLACE: &'static str = "<registry>/models/<method>/nights/<number>/lineage-<hash>.parquet";

    fn case_id(&self) -> &str {
        &self.case_id
    }

    fn columns() -> Vec<Column<Self>> {
        let mut columns = identity();
        columns.extend([
            count("night", "night that first saw this state", |row: &Self| {
                Some(row.night)
            })
            .required(),
            flag(
                "taught",
                "whether the training of this file's night showed the mask",
                |row: &Self| Some(row.taught),
            )
            .required(),
            flag(
                "learnt",
                "whether the champion has learnt from it: a night before this one showed it, and its model was promoted",
                |row: &Self| Some(row.learnt),
            )
            .required(),
        ]);
        columns.extend(numbers());
        columns
    }
}

/// Whose mask it is, what became of it, and how it is found again.
fn identity() -> Vec<Column<LineageRow>> {
    vec![
        text("case_id", "pseudonym of the case", |row: &LineageRow| {
            Some(&row.case_id)
        })
        .required(),
        text("person", "pseudonym of the person", |row: &LineageRow| {
            row.person.as_deref()
        }),
        text(
            "level",
            "L1 to L6; null for a case that could not be read",
            |row: &LineageRow| row.level.map(Level::as_str),
        ),
        text(
            "split",
            "train or held_out, fixed for the person; null where nobody knows the person",
            |row: &LineageRow| row.split.map(Split::as_str),
        ),
        text("verdict", "accepted, rejected or failed", |row: &LineageRow| {
            Some(row.verdict.as_str())
        })
        .required(),
        texts(
            "reasons",
            "gates that turned the mask away, or the stable code of the case's fault",
            |row: &LineageRow| row.reasons.iter().map(String::as_str).collect(),
        )
        .required(),
        text(
            "kind",
            "whose matter the fault of a failed case is: Missing, Unreadable, Unsuitable, …",
            |row: &LineageRow| row.kind.map(FaultKind::as_str),
        ),
        text(
            "source",
            "hash of the mask's place and label scheme",
            |row: &LineageRow| row.source.as_deref(),
        ),
        text(
            "stamp",
            "hash of what the store says of the mask's objects: size, time, entity tag",
            |row: &LineageRow| row.stamp.as_deref(),
        ),
        text(
            "patches",
            "name of the file with the case's cut cubes; null without one",
            |row: &LineageRow| row.patches.as_deref(),
        ),
    ]
}

/// What is measured of the mask, of its scan and of the image beneath it.
fn numbers() -> Vec<Column<LineageRow>> {
    let mut columns = vec![real(
        "volume_mm3",
        "volume of the label on the scan's own grid; as all that follow, null for a case that could not be read",
        |row: &LineageRow| row.volume_mm3,
    )];
    columns.extend(along("extent", "extent of the mask in its cube", |row| {
        row.extent_mm
    }));
    columns.extend([
        real(
            "largest_piece",
            "share of the mask's voxels in its largest 26-connected piece",
            |row: &LineageRow| row.largest_piece,
        ),
        real(
            "cavities",
            "background voxels that the mask encloses, as a share of its own",
            |row: &LineageRow| row.cavities,
        ),
    ]);
    columns.extend(along(
        "centre",
        "centre of the label's bounding box, RAS mm,",
        |row| row.centre_mm,
    ));
    columns.extend(along(
        "spacing",
        "voxel spacing of the scan's axis that runs most",
        |row| row.spacing_mm,
    ));
    columns.extend([
        real(
            "thickness_mm",
            "largest voxel spacing of the scan",
            |row: &LineageRow| row.thickness_mm,
        ),
        real(
            "intensity_mean",
            "mean of the image under the label; null without an image on the mask's grid",
            |row: &LineageRow| row.intensity_mean,
        ),
        real(
            "intensity_sd",
            "standard deviation of the image under the label; null without an image on the mask's grid",
            |row: &LineageRow| row.intensity_sd,
        ),
        octets(
            "shape",
            "share that the mask fills of 8 × 8 × 8 blocks of 16 mm around its centroid, 255 for all; S runs fastest, then A",
            SHAPE_LENGTH,
            |row: &LineageRow| row.shape.as_deref(),
        ),
    ]);
    columns
}

/// Returns one column a world axis, of lengths or places in mm.
fn along(noun: &str, description: &str, get: fn(&LineageRow) -> Option<[f64; 3]>) -> Vec<Column<LineageRow>> {
    let axes = ["x", "y", "z"].into_iter().enumerate();
    axes.map(|(axis, letter)| {
        let value = move |row: &LineageRow| get(row).map(|mm| mm[axis]);
        real(
            format!("{noun}_{letter}_mm"),
            format!("{description} along {letter}"),
            value,
        )
    })
    .collect()
}
