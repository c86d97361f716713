//! The tables and their views as a document for whoever reads them: `docs/tables.md`.

use arrow_schema::Field;

use super::{
    CaseRow, ComparisonRow, DESCRIPTION_KEY, LineageRow, ObjectRow, Row, SCHEMA_VERSION, UNIT_KEY,
    VertebraRow,
};
use crate::views::VIEWS;

const HEAD: &str = "\
<!-- Made from schemas/src/rows and schemas/views by `cargo run -p schemas --example print_tables`: edit those. -->

# Tables

Every table is Parquet, packed with ZSTD, with statistics and a page index of every column and a bloom filter on
`case_id`. A column's meaning and unit are also in its Arrow metadata (`description`, `unit`). Metrics and other shares
have no unit. Columns whose meaning begins with *circumstance* say when, where and how fast, not what: equal inputs give
equal rows but for these, `attempt` and `files`.

Folders `run=<id>` are Hive partitions: readers give them as a column `run`, and read no other run's files if they are
asked for one. Take it as text, since an id may look like a number or a date.

Files of every earlier schema version stay readable. Within a version columns are only added, and may be null; in files
from before that they are missing, so that files must be united by name.
";

/// Returns every table with its columns, and every view, in Markdown.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    let version = format!(
        "The schema version is {SCHEMA_VERSION}; a file names its own in its metadata, under \
         `spinestream.schema`.\n"
    );
    text.push_str(&version);
    text.push_str(&section::<CaseRow>());
    text.push_str(&section::<VertebraRow>());
    text.push_str(&section::<ComparisonRow>());
    text.push_str(&section::<ObjectRow>());
    text.push_str(&section::<LineageRow>());
    text.push_str("\n# Views\n\n");
    text.push_str(
        "`spinestream views` prints them, and the tables that they take, for DuckDB, Polars or DataFusion.\n\n",
    );
    text.push_str("| view | a row, and what it takes |\n|---|---|\n");
    for view in &VIEWS {
        let line = format!(
            "| [`{}`](../schemas/views/{}.sql) | {} |\n",
            view.name,
            view.name,
            cell(&view.about())
        );
        text.push_str(&line);
    }
    text
}

fn section<R: Row>() -> String {
    let mut text = format!("\n## `{}`\n\n{}: `{}`.\n\n", R::TABLE, R::ABOUT, R::PLACE);
    text.push_str("| column | type | null | unit | meaning |\n|---|---|---|---|---|\n");
    for field in R::schema().fields() {
        let null = if field.is_nullable() { "yes" } else { "no" };
        let line = format!(
            "| `{}` | {} | {null} | {} | {} |\n",
            field.name(),
            cell(&field.data_type().to_string()),
            about(field, UNIT_KEY),
            cell(about(field, DESCRIPTION_KEY))
        );
        text.push_str(&line);
    }
    text
}

fn about<'a>(field: &'a Field, key: &str) -> &'a str {
    field.metadata().get(key).map_or("", String::as_str)
}

/// Returns a text that ends no cell of a table and is no markup: file names hold `<id>`.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
