//! The voxels of a NIfTI file in their own type, without a detour through floats.

use ::nifti::{Endianness, NiftiType};
use schemas::Fault;

use super::header::Header;
use crate::decode::source::Source;

/// Bytes that are read at a time: few enough to stay in the processor's cache until they are numbers.
const CHUNK: usize = 1 << 17;

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

/// Evaluates one expression with `$voxel` for the type that a datatype's values have.
macro_rules! of_type {
    ($datatype:expr, $voxel:ident => $result:expr) => {{
        use ::nifti::NiftiType;
        macro_rules! with {
            ($number:ty) => {{
                type $voxel = $number;
                $result
            }};
        }
        match $datatype {
            NiftiType::Uint8 => with!(u8),
            NiftiType::Int8 => with!(i8),
            NiftiType::Uint16 => with!(u16),
            NiftiType::Int16 => with!(i16),
            NiftiType::Uint32 => with!(u32),
            NiftiType::Int32 => with!(i32),
            NiftiType::Uint64 => with!(u64),
            NiftiType::Int64 => with!(i64),
            NiftiType::Float32 => with!(f32),
            NiftiType::Float64 => with!(f64),
            refused => Err($crate::decode::nifti::no_number(refused)),
        }
    }};
}
pub(in crate::decode) use of_type;

/// A stored value.
pub trait Voxel: Copy + Default + PartialEq {
    /// Returns the values that are stored in `bytes`.
    fn all(bytes: &[u8], endianness: Endianness) -> impl Iterator<Item = Self>;

    /// Returns the value, rounded where it has more than 53 significant bits.
    fn value(self) -> f64;

    /// Returns the value as a label, if it is a whole number from 0 to 65535.
    fn label(self) -> Option<u16>;
}

macro_rules! integer_voxel {
    ($($integer:ty),*) => {$(
        impl Voxel for $integer {
            fn all(bytes: &[u8], endianness: Endianness) -> impl Iterator<Item = Self> {
                let (values, _) = bytes.as_chunks();
                let is_big = endianness == Endianness::Big;
                values.iter().map(move |value| {
                    if is_big { Self::from_be_bytes(*value) } else { Self::from_le_bytes(*value) }
                })
            }

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
            fn all(bytes: &[u8], endianness: Endianness) -> impl Iterator<Item = Self> {
                let (values, _) = bytes.as_chunks();
                let is_big = endianness == Endianness::Big;
                values.iter().map(move |value| {
                    if is_big { Self::from_be_bytes(*value) } else { Self::from_le_bytes(*value) }
                })
            }

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
            refused => return Err(no_number(refused)),
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

fn typed<T: Voxel>(source: &mut Source<'_>, header: &Header) -> Result<Vec<T>, Fault> {
    let mut values: Vec<T> = Vec::new();
    values.try_reserve_exact(header.voxels()).map_err(|_| {
        let bytes = header.voxel_bytes();
        Fault::exhausted(
            "out_of_memory",
            format!("expected {bytes} bytes of memory for the voxels, got none"),
        )
    })?;
    each_chunk(source, header, |_, bytes| {
        values.extend(T::all(bytes, header.endianness));
    })?;
    Ok(values)
}

/// Reads the voxels that `header` announces, a few at a time: `take` gets the position of the first, and their bytes.
pub(in crate::decode) fn each_chunk(
    source: &mut Source<'_>,
    header: &Header,
    mut take: impl FnMut(usize, &[u8]),
) -> Result<(), Fault> {
    let count = header.voxels();
    let voxel_bytes = header.datatype.size_of();
    let mut buffer = vec![0; CHUNK.min(count * voxel_bytes)];
    let mut read = 0;
    while read < count {
        let voxels = (count - read).min(CHUNK / voxel_bytes);
        let chunk = &mut buffer[..voxels * voxel_bytes];
        let found = source.fill(chunk)?;
        if found < chunk.len() {
            let found = read + found / voxel_bytes;
            let message = format!("expected {count} voxels, found {found} before the data ends");
            return Err(Fault::unreadable("truncated", message));
        }
        take(read, chunk);
        read += voxels;
    }
    Ok(())
}

/// Returns the fault of a datatype that [`Header`] does not let pass.
pub(in crate::decode) fn no_number(refused: NiftiType) -> Fault {
    let message = format!("expected a datatype that the header's check lets pass, found {refused:?}");
    Fault::bug("unsupported_dtype", message)
}
