//! Wall and processor time of a piece of work.

use std::time::{Duration, Instant};

use crate::cpu::cpu_time;

/// A stopwatch that also reads the processor's clock of this process: all threads, user and system.
///
/// The processor time is that of the work only as long as nothing else of the process runs beside it.
#[derive(Debug)]
pub struct Stopwatch {
    start: Instant,
    processor: Duration,
}

impl Stopwatch {
    /// Starts.
    pub fn start() -> Self {
        Self {
            processor: cpu_time(),
            start: Instant::now(),
        }
    }

    /// Returns wall and processor time since the start.
    pub fn read(&self) -> (Duration, Duration) {
        let wall = self.start.elapsed();
        (wall, cpu_time().saturating_sub(self.processor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_takes_wall_time_and_working_takes_cpu_time() {
        let watch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(20));
        let (wall, _) = watch.read();
        assert!(wall >= Duration::from_millis(20));

        // other tests of the process add to it, so it can only be more
        let watch = Stopwatch::start();
        let mut value = 1_u64;
        while watch.read().1 < Duration::from_millis(5) {
            value = std::hint::black_box(value.wrapping_mul(3));
        }
        assert!(watch.read().1 >= Duration::from_millis(5));
    }
}
