//! AdamW with state that can be stored (tch's own optimizers keep theirs to themselves), and the running mean
//! of the weights.

use tch::{Device, Kind, Tensor};

use crate::networks::layers::STATISTICS;
use crate::reconstructor::ModelError;
use crate::train::recipe::Fit;
use crate::weights::Tensors;

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
    /// What BatchNorm counts: it is not trained.
    pub statistics: Tensors,
    /// Running mean of that, as slow as that of the weights it goes with.
    pub kept_statistics: Tensors,
    /// Steps made, those included that the guard left out.
    pub step: u64,
    /// Steps made into the running means.
    pub taken: u64,
}

/// Gradients of the weights, in the order of their names.
pub struct Gradients(Vec<Tensor>);

impl Trainee {
    /// Starts with weights.
    pub fn new(weights: Tensors) -> Result<Self, ModelError> {
        let mut trainee = Self::empty();
        for (name, tensor) in weights {
            let tensor = tensor.f_detach()?;
            let tensor = if tensor.kind() == Kind::Double {
                tensor
            } else {
                tensor.f_to_kind(Kind::Float)?
            };
            if STATISTICS.iter().any(|end| name.ends_with(end)) {
                trainee.kept_statistics.insert(name.clone(), tensor.copy());
                trainee.statistics.insert(name, tensor.copy());
                continue;
            }
            trainee.mean.insert(name.clone(), tensor.copy());
            trainee.first.insert(name.clone(), tensor.f_zeros_like()?);
            trainee.second.insert(name.clone(), tensor.f_zeros_like()?);
            trainee.weights.insert(name, tensor.copy());
        }
        trainee.require_gradients()?;
        Ok(trainee)
    }

    /// Returns a trainee without weights.
    pub fn empty() -> Self {
        Self {
            weights: Tensors::new(),
            mean: Tensors::new(),
            first: Tensors::new(),
            second: Tensors::new(),
            statistics: Tensors::new(),
            kept_statistics: Tensors::new(),
            step: 0,
            taken: 0,
        }
    }

    /// Returns the same trainee with its tensors on a device.
    pub fn on(mut self, device: Device) -> Result<Self, ModelError> {
        let parts = [
            &mut self.weights,
            &mut self.mean,
            &mut self.first,
            &mut self.second,
            &mut self.statistics,
            &mut self.kept_statistics,
        ];
        for tensor in parts.into_iter().flat_map(Tensors::values_mut) {
            *tensor = tensor.f_detach()?.f_to_device(device)?;
        }
        self.require_gradients()?;
        Ok(self)
    }

    /// Marks the weights as what gradients are wanted of.
    pub fn require_gradients(&self) -> Result<(), ModelError> {
        for tensor in self.weights.values() {
            let _ = tensor.f_set_requires_grad(true)?;
        }
        Ok(())
    }

    /// Returns weights and statistics as a network takes them, gradients going to the weights.
    pub fn in_training(&self) -> Tensors {
        joined(&self.weights, &self.statistics)
    }

    /// Returns weights and statistics without gradients.
    pub fn frozen(&self) -> Result<Tensors, ModelError> {
        self.in_training()
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), tensor.f_detach()?)))
            .collect()
    }

    /// Returns what is kept: the running means of weights and statistics.
    pub fn kept(&self) -> Tensors {
        joined(&self.mean, &self.kept_statistics)
    }

    /// Returns the gradients of a loss by the weights.
    pub fn gradients(&self, loss: &Tensor) -> Result<Gradients, ModelError> {
        let weights: Vec<&Tensor> = self.weights.values().collect();
        Ok(Gradients(Tensor::f_run_backward(
            &[loss],
            &weights,
            false,
            false,
        )?))
    }

    /// Makes one step against the gradients and returns their norm before it was cut.
    ///
    /// A norm that is not finite leaves weights and moments as they are, and takes what BatchNorm counted meanwhile back
    /// to what is kept: the guard counts the step and goes on.
    pub fn descend(&mut self, gradients: &Gradients, fit: &Fit, rate: f64) -> Result<f64, ModelError> {
        let _no_grad = tch::no_grad_guard();
        self.step += 1;
        let norm = gradients.norm()?;
        let statistics = self
            .statistics
            .values_mut()
            .zip(self.kept_statistics.values_mut());
        if !norm.is_finite() {
            for (statistic, kept) in statistics {
                statistic.f_copy_(kept)?;
            }
            return Ok(norm);
        }
        self.taken += 1;
        let cut = if fit.clip > 0.0 {
            (fit.clip / (norm + 1e-6)).min(1.0)
        } else {
            1.0
        };
        let [beta1, beta2] = fit.betas;
        let steps = i32::try_from(self.taken).unwrap_or(i32::MAX);
        let correction = [1.0 - beta1.powi(steps), 1.0 - beta2.powi(steps)];
        // a running mean over all steps so far, until there are enough for the decay
        let decay = fit
            .ema
            .min((1.0 + self.taken as f64) / (10.0 + self.taken as f64));
        for (statistic, kept) in statistics {
            let _ = kept.f_lerp_(statistic, 1.0 - decay)?;
        }
        let moments = self.first.values_mut().zip(self.second.values_mut());
        let parameters = self.weights.values_mut().zip(self.mean.values_mut());
        for (gradient, ((weight, mean), (first, second))) in gradients.0.iter().zip(parameters.zip(moments)) {
            let gradient = gradient.f_mul_scalar(cut)?;
            let _ = first.f_lerp_(&gradient, 1.0 - beta1)?;
            let square = gradient.f_mul(&gradient)?;
            let _ = second.f_lerp_(&square, 1.0 - beta2)?;
            let root = second
                .f_div_scalar(correction[1])?
                .f_sqrt()?
                .f_add_scalar(EPSILON)?;
            let change = first.f_div(&root)?.f_mul_scalar(-rate / correction[0])?;
            if fit.weight_decay > 0.0 {
                let _ = weight.f_mul_scalar_(1.0 - rate * fit.weight_decay)?;
            }
            let _ = weight.f_add_(&change)?;
            let _ = mean.f_lerp_(weight, 1.0 - decay)?;
        }
        Ok(norm)
    }
}

impl Gradients {
    /// Adds others, of the next batch of the same step.
    pub fn add(&mut self, others: &Self) -> Result<(), ModelError> {
        for (sum, other) in self.0.iter_mut().zip(&others.0) {
            let _ = sum.f_add_(other)?;
        }
        Ok(())
    }

    /// Divides by the number of batches.
    pub fn mean_of(self, batches: usize) -> Result<Self, ModelError> {
        if batches < 2 {
            return Ok(self);
        }
        let divided = self.0.iter().map(|sum| Ok(sum.f_div_scalar(batches as f64)?));
        Ok(Self(divided.collect::<Result<_, ModelError>>()?))
    }

    /// Returns the gradients themselves.
    #[cfg(test)]
    pub fn tensors(&self) -> &[Tensor] {
        &self.0
    }

    fn norm(&self) -> Result<f64, ModelError> {
        let mut squares = 0.0;
        for gradient in &self.0 {
            let norm = gradient.f_norm()?.f_double_value(&[])?;
            squares += norm * norm;
        }
        Ok(squares.sqrt())
    }
}

fn joined(some: &Tensors, others: &Tensors) -> Tensors {
    let both = some.iter().chain(others);
    both.map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::Rate;

    fn fit() -> Fit {
        Fit {
            steps: 10,
            minutes: 0.0,
            batch: 1,
            accumulate: 1,
            learning_rate: 0.1,
            schedule: Rate::Constant,
            warm_up: 0,
            betas: [0.9, 0.99],
            weight_decay: 0.01,
            clip: 0.0,
            ema: 0.9,
        }
    }

    fn started_at(value: f32) -> Trainee {
        Trainee::new(Tensors::from([("w".to_owned(), Tensor::from_slice(&[value]))])).unwrap()
    }

    #[test]
    fn adamw_makes_the_steps_of_its_definition() {
        // f(w) = (w − 3)² / 2 from w = 1: by hand in f64, as Loshchilov and Hutter write it (Algorithm 2)
        let mut trainee = started_at(1.0);
        let (mut w, mut m, mut v) = (1.0_f64, 0.0, 0.0);
        for step in 1..=5 {
            let weight = &trainee.weights["w"];
            let loss = ((weight - 3.0) * (weight - 3.0) * 0.5).sum(Kind::Float);
            let gradients = trainee.gradients(&loss).unwrap();
            trainee.descend(&gradients, &fit(), 0.1).unwrap();
            let gradient = w - 3.0;
            m = 0.9 * m + 0.1 * gradient;
            v = 0.99 * v + 0.01 * gradient * gradient;
            let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(step)), v / (1.0 - 0.99_f64.powi(step)));
            w = w * (1.0 - 0.1 * 0.01) - 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
        }
        assert!((trainee.weights["w"].double_value(&[0]) - w).abs() < 1e-5);
    }

    #[test]
    fn accumulated_gradients_are_those_of_the_mean_loss() {
        let trainee = started_at(1.0);
        let loss = |factor: f64| (&trainee.weights["w"] * factor).sum(Kind::Float);
        let mut sum = trainee.gradients(&loss(2.0)).unwrap();
        sum.add(&trainee.gradients(&loss(4.0)).unwrap()).unwrap();
        let mean = sum.mean_of(2).unwrap();
        assert_eq!(mean.tensors()[0].double_value(&[0]), 3.0);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing_and_is_told() {
        let mut trainee = started_at(1.0);
        let loss = (&trainee.weights["w"] * f64::INFINITY).sum(Kind::Float);
        let gradients = trainee.gradients(&loss).unwrap();
        assert!(!trainee.descend(&gradients, &fit(), 0.1).unwrap().is_finite());
        assert_eq!(trainee.weights["w"].double_value(&[0]), 1.0);
        assert_eq!(trainee.first["w"].double_value(&[0]), 0.0);
        assert_eq!((trainee.step, trainee.taken), (1, 0));
    }
}
