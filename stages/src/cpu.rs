//! What this machine has, and how much of its processors' time this process used: budgets of training and costs of methods
//! are stated in it, since it counts every thread, on however many cores they ran.

use std::time::Duration;

use rustix::system::sysinfo;
use rustix::time::{ClockId, clock_gettime};

/// Returns the CPU time that this process has used so far, all threads together (POSIX `CLOCK_PROCESS_CPUTIME_ID`).
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Returns the cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the machine's memory, in bytes.
pub fn memory() -> u64 {
    let info = sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_thread_that_computes_uses_cpu_time() {
        let (start, cpu) = (Instant::now(), cpu_time());
        while start.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        // a busy machine may have given this thread less than the time that passed, but not nothing
        assert!(cpu_time() - cpu > Duration::from_millis(3));
    }
}
