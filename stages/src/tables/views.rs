//! Scripts that load an output's tables, and the ready views over them, into DuckDB, DataFusion or Polars.
//!
//! Files of every version are united by name. A nullable column that none of them has is there all the same, all null,
//! so that the views find it.

use arrow_schema::{DataType, TimeUnit};
use object_store::path::Path;
use schemas::ObjectUrl;
use schemas::rows::{CaseRow, Row, VertebraRow};
use schemas::views::VIEWS;
use url::Url;

/// An output that others cannot read, by what it is instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an output on disk or in a bucket, which other programs can read, found {0}")]
pub struct Unreachable(String);

/// Where an output lies, as other programs name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    url: Url,
    /// Path, or URL with the key as it is, without a slash at its end.
    name: String,
}

impl Output {
    /// Returns the output that a URL names.
    ///
    /// # Errors
    /// It lies in memory, or its name is no text.
    pub fn new(url: &ObjectUrl) -> Result<Self, Unreachable> {
        let unreachable = |what: &str| Unreachable(what.to_owned());
        let url = Url::parse(url.expose()).map_err(|_| unreachable("no URL"))?;
        let key = Path::from_url_path(url.path()).map_err(|_| unreachable("a name that is no text"))?;
        let key = key.to_string();
        let name = match url.scheme() {
            "file" if key.is_empty() => String::new(),
            "file" => format!("/{key}"),
            scheme @ ("s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss") => {
                let bucket = format!("{scheme}://{}", url.authority());
                if key.is_empty() {
                    bucket
                } else {
                    format!("{bucket}/{key}")
                }
            }
            scheme => return Err(unreachable(&format!("scheme {scheme}"))),
        };
        Ok(Self { url, name })
    }

    /// Returns the pattern of a table's files, of every run; what means something in a pattern stands for itself.
    fn pattern<R: Row>(&self) -> String {
        let mut pattern = String::new();
        for character in self.name.chars() {
            match character {
                '[' | '*' | '?' => pattern.extend(['[', character, ']']),
                _ => pattern.push(character),
            }
        }
        format!("{pattern}/tables/{}/*/*.parquet", R::TABLE)
    }

    /// Returns the URL of a table's folder.
    fn folder<R: Row>(&self) -> String {
        let base = self.url.as_str().trim_end_matches('/');
        format!("{base}/tables/{}/", R::TABLE)
    }

    /// Returns SQL for DuckDB.
    pub fn duckdb(&self) -> String {
        let mut text = "-- Tables and views of spinestream for DuckDB: duckdb -init FILE\n".to_owned();
        let needs = match self.url.scheme() {
            "file" => None,
            "s3" | "s3a" => Some(("httpfs", "s3")),
            "gs" => Some(("httpfs", "gcs")),
            _ => Some(("azure", "azure")),
        };
        if let Some((extension, secret)) = needs {
            let line = format!(
                "-- Before them, once a session: INSTALL {extension}, LOAD {extension}, and\n\
                 -- CREATE SECRET (TYPE {secret}, PROVIDER credential_chain)\n"
            );
            text.push_str(&line);
        }
        text.push_str(&duckdb_table::<CaseRow>(&self.pattern::<CaseRow>()));
        text.push_str(&duckdb_table::<VertebraRow>(&self.pattern::<VertebraRow>()));
        text.push_str(&views());
        text
    }

    /// Returns SQL for DataFusion.
    pub fn datafusion(&self) -> String {
        let mut text =
            "-- Tables and views of spinestream for DataFusion: datafusion-cli --file FILE\n".to_owned();
        text.push_str(&datafusion_table::<CaseRow>(&self.folder::<CaseRow>()));
        text.push_str(&datafusion_table::<VertebraRow>(&self.folder::<VertebraRow>()));
        text.push_str(&views());
        text
    }

    /// Returns a Python module for Polars.
    pub fn polars(&self) -> String {
        let mut text = "\
# Tables and views of spinestream for Polars, as a module: views.execute(\"SELECT …\").collect()
import polars as pl


def table(files, schema):
    # files of every version: columns that they lack are null, columns that nobody knew yet are left out
    return pl.scan_parquet(
        files,
        schema=schema,
        missing_columns=\"insert\",
        extra_columns=\"ignore\",
        hive_partitioning=True,
        hive_schema={\"run\": pl.String},
    )


views = pl.SQLContext()
"
        .to_owned();
        text.push_str(&polars_table::<CaseRow>(&self.pattern::<CaseRow>()));
        text.push_str(&polars_table::<VertebraRow>(&self.pattern::<VertebraRow>()));
        for view in &VIEWS {
            let statement = format!(
                "views.register(\n    \"{}\",\n    views.execute(\n        r\"\"\"\n{}\"\"\"\n    ),\n)\n",
                view.name, view.sql
            );
            text.push_str(&statement);
        }
        text
    }
}

/// Returns the statements that make the views.
fn views() -> String {
    let statement =
        |sql: &str, name: &str| format!("\nCREATE OR REPLACE VIEW {name} AS\n{};\n", sql.trim_end());
    VIEWS.iter().map(|view| statement(view.sql, view.name)).collect()
}

fn duckdb_table<R: Row>(pattern: &str) -> String {
    let files = format!(
        "read_parquet(\n    '{}',\n    hive_partitioning = true,\n    hive_types = {{'run': VARCHAR}},\n    \
         union_by_name = true\n)",
        quoted(pattern)
    );
    let nulls = nulls::<R>(|data_type| {
        Some(match data_type {
            DataType::Utf8 => "VARCHAR",
            DataType::UInt32 => "UINTEGER",
            DataType::UInt64 => "UBIGINT",
            DataType::Float64 => "DOUBLE",
            DataType::Boolean => "BOOLEAN",
            DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
            _ => return None,
        })
    });
    format!(
        "\nCREATE OR REPLACE VIEW {} AS\nSELECT * FROM {files}\n{nulls};\n",
        R::TABLE
    )
}

fn datafusion_table<R: Row>(folder: &str) -> String {
    let nulls = nulls::<R>(|data_type| {
        Some(match data_type {
            DataType::Utf8 => "VARCHAR",
            DataType::UInt32 => "INT UNSIGNED",
            DataType::UInt64 => "BIGINT UNSIGNED",
            DataType::Float64 => "DOUBLE",
            DataType::Boolean => "BOOLEAN",
            DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
            _ => return None,
        })
    });
    let (table, folder) = (R::TABLE, quoted(folder));
    format!(
        "\nCREATE EXTERNAL TABLE {table}_files STORED AS PARQUET PARTITIONED BY (run)\nLOCATION '{folder}';\n\n\
         CREATE OR REPLACE VIEW {table} AS\nSELECT * FROM {table}_files\n{nulls};\n"
    )
}

/// Returns the rest of a `SELECT` that adds the table's nullable columns, and no row; those of lists were there from the
/// first version on.
fn nulls<R: Row>(type_name: impl Fn(&DataType) -> Option<&'static str>) -> String {
    let schema = R::schema();
    let nullable = schema.fields().iter().filter(|field| field.is_nullable());
    let columns: Vec<String> = nullable
        .filter_map(|field| {
            let type_name = type_name(field.data_type())?;
            Some(format!("    CAST(NULL AS {type_name}) AS \"{}\"", field.name()))
        })
        .collect();
    format!("UNION ALL BY NAME\nSELECT\n{}\nWHERE false", columns.join(",\n"))
}

fn polars_table<R: Row>(pattern: &str) -> String {
    let files = serde_json::Value::from(pattern);
    let mut text = format!(
        "views.register(\n    \"{}\",\n    table(\n        {files},\n        {{\n",
        R::TABLE
    );
    for field in R::schema().fields() {
        let data_type = polars_type(field.data_type()).unwrap_or_else(|| "pl.Null".to_owned());
        text.push_str(&format!("            \"{}\": {data_type},\n", field.name()));
    }
    text.push_str("        },\n    ),\n)\n");
    text
}

fn polars_type(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Utf8 => "pl.String".to_owned(),
        DataType::UInt32 => "pl.UInt32".to_owned(),
        DataType::UInt64 => "pl.UInt64".to_owned(),
        DataType::Float32 => "pl.Float32".to_owned(),
        DataType::Float64 => "pl.Float64".to_owned(),
        DataType::Boolean => "pl.Boolean".to_owned(),
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) => format!("pl.Datetime(\"ms\", \"{zone}\")"),
        DataType::List(item) => format!("pl.List({})", polars_type(item.data_type())?),
        DataType::FixedSizeList(item, length) => {
            format!("pl.Array({}, {length})", polars_type(item.data_type())?)
        }
        DataType::Struct(fields) => {
            let mut named = Vec::new();
            for field in fields {
                named.push(format!(
                    "\"{}\": {}",
                    field.name(),
                    polars_type(field.data_type())?
                ));
            }
            format!("pl.Struct({{{}}})", named.join(", "))
        }
        _ => return None,
    })
}

/// Returns a text as it stands between the quotes of SQL.
fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(url: &str) -> Output {
        Output::new(&ObjectUrl::new(url)).expect("an output")
    }

    #[test]
    fn names_stand_for_themselves_in_every_script() {
        let hostile = output("file:///data/o%20%5Bx%5D's%20%22*%22/");
        assert_eq!(
            hostile.pattern::<CaseRow>(),
            "/data/o [[]x]'s \"[*]\"/tables/cases/*/*.parquet"
        );
        let pattern = "'/data/o [[]x]''s \"[*]\"/tables/cases/*/*.parquet'";
        assert!(hostile.duckdb().contains(pattern), "{}", hostile.duckdb());
        let files = r#""/data/o [[]x]'s \"[*]\"/tables/cases/*/*.parquet""#;
        assert!(hostile.polars().contains(files), "{}", hostile.polars());
        let folder = "LOCATION 'file:///data/o%20%5Bx%5D''s%20%22*%22/tables/cases/'";
        assert!(hostile.datafusion().contains(folder), "{}", hostile.datafusion());
    }

    #[test]
    fn an_output_in_a_bucket_is_named_by_its_url() {
        let bucket = output("s3://spine/two%20words/results");
        assert_eq!(
            bucket.pattern::<VertebraRow>(),
            "s3://spine/two words/results/tables/vertebrae/*/*.parquet"
        );
        assert!(bucket.duckdb().contains("CREATE SECRET (TYPE s3,"));
        assert_eq!(
            output("s3://spine").pattern::<CaseRow>(),
            "s3://spine/tables/cases/*/*.parquet"
        );
    }

    #[test]
    fn an_output_in_memory_is_refused() {
        let refused = Output::new(&ObjectUrl::new("memory:///out")).expect_err("nobody else sees it");
        assert!(refused.to_string().ends_with("found scheme memory"), "{refused}");
    }

    #[test]
    fn every_column_has_a_type_in_polars() {
        for field in CaseRow::schema()
            .fields()
            .iter()
            .chain(VertebraRow::schema().fields())
        {
            assert!(polars_type(field.data_type()).is_some(), "{}", field.name());
        }
    }

    #[test]
    fn a_column_that_older_files_lack_is_there_for_the_views() {
        let nulls = "CAST(NULL AS TIMESTAMP WITH TIME ZONE) AS \"finished_at\"";
        let output = output("file:///out");
        assert!(output.duckdb().contains(nulls) && output.datafusion().contains(nulls));
        assert!(
            output
                .polars()
                .contains("\"finished_at\": pl.Datetime(\"ms\", \"UTC\"),")
        );
    }

    #[test]
    fn statements_end_where_a_line_ends_with_a_semicolon() {
        let output = output("s3://spine/out");
        for script in [output.duckdb(), output.datafusion()] {
            for statement in script
                .split(";\n")
                .filter(|statement| !statement.trim().is_empty())
            {
                let code = statement
                    .lines()
                    .find(|line| !line.starts_with("--") && !line.is_empty());
                assert!(
                    code.is_some_and(|line| line.starts_with("CREATE ")),
                    "{statement}"
                );
            }
        }
    }
}
