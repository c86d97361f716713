//! Why a mask may not teach, in words for people.

/// Codes of the gates, in their order, and what each means.
const REASONS: [(&str, &str); 11] = [
    ("empty", "The mask holds no voxel of this vertebra."),
    (
        "volume_implausible",
        "No lumbar vertebra is as small or as large as this mask.",
    ),
    (
        "in_pieces",
        "The mask falls into several pieces; a vertebra is one piece.",
    ),
    (
        "cavities",
        "The mask encloses holes that the outline of a vertebra does not have.",
    ),
    (
        "touches_border",
        "The mask reaches the edge of the scan: part of the vertebra may lie outside.",
    ),
    (
        "touches_cube",
        "The mask reaches the edge of the cube that is cut around it: part of it would be lost.",
    ),
    (
        "level_order",
        "The vertebrae of this scan are not in the order of their names: a level may be named wrong.",
    ),
    (
        "level_spacing",
        "The distance to the next vertebra is not one between neighbours: a level may be left out, or drawn twice.",
    ),
    (
        "volume_against_neighbours",
        "The mask is much smaller or larger than the vertebrae beside it.",
    ),
    (
        "unlike_known",
        "In size or shape the mask is unlike all that are known of this level so far.",
    ),
    (
        "near_duplicate",
        "The mask is nearly equal to one that is known already, and would count twice.",
    ),
];

/// Returns what a code means; `None` of a code that is not known.
pub fn explain(code: &str) -> Option<&'static str> {
    let found = REASONS.iter().find(|(known, _)| *known == code);
    found.map(|(_, meaning)| *meaning)
}
