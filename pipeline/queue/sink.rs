//! The tables as a sink that tells the cases in hand what is published.

use schemas::{Outcome, Written};
use stages::Sink;
use stages::tables::{Tables, TablesError};

use super::hands::Hands;
use crate::census::id_of;
use crate::flow::Pending;

/// Publishes rows and has their messages acked, in this order.
pub(super) struct Acked {
    tables: Tables,
    hands: Hands,
}

impl Acked {
    pub(super) fn new(tables: Tables, hands: Hands) -> Self {
        Self {
            tables: tables.telling(),
            hands,
        }
    }

    fn tell(&mut self) {
        let committed = self.tables.take_committed();
        if !committed.is_empty() {
            self.hands.published(&committed);
        }
    }
}

impl Sink<Written> for Acked {
    type Error = TablesError;

    async fn accept(&mut self, outcome: Outcome<Written>) -> Result<(), TablesError> {
        self.hands.sunk(&id_of(&outcome));
        self.tables.accept(outcome).await?;
        self.tell();
        Ok(())
    }

    async fn close(mut self) -> Result<(), TablesError> {
        self.put_down().await
    }
}

impl Pending for Acked {
    type Error = TablesError;

    async fn tick(&mut self) -> Result<(), TablesError> {
        if self.hands.wait_for_the_sink() {
            return self.put_down().await;
        }
        self.tables.tick().await?;
        self.tell();
        Ok(())
    }

    async fn put_down(&mut self) -> Result<(), TablesError> {
        self.tables.publish().await?;
        self.tell();
        Ok(())
    }
}
