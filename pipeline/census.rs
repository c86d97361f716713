//! The manifest read twice: once to count, once to do. Neither reading holds more than a hash of each case's id.

use std::sync::{Arc, Mutex, PoisonError};

use schemas::{Listed, Outcome};
use stages::blocking;
use stages::manifest::{Manifest, ManifestError};
use stages::shard::Share;
use stages::tables::{Published, fingerprint};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::RunEnd;

/// Cases that are read ahead of the flow.
const AHEAD: usize = 16;

/// How many cases there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Rows of the manifest, those of other shards included.
    pub manifest: usize,
    /// Rows of the manifest that are of this process's shard.
    pub cases: usize,
    /// Those that earlier starts have done, in vain or not.
    pub done: usize,
    /// How many of these failed, or have a vertebra that did.
    pub failed: usize,
}

/// Why the manifest ended too early, if it did.
pub type Broken = Arc<Mutex<Option<ManifestError>>>;

impl Census {
    /// Counts the cases of the manifest that a share holds, and those of them that are done. Every shard reads the whole
    /// manifest, which costs it a hash a row.
    ///
    /// # Errors
    /// The manifest cannot be read to its end.
    pub async fn of(
        manifest: Manifest,
        share: &Share,
        published: &Arc<Published>,
    ) -> Result<(Manifest, Self), RunEnd> {
        let (share, published) = (share.clone(), Arc::clone(published));
        let counted = blocking(move || {
            let mut census = Self::default();
            for case in manifest.read()? {
                let id = id_of(&case?);
                census.manifest += 1;
                if !share.holds(&id) {
                    continue;
                }
                census.cases += 1;
                if let Some(last) = published.last(fingerprint(&id)) {
                    census.done += 1;
                    census.failed += usize::from(last.failed || last.vertebra_failed);
                }
            }
            Ok((manifest, census))
        });
        counted.await.map_err(|error| RunEnd::Manifest {
            key: "run.manifest",
            error,
        })
    }
}

/// Returns the folded id of a case, sound or not.
pub fn id_of<T>(case: &Outcome<T>) -> String {
    match case {
        Ok(case) => case.id.folded(),
        Err(failure) => failure.id.folded(),
    }
}

/// Returns the cases of a share that have no row yet, read as the flow takes them.
pub fn todo(
    manifest: Manifest,
    share: Share,
    published: Arc<Published>,
) -> (ReceiverStream<Outcome<Listed>>, Broken) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let broken = Broken::default();
    let told = Arc::clone(&broken);
    // not one of the runtime's threads for blocking work: it lasts as long as the run
    std::thread::spawn(move || {
        let tell = |error| *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        let cases = match manifest.read() {
            Ok(cases) => cases,
            Err(error) => return tell(error),
        };
        for case in cases {
            let case = match case {
                Ok(case) => case,
                Err(error) => return tell(error),
            };
            let id = id_of(&case);
            let is_todo = share.holds(&id) && published.last(fingerprint(&id)).is_none();
            if is_todo && sender.blocking_send(case).is_err() {
                // the flow takes no more
                return;
            }
        }
    });
    (ReceiverStream::new(receiver), broken)
}
