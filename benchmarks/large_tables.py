"""A table of 200 million rows x 16 (12.8 GB in fp32), trained, packed, saved, loaded and looked up on one machine.

    python benchmarks/large_tables.py --out results/training/large_tables.csv
    python benchmarks/large_tables.py --rows 2000000 --methods lpt

``lpt`` with 8 bits, ``hash`` and ``qr`` with a quarter of the bytes, each in a process of its own, by the way that
every run goes: the method is sized for its budget, compresses on a workbench, and its model is packed, saved, loaded
and judged. One field has all rows but seven thousand, seven more have a thousand each. Half of the ids of the large
field are drawn with a probability of 1 over their rank, half evenly, so that batches reach all over the table. Two
validations, so that the best weights are kept beside the table as in any training; a row-wise optimizer, whose state
is one number per row.

``peak_bytes`` is the most that the process has had resident, libraries and mapped files included; by stage, too:
``train`` (which makes the table), ``pack`` (which saves it as well) and ``serve`` (loading, scores of the trained and
the loaded model, lookups). ``base_bytes`` are resident before, after a small table has gone the same way.
``create_seconds`` is what compressing takes besides training. Lookups are rows read per second, all fields, by batches
of validation samples (``data``) and of even ids (``uniform``), on one thread. Seconds of CPU time, which other programs
on the machine hardly move, stand beside those of wall time or in their place; ``cpu_busy`` is how busy all cores were.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import benchmark_table

SMALL, SMALL_ROWS, DIMENSION, BATCH, VALID = 7, 1000, 16, 4096, 65_536
ROUNDS = 30
"""Number of timings of the lookups of all batches."""
METHODS: dict[str, tuple[dict[str, Any], float]] = {
    "lpt": ({"name": "lpt", "bits": 8}, 0.3125),
    "hash": ({"name": "hash"}, 0.25),
    "qr": ({"name": "qr"}, 0.25),
}
"""Settings and budget (a fraction of fp32) of each method."""


def fields_of(rows: int) -> list[tuple[str, int]]:
    """Names and sizes of the fields, ``rows`` rows in all."""
    return [("item", rows - SMALL * SMALL_ROWS), *((f"f{i}", SMALL_ROWS) for i in range(SMALL))]


def write_splits(folder: Path, rows: int, samples: int) -> None:
    """Generated ids, and labels that depend on them, as a prepared data set has them on disk."""
    import numpy as np

    from sharkbench.data.arrow import SplitWriter

    rng = np.random.default_rng(0)
    sizes = np.array([size for _, size in fields_of(rows)])
    starts = np.cumsum(sizes) - sizes
    for name, count in (("train", samples), ("valid", VALID)):
        writer = SplitWriter(folder / f"{name}.arrow", count, len(sizes), 0, 1, group=False)
        for start in range(0, count, BATCH):
            n = min(BATCH, count - start)
            local = np.floor(np.exp(rng.random((n, len(sizes))) * np.log(sizes + 1.0))).astype(np.int64) - 1
            even = rng.random(n) < 0.5
            local[even, 0] = rng.integers(0, sizes[0], int(even.sum()))
            effects = np.sin(local[:, :4] * 2.4).sum(1)
            clicked = rng.random(n) < 1 / (1 + np.exp(-effects))
            writer.append(ids=(local + starts).astype(np.int32), labels=clicked.astype(np.float32)[:, None])
        writer.close()


class Peak:
    """Peak resident memory of this process, by stage and overall."""

    def __init__(self) -> None:
        self.by_stage: dict[str, int] = {}

    def end_of(self, stage: str) -> None:
        """Record the peak since the end of the last stage as that of ``stage``."""
        lines = Path("/proc/self/status").read_text().splitlines()
        [most] = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
        self.by_stage[stage] = most
        Path("/proc/self/clear_refs").write_text("5")  # the mark starts anew from here


def timed(act: Callable[[], Any]) -> tuple[Any, float, float]:
    """The return value of ``act``, and its seconds of wall and CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = act()
    return result, round(time.perf_counter() - wall, 2), round(time.process_time() - cpu, 2)


def read_all(layer: Callable[[Any], Any], batches: list[Any]) -> None:
    for _ in range(ROUNDS):
        for batch in batches:
            layer(batch)


def bench_of(name: str, rows: int, folder: Path) -> Any:
    """A workbench on the splits in ``folder``, with the method's budget."""
    from sharkbench.backbones.ctr.dnn import DNN
    from sharkbench.contract.workbench import Workbench
    from sharkbench.data.arrow import open_split
    from sharkbench.data.dataset import PreparedDataset
    from sharkbench.data.schema import Field, Schema
    from sharkbench.tasks.ctr import Ctr
    from sharkbench.training.recipe import Recipe

    class Timed(Workbench):
        """A workbench that records the CPU seconds of training."""

        def train(self, *args: Any, **settings: Any) -> Any:
            report, _, cpu = timed(lambda: Workbench.train(self, *args, **settings))
            self.note("train", [{"cpu_seconds": cpu}])
            return report

    schema = Schema(tuple(Field(field, size) for field, size in fields_of(rows)), ("click",))
    splits: Any = {split: open_split(folder / f"{split}.arrow") for split in ("train", "valid")}
    return Timed(
        dataset=PreparedDataset("generated", folder, "0", schema, {}, splits),
        task=Ctr(),
        backbone=DNN(hidden=(64,)),
        dimension=DIMENSION,
        recipe=Recipe(
            optimizer="rowwise_adagrad", learning_rate=0.02, batch_size=BATCH, epochs=1, validations_per_epoch=2
        ),
        seed=0,
        budget=int(METHODS[name][1] * rows * DIMENSION * 4),
        shared=folder,
        full_key="none",
    )


def warm_up(name: str, folder: Path) -> int:
    """Process a small table first, so that libraries are initialised; returns the bytes then resident."""
    import psutil

    from sharkbench.contract import registry
    from sharkbench.measure.quality import predict
    from sharkbench.model import artifact

    small = folder / "small"
    small.mkdir()
    write_splits(small, 2 * SMALL * SMALL_ROWS, 2 * BATCH)
    bench = bench_of(name, 2 * SMALL * SMALL_ROWS, small)
    model = registry.parse(METHODS[name][0]).compress(bench)
    artifact.save(model.pack(), small, fingerprint="0")
    predict(artifact.load_model(small), bench.dataset.splits["valid"])
    del model, bench
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident


def measure(name: str, rows: int, folder: Path) -> dict[str, Any]:
    """One method, in this process."""
    import numpy as np
    import psutil
    import torch

    from sharkbench.contract import registry
    from sharkbench.measure.lookup import data_stream, hardware, uniform_stream
    from sharkbench.measure.quality import predict, quality
    from sharkbench.model import artifact

    torch.set_num_threads(1)
    base = warm_up(name, folder)
    bench = bench_of(name, rows, folder)
    schema, splits = bench.schema, bench.dataset.splits
    peak, cpu = Peak(), psutil.cpu_times()
    peak.end_of("warm-up")
    method = registry.parse(METHODS[name][0])
    settings = {k: v for k, v in method.settled(method.size(bench.room, bench.shape)).items() if k != "name"}

    model, compressing, compressing_cpu = timed(lambda: method.compress(bench))
    training, training_cpu = bench.ledger.total(), bench.ledger.notes["train"][0]["cpu_seconds"]
    peak.end_of("train")
    packed, packing, packing_cpu = timed(model.pack)
    _, saving, _ = timed(partial(artifact.save, packed, folder, fingerprint="0"))
    del packed
    gc.collect()
    peak.end_of("pack")

    served, loading, _ = timed(lambda: artifact.load_model(folder))
    valid, task = splits["valid"], bench.task
    trained_scores, packed_scores = predict(model, valid), predict(served, valid)
    batches = {"data": data_stream(valid.ids, BATCH), "uniform": uniform_stream(schema, BATCH)}
    lookups = {}
    with torch.inference_mode():
        for stream, ids in batches.items():
            for batch in ids:
                served.layer(batch)  # warm
            _, _, seconds = timed(partial(read_all, served.layer, ids))
            lookups[stream] = ROUNDS * len(ids) * BATCH * schema.num_fields / seconds
        last = torch.from_numpy(schema.offsets[1:] - 1)[None]
        assert torch.equal(served.layer(last), model.eval().embedding(last)), "the last rows are not what was trained"
    peak.end_of("serve")
    now = psutil.cpu_times()
    by_stage = {f"peak_bytes_{stage}": most for stage, most in peak.by_stage.items() if stage != "warm-up"}
    return {
        "method": name,
        "settings": json.dumps(settings, separators=(";", ":")),
        "rows": rows,
        "dimension": DIMENSION,
        "fp32_bytes": bench.fp32_bytes,
        "file_bytes": (folder / artifact.PACKED).stat().st_size,
        "samples": training.samples,
        "samples_per_second": round(training.samples_per_second),
        "samples_per_cpu_second": round(training.samples / training_cpu),
        "create_seconds": round(compressing - training.seconds, 1),
        "create_cpu_seconds": round(compressing_cpu - training_cpu, 1),
        "pack_seconds": packing,
        "pack_cpu_seconds": packing_cpu,
        "save_seconds": saving,
        "load_seconds": loading,
        "lookups_per_cpu_second_data": round(lookups["data"]),
        "lookups_per_cpu_second_uniform": round(lookups["uniform"]),
        "auc": round(quality(packed_scores, valid, schema.labels, task)["click"]["auc"], 4),
        "largest_gap_of_scores": float(np.abs(trained_scores - packed_scores).max()),
        "base_bytes": base,
        "peak_bytes": max(peak.by_stage.values()),
        **by_stage,
        "cpu_busy": round(1 - (now.idle - cpu.idle) / sum(np.subtract(now, cpu)), 2),
        "optimizer": bench.recipe.optimizer,
        "torch": torch.__version__,
        "hardware": hardware().replace(",", ""),
        "memory_bytes": psutil.virtual_memory().total,
    }


def measured(name: str, rows: int, steps: int, scratch: Path) -> dict[str, Any]:
    """One method, in a process of its own."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        write_splits(Path(folder), rows, steps * BATCH)
        command = [sys.executable, __file__, "--rows", str(rows), "--only", name, "--folder", folder]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            sys.exit(f"{name}: {done.stderr.strip() or f'ended with {done.returncode}'}")
        told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000_000)
    parser.add_argument("--steps", type=int, default=300, help=f"batches of {BATCH}")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="for data and artifacts")
    parser.add_argument("--only", choices=METHODS, help="measure this one, in this process")
    parser.add_argument("--folder", type=Path, help="with --only: where the splits are")
    parser.add_argument("--out", type=Path, help="CSV to write")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only, args.rows, args.folder)))
        return
    table = []
    for name in args.methods:
        table.append(measured(name, args.rows, args.steps, args.scratch))
        print(json.dumps(table[-1], indent=1), flush=True)
    if args.out:
        benchmark_table.write(args.out, table)


if __name__ == "__main__":
    main()
