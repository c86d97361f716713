//! What a case holds of the run's memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives bytes back to where they were taken from.
type GiveBack = Box<dyn Fn(u64) + Send + Sync>;

/// Bytes of the run's memory that a case holds. They go back when the last clone is dropped, wherever that happens.
#[derive(Clone, Default)]
pub struct Held(Option<Arc<Share>>);

struct Share {
    bytes: AtomicU64,
    give_back: GiveBack,
}

impl Held {
    /// Holds `bytes`; whatever of them is not needed any more goes to `give_back`.
    pub fn new(bytes: u64, give_back: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Share {
            bytes: AtomicU64::new(bytes),
            give_back: Box::new(give_back),
        })))
    }

    /// Returns the bytes held.
    pub fn bytes(&self) -> u64 {
        let share = self.0.as_ref();
        share.map_or(0, |share| share.bytes.load(Ordering::Acquire))
    }

    /// Gives back what exceeds `bytes`; never takes more.
    pub fn shrink(&self, bytes: u64) {
        if let Some(share) = &self.0 {
            let before = share.bytes.fetch_min(bytes, Ordering::AcqRel);
            if before > bytes {
                (share.give_back)(before - bytes);
            }
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes held", self.bytes())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        (self.give_back)(*self.bytes.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_goes_back_once() {
        let back = Arc::new(AtomicU64::new(0));
        let given = Arc::clone(&back);
        let held = Held::new(100, move |bytes| {
            given.fetch_add(bytes, Ordering::Relaxed);
        });
        held.shrink(200);
        assert_eq!((held.bytes(), back.load(Ordering::Relaxed)), (100, 0));
        held.shrink(30);
        let other = held.clone();
        drop(held);
        assert_eq!((other.bytes(), back.load(Ordering::Relaxed)), (30, 70));
        drop(other);
        assert_eq!(back.load(Ordering::Relaxed), 100);
        Held::default().shrink(0);
    }
}
