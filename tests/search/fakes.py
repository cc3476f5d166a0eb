"""Stands in for training: AUC is a planted function of budget and settings. Imported where runs are."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path

from sharkbench.results.records import Epoch, Result, Speed, Timing
from sharkbench.runner.outcome import facts_of, infeasible
from sharkbench.suite.run import RunSpec
from tests.records import a_quality

FP32_BYTES = 1_000_000
FULL_AUC = 0.8
KNEES = {"hash": 0.2, "qr": 0.05}
"""By method: the budget below which AUC falls, by 0.02 for every factor e."""
NOISE = 1e-4
BEST_RATE = 0.002
LEAST = 0.01
"""The smallest budget that any method can reach."""


def planted_auc(spec: RunSpec) -> float:
    budget = spec.budget.nbytes(FP32_BYTES) / FP32_BYTES if spec.budget else 1.0
    lost = 0.02 * max(0.0, math.log(KNEES.get(spec.method.name, 0.0) / budget)) if spec.budget else 0.0
    detour = 0.02 * math.log10(spec.train.learning_rate / BEST_RATE) ** 2
    luck = int(hashlib.sha256(spec.key.encode()).hexdigest()[:8], 16) / 2**32 - 0.5
    return FULL_AUC - lost - detour + NOISE * luck


def execute(
    spec: RunSpec,
    directory: Path,
    *,
    shared: Path,
    invocation: str,
    cache_dir: Path | None,
    on_epoch: Callable[[Epoch], None],
) -> Result:
    note(shared.parent, f"began {spec.key}")
    budget = spec.budget.nbytes(FP32_BYTES) if spec.budget else FP32_BYTES
    started = "2026-01-01T00:00:00+00:00"
    if budget < LEAST * FP32_BYTES:
        return infeasible(spec, "too few bytes", started=started, seconds=1.0)
    if spec.method_label == "diverges" and spec.train.learning_rate != 0.001:
        raise ValueError("the loss is nan")
    auc = planted_auc(spec)
    history = [
        Epoch(stage="train", epoch=number, train_loss=1.0, learning_rate=0.1, seconds=0.1,
              valid={"click": {"auc": auc - 0.01 / number, "logloss": 0.5}})
        for number in (1, 2)
    ]  # fmt: skip
    for epoch in history:
        on_epoch(epoch)
        if spec.method_label == "slow":
            time.sleep(1)  # long enough to be given up
    quality = {"click": a_quality(auc=auc)}
    (directory / "packed.safetensors").write_bytes(b"x")
    return Result(
        **facts_of(spec), status="ok", started=started, seconds=30.0,
        quality=quality if spec.judged_on == "test" else {}, quality_valid=quality,
        bytes=budget, fp32_bytes=FP32_BYTES, bytes_ratio=budget / FP32_BYTES, history=history,
    )  # fmt: skip


def measure(spec: RunSpec, directory: Path, *, cache_dir: Path | None) -> Speed:
    note(directory.parent.parent, f"measured {spec.key}")
    timing = Timing(name="own", rows=100, batch=10, threads=1, stream="data", per_second=1e6, per_second_low=1e6,
                    per_second_high=1e6, ratio_torch=2.0, ratio_fp32=1.0)  # fmt: skip
    return Speed(hardware="cpu", kernels={}, lookups=[timing], model_samples_per_second=1.0, model_ratio_fp32=1.0,
                 other_cpu_percent=0.0)  # fmt: skip


def note(out: Path, line: str) -> None:
    with (out / "diary.txt").open("a") as file:
        file.write(line + "\n")
