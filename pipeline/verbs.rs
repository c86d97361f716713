//! The verbs besides `run`, one file each.

pub mod degrade;
pub mod doctor;
pub mod evaluate;
pub mod inspect;
pub mod manifest;
pub mod phantom;
#[cfg(feature = "torch")]
pub mod train;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use stages::store::{Place, Stores};

use crate::run::url;

/// Returns the place that an argument names.
fn place_of(stores: &Arc<Stores>, name: &str, text: &str) -> Result<Place> {
    let url = url(name, text)?;
    stores.place(&url).with_context(|| name.to_owned())
}
