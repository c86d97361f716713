//! Which vertebrae of a run are shown as pictures.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::numbers::{DONE, DSC};
use crate::report::shown;
use crate::results::{CaseSeen, Results, VertebraSeen};

/// Why a vertebra is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its reconstruction overlaps least with its reference.
    Worst,
    /// Its reconstruction overlaps with the reference by so much more than its input.
    MostImproved,
    /// No vertebra has a reference: one of several, evenly drawn.
    Example,
}

/// A vertebra to be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Its case.
    pub case: Arc<CaseSeen>,
    /// Itself.
    pub vertebra: Arc<VertebraSeen>,
    /// Why it is shown.
    pub why: Why,
}

/// A vertebra with a value to sort by.
struct Scored<'a> {
    case: &'a Arc<CaseSeen>,
    vertebra: &'a Arc<VertebraSeen>,
    /// DSC of the reconstruction.
    recon: f64,
    /// DSC of the reconstruction over that of the input; below zero where the input has none.
    gain: f64,
}

impl Scored<'_> {
    fn chosen(&self, why: Why) -> Chosen {
        Chosen {
            case: Arc::clone(self.case),
            vertebra: Arc::clone(self.vertebra),
            why,
        }
    }
}

/// Returns at most `count` reconstructed vertebrae: half of them the worst, the others those that gained most; of fewer
/// that gained, more of the worst. Without a reference in the whole run they are evenly drawn.
pub fn choose(results: &Results, count: usize) -> Vec<Chosen> {
    let done = results
        .vertebrae
        .iter()
        .filter(|vertebra| vertebra.status == DONE);
    let done: Vec<(&Arc<CaseSeen>, &Arc<VertebraSeen>)> = done
        .filter_map(|vertebra| Some((results.case(&vertebra.case_id)?, vertebra)))
        .collect();
    let mut scored: Vec<Scored<'_>> = done
        .iter()
        .filter_map(|&(case, vertebra)| {
            let recon = vertebra.recon[DSC].filter(|value| value.is_finite())?;
            let input = vertebra.input[DSC].filter(|value| value.is_finite());
            Some(Scored {
                case,
                vertebra,
                recon,
                gain: input.map_or(-1.0, |input| recon - input),
            })
        })
        .collect();
    if scored.is_empty() {
        let places = shown(done.len(), count).into_iter();
        let drawn = places.filter_map(|place| done.get(place));
        return drawn
            .map(|&(case, vertebra)| Chosen {
                case: Arc::clone(case),
                vertebra: Arc::clone(vertebra),
                why: Why::Example,
            })
            .collect();
    }
    // equals stay in the order of case and level
    scored.sort_by(|one, other| one.recon.total_cmp(&other.recon));
    let count = count.min(scored.len());
    let (worst, rest) = scored.split_at(count.div_ceil(2));
    let mut improved: Vec<(usize, &Scored<'_>)> = rest
        .iter()
        .enumerate()
        .filter(|(_, scored)| scored.gain > 0.0)
        .collect();
    improved.sort_by(|(_, one), (_, other)| other.gain.total_cmp(&one.gain));
    improved.truncate(count - worst.len());
    let taken: BTreeSet<usize> = improved.iter().map(|(place, _)| *place).collect();
    let left = count - worst.len() - improved.len();
    let more = rest.iter().enumerate();
    let more = more.filter(|(place, _)| !taken.contains(place)).take(left);
    let mut chosen: Vec<Chosen> = worst
        .iter()
        .chain(more.map(|(_, scored)| scored))
        .map(|scored| scored.chosen(Why::Worst))
        .collect();
    chosen.extend(
        improved
            .into_iter()
            .map(|(_, scored)| scored.chosen(Why::MostImproved)),
    );
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::testing::{results, vertebra};
    use super::*;

    fn names(chosen: &[Chosen]) -> Vec<(String, Why)> {
        let name = |chosen: &Chosen| format!("{} {}", chosen.vertebra.case_id, chosen.vertebra.level);
        chosen.iter().map(|chosen| (name(chosen), chosen.why)).collect()
    }

    fn of(scores: &[(&str, &str, Option<f64>, Option<f64>)]) -> Results {
        let made = scores
            .iter()
            .map(|(case, level, input, recon)| vertebra(case, level, *input, *recon));
        results(made)
    }

    #[test]
    fn half_are_the_worst_and_half_those_that_gained_most() {
        let results = of(&[
            ("a", "L1", Some(0.8), Some(0.9)),
            ("a", "L2", Some(0.2), Some(0.85)),
            ("b", "L1", Some(0.9), Some(0.3)),
            ("b", "L2", Some(0.7), Some(0.95)),
            ("c", "L1", None, Some(0.5)),
            ("c", "L2", None, None),
        ]);
        let chosen = names(&choose(&results, 4));
        let expected = [
            ("b L1", Why::Worst),
            ("c L1", Why::Worst),
            ("a L2", Why::MostImproved),
            ("b L2", Why::MostImproved),
        ];
        assert_eq!(chosen, expected.map(|(name, why)| (name.to_owned(), why)));
        assert_eq!(choose(&results, 0), []);
        assert_eq!(
            choose(&results, 100).len(),
            5,
            "the one without a value is not among them"
        );
    }

    #[test]
    fn where_none_gained_all_are_the_worst() {
        let results = of(&[
            ("a", "L1", Some(0.9), Some(0.9)),
            ("b", "L1", Some(0.8), Some(0.7)),
            ("c", "L1", Some(0.6), Some(0.6)),
        ]);
        let expected = ["c L1", "b L1", "a L1"].map(|name| (name.to_owned(), Why::Worst));
        assert_eq!(names(&choose(&results, 3)), expected);
    }

    #[test]
    fn without_a_reference_they_are_evenly_drawn_and_failed_ones_are_not() {
        let cases = ["a", "b", "c", "d"];
        let mut all: Vec<VertebraSeen> = cases
            .iter()
            .map(|case| vertebra(case, "L1", None, None))
            .collect();
        all[1].status = "failed".to_owned();
        // of a, c and d two are drawn: places 0 and 1
        let expected = ["a L1", "c L1"].map(|name| (name.to_owned(), Why::Example));
        assert_eq!(names(&choose(&results(all), 2)), expected);
        assert_eq!(choose(&Results::default(), 12), []);
    }
}
