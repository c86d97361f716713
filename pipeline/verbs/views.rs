//! `spinestream views`: loads an output's tables, and ready views over them, into other programs.

use anyhow::Result;
use clap::{Args, ValueEnum};
use stages::tables::views::Output;

use crate::conf::Conf;
use crate::run::{say, url};
use crate::{Exit, RunEnd};

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Who is to read the tables.
    #[arg(long = "for", value_name = "PROGRAM", value_enum, default_value_t = Reader::Duckdb)]
    pub reader: Reader,
}

/// Programs that the views are known to run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reader {
    /// DuckDB: SQL.
    Duckdb,
    /// DataFusion: SQL.
    Datafusion,
    /// Polars: a Python module.
    Polars,
}

/// Prints the script that makes tables and views of every run below the configuration's output.
///
/// # Errors
/// The output is in no place that other programs can read.
pub fn views(arguments: &Arguments, conf: &Conf) -> Result<Exit> {
    let url = url("run.output", &conf.run.output)?;
    let output = Output::new(&url).map_err(|error| RunEnd::Conf(format!("run.output: {error}")))?;
    say(&match arguments.reader {
        Reader::Duckdb => output.duckdb(),
        Reader::Datafusion => output.datafusion(),
        Reader::Polars => output.polars(),
    });
    Ok(Exit::Done)
}
