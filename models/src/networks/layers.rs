//! The few layers that the networks are made of.

use tch::{Device, Kind, Tensor};

pub use crate::networks::parameters::{Fresh, Made, Parameters, Purpose, Stored};
use crate::reconstructor::ModelError;

/// PyTorch's default start of weights and biases: uniform within ± 1/√(fan in).
fn default_start(fan_in: i64) -> Fresh {
    Fresh::Uniform(1.0 / (fan_in as f64).sqrt())
}

/// A convolution in three dimensions, with bias.
pub struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv {
    /// Asks for a cubic kernel, padded so that the grid shrinks by the stride alone.
    pub fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        [from, to]: [i64; 2],
        [kernel, stride]: [i64; 2],
    ) -> Result<Self, ModelError> {
        let start = default_start(from * kernel.pow(3));
        Self::starting(parameters, name, [from, to], [kernel, stride], [start, start])
    }

    /// Asks for a kernel that starts as said: weights, then bias.
    pub fn starting(
        parameters: &mut dyn Parameters,
        name: &str,
        [from, to]: [i64; 2],
        [kernel, stride]: [i64; 2],
        [weight, bias]: [Fresh; 2],
    ) -> Result<Self, ModelError> {
        let compute = parameters.compute();
        let shape = [to, from, kernel, kernel, kernel];
        let weight = parameters.get(&format!("{name}.weight"), &shape, weight)?;
        let bias = parameters.get(&format!("{name}.bias"), &[to], bias)?;
        Ok(Self {
            weight: weight.f_to_kind(compute)?,
            bias: bias.f_to_kind(compute)?,
            stride,
            padding: (kernel - stride) / 2,
        })
    }

    /// Returns this convolution and the norm behind it as one, for as long as neither changes.
    pub fn with(&self, norm: &BatchNorm) -> Result<Self, ModelError> {
        let kind = self.weight.kind();
        let scale = norm.scale()?;
        let weight = self.weight.f_to_kind(scale.kind())?;
        let bias = self.bias.f_to_kind(scale.kind())?;
        Ok(Self {
            weight: weight.f_mul(&scale.f_view([-1, 1, 1, 1, 1])?)?.f_to_kind(kind)?,
            bias: norm.shifted(&bias.f_mul(&scale)?)?.f_to_kind(kind)?,
            stride: self.stride,
            padding: self.padding,
        })
    }

    /// Returns the same layer once more; the parameters are shared.
    pub fn shallow_clone(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            stride: self.stride,
            padding: self.padding,
        }
    }

    /// Returns kernel (outputs × inputs × x × y × z) and bias.
    pub fn parts(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }

    /// Returns the convolved grid, in the kind that this layer computes in.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        let input = input.f_to_kind(self.weight.kind())?;
        convolved(
            &input,
            &self.weight,
            Some(&self.bias),
            [[self.stride; 3], [self.padding; 3]],
        )
    }

    /// Returns the gradient by the input from that by the output: the transposed convolution.
    ///
    /// It has the grid of `input`, and its channels, which may be the first of several that were convolved.
    pub fn backward(&self, by_output: &Tensor, input: &Tensor) -> Result<Tensor, ModelError> {
        let (_, channels, x, y, z) = input.size5()?;
        let (_, _, out_x, out_y, out_z) = by_output.size5()?;
        let (_, _, kernel, _, _) = self.weight.size5()?;
        let by_output = by_output.f_to_kind(self.weight.kind())?;
        let weight = self.weight.f_narrow(1, 0, channels)?;
        if self.stride == 1 {
            // at stride 1 that is the convolution with the kernel turned round
            let turned = weight.f_transpose(0, 1)?.f_flip([2, 3, 4])?;
            return convolved(
                &by_output,
                &turned,
                None,
                [[1; 3], [kernel - 1 - self.padding; 3]],
            );
        }
        // voxels at the far end that the stride steps over
        let rest = [[x, out_x], [y, out_y], [z, out_z]]
            .map(|[edge, out]| edge + 2 * self.padding - kernel - (out - 1) * self.stride);
        Ok(by_output.f_conv_transpose3d(
            &weight,
            None::<&Tensor>,
            [self.stride; 3],
            [self.padding; 3],
            rest,
            1,
            [1; 3],
        )?)
    }
}

/// Returns a convolution, by oneDNN wherever it can: PyTorch itself leaves a batch of one on small grids to
/// a kernel that takes twice to three times as long (`use_mkldnn` in its Convolution.cpp).
pub(super) fn convolved(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    [stride, padding]: [[i64; 3]; 2],
) -> Result<Tensor, ModelError> {
    let is_known = match input.kind() {
        Kind::Float => true,
        Kind::BFloat16 => knows_bfloat16(),
        _ => false,
    };
    if is_known && input.device() == Device::Cpu && tch::utils::has_mkldnn() {
        return Ok(input.f_mkldnn_convolution(weight, bias, padding, stride, [1; 3], 1)?);
    }
    Ok(input.f_conv3d(weight, bias, stride, padding, [1; 3], 1)?)
}

/// Returns whether oneDNN convolves bfloat16 on this processor; elsewhere PyTorch has slow ways of its own.
fn knows_bfloat16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bw");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Doubles each edge of a grid by a transposed convolution of kernel 2 and stride 2.
pub struct Double {
    weight: Tensor,
    bias: Tensor,
}

impl Double {
    /// Asks for the kernel.
    pub fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        [from, to]: [i64; 2],
    ) -> Result<Self, ModelError> {
        let compute = parameters.compute();
        // PyTorch takes the second axis of the weight for the fan-in of a transposed convolution
        let start = default_start(to * 8);
        let weight = parameters.get(&format!("{name}.weight"), &[from, to, 2, 2, 2], start)?;
        let bias = parameters.get(&format!("{name}.bias"), &[to], start)?;
        Ok(Self {
            weight: weight.f_to_kind(compute)?,
            bias: bias.f_to_kind(compute)?,
        })
    }

    /// Returns the grid of twice the edge.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        let input = input.f_to_kind(self.weight.kind())?;
        Ok(input.f_conv_transpose3d(&self.weight, Some(&self.bias), [2; 3], [0; 3], [0; 3], 1, [1; 3])?)
    }
}

/// A product with a matrix, with bias.
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Asks for the matrix.
    pub fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        [from, to]: [i64; 2],
    ) -> Result<Self, ModelError> {
        let start = default_start(from);
        Self::starting(parameters, name, [from, to], [start, start])
    }

    /// Asks for a matrix that starts as said: weights, then bias.
    pub fn starting(
        parameters: &mut dyn Parameters,
        name: &str,
        [from, to]: [i64; 2],
        [weight, bias]: [Fresh; 2],
    ) -> Result<Self, ModelError> {
        let weight = parameters.get(&format!("{name}.weight"), &[to, from], weight)?;
        let bias = parameters.get(&format!("{name}.bias"), &[to], bias)?;
        Ok(Self { weight, bias })
    }

    /// Returns the kind that this layer computes in.
    pub fn kind(&self) -> Kind {
        self.weight.kind()
    }

    /// Returns the matrix, outputs by inputs.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Returns the product.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        Ok(input.f_linear(&self.weight, Some(&self.bias))?)
    }

    /// Returns the gradient by the input from that by the output.
    pub fn backward(&self, by_output: &Tensor) -> Result<Tensor, ModelError> {
        Ok(by_output.f_matmul(&self.weight)?)
    }
}

/// Norm over groups of channels and the grid, per sample.
pub struct GroupNorm {
    groups: i64,
    weight: Tensor,
    bias: Tensor,
}

impl GroupNorm {
    /// Asks for scale and shift; at least four channels to a group, at most eight groups.
    pub fn new(parameters: &mut dyn Parameters, name: &str, channels: i64) -> Result<Self, ModelError> {
        let most = if channels >= 8 { (channels / 4).min(8) } else { 1 };
        let groups = (1..=most)
            .rev()
            .find(|groups| channels % groups == 0)
            .unwrap_or(1);
        let weight = parameters.get(&format!("{name}.weight"), &[channels], Fresh::Constant(1.0))?;
        let bias = parameters.get(&format!("{name}.bias"), &[channels], Fresh::Constant(0.0))?;
        Ok(Self { groups, weight, bias })
    }

    /// Returns the normed grid, in the kind of the input.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        let normed = |input: &Tensor| {
            input.f_group_norm(self.groups, Some(&self.weight), Some(&self.bias), EPSILON, false)
        };
        // PyTorch's kernel takes a scale of another kind than the input on the CPU alone
        if input.device() == Device::Cpu || input.kind() == self.weight.kind() {
            return Ok(normed(input)?);
        }
        Ok(normed(&input.f_to_kind(self.weight.kind())?)?.f_to_kind(input.kind())?)
    }
}

/// Norm per channel, by statistics of the batch in training, else by those kept.
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    training: bool,
}

/// Names of BatchNorm's statistics end with these: they are kept, not trained.
pub const STATISTICS: [&str; 2] = [".running_mean", ".running_var"];

/// PyTorch's defaults.
const MOMENTUM: f64 = 0.1;
const EPSILON: f64 = 1e-5;

impl BatchNorm {
    /// Asks for scale, shift and the running statistics, under PyTorch's names.
    pub fn new(parameters: &mut dyn Parameters, name: &str, channels: i64) -> Result<Self, ModelError> {
        let training = parameters.purpose() == Purpose::Training;
        let mut get = |part: &str, start| parameters.get(&format!("{name}.{part}"), &[channels], start);
        Ok(Self {
            weight: get("weight", Fresh::Constant(1.0))?,
            bias: get("bias", Fresh::Constant(0.0))?,
            mean: get("running_mean", Fresh::Constant(0.0))?,
            variance: get("running_var", Fresh::Constant(1.0))?,
            training,
        })
    }

    /// Returns the normed grid or rows. In training the kept statistics move a tenth towards the batch's.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        Ok(input.f_batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.variance),
            self.training,
            MOMENTUM,
            EPSILON,
            false,
        )?)
    }

    /// Returns the gradient by the input from that by the output, outside training: there the norm is a scale.
    pub fn backward(&self, by_output: &Tensor) -> Result<Tensor, ModelError> {
        Ok(by_output.f_mul(&self.scale()?)?)
    }

    /// Returns what each channel is multiplied by outside training.
    fn scale(&self) -> Result<Tensor, ModelError> {
        Ok(self
            .weight
            .f_div(&self.variance.f_add_scalar(EPSILON)?.f_sqrt()?)?)
    }

    /// Returns channels that are multiplied already with what is added to them outside training.
    fn shifted(&self, scaled: &Tensor) -> Result<Tensor, ModelError> {
        let shift = self.bias.f_sub(&self.mean.f_mul(&self.scale()?)?)?;
        Ok(scaled.f_add(&shift)?)
    }
}

/// Two normed convolutions beside a straight way: x + conv(silu(norm(conv(silu(norm(x)))))).
pub struct Residual {
    norms: [GroupNorm; 2],
    convs: [Conv; 2],
}

impl Residual {
    /// Asks for the parameters of a block.
    pub fn new(parameters: &mut dyn Parameters, name: &str, channels: i64) -> Result<Self, ModelError> {
        let same = [channels, channels];
        let first = GroupNorm::new(parameters, &format!("{name}.norm1"), channels)?;
        let second = GroupNorm::new(parameters, &format!("{name}.norm2"), channels)?;
        Ok(Self {
            norms: [first, second],
            convs: [
                Conv::new(parameters, &format!("{name}.conv1"), same, [3, 1])?,
                Conv::new(parameters, &format!("{name}.conv2"), same, [3, 1])?,
            ],
        })
    }

    /// Asks for several blocks in a row.
    pub fn row(
        parameters: &mut dyn Parameters,
        name: &str,
        channels: i64,
        blocks: usize,
    ) -> Result<Vec<Self>, ModelError> {
        (0..blocks)
            .map(|block| Self::new(parameters, &format!("{name}.{block}"), channels))
            .collect()
    }

    /// Returns the block's output.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        let mut inner = input.shallow_clone();
        for (norm, conv) in self.norms.iter().zip(&self.convs) {
            inner = conv.forward(&norm.forward(&inner)?.f_silu()?)?;
        }
        Ok(input.f_add(&inner)?)
    }
}

/// Returns the output of blocks in a row.
pub fn through(blocks: &[Residual], input: Tensor) -> Result<Tensor, ModelError> {
    let mut grid = input;
    for block in blocks {
        grid = block.forward(&grid)?;
    }
    Ok(grid)
}

/// Returns 8·c channels as c channels on a grid of twice the edge: channel 8c + 4i + 2j + k goes to
/// voxel (2x + i, 2y + j, 2z + k).
pub fn depth_to_space(input: &Tensor) -> Result<Tensor, ModelError> {
    let (batch, channels, x, y, z) = input.size5()?;
    let out = channels / 8;
    let split = input
        .f_contiguous()?
        .f_view([batch, out, 2, 2, 2, x, y, z].as_slice())?;
    let woven = split.f_permute([0, 1, 5, 2, 6, 3, 7, 4])?;
    Ok(woven.f_reshape([batch, out, 2 * x, 2 * y, 2 * z])?)
}

/// Returns the same grid with channels last in memory, in which oneDNN's convolutions run faster on CPUs.
pub fn channels_last(input: &Tensor) -> Result<Tensor, ModelError> {
    Ok(input
        .f_permute([0, 2, 3, 4, 1])?
        .f_contiguous()?
        .f_permute([0, 4, 1, 2, 3])?)
}
