//! The models: synchronous mathematics on patches. No tokio, no store, no file of configuration.
//!
//! Listed in the order: what a model is, the methods, what feeds and trains them.

pub mod augment;
pub mod baseline;
pub mod degrade;
#[cfg(feature = "torch")]
pub mod lsd_ebm;
pub mod phantom;
pub mod reconstructor;
pub mod register;
pub mod seed;
#[cfg(feature = "torch")]
pub mod train;
pub mod vote;
#[cfg(feature = "torch")]
pub mod weights;

#[cfg(feature = "torch")]
pub use lsd_ebm::set_threads;
pub use reconstructor::{Chain, ModelConf, ModelError, Reconstructor, open};
