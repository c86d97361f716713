//! Baselines without a network: what a method must beat.

use schemas::{Patch, Reconstruction};

use crate::reconstructor::{ModelError, Reconstructor};

/// Gives back what it gets.
#[derive(Debug, Clone, Copy)]
pub struct Identity;

impl Reconstructor for Identity {
    fn reconstruct(&mut self, batch: &[Patch], _seeds: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
        Ok(batch
            .iter()
            .map(|patch| Reconstruction::of_mask(patch.mask.clone()))
            .collect())
    }
}
