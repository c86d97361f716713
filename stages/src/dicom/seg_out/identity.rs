//! Whose object it is: as the source says, or so that nobody outside can tell.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use schemas::SourceSeries;
use schemas::payload::Origin;
use sha2::{Digest as _, Sha256};

use crate::dicom::elements::Elements;
use crate::dicom::pseudonym::{SITE_KEY, SiteKey};

/// How the removal is named in the object (LO: 64 characters).
const METHOD: &str = "spinestream: no names, dates, texts; UIDs are keyed hashes";

/// What every object of a person and study has, known or not (type 2).
const TYPE_2: [Tag; 9] = [
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_ID,
];

/// What an object says of the person.
#[derive(Debug, Clone)]
pub enum Identity {
    /// What the source says: inside the hospital.
    Kept,
    /// The person's pseudonym, and UIDs hashed under the site's key.
    Hidden(SiteKey),
}

impl Identity {
    /// Returns the identity for `dicom.deidentify`, with the key from the environment.
    ///
    /// # Errors
    /// There is no key where one is needed, or it is too short; the message says what to set.
    pub fn from_environment(deidentify: bool) -> Result<Self, String> {
        if !deidentify {
            return Ok(Self::Kept);
        }
        match SiteKey::from_environment() {
            Ok(Some(key)) => Ok(Self::Hidden(key)),
            Ok(None) => Err(format!(
                "{SITE_KEY}: expected the site's key, under which \"seg\" of write.volumes hashes UIDs, found none: make \
                 one with `openssl rand -hex 32`, keep it and set it for every run; or set dicom.deidentify = false for \
                 objects that stay in the hospital"
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Returns the UID under which an object of ours speaks of something of the source's.
    pub fn foreign(&self, uid: &str) -> String {
        match self {
            Self::Kept => uid.to_owned(),
            Self::Hidden(key) => key.uid(&[uid]),
        }
    }

    /// Returns a UID of our own, which follows from words and other UIDs.
    pub fn own(&self, of: &[&str]) -> String {
        match self {
            Self::Kept => uid(of),
            Self::Hidden(key) => key.uid(of),
        }
    }

    /// Returns the UID of the space that the source's positions are in. A source that names none has one to itself.
    pub fn frame_of_reference(&self, source: &SourceSeries) -> String {
        match &source.frame_of_reference_uid {
            Some(uid) => self.foreign(uid),
            None => self.own(&["frame of reference", &self.foreign(&source.series_uid)]),
        }
    }

    /// Puts patient and study.
    pub(super) fn put(&self, object: &mut Elements, origin: &Origin, source: &SourceSeries) {
        for tag in TYPE_2 {
            object.text(tag, "");
        }
        object.text(tags::POSITION_REFERENCE_INDICATOR, "");
        object.text(tags::STUDY_INSTANCE_UID, self.foreign(&source.study_uid));
        match self {
            Self::Kept => {
                if let Some(date) = told(source, tags::STUDY_DATE) {
                    object.text(tags::CONTENT_DATE, date);
                }
                for ((group, element), text) in &source.person {
                    object.text(Tag(*group, *element), text.as_str());
                }
                // whoever removed an identity before us may have said how in codes alone
                let removed = tags::PATIENT_IDENTITY_REMOVED;
                if told(source, removed) == Some("YES")
                    && told(source, tags::DEIDENTIFICATION_METHOD).is_none()
                {
                    object.text(tags::DEIDENTIFICATION_METHOD, "as of the source images");
                }
            }
            Self::Hidden(_) => {
                object.text(tags::PATIENT_NAME, origin.person.as_str());
                object.text(tags::PATIENT_ID, origin.person.as_str());
                object.text(tags::PATIENT_IDENTITY_REMOVED, "YES");
                object.text(tags::DEIDENTIFICATION_METHOD, METHOD);
                object.text(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, "REMOVED");
            }
        }
    }
}

/// Returns what the source says of patient or study.
fn told(source: &SourceSeries, tag: Tag) -> Option<&str> {
    let tag = (tag.group(), tag.element());
    let found = source.person.iter().find(|(known, _)| *known == tag);
    found.map(|(_, text)| text.as_str())
}

/// Returns a UID, `2.25.` and a number (PS3.5 section B.2), that follows from words; as [`SiteKey::uid`] without a key.
fn uid(of: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in of {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    // a UUID of version 8, made in a way of our own (RFC 9562 section 5.8)
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}
