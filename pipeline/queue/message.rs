//! What a message says: which case of which run. Where its objects lie, only the manifest knows.

use serde::{Deserialize, Serialize};

/// One case to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Id of the run.
    pub run: String,
    /// The case's folded id, or `row-<n>` for a row that is no case.
    pub case: String,
    /// SHA-256 of the manifest that the case was found in, in hex: one that does not know the case may be another.
    pub manifest: String,
}

impl Ticket {
    /// Returns the message's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::json!(self).to_string().into_bytes()
    }

    /// Reads a message; `None` if it is none of ours.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Returns the id by which the server knows that it has the message already.
    pub fn message_id(&self) -> String {
        format!("{}/{}", self.run, self.case)
    }
}

/// Returns a run's id as one word of a subject, and as the name of a consumer: neither may hold a dot.
pub(super) fn token(run: &str) -> String {
    // an equals sign is in no run's id
    run.replace('.', "=2E")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_run_case_and_manifest_and_nothing_else() {
        let ticket = Ticket {
            run: "r.1".to_owned(),
            case: "c1".to_owned(),
            manifest: "ab".to_owned(),
        };
        let bytes = ticket.to_bytes();
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            r#"{"case":"c1","manifest":"ab","run":"r.1"}"#
        );
        assert_eq!(Ticket::read(&bytes), Some(ticket.clone()));
        assert_eq!(Ticket::read(b"another's"), None);
        assert_eq!(ticket.message_id(), "r.1/c1");
    }

    #[test]
    fn no_two_runs_have_one_subject() {
        assert_eq!(token("r.1"), "r=2E1");
        assert_ne!(token("r.1"), token("r-1"));
        assert_eq!(token("lumbar-2026_11"), "lumbar-2026_11");
    }
}
