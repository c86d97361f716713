//! Vertebrae as pictures: slices and surface of input, reconstruction and reference, errors shaded.

use ndarray::Array3;

use super::choose::{Chosen, Why};
use super::facts::Facts;
use super::numbers::DSC;
use crate::report::page::{Markup, Section, all, figure, heading, paragraph};
use crate::report::picture::{Column, panel};

/// The name space of SVG, which a picture within HTML does without.
const NAME_SPACE: &str = " xmlns=\"http://www.w3.org/2000/svg\"";

/// The masks of a vertebra on its patch's grid; each with the reason where there is none, in words for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Masks {
    /// What the model was given.
    pub input: Result<Array3<u8>, String>,
    /// What it made of it.
    pub recon: Result<Array3<u8>, String>,
    /// What both are held against.
    pub reference: Result<Array3<u8>, String>,
}

/// A vertebra as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    chosen: Chosen,
    /// The picture; `None` where there is no mask at all.
    svg: Option<String>,
    /// What is missing, and why.
    notes: Vec<String>,
}

impl Panel {
    /// Draws a vertebra: some hundred milliseconds of work.
    pub fn draw(chosen: Chosen, masks: &Masks) -> Self {
        let vertebra = &chosen.vertebra;
        let name = format!("{} {}", vertebra.case_id, vertebra.level);
        let sides = [
            ("input", &masks.input, vertebra.input[DSC]),
            ("reconstruction", &masks.recon, vertebra.recon[DSC]),
        ];
        let columns = sides.into_iter().filter_map(|(side, mask, dsc)| {
            let title = match dsc {
                Some(dsc) => format!("{side}, DSC {dsc:.3}"),
                None => side.to_owned(),
            };
            let mask = mask.as_ref().ok()?.view();
            Some(Column { title, mask })
        });
        let columns: Vec<Column<'_>> = columns.collect();
        let reference = masks.reference.as_ref().ok().map(|mask| mask.view());
        let svg = (!columns.is_empty()).then(|| panel(&name, &columns, reference).replace(NAME_SPACE, ""));
        let missing = [
            ("input", masks.input.as_ref().err()),
            ("reconstruction", masks.recon.as_ref().err()),
            ("reference", masks.reference.as_ref().err()),
        ];
        let notes = missing
            .into_iter()
            .filter_map(|(mask, why)| Some(format!("No {mask} is shown: {}.", why?)))
            .collect();
        Self { svg, notes, chosen }
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
        (Why::Example, "Examples, evenly drawn: no vertebra has a reference"),
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

    use ndarray::s;

    use super::super::testing::{sample, vertebra};
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

    fn block() -> Result<Array3<u8>, String> {
        let mut mask = Array3::zeros((16, 16, 16));
        mask.slice_mut(s![4..10, 4..10, 4..10]).fill(1);
        Ok(mask)
    }

    #[test]
    fn a_vertebra_is_drawn_as_far_as_there_are_masks() {
        let whole = Masks {
            input: block(),
            recon: block(),
            reference: block(),
        };
        let panel = Panel::draw(chosen(), &whole);
        let svg = panel.svg.as_deref().expect("masks");
        assert!(svg.starts_with("<svg viewBox") && !svg.contains("http"));
        // three columns of three slices and a surface
        assert_eq!(svg.matches("<image ").count(), 12);
        assert!(svg.contains("one column each: input, DSC 0.800, reconstruction, DSC 0.900, reference."));
        assert!(panel.notes.is_empty());
        assert_eq!(
            panel.caption(),
            "a L1: DSC 0.800 → 0.900; volume 40.0 → 42.5 cm³; flags: touches_border."
        );

        let gone = || Err("its file was not kept".to_owned());
        let half = Masks {
            input: gone(),
            reference: gone(),
            ..whole.clone()
        };
        let panel = Panel::draw(chosen(), &half);
        assert_eq!(panel.svg.expect("one mask").matches("<image ").count(), 4);
        let notes = ["input", "reference"].map(|mask| format!("No {mask} is shown: its file was not kept."));
        assert_eq!(panel.notes, notes);

        let none = Masks {
            recon: gone(),
            ..half
        };
        let panel = Panel::draw(chosen(), &none);
        assert_eq!((panel.svg.as_deref(), panel.notes.len()), (None, 3));
        assert!(panel.markup().as_str().contains("No reconstruction is shown"));
    }
}
