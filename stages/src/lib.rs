//! The operators of the flow, one verb a file, listed in flow order. Tokio and stores; no order, no tensor.

pub mod allocator;
pub mod compare;
pub mod count;
pub mod cpu;
pub mod crop;
pub mod decode;
pub mod dicom;
pub mod evaluate;
pub mod fetch;
pub mod gather;
pub mod manifest;
pub mod masks;
pub mod memory;
pub mod metrics;
#[cfg(feature = "torch")]
pub mod nightly;
pub mod objects;
pub mod paste;
pub mod pool;
pub mod reconstruct;
pub mod registry;
pub mod report;
pub mod results;
pub mod shard;
pub mod stage;
pub mod starts;
pub mod store;
pub mod surface;
pub mod tables;
#[cfg(feature = "torch")]
pub mod train;
pub mod weigh;
pub mod write;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod fuzz;

pub use count::Count;
pub use stage::{HELD, Sink, Stage, blocking};
