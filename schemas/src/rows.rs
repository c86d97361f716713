//! Rows of the tables and their columns: one list a table gives name, type, meaning and value of each.
//!
//! A change here changes the golden texts in `schemas/tables/` and `docs/tables.md` and, if it is more than a nullable
//! addition, [`SCHEMA_VERSION`].

mod cases;
mod column;
mod comparison;
mod document;
mod lineage;
mod metrics;
mod model;
mod objects;
mod registered;
mod vertebrae;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema, SchemaRef};

pub use cases::{CaseRow, TIMED_STAGES};
pub use comparison::ComparisonRow;
pub use document::document;
pub use lineage::{LineageRow, SHAPE_LENGTH, Split, Verdict};
pub use objects::ObjectRow;
pub use vertebrae::VertebraRow;

use column::Column;

/// Version of the tables; in the file metadata under [`SCHEMA_KEY`].
pub const SCHEMA_VERSION: &str = "1";

/// Key of the schema's version in the file metadata.
pub const SCHEMA_KEY: &str = "spinestream.schema";

/// Key of a column's meaning in the field metadata.
pub const DESCRIPTION_KEY: &str = "description";

/// Key of a column's unit in the field metadata; a column without a unit has none.
pub const UNIT_KEY: &str = "unit";

/// A row of one of the tables.
pub trait Row: Sized + 'static {
    /// Name of the table: its folder below `tables/`.
    const TABLE: &'static str;

    /// What a row of it is.
    const ABOUT: &'static str;

    /// Where its files lie.
    const PLACE: &'static str;

    #[doc(hidden)]
    fn columns() -> Vec<Column<Self>>;

    /// Returns the pseudonym of the case the row belongs to.
    fn case_id(&self) -> &str;

    /// Returns the table's schema.
    fn schema() -> SchemaRef {
        let fields: Vec<_> = Self::columns().iter().map(Column::field).collect();
        let metadata = HashMap::from([(SCHEMA_KEY.to_owned(), SCHEMA_VERSION.to_owned())]);
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }

    /// Returns the rows as one batch.
    ///
    /// # Errors
    /// A column came out longer or shorter than the others, or null where it may not be.
    fn batch(rows: &[Self]) -> Result<RecordBatch, ArrowError> {
        let arrays = Self::columns().iter().map(|column| column.array(rows)).collect();
        RecordBatch::try_new(Self::schema(), arrays)
    }

    /// Returns the columns as text: name, type, nullability, unit (- for none) and meaning, one a line.
    fn print() -> String {
        let mut text = format!("# table {} (schema version {SCHEMA_VERSION})\n", Self::TABLE);
        for field in Self::schema().fields() {
            let nullable = if field.is_nullable() { "null" } else { "not null" };
            let unit = field.metadata().get(UNIT_KEY).map_or("-", String::as_str);
            let meaning = field.metadata().get(DESCRIPTION_KEY).map_or("", String::as_str);
            let line = format!(
                "{}\t{}\t{nullable}\t{unit}\t{meaning}\n",
                field.name(),
                field.data_type()
            );
            text.push_str(&line);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_as_printed() {
        assert_eq!(CaseRow::print(), include_str!("../tables/cases.txt"));
        assert_eq!(VertebraRow::print(), include_str!("../tables/vertebrae.txt"));
        assert_eq!(ComparisonRow::print(), include_str!("../tables/comparison.txt"));
        assert_eq!(ObjectRow::print(), include_str!("../tables/objects.txt"));
        assert_eq!(LineageRow::print(), include_str!("../tables/lineage.txt"));
        assert_eq!(document(), include_str!("../../docs/tables.md"));
    }

    #[test]
    fn a_unit_is_the_one_in_the_name() {
        let schema = VertebraRow::schema();
        let unit = |name: &str| {
            let field = schema.field_with_name(name).expect("a column");
            field.metadata().get(UNIT_KEY).cloned()
        };
        assert_eq!(unit("recon_hd95_mm").as_deref(), Some("mm"));
        assert_eq!(unit("input_volume_mm3").as_deref(), Some("mm³"));
        assert_eq!(unit("register_rotation_degrees_x").as_deref(), Some("degrees"));
        assert_eq!(unit("recon_dsc"), None);
    }

    #[test]
    fn a_table_without_rows_has_its_schema() {
        let batch = VertebraRow::batch(&[]).expect("empty batch");
        assert_eq!(batch.num_rows(), 0);
        assert_eq!(batch.schema(), VertebraRow::schema());
    }

    #[test]
    fn column_names_are_unique() {
        for schema in [
            CaseRow::schema(),
            VertebraRow::schema(),
            ComparisonRow::schema(),
            ObjectRow::schema(),
            LineageRow::schema(),
        ] {
            let mut names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
            names.sort();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }
}
