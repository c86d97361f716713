//! Where a bench's objects lie: a folder, or a bucket of a server of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::cache::Cache;
use crate::checkout::run;
use crate::programs::Python;
use crate::report::{self, Ticker};
use crate::seaweed::{self, Server};

/// Puts objects; arguments are the bucket's URL and a list of files and keys.
const PUT: &str = include_str!("put.py");

/// Gets objects; arguments are the bucket's URL, a folder, and prefixes.
const GET: &str = include_str!("get.py");

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// SeaweedFS on 127.0.0.1.
    S3,
    /// A folder.
    File,
}

/// One copy of a file to be put under a key.
#[derive(Debug)]
pub struct Copy {
    /// Where it is.
    pub file: PathBuf,
    /// Where it goes.
    pub key: String,
}

/// The store.
pub enum Store {
    /// A folder.
    File {
        /// Absolute.
        folder: PathBuf,
    },
    /// A server.
    S3 {
        /// Ours alone.
        server: Server,
        /// Where lists and what is got back lie.
        work: PathBuf,
    },
}

impl Store {
    /// Opens an empty one.
    ///
    /// # Errors
    /// The server cannot be had or started, the folder not be made.
    pub fn open(kind: Kind, cache: &Cache, work: &Path) -> Result<Self> {
        Ok(match kind {
            Kind::File => {
                let folder = std::path::absolute(work.join("store"))?;
                fs::create_dir_all(&folder)?;
                Self::File { folder }
            }
            Kind::S3 => {
                let server = Server::start(&seaweed::set_up(cache)?)?;
                report::stage(&format!("the bench's S3 server is at {}", server.endpoint()));
                let work = work.to_owned();
                Self::S3 { server, work }
            }
        })
    }

    /// Returns which it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::S3 { .. } => Kind::S3,
        }
    }

    /// Returns the server's process.
    pub fn server(&self) -> Option<u32> {
        match self {
            Self::File { .. } => None,
            Self::S3 { server, .. } => server.pid(),
        }
    }

    /// Returns what a configuration calls a key.
    pub fn url(&self, key: &str) -> String {
        match self {
            Self::File { folder } => folder.join(key).to_string_lossy().into_owned(),
            Self::S3 { .. } => format!("s3://{}/{key}", seaweed::BUCKET),
        }
    }

    /// Lends a program what it needs to reach the store.
    pub fn lend<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        match self {
            Self::File { .. } => command,
            Self::S3 { server, .. } => server.lend(command),
        }
    }

    /// Puts every copy as an object of its own.
    ///
    /// # Errors
    /// A file cannot be read, an object not be put.
    pub fn put(&self, copies: &[Copy]) -> Result<()> {
        match self {
            Self::File { folder } => {
                let mut ticker = Ticker::new();
                for (done, copy) in copies.iter().enumerate() {
                    let place = folder.join(&copy.key);
                    fs::create_dir_all(place.parent().context("a key lies in the store")?)?;
                    fs::copy(&copy.file, &place).with_context(|| format!("cannot put {}", copy.key))?;
                    ticker.tick(|| format!("{done} of {} objects put", copies.len()));
                }
                Ok(())
            }
            Self::S3 { server, work } => {
                let lines = copies
                    .iter()
                    .map(|copy| format!("{}\t{}\n", copy.file.display(), copy.key));
                let list = work.join("copies.tsv");
                fs::write(&list, lines.collect::<String>())?;
                let mut put = Python::find()?.script(PUT);
                let status = run(put.arg(server.plain()).arg(&list))?;
                ensure!(status.success(), "cannot put the objects ({status})");
                Ok(())
            }
        }
    }

    /// Returns a folder that holds what lies below these prefixes.
    ///
    /// # Errors
    /// An object cannot be got.
    pub fn get(&self, prefixes: &[&str]) -> Result<PathBuf> {
        match self {
            Self::File { folder } => Ok(folder.clone()),
            Self::S3 { server, work } => {
                let folder = work.join("got");
                report::stage("getting what the runs left …");
                let mut get = Python::find()?.script(GET);
                let status = run(get.arg(server.plain()).arg(&folder).args(prefixes))?;
                ensure!(status.success(), "cannot get the objects ({status})");
                Ok(folder)
            }
        }
    }
}
