//! A process with all that it started: what they use together.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use super::watch::Usage;

/// A process and its descendants, looked at again and again.
#[derive(Debug)]
pub struct Family {
    root: u32,
    /// Memory at the last look, what several share counted once: proportional set sizes (proc(5), `smaps_rollup`).
    pub memory_bytes: u64,
    /// The most of it.
    pub peak_memory_bytes: u64,
    /// The most processes at once.
    pub processes: usize,
    /// Processor time of each as it was last seen.
    cpu: HashMap<u32, Duration>,
}

impl Family {
    /// Returns the family of a process, not looked at yet.
    pub fn of(root: u32) -> Self {
        Self {
            root,
            memory_bytes: 0,
            peak_memory_bytes: 0,
            processes: 0,
            cpu: HashMap::new(),
        }
    }

    /// Looks at all that are there.
    pub fn look(&mut self) {
        let (mut memory_bytes, mut processes) = (0, 0);
        for pid in family(self.root) {
            if let Some(usage) = Usage::of(pid) {
                self.cpu.insert(pid, usage.cpu);
            }
            // it may have ended since
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
                continue;
            };
            processes += 1;
            memory_bytes += proportional_bytes(&text).unwrap_or_default();
        }
        self.memory_bytes = memory_bytes;
        self.peak_memory_bytes = self.peak_memory_bytes.max(memory_bytes);
        self.processes = self.processes.max(processes);
    }

    /// Returns the processor time of all of them, but for what one used after it was last seen.
    pub fn cpu(&self) -> Duration {
        self.cpu.values().sum()
    }
}

/// Returns a process and its descendants, by who started whom.
fn family(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(parent) = parent_of(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// Reads field 4 of proc(5)'s `stat`; the name before may hold anything.
fn parent_of(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

fn proportional_bytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Time between two looks at all of them: each reads every process's page tables.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_of_a_child_belongs_to_the_family() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 20 & wait"])
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut ours = Family::of(std::process::id());
        for _ in 0..200 {
            ours.look();
            if ours.processes >= 3 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let members = family(child.id());
        for member in members.iter().rev() {
            let _ = Command::new("kill").arg(member.to_string()).status();
        }
        child.wait().expect("it ends");
        assert!(
            ours.processes >= 3 && ours.peak_memory_bytes > 1 << 20,
            "{ours:?}"
        );
        assert_eq!(members.len(), 2, "the shell and what it started");
    }

    #[test]
    fn a_name_like_fields_is_read_past() {
        assert_eq!(parent_of("12 (a) S 1 (b) R 7 12 12 0"), Some(7));
        assert_eq!(
            proportional_bytes("00-ff ---p\nRss:  9 kB\nPss:                12 kB\n"),
            Some(12288)
        );
    }
}
