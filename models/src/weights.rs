//! Weights as bytes: safetensors whose `__metadata__` says what network they belong to.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use sha2::{Digest as _, Sha256};
use tch::{Kind, Tensor};

use crate::description::Method;
use crate::reconstructor::ModelError;

/// Returns the weights of a method that come with the crate, size `compact`. Cards and licence lie beside the files.
pub fn shipped(method: Method) -> &'static [u8] {
    match method {
        Method::LsdEbm => include_bytes!("../weights/lsd_ebm-compact.safetensors"),
        Method::Lebm => include_bytes!("../weights/lebm-compact.safetensors"),
        Method::Vae => include_bytes!("../weights/vae-compact.safetensors"),
        Method::ReconNet => include_bytes!("../weights/reconnet-compact.safetensors"),
    }
}

/// Tensors by name, in the order of the names.
pub type Tensors = BTreeMap<String, Tensor>;

/// Tensors and the texts that travel with them.
pub struct Weights {
    /// Tensors in the kind they are stored in.
    pub tensors: Tensors,
    /// Entries of `__metadata__`.
    pub metadata: HashMap<String, String>,
}

impl Weights {
    /// Returns the same tensors once more, in the same memory.
    pub fn shared(&self) -> Self {
        let tensors = self.tensors.iter();
        Self {
            tensors: tensors
                .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
                .collect(),
            metadata: self.metadata.clone(),
        }
    }
}

/// Returns the tensors and texts of a safetensors file.
///
/// # Errors
/// [`ModelError::Weights`] for bytes that are no safetensors file or hold a type without a counterpart.
pub fn read(bytes: &[u8]) -> Result<Weights, ModelError> {
    let unreadable = |error| ModelError::Weights(format!("expected a safetensors file, found: {error}"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
    let stored = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let mut tensors = Tensors::new();
    for (name, view) in stored.tensors() {
        let shape: Vec<i64> = view.shape().iter().map(|length| *length as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind_of(view.dtype())?)?;
        tensors.insert(name, tensor);
    }
    Ok(Weights {
        tensors,
        metadata: header.metadata().clone().unwrap_or_default(),
    })
}

/// Returns the safetensors file of tensors and texts. Equal tensors and one text give equal bytes.
///
/// # Errors
/// [`ModelError::Weights`] for a tensor of a type that safetensors does not know.
pub fn write(tensors: &Tensors, metadata: HashMap<String, String>) -> Result<Vec<u8>, ModelError> {
    let mut copies = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let kind = tensor.kind();
        let flat = tensor.f_detach()?.f_contiguous()?;
        let mut bytes = vec![0_u8; flat.numel() * kind.elt_size_in_bytes()];
        flat.f_copy_data_u8(&mut bytes, flat.numel())?;
        let shape: Vec<usize> = tensor.size().iter().map(|length| *length as usize).collect();
        copies.push((name.as_str(), dtype_of(kind)?, shape, bytes));
    }
    let unwritable = |error| ModelError::Weights(format!("cannot be written: {error}"));
    let mut views = Vec::with_capacity(copies.len());
    for (name, dtype, shape, bytes) in &copies {
        views.push((
            *name,
            TensorView::new(*dtype, shape.clone(), bytes).map_err(unwritable)?,
        ));
    }
    serialize(views, Some(metadata)).map_err(unwritable)
}

/// Returns the SHA-256 of bytes in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Pairs of stored types, safetensors' and torch's.
const KINDS: [(Dtype, Kind); 9] = [
    (Dtype::F16, Kind::Half),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::F32, Kind::Float),
    (Dtype::F64, Kind::Double),
    (Dtype::U8, Kind::Uint8),
    (Dtype::I8, Kind::Int8),
    (Dtype::I16, Kind::Int16),
    (Dtype::I32, Kind::Int),
    (Dtype::I64, Kind::Int64),
];

fn kind_of(dtype: Dtype) -> Result<Kind, ModelError> {
    let found = KINDS.into_iter().find(|(stored, _)| *stored == dtype);
    found
        .map(|(_, kind)| kind)
        .ok_or_else(|| ModelError::Weights(format!("type {dtype:?} is not read")))
}

fn dtype_of(kind: Kind) -> Result<Dtype, ModelError> {
    let found = KINDS.into_iter().find(|(_, held)| *held == kind);
    found
        .map(|(dtype, _)| dtype)
        .ok_or_else(|| ModelError::Weights(format!("type {kind:?} is not written")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::Description;
    use crate::loaded::LoadedWeights;
    use crate::networks::Network;
    use crate::reconstructor::ModelConf;

    #[test]
    fn the_shipped_weights_open_and_fit_into_24_mib_together() {
        let mut bytes = 0;
        for method in Method::ALL {
            let stored = shipped(method);
            bytes += stored.len();
            let description = Description::of(method, &read(stored).unwrap().metadata).unwrap();
            assert!(
                matches!(description.network, Network::Compact(_)),
                "{method}: size compact"
            );
            let conf = ModelConf {
                chain: vec![method.to_string()],
                ..ModelConf::default()
            };
            crate::open(&conf, &LoadedWeights::new(), "cpu").unwrap();
        }
        assert!(bytes <= 24 << 20, "{bytes}");
    }

    fn sample() -> (Tensors, HashMap<String, String>) {
        let numbers = Tensor::from_slice(&[1.5_f32, -2.25, 3.0, 1e-20]).view([2, 2]);
        let tensors = Tensors::from([
            ("a.weight".to_owned(), numbers.shallow_clone()),
            ("b".to_owned(), numbers.to_kind(Kind::Half)),
            ("count".to_owned(), Tensor::from(7_i64)),
        ]);
        (
            tensors,
            HashMap::from([("description".to_owned(), "{\"t\":6}".to_owned())]),
        )
    }

    #[test]
    fn written_weights_read_back_bit_for_bit() {
        let (tensors, metadata) = sample();
        let bytes = write(&tensors, metadata.clone()).unwrap();
        let back = read(&bytes).unwrap();
        assert_eq!(back.metadata, metadata);
        assert_eq!(back.tensors.len(), 3);
        for (name, tensor) in &tensors {
            let found = &back.tensors[name];
            assert_eq!(
                (found.kind(), found.size()),
                (tensor.kind(), tensor.size()),
                "{name}"
            );
            assert!(found.equal(tensor), "{name}");
        }
        assert_eq!(write(&back.tensors, back.metadata).unwrap(), bytes);
    }

    #[test]
    fn a_damaged_file_is_a_weights_error() {
        let (tensors, metadata) = sample();
        let bytes = write(&tensors, metadata).unwrap();
        let mut wrong_header = bytes.clone();
        wrong_header[9] ^= 0x5a;
        let endless = u64::MAX.to_le_bytes();
        for damaged in [
            &bytes[..bytes.len() - 1],
            &bytes[..20],
            &[],
            &wrong_header,
            &endless,
        ] {
            assert!(matches!(read(damaged), Err(ModelError::Weights(_))));
        }
    }

    #[test]
    fn the_hash_is_sha256_in_hex() {
        // FIPS 180-2, appendix B.1
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expected);
    }
}
