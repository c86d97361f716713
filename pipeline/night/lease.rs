//! The right to be the only night of a method.

use std::time::Duration;

use serde_json::{Map, Value};
use stages::nightly::NightError;
use stages::registry::Registry;
use stages::starts::{Beat, Start, StartError, State};
use stages::tables::SOFTWARE_VERSION;

use crate::RunEnd;

/// Time between two looks whether another night has ended.
const WAIT: Duration = Duration::from_secs(5);

/// The right to be the only night of a method: signs of life that expire when their owner dies.
pub struct Lease {
    start: Start,
    beat: Beat,
}

impl Lease {
    pub async fn take(registry: &Registry, waits: bool) -> Result<Self, RunEnd> {
        let starts = registry.place("starts");
        let store = |error| RunEnd::from(NightError::Store(error));
        let start = Start::take(&starts, 1, &record()).await.map_err(store)?;
        let beat = start.beat(Box::new(record));
        let lease = Self { start, beat };
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
                        StartError::Store(error) => store(error),
                    });
                }
            }
        }
    }

    pub async fn end(self, state: State) {
        self.beat.end().await;
        if let Err(error) = self.start.keep(state, &record()).await {
            tracing::warn!("that the night has ended could not be noted: {error}");
        }
    }
}

fn record() -> Map<String, Value> {
    Map::from_iter([("software_version".to_owned(), SOFTWARE_VERSION.into())])
}
