//! The border to DICOM: objects, their pixels, their geometry, segmentations in and out.
//!
//! World is LPS there and RAS here; the change is made in [`plane`] and nowhere else.

mod codec;
pub mod conf;
pub mod data_set;
pub(crate) mod elements;
pub mod folder;
pub mod inspect;
pub mod object;
pub mod pixels;
pub mod plane;
pub mod pseudonym;
pub mod seg;
pub mod seg_out;
pub mod series;
pub mod source;
pub mod stack;

#[cfg(test)]
pub(crate) mod testing;

pub use conf::DicomConf;
pub use object::{Head, Object};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
#[cfg(test)]
pub(crate) mod sample;
