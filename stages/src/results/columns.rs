//! Columns of a batch by name, each row's value as the rows want it: none where the column is not there, is of another
//! type, or holds null.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, Float64Type, TimestampMillisecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};

/// The columns of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a>(pub(super) &'a RecordBatch);

impl Columns<'_> {
    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.0.column_by_name(name)
    }

    fn valid(&self, name: &str, row: usize) -> Option<&ArrayRef> {
        self.column(name).filter(|column| column.is_valid(row))
    }

    pub(super) fn text(&self, name: &str, row: usize) -> Option<String> {
        let texts = self.valid(name, row)?.as_string_opt::<i32>()?;
        Some(texts.value(row).to_owned())
    }

    pub(super) fn count(&self, name: &str, row: usize) -> Option<u32> {
        let counts = self.valid(name, row)?.as_primitive_opt::<UInt32Type>()?;
        Some(counts.value(row))
    }

    pub(super) fn wide(&self, name: &str, row: usize) -> Option<u64> {
        let counts = self.valid(name, row)?.as_primitive_opt::<UInt64Type>()?;
        Some(counts.value(row))
    }

    pub(super) fn real(&self, name: &str, row: usize) -> Option<f64> {
        let reals = self.valid(name, row)?.as_primitive_opt::<Float64Type>()?;
        Some(reals.value(row))
    }

    /// In ms since 1970.
    pub(super) fn time(&self, name: &str, row: usize) -> Option<i64> {
        let times = self
            .valid(name, row)?
            .as_primitive_opt::<TimestampMillisecondType>()?;
        Some(times.value(row))
    }

    pub(super) fn reals<const N: usize>(&self, name: &str, row: usize) -> Option<[f64; N]> {
        let values = self.valid(name, row)?.as_fixed_size_list_opt()?.value(row);
        let values = values.as_primitive_opt::<Float64Type>()?;
        values.values().as_ref().try_into().ok()
    }

    pub(super) fn singles(&self, name: &str, row: usize) -> Option<Vec<f32>> {
        let values = self.valid(name, row)?.as_fixed_size_list_opt()?.value(row);
        let values = values.as_primitive_opt::<Float32Type>()?;
        Some(values.values().to_vec())
    }

    pub(super) fn texts(&self, name: &str, row: usize) -> Vec<String> {
        let texts = || {
            let values = self.valid(name, row)?.as_list_opt::<i32>()?.value(row);
            Some(owned(&values))
        };
        texts().unwrap_or_default()
    }

    /// The texts of field `field` of a list of structs.
    pub(super) fn field_texts(&self, name: &str, field: &str, row: usize) -> Vec<String> {
        let texts = || {
            let values = self.valid(name, row)?.as_list_opt::<i32>()?.value(row);
            let field = values.as_struct_opt()?.column_by_name(field)?;
            Some(owned(field))
        };
        texts().unwrap_or_default()
    }
}

fn owned(values: &ArrayRef) -> Vec<String> {
    let texts = values.as_string_opt::<i32>();
    let texts = texts.into_iter().flat_map(|texts| texts.iter().flatten());
    texts.map(str::to_owned).collect()
}
