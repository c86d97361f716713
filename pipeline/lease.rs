//! The right to be the only one at work on a method's part of the registry: nights, and who clears up.

use std::time::Duration;

use serde_json::{Map, Value};
use stages::registry::Registry;
use stages::starts::{Beat, Start, StartError, State};
use stages::store::StoreError;
use stages::tables::SOFTWARE_VERSION;

use crate::RunEnd;
use crate::champion::ended;

/// Folder of the signs of life below the method's part of the registry.
const STARTS: &str = "starts";

/// Time between two looks whether another one has ended.
const WAIT: Duration = Duration::from_secs(5);

/// Signs of life that expire when their owner dies.
pub struct Lease {
    start: Start,
    beat: Beat,
    record: Map<String, Value>,
}

impl Lease {
    /// Takes the lease for a verb; with `waits` as soon as nobody else has it.
    ///
    /// # Errors
    /// Somebody else has it; the registry cannot be used.
    pub async fn take(registry: &Registry, verb: &str, waits: bool) -> Result<Self, RunEnd> {
        let starts = registry.place(STARTS);
        let record = Map::from_iter([
            ("verb".to_owned(), verb.into()),
            ("software_version".to_owned(), SOFTWARE_VERSION.into()),
        ]);
        let start = Start::take(&starts, 1, &record).await.map_err(refused)?;
        let told = record.clone();
        let beat = start.beat(Box::new(move || told.clone()));
        let lease = Self { start, beat, record };
        loop {
            match lease.start.alone(&starts).await {
                Ok(()) => return Ok(lease),
                Err(StartError::Busy(busy)) if waits => {
                    tracing::info!("{busy}");
                    tokio::time::sleep(WAIT).await;
                }
                Err(error) => {
                    lease.end(State::Stopped).await;
                    return Err(match error {
                        StartError::Busy(busy) => RunEnd::Busy(busy),
                        StartError::Store(error) => refused(error),
                    });
                }
            }
        }
    }

    /// Gives the lease back. That this cannot be noted harms nothing: who comes next sees that its owner is dead.
    pub async fn end(self, state: State) {
        self.beat.end().await;
        if let Err(error) = self.start.keep(state, &self.record).await {
            tracing::warn!("that the work has ended could not be noted: {error}");
        }
    }
}

fn refused(error: StoreError) -> RunEnd {
    ended("registry.url", error.into())
}
