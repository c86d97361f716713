//! The latents as a map: which vertebrae the model holds for alike.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::components::components;
use super::facts::Facts;
use super::many;
use super::scatter::{Cloud, scatter};
use crate::report::page::{Markup, Section, all, paragraph};
use crate::results::VertebraSeen;

/// Fewest latents that a map is made of.
const FEWEST: usize = 3;

/// Longest latent that a map is made of: its components take time that grows with the cube of its length.
const LONGEST: usize = 512;

/// Returns the section.
pub(super) fn section(facts: &Facts<'_>) -> Section {
    Section {
        id: "latents",
        title: "Map of the latents",
        body: body(facts),
    }
}

fn body(facts: &Facts<'_>) -> Markup {
    let (sound, left_out) = sound(facts);
    let length = sound.first().map_or(0, |(_, latent)| latent.len());
    if sound.is_empty() {
        return paragraph(
            "There are no latents: the chain ends with a method that has none, or nothing was reconstructed.",
        );
    }
    if sound.len() < FEWEST {
        return paragraph(&format!(
            "Only {}; a map is made of {FEWEST} or more.",
            many(sound.len(), "vertebra has a latent", "vertebrae have a latent")
        ));
    }
    if length > LONGEST {
        return paragraph(&format!(
            "The latents have {length} entries, more than the {LONGEST} that a map is made of."
        ));
    }
    let points = Array2::from_shape_fn((sound.len(), length), |(point, entry)| {
        sound
            .get(point)
            .and_then(|(_, latent)| latent.get(entry))
            .map_or(0.0, |value| f64::from(*value))
    });
    let Some(found) = components(&points) else {
        return paragraph("All latents are equal: there is nothing to map.");
    };
    let mut clouds: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for ((vertebra, _), place) in sound.iter().zip(&found.places) {
        clouds.entry(&vertebra.level).or_default().push(*place);
    }
    let clouds: Vec<Cloud> = clouds
        .into_iter()
        .map(|(level, points)| Cloud {
            name: level.to_owned(),
            points,
        })
        .collect();
    let [first, second] = found.shares.map(|share| format!("{:.1} %", 100.0 * share));
    let axes = [
        format!("first component ({first} of the variance)"),
        format!("second component ({second} of the variance)"),
    ];
    let reading = format!(
        "Each sign is a vertebra: the {length} numbers that the model sums it up in, seen along the two directions in \
         which they differ most (principal components, {first} and {second} of the variance). Vertebrae that lie close \
         together are alike to the model; one far from all others is worth a look."
    );
    let left_out = (left_out > 0).then(|| {
        paragraph(&format!(
            "{} left out: of another length, or not finite.",
            many(left_out, "latent is", "latents are")
        ))
    });
    let picture = scatter(
        "Map of the latents",
        [axes[0].as_str(), axes[1].as_str()],
        &clouds,
        false,
        "Latents along their first two principal components, by level.",
    );
    all([paragraph(&reading), picture].into_iter().chain(left_out))
}

/// Returns the vertebrae whose latents are finite and of the most frequent length, and how many are not.
fn sound<'a>(facts: &Facts<'a>) -> (Vec<(&'a VertebraSeen, &'a [f32])>, usize) {
    let latents: Vec<(&VertebraSeen, &[f32])> = facts
        .vertebrae(None)
        .filter_map(|vertebra| Some((vertebra, vertebra.latent.as_deref()?)))
        .collect();
    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, latent) in &latents {
        *lengths.entry(latent.len()).or_default() += 1;
    }
    let length = lengths.into_iter().max_by_key(|(_, count)| *count);
    let length = length.map_or(0, |(length, _)| length);
    let all = latents.len();
    let is_sound = |latent: &[f32]| latent.len() == length && latent.iter().all(|value| value.is_finite());
    let sound: Vec<_> = latents
        .into_iter()
        .filter(|(_, latent)| is_sound(latent))
        .collect();
    let left_out = all - sound.len();
    (sound, left_out)
}
