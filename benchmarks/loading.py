"""How fast batches come from a prepared split: samples per second from warm files, one thread.

    python benchmarks/loading.py [--rows 2000000] [--fields 39] [--out results/loading]

Ways are timed in turns (A B C A B C ...), so that a busy machine slows all of them alike; the table has medians.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from benchmark_table import file_of_processor, processor
from torch.utils.data import DataLoader, TensorDataset

from sharkbench.data.arrow import SplitWriter, open_split
from sharkbench.data.loader import batches, loader
from sharkbench.data.samples import Batch, Split


def write_split(path: Path, rows: int, fields: int) -> Split:
    """A split of random ids and one label, as preparation writes it."""
    rng = np.random.default_rng(0)
    writer = SplitWriter(path, rows, slots=fields, dense=0, labels=1, group=False)
    for start in range(0, rows, 100_000):
        size = min(100_000, rows - start)
        ids = rng.integers(0, 2_000_000, (size, fields), dtype=np.int32)
        writer.append(ids=ids, labels=rng.integers(0, 2, (size, 1)).astype(np.float32))
    writer.close()
    return open_split(path)


def drain(found: Iterator[Batch]) -> int:
    """Read all batches; the memory of every batch is touched, also that of views."""
    rows = 0
    for batch in found:
        batch.ids[0, 0].item()
        rows += len(batch.ids)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--fields", type=int, default=39)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("results/loading"))
    settings = parser.parse_args()
    torch.set_num_threads(1)
    size = settings.batch_size
    with tempfile.TemporaryDirectory() as folder:
        split = write_split(Path(folder) / "split.arrow", settings.rows, settings.fields)
        few = 100_000
        plain = DataLoader(TensorDataset(split.ids[:few], split.labels[:few]), batch_size=size, shuffle=True)
        ways: dict[str, Callable[[int], int]] = {
            "in file order, views": lambda epoch: drain(batches(split, size)),
            "block shuffle": lambda epoch: drain(batches(split, size, seed=0, epoch=epoch)),
            "block shuffle, DataLoader": lambda epoch: drain(iter(loader(split, size, seed=epoch))),
            "TensorDataset and DataLoader, shuffled": lambda epoch: sum(len(ids) for ids, _ in plain),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        rows = {name: way(0) for name, way in ways.items()}  # also warms the page cache
        for epoch in range(settings.rounds):
            for name, way in ways.items():
                begun = time.perf_counter()
                way(epoch + 1)
                seconds[name].append(time.perf_counter() - begun)
    hardware = processor()
    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / file_of_processor()
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(
            [
                "way",
                "samples_per_second",
                "slowest",
                "fastest",
                "rows",
                "fields",
                "batch_size",
                "threads",
                "torch",
                "cpu",
            ]
        )
        for name, taken in seconds.items():
            speeds = [round(rows[name] / s) for s in (statistics.median(taken), max(taken), min(taken))]
            table.writerow([name, *speeds, rows[name], settings.fields, size, 1, torch.__version__, hardware])
            print(f"{name:40} {speeds[0]:>14,} samples/s  ({speeds[1]:,} to {speeds[2]:,})")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
