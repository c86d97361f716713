//! Why a case or a vertebra failed, and what its flags say, in words for people.

use schemas::FaultKind;

/// Reasons whose words say more than their kind does.
const REASONS: [(&str, &str); 36] = [
    ("object_not_found", "The manifest names a file that is not there."),
    (
        "permission_denied",
        "The store does not let us read the file: credentials, or rights.",
    ),
    (
        "store_failed",
        "The store did not answer, or broke off, however often it was asked.",
    ),
    (
        "changed",
        "The file was written anew while it was read; done again, the case may succeed.",
    ),
    ("truncated", "The file ends too early: a copy that was cut off."),
    ("bad_gzip", "The compressed file is damaged."),
    ("bad_header", "The head of the file is damaged, or is none."),
    ("not_nifti", "The file is neither NIfTI nor DICOM."),
    ("not_dicom", "The file is no DICOM object."),
    (
        "bad_affine",
        "The file does not say soundly where its voxels lie in the body.",
    ),
    (
        "singular_affine",
        "The file's voxels have no extent in one direction.",
    ),
    (
        "unsupported_format",
        "A format that cannot be read without guessing.",
    ),
    (
        "unsupported_dtype",
        "Numbers of a kind that a label map does not have.",
    ),
    ("transfer_syntax", "A DICOM encoding that is not read."),
    (
        "too_large",
        "The scan needs more memory than run.memory allows for all cases together.",
    ),
    ("out_of_memory", "The machine had no memory left for the case."),
    (
        "no_lumbar_labels",
        "The mask has no label of a lumbar level: another part of the spine, or another label scheme.",
    ),
    (
        "unknown_label_scheme",
        "The manifest names a label scheme that there is not.",
    ),
    ("malformed_row", "The row of the manifest cannot be read."),
    (
        "bad_url",
        "The manifest holds no usable path or URL for the file.",
    ),
    ("bad_case_id", "The row of the manifest has no usable pseudonym."),
    ("repeated_case_id", "Two rows of the manifest have one pseudonym."),
    ("repeated_level", "Two masks of the case claim one level."),
    ("no_class_masks", "The folder holds no mask of a vertebra."),
    (
        "missing_pair",
        "One of the two files that belong together is not there.",
    ),
    ("stage_timeout", "A stage took longer than it may."),
    (
        "model_failed",
        "The model broke down on this vertebra: a mistake of ours.",
    ),
    (
        "model_panicked",
        "The model broke down on this vertebra: a mistake of ours.",
    ),
    ("model_memory", "The model's device had no memory left."),
    ("model_device", "The model's device did not answer."),
    ("model_diverged", "The model's numbers ran away on this vertebra."),
    ("missing_slices", "Slices are missing from the series."),
    ("duplicate_slices", "Two slices of the series lie at one place."),
    ("one_slice", "One slice alone makes no volume."),
    (
        "mixed_planes",
        "The slices of the series do not lie side by side.",
    ),
    (
        "image_elsewhere",
        "The image does not show what the mask was drawn on: a wrong pair.",
    ),
];

/// What the flags of a vertebra say.
const FLAGS: [(&str, &str); 8] = [
    (
        "touches_border",
        "The mask reaches the border of the scan: part of the vertebra may lie outside.",
    ),
    (
        "touches_cube",
        "The mask reaches the border of the cube that the model sees.",
    ),
    ("fragments", "The mask falls into several pieces."),
    (
        "reference_without_level",
        "There is a reference, but not of this level.",
    ),
    (
        "reference_elsewhere",
        "The reference does not lie where the mask does: a wrong pair, or a shifted one.",
    ),
    (
        "reference_leaves_cube",
        "The reference reaches out of the cube: metrics see only a part of it.",
    ),
    ("reconstruction_empty", "The reconstruction has no voxel."),
    (
        "registration_at_limit",
        "The motion onto the reference ended at the limit of its search.",
    ),
];

/// Returns what a reason means to the reader: by its code, else by its kind.
pub(super) fn explain(kind: &str, reason: &str) -> &'static str {
    let known = REASONS.iter().find(|(code, _)| *code == reason);
    known.map_or_else(|| explain_kind(kind), |(_, meaning)| *meaning)
}

fn explain_kind(kind: &str) -> &'static str {
    match kind.parse::<FaultKind>() {
        Ok(FaultKind::Missing) => "Data that the manifest names is not there.",
        Ok(FaultKind::Unreadable) => "The bytes of a file are broken.",
        Ok(FaultKind::Unsuitable) => "The data is sound, but not what this program is for.",
        Ok(FaultKind::Unavailable) => {
            "An outside system did not do its part; done again, the case may succeed."
        }
        Ok(FaultKind::Exhausted) => "Memory or the GPU gave out.",
        Ok(FaultKind::Timeout) => "A stage took longer than it may.",
        Ok(FaultKind::Bug) => "A mistake of ours: please report it.",
        Err(_) => "A kind that this version does not know.",
    }
}

/// Returns what a flag says; of one that is not known that it is not.
pub(super) fn explain_flag(flag: &str) -> &'static str {
    let known = FLAGS.iter().find(|(code, _)| *code == flag);
    known.map_or("A flag that this version does not know.", |(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use schemas::vertebra::Flag;

    use super::*;

    #[test]
    fn reasons_are_told_by_code_else_by_kind() {
        assert!(explain("Missing", "object_not_found").starts_with("The manifest names a file"));
        assert_eq!(
            explain("Bug", "of_the_future"),
            "A mistake of ours: please report it."
        );
        assert_eq!(
            explain("Odd", "of_the_future"),
            "A kind that this version does not know."
        );
        for kind in FaultKind::ALL {
            assert_ne!(explain_kind(kind.as_str()), explain_kind("Odd"), "{kind}");
        }
    }

    #[test]
    fn every_flag_is_told() {
        let flags = [
            Flag::TouchesBorder,
            Flag::TouchesCube,
            Flag::Fragments,
            Flag::ReferenceWithoutLevel,
            Flag::ReferenceElsewhere,
            Flag::ReferenceLeavesCube,
            Flag::ReconstructionEmpty,
            Flag::RegistrationAtLimit,
        ];
        assert_eq!(FLAGS.map(|(code, _)| code), flags.map(Flag::as_str));
        assert_eq!(
            explain_flag("of_the_future"),
            "A flag that this version does not know."
        );
    }
}
