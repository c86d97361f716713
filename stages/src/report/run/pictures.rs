//! Vertebrae as pictures: slices and surface of input, reconstruction and reference, errors shaded.

use super::choose::{Chosen, Why};
use super::facts::Facts;
use super::numbers::DSC;
use crate::masks::VertebraMasks;
use crate::report::page::{Markup, Section, all, figure, heading, paragraph};

/// The name space of SVG, which a picture within HTML does without.
const NAME_SPACE: &str = " xmlns=\"http://www.w3.org/2000/svg\"";

/// A vertebra as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    chosen: Chosen,
    /// The picture; `None` where there is neither input nor reconstruction.
    svg: Option<String>,
    /// What is missing, and why.
    notes: Vec<String>,
}

impl Panel {
    /// Draws a vertebra: work for a thread that may block.
    pub fn draw(chosen: Chosen, masks: &VertebraMasks) -> Self {
        let name = format!("{} {}", chosen.vertebra.case_id, chosen.vertebra.level);
        let svg = masks.panel(&name).map(|svg| svg.replace(NAME_SPACE, ""));
        let missing = [
            ("input", &masks.input),
            ("reconstruction", &masks.recon),
            ("reference", &masks.reference),
        ];
        let notes = missing
            .into_iter()
            .filter_map(|(name, mask)| {
                let why = mask.as_ref().err()?;
                Some(format!("No {name} is shown: {why}."))
            })
            .collect();
        Self {
            chosen,
            svg: svg.ok(),
            notes,
        }
    }

    /// Says which vertebra it is and how it came out.
    fn caption(&self) -> String {
        let vertebra = &self.chosen.vertebra;
        let mut words = format!("{} {}", vertebra.case_id, vertebra.level);
        if let (Some(before), Some(after)) = (vertebra.input[DSC], vertebra.recon[DSC]) {
            words += &format!(": DSC {before:.3} → {after:.3}");
        }
        if let (Some(before), Some(after)) = (vertebra.input_volume_mm3, vertebra.recon_volume_mm3) {
            words += &format!("; volume {:.1} → {:.1} cm³", before / 1e3, after / 1e3);
        }
        if !vertebra.flags.is_empty() {
            words += &format!("; flags: {}", vertebra.flags.join(", "));
        }
        words + "."
    }

    fn markup(&self) -> Markup {
        let notes = self.notes.iter().map(|note| paragraph(note));
        match &self.svg {
            Some(svg) => all(std::iter::once(figure("picture", svg.clone(), &self.caption())).chain(notes)),
            None => all(std::iter::once(paragraph(&self.caption())).chain(notes)),
        }
    }
}

/// Returns the section.
pub(super) fn section(facts: &Facts<'_>, panels: &[Panel]) -> Section {
    Section {
        id: "pictures",
        title: "Single vertebrae",
        body: body(facts, panels),
    }
}

fn body(facts: &Facts<'_>, panels: &[Panel]) -> Markup {
    if panels.is_empty() {
        let why = match facts.results.vertebrae.len() - facts.vertebrae_failed {
            0 => "No vertebra was reconstructed: there is nothing to show.",
            _ => "No pictures were asked for.",
        };
        return paragraph(why);
    }
    let reading = "Slices run through the middle of the vertebra. Over input and reconstruction lies the outline of the \
                   reference, and their errors are shaded: dark is what a mask has too much, hatched is what it lacks. \
                   Without a reference the masks are shown as they are.";
    let mut parts = vec![paragraph(reading)];
    for (why, title) in [
        (Why::Worst, "Least overlap with the reference"),
        (Why::MostImproved, "Most improved"),
        (
            Why::Example,
            "Examples, evenly drawn: no vertebra has a reference",
        ),
    ] {
        let mut of_kind = panels.iter().filter(|panel| panel.chosen.why == why).peekable();
        if of_kind.peek().is_some() {
            parts.push(heading(title));
            parts.extend(of_kind.map(Panel::markup));
        }
    }
    all(parts)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{block, masks, sample, vertebra};
    use super::*;

    fn chosen() -> Chosen {
        let mut vertebra = vertebra("a", "L1", Some(0.8), Some(0.9));
        vertebra.input_volume_mm3 = Some(40_000.0);
        vertebra.recon_volume_mm3 = Some(42_500.0);
        vertebra.flags = vec!["touches_border".to_owned()];
        Chosen {
            case: Arc::clone(&sample().cases[0]),
            vertebra: Arc::new(vertebra),
            why: Why::Worst,
        }
    }

    #[test]
    fn a_vertebra_is_drawn_as_far_as_there_are_masks() {
        let whole = masks();
        let panel = Panel::draw(chosen(), &whole);
        let svg = panel.svg.as_deref().expect("masks");
        assert!(svg.starts_with("<svg viewBox") && !svg.contains("xmlns"));
        // three columns of three slices and a surface
        assert_eq!(svg.matches("<image ").count(), 12);
        assert!(panel.notes.is_empty());
        assert_eq!(
            panel.caption(),
            "a L1: DSC 0.800 → 0.900; volume 40.0 → 42.5 cm³; flags: touches_border."
        );

        let gone = || Err("its file was not kept".to_owned());
        let half = VertebraMasks {
            input: gone(),
            recon: block(),
            reference: gone(),
            ..whole
        };
        let panel = Panel::draw(chosen(), &half);
        assert_eq!(panel.svg.expect("one mask").matches("<image ").count(), 4);
        let notes = ["input", "reference"].map(|mask| format!("No {mask} is shown: its file was not kept."));
        assert_eq!(panel.notes, notes);

        let none = VertebraMasks {
            recon: gone(),
            ..half
        };
        let panel = Panel::draw(chosen(), &none);
        assert_eq!((panel.svg.as_deref(), panel.notes.len()), (None, 3));
        assert!(panel.markup().as_str().contains("No reconstruction is shown"));
    }
}
