//! Which cases of a run this process does: told, or found in the environment of a scheduler that counts its tasks.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stages::shard::{NoShard, Shard};

use crate::RunEnd;

/// Key `run.shard` and option `--shard`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Sharding {
    /// What the scheduler's variables say; every case, where there are none.
    #[default]
    Auto,
    /// Every case, whatever variables there are.
    None,
    /// That one.
    Fixed(Shard),
}

/// What there is to say of a shard that has been settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The shard.
    pub shard: Shard,
    /// Who said so.
    pub source: &'static str,
}

impl Sharding {
    /// Returns the shard: `option` goes before this key, and this key before the environment.
    ///
    /// # Errors
    /// The environment tells half of a shard, an impossible one, or two.
    pub fn settle(
        self,
        option: Option<Self>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Settled, RunEnd> {
        let (chosen, source) = match option {
            Some(option) => (option, "--shard"),
            None => (self, "run.shard"),
        };
        match chosen {
            Self::Fixed(shard) => Ok(Settled { shard, source }),
            Self::None => Ok(Settled {
                shard: Shard::WHOLE,
                source,
            }),
            Self::Auto => found(environment).map_err(RunEnd::Conf),
        }
    }

    /// Returns the shard that has been settled on; every case before that.
    pub fn shard(self) -> Shard {
        match self {
            Self::Auto | Self::None => Shard::WHOLE,
            Self::Fixed(shard) => shard,
        }
    }
}

impl FromStr for Sharding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            _ => {
                let shard = text.parse().map(Self::Fixed);
                shard.map_err(|error: NoShard| format!("{error}; auto and none are known, too"))
            }
        }
    }
}

impl TryFrom<String> for Sharding {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Sharding> for String {
    fn from(sharding: Sharding) -> Self {
        match sharding {
            Sharding::Auto => "auto".to_owned(),
            Sharding::None => "none".to_owned(),
            Sharding::Fixed(shard) => shard.to_string(),
        }
    }
}

/// A scheduler whose tasks are told their number.
struct Scheduler {
    /// The variable that no task is without.
    index: &'static str,
    /// The variables that tell how many there are.
    others: &'static [&'static str],
    /// Returns index and count, by the numbers in these variables.
    shard: fn(u32, &[u32]) -> Option<(u32, u32)>,
    /// What is expected of the numbers.
    expects: &'static str,
}

static SCHEDULERS: [Scheduler; 3] = [
    Scheduler {
        index: "SLURM_ARRAY_TASK_ID",
        others: &[
            "SLURM_ARRAY_TASK_MIN",
            "SLURM_ARRAY_TASK_MAX",
            "SLURM_ARRAY_TASK_STEP",
            "SLURM_ARRAY_TASK_COUNT",
        ],
        shard: slurm,
        expects: "an array of evenly spaced numbers, as 0-7 or 1-15:2",
    },
    // the count is not set by Kubernetes: our manifest does
    Scheduler {
        index: "JOB_COMPLETION_INDEX",
        others: &["JOB_COMPLETIONS"],
        shard: counted,
        expects: "an index below the number of completions",
    },
    Scheduler {
        index: "AWS_BATCH_JOB_ARRAY_INDEX",
        others: &["AWS_BATCH_JOB_ARRAY_SIZE"],
        shard: counted,
        expects: "an index below the size of the array",
    },
];

fn counted(index: u32, others: &[u32]) -> Option<(u32, u32)> {
    let [count] = others else { return None };
    Some((index, *count))
}

fn slurm(id: u32, others: &[u32]) -> Option<(u32, u32)> {
    let [least, most, step, count] = *others else {
        return None;
    };
    let place = id.checked_sub(least)?;
    // of a list such as 1,3,7 the step is no step, and the places of its numbers are not to be known
    let last = u64::from(least) + u64::from(step) * u64::from(count.checked_sub(1)?);
    let is_even = step > 0 && last == u64::from(most) && place % step == 0;
    is_even.then(|| (place / step, count))
}

/// Returns the shard that the environment tells of; every case, if it tells of none.
fn found(environment: &BTreeMap<String, String>) -> Result<Settled, String> {
    let mut known = SCHEDULERS
        .iter()
        .filter(|scheduler| environment.contains_key(scheduler.index));
    let Some(scheduler) = known.next() else {
        return Ok(Settled {
            shard: Shard::WHOLE,
            source: "run.shard",
        });
    };
    let (index, others) = (scheduler.index, scheduler.others);
    if let Some(second) = known.next() {
        return Err(format!(
            "expected the variables of one scheduler, found {index} and {}: say which with --shard I/N",
            second.index
        ));
    }
    let number = |name: &str| -> Result<u32, String> {
        let Some(text) = environment.get(name) else {
            return Err(format!(
                "expected {name} beside {index}, found none: set it, or give --shard I/N (or --shard none for every case)"
            ));
        };
        let number = text.parse();
        number.map_err(|_| format!("{name}: expected a whole number, found {text:?}"))
    };
    let place = number(index)?;
    let numbers = others
        .iter()
        .map(|name| number(name))
        .collect::<Result<Vec<_>, _>>()?;
    let shard = (scheduler.shard)(place, &numbers).and_then(|(index, count)| Shard::new(index, count).ok());
    let shard = shard.ok_or_else(|| {
        let told: Vec<String> = others
            .iter()
            .zip(&numbers)
            .map(|(name, number)| format!("{name}={number}"))
            .collect();
        format!(
            "expected {}, found {index}={place} with {}: give --shard I/N",
            scheduler.expects,
            told.join(", ")
        )
    })?;
    Ok(Settled { shard, source: index })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn slurm_array(numbers: [&str; 5]) -> BTreeMap<String, String> {
        let names = [
            "SLURM_ARRAY_TASK_ID",
            "SLURM_ARRAY_TASK_MIN",
            "SLURM_ARRAY_TASK_MAX",
            "SLURM_ARRAY_TASK_STEP",
            "SLURM_ARRAY_TASK_COUNT",
        ];
        let pairs: Vec<_> = names.into_iter().zip(numbers).collect();
        environment(&pairs)
    }

    fn told(environment: &BTreeMap<String, String>) -> Result<String, String> {
        let settled = Sharding::Auto.settle(None, environment);
        settled
            .map(|settled| format!("{} {}", settled.shard, settled.source))
            .map_err(|end| end.to_string())
    }

    fn refused(environment: &BTreeMap<String, String>, words: &[&str]) {
        let error = told(environment).expect_err("refused");
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }

    #[test]
    fn the_place_in_a_slurm_array_is_the_shard() {
        let arrays = [
            (["0", "0", "7", "1", "8"], "0/8"),
            (["7", "0", "7", "1", "8"], "7/8"),
            (["5", "1", "7", "2", "4"], "2/4"),
            (["3", "3", "3", "1", "1"], "0/1"),
        ];
        for (numbers, shard) in arrays {
            let expected = format!("{shard} SLURM_ARRAY_TASK_ID");
            assert_eq!(told(&slurm_array(numbers)), Ok(expected));
        }
    }

    #[test]
    fn an_uneven_slurm_array_is_refused_and_not_guessed_at() {
        // --array=1,3,7 and what no array can be
        for numbers in [
            ["3", "1", "7", "1", "3"],
            ["2", "1", "7", "2", "4"],
            ["0", "1", "3", "1", "3"],
            ["4", "1", "3", "1", "3"],
            ["1", "1", "1", "0", "1"],
            ["0", "0", "0", "1", "0"],
        ] {
            refused(
                &slurm_array(numbers),
                &["evenly spaced", "SLURM_ARRAY_TASK_ID", "--shard"],
            );
        }
        let mut half = slurm_array(["0", "0", "7", "1", "8"]);
        half.remove("SLURM_ARRAY_TASK_COUNT");
        refused(
            &half,
            &["expected SLURM_ARRAY_TASK_COUNT beside SLURM_ARRAY_TASK_ID"],
        );
    }

    #[test]
    fn a_kubernetes_index_needs_its_count_beside_it() {
        let index = ("JOB_COMPLETION_INDEX", "2");
        let both = environment(&[index, ("JOB_COMPLETIONS", "8")]);
        assert_eq!(told(&both), Ok("2/8 JOB_COMPLETION_INDEX".to_owned()));
        refused(
            &environment(&[index]),
            &["expected JOB_COMPLETIONS beside JOB_COMPLETION_INDEX"],
        );
        refused(
            &environment(&[index, ("JOB_COMPLETIONS", "2")]),
            &["index below", "JOB_COMPLETIONS=2"],
        );
        refused(
            &environment(&[index, ("JOB_COMPLETIONS", "eight")]),
            &["JOB_COMPLETIONS", "whole number"],
        );
    }

    #[test]
    fn an_aws_batch_array_tells_both() {
        let array = environment(&[
            ("AWS_BATCH_JOB_ARRAY_INDEX", "0"),
            ("AWS_BATCH_JOB_ARRAY_SIZE", "10000"),
        ]);
        assert_eq!(told(&array), Ok("0/10000 AWS_BATCH_JOB_ARRAY_INDEX".to_owned()));
    }

    #[test]
    fn where_no_scheduler_counts_every_case_is_done() {
        for pairs in [&[][..], &[("JOB_COMPLETIONS", "8")][..]] {
            assert_eq!(told(&environment(pairs)), Ok("0/1 run.shard".to_owned()));
        }
    }

    #[test]
    fn two_schedulers_at_once_are_refused_by_their_names() {
        let mut both = slurm_array(["0", "0", "7", "1", "8"]);
        both.extend(environment(&[
            ("JOB_COMPLETION_INDEX", "0"),
            ("JOB_COMPLETIONS", "8"),
        ]));
        refused(&both, &["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "--shard"]);
    }

    #[test]
    fn the_option_goes_before_the_key_and_the_key_before_the_environment() {
        let array = slurm_array(["0", "0", "7", "1", "8"]);
        let sharding = |text: &str| text.parse::<Sharding>().expect("a sharding");
        let settled = |option: Option<&str>, key: &str| {
            let settled = sharding(key)
                .settle(option.map(sharding), &array)
                .expect("settled");
            format!("{} {}", settled.shard, settled.source)
        };
        assert_eq!(settled(None, "auto"), "0/8 SLURM_ARRAY_TASK_ID");
        assert_eq!(settled(None, "1/3"), "1/3 run.shard");
        assert_eq!(settled(None, "none"), "0/1 run.shard");
        assert_eq!(settled(Some("2/3"), "1/3"), "2/3 --shard");
        assert_eq!(settled(Some("auto"), "1/3"), "0/8 SLURM_ARRAY_TASK_ID");
        // what is not asked is not refused
        let half = environment(&[("JOB_COMPLETION_INDEX", "0")]);
        assert!(sharding("none").settle(None, &half).is_ok());
        let error = "three".parse::<Sharding>().expect_err("no sharding");
        assert!(error.contains("I/N") && error.contains("auto"), "{error}");
    }
}
