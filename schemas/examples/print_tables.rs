//! Writes the printed schemas and the tables' document anew: `cargo run -p schemas --example print_tables`.

use schemas::rows::{CaseRow, ComparisonRow, LineageRow, ObjectRow, Row, VertebraRow, document};

fn main() -> std::io::Result<()> {
    std::fs::write("schemas/tables/cases.txt", CaseRow::print())?;
    std::fs::write("schemas/tables/vertebrae.txt", VertebraRow::print())?;
    std::fs::write("schemas/tables/comparison.txt", ComparisonRow::print())?;
    std::fs::write("schemas/tables/objects.txt", ObjectRow::print())?;
    std::fs::write("schemas/tables/lineage.txt", LineageRow::print())?;
    std::fs::write("docs/tables.md", document())
}
