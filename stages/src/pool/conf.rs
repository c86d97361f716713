//! What the pool is made of.

use serde::{Deserialize, Serialize};

use crate::count::Count;
use crate::cpu;

/// Section `[pool]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConf {
    /// Devices, one or more workers each: `cpu`, `cuda:0`, …
    pub devices: Vec<String>,
    /// Workers per device: of its own accord one a core on a CPU, and one a GPU.
    pub replicas: Count,
    /// Most patches in one micro-batch: of its own accord 1 on a CPU, and on a GPU what it is fastest with.
    pub batch: Count,
    /// How long a worker waits for a micro-batch to fill, in ms; 0 takes what is there.
    pub wait_ms: u64,
    /// Threads of the numeric library inside one worker: of its own accord as many as leave each core one.
    pub threads: Count,
}

impl Default for PoolConf {
    fn default() -> Self {
        Self {
            devices: vec!["cpu".to_owned()],
            replicas: Count::Auto,
            batch: Count::Auto,
            wait_ms: 0,
            threads: Count::Auto,
        }
    }
}

/// Memory of the machine per worker on its CPU that is started without being asked for by number: twice the weights, the
/// tensors and the cases in hand of the largest networks.
const MEMORY_A_WORKER: u64 = 1 << 30;

impl PoolConf {
    /// Returns the workers on a device.
    pub fn workers_on(&self, device: &str) -> usize {
        let auto = if device == CPU {
            let by_memory = usize::try_from(cpu::memory() / MEMORY_A_WORKER).unwrap_or(usize::MAX);
            cpu::cores().min(by_memory)
        } else {
            1
        };
        self.replicas.or(auto).get()
    }

    /// Returns all workers.
    pub fn workers(&self) -> usize {
        self.devices.iter().map(|device| self.workers_on(device)).sum()
    }

    /// Returns the threads of the numeric library inside one worker.
    pub fn threads_each(&self) -> usize {
        let on_cpu: usize = self
            .devices
            .iter()
            .filter(|device| *device == CPU)
            .map(|device| self.workers_on(device))
            .sum();
        // workers that drive GPUs compute nothing themselves
        let auto = cpu::cores().checked_div(on_cpu).unwrap_or(1);
        self.threads.or(auto).get()
    }
}

/// The device that every machine has.
pub(super) const CPU: &str = "cpu";

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn each_core_gets_one_thread_of_a_worker() {
        let fixed = |count| Count::Fixed(NonZeroUsize::new(count).expect("a number from 1"));
        let conf = PoolConf::default();
        let (workers, threads) = (conf.workers(), conf.threads_each());
        assert!(
            workers >= 1 && workers * threads <= cpu::cores(),
            "{workers} of {threads}"
        );
        let one = PoolConf {
            replicas: fixed(1),
            ..PoolConf::default()
        };
        assert_eq!((one.workers(), one.threads_each()), (1, cpu::cores()));
        let gpus = PoolConf {
            devices: vec!["cuda:0".to_owned(), "cuda:1".to_owned()],
            ..PoolConf::default()
        };
        assert_eq!((gpus.workers(), gpus.threads_each()), (2, 1));
        let many = PoolConf {
            replicas: fixed(1000),
            ..PoolConf::default()
        };
        assert_eq!((many.workers(), many.threads_each()), (1000, 1));
    }
}
