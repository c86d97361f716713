"""Compares what two runs left, as JSON on stdout: for each of the two its FOLDER and its ID, an SQL name.

Tables are compared as multisets of rows, without what may differ between equal runs: the run's name, the
circumstances (times, worker, batch) and the number of the attempt. Of a case's attempts the highest counts.
"""
import glob, hashlib, json, os, sys

import duckdb

CIRCUMSTANCES = {"run", "attempt", "worker", "batch", "finished_at"}
# what must be there once: a case, a vertebra
KEYS = {"cases": ["case_id", "attempt"], "vertebrae": ["case_id", "attempt", "level", "label"]}

runs = {sys.argv[2]: sys.argv[1], sys.argv[4]: sys.argv[3]}
first, second = runs
db = duckdb.connect()


def number(query):
    return db.execute(query).fetchall()[0][0]


def load(run, table):
    parts = f"{runs[run]}/tables/{table}/run={run}/*.parquet"
    if not glob.glob(parts):
        sys.exit(f"no part at {parts}")
    parts = parts.replace("'", "''")
    source = f"read_parquet('{parts}', hive_partitioning = false, union_by_name = true)"
    db.execute(f"CREATE TABLE {run}_{table} AS SELECT * FROM {source}")


def compare(table):
    columns = [
        name
        for name, *_ in db.execute(f"DESCRIBE {first}_{table}").fetchall()
        if name not in CIRCUMSTANCES and not name.endswith("_ms")
    ]
    kept = ", ".join(f'"{name}"' for name in columns)
    for run in runs:
        # the attempt that counts is the case's, also where it has fewer vertebrae than one before
        db.execute(
            f"CREATE VIEW {run}_{table}_rows AS SELECT {kept} FROM {run}_{table} JOIN "
            f"(SELECT case_id, max(attempt) AS attempt FROM {run}_cases GROUP BY ALL) USING (case_id, attempt)"
        )

    def counts(query):
        return {run: number(query.format(run=run)) for run in runs}

    def only(run, other):
        rows = f"SELECT * FROM {run}_{table}_rows EXCEPT ALL SELECT * FROM {other}_{table}_rows"
        return number(f"SELECT count(*) FROM ({rows})")

    key = ", ".join(KEYS[table])
    return {
        "columns": len(columns),
        "rows": counts(f"SELECT count(*) FROM {{run}}_{table}_rows"),
        "rows_only_in": {first: only(first, second), second: only(second, first)},
        "duplicates": counts(f"SELECT count(*) - count(DISTINCT ({key})) FROM {{run}}_{table}"),
        "rows_of_lower_attempts": counts(
            f"SELECT (SELECT count(*) FROM {{run}}_{table}) - (SELECT count(*) FROM {{run}}_{table}_rows)"
        ),
    }


def volumes(run):
    root = f"{runs[run]}/volumes/run={run}"
    found = {}
    for below, _, names in os.walk(root):
        for name in names:
            path = os.path.join(below, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = hashlib.sha256(file.read()).hexdigest()
    return found


def records(run):
    counts = []
    for path in glob.glob(f"{runs[run]}/runs/{run}/*.json"):
        with open(path) as file:
            record = json.load(file)
        if isinstance(record, dict) and "counts" in record:
            counts.append(record["counts"])
    # that of a killed start says how far it was a few seconds before, or as it began
    return {
        "records": len(counts),
        "cases_done_by_their_counts": sum(count.get("done", 0) for count in counts),
        "already_done_at_each_start": sorted(count.get("already_done", 0) for count in counts),
    }


for run in runs:
    for table in KEYS:
        load(run, table)
tables = {table: compare(table) for table in KEYS}
left = {run: volumes(run) for run in runs}
both = left[first].keys() & left[second].keys()
differing = sum(left[first][name] != left[second][name] for name in both)
twice = "SELECT count(*) FROM (SELECT case_id FROM {}_cases GROUP BY ALL HAVING count(*) > 1)"

equal = len(both) == len(left[first]) and differing == 0
for table in tables.values():
    equal = equal and not any(table["rows_only_in"].values()) and not any(table["duplicates"].values())
json.dump(
    {
        "equal": equal,
        "tables": tables,
        "cases_with_several_rows": {run: number(twice.format(run)) for run in runs},
        "volumes": {
            "in": {run: len(left[run]) for run in runs},
            # files of the second alone are no difference: a killed start may leave some
            "only_in": {run: len(left[run].keys() - both) for run in runs},
            "differing": differing,
        },
        "records": {run: records(run) for run in runs},
    },
    sys.stdout,
)
