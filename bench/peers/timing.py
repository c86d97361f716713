"""How often a thing is done and what of it is kept: the rules of bench/src/measure.rs, for its peers."""

import json
import os
import statistics
import sys
import time
from pathlib import Path

REPEATS, AT_LEAST_S, REPEATS_MOST = 5, 1.0, 200
AT_MOST_S, REPEATS_LEAST = 10.0, 3
AT_MOST_EVER_S = 40.0


class Sheet:
    """What was measured in one process."""

    def __init__(self, folder):
        self.folder = folder
        self.measured = []

    def measure(self, name, by, work, pieces=1):
        """Measures a piece of work (or `pieces` equal ones at once) and returns what it made, the last time."""
        print(f"{name} by {by} …", file=sys.stderr)
        made = work()
        seconds, cpu = [], []
        while not is_enough(len(seconds), sum(seconds)):
            # what was made before is gone before the clock starts: neither its end nor its memory counts
            made = None
            start, cpu_start = time.perf_counter(), time.process_time()
            made = work()
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - cpu_start)
        self.measured.append(
            {
                "name": name,
                "by": by,
                "pieces": pieces,
                "repeats": len(seconds),
                "seconds": spread(seconds, pieces),
                "cpu_s": spread(cpu, pieces),
                "numbers": {},
                "files": {},
            }
        )
        return made

    def number(self, key, value):
        """Adds a number to what came of the thing measured last."""
        self.measured[-1]["numbers"][key] = float(value)

    def mask(self, key, mask):
        """Adds a mask of 0 and 1, an array in C order."""
        self._file(key, "u8", mask.astype("u1").tobytes())

    def reals(self, key, values):
        """Adds real numbers, an array in C order."""
        self._file(key, "f32", values.astype("<f4").tobytes())

    def _file(self, key, ending, data):
        last = self.measured[-1]
        name = f"{last['name']}-{key}.peer.{ending}"
        (self.folder / name).write_bytes(data)
        last["files"][key] = name

    def print(self):
        """Prints everything as one JSON document."""
        json.dump(
            {
                "measured": self.measured,
                "threads": os.cpu_count(),
                "peak_rss_bytes": peak_rss_bytes(),
            },
            sys.stdout,
        )


def is_enough(repeats, spent_s):
    """Says whether that many repeats, which took that long together, are enough."""
    if spent_s >= AT_MOST_EVER_S:
        return True
    if spent_s >= AT_MOST_S:
        return repeats >= REPEATS_LEAST
    return repeats >= REPEATS_MOST or (repeats >= REPEATS and spent_s >= AT_LEAST_S)


def spread(times, pieces):
    return {
        "median": statistics.median(times) / pieces,
        "min": min(times) / pieces,
        "max": max(times) / pieces,
    }


def peak_rss_bytes():
    """Reads the most memory that this process ever had resident (proc(5), VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def main(make, measure):
    """Runs `make FOLDER SEED` or `measure FOLDER SEED`, as the command line says."""
    verb, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if verb == "make":
        make(folder, seed)
        return
    sheet = Sheet(folder)
    measure(folder, seed, sheet)
    sheet.print()


def nothing_to_make(folder, seed):
    """Stands for the inputs of a suite whose peer writes none."""
