//! Between patches and tensors: stacking, the window that networks see, the pooled descriptor of a latent.

use ndarray::{Array3, Axis, Slice};
use schemas::Patch;
use schemas::vertebra::LATENT_LENGTH;
use tch::{Device, Kind, Tensor};

use crate::networks::{Network, SIDE};
use crate::reconstructor::ModelError;

/// Refuses a patch that is no cube of [`SIDE`].
///
/// # Errors
/// [`ModelError::Shape`].
pub fn check_shape(patch: &Patch) -> Result<(), ModelError> {
    let (x, y, z) = patch.mask.dim();
    let expected = [SIDE as usize; 3];
    if [x, y, z] != expected {
        return Err(ModelError::Shape {
            expected,
            found: [x, y, z],
        });
    }
    Ok(())
}

/// Returns masks of one shape as B×1×x×y×z of 0 and 1 in f32 on a device; they get there as bytes.
pub fn to_tensor(masks: &[&Array3<u8>], device: Device) -> Result<Tensor, ModelError> {
    let mut tensors = Vec::with_capacity(masks.len());
    for mask in masks {
        let (x, y, z) = mask.dim();
        let standard = mask.as_standard_layout();
        let bytes = standard.as_slice().unwrap_or_default();
        let shape = [1, x as i64, y as i64, z as i64];
        tensors.push(Tensor::f_from_data_size(bytes, &shape, Kind::Uint8)?);
    }
    let bytes = on_device(&Tensor::f_stack(&tensors, 0)?, device)?;
    Ok(bytes.f_gt(0.0)?.f_to_kind(Kind::Float)?)
}

/// Returns bytes on a device. A GPU takes them from pinned memory, while it is still at work on what came before.
fn on_device(bytes: &Tensor, device: Device) -> Result<Tensor, ModelError> {
    let Device::Cuda(_) = device else {
        return Ok(bytes.f_to_device(device)?);
    };
    let pinned = bytes.f_pin_memory(device)?;
    // libtorch keeps the pinned memory until the copy is done
    Ok(pinned.f_internal_to_copy((Kind::Uint8, device), true)?)
}

/// Returns one mask B×1×x×y×z of bytes, its channel axis first, as an array.
pub fn to_array(voxels: &Tensor) -> Result<Array3<u8>, ModelError> {
    let (_, x, y, z) = voxels.size4()?;
    let flat = voxels.f_contiguous()?;
    let mut bytes = vec![0_u8; flat.numel()];
    flat.f_copy_data(&mut bytes, flat.numel())?;
    Array3::from_shape_vec((x as usize, y as usize, z as usize), bytes)
        .map_err(|error| ModelError::Torch(error.to_string()))
}

/// Returns the window about the centre of B×C×x×y×z.
pub fn cut(grid: &Tensor, window: &[i64; 3]) -> Result<Tensor, ModelError> {
    let mut cut = grid.shallow_clone();
    for (axis, length) in (2_i64..).zip(window) {
        let margin = (SIDE - length) / 2;
        cut = cut.f_narrow(axis, margin, *length)?;
    }
    Ok(cut.f_contiguous()?)
}

/// Returns a window with zeros around it up to the patch's edge.
pub fn put_back(grid: &Tensor, window: &[i64; 3]) -> Result<Tensor, ModelError> {
    let [x, y, z] = window.map(|length| (SIDE - length) / 2);
    Ok(grid.f_constant_pad_nd([z, z, y, y, x, x])?)
}

/// Returns [`LATENT_LENGTH`] entries per sample.
///
/// A flat latent is cut or padded with zeros. A latent grid is averaged over as many boxes as fill the length
/// with its channels: 8 channels on 16³ become 8 × (4 × 2 × 2), in C order, right–left divided most finely.
/// Entries of `compact` are of standardised latents.
pub fn pooled(latents: &Tensor) -> Result<Vec<Vec<f32>>, ModelError> {
    let batch = latents.size().first().copied().unwrap_or_default();
    let channels = latents.size().get(1).copied().unwrap_or_default();
    let length = LATENT_LENGTH as i64;
    let flat = if latents.dim() == 5 && channels <= length {
        let mut boxes = [1_i64; 3];
        let mut axis = 0;
        while channels * boxes.iter().product::<i64>() * 2 <= length {
            boxes[axis] *= 2;
            axis = (axis + 1) % 3;
        }
        latents.f_adaptive_avg_pool3d(boxes)?.f_flatten(1, -1)?
    } else {
        latents.f_flatten(1, -1)?
    };
    let flat = flat.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    let mut rows = Vec::new();
    for sample in 0..batch {
        let mut row = Vec::<f32>::try_from(&flat.f_get(sample)?.f_contiguous()?)?;
        row.resize(LATENT_LENGTH, 0.0);
        rows.push(row);
    }
    Ok(rows)
}

/// Returns the window to see of a mask: that of the network, or all of the patch if the mask reaches out of it.
pub fn window_of(network: &Network, mask: &Array3<u8>) -> [i64; 3] {
    let window = network.window();
    let reaches_out = window.iter().enumerate().any(|(axis, length)| {
        let margin = ((SIDE - length) / 2) as usize;
        let is_set = |side| mask.slice_axis(Axis(axis), side).iter().any(|voxel| *voxel != 0);
        is_set(Slice::from(..margin)) || is_set(Slice::from(SIDE as usize - margin..))
    });
    if reaches_out { [SIDE; 3] } else { window }
}

/// Returns the variance over all entries of latents.
pub fn variance(latents: &Tensor) -> Result<f64, ModelError> {
    let entries = latents.f_to_kind(Kind::Double)?.f_flatten(0, -1)?;
    Ok(entries.f_var(false)?.f_double_value(&[])?)
}
