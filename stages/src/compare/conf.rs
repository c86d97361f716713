//! Section `[comparison]` of the configuration.

use std::collections::HashSet;

use models::ModelConf;
use serde::{Deserialize, Serialize};

/// Which methods are compared, and on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComparisonConf {
    /// Manifest of the masks: path or URL.
    pub manifest: String,
    /// Prefix for tables/comparison/ and report/: path or URL. One prefix holds one comparison.
    pub output: String,
    /// Which inputs are made by the standard degradation.
    pub degrade: Degrade,
    /// Degradation and samples of a vertebra follow from it, the person and the level.
    pub seed: u64,
    /// Persons to compare on; empty for all.
    pub persons: Vec<String>,
    /// Resamples of a bootstrap interval; 0 for none.
    pub bootstrap: usize,
    /// Vertebrae shown as pictures, spread evenly over all.
    pub pictures: usize,
    /// Repeats of the latent trace (paper, Fig. 5); 0 for none.
    pub repeats: usize,
    /// Where the models run: `cpu`, `cuda:0`, …
    pub device: String,
    /// Threads of one tensor operation.
    pub threads: usize,
    /// The methods, in the order of the report.
    pub methods: Vec<MethodConf>,
}

impl Default for ComparisonConf {
    fn default() -> Self {
        Self {
            manifest: String::new(),
            output: String::new(),
            degrade: Degrade::Auto,
            seed: 0,
            persons: Vec::new(),
            bootstrap: 10_000,
            pictures: 4,
            repeats: 3,
            device: "cpu".to_owned(),
            threads: 1,
            methods: Vec::new(),
        }
    }
}

/// Which inputs are made by the standard degradation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Degrade {
    /// Those of cases without a reference: their mask is taken for the reference.
    Auto,
    /// Every one: a case's reference, or its mask where it has none, is degraded.
    Always,
    /// None: a case without a reference is left out.
    Never,
}

/// One method: `[[comparison.methods]]`. Beside these keys it takes those of `[model]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MethodConf {
    /// What tables and report call it.
    pub name: String,
    /// Chain, weights, steps and samples.
    #[serde(flatten)]
    pub model: ModelConf,
    /// Figure that it is shown in besides the tables, which hold every method.
    pub figure: FigureConf,
    /// Processor minutes of its training, for the table of times; 0 where nothing is known or was learnt.
    pub training_cpu_minutes: f64,
}

/// Figure that a method is shown in besides the tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FigureConf {
    /// None.
    #[default]
    #[serde(rename = "")]
    None,
    /// Mean metrics over `steps` (paper, Fig. 4), one line a chain of models.
    #[serde(rename = "steps")]
    Steps,
}

/// Longest name of a method, in characters: it heads a column.
const LONGEST_NAME: usize = 40;

/// Most resamples: what memory holds easily.
const MOST_RESAMPLES: usize = 1_000_000;

impl ComparisonConf {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// A message that names the key, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        if self.bootstrap > MOST_RESAMPLES {
            return Err(format!(
                "comparison.bootstrap: expected at most {MOST_RESAMPLES} resamples, found {}",
                self.bootstrap
            ));
        }
        let mut names = HashSet::new();
        for (index, method) in self.methods.iter().enumerate() {
            let name = &method.name;
            let number = index + 1;
            let is_printable = !name.contains(|letter: char| letter == '|' || letter.is_control());
            if name.trim().is_empty() || name.chars().count() > LONGEST_NAME || !is_printable {
                return Err(format!(
                    "comparison.methods, number {number}: expected a name of 1 to {LONGEST_NAME} printable characters \
                     without '|', found {name:?}"
                ));
            }
            if !names.insert(name) {
                return Err(format!(
                    "comparison.methods, number {number}: expected a name of its own, found {name:?} once more"
                ));
            }
            if !method.training_cpu_minutes.is_finite() || method.training_cpu_minutes < 0.0 {
                return Err(format!(
                    "comparison.methods, {name}: expected training_cpu_minutes from 0, found {}",
                    method.training_cpu_minutes
                ));
            }
        }
        Ok(())
    }

    /// Returns whether a person is among those to compare on.
    pub fn is_wanted(&self, person: &str) -> bool {
        self.persons.is_empty() || self.persons.iter().any(|known| known == person)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ComparisonConf, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_method_takes_the_keys_of_a_model_and_no_others() {
        let conf = read(
            r#"{"methods": [{"name": "direct", "chain": ["lsd_ebm"], "steps": 0, "figure": "steps"}, {"name": "b"}]}"#,
        )
        .expect("conf");
        let [direct, default] = conf.methods.as_slice() else {
            panic!("two methods")
        };
        assert_eq!((direct.model.steps, direct.figure), (0, FigureConf::Steps));
        assert_eq!(default.model, ModelConf::default());
        assert_eq!(conf.check(), Ok(()));
        let unknown = read(r#"{"methods": [{"name": "a", "stepz": 1}]}"#).expect_err("no such key");
        assert!(unknown.to_string().contains("stepz"), "{unknown}");
    }

    #[test]
    fn methods_need_printable_names_of_their_own() {
        for names in [["a", "a"], ["a", ""], ["a", "x|y"], ["a", "x\\ny"]] {
            let text = format!(
                r#"{{"methods": [{{"name": "{}"}}, {{"name": "{}"}}]}}"#,
                names[0], names[1]
            );
            let message = read(&text).expect("conf").check().expect_err("refused");
            assert!(message.contains("number 2"), "{message}");
        }
    }
}
