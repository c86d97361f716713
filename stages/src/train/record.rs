//! What a training writes of itself: `metrics.json` below `train.output`, over all its starts.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::Scores;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::gather::Split;
use super::scored::{Scored, by_name, mean};
use crate::tables::SOFTWARE_VERSION;

/// Version of the file's fields.
const FORMAT: u32 = 1;

/// The whole file. Losses that are no finite number are null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    software_version: String,
    /// Times that this training was started or resumed.
    starts: u32,
    /// Whether every phase came to its end.
    complete: bool,
    configuration: Value,
    masks: Masks,
    /// Cases without a mask to train on.
    failed: Vec<FailedCase>,
    /// Of the process, all threads, all starts, from the first step on.
    cpu_seconds: f64,
    /// In the order in which they began.
    phases: Vec<PhaseRecord>,
    /// Every validation, the last of a complete training included.
    validations: Vec<ValidationRecord>,
    /// The last validation of a complete training.
    validation: Option<ValidationRecord>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Masks {
    train: usize,
    validation: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FailedCase {
    case_id: String,
    kind: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PhaseRecord {
    phase: String,
    steps: u64,
    seconds: f64,
    cpu_seconds: f64,
    /// Figures of the last step.
    last: BTreeMap<String, Option<f64>>,
    /// Lowest value of each figure in a single step.
    lowest: BTreeMap<String, Lowest>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Lowest {
    step: u64,
    value: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ValidationRecord {
    phase: String,
    step: u64,
    mean: Mean,
    cases: Vec<Scored>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mean {
    #[serde(with = "by_name")]
    input: Scores,
    #[serde(with = "by_name")]
    reconstruction: Scores,
}

impl Record {
    /// Reads the record of earlier starts; `None` for bytes that are none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes)
            .ok()
            .filter(|record: &Self| record.format == FORMAT)
    }

    /// Notes a start: under which configuration, on what.
    #[must_use]
    pub fn started(mut self, configuration: Value, split: &Split) -> Self {
        self.format = FORMAT;
        SOFTWARE_VERSION.clone_into(&mut self.software_version);
        self.starts += 1;
        self.complete = false;
        self.validation = None;
        self.configuration = configuration;
        self.masks = Masks {
            train: split.train.len(),
            validation: split.validation.len(),
        };
        let failed = split.failed.iter().map(|(case_id, fault)| FailedCase {
            case_id: case_id.clone(),
            kind: fault.kind.as_str().to_owned(),
            reason: fault.reason.to_owned(),
        });
        self.failed = failed.collect();
        self
    }

    /// Forgets what an earlier start noted of a phase from `step` on: its checkpoint lies before.
    pub fn rewind(&mut self, phase: &str, step: u64) {
        self.validations
            .retain(|validation| validation.phase != phase || validation.step < step);
        let before = self.phases.iter_mut().find(|known| known.phase == phase);
        if let Some(before) = before {
            before.lowest.retain(|_, lowest| lowest.step < step);
        }
    }

    /// Notes a step and the CPU time since the one before it.
    pub fn step(
        &mut self,
        phase: &str,
        step: u64,
        seconds: f64,
        cpu: Duration,
        figures: &[(&'static str, f64)],
    ) {
        self.spend(phase, cpu);
        let phase = self.phase(phase);
        phase.steps = step;
        phase.seconds = seconds;
        for (name, value) in figures {
            let finite = value.is_finite().then_some(*value);
            phase.last.insert((*name).to_owned(), finite);
            let Some(value) = finite else { continue };
            if phase.lowest.get(*name).is_none_or(|lowest| value < lowest.value) {
                phase.lowest.insert((*name).to_owned(), Lowest { step, value });
            }
        }
    }

    /// Notes a validation and the CPU time it took.
    pub fn validated(&mut self, phase: &str, step: u64, cpu: Duration, cases: &[Scored]) {
        self.spend(phase, cpu);
        self.validations.push(ValidationRecord {
            phase: phase.to_owned(),
            step,
            mean: Mean {
                input: mean(cases.iter().map(|case| &case.input)),
                reconstruction: mean(cases.iter().map(|case| &case.reconstruction)),
            },
            cases: cases.to_vec(),
        });
    }

    /// Notes that every phase came to its end.
    pub fn completed(&mut self) {
        self.complete = true;
        self.validation = self.validations.last().cloned();
    }

    /// Returns the CPU time of all starts.
    pub fn cpu_seconds(&self) -> f64 {
        self.cpu_seconds
    }

    /// Returns the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("text keys and finite or null numbers are JSON")
    }

    fn spend(&mut self, phase: &str, cpu: Duration) {
        self.cpu_seconds += cpu.as_secs_f64();
        self.phase(phase).cpu_seconds += cpu.as_secs_f64();
    }

    fn phase(&mut self, name: &str) -> &mut PhaseRecord {
        let position = self.phases.iter().position(|known| known.phase == name);
        let position = position.unwrap_or_else(|| {
            self.phases.push(PhaseRecord {
                phase: name.to_owned(),
                steps: 0,
                seconds: 0.0,
                cpu_seconds: 0.0,
                last: BTreeMap::new(),
                lowest: BTreeMap::new(),
            });
            self.phases.len() - 1
        });
        &mut self.phases[position]
    }
}

#[cfg(test)]
mod tests {
    use schemas::Fault;

    use super::*;

    fn scored(name: &str, dsc: [f64; 2], hd95: Option<f64>) -> Scored {
        let mut scores = dsc.map(|dsc| {
            let mut scores = Scores::default();
            scores[0] = Some(dsc);
            scores
        });
        scores[1][9] = hd95;
        let [input, reconstruction] = scores;
        Scored {
            name: name.to_owned(),
            input,
            reconstruction,
            fault: None,
        }
    }

    fn record() -> Record {
        let split = Split {
            failed: vec![("c7".to_owned(), Fault::missing("object_not_found", "mask: none"))],
            ..Split::default()
        };
        let mut record = Record::default().started(serde_json::json!({ "seed": 3 }), &split);
        let second = Duration::from_secs(1);
        record.step("fit", 1, 1.5, second, &[("dice", 0.5), ("divergence", f64::NAN)]);
        record.step("fit", 2, 3.0, second, &[("dice", 0.75), ("divergence", 2.0)]);
        let cases = [
            scored("a_L1", [0.5, 0.75], None),
            scored("b_L1", [0.75, 1.0], Some(4.0)),
        ];
        record.validated("fit", 2, second, &cases);
        record
    }

    #[test]
    fn a_record_names_its_metrics_and_leaves_undefined_ones_out_of_the_mean() {
        let mut record = record();
        record.completed();
        let json: Value = serde_json::from_slice(&record.to_bytes()).unwrap();
        assert_eq!(json["phases"][0]["steps"], 2);
        assert_eq!(json["phases"][0]["cpu_seconds"], 3.0);
        assert_eq!(json["phases"][0]["last"]["dice"], 0.75);
        assert_eq!(json["phases"][0]["lowest"]["dice"]["step"], 1);
        assert_eq!(json["phases"][0]["lowest"]["divergence"]["value"], 2.0);
        assert_eq!(json["failed"][0]["reason"], "object_not_found");
        let validation = &json["validation"];
        assert_eq!(validation["mean"]["input"]["dsc"], 0.625);
        assert_eq!(validation["mean"]["reconstruction"]["dsc"], 0.875);
        assert_eq!(validation["mean"]["reconstruction"]["hd95_mm"], 4.0);
        assert_eq!(validation["mean"]["input"]["hd95_mm"], Value::Null);
        assert_eq!(validation["cases"][1]["name"], "b_L1");
        assert_eq!(Record::read(&record.to_bytes()), Some(record));
    }

    #[test]
    fn a_resumed_training_forgets_what_it_does_again() {
        let mut resumed = Record::read(&record().to_bytes())
            .unwrap()
            .started(Value::Null, &Split::default());
        resumed.rewind("energy", 1);
        assert_eq!(resumed.validations.len(), 1, "another phase's stay");
        resumed.rewind("fit", 2);
        assert!(resumed.validations.is_empty());
        assert_eq!(resumed.phases[0].lowest.len(), 1, "dice of step 1");
        resumed.step("fit", 2, 3.5, Duration::from_secs(2), &[("dice", 0.25)]);
        assert_eq!((resumed.starts, resumed.cpu_seconds), (2, 5.0));
        assert_eq!(resumed.phases[0].lowest["dice"].value, 0.25);
    }

    #[test]
    fn what_is_no_record_is_none() {
        let bytes = record().to_bytes();
        assert_eq!(Record::read(&bytes[..bytes.len() - 2]), None);
        assert_eq!(Record::read(b"{}"), None);
    }
}
