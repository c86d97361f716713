//! The Python that does what ours does, as people do it today, in an environment of its own.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::Cache;
use crate::environment::Environment;

/// What is in it.
///
/// Torch's wheel names all of CUDA, 2.7 GB that would never be called: as for our own libtorch on a CPU, it gets the two
/// small libraries that its CPU part names, and empty ones for the rest.
const ENVIRONMENT: Environment = Environment {
    item: "peers",
    name: "the peers' Python",
    holds: "NumPy, SciPy, nibabel, pydicom, PyTorch, MONAI, Ray and others (850 MB)",
    requirements: include_str!("../../../bench/peers/requirements.txt"),
    is_whole: true,
    stand_ins: &[
        ("libcublas.so.13", "libcublas.so.13"),
        ("libcublasLt.so.13", "libcublasLt.so.13"),
        ("libcudnn.so.9", "libcudnn.so.9"),
        ("libcufft.so.12", "libcufft.so.12"),
        ("libcufile.so.0", "libcufile.so.0"),
        ("libcurand.so.10", "libcurand.so.10"),
        ("libcusparse.so.12", "libcusparse.so.12"),
        ("libcusparseLt.so.0", "libcusparseLt.so.0"),
        ("libnccl.so.2", "libnccl.so.2"),
        ("libnvshmem_host.so.3", "NVSHMEM"),
    ],
    imports: "medpy.metric, monai.metrics, nibabel, pyarrow.parquet, pydicom, ray.data, safetensors.torch, scipy.ndimage, \
              sklearn.metrics, surface_distance, torch",
};

/// Returns the interpreter of the environment, made if it is not there yet.
///
/// # Errors
/// No Python, no pip, no network, no C compiler.
pub fn set_up(cache: &Cache) -> Result<PathBuf> {
    ENVIRONMENT.set_up(cache)
}
