"""Loads the scripts of `spinestream views` into DuckDB, DataFusion and Polars, and holds every view in each of them
against the same view in plain Python: check.py SCRIPTS OUTPUT. Prints as JSON how many rows each view has.
"""
import datetime, glob, json, os, re, shutil, sys
from collections import defaultdict
from statistics import fmean

import datafusion, duckdb, polars, pyarrow.parquet

scripts, output = sys.argv[1:]


# ---- plain Python -----------------------------------------------------------------------------------------------------
def read(table):
    rows = []
    for part in sorted(glob.glob(f"{glob.escape(output)}/tables/{table}/run=*/*.parquet")):
        run = os.path.basename(os.path.dirname(part)).removeprefix("run=")
        for row in pyarrow.parquet.ParquetFile(part).read().to_pylist():
            rows.append({**row, "run": run})
    # columns that a part lacks are null, and so is the one that was added after the first release
    names = {name for row in rows for name in row} | ({"finished_at"} if table == "cases" else set())
    return [{name: row.get(name) for name in names} for row in rows]


def best(rows, key, order):
    found = {}
    for row in rows:
        known = found.setdefault(key(row), row)
        if order(row) > order(known):
            found[key(row)] = row
    return list(found.values())


def mean(values):
    values = [value for value in values if value is not None]
    return fmean(values) if values else None


def least(values):
    return min((value for value in values if value is not None), default=None)


def minus(a, b):
    return None if a is None or b is None else a - b


def grouped(rows, *names):
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return groups


def case_of(row):
    return row["run"], row["case_id"].lower()


cases = best(read("cases"), case_of, lambda row: row["attempt"])
of_case = {case_of(row): row for row in cases}
vertebrae = []
for row in read("vertebrae"):
    case = of_case.get(case_of(row))
    if case and case["attempt"] == row["attempt"]:
        more = {name: case[name] for name in ("software_version", "finished_at")}
        vertebrae.append({**row, **more})
vertebrae = best(vertebrae, lambda row: (*case_of(row), row["level"]), lambda row: row["attempt"])

never = datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)
current = best(
    vertebrae,
    lambda row: (row["case_id"].lower(), row["level"]),
    lambda row: (row["finished_at"] or never, row["run"]),
)

persons = []
scores = grouped(vertebrae, "run", "person")
for (run, person), group in grouped(cases, "run", "person").items():
    scored = scores.get((run, person), []) if person is not None else []
    column = lambda name: [row[name] for row in scored]
    persons.append({
        "run": run,
        "person": person,
        "cases": len(group),
        "cases_failed": sum(row["status"] == "failed" for row in group),
        "vertebrae": sum(row["vertebrae"] for row in group),
        "vertebrae_failed": sum(row["vertebrae_failed"] for row in group),
        "vertebrae_scored": sum(value is not None for value in column("recon_dsc")),
        "input_dsc_mean": mean(column("input_dsc")),
        "input_dsc_min": least(column("input_dsc")),
        "recon_dsc_mean": mean(column("recon_dsc")),
        "recon_dsc_min": least(column("recon_dsc")),
        "dsc_gain_mean": mean(minus(row["recon_dsc"], row["input_dsc"]) for row in scored),
    })

failed = [{**row, "is_case": 1} for row in cases if row["status"] == "failed"]
failed += [{**row, "is_case": 0, "stage": None} for row in vertebrae if row["status"] == "failed"]
failures = []
for key, group in grouped(failed, "run", "stage", "kind", "reason").items():
    of_cases = sum(row["is_case"] for row in group)
    counts = {"cases": of_cases, "vertebrae": len(group) - of_cases}
    failures.append({**dict(zip(("run", "stage", "kind", "reason"), key)), **counts})

METRICS = ["dsc", "vs", "sen", "spec", "ppv", "npv", "nmi", "ck", "jaccard", "hd95_mm", "assd_mm"]
comparison = []
for this in vertebrae:
    for other in vertebrae:
        is_same = (this["case_id"].lower(), this["level"]) == (other["case_id"].lower(), other["level"])
        if not is_same or this["run"] == other["run"]:
            continue
        row = {name: this[name] for name in ("run", "case_id", "person", "level")}
        for name in ["run", "status", "chain", "model_version", "input_dsc"] + [f"recon_{name}" for name in METRICS]:
            row[name] = this[name]
            row[f"other_{name}"] = other[name]
        for name in METRICS:
            row[f"recon_{name}_difference"] = minus(other[f"recon_{name}"], this[f"recon_{name}"])
        comparison.append(row)

summary = []
by_level, of_all = grouped(comparison, "run", "other_run", "level"), grouped(comparison, "run", "other_run")
for key, group in [*by_level.items(), *of_all.items()]:
    row = dict(zip(("run", "other_run", "level"), (*key, "all")))
    differences = {name: [row[f"recon_{name}_difference"] for row in group] for name in ("dsc", "hd95_mm", "assd_mm")}
    row["vertebrae"] = len(group)
    row["vertebrae_scored"] = sum(value is not None for value in differences["dsc"])
    for name, values in differences.items():
        better = [(value > 0 if name == "dsc" else value < 0) for value in values if value is not None]
        row[f"recon_{name}_difference_mean"] = mean(values)
        row[f"recon_{name}_share_better"] = mean(better)
    summary.append(row)

EXPECTED = {
    "latest_cases": cases,
    "latest_vertebrae": vertebrae,
    "current_vertebrae": current,
    "persons": persons,
    "failures": failures,
    "run_comparison": comparison,
    "run_comparison_summary": summary,
}


# ---- the programs -----------------------------------------------------------------------------------------------------
def script(name):
    with open(f"{scripts}/{name}", encoding="utf-8") as file:
        return file.read()


duck = duckdb.connect()
duck.execute(script("duckdb"))

fusion = datafusion.SessionContext()
for statement in script("datafusion").split(";\n"):
    if statement.strip():
        fusion.sql(statement.strip().removesuffix(";"))


def polars_views(text):
    module = {}
    exec(compile(text, "polars", "exec"), module)
    return module["views"]


lazy = polars_views(script("polars"))


def in_duckdb(query):
    found = duck.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]


PROGRAMS = {
    "duckdb": in_duckdb,
    "datafusion": lambda query: fusion.sql(query).to_arrow_table().to_pylist(),
    "polars": lambda query: lazy.execute(query).collect().to_dicts(),
}


def plain(value):
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, datetime.datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, dict):
        return tuple((name, plain(item)) for name, item in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(map(plain, value))
    return value


def as_set(rows):
    return sorted(repr(plain(row)) for row in rows)


for view, expected in EXPECTED.items():
    for program, query in PROGRAMS.items():
        found = query(f"SELECT * FROM {view}")
        expected_set, found_set = as_set(expected), as_set(found)
        more = [row for row in found_set if row not in expected_set][:1]
        fewer = [row for row in expected_set if row not in found_set][:1]
        assert found_set == expected_set, f"{view} in {program}: found {more}, expected {fewer}"


# ---- a filter on run reads no other run's files -------------------------------------------------------------------------
def check_pruning(run):
    plan = duck.execute(f"EXPLAIN ANALYZE SELECT count(*) FROM latest_cases WHERE run = '{run}'").fetchall()[0][1]
    read_files, all_files = map(int, re.search(r"Scanning Files: (\d+)/(\d+)", plan).groups())
    parts = glob.glob(f"{glob.escape(output)}/tables/cases/run={run}/*.parquet")
    assert read_files == len(parts) < all_files, plan
    plan = "\n".join(fusion.sql(f"EXPLAIN SELECT case_id FROM cases WHERE run = '{run}'").to_pydict()["plan"])
    assert set(re.findall(r"run=([^/\]]+)/", plan)) == {run}, plan

    # every other run's files damaged: whoever opens one fails
    damaged = f"{os.path.dirname(output)}/damaged"
    shutil.copytree(f"{output}/tables", f"{damaged}/tables")
    for part in glob.glob(f"{damaged}/tables/*/run=*/*.parquet"):
        if f"/run={run}/" not in part:
            with open(part, "wb") as file:
                file.write(b"no Parquet")
    count = sum(row["run"] == run for row in cases)
    pattern = "".join(f"[{letter}]" if letter in "[*?" else letter for letter in output)
    assert pattern in script("polars")
    lazy = polars_views(script("polars").replace(pattern, damaged))
    assert len(lazy.execute(f"SELECT * FROM latest_cases WHERE run = '{run}'").collect()) == count
    source = f"read_parquet('{damaged}/tables/cases/*/*.parquet', hive_partitioning = true, hive_types = {{'run': VARCHAR}})"
    found = duck.execute(f"SELECT count(DISTINCT lower(case_id)) FROM {source} WHERE run = '{run}'").fetchall()
    assert found == [(count,)], found


runs = sorted({row["run"] for row in cases})
if len(runs) > 1:
    check_pruning(runs[0])
rows = {view: len(expected) for view, expected in EXPECTED.items()}
print(json.dumps({"rows": rows, "runs": runs, "current": sorted({row["run"] for row in current})}))
