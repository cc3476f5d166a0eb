"""Cost of the read-only commands on thousands of stored runs: processor time and peak memory of each.

    python benchmarks/report_load.py [--runs 5000] [--out results/report_load]

The runs are synthetic: two labels, block means of AUC and a history like those of a real run, and a speed. Processor
time (user and system) is measured: a busy machine affects it only through shared caches.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_table import file_of_processor, processor

from sharkbench.machine.environment import environment
from sharkbench.results.records import Epoch, Result, Speed, Timing, TrainingCost
from sharkbench.results.store import Store
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from sharkbench.suite.run import RunSpec
from sharkbench.tasks.ctr.blocks import auc_blocks

BUDGETS = (0.5, 0.25, 0.1, 0.05)
METHODS = 6
SEEDS = 5
BACKBONES = ("dnn", "deepfm", "dcn", "dcnv2")
LABELS = ("click", "like")
ROWS = 4000
FIELDS = 20


def suite_of(runs: int) -> dict[str, Any]:
    """A suite of about ``runs`` runs; the number of data sets is chosen accordingly."""
    each = len(BACKBONES) * SEEDS * (1 + METHODS * len(BUDGETS))
    return {
        "datasets": [
            {"source": "synthetic", "name": f"made-{i}", "rows": 2000, "seed": i}
            for i in range(max(1, -(-runs // each)))
        ],
        "backbones": list(BACKBONES),
        "methods": ["full", *({"name": "hash", "threshold": i, "as": f"method-{i}"} for i in range(METHODS))],
        "budgets": list(BUDGETS),
        "seeds": SEEDS,
    }


class Maker:
    """Generates results like those of real runs, for any run."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.truth = (self.rng.random(ROWS) < 0.3).astype(int)
        self.signal, self.shared = self.truth + self.rng.normal(size=ROWS), self.rng.normal(size=ROWS)

    def result(self, spec: RunSpec) -> Result:
        ratio = float(spec.budget.fraction or 1) if spec.budget else 1.0
        own = sum(map(ord, spec.method_label)) % 7
        noise = 0.3 - (0.1 + 0.05 * own) * np.log10(ratio)
        quality, parts = {}, {}
        for label in LABELS:
            blocks = auc_blocks(self.signal + noise * self.shared + 0.05 * self.rng.normal(size=ROWS), self.truth)
            auc = float(np.mean(blocks.samples["positives"]))
            quality[label] = {"auc": auc, "logloss": 0.5, "normalized_entropy": 0.9, "ece": 0.01}
            parts[label] = {"auc": blocks}
        valid = {label: {name: found[name] for name in ("auc", "logloss")} for label, found in quality.items()}
        full = 40_000_000
        return Result(
            key=spec.key, status="ok", suite=spec.suite, task="ctr", metrics=spec.task.metrics,
            dataset=spec.dataset.name, split="random", data_fingerprint=spec.fingerprint,
            backbone=spec.backbone.name, method=spec.method.name,
            method_label=spec.method_label, code=spec.code,
            method_config=spec.method.model_dump(mode="json", exclude={"name"}), dimension=spec.dimension,
            budget=str(spec.budget) if spec.budget else None, budget_bytes=int(full * ratio) if spec.budget else None,
            seed=spec.seed, setting=spec.model_copy(update={"seed": 0}).key, comparison=spec.full_key,
            started=f"2026-01-0{spec.seed % 9 + 1}T00:00:00+00:00", seconds=60.0, quality=quality,
            parts=parts, quality_valid=quality, pack_gap={label: {"auc": 0.0} for label in LABELS},
            bytes=int(full * ratio * 0.99) if spec.budget else full,
            fp32_bytes=full, bytes_ratio=ratio * 0.99 if spec.budget else 1.0, param_ratio=ratio,
            bytes_by_field={f"field_{i}": int(full * ratio / FIELDS) for i in range(FIELDS)},
            bytes_by_format={"dense": int(full * ratio)}, formats=["dense"], backbone_bytes=100_000,
            training=TrainingCost(seconds=50 + 10 * self.rng.random(), samples=800_000, samples_per_second=16_000,
                                  peak_memory_bytes=900_000_000, peak_memory_kind="resident", epochs=10),
            history=[
                Epoch(stage="train", epoch=i, train_loss=0.5, valid=valid, learning_rate=0.001, seconds=5.0)
                for i in range(10)
            ],
        )  # fmt: skip

    def speed(self) -> Speed:
        fast = 1 + self.rng.random()
        timing = Timing(
            name="rows", rows=40_000, batch=4096, threads=1, stream="data", per_second=fast * 1e8,
            per_second_low=fast * 9e7, per_second_high=fast * 1.1e8, ratio_torch=2 * fast, ratio_fp32=fast,
        )  # fmt: skip
        others = [timing.model_copy(update={"rows": 10_000_000}), timing.model_copy(update={"stream": "uniform"})]
        return Speed(
            hardware="a processor, 2 cores", kernels={"dense": "c"}, lookups=[timing, *others],
            model_samples_per_second=5e4, model_ratio_fp32=1.05, other_cpu_percent=1.0,
        )  # fmt: skip


def fill(store: Store, runs: list[RunSpec]) -> None:
    maker = Maker()
    about = environment(threads=1, kernels={"dense": "c"}, invocation="made up").model_dump_json()
    for spec in runs:
        directory = store.directory(spec.key)
        directory.mkdir(parents=True)
        (directory / "spec.json").write_text(spec.model_dump_json(indent=1))
        (directory / "environment.json").write_text(about)
        (directory / "result.json").write_text(maker.result(spec).model_dump_json(indent=1))
        (directory / "speed.json").write_text(maker.speed().model_dump_json(indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path("results/report_load"))
    parser.add_argument("--work", type=Path, help="Where the runs are made and kept [default: a temporary folder].")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = settings.work or Path(folder)
        os.environ["SHARKBENCH_CACHE"] = str(work / "cache")
        file, out = work / "load.yaml", work / "out"
        work.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(suite_of(settings.runs)))
        runs = plan(load(str(file)))
        if not out.exists():
            fill(Store(out), runs)
        rows = [measured(command, file, out) for command in ("plan", "status", "leaderboard", "report")]
        size = (out / "report.html").stat().st_size
    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / file_of_processor()
    with path.open("w", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["command", "runs", "cpu_seconds", "peak_megabytes", "cpu"])
        table.writerows((command, len(runs), round(seconds, 1), peak, processor()) for command, seconds, peak in rows)
    for command, seconds, peak in rows:
        print(f"{command:12} {len(runs)} runs  {seconds:6.1f} s of CPU  {peak:5} MB")
    print(f"report.html: {size / 1e6:.1f} MB\nwritten: {path}")


def measured(command: str, file: Path, out: Path) -> tuple[str, float, int]:
    """Processor seconds and peak resident memory in MB of one command, in a process of its own."""
    code = "from sharkbench.cli import main; main()"
    started = subprocess.Popen(
        [sys.executable, "-c", code, command, str(file), "--out", str(out)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(started.pid, 0)
    if status:
        sys.exit(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    return command, usage.ru_utime + usage.ru_stime, round(usage.ru_maxrss / 1000)


if __name__ == "__main__":
    main()
