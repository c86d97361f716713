//! The border to libtorch: devices by name, threads, and its errors as ours.

use tch::{Cuda, Device, TchError};

use crate::reconstructor::ModelError;

/// Parts of libtorch's messages that mean that memory gave out, on the CPU and on a GPU.
const OUT_OF_MEMORY: [&str; 4] = [
    "out of memory",
    "can't allocate memory",
    "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
];

impl From<TchError> for ModelError {
    fn from(error: TchError) -> Self {
        let message = error.to_string();
        // what follows the first line is the C++ stack
        let first = message.lines().next().unwrap_or_default().to_owned();
        if OUT_OF_MEMORY.iter().any(|part| message.contains(part)) {
            return Self::Exhausted(first);
        }
        Self::Torch(first)
    }
}

/// Returns the device of a name: `cpu`, or `cuda:N` if that GPU is there.
///
/// # Errors
/// [`ModelError::Device`] for another name, or a GPU that this process cannot see.
pub fn device(name: &str) -> Result<Device, ModelError> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let number = name
        .strip_prefix("cuda:")
        .and_then(|number| number.parse::<usize>().ok());
    let Some(number) = number else {
        return Err(ModelError::Device(format!(
            "expected cpu or cuda:<number>, found {name:?}"
        )));
    };
    let there = usize::try_from(Cuda::device_count()).unwrap_or(0);
    if number >= there {
        return Err(ModelError::Device(format!(
            "expected one of {there} GPUs, found {name:?}"
        )));
    }
    Ok(Device::Cuda(number))
}

/// Sets how many threads one tensor operation of this process may use.
///
/// Equal seeds give equal results for an equal number of threads; another number may add in another order.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// Returns what libtorch sees on this machine, in one line a fact.
pub fn device_report() -> String {
    let gpus = Cuda::device_count();
    let cuda = match (Cuda::is_available(), gpus) {
        (true, 1..) => format!("CUDA: {gpus} device(s), cuda:0 to cuda:{}", gpus - 1),
        _ => "CUDA: none seen (CPU libraries laid out, no driver, or no GPU; with a GPU run `cargo xtask setup --cuda`)"
            .to_owned(),
    };
    format!(
        "libtorch: {} thread(s) per operation\n{cuda}",
        tch::get_num_threads()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_a_device_error() {
        assert_eq!(device("cpu").unwrap(), Device::Cpu);
        for name in ["cuda:4096", "cuda", "cuda:-1", "gpu", ""] {
            assert!(matches!(device(name), Err(ModelError::Device(_))), "{name}");
        }
    }

    #[test]
    fn an_allocation_that_fails_is_an_exhausted_error() {
        let huge = tch::Tensor::f_empty([1 << 45], (tch::Kind::Double, Device::Cpu));
        let error = ModelError::from(huge.unwrap_err());
        assert!(matches!(error, ModelError::Exhausted(_)), "{error}");
        let shapes = tch::Tensor::zeros([2], (tch::Kind::Float, Device::Cpu)).f_view([3]);
        assert!(matches!(
            ModelError::from(shapes.unwrap_err()),
            ModelError::Torch(_)
        ));
    }
}
