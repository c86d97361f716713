//! The sections of the configuration that are the pipeline's own; every other stands beside the code that it rules.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use stages::Count;

use crate::shard::Sharding;

/// Section `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConf {
    /// Manifest of the cohort: path or URL of a `.csv`, `.jsonl` or `.parquet`.
    pub manifest: String,
    /// Prefix for tables/, volumes/ and runs/: path or URL.
    pub output: String,
    /// Name of the run; "auto" follows from manifest, output, model, crop, labels, seed and what is measured.
    pub id: String,
    /// Every random number follows from it.
    pub seed: u64,
    /// Most bytes that volumes take while they are read, all cases in hand together. A case takes its share before it is
    /// fetched; one object or volume larger than all of it is refused.
    pub memory: ByteSize,
    /// Share of failed cases above which the run gives up, looked at from 50 outcomes on.
    pub max_failed: f64,
    /// Longest time for the cases in hand after a stop signal, in s; cases not done by then stay for the next start.
    pub stop_s: u64,
    /// The cases that this process does: "I/N" for one of N shards, counted from 0; "none" for every case; "auto" for what
    /// the variables of a Slurm, Kubernetes or AWS Batch array say. The run's id does not follow from it.
    pub shard: Sharding,
}

impl Default for RunConf {
    fn default() -> Self {
        Self {
            manifest: String::new(),
            output: String::new(),
            id: "auto".to_owned(),
            seed: 0,
            memory: ByteSize::gib(8),
            max_failed: 0.5,
            stop_s: 60,
            shard: Sharding::Auto,
        }
    }
}

/// Section `[widths]`: cases that a stage works on at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Widths {
    /// Waits for the store.
    pub weigh: Count,
    /// Waits for the store.
    pub fetch: Count,
    /// Unpacks: one core each.
    pub decode: Count,
    /// Resamples: shares the cores.
    pub crop: Count,
    /// Waits for the pool.
    pub reconstruct: Count,
    /// Measures: shares the cores.
    pub evaluate: Count,
    /// Packs and waits for the store.
    pub write: Count,
}

/// Section `[timeouts]`: longest time of one case in a stage, in s; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Looking at its objects.
    pub weigh: u64,
    /// Reading them; waiting for memory does not count.
    pub fetch: u64,
    /// Unpacking them.
    pub decode: u64,
    /// Cutting vertebrae out.
    pub crop: u64,
    /// Restoring them all, waiting for a model worker included.
    pub reconstruct: u64,
    /// Measuring them.
    pub evaluate: u64,
    /// Packing and putting its volumes.
    pub write: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            weigh: 900,
            fetch: 3600,
            decode: 600,
            crop: 600,
            reconstruct: 3600,
            evaluate: 900,
            write: 3600,
        }
    }
}

/// Section `[watch]`: how a run is seen from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConf {
    /// Time between two progress lines where there is no terminal, in s.
    pub line_s: u64,
    /// Time without a case that begins or ends in any stage, in s, after which a warning names the stage.
    pub quiet_s: u64,
    /// Address of the page of metrics that Prometheus reads, `127.0.0.1:9464`; empty for none.
    pub metrics: String,
}

impl Default for WatchConf {
    fn default() -> Self {
        Self {
            line_s: 10,
            quiet_s: 300,
            metrics: String::new(),
        }
    }
}
