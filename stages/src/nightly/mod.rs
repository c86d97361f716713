//! What a night is made of besides its order, which `pipeline/night.rs` tells.

pub mod card;
pub mod drift;
pub mod judge;
pub mod report;
