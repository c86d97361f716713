//! The run's byte budget (`run.memory`): what decoded volumes may take, all cases together.

use std::sync::{Arc, Mutex, PoisonError};

use schemas::Held;
use tokio::sync::Semaphore;

/// Unit in which the budget is counted: a semaphore hands out 32 bits of permits, and bytes would not fit.
const UNIT: u64 = 1 << 10;

/// Bytes that cases take before they are read, and give back when their volumes are dropped.
///
/// Whoever asks first is served first, so a large case is not starved by small ones.
#[derive(Debug, Clone)]
pub struct Budget {
    units: Arc<Semaphore>,
    all: u32,
}

impl Budget {
    /// Makes a budget of that many bytes.
    pub fn new(bytes: u64) -> Self {
        let most = u64::from(u32::MAX).min(Semaphore::MAX_PERMITS as u64);
        let all = u32::try_from((bytes / UNIT).clamp(1, most)).unwrap_or(u32::MAX);
        Self {
            units: Arc::new(Semaphore::new(all as usize)),
            all,
        }
    }

    /// Waits until `bytes` are free and takes them. A case that needs more than there is takes all and goes alone.
    pub async fn take(&self, bytes: u64) -> Held {
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_or(self.all, |units| units.min(self.all));
        match self.units.acquire_many(units).await {
            Ok(permit) => permit.forget(),
            // nobody closes it
            Err(_) => return Held::default(),
        }
        let budget = Arc::clone(&self.units);
        let bytes = u64::from(units) * UNIT;
        let left = Mutex::new(bytes);
        Held::new(bytes, move |given| {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            let before = left.div_ceil(UNIT);
            *left = left.saturating_sub(given);
            // whole units only: what is left of one is given back with the last byte
            budget.add_permits((before - left.div_ceil(UNIT)) as usize);
        })
    }

    /// Returns the bytes of the budget.
    pub fn bytes(&self) -> u64 {
        u64::from(self.all) * UNIT
    }

    /// Returns the bytes that are taken.
    pub fn taken(&self) -> u64 {
        self.bytes()
            .saturating_sub(self.units.available_permits() as u64 * UNIT)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_given_back_can_be_taken_again() {
        let budget = Budget::new(10 * UNIT);
        let held = budget.take(7 * UNIT + 1).await;
        assert_eq!((held.bytes(), budget.taken()), (8 * UNIT, 8 * UNIT));
        held.shrink(3 * UNIT + 5);
        held.shrink(3 * UNIT + 1);
        assert_eq!(budget.taken(), 4 * UNIT);
        let second = budget.take(6 * UNIT).await;
        let waits = tokio::time::timeout(Duration::from_millis(5), budget.take(UNIT));
        assert!(waits.await.is_err(), "nothing is left");
        drop((held, second));
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn a_case_larger_than_the_budget_goes_alone() {
        let budget = Budget::new(10 * UNIT);
        let large = budget.take(u64::MAX).await;
        assert_eq!(budget.taken(), budget.bytes());
        let waits = tokio::time::timeout(Duration::from_millis(5), budget.take(1));
        assert!(waits.await.is_err());
        drop(large);
        assert_eq!(budget.take(1).await.bytes(), UNIT);
    }

    #[tokio::test]
    async fn a_case_that_needs_nothing_waits_for_nothing() {
        let budget = Budget::new(UNIT);
        let _all = budget.take(UNIT).await;
        assert_eq!(budget.take(0).await.bytes(), 0);
    }
}
