use arrow_array::StringArray;
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

use super::*;

/// A batch of table cases with a column left out, or one more.
fn batch(without: Option<&str>, more: Option<Field>) -> RecordBatch {
    let schema = CaseRow::schema();
    let kept = schema
        .fields()
        .iter()
        .filter(|field| Some(field.name().as_str()) != without);
    let fields: Vec<_> = kept.cloned().chain(more.map(Arc::new)).collect();
    let columns = fields
        .iter()
        .map(|field| arrow_array::new_empty_array(field.data_type()))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")
}

#[test]
fn rows_from_before_a_column_was_added_have_null_there() {
    for added in ["files", "finished_at"] {
        let rows = conform::<CaseRow>(&batch(Some(added), None)).expect("conforms");
        assert_eq!(rows.schema(), CaseRow::schema());
    }
}

#[test]
fn columns_that_are_not_known_are_not_dropped() {
    let more = Field::new("colour", DataType::Utf8, true);
    let error = conform::<CaseRow>(&batch(None, Some(more))).expect_err("unknown");
    assert!(
        matches!(&error, TablesError::Newer(name) if name == "colour"),
        "{error}"
    );
    let other = Field::new("attempt", DataType::Utf8, false);
    let error = conform::<CaseRow>(&batch(Some("attempt"), Some(other))).expect_err("another type");
    assert!(
        matches!(&error, TablesError::Newer(name) if name == "attempt"),
        "{error}"
    );
}

#[test]
fn small_parts_are_grouped_and_large_ones_left_alone() {
    let size = |rows, superseded| Size { rows, superseded };
    let sizes = BTreeMap::from([
        ("a".to_owned(), size(10, 0)),
        ("b".to_owned(), size(90, 0)),
        ("c".to_owned(), size(10, 0)),
        ("d".to_owned(), size(95, 5)),
        ("e".to_owned(), size(20, 0)),
    ]);
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(groups(&sizes, 100), [names(&["a", "c", "d"])]);
    assert_eq!(groups(&sizes, 1000), [names(&["a", "b", "c", "d", "e"])]);
    assert_eq!(
        groups(&sizes, 5),
        [names(&["d"])],
        "only to leave out what does not count"
    );
}

#[test]
fn rows_are_sorted_by_case_and_level() {
    let column = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let unsorted = RecordBatch::try_from_iter([
        ("case_id", column(&["b", "a", "b"])),
        ("level", column(&["L2", "L5", "L1"])),
    ]);
    let sorted = sorted(&unsorted.expect("a batch")).expect("sorted");
    let text = |name| {
        texts(&sorted, name)
            .expect("texts")
            .iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        (text("case_id"), text("level")),
        ("a b b".to_owned(), "L5 L1 L2".to_owned())
    );
}
