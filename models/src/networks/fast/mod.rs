//! The paper's networks on a CPU, in the order of its operations and memory instead of that of their definition. The
//! results are the same but for rounding: less is computed, and nothing as large as the finest grid is ever held.
//!
//! - [`pyramid`]: the encoder works where the mask is; elsewhere it gives what an empty mask gives.
//! - [`stairs`]: the generator's finest grid is made slab by slab.
//! - [`doubling`]: nearest up-sampling and the convolution behind it are one transposed convolution, of 64 products in
//!   place of 216.
//! - [`phases`]: a convolution with few channels takes several voxels for one, to fill the vector registers.

mod doubling;
mod phases;
mod pyramid;
mod stairs;
#[cfg(test)]
mod tests;

use tch::{Device, Kind, Tensor};

pub use pyramid::FastPyramid;
pub use stairs::FastStairs;

/// Returns whether these ways are the faster ones for a layer with this kernel: on a CPU, in a kind that oneDNN knows.
fn is_for(kernel: &Tensor) -> bool {
    kernel.device() == Device::Cpu && matches!(kernel.kind(), Kind::Float | Kind::BFloat16)
}
