"""Smoke test for a machine with a GPU: the quickstart suite on it is as good as on the CPU, within the noise of seeds.

Exit code 0: it is; 1: it is not, or runs failed; 2: there is no GPU that torch can use.
"""

from __future__ import annotations

import math
import statistics
import sys
from pathlib import Path

import torch

import sharkbench
from sharkbench.leaderboard.cells import Cell, CellName, cells_of
from sharkbench.results.store import Store

OUT = Path("build/gpu_smoke")
SEEDS = 3
FLOOR = 0.002
"""Difference in AUC that counts as equal even if the spread over seeds is smaller."""


def cells_on(accelerator: str) -> dict[CellName, Cell]:
    """The quickstart's cells after training on ``cpu`` or ``gpu``."""
    out = OUT / accelerator
    settings = [f"train.accelerator={accelerator}", f"seeds={SEEDS}", "tracking.enabled=false"]
    summary = sharkbench.run("quickstart", out=out, settings=settings, retry_failed=True)
    if summary.failed or summary.interrupted:
        sys.exit(f"{summary.failed} runs failed on the {accelerator}; their logs lie under {out / 'runs'}")
    return {cell.name: cell for cell in cells_of(Store(out))}


def main() -> int:
    if not torch.cuda.is_available():
        print("No GPU that torch can use was found here, so nothing was tested.", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    on_cpu, on_gpu = cells_on("cpu"), cells_on("gpu")
    # One spread for all cells: that of three seeds alone is too uncertain to judge by.
    spreads = [cell.value_std for cell in [*on_cpu.values(), *on_gpu.values()] if cell.value_std is not None]
    spread = math.sqrt(statistics.fmean(value**2 for value in spreads))
    allowed = max(FLOOR, 3 * spread * math.sqrt(2 / SEEDS))
    worst = 0.0
    for name, cell in on_cpu.items():
        cpu, gpu = cell.mean("auc"), on_gpu[name].mean("auc")
        if cpu is None or gpu is None:
            print(f"{name.method} {name.budget}: {cell.status} on the CPU, {on_gpu[name].status} on the GPU")
            worst = max(worst, 0.0 if cpu is gpu else math.inf)
            continue
        worst = max(worst, abs(gpu - cpu))
        print(f"{name.method:8} {name.budget:6} AUC {cpu:.4f} on the CPU, {gpu:.4f} on the GPU, {gpu - cpu:+.4f}")
    print(f"largest difference {worst:.4f}, allowed {allowed:.4f} (three standard errors over {SEEDS} seeds)")
    return 0 if worst <= allowed else 1


if __name__ == "__main__":
    sys.exit(main())
