//! The web page of a run: its rows and its masks, for one who looks at them. It only reads, and only this run.
//!
//! ```text
//! door → routes → live (rows, read again as the run goes on) → rows, warnings (JSON)
//!               → shapes (masks and surfaces of one vertebra)
//!               → page (HTML, style, scripts, NiiVue)
//! ```

pub mod assets;
mod door;
mod live;
mod page;
mod routes;
mod rows;
mod shapes;
mod warnings;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use axum::Router;
use stages::masks::MaskSource;
use stages::results::Results;
use stages::tables::{RunTables, TablesError};
use tokio::net::TcpListener;

use live::Live;
use shapes::Shapes;

pub use door::Door;

/// A run to look at.
#[derive(Debug)]
pub struct Viewer {
    live: Live,
    shapes: Shapes,
}

impl Viewer {
    /// Reads the run as it stands; it is read again while somebody looks.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(tables: RunTables, masks: MaskSource) -> Result<Self, TablesError> {
        Ok(Self {
            live: Live::open(tables).await?,
            shapes: Shapes::new(masks),
        })
    }

    /// Returns the run as it was read last.
    pub fn results(&self) -> Arc<Results> {
        Arc::clone(&self.live.last().results)
    }
}

/// Returns all that the page and its scripts ask for, behind `door`.
pub fn router(viewer: Viewer, door: Door) -> Router {
    let router = routes::routes().merge(page::routes::<Arc<Viewer>>());
    door.in_front_of(router).with_state(Arc::new(viewer))
}

/// Answers until `stop` is there; what is being answered then is left.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    tokio::select! {
        ended = async { axum::serve(listener, router).await } => ended,
        () = stop => Ok(()),
    }
}
