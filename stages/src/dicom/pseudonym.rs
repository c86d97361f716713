//! Pseudonyms: keyed hashes of what identifies persons, studies and objects.
//!
//! Only with the site's key can a pseudonym be found again from a record number; a plain hash of eight digits is
//! searched through in seconds. Equal key and equal origin give equal pseudonyms, in every manifest and run.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::Sha256;

use crate::compare::key::hex;

/// Environment variable of the site's key; it is in no file and never shown.
pub const SITE_KEY: &str = "SPINESTREAM_SITE_KEY";

/// Fewest bytes of a key.
const KEY_LEAST: usize = 16;

/// Bytes of a hash that become a pseudonym: among ten million objects no two share one, by one in 10^10.
const LENGTH: usize = 10;

/// The site's key. Neither `Debug` nor anything else shows it.
#[derive(Clone)]
pub struct SiteKey(Hmac<Sha256>);

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteKeyError {
    /// Too short to be safe.
    #[error("{SITE_KEY}: expected at least {KEY_LEAST} bytes, found {0}: make one with `openssl rand -hex 32`")]
    TooShort(usize),
    /// The operating system gives no random bytes.
    #[error("expected random bytes from the operating system, got none")]
    NoRandom,
}

impl SiteKey {
    /// Takes a key.
    ///
    /// # Errors
    /// It is too short.
    pub fn new(key: &[u8]) -> Result<Self, SiteKeyError> {
        if key.len() < KEY_LEAST {
            return Err(SiteKeyError::TooShort(key.len()));
        }
        Ok(Self(
            Hmac::new_from_slice(key).expect("HMAC takes keys of any length"),
        ))
    }

    /// Returns the key in [`SITE_KEY`], `None` where the variable is not set or empty.
    ///
    /// # Errors
    /// It is too short.
    pub fn from_environment() -> Result<Option<Self>, SiteKeyError> {
        use std::os::unix::ffi::OsStrExt as _;
        match std::env::var_os(SITE_KEY) {
            Some(key) if !key.is_empty() => Self::new(key.as_bytes()).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns a key that nobody knows and that is gone with this value: pseudonyms made with it cannot be linked to
    /// any others.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn random() -> Result<Self, SiteKeyError> {
        let mut key = [0_u8; 32];
        SysRng
            .try_fill_bytes(&mut key)
            .map_err(|_| SiteKeyError::NoRandom)?;
        Self::new(&key)
    }

    /// Returns the id of the case that a series of a study is: `c` and twenty hex digits.
    pub fn case_id(&self, study_uid: &str, series_uid: &str) -> String {
        self.pseudonym('c', "case", &[study_uid, series_uid])
    }

    /// Returns a person's pseudonym, from Patient ID: `p` and twenty hex digits.
    pub fn person(&self, patient_id: &str) -> String {
        self.pseudonym('p', "person", &[patient_id])
    }

    /// Returns the pseudonym of somebody without Patient ID: each study is a person of its own then.
    pub fn person_of_study(&self, study_uid: &str) -> String {
        self.pseudonym('p', "person of study", &[study_uid])
    }

    /// Returns a study's pseudonym, from its UID.
    pub fn study(&self, uid: &str) -> String {
        self.pseudonym('t', "study", &[uid])
    }

    /// Returns a series' pseudonym, from its UID.
    pub fn series(&self, uid: &str) -> String {
        self.pseudonym('s', "series", &[uid])
    }

    /// Returns the pseudonym of an object in a store, from its key: keys hold record numbers.
    pub fn object(&self, key: &str) -> String {
        self.pseudonym('o', "object", &[key])
    }

    /// Returns a DICOM UID, `2.25.` and a number (PS3.5 section B.2), that follows from other UIDs and words.
    pub fn uid(&self, of: &[&str]) -> String {
        let hash = self.hash("uid", of);
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&hash[..16]);
        // a UUID of version 8, made in a way of our own (RFC 9562 section 5.8)
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        format!("2.25.{}", u128::from_be_bytes(bytes))
    }

    fn pseudonym(&self, letter: char, domain: &str, parts: &[&str]) -> String {
        let hash = self.hash(domain, parts);
        format!("{letter}{}", hex(&hash[..LENGTH]))
    }

    /// Hashes with lengths before the parts, so that no two lists of parts look alike.
    fn hash(&self, domain: &str, parts: &[&str]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in std::iter::once(&domain).chain(parts) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SiteKey")
    }
}

#[cfg(test)]
mod tests {
    use schemas::CaseId;

    use super::*;

    fn key() -> SiteKey {
        SiteKey::new(b"0123456789abcdef").expect("key")
    }

    #[test]
    fn pseudonyms_follow_from_key_and_origin_alone() {
        assert_eq!(key().case_id("1.2", "3"), key().case_id("1.2", "3"));
        let other = SiteKey::new(b"0123456789abcdeg").expect("key");
        assert_ne!(key().case_id("1.2", "3"), other.case_id("1.2", "3"));
        assert_ne!(
            key().case_id("1.2", "3"),
            key().case_id("1.", "23"),
            "parts do not run together"
        );
        let tail = |pseudonym: String| pseudonym[1..].to_owned();
        assert_ne!(
            tail(key().series("1.2")),
            tail(key().study("1.2")),
            "domains are apart"
        );
        let random = || SiteKey::random().expect("random").person("7");
        assert_ne!(random(), random());
    }

    /// Computed with Python: `hmac.new(key, len(domain).to_bytes(8, "little") + domain + …, "sha256").hexdigest()`.
    #[test]
    fn pseudonyms_are_hmacs() {
        assert_eq!(key().person("12345678"), "p55e07c005064e7bdc7b3");
    }

    #[test]
    fn pseudonyms_are_case_ids_and_uids_are_uids() {
        assert!(key().case_id("1.2", "3").parse::<CaseId>().is_ok());
        assert!(key().person("7").parse::<CaseId>().is_ok());
        let uid = key().uid(&["1.2.3", "seg"]);
        assert!(uid.len() <= 64 && uid.starts_with("2.25."), "{uid}");
        assert!(uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    }

    #[test]
    fn a_key_is_long_and_not_shown() {
        assert_eq!(SiteKey::new(b"short").expect_err("short"), SiteKeyError::TooShort(5));
        assert_eq!(format!("{:?}", key()), "SiteKey");
    }
}
