//! The first screen: what came of the run in a sentence for those who treat, one for those who run it, and warnings.

use super::change::Change;
use super::facts::Facts;
use super::many;
use super::numbers::{DONE, DSC};
use crate::report::page::{Mark, Markup, all, code, enclosed, list, mark, number, signed, words};

/// Decimals of a mean DSC.
const DECIMALS: usize = 3;

/// Returns the first screen.
pub(super) fn opening(facts: &Facts<'_>, warnings: &[String], made: &str) -> Markup {
    let dsc = Change::of(facts, facts.metrics[DSC], None);
    let kicker = all([
        words("spinestream report · run "),
        code(&facts.results.run),
        words(&format!(" · made {made}")),
    ]);
    let warned = warnings
        .iter()
        .map(|warning| all([mark(Mark::Watch, "note"), words(" "), words(warning)]));
    all([
        enclosed("<header>\n<p class=\"kicker\">", kicker, "</p>\n"),
        enclosed("<h1>", words(&clinical(facts, dsc.as_ref())), "</h1>\n"),
        enclosed("<p>", words(&technical(facts)), "</p>\n"),
        list(warned),
        enclosed(
            "<dl class=\"tiles\">\n",
            tiles(facts, dsc.as_ref()),
            "</dl>\n</header>\n",
        ),
    ])
}

/// Returns what a clinician asks first: how many vertebrae, and whether they are better than before.
fn clinical(facts: &Facts<'_>, dsc: Option<&Change>) -> String {
    let found = facts.results.vertebrae.len();
    if found == 0 {
        return "No vertebra has been reconstructed.".to_owned();
    }
    let done = found - facts.vertebrae_failed;
    let mut sentence = format!(
        "{done} of {} {} reconstructed",
        many(found, "vertebra", "vertebrae"),
        if found == 1 { "was" } else { "were" }
    );
    let Some(dsc) = dsc else {
        return sentence + "; whether they are closer to the truth was not measured.";
    };
    let [before, after] = dsc.means.map(|mean| format!("{mean:.DECIMALS$}"));
    sentence += ": their mean overlap with the reference (DSC) ";
    sentence += &if before == after {
        format!("stayed at {after}")
    } else {
        let way = if dsc.means[1] > dsc.means[0] {
            "rose"
        } else {
            "fell"
        };
        format!("{way} from {before} to {after}")
    };
    sentence + &format!("; {} of {} got worse.", dsc.worse, dsc.estimate.count)
}

/// Returns what an engineer asks first: how much, how fast, what failed.
fn technical(facts: &Facts<'_>) -> String {
    let results = facts.results;
    let mut sentence = format!(
        "{} of {}",
        many(results.cases.len(), "case", "cases"),
        many(facts.persons, "person", "persons")
    );
    match facts.speed {
        Some(speed) => {
            sentence += &format!(
                "; {} in {} of its starts, {:.3} cases a second",
                many(speed.cases as usize, "case", "cases"),
                seconds(speed.seconds),
                speed.cases / speed.seconds
            );
            if let Some(cores) = speed.cores {
                sentence += &format!(", cores {:.0} % busy", 100.0 * cores);
            }
        }
        None => sentence += "; no record tells how long it took",
    }
    let vertebrae = many(facts.vertebrae_failed, "vertebra", "vertebrae");
    sentence += &match (facts.cases_failed, facts.vertebrae_failed) {
        (0, 0) => "; nothing failed.".to_owned(),
        (cases, _) => format!(
            "; {} and {vertebrae} of other cases failed.",
            many(cases, "case", "cases")
        ),
    };
    sentence
}

fn tiles(facts: &Facts<'_>, dsc: Option<&Change>) -> Markup {
    let results = facts.results;
    let done = results.vertebrae.len() - facts.vertebrae_failed;
    let sound = results.cases.iter().filter(|case| case.status == DONE).count();
    let [means, difference] = match dsc {
        Some(change) => {
            let [before, after] = change.means.map(|mean| number(Some(mean), DECIMALS));
            let estimate = change.estimate;
            [
                all([before, words(" → "), after]),
                words(&signed(estimate.mean, estimate.interval, DECIMALS)),
            ]
        }
        None => [words("–"), words("not measured")],
    };
    all([
        tile(
            "Vertebrae reconstructed",
            words(&format!("{done} of {}", results.vertebrae.len())),
            words(&format!("{} failed", facts.vertebrae_failed)),
        ),
        tile(
            "Cases done",
            words(&format!("{sound} of {}", results.cases.len())),
            words(&format!("{} failed", facts.cases_failed)),
        ),
        tile("Mean DSC, input → reconstruction", means, difference),
    ])
}

fn tile(title: &str, large: Markup, small: Markup) -> Markup {
    all([
        enclosed("<div>\n<dt>", words(title), "</dt>\n"),
        enclosed("<dd class=\"large\">", large, "</dd>\n"),
        enclosed("<dd>", small, "</dd>\n</div>\n"),
    ])
}

/// Returns a time in units that people use.
pub(super) fn seconds(seconds: f64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    let whole = seconds.round() as u64;
    match whole {
        0..MINUTE => format!("{seconds:.1} s"),
        MINUTE..HOUR => format!("{} min {:02} s", whole / MINUTE, whole % MINUTE),
        _ => format!("{} h {:02} min", whole / HOUR, whole % HOUR / MINUTE),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{results, sample, vertebra};
    use super::*;
    use crate::results::Results;

    fn told(results: &Results) -> String {
        let facts = Facts::of(results);
        clinical(&facts, Change::of(&facts, facts.metrics[DSC], None).as_ref())
    }

    #[test]
    fn the_first_sentence_says_whether_masks_got_better() {
        let run = results([
            vertebra("a", "L1", Some(0.8), Some(0.9)),
            vertebra("a", "L2", Some(0.7), Some(0.6)),
            vertebra("b", "L1", Some(0.6), Some(0.9)),
        ]);
        // (0.8 + 0.7 + 0.6) / 3 and (0.9 + 0.6 + 0.9) / 3
        assert_eq!(
            told(&run),
            "3 of 3 vertebrae were reconstructed: their mean overlap with the reference (DSC) rose from 0.700 to \
             0.800; 1 of 3 got worse."
        );
        let equal = results([vertebra("a", "L1", Some(0.8), Some(0.8))]);
        assert_eq!(
            told(&equal),
            "1 of 1 vertebra was reconstructed: their mean overlap with the reference (DSC) stayed at 0.800; 0 of 1 \
             got worse."
        );
        let worse = results([vertebra("a", "L1", Some(0.8), Some(0.7))]);
        assert!(told(&worse).contains("fell from 0.800 to 0.700; 1 of 1 got worse."));
        let unmeasured = results([vertebra("a", "L1", None, None)]);
        assert!(told(&unmeasured).ends_with("was not measured."));
        assert_eq!(told(&Results::default()), "No vertebra has been reconstructed.");
    }

    #[test]
    fn the_second_sentence_says_how_much_how_fast_and_what_failed() {
        // the sample: six cases of three persons, one failed, one vertebra failed; its record says 8 s and 6 cases
        assert_eq!(
            technical(&Facts::of(&sample())),
            "6 cases of 3 persons; 6 cases in 8.0 s of its starts, 0.750 cases a second, cores 75 % busy; 1 case and 1 \
             vertebra of other cases failed."
        );
        let nothing = Results::default();
        assert_eq!(
            technical(&Facts::of(&nothing)),
            "0 cases of 0 persons; no record tells how long it took; nothing failed."
        );
    }

    #[test]
    fn times_are_told_in_units_that_people_use() {
        assert_eq!(seconds(12.34), "12.3 s");
        assert_eq!(seconds(61.0), "1 min 01 s");
        assert_eq!(seconds(3_725.5), "1 h 02 min");
    }
}
