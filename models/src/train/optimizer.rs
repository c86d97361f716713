//! AdamW with state that can be stored (tch's own optimizers keep theirs to themselves), and the running mean
//! of the weights.

use tch::{Kind, Tensor};

use crate::reconstructor::ModelError;
use crate::weights::Tensors;

/// Decay of the running mean of the gradient.
const BETA1: f64 = 0.9;
/// Decay of the running mean of its square; shorter than the usual 0.999, for runs of few steps.
const BETA2: f64 = 0.99;
const EPSILON: f64 = 1e-8;

/// Weights under training with everything that a step needs to go on.
pub struct Trainee {
    /// Weights.
    pub weights: Tensors,
    /// Running mean of the weights.
    pub mean: Tensors,
    /// Running mean of the gradient.
    pub first: Tensors,
    /// Running mean of the squared gradient.
    pub second: Tensors,
    /// Steps made.
    pub step: u64,
}

/// What rules one step.
pub struct StepConf {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Norm that the gradient is cut to.
    pub clip: f64,
    /// Decay of the running mean of the weights.
    pub ema: f64,
}

impl Trainee {
    /// Starts with weights.
    pub fn new(weights: Tensors) -> Result<Self, ModelError> {
        let mut trainee = Self {
            weights: Tensors::new(),
            mean: Tensors::new(),
            first: Tensors::new(),
            second: Tensors::new(),
            step: 0,
        };
        for (name, tensor) in weights {
            let tensor = tensor.f_detach()?.f_to_kind(Kind::Float)?;
            trainee.mean.insert(name.clone(), tensor.copy());
            trainee.first.insert(name.clone(), tensor.f_zeros_like()?);
            trainee.second.insert(name.clone(), tensor.f_zeros_like()?);
            trainee.weights.insert(name, tensor.copy());
        }
        trainee.require_gradients()?;
        Ok(trainee)
    }

    /// Marks the weights as what gradients are wanted of.
    pub fn require_gradients(&self) -> Result<(), ModelError> {
        for tensor in self.weights.values() {
            let _ = tensor.f_set_requires_grad(true)?;
        }
        Ok(())
    }

    /// Returns the weights without gradients.
    pub fn frozen(&self) -> Result<Tensors, ModelError> {
        self.weights
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), tensor.f_detach()?)))
            .collect()
    }

    /// Makes one step down the loss and returns the norm of the gradient before it was cut.
    pub fn descend(&mut self, loss: &Tensor, conf: &StepConf) -> Result<f64, ModelError> {
        let weights: Vec<&Tensor> = self.weights.values().collect();
        let gradients = Tensor::f_run_backward(&[loss], &weights, false, false)?;
        let _no_grad = tch::no_grad_guard();
        let mut squares = 0.0;
        for gradient in &gradients {
            let norm = gradient.f_norm()?.f_double_value(&[])?;
            squares += norm * norm;
        }
        let norm = squares.sqrt();
        if !norm.is_finite() {
            return Err(ModelError::Torch(format!(
                "the gradient is not finite at step {}",
                self.step
            )));
        }
        let cut = (conf.clip / (norm + 1e-6)).min(1.0);
        self.step += 1;
        let steps = i32::try_from(self.step).unwrap_or(i32::MAX);
        let correction = [1.0 - BETA1.powi(steps), 1.0 - BETA2.powi(steps)];
        // a running mean over all steps so far, until there are enough for the decay
        let decay = conf.ema.min((1.0 + self.step as f64) / (10.0 + self.step as f64));
        let moments = self.first.values_mut().zip(self.second.values_mut());
        let parameters = self.weights.values_mut().zip(self.mean.values_mut());
        for (gradient, ((weight, mean), (first, second))) in gradients.iter().zip(parameters.zip(moments)) {
            let gradient = gradient.f_mul_scalar(cut)?;
            let _ = first.f_lerp_(&gradient, 1.0 - BETA1)?;
            let square = gradient.f_mul(&gradient)?;
            let _ = second.f_lerp_(&square, 1.0 - BETA2)?;
            let root = second
                .f_div_scalar(correction[1])?
                .f_sqrt()?
                .f_add_scalar(EPSILON)?;
            let change = first
                .f_div(&root)?
                .f_mul_scalar(-conf.learning_rate / correction[0])?;
            let _ = weight.f_mul_scalar_(1.0 - conf.learning_rate * conf.weight_decay)?;
            let _ = weight.f_add_(&change)?;
            let _ = mean.f_lerp_(weight, 1.0 - decay)?;
        }
        Ok(norm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adamw_makes_the_steps_of_its_definition() {
        // f(w) = (w − 3)² / 2 from w = 1: by hand in f64, as Loshchilov and Hutter write it (Algorithm 2)
        let conf = StepConf {
            learning_rate: 0.1,
            weight_decay: 0.01,
            clip: 1e9,
            ema: 0.9,
        };
        let mut trainee =
            Trainee::new(Tensors::from([("w".to_owned(), Tensor::from_slice(&[1.0_f32]))])).unwrap();
        let (mut w, mut m, mut v) = (1.0_f64, 0.0, 0.0);
        for step in 1..=5 {
            let weight = &trainee.weights["w"];
            let loss = ((weight - 3.0) * (weight - 3.0) * 0.5).sum(Kind::Float);
            trainee.descend(&loss, &conf).unwrap();
            let gradient = w - 3.0;
            m = 0.9 * m + 0.1 * gradient;
            v = 0.99 * v + 0.01 * gradient * gradient;
            let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(step)), v / (1.0 - 0.99_f64.powi(step)));
            w = w * (1.0 - 0.1 * 0.01) - 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
        }
        assert!((trainee.weights["w"].double_value(&[0]) - w).abs() < 1e-5);
    }
}
