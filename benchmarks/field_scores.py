"""Cost of field scores: first-order scores against a training epoch and against permutation, in turns.

    python benchmarks/field_scores.py [--rows N] [--rounds N] [--out FILE]

Every contender sees the same rows. First-order scores take a pass of lookups and one with a gradient per label,
whatever the number of fields; permutation takes a pass per field and shuffle, whatever the number of labels.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from sharkbench.backbones.ctr.deepfm import DeepFM
from sharkbench.contract.workbench import Workbench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.samples import Split
from sharkbench.data.schema import Field, Schema
from sharkbench.field_selection.scores import permutation_scores, taylor_scores
from sharkbench.measure.lookup import hardware
from sharkbench.tasks.ctr import Ctr
from sharkbench.training.fit import fit
from sharkbench.training.recipe import Recipe

CARDINALITY = 20_000


def dataset(fields: int, labels: Sequence[str], rows: int) -> PreparedDataset:
    """``rows`` rows each for training, scoring and validation: Zipf-distributed ids, random labels."""
    rng = np.random.default_rng(0)
    schema = Schema(tuple(Field(f"f{i}", CARDINALITY) for i in range(fields)), tuple(labels))
    local = np.minimum(rng.zipf(1.2, (rows, fields)) - 1, CARDINALITY - 1)
    ids = torch.from_numpy((local + schema.offsets[:-1]).astype(np.int32))
    truth = torch.from_numpy((rng.random((rows, len(labels))) < 0.3).astype(np.float32))
    split = Split(ids, torch.empty(rows, 0), truth)
    few = Split(ids[:256], split.dense[:256], split.labels[:256])
    return PreparedDataset("random", Path(), "", schema, {}, {"train": split, "valid": few, "test": few})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=40_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(optimizer="lazy_adam", batch_size=4096, epochs=1, accelerator="cpu", threads=1)
    lines = []
    for labels, fields in itertools.product((("click",), ("click", "long_view")), (10, 20, 40)):
        data = dataset(fields, labels, given.rows)
        backbone, split = DeepFM(hidden=(128, 64)), data.splits["train"]
        bench = Workbench(data, Ctr(), backbone, 16, recipe, 0, None, Path(), "")
        model = bench.model(bench.full_table())
        generator = torch.Generator().manual_seed(0)
        few = Split(split.ids[: given.rows // 10], split.dense[: given.rows // 10], split.labels[: given.rows // 10])
        contenders: dict[str, Callable[[], object]] = {
            "training epoch": lambda: fit(model, data, Ctr(), recipe, seed=0),  # noqa: B023
            "first-order scores": lambda: taylor_scores(model, split, Ctr()),  # noqa: B023
            # A tenth of the rows, and ten times the time, which is linear in the rows.
            "permutation, one shuffle": lambda: permutation_scores(model, few, Ctr(), 1, generator),  # noqa: B023
        }
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(given.rounds):
            for name, run in contenders.items():
                started = time.perf_counter()
                run()
                taken[name].append((time.perf_counter() - started) * (10 if "shuffle" in name else 1))
        for name, seconds in taken.items():
            ratio = statistics.median(s / e for s, e in zip(seconds, taken["training epoch"], strict=True))
            median = f"{statistics.median(seconds):.3f}"
            lines.append([fields, len(labels), given.rows, name, median, f"{ratio:.2f}"])
            case = f"fields {fields:2d}, labels {len(labels)}"
            print(f"{case}  {name:26s} {median:>8} s {ratio:6.2f} epochs", flush=True)
    if given.out:
        with given.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["fields", "labels", "rows", "what", "seconds", "training epochs", "hardware"])
            writer.writerows([*line, hardware()] for line in lines)


if __name__ == "__main__":
    main()
