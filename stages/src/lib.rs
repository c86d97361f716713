//! The operators of the flow, one verb a file, listed in flow order. Tokio and stores; no order, no tensor.

pub mod stage;
pub mod store;
pub mod manifest;
pub mod fetch;
pub mod decode;
pub mod crop;
pub mod paste;
pub mod pool;
pub mod reconstruct;
pub mod metrics;
pub mod evaluate;
pub mod write;
pub mod tables;
#[cfg(feature = "torch")]
pub mod train;

pub use stage::{Sink, Stage, blocking};
