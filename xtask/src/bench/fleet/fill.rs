//! A million cases in the queue: how fast they come there, and what the server needs for them.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::super::watch::Usage;
use super::{Fleet, folder, queue};
use crate::bench::{mib, seconds};
use crate::nats::Server;
use crate::programs::run_for_output;
use crate::report;

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Numbers {
    cases: usize,
    enqueue_s: f64,
    /// The same once more, all known already.
    again_s: f64,
    idle_rss_bytes: u64,
    rss_bytes: u64,
    peak_rss_bytes: u64,
    disk_bytes: u64,
    /// From a kill of the server until it answers again, all cases read.
    restart_s: f64,
    /// Of the server then.
    restarted_rss_bytes: u64,
}

/// Fills the queue of a server of its own. No object of these cases is there.
pub fn fill(fleet: &Fleet<'_>, program: &Path, cases: usize) -> Result<Numbers> {
    report::stage(&format!("putting {cases} cases into the queue …"));
    let work = folder(fleet, "fill");
    fs::create_dir_all(&work)?;
    let manifest = work.join("manifest.csv");
    let mut file = BufWriter::new(fs::File::create(&manifest)?);
    writeln!(file, "case_id,mask,labels")?;
    for number in 0..cases {
        writeln!(file, "case-{number:07},masks/{number}.nii.gz,verse")?;
    }
    file.flush()?;
    drop(file);

    let mut server = Server::start(program, &work.join("nats"), "127.0.0.1")?;
    let rss = |server: &Server| {
        let usage = server.pid().and_then(Usage::of);
        usage.context("the server has gone")
    };
    let idle = rss(&server)?;
    let enqueue = || -> Result<f64> {
        let mut settings = queue(&server);
        settings.push(format!("run.manifest={}", manifest.display()));
        settings.push(format!("run.output={}", work.join("out").display()));
        // of several values of a key the last one counts
        let mut command = fleet.verb(&["enqueue"], "fill", 0, &settings)?;
        let start = Instant::now();
        run_for_output(&mut command)?;
        Ok(seconds(start.elapsed()))
    };
    let (enqueue_s, again_s) = (enqueue()?, enqueue()?);
    let full = rss(&server)?;
    let disk_bytes = bytes_below(&work.join("nats"))?;
    let start = Instant::now();
    server.restart()?;
    let restart_s = seconds(start.elapsed());
    Ok(Numbers {
        cases,
        enqueue_s,
        again_s,
        idle_rss_bytes: idle.rss_bytes,
        rss_bytes: full.rss_bytes,
        peak_rss_bytes: full.peak_rss_bytes,
        disk_bytes,
        restart_s,
        restarted_rss_bytes: rss(&server)?.rss_bytes,
    })
}

/// Returns the bytes of all files below a folder.
fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            bytes_below(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}

impl Numbers {
    pub(super) fn table(&self) -> String {
        format!(
            "\n{} cases into the queue: {:.0}/s, {:.0}/s once more; server {} idle, {} with them, peak {}, {} on disk; \
             answers {:.1} s after a kill with {}\n",
            self.cases,
            self.cases as f64 / self.enqueue_s,
            self.cases as f64 / self.again_s,
            mib(self.idle_rss_bytes),
            mib(self.rss_bytes),
            mib(self.peak_rss_bytes),
            mib(self.disk_bytes),
            self.restart_s,
            mib(self.restarted_rss_bytes)
        )
    }
}
