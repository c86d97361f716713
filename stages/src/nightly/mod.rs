//! The nightly job, part by part; `pipeline/night.rs` says in which order.
//!
//! Read in that order: what is asked for (`conf`), which masks are new (`find`) and may teach (`gate`), on whom is judged
//! (`held_out`), what is learnt from (`select`), what a night set out to do (`plan`), whether its model is better
//! (`judge`), and what is told of it (`report`, `card`).

pub mod card;
pub mod conf;
pub mod drift;
pub mod find;
pub mod gate;
pub mod held_out;
pub mod intensity;
pub mod judge;
pub mod known;
pub mod lineage;
pub mod measure;
pub mod plan;
pub mod report;
pub mod select;
pub mod split;
#[cfg(test)]
pub(crate) mod testing;

use schemas::Fault;

use crate::registry::RegistryError;
use crate::store::StoreError;

pub use conf::NightlyConf;

use lineage::LineageError;

/// Why a night could not go on. It is not lost: the next start goes on where it stood.
#[derive(Debug, thiserror::Error)]
pub enum NightError {
    /// The registry's.
    #[error("registry.url: {0}")]
    Registry(#[from] RegistryError),
    /// The store's.
    #[error("registry.url: {0}")]
    Store(#[from] StoreError),
    /// The lineage cannot be written or read back.
    #[error("registry.url, lineage: {0}")]
    Lineage(#[from] LineageError),
    /// A file of a night, or a list of held-out masks, is not what it should be.
    #[error(
        "registry.url: expected what a night wrote in {name}, found something else: {error}; a night whose plan cannot be \
         read is ended by `spinestream nightly --abandon`"
    )]
    Damaged {
        /// Its name below the method's part of the registry.
        name: String,
        /// What is wrong with it.
        error: String,
    },
    /// A mask that models are judged on cannot be read any more.
    #[error(
        "registry.url: expected the frozen masks of held-out set {number} as they were, found one of case {case_id} \
         that is not: {fault}; put the file back, or take away the set's list so that the next night freezes another"
    )]
    HeldOut {
        /// Number of the set.
        number: u32,
        /// Pseudonym of the case.
        case_id: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A mask to train on cannot be read any more.
    #[error(
        "registry.url: expected the cut masks of the lineage, found one of case {case_id} that is not: {fault}"
    )]
    Mask {
        /// Pseudonym of the case.
        case_id: String,
        /// What is wrong with it.
        fault: Fault,
    },
}
