//! Columns of a registration, equal in every table that has them.

use super::column::{Column, real};
use super::metrics::metrics;
use crate::vertebra::Registered;

/// Returns the metrics after the registration, then its turns and its way; all null where `get` gives none.
pub(super) fn registered<R: 'static>(get: fn(&R) -> Option<Registered>) -> Vec<Column<R>> {
    let mut columns = metrics(
        "registered",
        "reconstruction moved rigidly onto the reference, optimistic since fitted to it; null unless asked for",
        move |row: &R| get(row).map(|moved| moved.scores),
    );
    for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
        let name = format!("register_rotation_degrees_{letter}");
        let description = format!(
            "registration: right-handed turn about {letter} through the reconstruction's centroid, x before y before z"
        );
        let turn = move |row: &R| get(row).map(|moved| moved.rotation_degrees[axis]);
        columns.push(real(name, description, turn));
    }
    for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
        let name = format!("register_shift_mm_{letter}");
        let description =
            format!("registration: way of the reconstruction's centroid along {letter}, RAS mm");
        let way = move |row: &R| get(row).map(|moved| moved.shift_mm[axis]);
        columns.push(real(name, description, way));
    }
    columns
}
