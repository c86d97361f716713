//! Vertebrae with an input and a reference on one grid: what the methods are compared on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use models::degrade::degrade_with_slices;
use models::seed::derive;
use rayon::prelude::*;
use schemas::payload::CroppedVertebra;
use schemas::vertebra::{Flags, METRIC_NAMES};
use schemas::{Cropped, Fault, Flag, Level, Patch, Scores};

use super::conf::Degrade;
use crate::gather::Gathered;
use crate::metrics::scores;

/// Where a vertebra's input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A mask of its own, paired with the reference.
    Paired,
    /// The standard degradation of the reference.
    Degraded,
}

impl Source {
    /// Returns the name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paired => "paired",
            Self::Degraded => "degraded",
        }
    }
}

/// One vertebra to compare on.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Pseudonym of the case.
    pub case_id: String,
    /// Pseudonym of the person.
    pub person: String,
    /// Its level.
    pub level: Level,
    /// Where the input comes from.
    pub source: Source,
    /// Seed of degradation and samples: from the comparison's seed and `<person>_<level>`.
    pub seed: u64,
    /// What is worth knowing.
    pub flags: Flags,
    /// What the methods get.
    pub input: Patch,
    /// What they are to find.
    pub reference: Patch,
    /// Metrics of the input itself.
    pub scores: Scores,
}

impl Subject {
    /// Returns whether metrics of masks as they lie say something: the reference meets the input.
    pub fn meets(&self) -> bool {
        self.source == Source::Degraded || !self.flags.contains(&Flag::ReferenceElsewhere)
    }

    /// Returns what the report calls it: the case and the level, which many a case's name holds already.
    pub fn name(&self) -> String {
        let level = self.level.as_str();
        if self.case_id.ends_with(&format!("_{level}")) {
            return self.case_id.clone();
        }
        format!("{} {level}", self.case_id)
    }
}

/// A case, or a vertebra of one, that could not be compared on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Pseudonym of the case.
    pub case_id: String,
    /// Its level; `None` for the whole case.
    pub level: Option<Level>,
    /// Why.
    pub fault: Fault,
}

/// What there is to compare on.
#[derive(Debug, Default)]
pub struct Pairs {
    /// In the manifest's order and from the head down.
    pub subjects: Vec<Subject>,
    /// What is missing among them, and why.
    pub left_out: Vec<LeftOut>,
}

/// Returns the pairs of input and reference that the cases give, every vertebra of the others with its reason.
///
/// A reference that lies elsewhere is left out, unless it is to be moved (`registers`) or degraded.
pub fn pair_up(gathered: Gathered, conf: Degrade, registers: bool, seed: u64) -> Pairs {
    let conf = Pairing {
        degrade: conf,
        registers,
    };
    let mut pairs = Pairs {
        left_out: gathered.failed.into_iter().map(whole_case).collect(),
        ..Pairs::default()
    };
    let made: Vec<_> = gathered
        .cases
        .into_par_iter()
        .flat_map(|case| {
            let Cropped {
                origin, vertebrae, ..
            } = case;
            vertebrae
                .into_par_iter()
                .map(move |vertebra| {
                    let level = vertebra.level;
                    let made = || subject(origin.id.as_str(), &origin.person, vertebra, conf, seed);
                    let made = catch_unwind(AssertUnwindSafe(made));
                    let made = made.unwrap_or_else(|_| Err(Fault::bug("panic", "panicked on this vertebra")));
                    made.map_err(|fault| LeftOut {
                        case_id: origin.id.to_string(),
                        level: Some(level),
                        fault,
                    })
                })
                .collect::<Vec<_>>()
        })
        .collect();
    for result in made {
        match result {
            Ok(subject) => pairs.subjects.push(subject),
            Err(left_out) => pairs.left_out.push(left_out),
        }
    }
    pairs
}

/// How input and reference come together.
#[derive(Clone, Copy)]
struct Pairing {
    degrade: Degrade,
    registers: bool,
}

fn whole_case((case_id, fault): (String, Fault)) -> LeftOut {
    LeftOut {
        case_id,
        level: None,
        fault,
    }
}

fn subject(
    case_id: &str,
    person: &str,
    vertebra: CroppedVertebra,
    conf: Pairing,
    seed: u64,
) -> Result<Subject, Fault> {
    let level = vertebra.level;
    let seed = derive(seed, &format!("{person}_{level}"));
    let flags = vertebra.flags.clone();
    let (input, reference, source) = sides(vertebra, conf, seed)?;
    for (what, patch) in [("input", &input), ("reference", &reference)] {
        if patch.voxels() == 0 {
            let message = format!("{what}: expected voxels in the cube, found none");
            return Err(Fault::unsuitable("empty_patch", message));
        }
    }
    // as in the flow: where the two do not meet, metrics as they lie say nothing
    let scores = if source == Source::Paired && flags.contains(&Flag::ReferenceElsewhere) {
        [None; METRIC_NAMES.len()]
    } else {
        scores(
            input.mask.view(),
            reference.mask.view(),
            reference.affine.spacing_mm(),
        )
    };
    Ok(Subject {
        case_id: case_id.to_owned(),
        person: person.to_owned(),
        level,
        source,
        seed,
        flags,
        input,
        reference,
        scores,
    })
}

/// Returns input and reference of a vertebra.
fn sides(vertebra: CroppedVertebra, conf: Pairing, seed: u64) -> Result<(Patch, Patch, Source), Fault> {
    let flags = &vertebra.flags;
    if flags.contains(&Flag::ReferenceWithoutLevel) {
        let message = "reference: expected a label of this level, found none";
        return Err(Fault::unsuitable("reference_without_level", message));
    }
    let is_met = conf.registers || conf.degrade == Degrade::Always;
    if flags.contains(&Flag::ReferenceElsewhere) && !is_met {
        let message = "reference: expected a label that meets the input, found it elsewhere";
        return Err(Fault::unsuitable("reference_elsewhere", message));
    }
    let degraded = |reference: Patch| {
        let (mask, slices) = degrade_with_slices(reference.mask.view(), &reference.affine, seed);
        let input = Patch {
            slices,
            ..Patch::new(mask, reference.affine)
        };
        Ok((input, reference, Source::Degraded))
    };
    match (vertebra.reference, conf.degrade) {
        (Some(reference), Degrade::Auto | Degrade::Never) => Ok((vertebra.input, reference, Source::Paired)),
        (Some(reference), Degrade::Always) => degraded(reference),
        (None, Degrade::Auto | Degrade::Always) => degraded(vertebra.input),
        (None, Degrade::Never) => {
            let message = "reference: expected one, as comparison.degrade is \"never\", found none";
            Err(Fault::missing("no_reference", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use models::phantom::vertebra as phantom;
    use ndarray::Array3;
    use schemas::volume::Grid;
    use schemas::{Affine, Origin};

    use super::*;

    fn patch(mask: Array3<u8>) -> Patch {
        Patch {
            slices: None,
            mask,
            affine: Affine::axis_aligned([1.0; 3], [0.0; 3]),
        }
    }

    fn gathered(reference: Option<Patch>, flags: Flags) -> Gathered {
        let input = patch(phantom(Level::L2, 1));
        let vertebra = CroppedVertebra {
            level: Level::L2,
            label: 21,
            input,
            reference,
            centre_mm: [0.0; 3],
            source_volume_mm3: 1.0,
            flags,
        };
        let origin = Origin {
            id: "case".parse().expect("id"),
            person: "someone".to_owned(),
            seed: 0,
            bytes_read: 0,
            source: None,
        };
        let grid = Grid {
            shape: [128; 3],
            affine: Affine::axis_aligned([1.0; 3], [0.0; 3]),
        };
        Gathered {
            cases: vec![Cropped {
                origin,
                grid,
                vertebrae: vec![vertebra],
            }],
            failed: vec![(
                "lost".to_owned(),
                Fault::missing("object_not_found", "mask: expected an object"),
            )],
        }
    }

    fn only(reference: Option<Patch>, conf: Degrade) -> Subject {
        let mut pairs = pair_up(gathered(reference, Flags::new()), conf, false, 0);
        assert_eq!(pairs.left_out.len(), 1, "the case that gave nothing");
        assert_eq!(pairs.subjects.len(), 1);
        pairs.subjects.remove(0)
    }

    #[test]
    fn a_mask_without_a_reference_is_the_reference_and_its_degradation_the_input() {
        let subject = only(None, Degrade::Auto);
        let clean = phantom(Level::L2, 1);
        assert_eq!(subject.reference.mask, clean);
        // the degradation of models::train::validation
        let affine = Affine::axis_aligned([1.0; 3], [0.0; 3]);
        let expected = models::degrade::degrade(clean.view(), &affine, derive(0, "someone_L2"));
        assert_eq!(subject.input.mask, expected);
        assert_eq!(
            (subject.source, subject.seed),
            (Source::Degraded, derive(0, "someone_L2"))
        );
        assert!(subject.scores[0].is_some_and(|dsc| dsc > 0.4 && dsc < 1.0));
    }

    #[test]
    fn a_pair_is_taken_as_it_is_unless_everything_is_to_be_degraded() {
        let reference = patch(phantom(Level::L2, 2));
        let paired = only(Some(reference.clone()), Degrade::Auto);
        assert_eq!(paired.source, Source::Paired);
        assert_eq!(paired.input.mask, phantom(Level::L2, 1));
        assert_eq!(paired.reference, reference);
        let degraded = only(Some(reference.clone()), Degrade::Always);
        assert_eq!(degraded.source, Source::Degraded);
        assert_eq!(degraded.reference, reference);
        assert_ne!(degraded.input.mask, phantom(Level::L2, 1));
    }

    #[test]
    fn what_has_nothing_to_be_compared_with_is_left_out_by_name() {
        let reasons = |gathered: Gathered, conf: Degrade| -> Vec<(Option<Level>, &'static str)> {
            let left_out = pair_up(gathered, conf, false, 0).left_out;
            left_out
                .iter()
                .map(|entry| (entry.level, entry.fault.reason))
                .collect()
        };
        let lost = (None, "object_not_found");
        assert_eq!(
            reasons(gathered(None, Flags::new()), Degrade::Never),
            [lost, (Some(Level::L2), "no_reference")]
        );
        let elsewhere = Flags::from([Flag::ReferenceElsewhere]);
        assert_eq!(
            reasons(gathered(None, elsewhere), Degrade::Auto),
            [lost, (Some(Level::L2), "reference_elsewhere")]
        );
        let elsewhere = Flags::from([Flag::ReferenceElsewhere]);
        let reference = patch(phantom(Level::L2, 2));
        let registered = pair_up(gathered(Some(reference), elsewhere), Degrade::Auto, true, 0);
        let [subject] = registered.subjects.as_slice() else {
            panic!("a reference that is to be moved may lie elsewhere")
        };
        assert!(!subject.meets() && subject.scores == [None; METRIC_NAMES.len()]);
        let empty = patch(Array3::zeros((128, 128, 128)));
        assert_eq!(
            reasons(gathered(Some(empty), Flags::new()), Degrade::Auto),
            [lost, (Some(Level::L2), "empty_patch")]
        );
    }
}
