//! `spinestream nightly`: what a timer starts each night; and a night's training once more, or its end by hand.

use std::future::Future;
use std::sync::Arc;

use clap::Args;
use stages::store::Stores;

use crate::conf::Conf;
use crate::{Exit, RunEnd, night};

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Waits for another night of the same method to end, instead of leaving.
    #[arg(long, conflicts_with_all = ["again", "abandon"])]
    pub wait: bool,
    /// Trains a version once more, from its own manifest, seed and recipe, and says whether the weights are equal; the
    /// registry is only read.
    #[arg(long, value_name = "VERSION", requires = "output")]
    pub again: Option<String>,
    /// Where `--again` puts what it trains: path or URL.
    #[arg(long, value_name = "URL", requires = "again")]
    pub output: Option<String>,
    /// Ends a night that cannot be finished; the champion stays.
    #[arg(long, conflicts_with = "again")]
    pub abandon: bool,
}

/// Does what the arguments say.
///
/// # Errors
/// What keeps a night from going on.
pub async fn nightly(
    arguments: &Arguments,
    conf: &Conf,
    stores: &Arc<Stores>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, RunEnd> {
    if let (Some(version), Some(output)) = (&arguments.again, &arguments.output) {
        return night::again(conf, stores, version, output, stop).await;
    }
    if arguments.abandon {
        return night::abandon(conf, stores).await;
    }
    night::nightly(conf, stores, arguments.wait, stop).await
}
