"""The same cohort as Ray Data runs it: `ray_cohort.py MANIFEST OUT WEIGHTS NOISE SAMPLER`."""

import csv
import json
import os
import sys
import time
from pathlib import Path

import ray

import cohort

# of a core: what cuts and measures must find room beside what reconstructs
MODEL_CORES, OTHER_CORES = 0.7, 0.3


class Cut:
    def __init__(self, arguments):
        self.worker = cohort.Worker(*arguments)

    def __call__(self, case):
        for vertebra in self.worker.vertebrae(case["number"], case["row"]):
            yield vertebra | {"noise": vertebra["noise"].numpy()}


class Reconstruct:
    def __init__(self, arguments):
        self.worker = cohort.Worker(*arguments)

    def __call__(self, batch):
        import torch

        names = list(batch)
        vertebrae = [dict(zip(names, values)) for values in zip(*batch.values())]
        for vertebra in vertebrae:
            vertebra["noise"] = torch.from_numpy(vertebra["noise"].copy())
        self.worker.reconstruct(vertebrae)
        rows = [self.worker.measure(vertebra) for vertebra in vertebrae]
        return {name: [row[name] for row in rows] for name in rows[0]}


def main():
    arguments = sys.argv[1:]
    manifest, out = Path(arguments[0]), Path(arguments[1])
    out.mkdir(parents=True)
    with manifest.open() as file:
        cases = [{"number": number, "row": row} for number, row in enumerate(csv.DictReader(file))]
    start = time.perf_counter()
    cores = os.cpu_count()
    ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = (
        ray.data.from_items(cases, override_num_blocks=min(len(cases), 8 * cores))
        .flat_map(Cut, fn_constructor_args=[arguments], concurrency=cores, num_cpus=OTHER_CORES)
        .map_batches(
            Reconstruct,
            fn_constructor_args=[arguments],
            batch_size=5,
            concurrency=cores,
            num_cpus=MODEL_CORES,
        )
    )
    rows.write_parquet(str(out / "parts"))
    seconds = time.perf_counter() - start
    ray.shutdown()
    json.dump({"cases": len(cases), "seconds": seconds, "ends_s": []}, sys.stdout)


if __name__ == "__main__":
    main()
