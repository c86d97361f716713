//! The models: synchronous mathematics on patches. No tokio, no store, no file of configuration.
//!
//! Listed in the order: what a model is, the methods, what feeds and trains them.

pub mod loaded;
pub mod reconstructor;
pub mod register;
pub mod seed;
pub mod vote;

pub mod distance;

#[cfg(feature = "torch")]
pub mod description;
#[cfg(feature = "torch")]
pub mod networks;
#[cfg(feature = "torch")]
pub mod weights;

pub mod baseline;
pub mod interpolate;
#[cfg(feature = "torch")]
pub mod lebm;
#[cfg(feature = "torch")]
pub mod lsd_ebm;
#[cfg(feature = "torch")]
pub mod reconnet;
#[cfg(feature = "torch")]
pub mod vae;

pub mod augment;
pub mod degrade;
pub mod phantom;
#[cfg(feature = "torch")]
pub mod train;

#[cfg(test)]
pub(crate) mod testing;

#[cfg(all(test, feature = "torch"))]
pub(crate) mod golden;

pub use loaded::LoadedWeights;
#[cfg(feature = "torch")]
pub use networks::device::{device_report, set_threads};
pub use reconstructor::{
    Chain, ModelConf, ModelError, Precision, Reconstructor, Sampler, TracePoint, Weights, open,
};
