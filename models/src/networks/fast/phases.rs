//! Convolutions of kernel 3 with few channels, as strided ones with many: oneDNN computes 16 channels at a time, and for
//! fewer it computes as many for nothing.

use tch::{Kind, Tensor};

use crate::networks::layers::{Conv, convolved};
use crate::reconstructor::ModelError;

/// From one channel to few, two neighbours of the last axis at a time, each with channels of its own.
pub struct Widening {
    weight: Tensor,
    bias: Tensor,
    outputs: i64,
}

/// Neighbours that [`Widening`] takes together.
const PAIR: i64 = 2;

impl Widening {
    /// Takes a convolution of kernel 3, stride 1, and one input channel.
    pub fn of(conv: &Conv) -> Result<Self, ModelError> {
        let [weight, bias] = conv.parts();
        let (outputs, ..) = weight.size5()?;
        // output voxel p of a pair sees the voxel q of the pair at distance b by entry 2b + q − p of the kernel
        let wide = Tensor::f_zeros([PAIR, outputs, PAIR, 3, 3, 3], (weight.kind(), weight.device()))?;
        for p in 0..PAIR {
            for q in 0..PAIR {
                for b in -1..=1 {
                    let distance = PAIR * b + q - p;
                    if distance.abs() > 1 {
                        continue;
                    }
                    let entry = weight.f_select(1, 0)?.f_select(3, distance + 1)?;
                    let place = wide.f_select(0, p)?.f_select(1, q)?.f_select(3, b + 1)?;
                    place.shallow_clone().f_copy_(&entry)?;
                }
            }
        }
        Ok(Self {
            weight: wide.f_view([PAIR * outputs, PAIR, 3, 3, 3])?,
            bias: bias.f_repeat([PAIR])?,
            outputs,
        })
    }

    /// Returns the convolved grid, channels last in memory. The last axis has an even length.
    pub fn forward(&self, grid: &Tensor) -> Result<Tensor, ModelError> {
        let (batch, _, x, y, z) = grid.size5()?;
        let pairs = grid
            .f_to_kind(self.weight.kind())?
            .f_contiguous()?
            .f_view([batch, x, y, z / PAIR, PAIR])?
            .f_permute([0, 4, 1, 2, 3])?;
        let out = convolved(&pairs, &self.weight, Some(&self.bias), [[1; 3], [1; 3]])?;
        let lines = out.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?;
        Ok(lines
            .f_view([batch, x, y, z, self.outputs])?
            .f_permute([0, 4, 1, 2, 3])?)
    }
}

/// From few channels to one, a box of voxels at a time.
pub struct Narrowing {
    weight: Tensor,
    bias: Tensor,
}

/// Edges of the box: 16 voxels for 16 channels. Longer along one axis, the kernel that sees all of them would have more
/// zeros in it.
const BOX: [i64; 3] = [2, 2, 4];

impl Narrowing {
    /// Takes a convolution of kernel 3, stride 1, and one output channel.
    pub fn of(conv: &Conv) -> Result<Self, ModelError> {
        let [weight, bias] = conv.parts();
        let (_, inputs, ..) = weight.size5()?;
        let [a, b, c] = BOX;
        let voxels = a * b * c;
        let options = (weight.kind(), weight.device());
        let wide = Tensor::f_zeros([voxels, inputs, a + 2, b + 2, c + 2], options)?;
        for voxel in 0..voxels {
            let [i, j, k] = [voxel / (b * c), voxel / c % b, voxel % c];
            let mut place = wide
                .f_select(0, voxel)?
                .f_narrow(1, i, 3)?
                .f_narrow(2, j, 3)?
                .f_narrow(3, k, 3)?;
            place.f_copy_(&weight.f_select(0, 0)?)?;
        }
        Ok(Self {
            weight: wide,
            bias: bias.f_repeat([voxels])?,
        })
    }

    /// Returns the convolved grid. It has zeros around it along the last two axes; along the first, the outermost planes
    /// are neighbours only, and come out no more. Edges are whole numbers of boxes.
    pub fn forward(&self, grid: &Tensor) -> Result<Tensor, ModelError> {
        let grid = grid.f_to_kind(self.weight.kind())?;
        let out = convolved(&grid, &self.weight, Some(&self.bias), [BOX, [0, 1, 1]])?;
        let (batch, _, x, y, z) = out.size5()?;
        let [a, b, c] = BOX;
        let woven = out
            .f_to_kind(Kind::Float)?
            .f_view([batch, a, b, c, x, y, z].as_slice())?
            .f_permute([0, 4, 1, 5, 2, 6, 3])?;
        Ok(woven.f_reshape([batch, 1, a * x, b * y, c * z])?)
    }
}
