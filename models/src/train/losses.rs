//! Terms of the losses, each once.

use tch::{Kind, Reduction, Tensor};

use crate::networks::encoder::Posterior;
use crate::reconstructor::ModelError;
use crate::train::recipe::LossConf;

/// Returns the binary cross-entropy of logits against masks, summed over voxels and samples.
pub fn cross_entropy_sum(logits: &Tensor, clean: &Tensor) -> Result<Tensor, ModelError> {
    Ok(logits.f_binary_cross_entropy_with_logits::<Tensor>(clean, None, None, Reduction::Sum)?)
}

/// Returns KL(N(m, s²) ‖ N(0, 1)) = ½ Σ (m² + s² − 1 − ln s²), summed over entries and samples.
pub fn divergence_sum(posterior: &Posterior) -> Result<Tensor, ModelError> {
    let (mean, log_variance) = (&posterior.mean, &posterior.log_variance);
    Ok(mean
        .f_mul(mean)?
        .f_add(&log_variance.f_exp()?)?
        .f_sub(log_variance)?
        .f_sub_scalar(1.0)?
        .f_sum(mean.kind())?
        .f_mul_scalar(0.5)?)
}

/// Returns what stands for the entropy in the authors' LSD-EBM: Σ (ln s² + ½ ((z − m) / s²)²).
///
/// An entropy term has the opposite sign, and a standard deviation belongs where the variance is (MODEL.md §1); no
/// term of a prior comes with it.
pub fn authors_entropy_sum(posterior: &Posterior, z: &Tensor) -> Result<Tensor, ModelError> {
    let scaled = z
        .f_sub(&posterior.mean)?
        .f_div(&posterior.log_variance.f_exp()?)?;
    Ok(scaled
        .f_square()?
        .f_mul_scalar(0.5)?
        .f_add(&posterior.log_variance)?
        .f_sum(z.kind())?)
}

/// Returns 1 − (2 Σ p·x + 1) / (Σ p + Σ x + 1), the mean over samples, p the probabilities.
pub fn soft_dice(logits: &Tensor, truth: &Tensor) -> Result<Tensor, ModelError> {
    let kind = logits.kind();
    let sum = |grid: &Tensor| grid.f_sum_dim_intlist([1_i64, 2, 3, 4].as_slice(), false, kind);
    let probability = logits.f_sigmoid()?;
    let both = sum(&probability.f_mul(truth)?)?
        .f_mul_scalar(2.0)?
        .f_add_scalar(1.0)?;
    let all = sum(&probability)?.f_add(&sum(truth)?)?.f_add_scalar(1.0)?;
    Ok(both.f_div(&all)?.f_mean(kind)?.f_neg()?.f_add_scalar(1.0)?)
}

/// A loss and what is told of it.
pub struct Loss {
    /// To go down.
    pub total: Tensor,
    /// Terms by name.
    pub figures: Vec<(&'static str, f64)>,
}

/// Returns the loss of logits against masks as a recipe weighs its terms, means over voxels.
pub fn reconstruction(logits: &Tensor, clean: &Tensor, conf: &LossConf) -> Result<Loss, ModelError> {
    let voxels = clean.numel() as f64;
    let cross_entropy = cross_entropy_sum(logits, clean)?.f_div_scalar(voxels)?;
    let mut total = cross_entropy.f_mul_scalar(conf.cross_entropy)?;
    let mut figures = vec![("cross_entropy", cross_entropy.f_double_value(&[])?)];
    if conf.dice > 0.0 {
        let dice = soft_dice(logits, clean)?;
        figures.push(("dice", dice.f_double_value(&[])?));
        total = total.f_add(&dice.f_mul_scalar(conf.dice)?)?;
    }
    Ok(Loss { total, figures })
}

/// Returns the sum of per-sample terms, divided by the batch, as the authors' code has it.
pub fn per_sample(sum: &Tensor, masks: &Tensor) -> Result<Tensor, ModelError> {
    let batch = masks.size().first().copied().unwrap_or(1).max(1);
    Ok(sum.f_div_scalar(batch as f64)?)
}

/// Returns the mean square of a tensor.
pub fn mean_square(tensor: &Tensor) -> Result<Tensor, ModelError> {
    Ok(tensor.f_square()?.f_mean(Kind::Float)?)
}
