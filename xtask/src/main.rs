//! `cargo xtask VERB`: sets the project up on a bare machine and runs what developers and users run most.
//!
//! It stands alone: it links no libtorch and knows the program only by its command line.

mod bench;
mod browser;
mod cache;
mod checkout;
mod demo;
mod dicom3tools;
mod environment;
mod libtorch;
mod manifest;
mod nats;
mod niivue;
mod packaged;
mod programs;
mod report;
mod sample;
mod seaweed;
mod spinestream;
mod test_python;
mod testing;
mod webdriver;
mod wheels;

use std::process::{ExitCode, ExitStatus};

use anyhow::Result;
use clap::{Parser, Subcommand};

use bench::Bench;
use cache::Cache;
use checkout::Checkout;
use libtorch::Kind;

/// Sets spinestream up and runs its demo, tests and benches.
///
/// What is fetched goes to one folder outside the checkout: $SPINESTREAM_CACHE, else
/// $XDG_CACHE_HOME/spinestream, else ~/.cache/spinestream. Everything is pinned, fetched once, and fine to
/// interrupt and to run twice at once.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lays out libtorch and links .libtorch to it, after which plain cargo commands work; and NiiVue for the viewer.
    Setup {
        /// With CUDA (the default where `nvidia-smi` lists a GPU; 2.5 GB to fetch).
        #[arg(long, conflicts_with = "cpu")]
        cuda: bool,
        /// For the CPU only (0.5 GB to fetch).
        #[arg(long)]
        cpu: bool,
    },
    /// Fetches the demo's real sample: a CT patch and an MRI patch with their vertebra labels.
    Sample,
    /// Sets up, builds, and runs the main job on a small cohort; everything goes below target/demo.
    Demo,
    /// Sets up and runs all tests.
    Test {
        /// Handed to the runner: cargo nextest where it is installed, else cargo test.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures what many cases and many kills do to a run; numbers go to bench/results.
    Bench {
        #[command(subcommand)]
        bench: Bench,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    report::start();
    match act(arguments.verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(verb: Verb) -> Result<ExitCode> {
    let checkout = Checkout::of_this_package()?;
    let cache = Cache::of_user()?;
    match verb {
        Verb::Setup { cuda, cpu } => {
            let kind = match (cuda, cpu) {
                (true, _) => Kind::Cuda,
                (_, true) => Kind::Cpu,
                _ => Kind::of_machine(),
            };
            libtorch::set_up(&checkout.root, &cache, kind)?;
            niivue::set_up_or_warn(&checkout.root, &cache);
        }
        Verb::Sample => {
            sample::set_up(&cache)?;
        }
        Verb::Demo => demo::demo(&checkout, &cache)?,
        Verb::Bench { bench } => bench.run(&checkout, &cache)?,
        Verb::Test { arguments } => return Ok(code_of(testing::test(&checkout, &cache, &arguments)?)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Hands on the exit code of another program; one that a signal ended has none.
fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
