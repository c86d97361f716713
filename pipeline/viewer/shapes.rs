//! Masks and surfaces of single vertebrae as files that NiiVue reads. A few vertebrae are kept: each is asked for several
//! times, and whoever looks at one looks at its neighbours.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stages::blocking;
use stages::masks::{MaskSource, VertebraMasks, What};
use stages::results::{CaseSeen, VertebraSeen};
use tokio::sync::{OnceCell, Semaphore};

/// Vertebrae whose masks are kept: a spine and a half, of 6 MiB each.
const KEPT: usize = 9;

/// How long masks are kept that are not all there: what a store did not give may come the next time.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Vertebrae that are read or made into files at once: each takes tens of MiB while it lasts.
const AT_ONCE: usize = 2;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Nifti,
    Stl,
    Ply,
}

/// Names a state of a vertebra: case, level, attempt.
type Key = (String, String, u32);

/// Masks that are being read, or that were.
type Cell = Arc<OnceCell<Arc<VertebraMasks>>>;

/// Gives out masks and surfaces.
#[derive(Debug)]
pub(super) struct Shapes {
    source: MaskSource,
    /// Those asked for last stand last.
    kept: Mutex<VecDeque<(Key, Instant, Cell)>>,
    turns: Semaphore,
}

impl Shapes {
    pub(super) fn new(source: MaskSource) -> Self {
        Self {
            source,
            kept: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// Returns a file of a vertebra, or in words why there is none.
    pub(super) async fn file(
        &self,
        case: &CaseSeen,
        vertebra: &VertebraSeen,
        what: What,
        form: Form,
    ) -> Result<Vec<u8>, String> {
        let masks = self.masks(case, vertebra).await;
        let _turn = self.turns.acquire().await;
        blocking(move || file(&masks, what, form)).await
    }

    async fn masks(&self, case: &CaseSeen, vertebra: &VertebraSeen) -> Arc<VertebraMasks> {
        let cell = self.cell(key(vertebra));
        // all who ask for the same wait for the one who reads
        let read = || async {
            let _turn = self.turns.acquire().await;
            Arc::new(self.source.masks(case, vertebra).await)
        };
        Arc::clone(cell.get_or_init(read).await)
    }

    fn cell(&self, key: Key) -> Cell {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(known, _, _)| *known == key);
        let (since, cell) = match found.and_then(|index| kept.remove(index)) {
            Some((_, since, cell)) if !is_stale(since, &cell) => (since, cell),
            _ => (Instant::now(), Cell::default()),
        };
        kept.push_back((key, since, Arc::clone(&cell)));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        cell
    }

    /// Keeps masks as if they had been read.
    #[cfg(test)]
    pub(super) fn keep(&self, vertebra: &VertebraSeen, masks: VertebraMasks) {
        let cell = self.cell(key(vertebra));
        assert!(cell.set(Arc::new(masks)).is_ok(), "kept for the first time");
    }
}

fn key(vertebra: &VertebraSeen) -> Key {
    (vertebra.case_id.clone(), vertebra.level.clone(), vertebra.attempt)
}

fn is_stale(since: Instant, cell: &Cell) -> bool {
    let lacks =
        |masks: &Arc<VertebraMasks>| masks.input.is_err() || masks.recon.is_err() || masks.reference.is_err();
    since.elapsed() > RETRY_AFTER && cell.get().is_some_and(lacks)
}

fn file(masks: &VertebraMasks, what: What, form: Form) -> Result<Vec<u8>, String> {
    match form {
        Form::Nifti => masks.nifti(what),
        Form::Stl => masks.stl(what),
        Form::Ply => masks.ply(what),
    }
}
