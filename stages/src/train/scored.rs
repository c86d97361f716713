//! What a validation found, metric by metric: the one place where the models' figures become ours.

use models::train::Validated;
use schemas::Scores;
use schemas::vertebra::METRIC_NAMES;
use serde::{Deserialize, Serialize};

/// One held-out mask's metrics against the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// `person_level`.
    pub name: String,
    /// Of the degraded mask.
    #[serde(with = "by_name")]
    pub input: Scores,
    /// Of what the model made of it.
    #[serde(with = "by_name")]
    pub reconstruction: Scores,
    /// Why there is no reconstruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Scored {
    /// Takes over what the models found.
    pub fn of(validated: &Validated) -> Self {
        Self {
            name: validated.name.clone(),
            input: validated.input,
            reconstruction: validated.reconstruction,
            fault: validated.fault.clone(),
        }
    }
}

/// Returns the mean of each metric over the masks where it is defined.
pub fn mean<'a>(scores: impl Iterator<Item = &'a Scores> + Clone) -> Scores {
    std::array::from_fn(|metric| {
        let values = scores.clone().filter_map(|scores| scores[metric]);
        let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
        (count > 0).then(|| sum / f64::from(count))
    })
}

/// Returns the metric of that name, if it is defined.
pub fn metric(scores: &Scores, name: &str) -> Option<f64> {
    let position = METRIC_NAMES.iter().position(|known| *known == name)?;
    scores[position]
}

/// Metrics as a JSON object of their names; null where undefined.
pub(super) mod by_name {
    use std::collections::BTreeMap;

    use schemas::Scores;
    use schemas::vertebra::METRIC_NAMES;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(scores: &Scores, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(METRIC_NAMES.iter().zip(scores))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scores, D::Error> {
        let named = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
        Ok(METRIC_NAMES.map(|name| named.get(name).copied().flatten()))
    }
}
