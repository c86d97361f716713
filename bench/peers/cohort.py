"""A cohort as a careful Python user would do it: a pool of processes, each with the networks loaded once.

`cohort.py MANIFEST OUT WEIGHTS NOISE SAMPLER` writes OUT/vertebrae.parquet and a patch a vertebra.
"""

import csv
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet

LEVELS = ["L1", "L2", "L3", "L4", "L5"]


class Worker:
    """What a process keeps from case to case."""

    def __init__(self, manifest, out, weights, noise, sampler):
        # imported here: the process that hands cases out needs none of it
        import numpy as np
        import torch

        import lsd_ebm

        # one thread a process: as many processes as cores
        torch.set_num_threads(1)
        self.folder, self.out = Path(manifest).parent, Path(out)
        # the authors do not ask for it; on a CPU it is the faster order
        order = torch.contiguous_format if sampler == "authors" else torch.channels_last_3d
        self.model = lsd_ebm.LsdEbm(weights, order)
        self.noise = torch.from_numpy(np.fromfile(noise, "<f4")).view(-1, len(LEVELS), 2, 100)
        self.sampler = sampler

    def vertebrae(self, number, row):
        """Returns level, input, reference and noise of each vertebra of a case."""
        import cubes

        inputs = cubes.Scan.load(self.folder / row["mask"])
        references = cubes.Scan.load(self.folder / row["reference"])
        for level in inputs.levels():
            cube = inputs.cube(level)
            yield {
                "case_id": row["case_id"],
                "level": level,
                "origin": cube.origin,
                "input": inputs.cut(level, cube),
                "reference": references.cut(level, cube),
                "noise": self.noise[number, LEVELS.index(level)],
            }

    def reconstruct(self, vertebrae):
        """Adds what the networks make of the inputs: all at once, or one by one as the authors do."""
        import numpy as np
        import torch

        import reconstruct

        together = 1 if self.sampler == "authors" else len(vertebrae)
        for start in range(0, len(vertebrae), together):
            part = vertebrae[start : start + together]
            masks = np.stack([vertebra["input"] for vertebra in part])
            noise = torch.stack([vertebra["noise"] for vertebra in part])
            made = getattr(reconstruct, self.sampler)(self.model, masks, noise)
            for vertebra, mask in zip(part, made):
                vertebra["reconstruction"] = mask

    def measure(self, vertebra):
        """Returns a vertebra's row, and writes its reconstruction."""
        import cubes
        import measures

        row = {"case_id": vertebra["case_id"], "level": vertebra["level"]}
        for prefix, mask in [("input", "input"), ("recon", "reconstruction")]:
            found = measures.all_of_them(vertebra[mask], vertebra["reference"])
            row |= {f"{prefix}_{name}": value for name, value in found.items()}
        name = f"{row['case_id']}_{row['level']}_recon_dseg.nii.gz"
        cubes.save(vertebra["reconstruction"], vertebra["origin"], self.out / name)
        return row

    def case(self, number, row):
        vertebrae = list(self.vertebrae(number, row))
        self.reconstruct(vertebrae)
        return [self.measure(vertebra) for vertebra in vertebrae]


def begin(*arguments):
    global worker
    worker = Worker(*arguments)


def case(job):
    return worker.case(*job)


def main():
    arguments = sys.argv[1:]
    manifest, out = Path(arguments[0]), Path(arguments[1])
    out.mkdir(parents=True)
    with manifest.open() as file:
        jobs = list(enumerate(csv.DictReader(file)))
    rows, ends = [], []
    start = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with context.Pool(os.cpu_count(), begin, arguments) as pool:
        for done in pool.imap_unordered(case, jobs):
            rows += done
            ends.append(time.perf_counter() - start)
            print(f"{len(ends)} of {len(jobs)} cases", file=sys.stderr)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out / "vertebrae.parquet")
    json.dump({"cases": len(ends), "seconds": time.perf_counter() - start, "ends_s": ends}, sys.stdout)


if __name__ == "__main__":
    main()
