//! Whether a challenger is better than the champion: both on the same masks, degraded alike, with the same seeds.

use std::collections::BTreeMap;

use models::seed::derive;
use schemas::Level;
use schemas::rows::ComparisonRow;
use schemas::vertebra::METRIC_NAMES;
use serde::{Deserialize, Serialize};

use super::conf::Margins;
use crate::compare::Subject;
use crate::compare::bootstrap::mean_interval;
use crate::compare::summary::metric;

/// What the champion is where there is none: the masks as they are.
pub const INPUT: &str = "input";

/// What came of the comparison, and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Version of the champion, or [`INPUT`] where there is none: then the degraded masks stand for it.
    pub against: String,
    /// Each must pass.
    pub rules: Vec<Rule>,
    /// Mean DSC of champion and challenger, over the masks that both reconstructed.
    pub dsc: [f64; 2],
    /// Mean of challenger − champion.
    pub difference: f64,
    /// Its 95 % interval, by persons.
    pub interval: Option<[f64; 2]>,
    /// Persons judged on.
    pub persons: usize,
    /// Masks judged on.
    pub masks: usize,
    /// Level by level.
    pub levels: Vec<LevelLine>,
    /// Metric by metric, over the masks where both have it.
    pub metrics: Vec<MetricLine>,
    /// Challenger − champion in DSC, one a mask.
    pub differences: Vec<f64>,
}

/// One condition of a promotion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What is asked for, as a sentence.
    pub rule: String,
    /// What was found.
    pub found: String,
    /// Whether it is met.
    pub passed: bool,
}

/// Mean DSC on one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelLine {
    /// The level.
    pub level: String,
    /// Masks of it.
    pub masks: usize,
    /// The champion's mean.
    pub champion: f64,
    /// The challenger's mean.
    pub challenger: f64,
}

/// Means of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricLine {
    /// Its name, as in the tables.
    pub metric: String,
    /// The champion's mean.
    pub champion: Option<f64>,
    /// The challenger's mean.
    pub challenger: Option<f64>,
}

impl Judgement {
    /// Returns whether the challenger is to be promoted.
    pub fn promotes(&self) -> bool {
        self.rules.iter().all(|rule| rule.passed)
    }
}

/// Judges the challenger's rows against the champion's, one a subject on both sides and in the subjects' order.
///
/// Of a mask that one of them failed on, only the failure counts. Intervals resample persons, under `seed`.
pub fn judge(
    subjects: &[Subject],
    champion: Option<(&str, &[ComparisonRow])>,
    challenger: &[ComparisonRow],
    margins: &Margins,
    resamples: usize,
    seed: u64,
) -> Judgement {
    let pairs: Vec<Pair<'_>> = subjects
        .iter()
        .enumerate()
        .map(|(index, subject)| Pair {
            subject,
            champion: match champion {
                Some((_, rows)) => rows.get(index).and_then(|row| row.recon),
                None => Some(subject.scores),
            },
            challenger: challenger.get(index).and_then(|row| row.recon),
        })
        .collect();
    let failures = |is_challenger: bool| {
        let failed = |pair: &&Pair<'_>| {
            if is_challenger {
                pair.challenger
            } else {
                pair.champion
            }
            .is_none()
        };
        pairs.iter().filter(failed).count()
    };
    let of_dsc = both(&pairs, metric("dsc"));
    let differences: Vec<f64> = of_dsc
        .iter()
        .map(|both| both.challenger - both.champion)
        .collect();
    let mut groups: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (both, difference) in of_dsc.iter().zip(&differences) {
        groups.entry(&both.subject.person).or_default().push(*difference);
    }
    let persons = groups.len();
    let groups: Vec<Vec<f64>> = groups.into_values().collect();
    let estimate = mean_interval(&groups, resamples, derive(seed, "bootstrap"));
    let difference = estimate.map_or(0.0, |estimate| estimate.mean);
    let interval = estimate.and_then(|estimate| estimate.interval);
    let levels = levels(&of_dsc);
    let metrics: Vec<MetricLine> = METRIC_NAMES
        .iter()
        .enumerate()
        .map(|(index, name)| line(name, &both(&pairs, index)))
        .collect();
    let spec = &metrics[metric("spec")];
    let mut rules = vec![
        not_worse(interval, margins.dsc, of_dsc.len()),
        better(difference, of_dsc.len()),
        no_level_loses(&levels, margins.level_dsc),
    ];
    // degraded masks stay within the bone, so that whatever fills in what they miss claims more beside it
    if champion.is_some() {
        rules.push(as_specific(spec, margins.spec));
    }
    rules.push(no_more_failures([failures(false), failures(true)]));
    Judgement {
        against: champion.map_or(INPUT, |(version, _)| version).to_owned(),
        rules,
        dsc: [
            mean(of_dsc.iter().map(|both| both.champion)).unwrap_or_default(),
            mean(of_dsc.iter().map(|both| both.challenger)).unwrap_or_default(),
        ],
        difference,
        interval,
        persons,
        masks: subjects.len(),
        levels,
        metrics,
        differences,
    }
}

/// One mask and what the two made of it; `None` where one failed.
struct Pair<'a> {
    subject: &'a Subject,
    champion: Option<schemas::Scores>,
    challenger: Option<schemas::Scores>,
}

/// One metric where both have it.
struct Both<'a> {
    subject: &'a Subject,
    champion: f64,
    challenger: f64,
}

fn both<'a>(pairs: &[Pair<'a>], metric: usize) -> Vec<Both<'a>> {
    let defined = pairs.iter().filter_map(|pair| {
        Some(Both {
            subject: pair.subject,
            champion: pair.champion?[metric]?,
            challenger: pair.challenger?[metric]?,
        })
    });
    defined.collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

fn line(name: &str, values: &[Both<'_>]) -> MetricLine {
    MetricLine {
        metric: name.to_owned(),
        champion: mean(values.iter().map(|both| both.champion)),
        challenger: mean(values.iter().map(|both| both.challenger)),
    }
}

fn levels(values: &[Both<'_>]) -> Vec<LevelLine> {
    let mut by_level: BTreeMap<Level, [f64; 2]> = BTreeMap::new();
    let mut counts: BTreeMap<Level, usize> = BTreeMap::new();
    for both in values {
        let [champion, challenger] = by_level.entry(both.subject.level).or_default();
        *champion += both.champion;
        *challenger += both.challenger;
        *counts.entry(both.subject.level).or_default() += 1;
    }
    let lines = by_level.into_iter().map(|(level, [champion, challenger])| {
        let masks = counts[&level];
        LevelLine {
            level: level.as_str().to_owned(),
            masks,
            champion: champion / masks as f64,
            challenger: challenger / masks as f64,
        }
    });
    lines.collect()
}

fn not_worse(interval: Option<[f64; 2]>, margin: f64, pairs: usize) -> Rule {
    Rule {
        rule: format!("the 95 % interval of the mean difference in DSC begins at −{margin} or above"),
        found: match interval {
            Some([low, high]) => format!("{low:+.4} to {high:+.4}"),
            None => format!("no interval: {pairs} masks of fewer than two persons"),
        },
        passed: interval.is_some_and(|[low, _]| low >= -margin),
    }
}

fn better(difference: f64, pairs: usize) -> Rule {
    Rule {
        rule: "the mean DSC is better".to_owned(),
        found: format!("{difference:+.4} over {pairs} masks"),
        passed: pairs > 0 && difference > 0.0,
    }
}

fn no_level_loses(levels: &[LevelLine], margin: f64) -> Rule {
    let worst = levels
        .iter()
        .map(|line| (line.challenger - line.champion, line))
        .min_by(|(a, _), (b, _)| a.total_cmp(b));
    Rule {
        rule: format!("no level loses more than {margin} of its mean DSC"),
        found: match worst {
            Some((difference, line)) => format!("{}, the least of all: {difference:+.4}", line.level),
            None => "no level".to_owned(),
        },
        passed: worst.is_some_and(|(difference, _)| difference >= -margin),
    }
}

fn as_specific(spec: &MetricLine, margin: f64) -> Rule {
    let difference = spec.challenger.zip(spec.champion).map(|(new, old)| new - old);
    Rule {
        rule: match margin {
            0.0 => "the mean specificity is no worse".to_owned(),
            margin => format!("the mean specificity loses at most {margin}"),
        },
        found: difference.map_or_else(|| "none".to_owned(), |difference| format!("{difference:+.6}")),
        passed: difference.is_some_and(|difference| difference >= -margin),
    }
}

fn no_more_failures([champion, challenger]: [usize; 2]) -> Rule {
    Rule {
        rule: "no more masks fail".to_owned(),
        found: format!("{challenger}, of the champion {champion}"),
        passed: challenger <= champion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Method;
    use crate::compare::testing::{moved, subject};

    /// Cubes of ten voxels, `shift` of them off: DSC = 1 − shift/10.
    fn subjects(shifts: &[(&str, usize)]) -> Vec<Subject> {
        shifts
            .iter()
            .map(|(person, shift)| Subject {
                person: (*person).to_owned(),
                ..subject(person, *shift)
            })
            .collect()
    }

    fn verdict(subjects: &[Subject], champion: Option<&Method>, challenger: &Method) -> Judgement {
        let champion = champion.map(|method| ("v20260101-00000000", method.rows.as_slice()));
        judge(subjects, champion, &challenger.rows, &Margins::default(), 1000, 0)
    }

    fn failed(judgement: &Judgement) -> Vec<&str> {
        let rules = judgement.rules.iter().filter(|rule| !rule.passed);
        rules.map(|rule| rule.rule.as_str()).collect()
    }

    #[test]
    fn a_challenger_that_is_better_on_every_mask_is_promoted() {
        let subjects = subjects(&[("a", 5), ("b", 4), ("c", 3)]);
        let (old, new) = (moved("old", 1, &subjects), moved("new", 3, &subjects));
        let judgement = verdict(&subjects, Some(&old), &new);
        assert!(judgement.promotes(), "{:?}", judgement.rules);
        // DSC 0.6, 0.7, 0.8 → 0.8, 0.9, 1
        assert!((judgement.difference - 0.2).abs() < 1e-12);
        assert!((judgement.dsc[0] - 0.7).abs() < 1e-12 && (judgement.dsc[1] - 0.9).abs() < 1e-12);
        assert_eq!((judgement.persons, judgement.masks), (3, 3));
        assert_eq!(judgement.against, "v20260101-00000000");
    }

    #[test]
    fn the_same_once_more_is_not_better() {
        let subjects = subjects(&[("a", 5), ("b", 4)]);
        let same = moved("same", 2, &subjects);
        let judgement = verdict(&subjects, Some(&same), &same);
        assert_eq!(failed(&judgement), ["the mean DSC is better"]);
        assert_eq!(judgement.interval, Some([0.0, 0.0]));
    }

    #[test]
    fn a_challenger_that_is_worse_fails_by_mean_interval_and_level() {
        let subjects = subjects(&[("a", 5), ("b", 4)]);
        let (old, new) = (moved("old", 3, &subjects), moved("new", 1, &subjects));
        let judgement = verdict(&subjects, Some(&old), &new);
        assert_eq!(failed(&judgement).len(), 4, "all but the failures: {judgement:?}");
    }

    #[test]
    fn a_failure_more_than_the_champion_has_keeps_the_champion() {
        // seven voxels to the side of a mask two voxels off leaves the cube: the stand-in fails there
        let subjects = subjects(&[("a", 8), ("b", 9), ("c", 2)]);
        let (old, new) = (moved("old", 1, &subjects), moved("new", 7, &subjects));
        let judgement = verdict(&subjects, Some(&old), &new);
        assert_eq!(failed(&judgement), ["no more masks fail"]);
        assert_eq!(judgement.differences.len(), 2, "only masks that both did");
        assert!(
            verdict(&subjects, Some(&new), &old).rules[4].passed,
            "fewer are fine"
        );
    }

    #[test]
    fn without_a_champion_the_masks_themselves_are_to_be_beaten() {
        let subjects = subjects(&[("a", 5), ("b", 4)]);
        let judgement = verdict(&subjects, None, &moved("new", 2, &subjects));
        assert_eq!(judgement.against, INPUT);
        assert!(judgement.promotes(), "{:?}", judgement.rules);
        let nothing = verdict(&subjects, None, &moved("as it is", 0, &subjects));
        assert!(!nothing.promotes());
    }

    #[test]
    fn specificity_is_asked_for_against_a_champion_alone() {
        let subjects = subjects(&[("a", 5), ("b", 4)]);
        let mut new = moved("new", 2, &subjects);
        for row in &mut new.rows {
            row.recon = row.recon.map(|mut scores| {
                scores[metric("spec")] = Some(0.5);
                scores
            });
        }
        let first = verdict(&subjects, None, &new);
        assert!(first.promotes(), "{:?}", first.rules);
        let later = verdict(&subjects, Some(&moved("old", 1, &subjects)), &new);
        assert_eq!(failed(&later), ["the mean specificity is no worse"]);
    }

    #[test]
    fn one_person_gives_no_interval_and_no_promotion() {
        let subjects = subjects(&[("a", 5), ("a", 4)]);
        let judgement = verdict(&subjects, None, &moved("new", 2, &subjects));
        assert_eq!((judgement.interval, judgement.persons), (None, 1));
        assert!(!judgement.rules[0].passed && !judgement.promotes());
        let none = judge(&[], None, &[], &Margins::default(), 100, 0);
        assert!(!none.promotes(), "nothing to judge on");
    }

    #[test]
    fn a_level_that_loses_too_much_keeps_the_champion_though_the_mean_is_better() {
        let mut subjects = subjects(&[("a", 5), ("b", 5), ("c", 5), ("d", 5)]);
        subjects[3].level = Level::L4;
        let (old, mut new) = (moved("old", 1, &subjects), moved("new", 3, &subjects));
        let row = &mut new.rows[3];
        row.recon = old.rows[3].recon.map(|mut scores| {
            let dsc = &mut scores[metric("dsc")];
            *dsc = dsc.map(|dsc| dsc - 0.011);
            scores
        });
        let judgement = verdict(&subjects, Some(&old), &new);
        let failed = failed(&judgement);
        assert!(
            failed.contains(&"no level loses more than 0.01 of its mean DSC"),
            "{failed:?}"
        );
        let line = judgement
            .levels
            .iter()
            .find(|line| line.level == "L4")
            .expect("L4");
        assert!((line.challenger - line.champion + 0.011).abs() < 1e-12);
    }
}
