"""What a model costs each process that trains it: alone, by two with whole tables, by two with divided tables.

    python benchmarks/processes.py --out results/training/processes.csv

A table of ``--rows`` rows of 16 numbers in 8 fields (Zipf 1.05 within a field), a perceptron of 3 x 400, ``lazy_adam``,
one epoch of generated samples in batches of 4096; every way in processes of its own. ``train_bytes`` is the most that a
process has had resident from the first step to the last, and ``peak_bytes`` from before the model was made to after it
was united, both beyond what it had before that, the largest of the processes. CPU seconds are those of all processes
together from the first step to the last.
"""

from __future__ import annotations

import argparse
import csv
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FIELDS, WIDTH, BATCH = 8, 16, 4096
WAYS = {"one process": (1, False), "two, whole tables": (2, False), "two, divided tables": (2, True)}
COLUMNS = (
    "processes", "divided", "rows", "table_bytes", "steps", "train_bytes", "peak_bytes", "cpu_seconds",
    "samples_per_cpu_second", "samples_per_second", "hardware",
)  # fmt: skip


def resident(name: str) -> int:
    """Bytes of ``VmRSS`` (now) or ``VmHWM`` (at most)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def measure(rows: int, steps: int, processes: int, divided: bool) -> dict[str, Any]:
    """One way, in this process and the others of its group."""
    import numpy as np
    import torch
    from lightning.pytorch import Callback

    from sharkbench.backbones.ctr.dnn import DNN
    from sharkbench.contract.workbench import Workbench
    from sharkbench.data.dataset import PreparedDataset
    from sharkbench.data.samples import Split
    from sharkbench.data.schema import Field, Schema
    from sharkbench.tasks.ctr import Ctr
    from sharkbench.training.group import Group
    from sharkbench.training.recipe import Recipe

    torch.set_num_threads(1)
    schema = Schema(tuple(Field(f"f{i}", rows // FIELDS) for i in range(FIELDS)), ("click",))
    rng = np.random.default_rng(0)
    popularity = np.cumsum(np.arange(1, rows // FIELDS + 1) ** -1.05)

    def split(samples: int) -> Split:
        ranks = np.searchsorted(popularity, rng.random((samples, FIELDS)) * popularity[-1])
        ids = torch.from_numpy((ranks + schema.offsets[:-1]).astype(np.int32))
        labels = torch.from_numpy((rng.random((samples, 1)) < 0.3).astype(np.float32))
        return Split(ids, torch.empty(samples, 0), labels)

    dataset = PreparedDataset("drawn", Path(), "0", schema, {}, {"train": split(steps * BATCH), "valid": split(8192)})
    bench = Workbench(
        dataset=dataset,
        task=Ctr(),
        backbone=DNN(dropout=0.0),
        dimension=WIDTH,
        recipe=Recipe(
            optimizer="lazy_adam",
            batch_size=BATCH,
            epochs=1,
            accelerator="cpu",
            processes=processes,
            shard_tables=divided,
        ),
        seed=0,
        budget=None,
        shared=Path(),
        full_key="",
    )

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 0:
                Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
                self.cpu, self.wall = time.process_time(), time.perf_counter()

        def on_validation_start(self, *_: Any) -> None:
            self.cpu, self.wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
            self.peak = resident("VmHWM")

    group, watch = Group.join(processes), Watch()
    before = resident("VmRSS")
    model = bench.model(bench.full_table())
    made = resident("VmHWM")
    bench.train(model, callbacks=[watch])
    cpu = float(group.sum(torch.tensor([watch.cpu], dtype=torch.float64)))
    return {
        "processes": processes,
        "divided": divided,
        "rows": rows,
        "table_bytes": 4 * rows * WIDTH,
        "steps": steps,
        "train_bytes": group.largest(watch.peak - before),
        "peak_bytes": group.largest(max(made, watch.peak, resident("VmHWM")) - before),
        "cpu_seconds": round(cpu, 1),
        "samples_per_cpu_second": round(steps * BATCH / cpu),
        "samples_per_second": round(steps * BATCH / watch.wall),
        "hardware": hardware(),
    }


def hardware() -> str:
    """Processor and cores."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].partition(':')[2].strip()} {len(os.sched_getaffinity(0))} cores"


def started(way: str, arguments: list[str]) -> str:
    """The last line that the first process of a way prints."""
    size, divided = WAYS[way]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, __file__, *arguments, "--processes", str(size), *(["--divided"] if divided else [])]
    ranks = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **{k: str(v) for k, v in told.items()}, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(size)
    ]
    said = [process.communicate()[0] for process in ranks]
    if any(process.returncode for process in ranks):
        raise SystemExit(f"{way}: a process has failed")
    return said[0].strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--processes", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--divided", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.processes:
        found = measure(given.rows, given.steps, given.processes, given.divided)
        print(",".join(map(str, found.values())))
        return
    header = ["way", *COLUMNS]
    table = [header]
    for way in WAYS:
        line = started(way, ["--rows", str(given.rows), "--steps", str(given.steps)])
        table.append([way, *line.split(",")])
        print(dict(zip(header, table[-1], strict=True)), flush=True)
    if given.out:
        with given.out.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)


if __name__ == "__main__":
    main()
