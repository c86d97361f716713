//! What was found when a challenger was held against the champion.

use serde::{Deserialize, Serialize};

/// A challenger held against the champion on the same masks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Version of the champion; `input` where there is none, and the challenger is held against the masks it got.
    pub against: String,
    /// What a challenger must fulfil, and whether it did.
    pub rules: Vec<Rule>,
    /// Mean DSC of champion and challenger.
    pub dsc: [f64; 2],
    /// Mean DSC of the challenger − that of the champion.
    pub difference: f64,
    /// 95 % bootstrap interval of the difference; `None` of too few.
    pub interval: Option<[f64; 2]>,
    /// Persons judged on.
    pub persons: usize,
    /// Masks judged on.
    pub masks: usize,
    /// Mean DSC level by level, from the head down.
    pub levels: Vec<LevelLine>,
    /// Mean of every metric.
    pub metrics: Vec<MetricLine>,
    /// DSC of the challenger − that of the champion, a mask each.
    pub differences: Vec<f64>,
}

/// One rule that a challenger must fulfil.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The rule as a sentence, with its bound.
    pub rule: String,
    /// What was found.
    pub found: String,
    /// Whether it is fulfilled.
    pub passed: bool,
}

/// Mean DSC on one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelLine {
    /// The level.
    pub level: String,
    /// Masks of this level.
    pub masks: usize,
    /// Mean DSC of the champion.
    pub champion: f64,
    /// Mean DSC of the challenger.
    pub challenger: f64,
}

/// Mean of one metric over the masks that have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricLine {
    /// Its name in the tables.
    pub metric: String,
    /// Of the champion; `None` where no mask has it.
    pub champion: Option<f64>,
    /// Of the challenger.
    pub challenger: Option<f64>,
}
