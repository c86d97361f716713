//! What the page's words mean.

use crate::report::page::{Section, facts, words};

/// Words of the page that not everyone knows.
const GLOSSARY: [(&str, &str); 19] = [
    (
        "mask",
        "The outline of one vertebra, slice by slice; here as a block of small cubes of 1 mm.",
    ),
    (
        "input",
        "The mask as it was drawn on thick slices of MRI: blocky, with processes missing.",
    ),
    (
        "reconstruction",
        "What the model made of it: the shape that CT would have shown.",
    ),
    (
        "reference",
        "The mask that both are held against, drawn on CT of the same person.",
    ),
    (
        "DSC",
        "Dice coefficient: twice what two masks share, over what both hold. 0 is not at all, 1 is equal.",
    ),
    (
        "VS",
        "Volume similarity: 1 where two masks are of equal volume, wherever they lie.",
    ),
    ("SEN", "Sensitivity: share of the reference that the mask holds."),
    (
        "SPEC",
        "Specificity: share of what lies outside the reference that the mask leaves out.",
    ),
    ("PPV", "Precision: share of the mask that lies in the reference."),
    (
        "NPV",
        "Share of what the mask leaves out that lies outside the reference.",
    ),
    (
        "NMI",
        "Normalised mutual information: how much one mask tells of the other, 0 to 1.",
    ),
    (
        "CK",
        "Cohen's kappa: agreement beyond what chance alone would give; 1 is equal.",
    ),
    (
        "Jaccard",
        "What two masks share, over what either holds; says the same as DSC on another scale.",
    ),
    (
        "HD95",
        "Distance in mm that 95 of 100 points of one surface keep to the other: the worst, but for outliers.",
    ),
    ("ASSD", "Mean distance in mm between the two surfaces."),
    (
        "95 % interval",
        "How far a mean may be off, had other persons been looked at: of 100 such intervals about 95 hold the true mean.",
    ),
    ("latent", "The few numbers that the model sums a vertebra up in."),
    ("case", "One line of the manifest: one scan of one person."),
    (
        "attempt",
        "A case may be done again; the page tells of the last time.",
    ),
];

/// Returns the section.
pub(super) fn section() -> Section {
    let meanings = GLOSSARY.map(|(word, meaning)| (word, words(meaning)));
    Section {
        id: "words",
        title: "Words used here",
        body: facts("For those who read such a page for the first time", meanings),
    }
}
