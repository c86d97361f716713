//! Nearest up-sampling and the convolution of kernel 3 behind it, as one transposed convolution.

use tch::{Kind, Tensor};

use crate::networks::layers::Conv;
use crate::reconstructor::ModelError;

/// Doubles each edge of a grid by nearest up-sampling, and convolves it.
///
/// A fine voxel 2m + p sees the coarse voxels ⌊(2m + p + d) / 2⌋ for d = −1, 0, 1: only two different ones along each
/// axis. With the kernel's entries for one coarse voxel added up beforehand that is a transposed convolution of kernel 4,
/// stride 2 and padding 1.
pub struct Doubling {
    /// Inputs × outputs × 4 × 4 × 4.
    weight: Tensor,
    bias: Tensor,
}

/// For each of the four entries of the transposed kernel, which entries of the kernel of 3 it is the sum of: fine voxel
/// 2m + t − 1 sees coarse voxel m by these.
const SUMS: [[f64; 3]; 4] = [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]];

impl Doubling {
    /// Takes a convolution of kernel 3 that comes after nearest up-sampling.
    pub fn before(conv: &Conv) -> Result<Self, ModelError> {
        let [weight, bias] = conv.parts();
        let kind = weight.kind();
        let sums = Tensor::f_from_slice(SUMS.as_flattened())?
            .f_view([4, 3])?
            .f_to_kind(Kind::Float)?;
        let mut merged = weight.f_to_kind(Kind::Float)?;
        for axis in 2..5 {
            // (…, 3, …) → (…, 4, …) along one axis
            let last = merged.f_transpose(axis, -1)?.f_matmul(&sums.f_tr()?)?;
            merged = last.f_transpose(axis, -1)?;
        }
        Ok(Self {
            weight: merged.f_transpose(0, 1)?.f_contiguous()?.f_to_kind(kind)?,
            bias: bias.shallow_clone(),
        })
    }

    /// Returns the convolved grid of twice the edge.
    pub fn forward(&self, grid: &Tensor) -> Result<Tensor, ModelError> {
        let grid = grid.f_to_kind(self.weight.kind())?;
        Ok(grid.f_conv_transpose3d(&self.weight, Some(&self.bias), [2; 3], [1; 3], [0; 3], 1, [1; 3])?)
    }
}
