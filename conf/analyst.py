"""Runs a file of SQL on the tables of all runs below a prefix: analyst.py RESULTS FILE.

RESULTS is the `run.output` of the runs, a folder or an s3:// prefix; the store and its keys come from the environment,
as for the pipeline. pyarrow reads the store, DuckDB asks: DuckDB's own extension for S3 would have to be fetched from
the network at its first use, which a hospital may not have.
"""

import sys

import duckdb
import pyarrow
from pyarrow import dataset

# ids stay text, also one that looks like a number
BY_RUN = dataset.partitioning(pyarrow.schema([("run", pyarrow.string())]), flavor="hive")

results, file = sys.argv[1:]
connection = duckdb.connect()
for table in ("cases", "vertebrae"):
    connection.register(table, dataset.dataset(f"{results}/tables/{table}", format="parquet", partitioning=BY_RUN))
with open(file, encoding="utf-8") as sql:
    statements = connection.extract_statements(sql.read())
for statement in statements:
    if statement.type == duckdb.StatementType.SELECT:
        connection.sql(statement.query).show(max_rows=1000, max_width=200)
    else:
        connection.execute(statement)
