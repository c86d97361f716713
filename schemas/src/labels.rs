//! Label tables: which integer means which vertebra, in each scheme that tools in the field write.
//!
//! Sources: anjany/verse README (VerSe = TPTBox = SPINEPS with VERIDAH), TotalSegmentator `map_to_binary.py`,
//! TotalSpineSeg README, the SPIDER challenge's baseline page. A scheme is named by the manifest, never guessed:
//! in one scheme 20 is L1, in another the colon.

use std::collections::BTreeMap;
use std::fmt;

use crate::vertebra::Level;

/// Label → level, of the lumbar levels of one scheme.
pub type LabelTable = BTreeMap<u16, Level>;

/// How a mask says which voxel belongs to which level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelScheme {
    /// One label map; the table names the lumbar labels.
    Table {
        /// Name in the manifest.
        name: String,
        /// Label → level.
        table: LabelTable,
    },
    /// A mask of one vertebra: 1 is that level.
    Binary(Level),
    /// A prefix with one mask a class: `vertebrae_L3.nii.gz`, … (TotalSegmentator's folders).
    Classes,
    /// A DICOM segmentation whose segments say by SNOMED CT code what they are.
    Snomed,
}

/// A concept of SNOMED CT: code and meaning.
pub type Concept = (&'static str, &'static str);

/// SNOMED CT's code and DICOM's meaning of each level (PS3.16 CID 7603 and those of TotalSegmentator's table).
pub const SNOMED: [(Level, Concept); 5] = [
    (Level::L1, ("66794005", "L1 vertebra")),
    (Level::L2, ("14293000", "L2 vertebra")),
    (Level::L3, ("36470004", "L3 vertebra")),
    (Level::L4, ("11994002", "L4 vertebra")),
    (Level::L5, ("49668003", "L5 vertebra")),
];

/// What stands for a level without a code of its own (L6), beside its name.
pub const SNOMED_VERTEBRA: Concept = ("51282000", "Vertebra");

/// Name and lumbar labels of a built-in scheme.
pub const BUILT_IN: [(&str, &[(u16, Level)]); 6] = {
    use Level::{L1, L2, L3, L4, L5, L6};
    [
        (
            "verse",
            &[(20, L1), (21, L2), (22, L3), (23, L4), (24, L5), (25, L6)],
        ),
        (
            "totalsegmentator",
            &[(31, L1), (30, L2), (29, L3), (28, L4), (27, L5)],
        ),
        (
            "totalsegmentator-v1",
            &[(22, L1), (21, L2), (20, L3), (19, L4), (18, L5)],
        ),
        (
            "totalsegmentator-mr",
            &[(6, L1), (5, L2), (4, L3), (3, L4), (2, L5)],
        ),
        (
            "totalspineseg",
            &[(41, L1), (42, L2), (43, L3), (44, L4), (45, L5)],
        ),
        ("spider", &[(5, L1), (4, L2), (3, L3), (2, L4), (1, L5)]),
    ]
};

/// Prefix of the scheme that names the level of a binary mask: `binary:L3`.
pub const BINARY_PREFIX: &str = "binary:";

/// Name of the scheme of one mask a class.
pub const CLASSES: &str = "classes";

/// Name of the scheme of segments with codes.
pub const SNOMED_CODES: &str = "snomed";

impl LabelScheme {
    /// Returns the scheme of that name: a site's own table, a built-in one, `binary:<level>`, `classes` or `snomed`.
    ///
    /// # Errors
    /// A message that lists the known names.
    pub fn named(name: &str, own: &BTreeMap<String, LabelTable>) -> Result<Self, String> {
        if let Some(table) = own.get(name) {
            return Ok(Self::Table {
                name: name.to_owned(),
                table: table.clone(),
            });
        }
        if let Some((_, labels)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Ok(Self::Table {
                name: name.to_owned(),
                table: labels.iter().copied().collect(),
            });
        }
        if let Some(level) = name.strip_prefix(BINARY_PREFIX) {
            // the level's own message quotes what it found, and this is a cell of a manifest
            let levels = || Level::ALL.map(Level::as_str).join(", ");
            let unknown = |_| {
                format!(
                    "expected {BINARY_PREFIX} and one of {}, found another level",
                    levels()
                )
            };
            return level.parse().map(Self::Binary).map_err(unknown);
        }
        if name == CLASSES {
            return Ok(Self::Classes);
        }
        if name == SNOMED_CODES {
            return Ok(Self::Snomed);
        }
        let known: Vec<&str> = BUILT_IN.iter().map(|(known, _)| *known).collect();
        let tables: Vec<&str> = own.keys().map(String::as_str).collect();
        Err(format!(
            "expected a label scheme ({}, binary:<level>, {CLASSES}, {SNOMED_CODES}, or a [labels.NAME] table: {}), found another name",
            known.join(", "),
            if tables.is_empty() {
                "none configured".to_owned()
            } else {
                tables.join(", ")
            },
        ))
    }

    /// Returns label → level as the decoded label map holds them.
    ///
    /// Masks of one class a file, and segments with codes, are merged into one map under VerSe's numbers.
    pub fn table(&self) -> LabelTable {
        match self {
            Self::Table { table, .. } => table.clone(),
            Self::Binary(level) => LabelTable::from([(1, *level)]),
            Self::Classes | Self::Snomed => BUILT_IN[0].1.iter().copied().collect(),
        }
    }
}

impl fmt::Display for LabelScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { name, .. } => f.write_str(name),
            Self::Binary(level) => write!(f, "{BINARY_PREFIX}{level}"),
            Self::Classes => f.write_str(CLASSES),
            Self::Snomed => f.write_str(SNOMED_CODES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totalsegmentator_counts_downwards_and_verse_upwards() {
        let own = BTreeMap::new();
        let level = |scheme: &str, label: u16| {
            LabelScheme::named(scheme, &own)
                .expect("built in")
                .table()
                .get(&label)
                .copied()
        };
        assert_eq!(level("verse", 20), Some(Level::L1));
        assert_eq!(level("totalsegmentator", 31), Some(Level::L1));
        assert_eq!(level("totalsegmentator", 27), Some(Level::L5));
        assert_eq!(level("totalsegmentator", 20), None, "20 is the colon there");
        assert_eq!(level("spider", 1), Some(Level::L5));
        assert_eq!(level("binary:L4", 1), Some(Level::L4));
    }

    #[test]
    fn a_level_that_is_none_is_not_repeated() {
        let message = LabelScheme::named("binary:DOE-JANE", &BTreeMap::new()).expect_err("no level");
        assert_eq!(
            message,
            "expected binary: and one of L1, L2, L3, L4, L5, L6, found another level"
        );
    }

    #[test]
    fn an_unknown_scheme_lists_the_known_ones_and_own_tables_come_first() {
        let message = LabelScheme::named("vrese", &BTreeMap::new()).expect_err("unknown");
        assert!(
            message.contains("verse") && message.contains("binary:<level>"),
            "{message}"
        );
        let own = BTreeMap::from([("site".to_owned(), LabelTable::from([(3, Level::L2)]))]);
        let scheme = LabelScheme::named("site", &own).expect("own table");
        assert_eq!(scheme.table().get(&3), Some(&Level::L2));
    }
}
