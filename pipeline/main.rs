//! The command line: arguments → configuration → verbs → exit code.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use spinestream::bar::AboveTheBars;
use spinestream::conf::Conf;
use spinestream::shard::{Settled, Sharding};
use spinestream::{Exit, RunEnd, panics, queue, run, verbs};
use stages::allocator;
use stages::store::Stores;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// Turns spine studies into reconstructed vertebrae and tables of numbers.
#[derive(Debug, Parser)]
#[command(name = "spinestream", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
struct Common {
    /// Configuration file (TOML); what it leaves out is the built-in default.
    #[arg(long, global = true, value_name = "FILE")]
    conf: Option<PathBuf>,
    /// Sets one key, over file and environment: --set run.seed=7.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value_t = Log::Text)]
    log: Log,
    /// More of the log: -v debug, -vv trace.
    #[arg(short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Errors only.
    #[arg(short, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Log {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs a cohort: list → weigh → fetch → decode → crop → reconstruct → evaluate → write.
    Run(verbs::run::Arguments),
    /// Puts the cases of a run that have no row into its queue, for workers on many machines.
    Enqueue(verbs::enqueue::Arguments),
    /// Does cases as a run's queue hands them out; any number of such processes may come and go.
    Work(verbs::work::Arguments),
    /// Shows a run and its workers: what waits, what is in hand and done, how fast, and the time left.
    Status(verbs::status::Arguments),
    /// Says what a run would do: cases, bytes, memory, what is done already, and how long it may take.
    Plan(verbs::plan::Arguments),
    /// Holds what a run has published against its manifest, against itself, and against the files it left.
    Verify(verbs::verify::Arguments),
    /// Merges the small parts of a run's tables into large ones.
    Compact(verbs::compact::Arguments),
    /// Prints what loads the tables, and ready views over them, into DuckDB, DataFusion or Polars.
    Views(verbs::views::Arguments),
    /// Writes what came of a run as one HTML page: outcomes, metrics, pictures, times, model, provenance.
    Report(verbs::report::Arguments),
    /// Shows a run on a web page of this machine: a table to sort and filter, and every vertebra in 3D.
    View(verbs::view::Arguments),
    /// Writes a cohort manifest by walking a folder or bucket of masks, or of DICOM objects.
    Manifest(verbs::manifest::Arguments),
    /// Shows what the decoder sees in a file, or the fault it would become.
    Inspect(verbs::inspect::Arguments),
    /// Makes a cohort of seeded phantom spines with thick-slice masks and references.
    Phantom(verbs::phantom::Arguments),
    /// Makes a thick-slice version of a mask, a pure function of mask, affine and seed.
    Degrade(verbs::degrade::Arguments),
    /// Trains a model on the masks of a manifest.
    #[cfg(feature = "torch")]
    Train,
    /// One night: finds new CT masks, trains on them, and promotes the model only if it is better.
    #[cfg(feature = "torch")]
    Nightly(verbs::nightly::Arguments),
    /// Compares methods on the masks of a manifest: one table and one report.
    Evaluate,
    /// Says what is set up, which device libtorch sees, and what to do.
    Doctor,
    /// Lists, shows, promotes, rolls back and clears up the versions of the model registry.
    Models(verbs::models::Arguments),
}

fn main() -> ExitCode {
    allocator::set_up();
    let cli = Cli::parse();
    let _sending = start_log(&cli.common);
    panics::tell_places();
    match dispatch(&cli) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            let end = error.downcast_ref::<RunEnd>();
            // what ends a run tells its causes itself
            let message = end.map_or_else(|| format!("{error:#}"), ToString::to_string);
            eprintln!("error: {message}");
            let exit = end.map_or(Exit::Usage, RunEnd::exit);
            ExitCode::from(exit as u8)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<Exit> {
    let mut conf = conf(&cli.common)?;
    match &cli.verb {
        Verb::Run(arguments) => settle_shard(&mut conf, arguments.shard)?,
        Verb::Plan(arguments) => settle_shard(&mut conf, arguments.shard)?,
        _ => {}
    }
    let stores = Arc::new(Stores::new(conf.store.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime")?;
    let exit = runtime.block_on(async {
        match &cli.verb {
            Verb::Run(arguments) => {
                let stop = stop_signal("cases in hand are finished, no new one is taken");
                Ok(run::run(&conf, &stores, &arguments.retry(), stop).await?)
            }
            Verb::Enqueue(arguments) => {
                let stop = stop_signal("what is in the queue stays there");
                verbs::enqueue::enqueue(arguments, &conf, &stores, stop).await
            }
            Verb::Work(arguments) => {
                let stop = stop_signal("cases in hand are finished, no new one is taken");
                Ok(queue::work(&conf, &stores, arguments.until_empty, stop).await?)
            }
            Verb::Status(arguments) => verbs::status::status(arguments, &conf, &stores).await,
            Verb::Plan(arguments) => verbs::plan::plan(arguments, &conf, &stores).await,
            Verb::Verify(arguments) => verbs::verify::verify(arguments, &conf, &stores).await,
            Verb::Compact(arguments) => verbs::compact::compact(arguments, &conf, &stores).await,
            Verb::Views(arguments) => verbs::views::views(arguments, &conf),
            Verb::Report(arguments) => verbs::report::report(arguments, &conf, &stores).await,
            Verb::View(arguments) => {
                let stop = stop_signal("the page is closed, the run stays as it is");
                verbs::view::view(arguments, &conf, &stores, stop).await
            }
            Verb::Manifest(arguments) => verbs::manifest::manifest(arguments, &conf, &stores).await,
            Verb::Inspect(arguments) => verbs::inspect::inspect(arguments, &conf, &stores).await,
            Verb::Phantom(arguments) => verbs::phantom::phantom(arguments, &stores).await,
            Verb::Degrade(arguments) => verbs::degrade::degrade(arguments, &conf, &stores).await,
            #[cfg(feature = "torch")]
            Verb::Train => {
                let stop = stop_signal("the step in hand is finished and a checkpoint written");
                Ok(verbs::train::train(&conf, &stores, stop).await?)
            }
            #[cfg(feature = "torch")]
            Verb::Nightly(arguments) => {
                let stop = stop_signal("the step in hand is finished and a checkpoint written");
                Ok(verbs::nightly::nightly(arguments, &conf, &stores, stop).await?)
            }
            Verb::Evaluate => {
                let stop = stop_signal("the vertebra in hand is finished; no table is written");
                Ok(verbs::evaluate::evaluate(&conf, &stores, stop).await?)
            }
            Verb::Doctor => Ok(verbs::doctor::doctor(&conf)),
            Verb::Models(arguments) => verbs::models::models(arguments, &conf, &stores).await,
        }
    });
    // what took too long may still be at it in a thread of its own: it is not waited for
    runtime.shutdown_background();
    exit
}

fn conf(common: &Common) -> Result<Conf> {
    let text = match &common.conf {
        Some(path) => {
            Some(std::fs::read_to_string(path).with_context(|| format!("--conf {}", path.display()))?)
        }
        None => None,
    };
    Conf::read(text.as_deref(), environment(), &common.settings)
}

/// Returns the variables of the environment that are text; others cannot be ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Settles which cases this process does, and says so if they are not all.
fn settle_shard(conf: &mut Conf, option: Option<Sharding>) -> Result<()> {
    let Settled { shard, source } = conf.run.shard.settle(option, &environment().collect())?;
    if !shard.is_whole() {
        tracing::info!("shard {shard} of the cases, by {source}; --shard none would do every case");
    }
    conf.run.shard = if shard.is_whole() {
        Sharding::None
    } else {
        Sharding::Fixed(shard)
    };
    Ok(())
}

/// Starts the log, and with feature `otlp` the sending of spans, which ends when what is returned is dropped.
fn start_log(common: &Common) -> Sending {
    let level = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (_, 0) => "warn,spinestream=info",
        (_, 1) => "info,spinestream=debug,stages=debug,models=debug",
        _ => "debug,spinestream=trace,stages=trace,models=trace",
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(|| AboveTheBars);
    let lines = match common.log {
        Log::Text => lines.with_target(false).boxed(),
        Log::Json => lines.json().boxed(),
    };
    // the DICOM parser repeats texts of objects, and warns of one damage a million times
    let level = format!("{level},dicom_core=off,dicom_encoding=off,dicom_parser=off,dicom_object=off");
    let log = tracing_subscriber::registry()
        .with(EnvFilter::new(level))
        .with(lines);
    #[cfg(not(feature = "otlp"))]
    {
        log.init();
        None
    }
    #[cfg(feature = "otlp")]
    match spinestream::otlp::Export::start() {
        Ok(export) => {
            log.with(export.as_ref().map(spinestream::otlp::Export::layer))
                .init();
            export
        }
        Err(message) => {
            log.init();
            tracing::warn!("no spans are sent: {message}");
            None
        }
    }
}

/// What sends spans.
#[cfg(feature = "otlp")]
type Sending = Option<spinestream::otlp::Export>;

/// Nothing does.
#[cfg(not(feature = "otlp"))]
type Sending = Option<std::convert::Infallible>;

/// Exit code of a process that Ctrl-C ended, as shells know it.
const INTERRUPTED: i32 = 130;

/// Time in which a second signal is taken for the first one: schedulers signal whole process groups, and scripts hand on
/// what they get.
const ONE_SIGNAL: Duration = Duration::from_secs(1);

/// Returns a future that is there after Ctrl-C or SIGTERM, and says what is done then. A second signal, a second or more
/// after it, ends the process at once; what is published stays, and the next start goes on.
fn stop_signal(what: &'static str) -> impl Future<Output = ()> + Send + 'static {
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        signalled().await;
        eprintln!("stopping: {what}; start again to go on");
        stop.send_replace(true);
        tokio::time::sleep(ONE_SIGNAL).await;
        signalled().await;
        std::process::exit(INTERRUPTED);
    });
    async move {
        // the sender lives as long as the process listens
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}
