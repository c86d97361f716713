//! Why a mask may not teach.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A gate that a mask did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No voxel of the cube is set.
    Empty,
    /// No lumbar vertebra is as small or as large.
    VolumeImplausible,
    /// Much of it lies apart from the largest piece.
    InPieces,
    /// It encloses background.
    Cavities,
    /// The scan may end within the vertebra.
    TouchesBorder,
    /// The cube may end within the vertebra.
    TouchesCube,
    /// It does not lie below the levels above it.
    LevelOrder,
    /// It is too near to its neighbour, or too far from it.
    LevelSpacing,
    /// It is much smaller or larger than its neighbour.
    VolumeAgainstNeighbours,
    /// It is not as other masks of its level are.
    UnlikeKnown,
    /// Somebody else has the same vertebrae.
    NearDuplicate,
}

impl Reason {
    /// Every reason, in the order in which they are listed.
    pub const ALL: [Self; 11] = [
        Self::Empty,
        Self::VolumeImplausible,
        Self::InPieces,
        Self::Cavities,
        Self::TouchesBorder,
        Self::TouchesCube,
        Self::LevelOrder,
        Self::LevelSpacing,
        Self::VolumeAgainstNeighbours,
        Self::UnlikeKnown,
        Self::NearDuplicate,
    ];

    /// Returns the name in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::VolumeImplausible => "volume_implausible",
            Self::InPieces => "in_pieces",
            Self::Cavities => "cavities",
            Self::TouchesBorder => "touches_border",
            Self::TouchesCube => "touches_cube",
            Self::LevelOrder => "level_order",
            Self::LevelSpacing => "level_spacing",
            Self::VolumeAgainstNeighbours => "volume_against_neighbours",
            Self::UnlikeKnown => "unlike_known",
            Self::NearDuplicate => "near_duplicate",
        }
    }

    /// Returns a sentence for people.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Empty => {
                "The label is thinner than a voxel of the cube: nothing of it is left to learn from."
            }
            Self::VolumeImplausible => "No lumbar vertebra is as small or as large as this mask.",
            Self::InPieces => "A good part of the mask does not hang together with the rest of it.",
            Self::Cavities => "The mask has holes inside, as a segmentation by thresholds leaves them.",
            Self::TouchesBorder => {
                "The mask reaches the border of its scan: part of the vertebra may lie outside."
            }
            Self::TouchesCube => "The mask reaches the border of its cube: part of it may be cut off.",
            Self::LevelOrder => {
                "The mask does not lie below those of the levels above it: labels may be swapped, or the scan upside down."
            }
            Self::LevelSpacing => {
                "The mask lies too near to that of the next level, or too far from it: a level may be misnamed or left out."
            }
            Self::VolumeAgainstNeighbours => {
                "The mask is much smaller or larger than that of the next level: one may have taken in part of the other."
            }
            Self::UnlikeKnown => {
                "Volume, extent or fill of the mask is far from what sound masks of its level have: it may be worn down, \
                 swollen or cut."
            }
            Self::NearDuplicate => {
                "Another person's masks are almost the same: one patient may have come under two names."
            }
        }
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == text);
        let names = || Self::ALL.map(Self::as_str).join(", ");
        found.ok_or_else(|| format!("expected one of {}, found another word", names()))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_comes_back_by_its_name_and_is_serialised_as_it() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            let json = serde_json::to_string(&reason).expect("JSON");
            assert_eq!(json, format!("\"{reason}\""));
            assert!(reason.explain().ends_with('.'), "{reason}");
        }
        assert!("other".parse::<Reason>().is_err());
        assert!(Reason::ALL.is_sorted());
    }
}
