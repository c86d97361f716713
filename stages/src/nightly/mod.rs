//! What a night of training needs besides the training itself: which masks may teach, which judge, and what was seen
//! before.

pub mod gate;
pub mod intensity;
pub mod known;
pub mod lineage;
pub mod measure;
pub mod split;

#[cfg(test)]
pub(crate) mod testing;
