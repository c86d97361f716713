//! The border to DICOM: objects, their pixels, their geometry, segmentations in and out.
//!
//! World is LPS there and RAS here; the change is made in [`plane`] and nowhere else.

mod codec;
pub mod data_set;
pub mod folder;
pub mod inspect;
pub mod object;
pub mod pixels;
pub mod plane;
pub mod pseudonym;
pub mod seg;
pub mod series;
pub mod stack;

pub use object::{Head, Object};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
