//! How many patches a device takes at once, found by trying.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use models::{Chain, Reconstructor as _};
use ndarray::{Array3, s};
use schemas::{Affine, Patch};

/// Most patches that are tried.
pub(super) const MOST: usize = 64;

/// A larger batch must take less than this share of the time a patch: what hardly helps only makes cases wait.
const WORTH_IT: f64 = 0.95;

/// Edge of the patch that is tried, in voxels.
const SIDE: usize = 128;

/// Returns the batch, of 1, 2, 4, … up to `most`, that takes the least time a patch; 1 for a chain that does not take a
/// patch of the usual size. Memory that gives out ends the search.
pub(super) fn fastest(chain: &mut Chain, most: usize) -> usize {
    search(most, |size| {
        // the first time pays for what is set up once
        let first = tried(chain, size)?;
        Some(first.min(tried(chain, size)?))
    })
}

/// Doubles the batch while that helps; `time` tells how long so many patches take together, or that they cannot be done.
fn search(most: usize, mut time: impl FnMut(usize) -> Option<Duration>) -> usize {
    let mut best = (1, Duration::MAX);
    let mut size = 1;
    while size <= most {
        let Some(time) = time(size).map(|time| time / size as u32) else {
            break;
        };
        if time.as_secs_f64() > best.1.as_secs_f64() * WORTH_IT {
            break;
        }
        best = (size, time);
        size *= 2;
    }
    best.0
}

/// Returns the time that so many patches take together; none if they cannot be done.
fn tried(chain: &mut Chain, size: usize) -> Option<Duration> {
    let patch = block();
    let batch = vec![patch; size];
    let seeds: Vec<u64> = (0..size as u64).collect();
    let start = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| chain.reconstruct(&batch, &seeds)));
    let is_done = done.is_ok_and(|done| done.is_ok());
    is_done.then(|| start.elapsed())
}

/// A patch with a block in it, of the size of a vertebra.
fn block() -> Patch {
    let mut mask = Array3::zeros((SIDE, SIDE, SIDE));
    mask.slice_mut(s![24..104, 20..100, 40..88]).fill(1);
    Patch::new(mask, Affine::axis_aligned([1.0; 3], [0.0; 3]))
}

#[cfg(test)]
mod tests {
    use models::{ModelError, Reconstructor};
    use schemas::Reconstruction;

    use super::*;

    /// Has memory for so many patches and no more.
    struct Small(usize);

    impl Reconstructor for Small {
        fn reconstruct(&mut self, batch: &[Patch], _: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
            if batch.len() > self.0 {
                return Err(ModelError::Exhausted("too many".to_owned()));
            }
            let none = || Reconstruction::of_mask(Array3::zeros((1, 1, 1)));
            Ok(batch.iter().map(|_| none()).collect())
        }
    }

    fn chain(most: usize) -> Chain {
        let conf = models::ModelConf {
            chain: vec!["identity".to_owned()],
            ..models::ModelConf::default()
        };
        let identity = models::open(&conf, &models::LoadedWeights::new(), "cpu").expect("no network");
        let identity = identity.identity().clone();
        Chain::of(vec![Box::new(Small(most))], identity)
    }

    #[test]
    fn a_batch_grows_while_it_helps_and_memory_lasts() {
        let ms = Duration::from_millis;
        let steady = |memory: usize| move |size: usize| (size <= memory).then(|| ms(20));
        assert_eq!(search(MOST, steady(5)), 4);
        assert_eq!(search(8, steady(usize::MAX)), 8);
        assert_eq!(search(MOST, steady(0)), 1, "not even one: the run will tell");
        // of 4 together each takes 10 ms, of 8 a little more
        let flat = |size: usize| Some(ms(if size <= 4 { 40 } else { 11 * size as u64 }));
        assert_eq!(search(MOST, flat), 4);
        let hardly = |size: usize| Some(ms(1000 * size as u64 - 30 * u64::from(size.ilog2())));
        assert_eq!(search(MOST, hardly), 1, "a gain that is not worth the waiting");
    }

    #[test]
    fn what_a_chain_cannot_do_is_not_timed() {
        assert!(tried(&mut chain(2), 2).is_some());
        assert_eq!(tried(&mut chain(1), 2), None);
        assert_eq!(fastest(&mut chain(0), MOST), 1);
    }
}
