//! A case, its name, and what can become of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::held::Held;

/// Milliseconds and more that a case spent in each stage, in the order of the flow.
pub type Spent = Vec<(&'static str, Duration)>;

/// Pseudonym of a case: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, the only name by which logs, files and tables know it.
///
/// Two ids that differ only in upper and lower case are one case, because some stores fold case:
/// compare [`CaseId::folded`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CaseId(String);

/// Longest case id, in bytes.
pub const CASE_ID_LONGEST: usize = 64;

impl CaseId {
    /// Returns the stand-in id of manifest row `row` (counted from 1) whose own id cannot be used.
    pub fn of_row(row: usize) -> Self {
        Self(format!("row-{row}"))
    }

    /// Returns whether a text is such a stand-in.
    pub fn is_of_row(text: &str) -> bool {
        let folded = text.to_ascii_lowercase();
        let number = folded.strip_prefix("row-").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the form under which two ids count as equal.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// Why a text is no case id. The text itself is not repeated: it may be a record number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseIdError {
    /// Nothing there.
    #[error("expected a case id, found nothing")]
    Empty,
    /// Longer than [`CASE_ID_LONGEST`].
    #[error("expected at most {CASE_ID_LONGEST} characters, found {0}")]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error(
        "expected letters, digits, '.', '_' and '-' with a letter or digit first, found another character at position {0}"
    )]
    BadCharacter(usize),
    /// Of the form `row-<n>`, which stands for rows without a usable id.
    #[error("expected an id not of the form row-<number>, which is kept for rows without a usable id")]
    Reserved,
}

impl FromStr for CaseId {
    type Err = CaseIdError;

    fn from_str(text: &str) -> Result<Self, CaseIdError> {
        if text.is_empty() {
            return Err(CaseIdError::Empty);
        }
        for (position, character) in text.chars().enumerate() {
            let inner = position > 0 && matches!(character, '.' | '_' | '-');
            if !(character.is_ascii_alphanumeric() || inner) {
                return Err(CaseIdError::BadCharacter(position + 1));
            }
        }
        if text.len() > CASE_ID_LONGEST {
            return Err(CaseIdError::TooLong(text.len()));
        }
        if Self::is_of_row(text) {
            return Err(CaseIdError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for CaseId {
    type Error = CaseIdError;

    fn try_from(text: String) -> Result<Self, CaseIdError> {
        text.parse()
    }
}

impl From<CaseId> for String {
    fn from(id: CaseId) -> Self {
        id.0
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an object lies. Object keys hold record numbers, so neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectUrl(String);

impl ObjectUrl {
    /// Wraps an absolute URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// Returns the URL itself, for the store only; never for a log, a row or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[url]")
    }
}

impl fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[url]")
    }
}

/// Where an object lies within its store. It holds record numbers as a URL does, and is shown as little.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Wraps a key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// Returns the key itself, for the store only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

/// One case on its way through the flow. Stages see only `body`.
#[derive(Debug, Clone)]
pub struct Case<T> {
    /// Its pseudonym.
    pub id: CaseId,
    /// Pseudonym of the person it belongs to.
    pub person: Option<String>,
    /// What it is by now.
    pub body: T,
    /// Time spent in the stages behind it.
    pub spent: Spent,
    /// What it holds of the run's memory.
    pub held: Held,
}

/// Whose matter a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FaultKind {
    /// Data that the manifest names is not there.
    Missing,
    /// The bytes are broken.
    Unreadable,
    /// The data is sound but not for us.
    Unsuitable,
    /// An outside system did not do its part.
    Unavailable,
    /// Memory or the GPU gave out.
    Exhausted,
    /// A stage took longer than it may.
    Timeout,
    /// A mistake of ours.
    Bug,
}

impl FaultKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 7] = [
        Self::Missing,
        Self::Unreadable,
        Self::Unsuitable,
        Self::Unavailable,
        Self::Exhausted,
        Self::Timeout,
        Self::Bug,
    ];

    /// Returns the name in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "Missing",
            Self::Unreadable => "Unreadable",
            Self::Unsuitable => "Unsuitable",
            Self::Unavailable => "Unavailable",
            Self::Exhausted => "Exhausted",
            Self::Timeout => "Timeout",
            Self::Bug => "Bug",
        }
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text));
        let names = || Self::ALL.map(Self::as_str).join(", ");
        found.ok_or_else(|| format!("expected one of {}, found another word", names()))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a case, or one vertebra of it, cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} ({reason}): {message}")]
pub struct Fault {
    /// Whose matter it is.
    pub kind: FaultKind,
    /// Stable `snake_case` code that users' queries may rely on.
    pub reason: &'static str,
    /// What was expected and what was found; never a URL, key, header text or name.
    pub message: String,
}

impl Fault {
    /// Makes a fault of any kind.
    pub fn new(kind: FaultKind, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            reason,
            message: message.into(),
        }
    }

    /// Data that the manifest names is not there.
    pub fn missing(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Missing, reason, message)
    }

    /// The bytes are broken.
    pub fn unreadable(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Unreadable, reason, message)
    }

    /// The data is sound but not for us.
    pub fn unsuitable(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Unsuitable, reason, message)
    }

    /// An outside system did not do its part.
    pub fn unavailable(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Unavailable, reason, message)
    }

    /// Memory or the GPU gave out.
    pub fn exhausted(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Exhausted, reason, message)
    }

    /// A stage took longer than it may.
    pub fn timeout(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Timeout, reason, message)
    }

    /// A mistake of ours.
    pub fn bug(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Bug, reason, message)
    }

    /// Puts the manifest column (`mask`, `reference`) that a fault is about before its message.
    #[must_use]
    pub fn about(mut self, column: &str) -> Self {
        self.message = format!("{column}: {}", self.message);
        self
    }
}

/// A case that could not be done: a row of the `cases` table all the same.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its pseudonym.
    pub id: CaseId,
    /// Person it belongs to, where the manifest could be read that far.
    pub person: Option<String>,
    /// Stage in which it ended.
    pub stage: &'static str,
    /// Why.
    pub fault: Fault,
    /// Time spent up to there, that stage included.
    pub spent: Spent,
}

/// What one case has become.
pub type Outcome<T> = Result<Case<T>, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_id_is_what_the_contract_says() {
        for good in ["a", "verse033_L1", "9.z-Q", &"x".repeat(64)] {
            assert_eq!(good.parse::<CaseId>().expect("good id").as_str(), good);
        }
        assert_eq!("".parse::<CaseId>(), Err(CaseIdError::Empty));
        assert_eq!("_a".parse::<CaseId>(), Err(CaseIdError::BadCharacter(1)));
        assert_eq!("a/b".parse::<CaseId>(), Err(CaseIdError::BadCharacter(2)));
        assert_eq!("ä".parse::<CaseId>(), Err(CaseIdError::BadCharacter(1)));
        assert_eq!("x".repeat(65).parse::<CaseId>(), Err(CaseIdError::TooLong(65)));
        assert_eq!("Row-7".parse::<CaseId>(), Err(CaseIdError::Reserved));
        assert_eq!("row-7b".parse::<CaseId>().expect("no number").as_str(), "row-7b");
    }

    #[test]
    fn a_url_shows_in_no_print() {
        let url = ObjectUrl::new("s3://bucket/MRN123/mask.nii.gz");
        assert_eq!(format!("{url} {url:?}"), "[url] [url]");
    }
}
