//! Weights as they were loaded: read once, shared by all that reconstruct with them.

use std::collections::BTreeMap;
#[cfg(feature = "torch")]
use std::sync::{Arc, Mutex, PoisonError};

use crate::reconstructor::ModelError;
#[cfg(feature = "torch")]
use crate::{
    description::Method,
    weights::{Weights, read, sha256_hex, shipped},
};

/// Weights by the model's name; what is not there is shipped.
///
/// Tensors do not cross threads, but for these: they are at rest, and every worker on a CPU works with the same ones.
#[derive(Clone, Default)]
pub struct LoadedWeights(BTreeMap<String, Loaded>);

/// One network's.
#[derive(Clone)]
struct Loaded {
    #[cfg(feature = "torch")]
    weights: Arc<Mutex<Weights>>,
    #[cfg(feature = "torch")]
    sha256: String,
}

impl LoadedWeights {
    /// Returns none: all weights are those shipped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the weights of a model from the bytes of their file.
    ///
    /// # Errors
    /// [`ModelError::Weights`] for bytes that are no such file.
    pub fn add(&mut self, model: &str, bytes: &[u8]) -> Result<(), ModelError> {
        #[cfg(not(feature = "torch"))]
        let (loaded, _) = (Loaded {}, bytes);
        #[cfg(feature = "torch")]
        let loaded = Loaded {
            weights: Arc::new(Mutex::new(read(bytes)?)),
            sha256: sha256_hex(bytes),
        };
        self.0.insert(model.to_owned(), loaded);
        Ok(())
    }

    /// Returns the weights of a method, and the SHA-256 of their file in hex.
    ///
    /// # Errors
    /// The shipped ones cannot be read.
    #[cfg(feature = "torch")]
    pub(crate) fn of(&self, method: Method) -> Result<(Weights, String), ModelError> {
        let Some(loaded) = self.0.get(method.as_str()) else {
            let bytes = shipped(method);
            return Ok((read(bytes)?, sha256_hex(bytes)));
        };
        let weights = loaded.weights.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((weights.shared(), loaded.sha256.clone()))
    }
}
