//! Measures functions of spinestream in-process, one suite a process: `cargo xtask bench` runs each beside its peers.
//!
//! `bench make SUITE FOLDER` lays the suite's inputs out, `bench measure SUITE FOLDER` measures on them and prints one
//! JSON document. What is measured leaves its results in the folder too, so that they can be compared with a peer's.

mod crop;
mod decode;
mod measure;
mod metrics;
#[cfg(feature = "torch")]
mod model;
#[cfg(feature = "torch")]
mod networks;
#[cfg(feature = "torch")]
mod noise;
mod rows;
mod scans;
#[cfg(feature = "torch")]
mod weights;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use measure::Sheet;

/// Measures functions of spinestream in-process.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lays out what a suite measures on.
    Make(Place),
    /// Measures, and prints what was found as JSON.
    Measure(Place),
    /// Makes the weights of the paper's size that the suite `model` takes.
    #[cfg(feature = "torch")]
    Weights {
        /// Where they go.
        file: PathBuf,
        /// Every random number follows from it.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Writes the noise that a run draws for the cases of a manifest.
    #[cfg(feature = "torch")]
    Noise {
        /// Comma-separated, with the case's id first.
        manifest: PathBuf,
        /// Where it goes.
        file: PathBuf,
        /// The run's seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

/// Which suite, and where.
#[derive(Debug, clap::Args)]
struct Place {
    suite: Suite,
    /// Holds the inputs and takes the results.
    folder: PathBuf,
    /// Every random number follows from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What is measured together, in one process.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Suite {
    /// From files to volumes.
    Decode,
    /// From a label map to patches.
    Crop,
    /// How alike two masks are.
    Metrics,
    /// Encoder, chain and generator of the paper's size, each alone.
    #[cfg(feature = "torch")]
    Networks,
    /// From degraded patch to reconstruction, at the paper's size and at ours.
    #[cfg(feature = "torch")]
    Model,
    /// From rows to Parquet.
    Rows,
}

fn main() -> Result<()> {
    // as spinestream itself does
    stages::allocator::set_up();
    match Arguments::parse().verb {
        Verb::Make(Place { suite, folder, seed }) => match suite {
            Suite::Decode => decode::make(&folder, seed),
            Suite::Crop => crop::make(&folder, seed),
            Suite::Metrics => metrics::make(&folder, seed),
            #[cfg(feature = "torch")]
            Suite::Networks => networks::make(&folder, seed),
            #[cfg(feature = "torch")]
            Suite::Model => model::make(&folder, seed),
            Suite::Rows => rows::make(&folder, seed),
        },
        Verb::Measure(Place { suite, folder, seed }) => {
            let mut sheet = Sheet::new(&folder);
            match suite {
                Suite::Decode => decode::measure(&folder, &mut sheet)?,
                Suite::Crop => crop::measure(&folder, &mut sheet)?,
                Suite::Metrics => metrics::measure(&folder, &mut sheet)?,
                #[cfg(feature = "torch")]
                Suite::Networks => networks::measure(&folder, seed, &mut sheet)?,
                #[cfg(feature = "torch")]
                Suite::Model => model::measure(&folder, seed, &mut sheet)?,
                Suite::Rows => rows::measure(seed, &mut sheet)?,
            }
            sheet.print()
        }
        #[cfg(feature = "torch")]
        Verb::Weights { file, seed } => weights::make(&file, seed),
        #[cfg(feature = "torch")]
        Verb::Noise { manifest, file, seed } => noise::write(&manifest, seed, &file),
    }
}
