//! What is published, looked at again and again while others publish more: each part is read once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Listing, Published, RunTables, TablesError, fingerprint};

/// Which cases of a run have a row, as of the last look.
#[derive(Debug)]
pub struct Watched {
    tables: RunTables,
    parts: BTreeSet<String>,
    published: Published,
    looked: Instant,
}

impl Watched {
    /// Looks for the first time.
    ///
    /// # Errors
    /// The store's, or a part that is none of ours.
    pub async fn new(tables: RunTables) -> Result<Self, TablesError> {
        let looked = Instant::now();
        let listing = tables.list().await?;
        let published = tables.published_in(&listing).await?;
        Ok(Self {
            tables,
            parts: listing.parts,
            published,
            looked,
        })
    }

    /// Returns what was there at the last look.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// Returns whether a case has a row, by its folded id; looks again if the last look is older than `fresh` and found none.
    ///
    /// # Errors
    /// The store's, or a part that is none of ours.
    pub async fn has(&mut self, folded: &str, fresh: Duration) -> Result<bool, TablesError> {
        let case = fingerprint(folded);
        if self.published.last(case).is_none() && self.looked.elapsed() >= fresh {
            self.look().await?;
        }
        Ok(self.published.last(case).is_some())
    }

    /// Reads the parts that have come since the last look. What `compact` merges meanwhile was read before.
    async fn look(&mut self) -> Result<(), TablesError> {
        let looked = Instant::now();
        let all = self.tables.list().await?.parts;
        let listing = Listing::of_parts(all.difference(&self.parts).cloned().collect());
        self.published.merge(self.tables.published_in(&listing).await?);
        self.parts.extend(listing.parts);
        self.looked = looked;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use schemas::{CaseId, Failure, Fault, ObjectUrl};

    use super::*;
    use crate::stage::Sink as _;
    use crate::store::Stores;
    use crate::tables::Tables;
    use crate::write::WriteConf;

    async fn publish(tables: &RunTables, id: &str, attempt: u32) {
        let mut sink = Tables::new(tables.clone(), "w", attempt, WriteConf::default());
        let id: CaseId = id.parse().expect("id");
        let failure = Failure {
            id,
            person: None,
            stage: "fetch",
            fault: Fault::missing("object_not_found", "mask: expected an object, found none there"),
            spent: Vec::new(),
        };
        sink.accept(Err(failure)).await.expect("accept");
        sink.close().await.expect("close");
    }

    #[tokio::test]
    async fn rows_of_others_are_seen_at_the_next_look_and_not_before_it_is_due() {
        let stores = Stores::default();
        let output = stores.place(&ObjectUrl::new("memory:///out")).expect("place");
        let tables = RunTables::new(output, "r1");
        publish(&tables, "a", 3).await;
        let mut watched = Watched::new(tables.clone()).await.expect("read");
        assert_eq!(
            (
                watched.published().highest_attempt(),
                watched.published().failed()
            ),
            (3, 1)
        );
        publish(&tables, "B", 4).await;
        let never = Duration::from_secs(3600);
        assert!(!watched.has("b", never).await.expect("not due"));
        assert!(watched.has("b", Duration::ZERO).await.expect("looked"));
        assert!(watched.has("a", never).await.expect("known"));
        assert!(!watched.has("c", Duration::ZERO).await.expect("looked"));
        assert_eq!(watched.published().cases(), 2);
    }
}
