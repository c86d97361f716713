"""Says how far rows of two programs lie apart: `equal_rows.py OURS PEER`, folders of Parquet files, as JSON."""

import json
import sys
from pathlib import Path

import pyarrow.parquet

KEYS = ["case_id", "level"]


def main():
    ours, peer = (rows(Path(folder)) for folder in sys.argv[1:])
    shared = ours.keys() & peer.keys()
    apart = {}
    for key in shared:
        for name, theirs in peer[key].items():
            mine = ours[key].get(name)
            if isinstance(theirs, float) and mine is not None:
                apart[name] = max(apart.get(name, 0.0), abs(mine - theirs))
    json.dump({"ours": len(ours), "peer": len(peer), "both": len(shared), "apart": apart}, sys.stdout)


def rows(folder):
    found = {}
    for path in folder.rglob("*.parquet"):
        # by itself: folders such as run=… would become columns
        file = pyarrow.parquet.ParquetFile(path)
        if set(KEYS) <= set(file.schema_arrow.names):
            for row in file.read().to_pylist():
                found[tuple(row[key] for key in KEYS)] = row
    return found


if __name__ == "__main__":
    main()
