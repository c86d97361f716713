//! One column of a table: what it is called, what it means, and how a row fills it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeListBuilder, Float64Builder, ListBuilder, PrimitiveBuilder, StringBuilder,
};
use arrow_array::types::{ArrowPrimitiveType, Float32Type, UInt8Type};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, ListArray, StringArray, StructArray, TimestampMillisecondArray,
    UInt32Array, UInt64Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields};

use super::{DESCRIPTION_KEY, UNIT_KEY};
use crate::payload::WrittenFile;

/// Makes the column of some rows.
type Fill<R> = Box<dyn Fn(&[R]) -> ArrayRef>;

/// A column of table rows `R`.
pub struct Column<R> {
    name: String,
    nullable: bool,
    description: String,
    fill: Fill<R>,
}

impl<R> Column<R> {
    fn new(name: impl Into<String>, description: impl Into<String>, fill: Fill<R>) -> Self {
        Self {
            name: name.into(),
            nullable: true,
            description: description.into(),
            fill,
        }
    }

    /// Forbids nulls.
    pub(super) fn required(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// Returns the Arrow field.
    pub(super) fn field(&self) -> Field {
        let data_type = (self.fill)(&[]).data_type().clone();
        let mut metadata = HashMap::from([(DESCRIPTION_KEY.to_owned(), self.description.clone())]);
        if let Some(unit) = unit(&self.name) {
            metadata.insert(UNIT_KEY.to_owned(), unit.to_owned());
        }
        Field::new(&self.name, data_type, self.nullable).with_metadata(metadata)
    }

    /// Returns the column of these rows.
    pub(super) fn array(&self, rows: &[R]) -> ArrayRef {
        (self.fill)(rows)
    }
}

/// Returns the unit of a column, which is a part of its name.
fn unit(name: &str) -> Option<&'static str> {
    name.split('_').find_map(|part| match part {
        // maps voxel indices to mm
        "mm" | "affine" => Some("mm"),
        "mm3" => Some("mm³"),
        "ms" => Some("ms"),
        "seconds" => Some("s"),
        "degrees" => Some("degrees"),
        "bytes" => Some("bytes"),
        _ => None,
    })
}

/// Text.
pub(super) fn text<R: 'static>(
    name: &str,
    description: &str,
    get: impl Fn(&R) -> Option<&str> + 'static,
) -> Column<R> {
    let fill = move |rows: &[R]| Arc::new(rows.iter().map(&get).collect::<StringArray>()) as ArrayRef;
    Column::new(name, description, Box::new(fill))
}

/// A list of short texts.
pub(super) fn texts<R: 'static>(
    name: &str,
    description: &str,
    get: impl Fn(&R) -> Vec<&str> + 'static,
) -> Column<R> {
    let fill = move |rows: &[R]| {
        let mut builder = ListBuilder::new(StringBuilder::new());
        for row in rows {
            builder.append_value(get(row).into_iter().map(Some));
        }
        Arc::new(builder.finish()) as ArrayRef
    };
    Column::new(name, description, Box::new(fill))
}

/// Files with size and hash.
pub(super) fn files<R: 'static>(
    name: &str,
    description: &str,
    get: impl Fn(&R) -> &[WrittenFile] + 'static,
) -> Column<R> {
    let fill = move |rows: &[R]| {
        let fields = Fields::from(vec![
            Field::new("name", DataType::Utf8, false),
            Field::new("bytes", DataType::UInt64, false),
            Field::new("sha256", DataType::Utf8, false),
        ]);
        let all: Vec<&WrittenFile> = rows.iter().flat_map(&get).collect();
        let names: StringArray = all.iter().map(|file| Some(&file.name)).collect();
        let bytes: UInt64Array = all.iter().map(|file| Some(file.bytes)).collect();
        let hashes: StringArray = all.iter().map(|file| Some(&file.sha256)).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(names), Arc::new(bytes), Arc::new(hashes)];
        let structs = StructArray::new(fields.clone(), columns, None);
        let lengths = OffsetBuffer::from_lengths(rows.iter().map(|row| get(row).len()));
        let item = Arc::new(Field::new("item", DataType::Struct(fields), false));
        Arc::new(ListArray::new(item, lengths, Arc::new(structs), None)) as ArrayRef
    };
    Column::new(name, description, Box::new(fill))
}

/// Yes or no.
pub(super) fn flag<R: 'static>(
    name: &str,
    description: &str,
    get: impl Fn(&R) -> Option<bool> + 'static,
) -> Column<R> {
    let fill = move |rows: &[R]| Arc::new(rows.iter().map(&get).collect::<BooleanArray>()) as ArrayRef;
    Column::new(name, description, Box::new(fill))
}

/// A count.
pub(super) fn count<R: 'static>(
    name: &str,
    description: &str,
    get: impl Fn(&R) -> Option<u32> + 'static,
) -> Column<R> {
    let fill = move |rows: &[R]| Arc::new(rows.iter().map(&get).collect::<UInt32Array>()) as ArrayRef;
    Column::new(name, description, Box::new(fill))
}

/// A large count, or a seed.
pub(super) fn wide<R: 'static>(
    name: &str,
    description: &str,
    get: impl Fn(&R) -> Option<u64> + 'static,
) -> Column<R> {
    let fill = move |rows: &[R]| Arc::new(rows.iter().map(&get).collect::<UInt64Array>()) as ArrayRef;
    Column::new(name, description, Box::new(fill))
}

/// A real number.
pub(super) fn real<R: 'static>(
    name: impl Into<String>,
    description: impl Into<String>,
    get: impl Fn(&R) -> Option<f64> + 'static,
) -> Column<R> {
    let fill = move |rows: &[R]| Arc::new(rows.iter().map(&get).collect::<Float64Array>()) as ArrayRef;
    Column::new(name, description, Box::new(fill))
}

/// A moment: milliseconds since the beginning of 1970, UTC.
pub(super) fn moment<R: 'static>(
    name: &str,
    description: &str,
    get: impl Fn(&R) -> Option<i64> + 'static,
) -> Column<R> {
    let fill = move |rows: &[R]| {
        let moments: TimestampMillisecondArray = rows.iter().map(&get).collect();
        Arc::new(moments.with_timezone("UTC")) as ArrayRef
    };
    Column::new(name, description, Box::new(fill))
}

/// `N` real numbers.
pub(super) fn reals<R: 'static, const N: usize>(
    name: &str,
    description: &str,
    get: impl Fn(&R) -> [f64; N] + 'static,
) -> Column<R> {
    let fill = move |rows: &[R]| {
        let mut builder = FixedSizeListBuilder::new(Float64Builder::new(), N as i32);
        for row in rows {
            builder.values().append_slice(&get(row));
            builder.append(true);
        }
        Arc::new(builder.finish()) as ArrayRef
    };
    Column::new(name, description, Box::new(fill))
}

/// `length` single-precision numbers, or null.
pub(super) fn descriptor<R: 'static>(
    name: &str,
    description: &str,
    length: usize,
    get: impl Fn(&R) -> Option<&[f32]> + 'static,
) -> Column<R> {
    fixed::<R, Float32Type>(name, description, length, get)
}

/// `length` bytes, or null.
pub(super) fn octets<R: 'static>(
    name: &str,
    description: &str,
    length: usize,
    get: impl Fn(&R) -> Option<&[u8]> + 'static,
) -> Column<R> {
    fixed::<R, UInt8Type>(name, description, length, get)
}

/// `length` numbers, or null; null as well for another number of them.
fn fixed<R: 'static, T: ArrowPrimitiveType>(
    name: &str,
    description: &str,
    length: usize,
    get: impl Fn(&R) -> Option<&[T::Native]> + 'static,
) -> Column<R> {
    let fill = move |rows: &[R]| {
        let mut builder = FixedSizeListBuilder::new(PrimitiveBuilder::<T>::new(), length as i32);
        for row in rows {
            match get(row).filter(|values| values.len() == length) {
                Some(values) => builder.values().append_slice(values),
                None => builder.values().append_nulls(length),
            }
            builder.append(get(row).is_some_and(|values| values.len() == length));
        }
        Arc::new(builder.finish()) as ArrayRef
    };
    Column::new(name, description, Box::new(fill))
}
