//! `spinestream work`: its arguments; what it does stands in [`crate::queue`].

use clap::Args;

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Ends once no case of the run waits and none is in another worker's hands; without it waits for more.
    #[arg(long)]
    pub until_empty: bool,
}
