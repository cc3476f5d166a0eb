"""Memory of preparation, training and scoring against the number of rows: 1, 4 and 16 million generated ones.

    python benchmarks/training_memory.py --out results/training/training_memory.csv

Rows of 8 fields with 27 thousand values in all, whatever the number of rows, go as CSV through the real preparation
(a random split of 80, 10 and 10 percent), and in a process of their own through a whole epoch of training (a ``hash``
of half the bytes, D = 8, a small network, batches of 8192, the shuffle of any training), its validation, and the
scores and metrics of the test split.

From outside, each process is looked at a hundred times a second. ``anonymous`` bytes are its own (``RssAnon``);
``resident`` ones (``VmRSS``; ``peak`` is the kernel's own mark) have the pages of libraries and mapped files as well,
which the system may take back at any time. ``*_before`` is what the process has once a small data set has gone the
same way.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import benchmark_table

CHUNK = 250_000
CARDINALITIES = (20_000, 5000, 1000, 500, 200, 100, 50, 10)
BATCH = 8192
FEW = 20_000
"""Rows of a small data set that is processed first, so that libraries are initialised."""


def write_rows(path: Path, rows: int) -> None:
    """Generated rows as CSV: values with a probability of 1 over their rank, and a label that depends on them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as pacsv

    rng, sizes = np.random.default_rng(0), np.array(CARDINALITIES)
    names = ["click", *(f"f{i}" for i in range(len(sizes)))]
    schema = pa.schema([(name, pa.int32()) for name in names])
    with pacsv.CSVWriter(path, schema) as writer:
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            values = np.floor(np.exp(rng.random((count, len(sizes))) * np.log(sizes + 1.0))).astype(np.int32) - 1
            clicked = rng.random(count) < 1 / (1 + np.exp(-np.sin(values * 2.4).sum(1)))
            columns = [pa.array(clicked.astype(np.int32)), *(pa.array(column) for column in values.T.copy())]
            writer.write_table(pa.table(columns, schema=schema))


def spec_of(rows: int, cache: Path) -> Any:
    from sharkbench.data.sources.csv import CsvSpec

    fields = [f"f{i}" for i in range(len(CARDINALITIES))]
    return CsvSpec.model_validate({"path": str(cache / f"{rows}.csv"), "labels": ["click"], "categorical": fields})


def say(stage: str, **facts: Any) -> None:
    """Report the start of a stage, or facts, to the watching process."""
    print(json.dumps({"stage": stage, **facts}), flush=True)


def preparation(rows: int, cache: Path) -> None:
    """Prepare the data in this process."""
    from sharkbench.data.prepare import prepare

    prepare(spec_of(FEW, cache), cache, progress=False)  # initialises libraries
    say("before")
    time.sleep(0.1)
    say("prepare")
    prepare(spec_of(rows, cache), cache, progress=False)
    say("end")


def training(rows: int, cache: Path) -> None:
    """Train one epoch in this process, and evaluate on the test split."""
    import torch

    from sharkbench.backbones.ctr.dnn import DNN
    from sharkbench.contract import registry
    from sharkbench.contract.workbench import Workbench
    from sharkbench.data.prepare import prepare
    from sharkbench.measure.quality import parts, predict, quality
    from sharkbench.tasks.ctr import Ctr
    from sharkbench.training.recipe import Recipe

    torch.set_num_threads(1)

    def run(count: int) -> None:
        data = prepare(spec_of(count, cache), cache, progress=False)
        bench = Workbench(
            dataset=data,
            task=Ctr(),
            backbone=DNN(hidden=(16,)),
            dimension=8,
            recipe=Recipe(optimizer="rowwise_adagrad", learning_rate=0.02, batch_size=BATCH, epochs=1),
            seed=0,
            budget=None,
            shared=cache,
            full_key="none",
        )
        say("train")
        model = registry.parse({"name": "hash", "fraction": 0.5}).compress(bench)
        cost = bench.ledger.total()
        say("score")
        test = data.splits["test"]
        packed = model.pack()
        scores = predict(packed, test)
        found = quality(scores, test, bench.schema.labels, bench.task)
        parts(scores, test, bench.schema.labels, bench.task)
        say("end", samples=cost.samples, samples_per_second=cost.samples_per_second, auc=found["click"]["auc"])

    run(FEW)
    say("before")
    time.sleep(0.1)
    run(rows)


def watched(step: str, rows: int, cache: Path) -> dict[str, Any]:
    """Run one step in its own process; returns its peak figures by stage and the facts that it reported."""
    command = [sys.executable, __file__, "--step", step, "--rows", str(rows), "--cache", str(cache)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    status = Path(f"/proc/{process.pid}/status")
    stage, warm = "", False
    found: dict[str, Any] = {}
    while process.poll() is None:
        for line in process.stdout:
            told = json.loads(line)
            stage = told.pop("stage")
            warm = warm or stage == "before"
            found |= told if warm else {}
        if warm and stage != "end":
            lines = (line.split() for line in status.read_text().splitlines())
            now = {words[0]: int(words[1]) * 1024 for words in lines if words[0] in ("RssAnon:", "VmRSS:", "VmHWM:")}
            if now:  # a process that has just ended has none
                for name, kind in (("anonymous", "RssAnon:"), ("resident", "VmRSS:")):
                    key = f"{name}_{stage}"
                    found[key] = max(found.get(key, 0), now[kind])
                found[f"peak_{step}"] = now["VmHWM:"]
        time.sleep(0.01)
    for line in process.stdout:
        found |= {name: value for name, value in json.loads(line).items() if name != "stage"}
    if process.returncode:
        sys.exit(f"{step} of {rows:,} rows ended with {process.returncode}")
    return {(f"{step}_{name}" if name.endswith("before") else name): value for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000, 16_000_000])
    parser.add_argument("--step", choices=["preparation", "training"], help="do this, in this process")
    parser.add_argument("--cache", type=Path, help="where prepared data is; with --step, or to keep it")
    parser.add_argument("--out", type=Path, help="CSV to write")
    args = parser.parse_args()
    if args.step:
        {"preparation": preparation, "training": training}[args.step](args.rows[0], args.cache)
        return
    table = []
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            cache = args.cache or Path(folder)
            for count in (FEW, rows):
                write_rows(cache / f"{count}.csv", count)
            begun = time.perf_counter()
            row: dict[str, Any] = {"rows": rows, **watched("preparation", rows, cache)}
            row["preparation_seconds"] = round(time.perf_counter() - begun, 1)
            row |= watched("training", rows, cache)
        row["samples_per_second"], row["auc"] = round(row["samples_per_second"]), round(row["auc"], 4)
        table.append({**row, "hardware": benchmark_table.hardware()})
        print(json.dumps(table[-1], indent=1), flush=True)
    if args.out:
        benchmark_table.write(args.out, table)


if __name__ == "__main__":
    main()
