//! The voxels of a NIfTI file in their own type, without a detour through floats.

use ::nifti::{DataElement, NiftiType};
use schemas::Fault;

use super::header::Header;
use crate::decode::source::Source;

/// Voxels read at a time: what is held besides the result.
const CHUNK: usize = 1 << 18;

/// Stored values, first axis fastest.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are the types themselves")]
pub enum Voxels {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Evaluates one expression for the vector inside a [`Voxels`], whatever its type.
macro_rules! each {
    ($voxels:expr, $values:ident => $result:expr) => {
        match $voxels {
            $crate::decode::nifti::Voxels::U8($values) => $result,
            $crate::decode::nifti::Voxels::I8($values) => $result,
            $crate::decode::nifti::Voxels::U16($values) => $result,
            $crate::decode::nifti::Voxels::I16($values) => $result,
            $crate::decode::nifti::Voxels::U32($values) => $result,
            $crate::decode::nifti::Voxels::I32($values) => $result,
            $crate::decode::nifti::Voxels::U64($values) => $result,
            $crate::decode::nifti::Voxels::I64($values) => $result,
            $crate::decode::nifti::Voxels::F32($values) => $result,
            $crate::decode::nifti::Voxels::F64($values) => $result,
        }
    };
}
pub(in crate::decode) use each;

/// A stored value.
pub trait Voxel: DataElement {
    /// Returns the value, rounded where it has more than 53 significant bits.
    fn value(self) -> f64;

    /// Returns the value as a label, if it is a whole number from 0 to 65535.
    fn label(self) -> Option<u16>;
}

macro_rules! integer_voxel {
    ($($integer:ty),*) => {$(
        impl Voxel for $integer {
            fn value(self) -> f64 {
                self as f64
            }

            fn label(self) -> Option<u16> {
                u16::try_from(self).ok()
            }
        }
    )*};
}
integer_voxel!(u8, i8, u16, i16, u32, i32, u64, i64);

macro_rules! float_voxel {
    ($($float:ty),*) => {$(
        impl Voxel for $float {
            fn value(self) -> f64 {
                f64::from(self)
            }

            fn label(self) -> Option<u16> {
                // a cast that saturates, so that only a label comes back as what it was
                let label = self as u16;
                (<$float>::from(label) == self).then_some(label)
            }
        }
    )*};
}
float_voxel!(f32, f64);

impl Voxels {
    /// Reads the voxels that `header` announces, from where `source` stands.
    pub(super) fn read(source: &mut Source<'_>, header: &Header) -> Result<Self, Fault> {
        Ok(match header.datatype {
            NiftiType::Uint8 => Self::U8(typed(source, header)?),
            NiftiType::Int8 => Self::I8(typed(source, header)?),
            NiftiType::Uint16 => Self::U16(typed(source, header)?),
            NiftiType::Int16 => Self::I16(typed(source, header)?),
            NiftiType::Uint32 => Self::U32(typed(source, header)?),
            NiftiType::Int32 => Self::I32(typed(source, header)?),
            NiftiType::Uint64 => Self::U64(typed(source, header)?),
            NiftiType::Int64 => Self::I64(typed(source, header)?),
            NiftiType::Float32 => Self::F32(typed(source, header)?),
            NiftiType::Float64 => Self::F64(typed(source, header)?),
            refused => {
                let message =
                    format!("expected a datatype that the header's check lets pass, found {refused:?}");
                return Err(Fault::bug("unsupported_dtype", message));
            }
        })
    }

    /// Returns the number of voxels.
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Returns whether there is no voxel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn typed<T: DataElement>(source: &mut Source<'_>, header: &Header) -> Result<Vec<T>, Fault> {
    let count = header.voxels();
    let mut values: Vec<T> = Vec::new();
    values.try_reserve_exact(count).map_err(|_| {
        let bytes = header.voxel_bytes();
        Fault::exhausted(
            "out_of_memory",
            format!("expected {bytes} bytes of memory for the voxels, got none"),
        )
    })?;
    while values.len() < count {
        let expected = CHUNK.min(count - values.len()) * size_of::<T>();
        let mut bytes = vec![0; expected];
        let found = source.fill(&mut bytes)?;
        if found < expected {
            let voxels = values.len() + found / size_of::<T>();
            let message = format!("expected {count} voxels, found {voxels} before the data ends");
            return Err(Fault::unreadable("truncated", message));
        }
        let chunk = T::from_raw_vec(bytes, header.endianness)
            .map_err(|error| Fault::bug("voxel_conversion", error.to_string()))?;
        values.extend(chunk);
    }
    Ok(values)
}
