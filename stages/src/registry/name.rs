//! What versions are called.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::RegistryError;

/// Name of a version: the day on which it was made (UTC), and what it follows from, hashed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionName(String);

impl VersionName {
    /// Returns the name of a version made on a day, by the first eight digits of a hash in hex.
    ///
    /// # Errors
    /// The hash is none.
    pub fn on(day: SystemTime, hash: &str) -> Result<Self, RegistryError> {
        let day = DateTime::<Utc>::from(day).format("%Y%m%d");
        let head: String = hash.chars().take(8).collect();
        format!("v{day}-{head}").parse()
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VersionName {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        if !is_version_name(text) {
            return Err(RegistryError::Name(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_version_name(text: &str) -> bool {
    let Some((day, hash)) = text.strip_prefix('v').and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    day.len() == 8
        && day.bytes().all(|byte| byte.is_ascii_digit())
        && hash.len() == 8
        && hash.bytes().all(is_hex)
}

impl TryFrom<String> for VersionName {
    type Error = RegistryError;

    fn try_from(text: String) -> Result<Self, RegistryError> {
        text.parse()
    }
}

impl From<VersionName> for String {
    fn from(name: VersionName) -> Self {
        name.0
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_version_is_named_by_its_day_in_utc_and_the_head_of_a_hash() {
        // a second before 2026-11-27 00:00 UTC
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(20_784 * 86_400 - 1);
        let name = VersionName::on(late, "1a2b3c4d5e6f").expect("a name");
        assert_eq!(name.to_string(), "v20261126-1a2b3c4d");
        assert_eq!(format!("{name:<20}|"), "v20261126-1a2b3c4d  |");
        for hash in ["1a2b3c4", "1A2B3C4D", "no hash!", ""] {
            assert!(VersionName::on(late, hash).is_err(), "{hash}");
        }
        let text = serde_json::to_string(&name).expect("json");
        assert_eq!(text, "\"v20261126-1a2b3c4d\"");
        assert_eq!(serde_json::from_str::<VersionName>(&text).expect("a name"), name);
        assert!(serde_json::from_str::<VersionName>("\"../v20261126-1a2b3c4d\"").is_err());
    }
}
