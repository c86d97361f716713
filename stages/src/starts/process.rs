//! Which process of which machine gave a sign of life, and whether it still lives.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::compare::key::hex;

/// Tells whether a process of this machine still lives; says nothing of the machine to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// Hash of the machine's boot and of the process namespace.
    pub(super) machine: String,
    pub(super) pid: u32,
    /// When it began, in the kernel's ticks: process numbers are used again.
    pub(super) began: u64,
}

impl Process {
    /// Returns this process; `None` where there is no `/proc`, or not all of it.
    pub(super) fn own() -> Option<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let digest = Sha256::digest(format!("{} {}", boot.trim(), namespace.display()).as_bytes());
        // where other users' processes are hidden (hidepid, see proc(5)), what is not seen may live
        began(1)?;
        let pid = std::process::id();
        Some(Self {
            machine: hex(&digest[..8]),
            pid,
            began: began(pid)?,
        })
    }

    pub(super) fn lives(&self) -> bool {
        began(self.pid) == Some(self.began)
    }
}

/// Returns when a process began, in the kernel's ticks: the 22nd field of its `stat` (proc(5)).
pub(super) fn began(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the second field is the program's name in brackets, and may hold blanks
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // a zombie has ended, but for its parent's asking
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
