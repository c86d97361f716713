//! What becomes of each object: settled once, and by the end for all of them.

use schemas::Fault;

/// What became of an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    /// It is part of a case.
    Used { role: &'static str, case_id: String },
    /// It is not; a series that is not sound has a case all the same.
    Not { fault: Fault, case_id: Option<String> },
}

/// Fates while they are being settled: each once.
pub(super) struct Fates(Vec<Option<Fate>>);

impl Fates {
    /// Returns those of so many objects, none settled.
    pub fn new(objects: usize) -> Self {
        Self(vec![None; objects])
    }

    /// Returns all of them.
    pub fn finish(self) -> Vec<Fate> {
        let nowhere = || Fate::Not {
            fault: Fault::bug(
                "no_fate",
                "expected every object to end in one place, found one in none",
            ),
            case_id: None,
        };
        let fates = self.0.into_iter();
        fates.map(|fate| fate.unwrap_or_else(nowhere)).collect()
    }

    pub fn refuse(&mut self, index: usize, fault: Fault) {
        self.settle(index, Fate::Not { fault, case_id: None });
    }

    pub fn employ(&mut self, index: usize, role: &'static str, case_id: &str) {
        let case_id = case_id.to_owned();
        self.settle(index, Fate::Used { role, case_id });
    }

    pub fn settle(&mut self, index: usize, fate: Fate) {
        debug_assert!(self.0[index].is_none(), "an object ends in one place");
        self.0[index] = Some(fate);
    }

    pub fn is_settled(&self, index: usize) -> bool {
        self.0[index].is_some()
    }
}
