//! The Python that tests read our tables and files with (DuckDB, Polars, pydicom and so on), in an environment of its
//! own.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::Cache;
use crate::environment::Environment;

/// What is in it.
const ENVIRONMENT: Environment = Environment {
    item: "python",
    name: "the tests' Python",
    holds: "DuckDB, Polars, nibabel, pydicom, dcmqi and others (280 MB)",
    requirements: include_str!("../test-python.txt"),
    is_whole: false,
    stand_ins: &[],
    imports: "compose_spec, datafusion, dcmqi, duckdb, highdicom, kubernetes_validate, nibabel, polars, pyarrow, pydicom, trimesh, yaml",
};

/// Returns the interpreter of the environment, made if it is not there yet.
///
/// # Errors
/// No Python, no pip, no network: those tests cannot run then, all others can.
pub fn set_up(cache: &Cache) -> Result<PathBuf> {
    ENVIRONMENT.set_up(cache)
}
