//! Section `[nightly]` of the configuration.

use serde::{Deserialize, Serialize};

use super::gate::GateConf;

/// What a night learns from, and by what it is judged. How it trains is `[train.recipe]`; how its models reconstruct
/// while they are judged is `[model]`; where they go is `[registry]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NightlyConf {
    /// Manifest of CT masks: path or URL. A case with a reference teaches by it, any other by its mask.
    pub manifest: String,
    /// What a training starts from.
    pub start: Start,
    /// Every random number follows from it and from the night.
    pub seed: u64,
    /// Known masks that are shown again beside each new one, so that nothing is forgotten.
    pub replay: usize,
    /// Most masks of one training, new ones first: each takes 2 MiB of memory.
    pub most: usize,
    /// Fewest new masks that a night trains for; fewer wait for the next one.
    pub least_new: usize,
    /// Under which text persons are hashed to either side of the split. A person never changes sides, whatever it says.
    pub split_key: String,
    /// Share of persons who are never trained on.
    pub held_out: f64,
    /// Persons held out whatever their hash says, unless they have taught before.
    pub held_out_persons: Vec<String>,
    /// Persons whose masks neither teach nor judge any more, from the next night on.
    pub withdrawn: Vec<String>,
    /// Fewest held-out persons that a model may be judged on. Once there are so many, the set is frozen.
    pub least_held_out: usize,
    /// Most masks of the frozen set: each takes 4 MiB of memory.
    pub most_held_out: usize,
    /// What a challenger may lose, and still be promoted.
    pub margins: Margins,
    /// Resamples of the bootstrap interval.
    pub bootstrap: usize,
    /// Where models are judged: `cpu`, `cuda:0`, …
    pub device: String,
    /// Threads of one tensor operation while models are judged.
    pub threads: usize,
    /// Which masks may teach.
    pub gates: GateConf,
}

/// What a training starts from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// The champion's weights, if there is one of the recipe's networks; fresh ones else.
    #[default]
    Champion,
    /// Fresh weights.
    Scratch,
}

/// What a challenger may lose. All are differences to the champion on the same masks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Margins {
    /// How far below zero the lower end of the 95 % interval of the mean difference in DSC may lie.
    pub dsc: f64,
    /// How much of its mean DSC any level may lose.
    pub level_dsc: f64,
    /// How much of the mean specificity may be lost; not asked for where there is no champion.
    pub spec: f64,
}

impl Default for Margins {
    fn default() -> Self {
        Self {
            dsc: 0.002,
            level_dsc: 0.01,
            spec: 0.0,
        }
    }
}

impl Default for NightlyConf {
    fn default() -> Self {
        Self {
            manifest: String::new(),
            start: Start::Champion,
            seed: 0,
            replay: 3,
            most: 3000,
            least_new: 1,
            split_key: "spinestream".to_owned(),
            held_out: 0.2,
            held_out_persons: Vec::new(),
            withdrawn: Vec::new(),
            least_held_out: 8,
            most_held_out: 400,
            margins: Margins::default(),
            bootstrap: 10_000,
            device: "cpu".to_owned(),
            threads: 1,
            gates: GateConf::default(),
        }
    }
}

/// Fewest persons whose differences make an interval.
const PERSONS_LEAST: usize = 2;

impl NightlyConf {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// A message that names the key, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..1.0).contains(&self.held_out) {
            return Err(format!(
                "nightly.held_out: expected a share of persons from 0 to less than 1, found {}",
                self.held_out
            ));
        }
        for (key, found, least) in [
            ("least_held_out", self.least_held_out, PERSONS_LEAST),
            ("most_held_out", self.most_held_out, 1),
            ("most", self.most, 1),
            ("least_new", self.least_new, 1),
            ("bootstrap", self.bootstrap, 100),
            ("threads", self.threads, 1),
        ] {
            if found < least {
                return Err(format!("nightly.{key}: expected at least {least}, found {found}"));
            }
        }
        let margins = &self.margins;
        for (key, margin) in [
            ("dsc", margins.dsc),
            ("level_dsc", margins.level_dsc),
            ("spec", margins.spec),
        ] {
            if !(0.0..1.0).contains(&margin) {
                return Err(format!(
                    "nightly.margins.{key}: expected a loss from 0 to less than 1, found {margin}"
                ));
            }
        }
        self.gates.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        assert_eq!(NightlyConf::default().check(), Ok(()));
        let wrong = [
            (
                NightlyConf {
                    held_out: 1.0,
                    ..NightlyConf::default()
                },
                "nightly.held_out:",
            ),
            (
                NightlyConf {
                    least_held_out: 1,
                    ..NightlyConf::default()
                },
                "nightly.least_held_out:",
            ),
            (
                NightlyConf {
                    margins: Margins {
                        spec: -0.1,
                        ..Margins::default()
                    },
                    ..NightlyConf::default()
                },
                "nightly.margins.spec:",
            ),
        ];
        for (conf, key) in wrong {
            let message = conf.check().expect_err("refused");
            assert!(message.starts_with(key), "{message}");
        }
    }
}
