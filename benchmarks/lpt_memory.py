"""Memory that a table takes while it trains: LPT's integers against fp32, each in a process of its own.

    python benchmarks/lpt_memory.py --out results/training/lpt_memory.csv

4 million rows of 16 numbers in 8 fields (Zipf 1.05 within a field), batches of 4096 samples, and an optimizer that
touches only the batch's rows; ``8+cache`` keeps the most frequent 5 percent in fp32 besides. ``table_bytes`` are the
tensors that hold the rows, ``optimizer_bytes`` those of the optimizer that grow with them. ``resident_bytes`` and
``peak_bytes`` are what the process has at the end, and has had at most, beyond what it had before the table was made:
table, optimizer (its pages count from the first touch on) and what a batch needs. Ratios are to ``fp32``, a table in
memory with sparse gradients and the same optimizer.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import benchmark_table

FIELDS, WIDTH, BATCH = 8, 16, 4096
VARIANTS = ("fp32", "16", "8", "4", "2", "8+cache")
CACHE = 0.05


def resident() -> tuple[int, int]:
    """Current and peak resident bytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    told = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return int(told["VmRSS"]) * 1024, int(told["VmHWM"]) * 1024


def measure(variant: str, rows: int, steps: int, optimizer: str) -> dict[str, Any]:
    """One variant, in this process."""
    import numpy as np
    import torch
    from torch import Tensor, nn

    from sharkbench.data.schema import Field, Schema
    from sharkbench.formats.codec import RowCodec
    from sharkbench.model.model import Model
    from sharkbench.tables.code_store import CodeStore, SeededGenerator
    from sharkbench.tables.hot_rows import with_hot_rows
    from sharkbench.tables.low_precision import LowPrecisionRows
    from sharkbench.tables.parts import Table
    from sharkbench.tables.rows import Rows
    from sharkbench.training.gradients import clip, regularize, sum_rows
    from sharkbench.training.optimizers import build_optimizer
    from sharkbench.training.recipe import Recipe

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(WIDTH))

        def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
            return vectors.sum(1) @ self.weight

    torch.set_num_threads(1)
    schema = Schema(tuple(Field(f"f{i}", rows // FIELDS) for i in range(FIELDS)), ("click",))
    rng = np.random.default_rng(0)
    popularity = np.cumsum(np.arange(1, rows // FIELDS + 1) ** -1.05)
    batches = []
    for _ in range(steps):
        ranks = np.searchsorted(popularity, rng.random((BATCH, FIELDS)) * popularity[-1])
        batches.append(torch.from_numpy((ranks + schema.offsets[:-1]).astype(np.int32)))
    del popularity
    dtypes: dict[str, Any] = {"16": "fp16", "8": "int8", "4": "int4", "2": "int2"}
    recipe = Recipe.model_validate({"optimizer": optimizer, "embedding_l2": 1e-4})

    frequencies = np.tile(np.arange(rows // FIELDS, 0, -1), FIELDS)

    def layer(count: int) -> Any:
        part = schema if count == rows else Schema(tuple(Field(f"f{i}", 8) for i in range(FIELDS)), ("click",))
        if variant == "fp32":
            table = Table(part, WIDTH, [Rows.initial(part, range(FIELDS), WIDTH, 0.01)])
            table.use_sparse_gradients(True)
            return table
        bits, _, cached = variant.partition("+")
        store = CodeStore(count, WIDTH, RowCodec(dtype=dtypes[bits]), "stochastic", SeededGenerator(0, "rounding"))
        store.fill(lambda n: torch.empty(n, WIDTH).normal_(std=0.01))
        hot = round(CACHE * count) if cached else 0
        hot_rows = with_hot_rows(store, hot, "frequency", frequencies[:count])
        return Table(part, WIDTH, [LowPrecisionRows(part, range(FIELDS), hot_rows)])

    def train(table: Any, data: list[Tensor]) -> torch.optim.Optimizer:
        model = Model(table, Head())
        stepper = build_optimizer(model, recipe)
        parameters = [p for group in stepper.param_groups for p in group["params"]]
        for ids in data:
            stepper.zero_grad()
            model(ids, torch.empty(BATCH, 0)).square().mean().backward()
            for parameter in parameters:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    parameter.grad = sum_rows(parameter.grad)
            for group in stepper.param_groups:
                regularize(group["params"], group["l2"])
            clip(parameters, 10.0)
            stepper.step()
        stepper.zero_grad()
        return stepper

    # A small table first, so that torch is initialised.
    train(layer(8 * FIELDS), [torch.arange(FIELDS, dtype=torch.int32)[None] * 8])
    gc.collect()
    before, _ = resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    table = layer(rows)
    stepper = train(table, batches)
    gc.collect()
    after, peak = resident()
    states = [t for state in stepper.state.values() for t in state.values() if isinstance(t, Tensor)]
    return {
        "variant": variant,
        "rows": rows,
        "width": WIDTH,
        "optimizer": optimizer,
        "steps": steps,
        "table_bytes": sum(t.nbytes for t in table.state_dict().values()),
        "optimizer_bytes": sum(t.nbytes for t in states if t.numel() >= rows),
        "resident_bytes": after - before,
        "peak_bytes": peak - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--optimizer", default="sgd", help="of a recipe; sgd has no state, so all is the table's")
    parser.add_argument("--only", choices=VARIANTS, help="measure this one, in this process")
    parser.add_argument("--out", type=Path, help="CSV to write")
    args = parser.parse_args()
    if args.only:
        row = measure(args.only, args.rows, args.steps, args.optimizer)
        print(",".join(row), ",".join(map(str, row.values())), sep="\n")
        return
    measured = []
    for variant in VARIANTS:
        command = [sys.executable, __file__, "--rows", str(args.rows), "--steps", str(args.steps)]
        command += ["--optimizer", args.optimizer, "--only", variant]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        row = dict(zip(*(line.split(",") for line in done.stdout.strip().splitlines()[-2:]), strict=True))
        measured.append(row)
        print(json.dumps(row), flush=True)
    full = measured[0]
    for row in measured:
        for name in ("table", "resident", "peak"):
            row[f"{name}_ratio"] = str(round(int(row[f"{name}_bytes"]) / int(full[f"{name}_bytes"]), 3))
        row["cpu"] = benchmark_table.processor()
    if args.out:
        benchmark_table.write(args.out, measured)


if __name__ == "__main__":
    main()
