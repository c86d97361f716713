//! Where the parameters of networks come from.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::reconstructor::{ModelError, Precision};
use crate::weights::Tensors;

/// How a fresh parameter begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fresh {
    /// Uniform within ± this bound.
    Uniform(f64),
    /// This value everywhere.
    Constant(f64),
}

/// Gives a network its parameters by name: stored ones, or fresh ones.
pub trait Parameters {
    /// Returns the parameter of that name and shape.
    ///
    /// # Errors
    /// [`ModelError::Weights`] if it is missing or of another shape.
    fn get(&mut self, name: &str, shape: &[i64], fresh: Fresh) -> Result<Tensor, ModelError>;

    /// Returns the kind in which convolutions and products are to be computed.
    fn compute(&self) -> Kind;

    /// Returns what they are there for.
    fn purpose(&self) -> Purpose {
        Purpose::Still
    }
}

/// What parameters are there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be trained: BatchNorm takes the batch's statistics, and keeps count of them.
    Training,
    /// To be used as they are just now; they may change, and gradients by them may be asked for.
    Still,
    /// To restore masks with: they never change, so that layers may be put together once and for all.
    Restoring,
}

/// Parameters that are there already.
pub struct Stored<'a> {
    /// All of them.
    pub tensors: &'a Tensors,
    /// What comes before the names that the network asks for.
    pub prefix: &'a str,
    /// Kind to hold them in.
    pub kind: Kind,
    /// Kind to compute convolutions in: `kind`, or bfloat16.
    pub compute: Kind,
    /// Device to hold them on.
    pub device: Device,
    /// What they are there for.
    pub purpose: Purpose,
}

impl<'a> Stored<'a> {
    /// Returns parameters to reconstruct with, in f32.
    pub fn on(tensors: &'a Tensors, prefix: &'a str, device: Device) -> Self {
        Self {
            tensors,
            prefix,
            kind: Kind::Float,
            compute: Kind::Float,
            device,
            purpose: Purpose::Restoring,
        }
    }
}

impl Stored<'_> {
    /// Returns the same, computed with in the kind of number that a configuration asks for.
    pub fn computing(self, precision: Precision) -> Self {
        Self {
            compute: match precision {
                Precision::Full => self.kind,
                Precision::Half => Kind::BFloat16,
            },
            ..self
        }
    }
}

impl Parameters for Stored<'_> {
    fn get(&mut self, name: &str, shape: &[i64], _fresh: Fresh) -> Result<Tensor, ModelError> {
        let name = format!("{}{name}", self.prefix);
        let Some(tensor) = self.tensors.get(&name) else {
            return Err(ModelError::Weights(format!(
                "expected a tensor {name}, found none"
            )));
        };
        if tensor.size() != shape {
            let found = tensor.size();
            return Err(ModelError::Weights(format!(
                "{name}: expected shape {shape:?}, found {found:?}"
            )));
        }
        Ok(tensor.f_to_kind(self.kind)?.f_to_device(self.device)?)
    }

    fn compute(&self) -> Kind {
        self.compute
    }

    fn purpose(&self) -> Purpose {
        self.purpose
    }
}

/// Parameters that are made as they are asked for, and kept.
pub struct Made<'a> {
    /// Where they are kept.
    pub tensors: &'a mut Tensors,
    /// What comes before the names that the network asks for.
    pub prefix: &'a str,
    /// Where their numbers come from, in the order of asking.
    pub rng: &'a mut ChaCha8Rng,
}

impl Parameters for Made<'_> {
    fn get(&mut self, name: &str, shape: &[i64], fresh: Fresh) -> Result<Tensor, ModelError> {
        let length = usize::try_from(shape.iter().product::<i64>()).unwrap_or_default();
        let values: Vec<f32> = match fresh {
            Fresh::Constant(value) => vec![value as f32; length],
            Fresh::Uniform(bound) => (0..length)
                .map(|_| self.rng.random_range(-bound..=bound) as f32)
                .collect(),
        };
        let tensor = Tensor::f_from_slice(&values)?.f_view(shape)?;
        self.tensors
            .insert(format!("{}{name}", self.prefix), tensor.shallow_clone());
        Ok(tensor)
    }

    fn compute(&self) -> Kind {
        Kind::Float
    }
}
