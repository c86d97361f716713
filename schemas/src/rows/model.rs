//! Columns of the models that made a row, and of how far their samples agree; equal in every table that has them.

use super::column::{Column, count, flag, real, text, texts};
use crate::vertebra::{ModelIdentity, SampleSpread};

/// Returns the columns of a model's identity.
pub(super) fn model<R: 'static>(get: fn(&R) -> &ModelIdentity) -> Vec<Column<R>> {
    vec![
        texts("chain", "models it went through, in order", move |row| {
            get(row).chain.iter().map(String::as_str).collect()
        })
        .required(),
        text(
            "model_version",
            "version of the weights; none for a method without",
            move |row| Some(&get(row).model_version),
        )
        .required(),
        text(
            "weights_sha256",
            "SHA-256 of the weights; empty for a method without",
            move |row| Some(&get(row).weights_sha256),
        )
        .required(),
        count(
            "steps",
            "diffusion levels walked; 0 for a chain that has none",
            move |row| Some(get(row).steps),
        )
        .required(),
        text(
            "sampler",
            "how a level is walked: trained, langevin or preconditioned; null for a chain that has none",
            move |row| get(row).sampler,
        ),
        count("samples", "samples drawn", move |row| Some(get(row).samples)).required(),
        flag(
            "mirror",
            "whether each sample is the mean of what is made of the mask and of its mirror image",
            move |row| Some(get(row).mirror),
        ),
        text(
            "precision",
            "numbers that the networks compute in: f32 or bf16; null for a chain without networks",
            move |row| get(row).precision,
        ),
    ]
}

/// Returns the columns of how far several samples agree; all null where `get` gives none.
pub(super) fn agreement<R: 'static>(get: fn(&R) -> Option<&SampleSpread>) -> Vec<Column<R>> {
    let of_spread = |name: &str, description: &str, value: fn(&SampleSpread) -> f64| {
        real(name, description, move |row: &R| get(row).map(value))
    };
    vec![
        of_spread(
            "samples_agreement",
            "mean share of samples on the winning side, over the voxels that any claims; null for one sample",
            |spread| spread.agreement,
        ),
        of_spread(
            "samples_volume_sd_mm3",
            "standard deviation of the samples' volumes; null for one sample",
            |spread| spread.volume_sd_mm3,
        ),
        of_spread(
            "samples_dsc",
            "mean Dice coefficient over all pairs of samples; null for one sample",
            |spread| spread.pairwise_dsc,
        ),
    ]
}
