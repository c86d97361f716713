//! The run's rows as they stand, read again while somebody looks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use stages::blocking;
use stages::results::{Reader, Results};
use stages::tables::{RunTables, TablesError};

use super::rows;

/// Least time between two looks into the store, however many pages are open.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The run at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// All that was read.
    pub(super) results: Arc<Results>,
    /// Changes whenever a row does.
    pub(super) stamp: String,
    /// Vertebrae, as JSON.
    pub(super) vertebrae: Bytes,
    /// Cases, as JSON.
    pub(super) cases: Bytes,
    /// Why the last look into the store came to nothing, if it did: what is shown is older then.
    pub(super) trouble: Option<String>,
}

/// Reads a run again and again.
#[derive(Debug)]
pub(super) struct Live {
    look: Arc<tokio::sync::Mutex<Look>>,
    last: Arc<Mutex<Arc<Snapshot>>>,
}

/// What one look into the store needs; one is made at a time.
#[derive(Debug)]
struct Look {
    /// `None` for rows that never change.
    reader: Option<Reader>,
    at: Instant,
    stamps: Stamps,
}

/// Gives each state of the rows a stamp that no other state of this or of another process has.
#[derive(Debug)]
struct Stamps {
    began: u128,
    count: u64,
}

impl Live {
    /// Reads the run for the first time.
    pub(super) async fn open(tables: RunTables) -> Result<Self, TablesError> {
        let mut reader = Reader::new(tables);
        let results = reader.refresh().await?;
        Ok(Self::new(Some(reader), results))
    }

    /// Shows these rows for ever.
    #[cfg(test)]
    pub(super) fn of(results: Results) -> Self {
        Self::new(None, Arc::new(results))
    }

    fn new(reader: Option<Reader>, results: Arc<Results>) -> Self {
        let mut stamps = Stamps::new();
        let first = Arc::new(Snapshot::of(results, stamps.next()));
        let look = Look {
            reader,
            at: Instant::now(),
            stamps,
        };
        Self {
            look: Arc::new(tokio::sync::Mutex::new(look)),
            last: Arc::new(Mutex::new(first)),
        }
    }

    /// Returns the run as it was read last.
    pub(super) fn last(&self) -> Arc<Snapshot> {
        Arc::clone(&self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the run as it stands. Whoever comes while another looks gets what was read last.
    pub(super) async fn now(&self) -> Arc<Snapshot> {
        let Ok(mut look) = Arc::clone(&self.look).try_lock_owned() else {
            return self.last();
        };
        if look.at.elapsed() < LOOK_EVERY || look.reader.is_none() {
            return self.last();
        }
        let last = Arc::clone(&self.last);
        let before = self.last();
        // in a task of its own: a browser that goes away must not leave a look half made
        let looking = tokio::spawn(async move {
            let snapshot = look.again(&before).await;
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        });
        if looking.await.is_err() {
            tracing::warn!("reading the run again came to a bad end; the page shows what was read before");
        }
        self.last()
    }
}

impl Look {
    async fn again(&mut self, before: &Snapshot) -> Snapshot {
        let refreshed = match &mut self.reader {
            Some(reader) => reader.refresh().await,
            None => Ok(Arc::clone(&before.results)),
        };
        self.at = Instant::now();
        let results = match refreshed {
            Ok(results) => results,
            Err(error) => {
                return Snapshot {
                    trouble: Some(error.to_string()),
                    ..before.clone()
                };
            }
        };
        let known = &before.results;
        if results.cases == known.cases && results.vertebrae == known.vertebrae {
            return Snapshot {
                results,
                trouble: None,
                ..before.clone()
            };
        }
        let stamp = self.stamps.next();
        blocking(move || Snapshot::of(results, stamp)).await
    }
}

impl Snapshot {
    fn of(results: Arc<Results>, stamp: String) -> Self {
        Self {
            vertebrae: rows::vertebrae(&results, &stamp),
            cases: rows::cases(&results, &stamp),
            results,
            stamp,
            trouble: None,
        }
    }
}

impl Stamps {
    fn new() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            began: since_1970.map_or(0, |since| since.as_millis()),
            count: 0,
        }
    }

    fn next(&mut self) -> String {
        self.count += 1;
        format!("{:x}-{}", self.began, self.count)
    }
}
