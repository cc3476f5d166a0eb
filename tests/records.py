"""Records as runs leave them, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sharkbench.files.durable import write_text
from sharkbench.results.records import Environment, Result, Speed, Timing
from sharkbench.results.store import ENVIRONMENT, RESULT, Store

KEY = "0123456789abcdef0123"


def a_result(key: str = KEY, **changes: Any) -> Result:
    facts: dict[str, Any] = {
        "key": key,
        "status": "ok",
        "suite": "s",
        "dataset": "d",
        "split": "random",
        "data_fingerprint": "f",
        "backbone": "fm",
        "method": "full",
        "method_label": "full",
        "code": "1",
        "dimension": 8,
        "seed": 0,
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 1.5,
    }
    return Result(**{**facts, **changes})


def a_quality(**values: float) -> dict[str, float]:
    """Of one label; metrics of click-through rates that are not given have plain values."""
    return {"auc": 0.7, "logloss": 0.5, "normalized_entropy": 0.9, "ece": 0.01, **values}


def a_speed() -> Speed:
    timing = Timing(
        name="rows", rows=10, batch=4, threads=1, stream="data", per_second=1.0, per_second_low=0.5,
        per_second_high=2.0, ratio_torch=1.0, ratio_fp32=1.0,
    )  # fmt: skip
    return Speed(
        hardware="cpu", kernels={}, lookups=[timing], model_samples_per_second=1.0, model_ratio_fp32=1.0,
        other_cpu_percent=0.0,
    )  # fmt: skip


def an_environment(invocation: str = "today") -> Environment:
    return Environment(
        sharkbench="0.1.0", git_revision="abc", git_dirty=False, python="3.11", packages={"torch": "2"},
        platform="Linux", cpu="a cpu", cores=2, memory_bytes=1, gpus=[], threads=1, kernels={}, invocation=invocation,
    )  # fmt: skip


def put(store: Store, result: Result, environment: Environment | None = None) -> Path:
    """Store a run."""
    directory = store.begin(result.key)
    if environment is not None:
        write_text(directory / ENVIRONMENT, environment.model_dump_json())
    write_text(directory / RESULT, result.model_dump_json())
    return store.publish(directory, result.key)
