//! The nouns of spinestream: cases, volumes, vertebrae, payloads and rows. This crate does nothing by itself.
//!
//! Listed in the order in which a case meets them.

pub mod case;
pub mod held;
pub mod labels;
pub mod payload;
pub mod rows;
pub mod slices;
pub mod source;
pub mod vertebra;
pub mod views;
pub mod volume;

pub use case::{Case, CaseId, Failure, Fault, FaultKind, ObjectKey, ObjectUrl, Outcome, Spent};
pub use held::Held;
pub use labels::{LabelScheme, LabelTable};
pub use payload::{Cropped, Decoded, Evaluated, Fetched, Listed, Origin, Reconstructed, Weighed, Written};
pub use slices::Slices;
pub use source::{SourceSeries, SourceSlice, Spacing};
pub use vertebra::{Flag, Level, ModelIdentity, Patch, Reconstruction, Registered, Scores};
pub use volume::{Affine, LabelMap, Volume};
